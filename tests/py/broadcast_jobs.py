"""What the tests of broadcast() send to interpreters; free of pytest, since workers import it."""

import dataclasses
import functools
import os
import pickle
import threading

import jobs

from aiointerpreters import broadcast


@dataclasses.dataclass
class Box:
    content: object


class Counted:
    """Says on a pipe that it was decoded."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def __setstate__(self, state):
        self.__dict__.update(state)
        os.write(self.descriptor, b"decoded\n")


class Tracked:
    """Says on a pipe, in a worker, that it is gone."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.is_copy = False

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.is_copy = True

    def __del__(self):
        if self.is_copy:
            os.write(self.descriptor, b"gone\n")


class Unreadable:
    """Cannot be unpickled as long as a file is there."""

    def __init__(self, path):
        self.path = path

    def __setstate__(self, state):
        self.__dict__.update(state)
        if os.path.exists(self.path):
            raise ValueError("not yet")


class Unsendable:
    def __reduce__(self):
        raise ZeroDivisionError("never")


def plain(value, opened):
    """`value` with `opened(handle)` in the place of handles, and made comparable."""
    kind = type(value)
    if kind is broadcast:
        return plain(opened(value), opened)
    if kind in (tuple, list, set, frozenset):
        return kind(plain(item, opened) for item in value)
    if kind is dict:
        return {plain(k, opened): plain(v, opened) for k, v in value.items()}
    if kind is Box:
        return "Box", plain(value.content, opened)
    if kind is functools.partial:
        return "partial", plain(value.args, opened)
    if kind is memoryview:
        return bytes(value)
    return value


def captured(*args, **kwargs):
    """Where this runs, and the call as `plain` has it."""
    assert "<broadcast" not in repr((args, kwargs))
    return jobs.interpreter_id(), plain((args, kwargs), None)


def same_first(a, b):
    return a is b[0] and a is b[1]["x"]


def remember(value):
    jobs.STATE = value


def remembered(*_):
    return jobs.STATE


def append_and_get(values, value):
    values.append(value)
    return values


def makes_one(value):
    handle = broadcast(value)
    assert handle.value is value
    return [handle, (handle,)]


def makes_one_pickled(value):
    handle = broadcast(value)
    return Box(handle), handle


def raises_one(value):
    raise LookupError(broadcast(value))


def cannot_pickle():
    try:
        pickle.dumps(broadcast(1))
    except TypeError as error:
        return str(error)


def makes_a_lock_one():
    return type(broadcast(threading.Lock()).value).__name__


def hold(value, started: int, opened: int):
    """jobs.pass_gate with a value that stays here."""
    return jobs.pass_gate(started, opened)
