"""Functions, by name where they have one, by value where they have none.

A function goes to a worker by name if the worker can find it by importing its module. Functions of
`__main__`, lambdas, nested functions and closures have no such name. Those go by value, in one of
two forms, told apart by the first byte of the payload:

- `L`, light: code by `marshal`, with the globals that the code reads, the cells, the defaults. A
  worker rebuilds it without importing anything that the function itself does not use.
- `C`: a pickle of the whole function by `_cloud`, when it reaches what a payload of the first form
  cannot have, such as a class of `__main__`.

What a function reaches is taken at the moment of the dump. The dependencies that come with a
payload tell whether a name was bound anew since then.
"""

import marshal
import sys
from _contextvars import ContextVar
from gc import get_referents

from aiointerpreters._annotations import Deferral
from aiointerpreters._code import names_in, source_of
from aiointerpreters._modules import is_sent_by_value
from aiointerpreters._rebuild import (
    BESIDE,
    CACHE,
    CLOUD,
    FUNCTION,
    LAZY,
    LIGHT,
    MODULE,
    NAMED,
    OBJECT,
    VALUE,
    VARIABLE,
    FunctionType,
    untagged,
)

# Kinds of dependency. Each is a tuple (kind, container, key, value).
ENTRY = 0  # container: dict, key: str; value: what it holds there, or MISSING
CELL = 1  # container: cell, key: None; value: its contents, or MISSING
SIZE = 3  # container: dict, key: None; value: how many entries it has
ATTRIBUTE = 2  # container: function, key: name of the attribute; value: what it is

_BASE_GLOBALS = ("__name__", "__package__", "__file__")
_OWN_ATTRIBUTE = "__aiointerpreters_definition__"  # which the C code keeps on functions
# What functools.singledispatch keeps on a function; it makes them anew.
_OF_DISPATCH = ("__wrapped__", "_clear_cache", "dispatch", "register", "registry")
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_IMMUTABLE = frozenset({tuple, frozenset})
_CONTAINERS = _IMMUTABLE | {list, dict, set}

_BuiltinType = type(len)
_ModuleType = type(sys)
_MappingProxyType = type(type.__dict__)


class _Missing:
    """The type of MISSING, which stands for a name or a cell that holds nothing."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
_MethodType = type(MISSING.__repr__)


# Functions by name


def importable(obj: object) -> tuple[str, str] | None:
    """The module and the dotted path by which `find_function` finds `obj` in any interpreter.

    `obj` may stand there under an interpreter tag, or below decorators that kept it as
    `__wrapped__`.

    Returns:
        None if there is no such name: for what is defined in `__main__`, in a function, or in a
        module that was not imported from anywhere.
    """
    obj = untagged(obj)
    for module, qualname in _likely_names(obj):
        if not is_importable_module(module):
            continue
        found = sys.modules[module]
        try:
            for name in qualname.split("."):
                found = getattr(found, name)
        except Exception:  # module-level __getattr__, descriptors: anyone's code
            continue
        path = qualname
        for _ in range(20):  # decorators
            if _is_same(untagged(found), obj):
                return module, path
            try:
                found = found.__wrapped__
            except Exception:
                break
            path += ".__wrapped__"
    return None


def stands_at(obj: object, module: str, qualname: str) -> bool:
    """Whether that is where `obj` itself stands, with no tag or decorator around it."""
    found = sys.modules.get(module)
    try:
        for name in qualname.split("."):
            found = getattr(found, name)
    except Exception:
        return False
    return found is obj


def _likely_names(obj: object):
    """Pairs of module and dotted path under which `obj` may stand."""
    module = getattr(obj, "__module__", None)
    qualname = getattr(obj, "__qualname__", None)
    if type(obj) in (_MethodType, _BuiltinType):
        owner = obj.__self__
        if isinstance(owner, type):
            # A class method: its own qualname names the class that defines it, not the owner.
            yield owner.__module__, f"{owner.__qualname__}.{obj.__name__}"
        elif owner is not None and type(owner) is not _ModuleType:
            # A method of an instance that stands behind a module's function, as random.random.
            yield module or type(owner).__module__, obj.__name__
            return
    if isinstance(module, str) and isinstance(qualname, str) and "<" not in qualname:
        yield module, qualname


def _is_same(found: object, wanted: object) -> bool:
    if found is wanted:
        return True
    # Bound methods are made anew at each access; equal ones have the same function and object.
    return type(wanted) in (_MethodType, _BuiltinType) and (
        type(found) is type(wanted) and found == wanted
    )


# Specs of modules that were found to be importable, by name.
_importable_specs: dict[str, object] = {}


def is_importable_module(name: object) -> bool:
    """Whether another interpreter finds, and may use, the very module in `sys.modules` here."""
    if is_sent_by_value(name):
        return False
    module = sys.modules.get(name) if isinstance(name, str) else None
    try:
        spec = module.__spec__
        if spec.name != name:
            return False
    except Exception:  # None, no module at all, or a spec of another make
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    if _importable_specs.get(name) is spec:
        return True
    found = _search_spec(name)
    if found is None or found.origin != spec.origin:
        return False
    _importable_specs[name] = spec
    return True


def _search_spec(name: str):
    parent = name.rpartition(".")[0]
    try:
        path = sys.modules[parent].__path__ if parent else None
    except (KeyError, AttributeError):
        return None
    for finder in list(sys.meta_path):
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # other people's finders
            continue
        if spec is not None:
            return spec
    return None


# Functions by value


def dump(function: object, handles: list | None = None) -> tuple[bytes, tuple | None]:
    """Make a payload of `function` for `load`.

    Args:
        function: A function (one with a cache by `functools` around it, too), or any callable
            that pickle or cloudpickle can send. An interpreter tag around it is taken off.
        handles: Takes up the handles (`broadcast`) whose values `load` is to be given, in order.
            Without it, there may be none.

    Returns:
        The payload; and its dependencies, a tuple of tuples (kind, container, key, value), all of
        whose values are to be compared by identity. If one differs from what is there now, the
        function must be dumped anew. None instead of a tuple if no such test exists, because
        `function` is an object with state (a bound method, a `partial`, an instance with
        `__call__`): it must be dumped anew for each call.

    Raises:
        Exception: Whatever pickling raised, if the function cannot be sent.
    """
    function = untagged(function)
    if type(function) is not FunctionType and not is_cached_function(function):
        from aiointerpreters import _pickling

        return CLOUD + _pickling.dumps_whole(function), None
    survey = _Survey(function)
    payload, beside = survey.light_payload()
    if payload is None:
        from aiointerpreters import _pickling

        pickled, beside = _pickling.dumps_function(function)
        payload = CLOUD + pickled
    if beside and handles is None:
        raise TypeError("the function refers to a broadcast")
    if beside:
        handles.extend(beside)
    return payload, survey.dependencies


def _is_handle(value: object) -> bool:
    core = sys.modules.get("aiointerpreters._core")
    return core is not None and type(value) is core.broadcast


def is_cached_function(obj: object) -> bool:
    """Whether `obj` is what `functools.lru_cache` or `functools.cache` makes of a function."""
    functools = sys.modules.get("functools")
    return (
        functools is not None
        and type(obj) is functools._lru_cache_wrapper
        and type(getattr(obj, "__wrapped__", None)) is FunctionType
    )


def is_single_dispatch(obj: object) -> bool:
    """Whether `obj` is what `functools.singledispatch` makes of a function."""
    functools = sys.modules.get("functools")
    return (
        functools is not None
        and type(obj) is FunctionType
        and obj.__code__ in functools.singledispatch.__code__.co_consts
        and type(getattr(obj, "registry", None)) is _MappingProxyType
    )


class _Survey:
    """What a function reaches: functions, globals, cells; and whether that is all light.

    The walk goes on when it is not, for the sake of the dependencies.
    """

    def __init__(self, function) -> None:
        self._dependencies: dict[tuple, tuple] = {}  # by container's id and key
        self._is_light = True
        self._asks_for_fn = False
        self._meets_tags = False
        self._functions: list = []  # in the order of their indexes
        self._function_indexes: dict[int, int] = {}  # by id; `_functions` keeps them alive
        self._records: list[tuple] = []
        self._namespaces: list[tuple[tuple, dict]] = []  # base entries; name to reference
        self._namespace_indexes: dict[int, int] = {}
        self._cells: list[tuple | None] = []
        self._cell_indexes: dict[int, int] = {}
        self._caches: list[tuple] = []
        self._cache_indexes: dict[int, int] = {}
        self._objects: list = []
        self._handles: list = []
        self._classes: set[int] = set()
        self._deferral = Deferral()
        self._sources: dict[tuple[str, str, bool], int] = {}
        if type(function) is FunctionType:
            self._root = self._refer_function(function)
        else:
            self._root = self._refer_cache(function)
        while len(self._records) < len(self._functions):
            self._survey_function(self._functions[len(self._records)])

    @property
    def dependencies(self) -> tuple[tuple, ...]:
        """What the payload was made of: (kind, container, key, value), each once."""
        return tuple(self._dependencies.values())

    def light_payload(self) -> tuple[bytes | None, list]:
        """The light form, or None if the function reaches what needs cloudpickle; its handles."""
        if not self._is_light or (self._asks_for_fn and self._meets_tags):
            # (Light functions lose their tags, which could be asked for `fn`.)
            return None, []
        pickled, handles = None, []
        if self._objects:
            from aiointerpreters import _pickling

            dumped = _pickling.dumps_plain(self._objects)
            if dumped is None:
                return None, []
            pickled, handles = dumped
        namespaces = [(base, tuple(names.items())) for base, names in self._namespaces]
        try:
            payload = marshal.dumps(
                (
                    self._root,
                    self._records,
                    namespaces,
                    self._cells,
                    self._caches,
                    pickled,
                    len(self._handles),
                    self._deferral.pickles(),
                    tuple(self._sources),
                )
            )
        except ValueError:  # nested deeper than marshal goes
            return None, []
        return LIGHT + payload, self._handles + handles

    def _survey_function(self, function) -> None:
        if is_single_dispatch(function):
            self._is_light = False
            (registry,) = get_referents(function.registry)
            self._depend(SIZE, registry, None, len(registry))
            for cls, implementation in tuple(registry.items()):
                self._depend(ENTRY, registry, cls, implementation)
                self._refer(cls)
                self._refer(implementation)
            self._records.append(())
            return
        code, defaults, keyword_defaults = (
            self._depend(ATTRIBUTE, function, name, getattr(function, name))
            for name in ("__code__", "__defaults__", "__kwdefaults__")
        )
        attributes = self._attributes(function)
        source = source_of(code)
        if source is not None:  # by number, from 1 on
            source = self._sources.setdefault(source, len(self._sources) + 1)
        record = (
            code,
            self._survey_globals(code, function.__globals__),
            function.__name__,
            function.__qualname__,
            self._refer(function.__module__),
            self._refer(function.__doc__),
            None if defaults is None else tuple(map(self._refer, defaults)),
            None if keyword_defaults is None else self._refer_items(keyword_defaults),
            None
            if function.__closure__ is None
            else tuple(map(self._refer_cell, function.__closure__)),
            self._refer_items(attributes),
            self._deferral.of_function(function),
            source,
        )
        self._records.append(record)

    def _depend(self, kind: int, container: object, key: str | None, value: object) -> object:
        self._dependencies[id(container), key] = kind, container, key, value
        return value

    def _depend_on_module(self, name: str) -> None:
        """Once the module is reloaded, what was found there by name has to be found again."""
        module = sys.modules[name]
        if type(module) is _ModuleType and name.partition(".")[0] not in sys.stdlib_module_names:
            spec = module.__dict__.get("__spec__", MISSING)
            self._depend(ENTRY, module.__dict__, "__spec__", spec)

    def _attributes(self, function) -> dict[str, object]:
        own = function.__dict__
        return {
            name: self._depend(ENTRY, own, name, value)
            for name, value in attributes_of(function).items()
        }

    def _survey_globals(self, code, home: dict) -> int:
        index = self._namespace_indexes.get(id(home))
        if index is None:
            index = self._namespace_indexes[id(home)] = len(self._namespaces)
            self._namespaces.append((base_globals(home), {}))
        entries = self._namespaces[index][1]
        read, mentioned = names_in(code)
        self._asks_for_fn |= "fn" in mentioned
        for name in read:
            self._depend(ENTRY, home, name, home.get(name, MISSING))
        for name, (kind, *what) in globals_read(code, home):
            if kind == VALUE:
                if name not in entries:
                    entries[name] = self._refer(*what)
            elif kind in (MODULE, LAZY) and name in entries:
                # Another function may use other submodules of the same package.
                entries[name] = kind, what[0], tuple(dict.fromkeys((*entries[name][2], *what[1])))
            else:
                entries[name] = kind, *what
        return index

    def _refer_cell(self, cell) -> int:
        index = self._cell_indexes.get(id(cell))
        if index is None:
            index = self._cell_indexes[id(cell)] = len(self._cells)
            try:
                value = cell.cell_contents
            except ValueError:
                value = MISSING
            self._depend(CELL, cell, None, value)
            self._cells.append(None)
            if value is not MISSING:
                self._cells[index] = self._refer(value)
        return index

    def _refer_items(self, items: dict) -> tuple:
        return tuple((name, self._refer(value)) for name, value in items.items())

    def _refer_function(self, function) -> tuple:
        index = self._function_indexes.get(id(function))
        if index is None:
            index = self._function_indexes[id(function)] = len(self._functions)
            self._functions.append(function)
        return FUNCTION, index

    def _refer_cache(self, cached) -> tuple:
        index = self._cache_indexes.get(id(cached))
        if index is None:
            index = self._cache_indexes[id(cached)] = len(self._caches)
            options = cached.cache_parameters()
            self._caches.append(())
            function = self._refer_function(cached.__wrapped__)
            attributes = self._refer_items(self._attributes(cached))
            self._caches[index] = options["maxsize"], options["typed"], function, attributes
        return CACHE, index

    def _refer_module(self, module) -> tuple:
        if not is_found_by_name(module):
            self._is_light = False
            return VALUE, None
        return MODULE, module.__name__, ()

    def _refer_variable(self, variable) -> tuple:
        from aiointerpreters._context import name_of

        name = name_of(variable)
        if name is None or not _is_literal(name):
            self._objects.append(variable)  # which pickle knows, or refuses
            return OBJECT, len(self._objects) - 1
        return VARIABLE, *name

    def _refer(self, value: object) -> tuple:
        bare = untagged(value)
        if bare is not value:
            self._meets_tags = True
            value = bare
        kind = type(value)
        if kind in _ATOMS or (kind in _CONTAINERS and _is_literal(value)):
            return VALUE, value
        if kind is _ModuleType:
            return self._refer_module(value)
        if _is_handle(value):
            self._handles.append(value)
            return BESIDE, len(self._handles) - 1
        if _may_have_name(value):
            found = importable(value)
            if found is not None:
                self._depend_on_module(found[0])
                return NAMED, *found
        if kind is FunctionType:
            return self._refer_function(value)
        if kind is ContextVar:
            return self._refer_variable(value)
        if is_cached_function(value):
            return self._refer_cache(value)
        if isinstance(value, type):
            self._survey_class(value)
            self._is_light = False
            return VALUE, None
        self._survey_class(kind)
        self._objects.append(value)
        return OBJECT, len(self._objects) - 1

    def _survey_class(self, cls: type) -> None:
        """Follow the methods of a class, if it goes by value, for the dependencies."""
        if id(cls) in self._classes or importable(cls) is not None:
            return
        self._classes.add(id(cls))
        for base in cls.__bases__:
            self._survey_class(base)
        for value in list(vars(cls).values()):
            for function in (value, *(getattr(value, name, None) for name in _HELD_FUNCTIONS)):
                if type(function) is FunctionType and importable(function) is None:
                    self._refer_function(function)


# Where static and class methods, properties and cached properties keep their functions.
_HELD_FUNCTIONS = ("__func__", "fget", "fset", "fdel", "func")


def _may_have_name(value: object) -> bool:
    return (
        type(value) in (FunctionType, _BuiltinType, _MethodType)
        or isinstance(value, type)
        or is_cached_function(value)
    )


def attributes_of(function) -> dict[str, object]:
    """The attributes that were given to a function."""
    left_out = (_OWN_ATTRIBUTE, *(_OF_DISPATCH if is_single_dispatch(function) else ()))
    return {name: value for name, value in vars(function).items() if name not in left_out}


def base_globals(home: dict) -> tuple[tuple[str, object], ...]:
    """What every function of these globals gets along: names that say where it is from."""
    return tuple(
        (name, home[name]) for name in _BASE_GLOBALS if _is_literal(home.get(name, MISSING))
    )


def globals_read(code, home: dict):
    """The globals that `code` reads: pairs of name and reference, which has one of these kinds.

    MODULE and NAMED, for what the worker imports by itself; LAZY, for what it imports when it is
    needed; VALUE, for anything else. Names that are bound to nothing are left out.
    """
    module = module_with(home)
    read, mentioned = names_in(code)
    for name in read:
        value = home.get(name, MISSING)
        if value is MISSING or name == "__builtins__":
            continue
        if is_lazy(value):
            yield name, (LAZY, name, lazy_import(name, value, mentioned))
        elif type(value) is _ModuleType and is_found_by_name(value):
            yield name, (MODULE, value.__name__, _submodules_used(value, mentioned))
        elif module is not None and is_modules_own(value):
            yield name, (NAMED, module, name)
        else:
            yield name, (VALUE, value)


def is_found_by_name(module) -> bool:
    """Whether another interpreter finds the module by the name that it has."""
    name = getattr(module, "__name__", None)
    return isinstance(name, str) and sys.modules.get(name) is module and is_importable_module(name)


def module_with(home: dict) -> str | None:
    """The name of the importable module whose globals these are; None if there is none."""
    name = home.get("__name__")
    if not is_importable_module(name):
        return None
    return name if vars(sys.modules[name]) is home else None


def is_modules_own(value: object) -> bool:
    """Whether a global of an importable module stays that module's own in each interpreter.

    That is anything but constants, functions, and what is imported from elsewhere: a lock, a
    cache, a table. A function that goes by value uses the worker's, as those do that go by name.
    """
    value = untagged(value)
    kind = type(value)
    if kind in _ATOMS or (kind in _IMMUTABLE and _is_literal(value)):
        return False
    if kind in (_ModuleType, FunctionType) or is_cached_function(value):
        return False
    return not _may_have_name(value) or importable(value) is None


def _submodules_used(module, mentioned: frozenset) -> tuple[str, ...]:
    """Submodules of a package that the code may reach as attributes, because they are loaded."""
    if not hasattr(module, "__path__"):
        return ()
    names = _mentioned_below(module.__name__, sys.modules, mentioned)
    return tuple(filter(is_importable_module, names))


def _mentioned_below(package: str, names, mentioned: frozenset) -> list[str]:
    prefix = package + "."
    return sorted(
        name
        for name in tuple(names)
        if name.startswith(prefix) and mentioned.issuperset(name[len(prefix) :].split("."))
    )


# Lazy imports (PEP 810, Python 3.15): the worker's are lazy as well


_LazyImport = getattr(__import__("types"), "LazyImportType", None)


def is_lazy(value: object) -> bool:
    """Whether `value` is what a name holds whose import nobody has needed yet."""
    return type(value) is _LazyImport


def lazy_import(name: str, value: object, mentioned: frozenset) -> tuple[str, ...]:
    """The statements that import as lazily what a name stands for.

    Args:
        name: What it is bound to.
        value: The lazy import there.
        mentioned: All names in the code that reads it: it may reach submodules as attributes.
    """
    path = repr(value).split("'")[1]
    parent, _, last = path.rpartition(".")
    if any(is_lazy(part) for part in get_referents(value)):  # an attribute of another one
        return (f"lazy from {parent} import {last} as {name}",)
    below = _mentioned_below(path.partition(".")[0], getattr(sys, "lazy_modules", ()), mentioned)
    whole = f"lazy import {path}" + (f" as {name}" if not parent else "")
    return *(f"lazy import {submodule}" for submodule in below), whole


def _is_literal(value: object) -> bool:
    """Whether `marshal` gives back an equal value of the same types throughout.

    marshal by itself writes `bytes` for anything that exports a buffer.
    """
    if type(value) in _ATOMS:
        return True
    pending = [value]
    seen = set()
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind in _ATOMS:
            continue
        if kind not in _CONTAINERS:
            return False
        if id(item) in seen:
            continue
        seen.add(id(item))
        pending.extend(item)
        if kind is dict:
            pending.extend(item.values())
    return True
