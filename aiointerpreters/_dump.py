"""What `executor.dump()` writes: the workers of an executor, what each is at, and its stack."""

from __future__ import annotations

import contextvars
import functools
import threading
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from aiointerpreters._stats import Stats

    # The thread's identifier, the state, what is called, for how many seconds, and whether that is
    # exact, the interpreter's id, the stack there (src/pyext/report.h).
    type Worker = tuple[int, str, object, float, bool, int | None, str | None]

__all__ = ("describe",)

_MOST_FRAMES = 100  # as faulthandler
_IDLE = threading.Thread.run.__code__  # the uppermost Python frame of a worker that is at nothing
_NAMED = (types.FunctionType, types.BuiltinFunctionType, type)


def describe(
    name: str,
    stats: Stats,
    threads: Iterable[threading.Thread],
    frames: dict[int, FrameType],
    get_workers: Callable[[], Iterable[Worker]],
) -> str:
    """The text for an executor whose threads' names begin with `name`."""
    names = {thread.ident: thread.name for thread in threads}
    stacks = {ident: list(_lines(frame)) for ident, frame in frames.items() if ident in names}
    there = f"{stats.threads} threads, {stats.interpreters} interpreters"
    lines = [f"{name}: {there}, {stats.running} tasks running, {stats.pending} pending"]
    for worker in get_workers():
        ident = worker[0]
        here = stacks.get(ident, [])
        lines.append(
            f'\nThread "{names.get(ident, "?")}" (0x{ident:016x}): {_headline(worker, here)}'
        )
        lines.extend(_stack(worker, here))
    return "\n".join(lines) + "\n"


def _headline(worker: Worker, here: list[str]) -> str:
    _, state, called, seconds, exact, interpreter, _ = worker
    time = f"for {seconds:.3f} s" if exact else f"for at most {seconds:.3f} s"
    match state:
        case "plain":
            return f"task {_name(called)} {time} (most recent call first):"
        case "tagged":
            name = "(without a name)" if called is None else called
            where = "" if interpreter is None else f" in interpreter {interpreter}"
            return f"tagged task {name} {time}{where} (most recent call first):"
        case "aside":
            return f"set aside, still in tagged task {called or '(without a name)'} {time}"
        case "making":
            return "making an interpreter"
    return "between tasks (most recent call first):" if here else "idle"


def _stack(worker: Worker, here: list[str]) -> list[str]:
    state, stack = worker[1], worker[6]
    match state:
        case "plain":
            return here or ["  no stack: in C code alone"]
        case "tagged":
            if stack is None:
                return ["  no stack: in C code that keeps the interpreter's GIL"]
            return [stack.removesuffix("\n") or "  no stack: in C code alone"]
        case "aside" | "making":
            return []
    return here


def _lines(frame: FrameType | None) -> Iterator[str]:
    depth = 0
    while frame is not None and frame.f_code is not _IDLE:
        if depth == _MOST_FRAMES:
            yield "  ..."
            return
        code = frame.f_code
        yield f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_qualname}'
        frame = frame.f_back
        depth += 1


def _name(function: object) -> str:
    """The name of what a task calls, without running anything of its own."""
    while True:
        if type(function) is types.MethodType:
            function = function.__func__
        elif type(function) is functools.partial:
            inner = function.func
            is_run = type(inner) is types.BuiltinMethodType and isinstance(
                inner.__self__, contextvars.Context
            )
            # What asyncio.to_thread() makes.
            function = function.args[0] if is_run and function.args else inner
        elif isinstance(function, _NAMED):
            module = function.__module__
            return f"{module}.{function.__qualname__}" if module else function.__qualname__
        else:
            return f"a {type(function).__qualname__}"
