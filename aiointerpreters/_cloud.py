"""cloudpickle, for classes that no other interpreter could import, and for what holds such.

Imported when a value needs it and not before (139 ms in a fresh interpreter). cloudpickle's own
pickler knows how to take a class apart, and a few builtin types. What this one adds or replaces:

- Functions are taken apart here, by the rules of `_byvalue`: the file name and the lines of their
  code, cells that several share, lazy imports, what is a module's own; by name where they have one.
- Annotations of functions and classes, and what the compiler evaluates lazily, stay packed
  (`_annotations`).
- What was sent by value and comes back is the very object that was sent (`_identity`): a class, a
  type variable, an alias. cloudpickle by itself would find a class too, but then write the
  definition that came back over it, and its methods would read copies of their globals from there.
"""

import abc
import builtins
import contextlib
import dataclasses
import functools
import marshal
import sys
import types
import typing
import weakref
from _typing import ParamSpec, TypeAliasType, TypeVar, TypeVarTuple

import cloudpickle
from cloudpickle.cloudpickle import (
    _dynamic_class_reduce,
    _make_skeleton_class,
    _make_skeleton_enum,
)

from aiointerpreters import _annotations, _byvalue, _code, _errors, _identity, _modules, _rebuild

_CLASS_MAKERS = (_make_skeleton_class, _make_skeleton_enum)
# What is in a class's own dictionary, and is not set: it is made with the class, or evaluated.
_MADE_ANEW = frozenset(
    (
        *("__weakref__", "__dict__"),
        *("__annotations__", "__annotations_cache__", "__annotate__", "__annotate_func__"),
    )
)
_SLOT_TYPES = (types.MemberDescriptorType, types.GetSetDescriptorType)
_MADE_BY_ENUM = (
    *("_generate_next_value_", "_member_names_", "_member_map_", "_member_type_"),
    *("_value2member_map_", "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_"),
)
_OF_MEMBER = frozenset(("_value_", "_name_", "__objclass__", "_sort_order_"))
# What of a function is set by name.
_SETTINGS = ("__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__")
_Sentinel = getattr(builtins, "sentinel", None)  # Python 3.15


class ArgumentPickler(cloudpickle.Pickler):
    """For what goes to another interpreter."""

    # cloudpickle's dispatch table as a plain dictionary, which can be merged with a message's own.
    reducers = dict(cloudpickle.Pickler.dispatch_table)
    _is_result = False

    def __init__(self, file, protocol=5, buffer_callback=None):
        super().__init__(file, protocol=protocol, buffer_callback=buffer_callback)
        self._deferral = _annotations.Deferral()
        self._deferred = _Deferred(self._deferral)
        self._sources: dict[tuple, tuple] = {}  # each is one object in the pickle

    def dump(self, obj):
        """Pickle `obj`, and after it what annotations of it mention."""
        super().dump(_Both(obj, self._deferred))

    def reducer_override(self, obj):
        if isinstance(obj, type):
            return self._reduce_class(obj)
        if type(obj) is _rebuild.FunctionType:
            return self._reduce_function(obj)
        if isinstance(obj, _rebuild.FunctionType):
            return NotImplemented  # only says that it is one: a tag, a mock
        if isinstance(obj, BaseException):
            return _errors.reduce_exception(obj)
        reduce = _BY_IDENTITY.get(type(obj))
        if reduce is not None:
            return self._reduce_named(obj, reduce)
        return NotImplemented

    # Classes

    def _reduce_class(self, cls: type):
        reduced = super().reducer_override(cls)
        if reduced is NotImplemented and (
            _modules.is_sent_by_value(cls.__module__) or _identity.was_received(cls)
        ):
            reduced = _dynamic_class_reduce(cls)
        if type(reduced) is not tuple or reduced[0] not in _CLASS_MAKERS:
            return reduced
        if _byvalue.is_importable_module(cls.__module__):
            for name, value in vars(sys.modules[cls.__module__]).items():
                if value is cls:  # it has another name there than it says
                    return _rebuild.find_function, (cls.__module__, name)
        attributes = _attributes_of(cls)
        members = {}
        if reduced[0] is _make_skeleton_enum:
            maker, args = _make_enum, _enum_parts(cls, attributes, members)
        else:
            maker, args = _make_class, _class_parts(cls)
        state = attributes, members, self._deferral.of_class(cls), self._deferred
        return _identity.reduce(cls, self._is_result, maker, args, state, _fill_class)

    # Functions

    def _reduce_function(self, function):
        reference = _byvalue.importable(function)
        if reference is None:
            return self._reduce_function_by_value(function)
        if _byvalue.stands_at(function, function.__module__, function.__qualname__):
            return NotImplemented  # pickle's own reference by name will do
        return _rebuild.find_function, reference

    def _reduce_function_by_value(self, function):
        if _byvalue.is_single_dispatch(function):
            state = tuple(function.registry.items()), _byvalue.attributes_of(function)
            args = (function.__wrapped__,)
            return functools.singledispatch, args, state, None, None, _fill_single_dispatch
        code = function.__code__
        home = function.__globals__
        scope = self.globals_ref.setdefault(id(home), dict(_byvalue.base_globals(home)))
        source = _code.source_of(code)
        if source is not None:
            source = self._sources.setdefault(source, source)
        settings = {name: getattr(function, name) for name in _SETTINGS}
        read = {
            name: reference[1] if reference[0] == _rebuild.VALUE else _Global(reference)
            for name, reference in _byvalue.globals_read(code, home)
        }
        record = self._deferral.of_function(function)
        state = settings, _byvalue.attributes_of(function), read, record, self._deferred
        closure = function.__closure__ and tuple(
            _cell_to_send(name, cell, code)
            for name, cell in zip(code.co_freevars, function.__closure__, strict=True)
        )
        args = code, scope, function.__name__, closure, source
        return _rebuild.make_function, args, state, None, None, _rebuild.fill_function

    # What is known by its identity and stands in its module by a name

    def _reduce_named(self, obj, reduce):
        name = getattr(obj, "__qualname__", None) or obj.__name__
        module = getattr(obj, "__module__", None)
        if _byvalue.is_importable_module(module) and _byvalue.stands_at(obj, module, name):
            return name
        return _identity.reduce(obj, self._is_result, *reduce(self, obj, module))

    def _reduce_new_type(self, obj, module):
        args = obj.__name__, obj.__qualname__, module, obj.__supertype__
        return _identity.make_new_type, args

    def _reduce_sentinel(self, obj, module):
        return _identity.make_sentinel, (obj.__name__, module, repr(obj))

    def _reduce_alias(self, obj, module):
        evaluate = getattr(obj, "evaluate_value", None)
        value = self._evaluation(evaluate, lambda: obj.__value__, module)
        return _identity.make_alias, (obj.__name__, module, obj.__type_params__, value)

    def _reduce_variable(self, obj, module):
        kind = type(obj)
        constraints = obj.__constraints__ if kind is TypeVar else ()
        has_bound = kind is TypeVar and not constraints and _has_bound(obj)
        if _is_parameter(obj):
            bound = default = None
            if has_bound:
                evaluate = getattr(obj, "evaluate_bound", None)
                bound = self._evaluation(evaluate, lambda: obj.__bound__, module)
            if obj.has_default():
                evaluate = getattr(obj, "evaluate_default", None)
                default = self._evaluation(evaluate, lambda: obj.__default__, module)
            return _identity.make_parameter, (kind, obj.__name__, constraints, bound, default)
        options = {"default": obj.__default__} if obj.has_default() else {}
        if kind is not TypeVarTuple:
            options["covariant"] = obj.__covariant__
            options["contravariant"] = obj.__contravariant__
            options["bound"] = None if constraints else obj.__bound__
        return _identity.make_variable, (kind, obj.__name__, module, constraints, options)

    def _evaluation(self, evaluate, value, module):
        return _Evaluation(self._deferred, self._deferral.of_evaluator(evaluate, value), module)


_BY_IDENTITY = {
    typing.NewType: ArgumentPickler._reduce_new_type,
    TypeAliasType: ArgumentPickler._reduce_alias,
    TypeVar: ArgumentPickler._reduce_variable,
    ParamSpec: ArgumentPickler._reduce_variable,
    TypeVarTuple: ArgumentPickler._reduce_variable,
}
if _Sentinel is not None:
    _BY_IDENTITY[_Sentinel] = ArgumentPickler._reduce_sentinel


def _is_parameter(variable) -> bool:
    """Whether it was made by a list of type parameters (PEP 695)."""
    if type(variable) is TypeVarTuple:
        return variable.__module__ == "typing"
    return variable.__infer_variance__


def _has_bound(variable) -> bool:
    if hasattr(variable, "evaluate_bound"):
        return variable.evaluate_bound is not None
    try:
        return variable.__bound__ is not None
    except Exception:  # it names what is not there
        return True


class ResultPickler(ArgumentPickler):
    """For what a worker sends to its caller."""

    _is_result = True


class DeferredPickler(ArgumentPickler):
    """For a value that an annotation mentions. See `_annotations`."""

    def __init__(self, file, deferral, protocol=5, buffer_callback=None):
        super().__init__(file, protocol=protocol, buffer_callback=buffer_callback)
        self._deferral = deferral

    def persistent_id(self, obj):
        """The message's deferred values, which it is loaded with."""
        return True if obj is self._deferred else None

    def dump(self, obj):
        """Pickle `obj`."""
        cloudpickle.Pickler.dump(self, obj)


class _Both:
    """Arrives as the value, when what is deferred has arrived, too."""

    def __init__(self, value, deferred) -> None:
        self._parts = value, deferred

    def __reduce__(self):
        value, deferred = self._parts
        return _rebuild.first, (value, _Rest(deferred))


class _Deferred:
    """Arrives as a `_rebuild.Deferred`, which is given its values at the end of the message."""

    def __init__(self, deferral) -> None:
        self.deferral = deferral

    def __reduce__(self):
        return _rebuild.Deferred, ()


class _Rest:
    def __init__(self, deferred) -> None:
        self._deferred = deferred

    def __reduce__(self):
        pickles = self._deferred.deferral.pickles()
        if not pickles:
            return tuple, ()
        return _rebuild.give_pickles, (self._deferred, pickles)


class _Evaluation:
    """Arrives as a `_rebuild.Evaluation` in a scope of its own."""

    def __init__(self, *args) -> None:
        self._args = args

    def __reduce__(self):
        return _rebuild.make_evaluation, self._args


class _Global:
    """Arrives as what a reference of `_byvalue.globals_read` stands for."""

    def __init__(self, reference: tuple) -> None:
        self._reference = reference

    def __reduce__(self):
        kind, *what = self._reference
        return _GLOBALS[kind], tuple(what)


_GLOBALS = {
    _rebuild.LAZY: _rebuild.import_lazily,
    _rebuild.MODULE: _rebuild.find_module,
    _rebuild.NAMED: _rebuild.find_function,
}


# Classes


def _attributes_of(cls: type) -> dict:
    """What a class has in its own dictionary, but for what its making puts there."""
    attributes = {
        name: value
        for name, value in vars(cls).items()
        if name not in _MADE_ANEW and not (type(value) in _SLOT_TYPES and value.__objclass__ is cls)
    }
    if attributes.pop("_abc_impl", None) is not None:
        registry, *_ = abc._get_dump(cls)
        attributes["_abc_impl"] = [known for known in (ref() for ref in registry) if known]
    return attributes


def _class_parts(cls: type) -> tuple:
    """The arguments of `_make_class`."""
    kind = type(cls)
    # What a metaclass that goes by value, too, has done to the class is in its attributes.
    maker = next(base for base in kind.__mro__ if _byvalue.importable(base) is not None)
    slots = vars(cls).get("__slots__")
    if slots is not None and type(slots) not in (str, dict):
        slots = tuple(slots) or tuple(
            name for name, value in vars(cls).items() if type(value) is types.MemberDescriptorType
        )
    namespace = {"__module__": cls.__module__}
    bases = vars(cls).get("__orig_bases__", cls.__bases__)
    if types.resolve_bases(bases) != cls.__bases__:  # of a NamedTuple, a TypedDict
        namespace["__orig_bases__"], bases, maker = bases, cls.__bases__, type
    if slots is not None:
        namespace["__slots__"] = slots
    if isinstance(vars(cls).get("__dict__"), property):
        namespace["__dict__"] = vars(cls)["__dict__"]
    return kind, maker, cls.__name__, bases, namespace


def _make_class(kind, maker, name, bases, namespace):
    """A class without its attributes; no `__init_subclass__` that went by value is called."""
    resolved = types.resolve_bases(bases)
    with _quiet(resolved):
        if maker is kind:
            return types.new_class(
                name, bases, {"metaclass": kind}, lambda made: made.update(namespace)
            )
        if resolved is not bases:
            namespace["__orig_bases__"] = bases
        return maker.__new__(kind, name, resolved, namespace)


@contextlib.contextmanager
def _quiet(bases: tuple):
    """Take the hook for subclasses off classes that went by value: it ran where they come from."""
    holders = [
        (base, vars(base)["__init_subclass__"])
        for base in {base: None for cls in bases for base in cls.__mro__}
        if "__init_subclass__" in vars(base) and _identity.was_received(base)
    ]
    for base, _ in holders:
        type.__setattr__(base, "__init_subclass__", classmethod(lambda cls, **_: None))
    try:
        yield
    finally:
        for base, hook in holders:
            type.__setattr__(base, "__init_subclass__", hook)


def _enum_parts(cls: type, attributes: dict, members: dict) -> tuple:
    """The arguments of `_make_enum`; takes its members from its attributes, and what is in them."""
    for name in (*_MADE_BY_ENUM, *cls.__members__):
        attributes.pop(name, None)
    for name, member in cls.__members__.items():
        state = {key: value for key, value in vars(member).items() if key not in _OF_MEMBER}
        if state:
            members[name] = state
    values = {name: member.value for name, member in cls.__members__.items()}
    return cls.__bases__, cls.__name__, cls.__qualname__, values, cls.__module__


def _make_enum(*args):
    return _make_skeleton_enum(*args, None, None)


def _fill_class(cls: type, state: tuple) -> None:
    attributes, members, record, deferred = state
    registry = attributes.pop("_abc_impl", ())
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    if "__firstlineno__" in attributes:  # which goes as __module__ is set
        type.__setattr__(cls, "__firstlineno__", attributes["__firstlineno__"])
    for registered in registry:
        cls.register(registered)
    for name, values in members.items():
        vars(cls.__members__[name]).update(values)
    main = sys.modules["__main__"]
    is_of_main = cls.__module__ == "__main__"
    scope = vars(main) if is_of_main else {"__name__": cls.__module__, "__builtins__": builtins}
    _rebuild.annotate(cls, record, deferred, scope)


def _fill_single_dispatch(function, state: tuple) -> None:
    registry, attributes = state
    for cls, implementation in registry:
        function.register(cls, implementation)
    for name, value in attributes.items():
        function.__dict__.setdefault(name, value)


def _cell_to_send(name: str, cell, code):
    if name != "__classdict__":
        return cell
    # The namespace of the class, of which an annotation reads a few names.
    _, mentioned = _code.names_in(code)
    namespace = cell.cell_contents
    return types.CellType({key: namespace[key] for key in namespace if key in mentioned})


# Reducers by type


def _reduce_cell(cell):
    try:
        contents = (cell.cell_contents,)
    except ValueError:
        return _rebuild.Cell, ()
    return _rebuild.Cell, (), contents, None, None, _rebuild.fill_cell


def _reduce_code(code):
    return marshal.loads, (marshal.dumps(code),)


def _reduce_cache(cached):
    """Reduce what `functools.lru_cache` made of a function: a cache with nothing in it."""
    if _byvalue.importable(cached) is not None or not _byvalue.is_cached_function(cached):
        return cached.__reduce__()
    return _remake_cache, (cached.cache_parameters(), cached.__wrapped__)


def _remake_cache(options: dict, function):
    return functools.lru_cache(**options)(function)


def _reduce_partial_method(method):
    return _remake_partial_method, (method.func, method.args, method.keywords)


def _remake_partial_method(function, args: tuple, keywords: dict):
    return functools.partialmethod(function, *args, **keywords)


def _reduce_weak_dictionary(dictionary):
    return _remake_weak, (type(dictionary), dict(dictionary.items()))


def _reduce_weak_set(known):
    return _remake_weak, (type(known), list(known))


def _reduce_reference(reference):
    referred = reference()
    if referred is None:
        return _dead_reference, ()
    if not isinstance(referred, type):  # nothing else might keep it alive where it arrives
        raise TypeError("cannot pickle 'weakref.ReferenceType' object")
    return _remake_weak, (weakref.ref, referred)


def _dead_reference():
    return weakref.ref(set())


_kept: set[type] = set()  # classes that registries refer to: their module would keep them alive


def _remake_weak(kind, referred):
    items = [referred] if kind is weakref.ref else referred
    values = referred.values() if isinstance(referred, dict) else ()
    _kept.update(item for item in (*items, *values) if isinstance(item, type))
    return kind(referred)


def _reduce_mark(name: str):
    """For what a field of a dataclass is compared with by identity."""
    return lambda _: (_rebuild.find_function, ("dataclasses", name))


ArgumentPickler.reducers |= {
    type(dataclasses.MISSING): _reduce_mark("MISSING"),
    type(dataclasses.KW_ONLY): _reduce_mark("KW_ONLY"),
    type(dataclasses._HAS_DEFAULT_FACTORY): _reduce_mark("_HAS_DEFAULT_FACTORY"),
    functools._lru_cache_wrapper: _reduce_cache,
    functools.partialmethod: _reduce_partial_method,
    types.CellType: _reduce_cell,
    types.CodeType: _reduce_code,
    weakref.ref: _reduce_reference,
    weakref.WeakSet: _reduce_weak_set,
    weakref.WeakKeyDictionary: _reduce_weak_dictionary,
    weakref.WeakValueDictionary: _reduce_weak_dictionary,
}
del ArgumentPickler.reducers[TypeVar]
