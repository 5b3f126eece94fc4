"""Limits on pending tasks: the options, the errors, and waiting for one's turn in an event loop."""

from __future__ import annotations

import operator
import os
import queue
import sys

from aiointerpreters._errors import DeadlockError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Protocol

    class Turn(Protocol):
        """One who waits for room (a type of the C part)."""

        def waits(self) -> bool: ...
        def end(self) -> None: ...


__all__ = (
    "Bell",
    "close_bell",
    "deadlock",
    "full",
    "most_tasks",
    "open_bell",
    "options",
    "positive",
    "runs_event_loop",
)


def positive(name: str, value: object) -> int:
    """Check an option that is an int or None, and not None.

    Raises:
        TypeError: It is no int.
        ValueError: It is not positive.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        kind = type(value).__qualname__
        raise TypeError(f"{name} must be an int or None, not {kind!r}") from None
    if number <= 0:
        raise ValueError(f"{name} must be greater than 0")
    return number


def options(
    max_pending: int | None, when_full: str, pending_timeout: float | None
) -> tuple[int, bool, float | None]:
    """Check the options of an executor, and give them as its C part takes them.

    Raises:
        TypeError: `max_pending` is no int, or `pending_timeout` no number.
        ValueError: One of them is out of range, or `when_full` is unknown.
    """
    if when_full not in ("block", "raise"):
        raise ValueError(f"when_full must be 'block' or 'raise', not {when_full!r}")
    most = 0
    if max_pending is not None:
        most = positive("max_pending", max_pending)
    if pending_timeout is not None:
        if when_full != "block":
            raise ValueError("pending_timeout is for when_full='block'")
        try:
            pending_timeout = float(pending_timeout)
        except TypeError:
            kind = type(pending_timeout).__qualname__
            raise TypeError(f"pending_timeout must be a number or None, not {kind!r}") from None
        if not pending_timeout >= 0:
            raise ValueError("pending_timeout must not be negative")
    return min(most, sys.maxsize), when_full == "raise", pending_timeout


def most_tasks(tasks_per_interpreter: int) -> int:
    """Check that option of an executor.

    Raises:
        TypeError: It is no int.
        ValueError: It is not positive.
    """
    return min(positive("tasks_per_interpreter", tasks_per_interpreter), 2**32 - 1)


def full(why: str, most: int, seconds: float) -> queue.Full:
    """Make the error for a call that finds no room: `why` is "raise", "timeout" or "loop"."""
    match why:
        case "timeout":
            advice = f"and none has started within {seconds:g} s (pending_timeout)"
        case "loop":
            advice = (
                "and waiting would hold up the event loop that runs in this thread: "
                "await executor.submit_async() instead"
            )
        case _:
            advice = (
                "submit again when some have started, or make the executor wait (when_full='block')"
            )
    return queue.Full(f"{most} tasks are pending, as many as may be (max_pending): {advice}")


def deadlock(what: str, workers: int) -> DeadlockError:
    """Make the error for a wait that would never end: for a "task", or for "room"."""
    reason = (
        "for a task of this executor that has not ended"
        if what == "task"
        else "to submit to this executor, which is full (max_pending)"
    )
    return DeadlockError(
        f"a task waits {reason}, while every worker that could do something about it (max_workers "
        f"is {workers} here) waits for others in the same way: none would ever go on"
    )


def runs_event_loop() -> bool:
    """Whether an event loop runs in this thread."""
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None


def open_bell() -> tuple[int, int]:
    """The file descriptors that an event loop listens to, and that workers write to."""
    if hasattr(os, "eventfd"):
        descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return descriptor, descriptor
    listening, ringing = os.pipe()
    os.set_blocking(listening, False)
    os.set_blocking(ringing, False)
    return listening, ringing


def close_bell(listening: int, ringing: int) -> None:
    for descriptor in {listening, ringing}:
        os.close(descriptor)


class Bell:
    """Those who wait for their turn in one event loop, for one executor, in order.

    Workers ring it without a GIL, by a file descriptor; it is closed with the last one's turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Turn, asyncio.Future[None]] = {}
        self._listening = self._ringing = -1

    def _open(self) -> None:
        self._listening, self._ringing = open_bell()
        self._loop.add_reader(self._listening, self._heard)

    def _close(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._listening)
        close_bell(self._listening, self._ringing)
        self._listening = self._ringing = -1

    def _heard(self) -> None:
        try:
            os.read(self._listening, 4096)
        except BlockingIOError:
            return
        for turn, decided in self._waiting.items():
            if turn.waits():
                break  # and so do all behind it
            if not decided.done():
                decided.set_result(None)

    def is_silent(self) -> bool:
        """Whether nobody waits, so that it can be forgotten."""
        return not self._waiting

    async def take_turn[T](self, begin: Callable[[int], Turn], use: Callable[[Turn], T]) -> T:
        """Begin a turn, wait until it has come, and use it."""
        if not self._waiting:
            self._open()
        try:
            turn = begin(self._ringing)
        except BaseException:
            if not self._waiting:
                self._close()
            raise
        self._waiting[turn] = decided = self._loop.create_future()
        try:
            if turn.waits():
                await decided
            return use(turn)
        finally:
            turn.end()
            del self._waiting[turn]
            if not self._waiting:
                self._close()
