"""A worker's interpreter that looks like the caller's.

The first half runs in the caller's interpreter: it describes what workers take over, and receives
what they send home. The second half runs in a worker's, and is imported there when there is
something to take over that the interpreter was not made with, or when a task imports a module that
it hooks.
"""

import marshal
import sys
from _contextvars import Context, copy_context
from itertools import count

from aiointerpreters import _core as _imported_core

# In a worker the one that is a finder, which a task may have made sys.modules forget.
_core = next((one for one in sys.meta_path if hasattr(one, "hooked")), _imported_core)

_MAIN_MODULES = ("__main__", "__mp_main__")  # which no interpreter imports
_LEVELS, _DECIMAL, _RECORD = range(3)  # what a call home is about


# In the caller's interpreter


def describe(filters: tuple, with_levels: bool, imported: set) -> tuple:
    """What workers take over besides what C code knows, in terms that need no pickle.

    Args:
        filters: The items of `warnings.filters`.
        with_levels: Whether a worker has asked for the levels of loggers.
        imported: Names of modules that may have been put into `sys.modules`, among them all that
            were since the last description that workers have got.
    """
    described = [_describe_filter(item) for item in filters or ()]
    levels = _levels() if with_levels else None
    _note_reloads(imported)
    settings = {name: getattr(sys, name, None) for name in _SETTINGS}
    reloads = sorted(_reloads.items(), key=lambda item: item[1])
    others = (settings, reloads) if _reloads or settings != _SETTINGS else None
    return tuple(item for item in described if item is not None), levels, others


# Attributes of `sys` that follow the caller's, and what they are in a new interpreter.
# is_setting() in home.c knows their names.
_SETTINGS = {
    "dont_write_bytecode": bool(sys.flags.dont_write_bytecode),
    "pycache_prefix": None,
    "tracebacklimit": None,  # when there is none
}

# The modules that were imported, by name: their specs. Each import and each reload makes one.
_specs: dict[str, object] = {}
# The modules that were reloaded, by name: the number of the last reload.
_reloads: dict[str, int] = {}
_reload_numbers = count(1)


def _spec_of(module: object) -> object:
    # Not getattr(): a lazy module would be imported by it.
    try:
        return object.__getattribute__(module, "__dict__").get("__spec__")
    except Exception:  # anything may stand in sys.modules
        return None


if not hasattr(_core, "hooked"):  # in the caller's interpreter
    for _name, _module in list(sys.modules.items()):
        _specs[_name] = _spec_of(_module)


def _note_reloads(imported: set) -> None:
    for name in imported.difference(_MAIN_MODULES):
        spec = _spec_of(sys.modules.get(name))
        if spec is not None and _specs.setdefault(name, spec) is not spec:
            # In this order: threads may be here at once, and none may pass over a reload that is
            # not in _reloads yet.
            _reloads[name] = next(_reload_numbers)
            _specs[name] = spec


def _describe_filter(item: object) -> tuple | None:
    try:
        action, message, category, module, line = item
        name = category.__module__, category.__qualname__
        return action, _describe_pattern(message), name, _describe_pattern(module), line
    except Exception:  # not what the warnings module would make
        return None


def _describe_pattern(pattern) -> str | tuple[str, int] | None:
    return pattern if pattern is None or type(pattern) is str else (pattern.pattern, pattern.flags)


def _levels() -> tuple[int, dict[str, tuple[int, bool]]]:
    """The level of `logging.disable`; and by name, level and `disabled` of loggers with any."""
    import logging

    root = logging.root
    levels = {"": (root.level, root.disabled)}
    for name, logger in list(root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (logger.level or logger.disabled):
            levels[name] = logger.level, logger.disabled
    return root.manager.disable, levels


def receive(data: bytes) -> bytes | None:
    """Handle a call of a worker, in its thread."""
    kind, content = marshal.loads(data)
    if kind == _RECORD:
        return _handle_record(content)
    if kind == _LEVELS:
        import logging

        _core.watch_levels(logging.root._cache)
        return marshal.dumps(_levels())
    decimal = sys.modules.get("decimal")
    if decimal is None or not hasattr(decimal, "DefaultContext"):
        return None
    from aiointerpreters._context import settings_of

    return marshal.dumps(settings_of(decimal.DefaultContext))


def _handle_record(content: tuple) -> None:
    import logging

    attributes, pickled, variables = content
    if pickled:
        from aiointerpreters import _pickling

        for name, (data, text) in pickled.items():
            try:
                attributes[name] = _pickling.loads(data)
            except Exception:  # its class is not to be had here
                attributes[name] = text
    record = logging.makeLogRecord(attributes)
    try:
        _context_with(variables).run(logging.getLogger(record.name).handle, record)
    except Exception:
        # As for a handler that fails in its emit(): said on stderr, unless logging is told not to.
        logging.Handler().handleError(record)


def _context_with(variables: list) -> Context:
    """A context in which the variables have the values that a task saw."""
    context = Context()
    if variables:
        from aiointerpreters import _pickling
        from aiointerpreters._rebuild import find_variable

        for name, data in variables:
            try:
                context.run(find_variable(*name).set, _pickling.loads(data))
            except Exception:  # a value that is not to be had here
                pass
    return context


# In a worker's interpreter: taking over

# What was taken over last.
_taken: tuple = ((), None)
_settings_taken = dict(_SETTINGS)
_reloads_taken: dict[str, int] = {}
_timeout_taken: float | None = None


def apply(rest: tuple, timeout: float | None) -> None:
    """Take over what `describe` made, and the default timeout of sockets."""
    global _taken
    filters, levels, others = rest
    before, _taken = _taken, (filters, levels)
    if filters != before[0]:
        _apply_filters()
    logging = sys.modules.get("logging")
    if levels is not None and logging is not None and _levels_applied:
        _apply_levels(logging, levels)
    _apply_timeout(timeout)
    settings, reloads = others or (_SETTINGS, ())
    for name, value in settings.items():
        if value != _settings_taken[name]:
            setattr(sys, name, value)
            _settings_taken[name] = value
    for name, number in reloads:
        if _reloads_taken.get(name) != number:
            _reloads_taken[name] = number
            _reload(name)


def _apply_timeout(timeout: float | None) -> None:
    global _timeout_taken
    if timeout != _timeout_taken:
        _timeout_taken = timeout
        if "socket" in sys.modules:
            _after_socket(sys.modules["socket"])
        else:
            _hook("socket", _after_socket)


def _after_socket(socket) -> None:
    socket.setdefaulttimeout(_timeout_taken)


def _reload(name: str) -> None:
    """Have a module that the caller has reloaded imported anew, if it was imported here."""
    module = sys.modules.get(name)
    if module is None:
        return
    try:
        from importlib import reload

        reload(module)
    except Exception:
        sys.modules.pop(name, None)  # whoever imports it is told


def _apply_filters(*_: object) -> None:
    import warnings

    filters = [_make_filter(*item) for item in _taken[0]]
    warnings.resetwarnings()  # which makes what was decided before be forgotten
    warnings.filters[:] = [item for item in filters if item is not None]


def _make_filter(action, message, category, module, line) -> tuple | None:
    home, path = category
    found = sys.modules.get(home)
    if found is None:
        # Nobody here can warn so yet: it is made when that module is imported.
        _hook(home, _apply_filters)
        return None
    for name in path.split("."):
        found = getattr(found, name, None)
    if not isinstance(found, type):
        return None
    return action, _make_pattern(message), found, _make_pattern(module), line


def _make_pattern(pattern):
    if type(pattern) is not tuple:
        return pattern
    import re

    return re.compile(*pattern)


# In a worker's interpreter: imports

_after: dict[str, list] = {}  # by name of the module


def _hook(name: str, function) -> None:
    """Have `function` called with the module of that name, once it has been imported."""
    functions = _after.setdefault(name, [])
    if function not in functions:
        functions.append(function)
    _core.hooked.add(name)


def find_spec(name: str):
    """The spec of a module that is hooked, as others find it, with a loader around theirs."""
    parent = name.rpartition(".")[0]
    path = sys.modules[parent].__path__ if parent else None
    for finder in sys.meta_path:
        if finder is _core:
            continue
        spec = finder.find_spec(name, path)
        if spec is not None:
            if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                spec.loader = _Loader(spec.loader)
            return spec
    return None


class _Loader:
    """Loads by another loader and then calls what is hooked to the module."""

    def __init__(self, loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        for function in list(_after.get(module.__name__, ())):
            function(module)


def _call_home(kind: int, content: object = None):
    answer = _core.call_home(marshal.dumps((kind, content)))
    return None if answer is None else marshal.loads(answer)


# In a worker's interpreter: decimal, threading


def _after_decimal(decimal) -> None:
    settings = _call_home(_DECIMAL)
    if settings is None:
        return
    *numbers, traps = settings
    standard = decimal.DefaultContext
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    for name, value in zip(names, numbers, strict=True):
        setattr(standard, name, value)
    for signal in standard.traps:
        standard.traps[signal] = signal.__name__ in traps


def _after_threading(threading) -> None:
    """Name the workers' threads, which threading meets as threads of unknown origin."""
    dummy = threading._DummyThread
    make = dummy.__init__

    def init(self) -> None:
        make(self)
        name = _core.place()[1]
        if name is not None:
            self._name = name

    dummy.__init__ = init


# In a worker's interpreter: logging

_levels_applied: dict[str, tuple[int, bool]] = {}
_STANDARD: frozenset = frozenset()  # attributes that each record has


def _after_logging(logging) -> None:
    global _STANDARD
    _STANDARD = frozenset(vars(logging.makeLogRecord({})))
    own = logging.Logger.callHandlers

    def call_handlers(self, record) -> None:
        if _has_own_handlers(logging, self):
            own(self, record)
        else:
            _send(logging, record)

    logging.Logger.callHandlers = call_handlers
    # For logging.info() and the like, which would configure a root logger without handlers; and out
    # of the way of a task that does so itself.
    placeholder = logging.NullHandler()
    logging.root.addHandler(placeholder)
    configure = logging.basicConfig

    def basic_config(**options) -> None:
        logging.root.removeHandler(placeholder)
        configure(**options)

    logging.basicConfig = basic_config
    levels = _call_home(_LEVELS)
    if levels is not None:
        _apply_levels(logging, levels)


def _apply_levels(logging, levels: tuple) -> None:
    """Set what has changed at home: what a task has set here otherwise stays."""
    disable, by_name = levels
    if logging.root.manager.disable != disable:
        logging.disable(disable)
    for name in {**_levels_applied, **by_name}:
        state = by_name.get(name, (0, False))
        if state != _levels_applied.get(name):
            logger = logging.getLogger(name) if name else logging.root
            logger.setLevel(state[0])
            logger.disabled = state[1]
    _levels_applied.clear()
    _levels_applied.update(by_name)


def _has_own_handlers(logging, logger) -> bool:
    """Whether a task has configured logging here for records of this logger."""
    while logger is not None:
        if any(type(handler) is not logging.NullHandler for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _send(logging, record) -> None:
    try:
        message = record.getMessage()
    except Exception:
        logging.Handler().handleError(record)
        return
    attributes = dict(vars(record))
    pickled = {}
    if record.exc_info and not record.exc_text:
        attributes["exc_text"] = logging.Formatter().formatException(record.exc_info)
    attributes |= {"msg": message, "args": None, "exc_info": None}
    attributes["interpreter"] = _core.place()[0]
    for name, value in attributes.items():
        if not _is_plain(value):
            attributes[name], data = _dump(value)
            if data is not None and name not in _STANDARD:
                pickled[name] = data, attributes[name]
    _call_home(_RECORD, (attributes, pickled, _named_variables()))


def _named_variables() -> list:
    """The context variables that tasks have brought along, with their values here, pickled."""
    variables = []
    for name, variable in getattr(_core, "context_variables", {}).items():
        if variable is not None and variable in copy_context():
            data = _dump(variable.get())[1]
            if data is not None:
                variables.append((name, data))
    return variables


def _is_plain(value: object) -> bool:
    return value is None or type(value) in (bool, int, float, str, bytes)


def _dump(value: object) -> tuple[str, bytes | None]:
    """The repr of a value, and its pickle if it can be sent."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__} without a repr>"
    try:
        from aiointerpreters import _pickling

        return text, _pickling.dumps_whole(value, is_result=True)
    except Exception:
        return text, None


if hasattr(_core, "hooked"):  # in a worker's interpreter
    _hook("decimal", _after_decimal)
    _hook("logging", _after_logging)
    _hook("threading", _after_threading)
