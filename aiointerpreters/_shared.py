"""An executor that a process has one of."""

from __future__ import annotations

import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor

__all__ = ("SharedExecutor",)


class SharedExecutor:
    """Makes the executor on first use, whichever thread comes first.

    A forked child has the same one, with new workers of its own.
    """

    def __init__(self, make: Callable[[], InterpreterThreadPoolExecutor]) -> None:
        self._make = make
        self._executor: InterpreterThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it

    def get(self) -> InterpreterThreadPoolExecutor:
        """The executor."""
        if self._executor is None:
            with self._lock:
                if self._executor is None:
                    self._executor = self._make()
        return self._executor

    def forget(self) -> InterpreterThreadPoolExecutor | None:
        """What was the executor until now, or None: get() will make another one."""
        with self._lock:
            executor, self._executor = self._executor, None
            return executor
