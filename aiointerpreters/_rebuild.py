"""Functions from another interpreter: by name, or rebuilt from what `_byvalue.dump` made of them.

A worker that is sent nothing but functions needs this module alone, so it is small and imports
nothing that is not there already.
"""

import marshal
import sys

# The first byte of a payload.
LIGHT = b"L"
CLOUD = b"C"

# Kinds of reference in a light payload, each the first item of a tuple.
VALUE = 0  # (VALUE, value): the value itself
MODULE = 1  # (MODULE, name, submodules)
NAMED = 2  # (NAMED, module, qualname): found by import
FUNCTION = 3  # (FUNCTION, index)
OBJECT = 4  # (OBJECT, index): in the payload's pickle
CACHE = 5  # (CACHE, index): functools.lru_cache around a function; one with nothing in it
VARIABLE = 6  # (VARIABLE, *name): a context variable, as find_variable() takes its name
BESIDE = 7  # (BESIDE, index): the value of a handle (broadcast), which travels beside the payload

FunctionType = type(lambda: None)


def _cell_type() -> type:
    content = None
    return type((lambda: content).__closure__[0])


_Cell = _cell_type()


def find_function(module: str, qualname: str) -> object:
    """Import `module` and return what `qualname` names there, without its interpreter tag.

    Args:
        module: Full name of the module.
        qualname: Dotted path from there; it may go through `__wrapped__`.

    Raises:
        ImportError: The module cannot be imported in this interpreter.
        AttributeError: There is nothing of that name, with a note on likely reasons.
    """
    __import__(module)
    found = sys.modules[module]
    try:
        for name in qualname.split("."):
            found = getattr(found, name)
    except AttributeError as error:
        error.add_note(
            f"{module}.{qualname} was found by the caller, but not by a worker, which imports the "
            "module afresh: is it set at run time, or for the main program only?"
        )
        raise
    return untagged(found)


# The context variables that stand for those of the caller's __main__, by path.
main_variables: dict = {}


def find_variable(module: str, path: str, name: str | None = None, *default: object) -> object:
    """The context variable of this interpreter that `_context.name_of` named.

    Args:
        module: The module; or `__main__`, whose variables are made here when they are first met.
        path: Dotted path from there.
        name: For one of `__main__`: the variable's own name.
        *default: And its default, if it has one.

    Raises:
        ImportError: The module cannot be imported in this interpreter.
        AttributeError: There is nothing of that name.
    """
    if module != "__main__":
        return find_function(module, path)
    from _contextvars import ContextVar

    found = main_variables.get(path) or sys.modules.get("__main__")
    try:
        for step in path.split(".") if type(found) is not ContextVar else ():
            found = getattr(found, step)
    except AttributeError:
        found = None
    if type(found) is not ContextVar:
        options = {"default": default[0]} if default else {}
        found = main_variables[path] = ContextVar(name or path, **options)
    return found


def set_decimal(settings: tuple) -> bool:
    """Give the current context the decimal context that `_context.decimal_settings` described."""
    import decimal

    *numbers, traps = settings
    decimal.setcontext(decimal.Context(*numbers, [], [getattr(decimal, name) for name in traps]))
    return True


def untagged(obj: object) -> object:
    """What an interpreter tag marks; anything else as it is."""
    core = sys.modules.get("aiointerpreters._core")
    if core is not None and type(obj) is core.interpreter:
        return obj.fn
    return obj


def load(payload: bytes | memoryview, beside=()):
    """Make the function of which `dump` made `payload`.

    Args:
        payload: The payload.
        beside: The values of the handles that `dump` found, in order.

    Raises:
        Exception: Whatever importing what the function uses raised, ImportError as a rule.
    """
    if payload[:1] == CLOUD:
        from aiointerpreters import _pickling

        return _pickling.loads(payload[1:], beside)
    return _Rebuild(beside, *marshal.loads(payload[1:])).root


class _Rebuild:
    """The functions of one light payload, made first and filled afterwards: they may be cyclic."""

    def __init__(
        self, beside, root, records, namespaces, cells, caches, pickled, own_beside
    ) -> None:
        self._beside = beside
        self._objects = ()
        if pickled is not None:
            from aiointerpreters import _pickling

            self._objects = _pickling.loads(pickled, beside[own_beside:])
        builtins = sys.modules["builtins"]
        scopes = [{"__builtins__": builtins, **dict(base)} for base, _ in namespaces]
        self._cells = [_Cell() for _ in cells]
        self._functions = [self._make(record, scopes) for record in records]
        self._caches = [self._make_cache(*cache) for cache in caches]
        self.root = self._resolve(root)
        for record, function in zip(records, self._functions, strict=True):
            self._fill(record, function)
        for cache, (*_, attributes) in zip(self._caches, caches, strict=True):
            cache.__dict__.update(self._resolve_items(attributes))
        for cell, reference in zip(self._cells, cells, strict=True):
            if reference is not None:
                cell.cell_contents = self._resolve(reference)
        for scope, (_, names) in zip(scopes, namespaces, strict=True):
            for name, reference in names:
                scope[name] = self._resolve(reference)

    def _make(self, record, scopes):
        code, scope, name, _, _, _, _, _, cells, *_ = record
        closure = None if cells is None else tuple(self._cells[index] for index in cells)
        return FunctionType(code, scopes[scope], name, None, closure)

    def _make_cache(self, maxsize, typed, function, _attributes):
        from functools import lru_cache

        return lru_cache(maxsize, typed)(self._resolve(function))

    def _fill(self, record, function) -> None:
        (_, _, _, qualname, module, doc, defaults, keyword_defaults, _, attributes) = record[:10]
        annotations, annotate = record[10:]
        function.__qualname__ = qualname
        function.__module__ = self._resolve(module)
        function.__doc__ = self._resolve(doc)
        if defaults is not None:
            function.__defaults__ = tuple(map(self._resolve, defaults))
        if keyword_defaults is not None:
            function.__kwdefaults__ = self._resolve_items(keyword_defaults)
        function.__dict__.update(self._resolve_items(attributes))
        if annotations is not None:
            function.__annotations__ = annotations
        if annotate is not None:
            function.__annotate__ = FunctionType(annotate, function.__globals__)

    def _resolve_items(self, items: tuple) -> dict:
        return {name: self._resolve(reference) for name, reference in items}

    def _resolve(self, reference: tuple) -> object:
        kind, what, *rest = reference
        if kind == VALUE:
            return what
        if kind == FUNCTION:
            return self._functions[what]
        if kind == CACHE:
            return self._caches[what]
        if kind == OBJECT:
            return self._objects[what]
        if kind == BESIDE:
            return self._beside[what]
        if kind == NAMED:
            return find_function(what, *rest)
        if kind == VARIABLE:
            return find_variable(what, *rest)
        for name in (what, *rest[0]):
            __import__(name)
        return sys.modules[what]
