"""Exporters of memory, and what makes them in workers: for the tests of how memory travels."""

import array
import contextlib
import ctypes
import dataclasses
import os
import pickle
import sys

# Whether memory can change interpreters here as it is: not beside the hooks that a debug build has.
USUAL_ALLOCATOR = "debug" if hasattr(sys, "gettotalrefcount") else "pymalloc"
MOVES = os.environ.get("PYTHONMALLOC", USUAL_ALLOCATOR) in (
    "malloc",
    "pymalloc",
) and os.environ.get("AIOINTERPRETERS_SAFE", "0") in ("", "0")


class ZeroCopyByteArray(bytearray):
    """The example of PEP 574: gives its memory to pickle as a buffer."""

    def __reduce_ex__(self, protocol):
        return type(self)._reconstruct, (pickle.PickleBuffer(self),), None

    @classmethod
    def _reconstruct(cls, buffer):
        with memoryview(buffer) as view:
            buffer = view.obj
            return buffer if type(buffer) is cls else cls(buffer)


class Block(bytearray):
    """A subclass that says nothing about pickle."""


class Refusing:
    """Exports no memory when it is asked to."""

    def __buffer__(self, flags):
        raise ValueError("no memory today")

    def __reduce_ex__(self, protocol):
        return Refusing, (pickle.PickleBuffer(self),)


class Wiping:
    """Clears its memory when it goes."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return bytes, (pickle.PickleBuffer(self.data),)

    def __del__(self):
        self.data[:] = bytes(len(self.data))


class Position(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("Offset", ctypes.c_double))

    def __eq__(self, other):
        return (self.x, self.Offset) == (other.x, other.Offset)

    __hash__ = None


@dataclasses.dataclass
class Frame:
    number: int
    pixels: object


def arrives(value):
    """What an argument is where this runs: its type's name, and its facts if it is a memoryview."""
    if type(value) is not memoryview:
        return type(value).__name__, None
    return "memoryview", facts(value)


def facts(view):
    return view.format, view.itemsize, view.shape, view.strides, view.readonly, view.tobytes()


def arrive(*args, **kwargs):
    return [arrives(value) for value in (*args, *kwargs.values())]


def address(memory) -> int:
    """Where writable memory lies."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def bytes_made(size):
    made = b"x" * size
    return id(made), made


def text_made(character, count):
    made = character * count
    return id(made), made


def cached_text_made(character, count):
    """A text that has been encoded: its UTF-8 form is kept beside it."""
    import unicodedata

    made = character * count
    with contextlib.suppress(KeyError):
        unicodedata.lookup(made)  # asks for UTF-8
    return id(made), made


def bytearray_made(size):
    """A view of all the memory, and where it lay here."""
    made = bytearray(b"x") * size
    return address(made), memoryview(made)


def bytearray_cut(size):
    """As bytearray_made, for one whose beginning and end were cut off."""
    made = bytearray(b"x") * (size + 200)
    del made[:100]
    del made[-100:]
    return address(made), memoryview(made)


def array_made(size):
    made = array.array("d", [1.5]) * (size // 8)
    return address(made), memoryview(made)


def every_second_made(size):
    made = bytearray(b"xy") * (size // 2)
    return address(made), memoryview(made)[::2]


def matrix_made(size):
    made = array.array("i", range(size // 4))
    return address(made), memoryview(made).cast("B").cast("i", (4, size // 16))


def bytes_viewed(size):
    return memoryview(b"x" * size)


def made(kind, size):
    return kind(b"x" * size)


KEPT = []


def kept(value):
    """The value, which this interpreter keeps."""
    KEPT.append(value)
    return value


def with_unpicklable(size):
    """Memory that is to move, beside what cannot be sent."""
    import threading

    return [b"x" * size, memoryview(bytearray(size)), threading.Lock()]


def kept_made(size):
    """A result that this interpreter keeps, of each kind."""
    block = bytearray(b"x") * size
    values = [b"x" * size, "x" * size, memoryview(block), memoryview(block)[::2]]
    KEPT.append((values, block))
    return values


def change_kept():
    """Write to what kept_made() keeps."""
    _, block = KEPT[-1]
    block[:] = b"y" * len(block)


def keep(value):
    KEPT.append(value)


def keep_made(make, size):
    return kept(make(bytes(size)))


def first_kept():
    return KEPT[0][0]


def kinds_kept():
    return [type(value).__name__ for value in KEPT]


def drop_kept():
    KEPT.clear()
