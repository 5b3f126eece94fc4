"""Where in a value the part is that cannot be sent, for the text of a `SendError`.

Imported after a failure only. The part is found by trying: of the parts that an object is pickled
as, the first that cannot be sent by itself is looked into in the same way. So what is found refuses
on its own, whichever Python this is; the notes that pickle adds to its errors say less and are not
there before 3.14.
"""

import time
from _pickle import Unpickler
from copyreg import dispatch_table as _registered

from aiointerpreters import _byvalue, _rebuild
from aiointerpreters._errors import is_for_want_of_room

_MOST_LEVELS = 100
_MOST_SECONDS = 2.0  # of the thread's own time
_MOST_PARTS = 1_000_000
_MOST_CHARACTERS = 60  # of a key in a path
_LIBRARIES = {"numpy": "NumPy"}


# What cannot be pickled


def find(value: object, path: str, error: BaseException, dumps) -> tuple[str, object, object]:
    """Find the innermost part of `value` that cannot be sent.

    Args:
        value: What cannot be sent.
        path: How it is called, what the path begins with.
        error: Why it cannot be sent.
        dumps: What pickles for the other side; raises if it cannot.

    Returns:
        The path, as an expression where it can be one; the part; and why that cannot be sent.
        Those of `value` if no part refuses alone; the search is bounded in time.
    """
    deadline = time.thread_time() + _MOST_SECONDS
    around = [value]  # a part that contains itself is not looked into again
    for _ in range(_MOST_LEVELS):
        parts = [
            (step, part)
            for step, part in _parts(value)
            if all(part is not known for known in around)
        ]
        found = _first_refused(parts, dumps, deadline)
        if found is None:
            break
        step, value, error = found
        path = _join(path, step)
        around.append(value)
    return path, value, error


def _first_refused(parts: list, dumps, deadline: float):
    """The first of the (step, part) pairs that cannot be sent, with its error; by halving."""
    if not parts:
        return None
    low, high = 0, len(parts)
    while high - low > 1:
        middle = (low + high) // 2
        if _refusal(dumps, [part for _, part in parts[low:middle]], deadline) is None:
            low = middle
        else:
            high = middle
    step, part = parts[low]
    error = _refusal(dumps, part, deadline)
    return None if error is None else (step, part, error)


def _refusal(dumps, value: object, deadline: float) -> Exception | None:
    """Why the value cannot be sent; None if it can be, or nobody can say."""
    if time.thread_time() > deadline:
        return None
    try:
        dumps(value)
    except Exception as error:
        return None if is_for_want_of_room(error) else error
    return None


def _join(path: str, step: str) -> str:
    if not path or step[0] in ".[":
        return path + step
    return f"{path}, {step}"


def _parts(value: object) -> list[tuple[str, object]]:
    """What the value is pickled as, each part with the step that leads to it."""
    try:
        return _parts_of(value)
    except Exception:  # its own reduction
        return []


def _parts_of(value: object) -> list[tuple[str, object]]:
    value = _byvalue.untagged(value)
    kind = type(value)
    if kind is dict:
        return _items(value.items())
    if kind in (list, tuple):
        return [(f"[{n}]", item) for n, item in enumerate(value)]
    if kind in (set, frozenset):
        return [("an element", item) for item in value]
    if kind is _byvalue.FunctionType:
        return [] if _byvalue.importable(value) else _parts_of_function(value)
    if kind is _byvalue._MethodType:
        return [(".__self__", value.__self__), (".__func__", value.__func__)]
    if isinstance(value, type):
        return [] if _byvalue.importable(value) else _parts_of_class(value)
    if kind.__module__ == "functools" and kind.__name__ == "partial":
        keywords = [(f".keywords{step}", item) for step, item in _items(value.keywords.items())]
        args = [(f".args[{n}]", item) for n, item in enumerate(value.args)]
        return [(".func", value.func), *args, *keywords]
    if isinstance(value, BaseException):
        args = [(f".args[{n}]", item) for n, item in enumerate(value.args)]
        return args + _attributes(vars(value))
    return _parts_of_reduction(value, _reduction(value))


def _items(pairs) -> list[tuple[str, object]]:
    parts = []
    for key, item in pairs:
        name = _shown(key)
        parts += [(f"the key {name}", key), (f"[{name}]", item)]
    return parts


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    if isinstance(value, str) and "'" not in value and '"' not in value:
        text = '"' + text[1:-1] + '"'
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def _parts_of_function(function) -> list[tuple[str, object]]:
    code = function.__code__
    read = _byvalue.globals_read(code, function.__globals__)
    parts = sorted((f"global {name}", what[1]) for name, what in read if what[0] == _rebuild.VALUE)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            parts.append((f"closure variable {name}", cell.cell_contents))
        except ValueError:  # it holds nothing yet
            pass
    defaults = function.__defaults__ or ()
    taking = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    for name, default in (*zip(taking, defaults, strict=True), *_keyword_defaults(function)):
        parts.append((f"default {name}", default))
    return parts + _attributes(vars(function))


def _keyword_defaults(function):
    return (function.__kwdefaults__ or {}).items()


def _parts_of_class(cls: type) -> list[tuple[str, object]]:
    left_out = ("__dict__", "__weakref__")
    parts = []
    for name, held in vars(cls).items():
        if name not in left_out:
            for attribute in _byvalue._HELD_FUNCTIONS:
                inner = getattr(held, attribute, None)
                held = inner if type(inner) is _byvalue.FunctionType else held
            parts.append((f".{name}", held))
    return [*((f"base class {base.__qualname__}", base) for base in cls.__bases__), *parts]


def _attributes(state: dict) -> list[tuple[str, object]]:
    return [(f".{name}", item) for name, item in state.items() if name != _byvalue._OWN_ATTRIBUTE]


def _reduction(value: object):
    reducer = _registered.get(type(value))
    return reducer(value) if reducer is not None else value.__reduce_ex__(5)


def _parts_of_reduction(value: object, reduced) -> list[tuple[str, object]]:
    if not isinstance(reduced, tuple):  # a name
        return []
    function, args, state, listed, keyed = (*reduced[:5], None, None, None)[:5]
    names = _names_of_parts(value)
    parts = [
        (names.get(id(part)) or f"what it is made from[{n}]", part)
        for n, part in enumerate(args or ())
        if part is not type(value)
    ]
    if not _byvalue.importable(type(value)):
        parts.append(("its class", type(value)))
    for fields in state if isinstance(state, tuple) else (state,):
        if isinstance(fields, dict):
            parts += _attributes(fields)
        elif fields is not None:
            members = fields if isinstance(fields, list) else [fields]
            parts += [(names.get(id(part)) or ", its state", part) for part in members]
    parts += [(f"[{n}]", part) for n, part in enumerate(listed or ())]
    return parts + _items(keyed or ()) + [("what remakes it", function)]


def _names_of_parts(value: object) -> dict[int, str]:
    """Attributes that hold something, by the address of that, which `value` keeps alive."""
    names = {id(item): f".{name}" for name, item in getattr(value, "__dict__", {}).items()}
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (*((slots,) if isinstance(slots, str) else slots), *_fields(cls)):
            if hasattr(value, name):
                names[id(getattr(value, name))] = f".{name}"
    return names


def _fields(cls: type) -> tuple:
    return cls.__dict__.get("_fields", ()) if issubclass(cls, tuple) else ()


# What cannot be unpickled


def find_missing(data: bytes | memoryview, buffers) -> tuple | None:
    """Find in a pickled call what this interpreter cannot import.

    The pickle is loaded once more, with stand-ins for what cannot be imported.

    Returns:
        The position (an index, or a keyword) of the argument, the path from there, what is there,
        and the name of the module; None if nothing was found.
    """

    class Finder(Unpickler):
        def find_class(self, module, name):
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError):
                names = {"module": module, "named": name}
                return type("Missing", (_Missing,), names)

    from _io import BytesIO

    try:
        values, keywords, _ = Finder(BytesIO(data), buffers=buffers).load()
        for n, value in enumerate(values):
            found = _search(value)
            if found is not None:
                first_keyword = len(values) - len(keywords or ())
                position = n if n < first_keyword else keywords[n - first_keyword]
                return position, *found
    except Exception:  # a stand-in is not what it stands for
        pass
    return None


class _Missing:
    module = ""
    named = ""

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.args = args
        return self

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    def __setitem__(self, key, item):
        pass


def _search(value: object) -> tuple[str, str, str] | None:
    """The path, the description and the module of the first stand-in, breadth first."""
    pending = [("", value)]
    seen = set()
    for path, item in pending:
        if isinstance(item, _Missing) or (isinstance(item, type) and issubclass(item, _Missing)):
            return path, _described(item), item.module.partition(".")[0]
        is_known = type(item) in _byvalue._ATOMS or id(item) in seen
        if not is_known and len(pending) < _MOST_PARTS:
            seen.add(id(item))
            pending += [(_join(path, step), part) for step, part in _parts(item)]
    return None


def _described(missing) -> str:
    """The type of what a stand-in stands for; what was to make it, where that does not say."""
    args = getattr(missing, "args", ())
    if args and missing.module.startswith("numpy"):
        if missing.named == "scalar":
            return f"numpy.{_scalar_type(*args[0].args)}"
        if missing.named in ("_frombuffer", "_reconstruct"):
            return "numpy.ndarray"
    return f"{missing.module}.{missing.named}"


def _scalar_type(code: str, *_: object) -> str:
    kinds = {"f": "float", "i": "int", "u": "uint", "c": "complex"}
    if code[0] in kinds:
        return f"{kinds[code[0]]}{8 * int(code[1:])}"
    others = {"b": "bool", "M": "datetime64", "m": "timedelta64", "U": "str_", "S": "bytes_"}
    return others.get(code[0], "generic")


def missing_reason(path: str, what: str, module: str) -> str:
    """Say what of an argument is of a module that cannot be imported, and what to do."""
    named = f"{_LIBRARIES.get(module, module)}{_version_of(module)}"
    held = f"{path} is a {what}" if path else f"it is a {what}"
    advice = "x.item() or float(x)" if module == "numpy" else "what it is made from"
    if what == "numpy.ndarray":
        advice = "the array as an argument itself, which arrives as a memoryview, or x.tolist()"
    return f"{held}, and {named} cannot be imported in an interpreter; send {advice}"


def _version_of(module: str) -> str:
    try:
        from importlib.metadata import version

        return f" ({module} {version(module)})"
    except Exception:  # a module, and no distribution
        return ""
