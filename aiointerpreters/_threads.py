"""Whether `threading` starts threads: gevent and eventlet replace them by greenlets.

A worker waits without the GIL, and without an event loop that would run other greenlets meanwhile.
As a greenlet it would hold up the thread that it shares with its caller for good.
"""

from __future__ import annotations

import _thread
import threading
import time
from types import BuiltinFunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ("check",)

PATIENCE = 5.0  # seconds for a thread to start

# Replacements that were tried, as debuggers have them, and whether they start threads.
_TRIED: dict[Callable[..., Any], bool] = {}


def check() -> None:
    """See to it that a worker that `threading` starts would be a thread of the operating system.

    Raises:
        RuntimeError: It would not, since something has replaced threads or locks.
    """
    for what in _replaced():
        module = getattr(what, "__module__", None) or "?"
        package = module.partition(".")[0]
        advice = {
            "gevent": "leave threads out, gevent.monkey.patch_all(thread=False)",
            "eventlet": "leave threads out, eventlet.monkey_patch(thread=False)",
        }.get(package, "do not replace them")
        raise RuntimeError(
            f"threads are monkey-patched here ({module}.{getattr(what, '__name__', what)}), and an "
            f"executor needs threads of the operating system: {advice}, or use the executor in a "
            "process that is not patched"
        )


def _replaced() -> Iterator[object]:
    """What stands in the place of threads and locks, and is something else."""
    for make in (_thread.allocate_lock, threading._allocate_lock):  # type: ignore[attr-defined]
        lock = type(make())
        if lock.__module__ != "_thread":
            yield lock
    if threading.Thread.__module__ != "threading":
        yield threading.Thread
    new: Any = _thread.start_new_thread
    if not isinstance(new, BuiltinFunctionType) and not _starts(new, ()):
        yield new
    for joinable in (
        _thread.start_joinable_thread,
        threading._start_joinable_thread,  # type: ignore[attr-defined]
    ):
        if not isinstance(joinable, BuiltinFunctionType) and not _starts(joinable):
            yield joinable


def _starts(start: Callable[..., Any], *args: Any) -> bool:
    """Whether a function that replaces one of `_thread` does what that one does."""
    if start not in _TRIED:
        ran_in: list[int] = []
        try:
            start(lambda: ran_in.append(_thread.get_native_id()), *args)
            deadline = time.monotonic() + PATIENCE
            while not ran_in and time.monotonic() < deadline:
                time.sleep(0.001)
        except Exception:
            pass  # it starts none
        _TRIED[start] = bool(ran_in) and ran_in[0] != _thread.get_native_id()
    return _TRIED[start]
