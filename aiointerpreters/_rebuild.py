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
LAZY = 8  # (LAZY, name, statements): what they import lazily as that name
BESIDE = 7  # (BESIDE, index): the value of a handle (broadcast), which travels beside the payload

FunctionType = type(lambda: None)


def _cell_type() -> type:
    content = None
    return type((lambda: content).__closure__[0])


_Cell = Cell = _cell_type()


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


def find_module(name: str, submodules: tuple[str, ...] = ()) -> object:
    """Import a module and the submodules that are needed of it, and return it."""
    for needed in (name, *submodules):
        __import__(needed)
    return sys.modules[name]


def import_lazily(name: str, statements: tuple[str, ...]) -> object:
    """What `name` is bound to by the statements, not imported yet (PEP 810, Python 3.15)."""
    scope = {"__builtins__": sys.modules["builtins"], "__name__": __name__}
    exec("\n".join(statements), scope)
    return scope[name]


def keep_source(code, source: tuple[str, str, bool] | None) -> None:
    """Have tracebacks show the lines of a file that cannot be read here: of a prompt, a cell.

    Args:
        code: The code that it is of.
        source: What `_code.source_of` found.
    """
    if source is None:
        return
    import linecache

    name, text, is_by_code = source
    if is_by_code:
        linecache._register_code(code, text, name)
    else:
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name


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


# Annotations: _annotations.py says what is in a record


class Deferred:
    """The values that annotations of one message mention, each loaded when it is asked for."""

    def __init__(self) -> None:
        self.pickles: tuple[bytes | str, ...] = ()
        self._values: dict[int, object] = {}

    def value(self, index: int) -> object:
        """The value of that index.

        Raises:
            NameError: It could not be sent.
            Exception: Whatever loading it raised.
        """
        if index not in self._values:
            from aiointerpreters import _pickling

            pickled = self.pickles[index]
            if type(pickled) is str:
                raise NameError(f"what is mentioned here could not be sent: {pickled}")
            # Of two threads that load it at once, both get the first one's.
            self._values.setdefault(index, _pickling.loads_deferred(pickled, self))
        return self._values[index]


class Evaluation:
    """Evaluates what a record says, in the place of the compiler's own function for it."""

    def __init__(self, deferred: Deferred, record: tuple, scope: dict) -> None:
        self._deferred = deferred
        self._code, self._names, self._cells, self._values = record
        self._scope = scope

    def __call__(self, format: int = 1) -> object:
        """Evaluate in that `annotationlib.Format`."""
        if self._code is None:
            self._bring_names()
            return self._deferred.value(self._values[0][1])
        if format <= 2:
            return self.function()(format)
        import annotationlib

        return annotationlib.call_annotate_function(self.function(), format)

    def function(self) -> FunctionType:
        """The compiler's function, with all that it mentions and that can be had."""
        self._bring_names()
        cells = self._cells and tuple(map(self._cell, self._cells))
        return FunctionType(self._code, self._scope, self._code.co_name, None, cells)

    def annotations(self) -> dict:
        """Where there is no code: the annotations themselves."""
        self._bring_names()
        return dict(self._items(self._values))

    def _bring_names(self) -> None:
        main = sys.modules.get("__main__")
        for name, value in self._items(self._names):
            # Strings in a class are evaluated in its module. The worker's __main__ has no names of
            # its own: there, the last one is right.
            if name not in self._scope or self._scope is vars(main):
                self._scope[name] = value

    def _items(self, indexes: tuple):
        for name, index in indexes:
            try:
                yield name, self._deferred.value(index)
            except Exception:  # it is a name that is not there, or an annotation that is not
                continue

    def _cell(self, what: int | tuple | None):
        try:
            if what is None:
                return _Cell()
            content = self._deferred.value(what) if type(what) is int else dict(self._items(what))
            return _Cell(content)
        except Exception:
            return _Cell()


class LazyAnnotations(dict):
    """A dictionary of annotations that fills itself when somebody looks."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation: Evaluation | None = evaluation

    def __reduce_ex__(self, protocol: int) -> tuple:
        return dict, (dict(self.items()),)

    __hash__ = None


def _filling(name: str):
    method = getattr(dict, name)

    def filled(self, *args, **kwargs):
        evaluation = self._evaluation
        if evaluation is not None:
            dict.update(self, evaluation.annotations())
            self._evaluation = None
        return method(self, *args, **kwargs)

    return filled


for _name in (
    *("__contains__", "__delitem__", "__eq__", "__getitem__", "__ior__", "__iter__", "__len__"),
    *("__ne__", "__or__", "__repr__", "__reversed__", "__ror__", "__setitem__", "clear", "copy"),
    *("get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"),
):
    setattr(LazyAnnotations, _name, _filling(_name))


def annotate(owner: object, record: tuple | None, deferred: Deferred, scope: dict) -> None:
    """Give a function or a class its annotations.

    Args:
        owner: The function or class.
        record: What `_annotations.Deferral` made of its annotations; None: it has none.
        deferred: The values that the record refers to.
        scope: The globals in which they are evaluated.
    """
    if record is None:
        return
    evaluation = Evaluation(deferred, record, scope)
    if record[0] is None:
        owner.__annotations__ = LazyAnnotations(evaluation)
    else:
        owner.__annotate__ = evaluation


# Functions in a pickle


def make_function(code, scope: dict, name: str, closure: tuple | None, source) -> FunctionType:
    """A function that `fill_function` completes.

    Args:
        code: Its code.
        scope: Its globals, which functions may share.
        name: Its name.
        closure: Its cells.
        source: What `keep_source` takes.
    """
    keep_source(code, source)
    scope.setdefault("__builtins__", sys.modules["builtins"])
    return FunctionType(code, scope, name, None, closure)


def fill_function(function: FunctionType, state: tuple) -> None:
    """Complete a function.

    Args:
        function: The function.
        state: Its attributes that can be set by name, as a dictionary; its `__dict__`, the names
            that it reads in its globals, and the record of its annotations with their values.
    """
    settings, attributes, names, record, deferred = state
    for name, value in settings.items():
        setattr(function, name, value)
    function.__dict__.update(attributes)
    function.__globals__.update(names)
    annotate(function, record, deferred, function.__globals__)


def fill_cell(cell, contents: tuple) -> None:
    """Put into the cell what a tuple of one has."""
    (cell.cell_contents,) = contents


def give_pickles(deferred: Deferred, pickles: tuple) -> None:
    """Give it the values that a message had at its end."""
    deferred.pickles = pickles


def make_evaluation(deferred: Deferred, record: tuple, module: str) -> Evaluation:
    """An evaluation in a scope of its own."""
    scope = {"__name__": module, "__builtins__": sys.modules["builtins"]}
    return Evaluation(deferred, record, scope)


def first(value: object, _beside: object) -> object:
    """Arrives as `value`, when all is loaded."""
    return value


class _Rebuild:
    """The functions of one light payload, made first and filled afterwards: they may be cyclic."""

    def __init__(
        self,
        beside,
        root,
        records,
        namespaces,
        cells,
        caches,
        pickled,
        own_beside,
        deferred,
        sources,
    ) -> None:
        for record in records:
            keep_source(record[0], record[11] and sources[record[11] - 1])
        self._beside = beside
        self._deferred = Deferred()
        self._deferred.pickles = deferred
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
        function.__qualname__ = qualname
        function.__module__ = self._resolve(module)
        function.__doc__ = self._resolve(doc)
        if defaults is not None:
            function.__defaults__ = tuple(map(self._resolve, defaults))
        if keyword_defaults is not None:
            function.__kwdefaults__ = self._resolve_items(keyword_defaults)
        function.__dict__.update(self._resolve_items(attributes))
        annotate(function, record[10], self._deferred, function.__globals__)

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
        if kind == LAZY:
            return import_lazily(what, *rest)
        return find_module(what, *rest)
