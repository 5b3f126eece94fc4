"""A Ctrl-C in `concurrent.futures.wait()` or `as_completed()` interrupts what is waited for.

Both put a waiter of their own into `_waiters` of each future, and wait for its event. That event,
which belongs to this one wait, notes the futures, and sees the KeyboardInterrupt that leaves it.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Any

__all__ = ("Waiters",)


class _Event(threading.Event):
    """The event of a waiter."""

    futures: list[weakref.ref[Future[Any]]]

    def wait(self, timeout: float | None = None) -> bool:
        try:
            return super().wait(timeout)
        except KeyboardInterrupt:
            while self.futures:
                with suppress(KeyboardInterrupt):  # one is raised in any case
                    self._interrupt_all()
            raise

    def _interrupt_all(self) -> None:
        while self.futures:
            future: Any = self.futures[-1]()
            if future is not None:
                future._interrupt()
            self.futures.pop()


class Waiters(list["Any"]):
    """The `_waiters` of a future of ours."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[Any]) -> None:
        self._future = weakref.ref(future)

    def append(self, waiter: Any) -> None:
        try:
            event = waiter.event
        except Exception:  # whatever may be put into a list
            event = None
        if type(event) is threading.Event:
            vars(event)["futures"] = []
            event.__class__ = _Event
        if type(event) is _Event:
            event.futures.append(self._future)
        super().append(waiter)
