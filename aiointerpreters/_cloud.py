"""cloudpickle, for functions and classes that no other interpreter could import.

Imported when a value needs it and not before (139 ms in a fresh interpreter). Two things are
added to cloudpickle's own pickler:

- A class that went out by value is known when it comes back: it is the very class that was sent.
  cloudpickle by itself would find that class too, but then write the definition that came back
  over it, and its methods would read copies of their globals from there on.
- A function counts as importable only if its module can be found from another interpreter, and a
  function that stands under a decorator or a tag is found there.
"""

import _interpreters
import functools
import itertools
import sys
import weakref

import cloudpickle
from cloudpickle.cloudpickle import _class_setstate, _make_skeleton_class, _make_skeleton_enum

from aiointerpreters import _byvalue, _errors, _rebuild

_CLASS_MAKERS = (_make_skeleton_class, _make_skeleton_enum)
_HERE = int(_interpreters.get_current()[0])  # the id of this interpreter

# Classes of this interpreter that were sent, and the numbers that they go by elsewhere.
_numbers: weakref.WeakKeyDictionary[type, int] = weakref.WeakKeyDictionary()
_by_number: weakref.WeakValueDictionary[int, type] = weakref.WeakValueDictionary()
_counter = itertools.count(1)

# Classes of other interpreters: the id of the interpreter and the number there, and whether the
# class came with a task (and not with a result), which is to say from the caller of this worker.
_received: weakref.WeakKeyDictionary[type, tuple[int, int, bool]] = weakref.WeakKeyDictionary()


class ArgumentPickler(cloudpickle.Pickler):
    """For what goes to another interpreter."""

    # cloudpickle's dispatch table as a plain dictionary, which can be merged with a message's own.
    reducers = dict(cloudpickle.Pickler.dispatch_table)
    _is_for_task = True

    def __init__(self, file, protocol=5, buffer_callback=None):
        super().__init__(file, protocol=protocol, buffer_callback=buffer_callback)
        spawned_main = sys.modules.get("__mp_main__")
        if spawned_main is not None:
            cloudpickle.register_pickle_by_value(spawned_main)

    def reducer_override(self, obj):
        if isinstance(obj, type):
            return self._reduce_class(obj)
        if type(obj) is _rebuild.FunctionType:
            return self._reduce_function(obj)
        if isinstance(obj, BaseException):
            return _errors.reduce_exception(obj)
        return super().reducer_override(obj)

    def _reduce_class(self, cls: type):
        reduced = super().reducer_override(cls)
        if type(reduced) is not tuple or reduced[0] not in _CLASS_MAKERS:
            return reduced
        maker, args, state, *_ = reduced
        origin, number, _ = _received.get(cls) or (_HERE, _number(cls), False)
        args = (origin, number, self._is_for_task, maker, *args)
        return _receive_class, args, state, None, None, _fill_class

    def _reduce_function(self, function):
        reference = _byvalue.importable(function)
        if reference is None:
            return self._reduce_function_by_value(function)
        if _byvalue.stands_at(function, function.__module__, function.__qualname__):
            return NotImplemented  # pickle's own reference by name will do
        return _rebuild.find_function, reference

    def _reduce_function_by_value(self, function):
        reduced = self._dynamic_function_reduce(function)
        module = _byvalue.module_with(function.__globals__)
        if module is not None:
            _, slots = reduced[2]
            slots["__globals__"] = {
                name: _ModulesOwn(module, name) if _byvalue.is_modules_own(value) else value
                for name, value in slots["__globals__"].items()
            }
        return reduced


class _ModulesOwn:
    """Arrives as what the name stands for in the worker's module."""

    def __init__(self, module: str, name: str) -> None:
        self._reference = module, name

    def __reduce__(self):
        return _rebuild.find_function, self._reference


class ResultPickler(ArgumentPickler):
    """For what a worker sends to its caller."""

    _is_for_task = False

    def _reduce_class(self, cls: type):
        origin, number, is_callers = _received.get(cls) or (_HERE, 0, False)
        if is_callers:
            return _known_class, (origin, number, cls.__qualname__)
        return super()._reduce_class(cls)


def _reduce_cache(cached):
    """Reduce what `functools.lru_cache` made of a function: a cache with nothing in it."""
    if _byvalue.importable(cached) is not None or not _byvalue.is_cached_function(cached):
        return cached.__reduce__()
    return _remake_cache, (cached.cache_parameters(), cached.__wrapped__)


def _remake_cache(options: dict, function):
    return functools.lru_cache(**options)(function)


ArgumentPickler.reducers[functools._lru_cache_wrapper] = _reduce_cache


def _number(cls: type) -> int:
    number = _numbers.get(cls)
    if number is None:
        # Two threads that get here at once agree on one number.
        number = _numbers.setdefault(cls, next(_counter))
        _by_number[number] = cls
    return number


def _receive_class(origin: int, number: int, with_task: bool, maker, *args) -> type:
    cls = _by_number.get(number) if origin == _HERE else None
    if cls is None:
        cls = maker(*args)
        _received[cls] = origin, number, with_task
    return cls


def _fill_class(cls: type, state: tuple) -> None:
    if cls in _received:  # and not this interpreter's own, which came back
        _class_setstate(cls, state)


def _known_class(origin: int, number: int, name: str) -> type:
    cls = _by_number.get(number) if origin == _HERE else None
    if cls is None:
        raise LookupError(f"class {name!r} is gone from the interpreter that sent it")
    return cls
