"""What runs in the middle, as values are received; free of pytest."""

import builtins
import gc
import sys

SEEN: list[str] = []
MARK = "a container that is not full yet"


def containers() -> list:
    """The lists and tuples that begin with the mark, as the garbage collector knows them."""
    return [
        item
        for item in gc.get_objects()
        if (type(item) is list or type(item) is tuple)
        and len(item) > 1
        and type(item[0]) is str
        and item[0] == MARK
    ]


def look() -> int:
    SEEN[:] = map(repr, containers())
    return 7


def look_and_tell() -> list[str]:
    gc.enable()
    look()
    return SEEN


def refuse() -> int:
    gc.disable()  # until look_and_tell()
    raise ValueError("refused")


def collect() -> int:
    gc.collect()
    return 7


def is_tracked(value) -> bool:
    return gc.is_tracked(value)


def empty() -> int:
    for item in containers():
        if type(item) is list:
            item.clear()
    return 7


def forget() -> int:
    """Drop what is in the second place, and make lists where it may have been."""
    for item in containers():
        item[1] = None
    SEEN[:] = [[], [], []]
    return 7


class Runs:
    """Runs a function where it is unpickled."""

    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return self.function, ()


class Key:
    """Looks around as it is hashed."""

    def __hash__(self):
        return look()

    def __eq__(self, other):
        return type(other) is Key


def seen(*_values) -> list[str]:
    return SEEN


AROUND_ARRAYS: list[str] = []


def look_around_arrays() -> list[str]:
    """From here on, note what can be seen as an array is being received."""
    own = builtins.__import__

    def note(what):
        AROUND_ARRAYS.append(what)
        AROUND_ARRAYS.extend(map(repr, containers()))

    def import_(name, *args, **kwargs):
        if name == "array":
            note("import")
        return own(name, *args, **kwargs)

    def audit(event, _args):
        if event == "array.__new__":
            note("audit")

    builtins.__import__ = import_
    sys.addaudithook(audit)
    return AROUND_ARRAYS


def found_around_arrays(_value) -> list[str]:
    found = AROUND_ARRAYS[:]
    AROUND_ARRAYS.clear()
    return found
