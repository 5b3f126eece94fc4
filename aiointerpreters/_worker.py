"""What a worker does on its slow paths: errors, and the calls that `Runner` makes by path."""

import sys

from aiointerpreters import _errors, _pickling
from aiointerpreters._rebuild import find_function, untagged

__all__ = ("encode_error", "find_function", "format_error", "run_entry_point")

_REFUSAL = "does not support loading in subinterpreters"
_MOST_CHARACTERS = 100_000  # of a traceback; one of notes alone can be megabytes
_OWN_FILES = __file__.rpartition("_worker")[0]
_OWN_NAMES = ("byvalue.py", "identity.py", "pickling.py", "rebuild.py", "worker.py")


# Errors


def encode_error(exc: BaseException, function_name: str | None = None) -> tuple[bytes, str]:
    """Make of `exc` what `_errors.rebuild_error` takes. Never raises.

    The exception travels with its arguments, attributes and notes. If it cannot, a `SendError`
    takes its place, which names its type, its message and the function.

    Args:
        exc: What the function raised, or what went wrong before or after it ran.
        function_name: Name of the called function, with its module.

    Returns:
        The pickled exception, and the worker's traceback as text.
    """
    try:
        explain_refusal(exc)
        explain_memory(exc, function_name)
    except BaseException:
        pass  # the explanation is extra
    text = format_error(exc)
    try:
        return _pickling.dumps_exception(exc), text
    except BaseException as problem:
        return _dump_replacement(exc, problem, function_name), text


def format_error(exc: BaseException) -> str:
    """The traceback of `exc`, with its causes, as `traceback` prints it. Never raises.

    Frames of this package at its start are left out.
    """
    try:
        _cut_own_frames(exc)
        import traceback

        text = "".join(traceback.format_exception(exc))
        if len(text) > _MOST_CHARACTERS:
            half = _MOST_CHARACTERS // 2
            text = f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"
        return text
    except BaseException:
        return f"{_errors.type_name_of(exc)}: {_message(exc)}\n"


def _cut_own_frames(exc: BaseException) -> None:
    trace = exc.__traceback__
    while trace is not None and _is_own(trace.tb_frame):
        trace = trace.tb_next
    exc.__traceback__ = trace


def _is_own(frame) -> bool:
    path, _, file = frame.f_code.co_filename.rpartition("_")
    return path == _OWN_FILES and file in _OWN_NAMES


def _dump_replacement(
    exc: BaseException, problem: BaseException, function_name: str | None
) -> bytes:
    if isinstance(exc, _errors.SendError):
        # Itself unsendable only if its user put something into it.
        error = _errors.SendError(_message(exc), role=exc.role, function=function_name)
    else:
        type_name = _errors.type_name_of(exc)
        error = _errors.send_error("exception", function_name, None, type_name, problem, exc)
        error.args = (f"{error}. It said: {_message(exc)}",)
    try:
        return _pickling.dumps_whole(error, is_result=True)
    except BaseException:  # a function name that is no str, say
        return _pickling.dumps_whole(_errors.SendError(str(error)), is_result=True)


def _message(exc: BaseException) -> str:
    try:
        return str(exc) or type(exc).__name__
    except BaseException:
        return f"<{type(exc).__name__} whose text cannot be had>"


# Modules that refuse to load in an interpreter


def explain_refusal(exc: BaseException) -> None:
    """Make `exc` say which module refused to load, and which imports led to it, if one did.

    The refusal may be the cause or the context of `exc`, and libraries wrap it in pages of other
    advice. An ImportError gets a new message; another exception gets a note.
    """
    links = _links_to_refusal(exc)
    if not links:
        return
    refusal = links[-1]
    refusing = refusal.name or _named_in(refusal.msg)
    importers = _importers(links, refusing)
    text = f"module {refusing} {_REFUSAL}"
    if importers:
        text += f" (imported by: {' → '.join(importers)})"
    if not isinstance(exc, ImportError):
        exc.add_note(text)
        return
    if exc is not refusal and exc.msg:
        # Whole in the remote traceback; the first lines say what the library says about itself.
        exc.add_note(f"{exc.name or 'The importing module'} said: {exc.msg}")
    exc.msg = text
    exc.args = (text,)
    exc.name = refusing


def _named_in(message: str) -> str:
    """The module in "module X does not support …"."""
    return message.partition(_REFUSAL)[0].split()[-1]


def _links_to_refusal(exc: BaseException) -> list[BaseException]:
    """Exceptions from `exc` down to the refusal; empty if there is none."""
    links = []
    link = exc
    while link is not None and all(link is not earlier for earlier in links):
        links.append(link)
        if isinstance(link, ImportError) and f" {_REFUSAL}" in str(link.msg):
            return links
        link = link.__cause__ or link.__context__
    return []


def _importers(links: list[BaseException], refusing: str) -> list[str]:
    """Names of the modules whose code was at work, outermost first."""
    names: list[str] = []
    for link in links:
        trace = link.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            name = str(frame.f_globals.get("__name__", "?"))
            is_import_system = name.startswith("importlib.") or name == "importlib"
            if not is_import_system and not _is_own(frame) and name not in (*names, refusing):
                names.append(name)
            trace = trace.tb_next
    return names


# Memory in the place of what has it


def explain_memory(exc: BaseException, function_name: str | None = None) -> None:
    """Note on `exc` what a memoryview stands for, if an attribute of that was missed.

    The AttributeError may be the cause or the context of `exc`, or in it if it is a group.
    """
    for link in _related(exc):
        if isinstance(link, AttributeError) and type(link.obj) is memoryview:
            from aiointerpreters import _core

            owner = _core.memory_owner(link.obj)
            if owner is not None:
                exc.add_note(_memory_note(link.name, owner, function_name or "the function"))
                return


def _related(exc: BaseException) -> list[BaseException]:
    links = [exc]
    for link in links:
        for other in (link.__cause__, link.__context__, *getattr(link, "exceptions", ())):
            if isinstance(other, BaseException) and all(other is not known for known in links):
                links.append(other)
        if len(links) > 100:
            break
    return links


def _memory_note(name: str | None, owner: str, function_name: str) -> str:
    if owner in ("bytes", "bytearray", "array.array"):
        advice = f"Pass the {owner} itself, not a memoryview, to have a copy arrive"
    else:
        advice = (
            f"An interpreter cannot have a {owner} of the caller's: index the view, "
            "cast() it, or run the function untagged"
        )
    return (
        f"memoryview has no attribute {name!r}: a {owner} was passed to {function_name}, which "
        f"arrives as a memoryview of its memory. {advice}."
    )


# Calls by path


_path_modules: dict[str, object] = {}


def run_entry_point(kind: str, place: str, name: str, args: tuple, kwargs: dict) -> object:
    """Call a function that is named by its place. See `Runner.run_module_function`.

    Args:
        kind: `"module"` or `"path"`.
        place: Name of a module, or path of a file with Python source, run at most once.
        name: Name of the function there.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
    """
    if kind == "module":
        function = find_function(place, name)
    elif kind == "path":
        function = untagged(getattr(_module_at(place), name))
    else:
        raise ValueError(f"an entry point is a 'module' or a 'path', not {kind!r}")
    return function(*args, **kwargs)


def _module_at(path: str) -> object:
    module = _path_modules.get(path)
    if module is None:
        import importlib.util

        name = f"_aiointerpreters_entry_{len(_path_modules)}"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        _path_modules[path] = module
    return module
