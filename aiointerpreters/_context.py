"""Context variables, by the names that both sides know them by.

A `contextvars.ContextVar` is an object of one interpreter. Another one finds its own by a module
and a dotted path there. For one of `__main__`, a module that workers do not have, each worker keeps
a table of its own, by the same path.
"""

import sys
from _contextvars import Context, ContextVar, copy_context

from aiointerpreters._byvalue import is_importable_module
from aiointerpreters._modules import MAIN_MODULES
from aiointerpreters._rebuild import find_variable, main_variables

# What name_of() has found.
_names: dict[ContextVar, tuple] = {}


def checked(context_vars, must_be_named: bool) -> tuple:
    """The argument `context_vars` as a tuple of variables, each once.

    Args:
        context_vars: What the user gave.
        must_be_named: False in a worker, where a tag only has to be made: nothing is sent by it.

    Raises:
        TypeError: It is no iterable of context variables.
        ValueError: One of them has no name by which a worker could know it.
    """
    if isinstance(context_vars, ContextVar):
        raise TypeError(f"context_vars must be an iterable of variables, not one: {context_vars!r}")
    try:
        items = iter(context_vars)
    except TypeError:
        kind = type(context_vars).__qualname__
        raise TypeError(
            f"context_vars must be an iterable of contextvars.ContextVar, not {kind!r}"
        ) from None
    variables = tuple(items)
    for variable in variables:
        if not isinstance(variable, ContextVar):
            raise TypeError(f"context_vars takes contextvars.ContextVar objects, not {variable!r}")
        if must_be_named and name_of(variable) is None:
            raise ValueError(
                f"context_vars: workers cannot find {variable!r}: it must be a global, or an "
                "attribute of one, of a module that they can import or of __main__"
            )
    return tuple(dict.fromkeys(variables))


def name_of(variable: ContextVar) -> tuple | None:
    """What `find_variable` finds the variable by in a worker: a module and a dotted path.

    One of `__main__` is made there, so its own name and its default, if it has one, come with it.

    Returns:
        None if it is found nowhere.
    """
    found = _names.get(variable)
    if found is None:
        found = _search(variable)
        if found is not None:
            _names[variable] = found
    return found


def _search(variable: ContextVar) -> tuple | None:
    """Look through all modules: for a global first, then for an attribute of one."""
    for path, stand_in in main_variables.items():  # in a worker
        if stand_in is variable:
            return _in_main(path, variable)
    for paths_of in (_global_paths, _attribute_paths):
        in_main = None
        for name, module in list(sys.modules.items()):
            path = next(paths_of(module, variable), None)
            if path is None:
                continue
            if name in MAIN_MODULES:
                in_main = _in_main(path, variable)
            elif is_importable_module(name):
                return name, path
        if in_main is not None:
            return in_main
    return None


def _in_main(path: str, variable: ContextVar) -> tuple:
    try:
        default = (Context().run(variable.get),)
    except LookupError:
        default = ()
    return "__main__", path, variable.name, *default


def _namespace(holder: object) -> dict:
    # Not vars(): a lazy module's __getattribute__ may import it, and a proxy's may do anything.
    try:
        namespace = object.__getattribute__(holder, "__dict__")
        if isinstance(holder, type):
            namespace = dict(type.__dict__["__dict__"].__get__(holder))
        return dict(namespace)
    except Exception:
        return {}


def _global_paths(module: object, variable: ContextVar):
    for name, value in _namespace(module).items():
        if value is variable:
            yield name


def _attribute_paths(module: object, variable: ContextVar):
    for holder_name, holder in _namespace(module).items():
        for name, value in _namespace(holder).items():
            if value is variable and type(holder) is not type(sys):
                yield f"{holder_name}.{name}"


# Decimal


def decimal_settings(source: Context | None) -> tuple | None:
    """The decimal context there, or None if it is what a new thread would begin with anyway.

    The flags, which are results, are not among the settings.

    Args:
        source: Where to look; None: in the current context.

    Returns:
        The arguments of `decimal.Context` up to `clamp`, and the names of the traps.
    """
    decimal = sys.modules["decimal"]
    there = copy_context() if source is None else source.copy()
    try:
        settings = settings_of(there.run(decimal.getcontext))
        return None if settings == settings_of(decimal.DefaultContext) else settings
    except AttributeError:  # a module that is being imported, or another one of that name
        return None


def settings_of(context) -> tuple:
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    traps = tuple(signal.__name__ for signal, is_on in context.traps.items() if is_on)
    return *(getattr(context, name) for name in names), traps


# Pickling


def reduce_variable(variable: ContextVar) -> tuple:
    """How a variable is pickled: the receiver finds its own of that name.

    Raises:
        TypeError: It has no name.
    """
    name = name_of(variable)
    if name is None:
        raise TypeError(f"cannot pickle {variable!r}, which is found in no module")
    return find_variable, name


def reduce_tag(marked: object, given: dict) -> tuple:
    """How a tag with options is pickled and copied."""
    options = dict(given)
    if "context_vars" in options:
        options["context_vars"] = tuple(map(name_of, options["context_vars"]))
    return remake_tag, (marked, options)


def remake_tag(marked: object, options: dict) -> object:
    """A tag with options, of what `reduce_tag` made of it."""
    from aiointerpreters._core import interpreter

    options = dict(options)
    if "context_vars" in options:
        options["context_vars"] = tuple(find_variable(*name) for name in options["context_vars"])
    return interpreter(marked, **options)
