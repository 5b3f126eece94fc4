"""Values that the native encoding does not cover, by pickle protocol 5 (PEP 574).

Both sides use this module: the caller's interpreter for arguments, a worker's for results. It
builds on the C accelerator alone, because importing `pickle` costs 30 ms in a fresh interpreter
and `cloudpickle` 139 ms; cloudpickle is imported when a value needs it, which is when it refers to
something of `__main__` or to something that has no importable name.

A `memoryview` travels beside the pickle as itself: the receiver is lent its memory, or handed it if
it is a result's. So does the memory of large out-of-band buffers (`PickleBuffer`).
"""

import sys
from _contextvars import ContextVar
from _io import BytesIO, TextIOWrapper
from _pickle import PickleBuffer, Pickler, PicklingError, Unpickler
from _pickle import loads as _loads
from copyreg import dispatch_table as _registered

from aiointerpreters import _modules

_FILES = (("multiprocessing.connection", "Connection"), ("tempfile", "SpooledTemporaryFile"))

# Bytes: a smaller out-of-band buffer is copied into the pickle, which costs less than lending it.
SMALLEST_LENT = 4096


class Parts:
    """What one message is made of, filled while its value is being pickled.

    Attributes:
        buffers: What travels beside the pickle, in the order in which it is to be handed to
            `loads`: memory to lend to the receiver, as memoryviews; and handles (`broadcast`).
        keepalive: Objects that must live until the receiver has loaded the value.
    """

    def __init__(
        self, *, in_band: bool, is_result: bool = False, is_function: bool = False
    ) -> None:
        self.buffers: list = []
        self.keepalive: list[object] = []
        self._beside: dict[int, tuple[PickleBuffer, object]] = {}
        self._in_band = in_band
        self._is_result = is_result
        self._is_function = is_function

    def table(self) -> dict:
        """Dispatch table for a pickler.

        Not kept: it leads back here, and a cycle would keep lent memory until the next collection.
        """
        table = _registered.copy()
        table[memoryview] = _copy_view if self._in_band else self._lend_view
        table[ContextVar] = _name_variable
        for kind in _types_of_files():
            table[kind] = _name_stream if self._is_function else _refuse_file
        table[object] = self._reduce_object
        core = sys.modules.get("aiointerpreters._core")
        if core is not None:
            table[core.broadcast] = _give_value if self._is_result else self._pass_broadcast
        # Never import it for this: only who has it can have a queue.
        interpreters = sys.modules.get("concurrent.interpreters")
        queue_type = getattr(interpreters, "Queue", None)
        if queue_type is not None:
            table[queue_type] = self._pass_queue
        return table

    def take_buffer(self, buffer: PickleBuffer) -> bool:
        """Say whether the pickler is to keep `buffer` in band: if it is small, and no mark."""
        _, beside = self._beside.get(id(buffer), (None, None))
        if beside is None:
            beside = memoryview(buffer)
            if self._in_band or beside.nbytes < SMALLEST_LENT:
                return True
        self.buffers.append(beside)
        return False

    def _lend_view(self, view: memoryview) -> tuple:
        # The pickler would refuse a view that is not contiguous, and has no need to see the
        # memory: an empty stand-in marks the place, take_buffer() puts the view there.
        check_view(view)
        return memoryview, (self._mark(view),)

    def _pass_broadcast(self, handle) -> tuple:
        # The receiver puts the value itself where the mark is.
        return itself, (self._mark(handle),)

    def _mark(self, beside: object) -> PickleBuffer:
        mark = PickleBuffer(bytearray())
        self._beside[id(mark)] = mark, beside
        return mark

    def _reduce_object(self, obj) -> tuple:
        from aiointerpreters import _identity

        return _identity.reduce_object(obj, self._is_result)

    def _pass_queue(self, queue) -> tuple:
        self.keepalive.append(queue)
        return type(queue), (queue.id,)


def _types_of_files() -> list[type]:
    """Types of open files that pickle, or cloudpickle, would send as something else.

    A text file would arrive as a StringIO with its contents, a temporary file as a copy, and a
    pipe's connection as a second owner of one descriptor, which both close.
    """
    types = [TextIOWrapper]
    for module, name in _FILES:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type):
            types.append(kind)
    return types


def _name_stream(file) -> tuple:
    """A function that refers to sys.stdout, as a default say, has the worker's there."""
    for name in ("stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    return _refuse_file(file)


def _refuse_file(file) -> tuple:
    raise TypeError(f"cannot pickle {type(file).__qualname__!r} instances")


def itself(value):
    """Arrives as `value`, as part of a pickle."""
    return value


def _give_value(handle) -> tuple:
    return itself, (handle.value,)


def check_view(view: memoryview) -> None:
    """Raise ValueError if `view` was released."""
    view.nbytes  # noqa: B018 (asking is what raises)


def _name_variable(variable: ContextVar) -> tuple:
    from aiointerpreters import _context

    return _context.reduce_variable(variable)


def _copy_view(view: memoryview) -> tuple:
    data = view.tobytes()
    return _view_of_copy, (data if view.readonly else bytearray(data), view.format, view.shape)


def _view_of_copy(data: bytes | bytearray, format: str, shape: tuple[int, ...]) -> memoryview:
    view = memoryview(data)
    return view if format == "B" and len(shape) == 1 else view.cast(format, shape)


def dumps(value: object) -> tuple[bytes, list, list]:
    """Pickle `value` for another interpreter.

    Returns:
        The pickle, what travels beside it (memoryviews to lend and handles, in order), and objects
        that must be kept alive until the receiver has loaded the value.

    Raises:
        Exception: Whatever pickling raised; `PicklingError` or `TypeError` as a rule,
            `RecursionError` for what nests too deeply.
    """
    return _dump(value, Parts(in_band=False))


def dumps_result(value: object) -> tuple[bytes, list, list]:
    """As `dumps`, but only right in a worker, for the interpreter that it works for.

    A class that came from there by value goes back as a mere reference, without its definition.
    """
    return _dump(value, Parts(in_band=False, is_result=True), is_result=True)


def dumps_whole(value: object, *, is_result: bool = False) -> bytes:
    """As `dumps`, but everything in the pickle itself, memory of views included (copied)."""
    return _whole(_dump(value, Parts(in_band=True, is_result=is_result), is_result=is_result))


def dumps_exception(exc: BaseException) -> bytes:
    """Pickle an exception in a worker, for the caller, everything in the pickle itself.

    What it holds (an exception group's exceptions, say) is reduced as it is.
    """
    from aiointerpreters import _errors

    parts = Parts(in_band=True, is_result=True)
    data = _whole(_dump(exc, parts, is_result=True, plain=_ExceptionPickler))
    if _errors.reduce_exception(exc) is NotImplemented and type(exc).__module__ != "builtins":
        try:
            loads(data)
        except Exception:
            # A reduction of its own that does not fit its __init__.
            return dumps_whole(_Remade(exc), is_result=True)
    return data


class _Remade:
    """Arrives as the exception that it is made with."""

    def __init__(self, exc: BaseException) -> None:
        self._exc = exc

    def __reduce__(self):
        from aiointerpreters import _errors

        return _errors.reduce_exception(self._exc, always=True)


class _ExceptionPickler(Pickler):
    def reducer_override(self, obj):
        if not isinstance(obj, BaseException):
            return NotImplemented
        from aiointerpreters import _errors

        return _errors.reduce_exception(obj)


class _WaryPickler(Pickler):
    """Does not import a module by the name of which a class was received by value."""

    def reducer_override(self, obj):
        if isinstance(obj, type) and obj.__module__ in _modules.received:
            from aiointerpreters import _identity

            if _identity.was_received(obj):
                raise PicklingError(f"{obj!r} goes by value")
        return NotImplemented


def dumps_function(function: object) -> tuple[bytes, list]:
    """Pickle a function by value, by cloudpickle, everything in the pickle itself but handles.

    Returns:
        The pickle, and the handles (`broadcast`) whose values `loads` is to be given, in order.
    """
    return _dump_by_value(function, Parts(in_band=True, is_function=True), False, None)[:2]


def dumps_plain(value: object) -> tuple[bytes, list] | None:
    """As `dumps_function`, for any value, without cloudpickle; None if that does not do."""
    parts = Parts(in_band=True)
    try:
        data = _run(Pickler, value, parts)
    except Exception:
        return None
    return None if _mentions_main(data) else (data, parts.buffers)


def dumps_for(role: str):
    """What pickles a value of a role (see `SendError`), to find which part of it refuses."""
    if role == "function":
        return dumps_function
    return dumps_result if role in ("result", "exception") else dumps


def dumps_deferred(value: object, deferral) -> bytes:
    """Pickle what an annotation mentions, everything in the pickle itself.

    Args:
        value: What it mentions.
        deferral: The message's `_annotations.Deferral`, for the annotations of `value` itself.
    """
    parts = Parts(in_band=True)
    data = None
    try:
        data = _run(Pickler, value, parts)
    except Exception:
        pass
    if data is None or _mentions_main(data):
        from aiointerpreters import _cloud

        parts = Parts(in_band=True)
        data = _run(_cloud.DeferredPickler, value, parts, deferral)
    return _whole((data, parts.buffers, []))


def loads_deferred(data: bytes, deferred) -> object:
    """Load what `dumps_deferred` made; `deferred`: the `_rebuild.Deferred` that it is of."""
    unpickler = _DeferredUnpickler(BytesIO(data))
    unpickler.deferred = deferred
    return unpickler.load()


class _DeferredUnpickler(Unpickler):
    def persistent_load(self, _name):
        return self.deferred


def _whole(dumped: tuple[bytes, list, list]) -> bytes:
    data, beside, _ = dumped
    if beside:
        raise PicklingError("a broadcast cannot be sent as part of this")
    return data


def loads(data: bytes | memoryview, buffers=()) -> object:
    """Load what `dumps` made.

    Args:
        data: The pickle.
        buffers: What travelled beside it, in order: objects with the buffer protocol that export
            the lent memory, and the values of handles.

    Raises:
        Exception: Whatever unpickling raised. If something could not be imported, and the pickle is
            of a call, the exception knows where it is: `send_error` asks.
    """
    try:
        return _loads(data, buffers=buffers)
    except (ImportError, AttributeError) as error:
        from aiointerpreters import _culprit

        error._aiointerpreters_missing = _culprit.find_missing(data, buffers)
        raise


def _dump(
    value, parts: Parts, *, is_result: bool = False, plain=Pickler
) -> tuple[bytes, list, list]:
    try:
        data = _run(plain, value, parts)
        if not _mentions_main(data):
            return data, parts.buffers, parts.keepalive
    except RecursionError as error:
        _cut_notes(error)
        raise
    except Exception as error:
        # Raised in here, cloudpickle's complaint has this one as its context.
        return _dump_by_value(value, parts, is_result, error)
    return _dump_by_value(value, parts, is_result, None)


def _dump_by_value(value, parts: Parts, is_result: bool, plain_error: Exception | None):
    try:
        from aiointerpreters import _cloud
    except ImportError as missing:
        if plain_error is not None:
            raise plain_error from None
        raise PicklingError("what is defined in __main__ is sent by cloudpickle") from missing
    parts.buffers.clear()
    parts.keepalive.clear()
    pickler = _cloud.ResultPickler if is_result else _cloud.ArgumentPickler
    try:
        data = _run(pickler, value, parts)
    except Exception as error:
        if isinstance(error.__cause__, RecursionError):  # which cloudpickle wraps
            _cut_notes(error.__cause__)
        raise
    return data, parts.buffers, parts.keepalive


def _run(pickler_type, value: object, parts: Parts, *args) -> bytes:
    if pickler_type is Pickler and not _modules.received.issubset(_modules.MAIN_MODULES):
        pickler_type = _WaryPickler
    file = BytesIO()
    pickler = pickler_type(file, *args, protocol=5, buffer_callback=parts.take_buffer)
    # Through the descriptor: cloudpickle's class has an attribute of that name in front of it.
    Pickler.dispatch_table.__set__(pickler, getattr(pickler_type, "reducers", {}) | parts.table())
    pickler.dump(value)
    return file.getvalue()


def _cut_notes(error: BaseException) -> None:
    """Keep a few of the notes that pickle adds to an error for each level it was in (3.14)."""
    notes = getattr(error, "__notes__", ())
    if len(notes) > 10:
        error.__notes__ = [*notes[:3], f"... ({len(notes) - 6} more)", *notes[-3:]]


def _mentions_main(data: bytes) -> bool:
    """Whether a pickle may name something of a module that is sent by value.

    Such a module is another one, or none, in another interpreter.
    """
    return any(_short_string(name) in data for name in _modules.sent_by_value())


def _short_string(text: str) -> bytes:
    """How a pickle of protocol 5 has a short string: its opcode, its length in bytes, itself."""
    encoded = text.encode()
    return b"\x8c" + bytes([len(encoded) & 255]) + encoded
