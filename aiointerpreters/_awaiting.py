"""What of `executor.run` is rare: waiting for room, and the executor of `aiointerpreters.run`."""

from __future__ import annotations

import asyncio
from typing import overload

from aiointerpreters._limits import full
from aiointerpreters._shared import SharedExecutor
from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine
    from typing import Any

    from aiointerpreters._streams import Stream

__all__ = ("default_executor", "run", "run_in_turn")


async def run_in_turn[R](
    executor: InterpreterThreadPoolExecutor,
    patience: float,
    fn: Callable[..., R],
    args: tuple[object, ...],
    kwargs: dict[str, Any],
) -> R:
    """Call `fn` when there is room for it, waiting `patience` seconds (negative: for ever)."""
    limit = asyncio.timeout(None if patience < 0 else patience)
    try:
        async with limit:
            call = await executor._in_turn(
                lambda turn: executor._run_turn(turn, fn, *args, **kwargs)
            )
    except TimeoutError:
        if not limit.expired():
            raise
        raise full("timeout", executor._max_pending, patience) from None
    return await call


_DEFAULT = SharedExecutor(
    lambda: InterpreterThreadPoolExecutor(thread_name_prefix="aiointerpreters")
)


def default_executor() -> InterpreterThreadPoolExecutor:
    """The executor of `aiointerpreters.run`."""
    return _DEFAULT.get()


@overload
def run[**P, R](
    fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
) -> Coroutine[object, None, R]: ...
@overload
def run[**P, R](  # type: ignore[overload-overlap]
    fn: Callable[P, AsyncIterable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> Stream[R]: ...
@overload
def run[**P, R](
    fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> Coroutine[object, None, R]: ...
def run(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call `fn(*args, **kwargs)` in a worker of an executor that all of the process shares.

        total = await aiointerpreters.run(interpreter(cpu_bound), 5)

    The executor is an `InterpreterThreadPoolExecutor()` without options. It is made with the first
    call, and ends with the process.

    Args:
        fn: A callable, tagged or not.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        Something to await, as `InterpreterThreadPoolExecutor.run` gives it.

    Raises:
        RuntimeError: No event loop runs in this thread; or Python is shutting down; or this is a
            worker's interpreter.
        TypeError: `fn` cannot be called.
    """
    return default_executor().run(fn, *args, **kwargs)
