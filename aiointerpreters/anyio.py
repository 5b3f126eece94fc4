"""AnyIO: functions in interpreters, awaited on asyncio and on trio.

    import aiointerpreters.anyio

    await aiointerpreters.anyio.run_sync(interpreter(cpu_bound), 1_000)

Needs AnyIO 4.11 or later (`pip install aiointerpreters[anyio]`).
"""

from __future__ import annotations

import os
from collections import deque
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar, current_token

from aiointerpreters._awaiting import default_executor
from aiointerpreters._core import find_tag
from aiointerpreters._limits import close_bell, open_bell
from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor

__all__ = ("current_default_interpreter_limiter", "run_sync")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any


async def run_sync[*Ts, R](
    fn: Callable[[*Ts], R],
    /,
    *args: *Ts,
    executor: InterpreterThreadPoolExecutor | None = None,
    limiter: anyio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> R:
    """Call `fn(*args)`: in an interpreter if it is tagged, else by `anyio.to_thread.run_sync`.

    An untagged function runs in a thread of AnyIO's own, in a copy of the context, and may call
    `anyio.from_thread` there. A tagged one runs in an interpreter of `executor`: it sees the
    context variables that its tag or the executor names, with the values of the place of this
    call, and has no way back into the event loop.

    Args:
        fn: A callable, tagged or not.
        *args: Its positional arguments.
        executor: Where a tagged function runs. Default: the one of `aiointerpreters.run`.
        limiter: Bounds how many calls are under way; this waits for a token of it, and gives it
            back when it returns. Default: `current_default_interpreter_limiter(executor)` for a
            tagged function, `anyio.to_thread.current_default_thread_limiter()` for another.
        abandon_on_cancel: What a cancellation does once there is a token. False: nothing until
            the call has ended. True: it ends the wait at once; a tagged call is cancelled, and
            interrupted if it is running; another runs on, unobserved.

    Returns:
        What the function returned.

    Raises:
        Exception: What the function raised, `SendError` if it, an argument or the result cannot
            be sent, or what `executor.submit` raises.
        concurrent.futures.CancelledError: Somebody else has cancelled the call, as by
            `executor.shutdown(cancel_futures=True)`.
        anyio.NoEventLoopError: No event loop of asyncio or trio runs in this thread.
    """
    tagged = find_tag(fn)
    if tagged is None:
        return await anyio.to_thread.run_sync(
            fn, *args, limiter=limiter, abandon_on_cancel=abandon_on_cancel
        )
    if executor is None:
        executor = default_executor()
    async with limiter or current_default_interpreter_limiter(executor):
        call: Callable[..., R] = tagged
        future = await _submit(executor, call, args)
        with anyio.CancelScope(shield=not abandon_on_cancel):
            try:
                await _post().ended(future)
            except BaseException:
                if abandon_on_cancel:
                    future.cancel()
                raise
    return future.result()


def current_default_interpreter_limiter(
    executor: InterpreterThreadPoolExecutor | None = None,
) -> anyio.CapacityLimiter:
    """The limiter that bounds, by default, how many tagged calls of this event loop are under way.

    There is one for each event loop and executor, with two tokens at first for each interpreter
    that the executor may have: one for the call that runs, the other so that the interpreter
    need not wait for the event loop before it has the next. `total_tokens` can be set.

    Args:
        executor: Default: the one of `aiointerpreters.run`.

    Raises:
        anyio.NoEventLoopError: No event loop of asyncio or trio runs in this thread.
    """
    if executor is None:
        executor = default_executor()
    try:
        limiters = _limiters.get()
    except LookupError:
        limiters = WeakKeyDictionary()
        _limiters.set(limiters)
    limiter = limiters.get(executor)
    if limiter is None:
        limiter = limiters[executor] = anyio.CapacityLimiter(2 * executor._max_interpreters)
    return limiter


class _Post:
    """Tells one event loop which calls have ended, many with one wake-up."""

    def __init__(self) -> None:
        self._ended: deque[anyio.Event] = deque()
        self._rung = False

    async def ended(self, future: Future[Any]) -> None:
        """Wait until `future` has ended."""
        loop: Any = current_token().native_token  # a loop of asyncio's, or trio's token
        wake = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
        ended = anyio.Event()
        future.add_done_callback(lambda _: self._tell(ended, wake))
        await ended.wait()

    def _tell(self, ended: anyio.Event, wake: Callable[[Callable[[], None]], object]) -> None:
        # In a worker's thread. What is appended before _rung is found set is delivered by the
        # _deliver that will clear it.
        self._ended.append(ended)
        if not self._rung:
            self._rung = True
            try:
                wake(self._deliver)
            except RuntimeError:
                self._ended.clear()  # the loop is closed: nobody waits

    def _deliver(self) -> None:
        self._rung = False
        while self._ended:
            self._ended.popleft().set()


_limiters: RunVar[WeakKeyDictionary[InterpreterThreadPoolExecutor, anyio.CapacityLimiter]]
_limiters = RunVar("aiointerpreters limiters")
_posts: RunVar[_Post] = RunVar("aiointerpreters post")


def _post() -> _Post:
    try:
        return _posts.get()
    except LookupError:
        post = _Post()
        _posts.set(post)
        return post


async def _submit[R](
    executor: InterpreterThreadPoolExecutor, fn: Callable[..., R], args: tuple[Any, ...]
) -> Future[R]:
    """Submit `fn(*args)` as soon as there is room among the pending tasks."""
    if not executor._max_pending:
        return executor.submit(fn, *args)
    listening, ringing = open_bell()
    try:
        turn = executor._begin_turn(ringing)
        try:
            while turn.waits():
                await anyio.wait_readable(listening)
                os.read(listening, 4096)
            return executor._submit_turn(turn, fn, *args)
        finally:
            turn.end()
    finally:
        close_bell(listening, ringing)
