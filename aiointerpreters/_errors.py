"""Errors that this package raises, and the text of a worker's traceback.

Workers import this module when something goes wrong, so it imports next to nothing: the
`PicklingError` of the C accelerator is the one that `pickle` exports, without the 30 ms that
importing `pickle` costs in a fresh interpreter.
"""

from _pickle import PicklingError

__all__ = ("DeadlockError", "InterpreterError", "RemoteTraceback", "RunnerError", "SendError")

_MOST_LINES = 5  # of the text of a cause in that of a SendError; the cause has all of it
_MOST_CHARACTERS = 1_000
_PUBLIC_PLACE = "aiointerpreters"  # where people import these from


class DeadlockError(RuntimeError):
    """A wait within a task that could never end, so that it was not begun.

    Every worker of the executor waits, in a task, for other tasks of it (or to submit one, where
    `max_pending` leaves no room), and so would this one. More workers (`max_workers`), or a time
    limit for the wait, avoid it.
    """

    __module__ = _PUBLIC_PLACE


class InterpreterError(Exception):
    """Raised by `Runner` for what the function raised, with the original as `__cause__`."""

    __module__ = _PUBLIC_PLACE


class RunnerError(Exception):
    """Raised by `Runner` when a call cannot be made: not started, or something unsendable."""

    __module__ = _PUBLIC_PLACE


class SendError(PicklingError, TypeError):
    """A value that cannot cross from one interpreter to another.

    Only the future of the call in question ends with it; the worker goes on. What pickling had to
    say is chained as `__cause__` (or, when it happened in the worker, part of the remote
    traceback).

    Attributes:
        role: What the value was: `"function"`, `"argument"`, `"context variable"`, `"result"` or
            `"exception"`.
        position: Index of a positional argument, name of a keyword argument, module and name of a
            context variable, or None.
        function: Name of the called function, with its module, or None where it is unknown.
        type_name: Name of the type of the value, or None where it is unknown.
        path: Where in the value the part is that cannot be sent, as an expression where it can be
            one (`rows[3].lock`, `global CONFIG["db"].conn`); None if it is the value itself, or
            unknown.
    """

    __module__ = _PUBLIC_PLACE

    def __init__(
        self,
        *args: object,
        role: str | None = None,
        position: int | str | None = None,
        function: str | None = None,
        type_name: str | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(*args)
        self.role = role
        self.position = position
        self.function = function
        self.type_name = type_name
        self.path = path


class RemoteTraceback(Exception):
    """The traceback of another interpreter, as text; the `__cause__` of what was raised there.

    `concurrent.futures.process` shows the traceback of another process in the same way.
    """

    __module__ = _PUBLIC_PLACE

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def send_error(
    role: str,
    function_name: str | None,
    position: int | str | None,
    value_type_name: str | None,
    cause: BaseException | str | None,
    value: object = None,
) -> SendError:
    """Make the error for a value that cannot cross, with `cause` chained where it is an exception.

    Args:
        role: `"function"`, `"argument"`, `"context variable"`, `"broadcast"`, `"result"` or
            `"exception"`.
        function_name: Name of the called function, with its module.
        position: Index of a positional argument, name of a keyword argument or of a context
            variable (or what `_context.name_of` gave for it), or None. For an argument that could
            not be read: the function, whose parameters have names.
        value_type_name: Name of the type of the value that cannot be sent.
        cause: What went wrong: an exception, a text, or None.
        value: The value that cannot be sent, where it is at hand: the part that refuses is looked
            for in it.
    """
    position, path, reason = _locate(role, function_name, position, cause, value)
    named = function_name or "the function"
    match role:
        case "function":
            subject = f"function {named}" if function_name else named
        case "argument" if position is None:
            subject = f"an argument of {named}"
        case "argument":
            subject = f"argument {position!r} of {named}"
        case "broadcast":
            subject = "the value of a broadcast"
        case "context variable":
            if isinstance(position, tuple):  # a module, and the path there
                position = ".".join(position[:2])
            subject = f"context variable {position} of the call of {named}"
        case "exception":
            subject = f"the exception raised by {named}"
        case _:
            subject = f"the {role} of {named}"
    if value_type_name:
        subject += f" (a {value_type_name!r})"
    direction = "from its interpreter" if role in ("result", "exception") else "to an interpreter"
    message = f"{subject} cannot be sent {direction}" + (f": {reason}" if reason else "")
    error = SendError(
        message,
        role=role,
        position=position,
        function=function_name or None,
        type_name=value_type_name,
        path=path,
    )
    if isinstance(cause, BaseException):
        error.__cause__ = cause
    return error


def _locate(role: str, function_name: str | None, position, cause, value: object) -> tuple:
    """The position, the path of what refuses, and why it does."""
    callee = position if callable(position) else None
    position = None if callee is not None else position
    missing = getattr(cause, "_aiointerpreters_missing", None)
    if missing is None and (value is None or is_for_want_of_room(cause)):
        return position, None, _reason(cause)
    try:
        from aiointerpreters import _culprit, _pickling

        if missing is not None:
            position, inside, what, module = missing
            path = _root(role, function_name, position, None, callee) + inside
            reason = _culprit.missing_reason(path if inside else "", what, module)
            return position, path if inside else None, reason
        root = _root(role, function_name, position, value)
        dumps = _pickling.dumps_for(role)
        path, part, error = _culprit.find(value, root, cause, dumps)
        if path == root:
            return position, None, _reason(cause)
        advice = "have the task make its own, or leave it out"
        reason = f"{path} is a {type_name_of(part)!r}: {_reason(error)} ({advice})"
        return position, path, reason
    except Exception:  # the place is extra
        return position, None, _reason(cause)


def is_for_want_of_room(cause: object) -> bool:
    """Whether stack or memory were short, which is the fault of no part of a value."""
    while isinstance(cause, BaseException):
        if isinstance(cause, RecursionError | MemoryError):
            return True
        cause = cause.__cause__  # cloudpickle wraps a RecursionError
    return False


def _root(role: str, function_name: str | None, position, value: object, callee=None) -> str:
    """How a value is called in a path."""
    if role == "argument":
        if isinstance(position, str):
            return position
        return _parameter(function_name, position, callee) or f"args[{position}]"
    if role == "function":
        is_plain = type(value).__name__ == "function"
        return "" if is_plain else (function_name or "").rpartition(".")[2]
    if role == "context variable":
        return position[1] if isinstance(position, tuple) else str(position)
    return "value" if role == "broadcast" else role


def _parameter(function_name: str | None, position: int, callee: object) -> str | None:
    """The name of a parameter of the function, or of one that is found by its name."""
    import sys

    code = getattr(callee, "__code__", None)
    if code is not None and position < code.co_argcount:
        return code.co_varnames[position]
    steps = (function_name or "").split(".")
    for count in range(len(steps) - 1, 0, -1):
        found = sys.modules.get(".".join(steps[:count]))
        try:
            for step in steps[count:]:
                found = getattr(found, step)
            code = getattr(found, "fn", found).__code__  # which may be under a tag
            if position < code.co_argcount:
                return code.co_varnames[position]
        except AttributeError:
            continue
    return None


def type_name_of(obj: object) -> str:
    kind = type(obj)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _reason(cause: BaseException | str | None) -> str:
    if cause is None or isinstance(cause, str):
        return cause or ""
    try:
        if isinstance(cause.__cause__, RecursionError):
            cause = cause.__cause__
        if isinstance(cause, RecursionError):  # "Stack overflow (used 8156 kB) …" since 3.14
            return f"it nests too deeply: {cause}"
        return _cut(str(cause)) or type(cause).__name__
    except Exception:  # an exception whose own __str__ raises
        return type(cause).__name__


def _cut(text: str) -> str:
    """The first line with anything on it, if there is more than a reader wants; bounded."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > _MOST_LINES:
        text = f"{lines[0]} … {lines[-1]}"
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"


def attach_remote_traceback(exc: BaseException, text: str) -> BaseException:
    """Make the worker's traceback the `__cause__` of `exc`, and return `exc`.

    An exception that refuses (its class overrides `__setattr__`, say) is returned as it is.
    """
    if text:
        try:
            exc.__cause__ = RemoteTraceback(text)
        except Exception:
            pass
    return exc


# Exceptions across interpreters

_SlotWrapper = type(BaseException.__init__)
_BuiltinFunction = type(BaseException.__new__)
_REDUCTION = ("__reduce__", "__reduce_ex__", "__setstate__", "__getstate__")


def reduce_exception(exc: BaseException, *, always: bool = False):
    """Reduce an exception for a pickler so that it arrives without a call of its `__init__`.

    `BaseException.__reduce__` has the class called with `args` again. That fails, or makes another
    exception, where `__init__` or `__new__` is Python code that takes anything else.

    Args:
        exc: The exception.
        always: Do so even if the class has a reduction of its own.

    Returns:
        A reduction; or NotImplemented if the exception's own is right.
    """
    kind = type(exc)
    builtin = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    if not always:
        is_plain = (
            type(kind.__init__) is _SlotWrapper
            and type(kind.__new__) is _BuiltinFunction
            and not isinstance(exc, NameError)
        )
        if is_plain or any(
            getattr(kind, name, None) is not getattr(builtin, name, None) for name in _REDUCTION
        ):
            return NotImplemented
    _, args, *rest = builtin.__reduce__(exc)
    state = rest[0] if rest else None
    if isinstance(exc, NameError):  # whose own reduction forgets the name
        state = {"name": exc.name, **(state or {})}
    return remake_exception, (builtin, kind, args, state)


def remake_exception(
    builtin: type, kind: type, args: tuple, state: dict | None = None
) -> BaseException:
    """Make an exception of `kind` of which only `builtin`, its builtin base, is initialised."""
    exc = builtin.__new__(kind, *args)
    builtin.__init__(exc, *args)
    if state is not None:
        builtin.__setstate__(exc, state)
    return exc


def rebuild_bare(name: str, text: str) -> BaseException:
    """Make an exception of which a worker could send no more, for want of stack or memory.

    Args:
        name: Full name of its type. If this interpreter has that, an exception of that type is
            made, with the text as its argument; else a RuntimeError.
        text: Its text.
    """
    import sys

    steps = name.split(".") if "." in name else ["builtins", name]
    for count in range(len(steps) - 1, 0, -1):
        found = sys.modules.get(".".join(steps[:count]))
        try:
            for step in steps[count:]:
                found = getattr(found, step)
            builtin = next(base for base in found.__mro__ if base.__module__ == "builtins")
            return remake_exception(builtin, found, (text,))
        except Exception:  # not there, no exception, or one that takes other arguments
            continue
    return RuntimeError(f"{name}: {text}")


def unreadable_error(reason: object, text: str) -> SendError:
    """Stand in for an exception of a worker that cannot be made in this interpreter.

    Args:
        reason: What unpickling it raised, or what it made instead of an exception.
        text: The worker's traceback; its last line says what was raised.
    """
    if not isinstance(reason, BaseException):
        reason = f"it arrived as a {type(reason).__name__!r}"
    said = text.rstrip().rpartition("\n")[2]
    error = send_error("exception", None, None, None, f"{_reason(reason)}. It said: {said}")
    return attach_remote_traceback(error, text)
