"""The executor whose interpreters direct calls lease (`interpreter(f, everywhere=True)`)."""

from __future__ import annotations

import os
import threading

from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor

__all__ = ("executor", "forget")


class _Homes:
    """The executor of the process, made on first use. In a forked child it has new workers.

    Its workers are the homes of the interpreters: as many as may run at the same time, which is as
    many as there are CPUs for this process.
    """

    def __init__(self) -> None:
        self._executor: InterpreterThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it

    def forget(self) -> InterpreterThreadPoolExecutor | None:
        with self._lock:
            executor, self._executor = self._executor, None
            return executor

    def get(self) -> InterpreterThreadPoolExecutor:
        if self._executor is None:
            with self._lock:
                if self._executor is None:
                    cpus = os.process_cpu_count() or 1
                    self._executor = InterpreterThreadPoolExecutor(
                        max_workers=cpus,
                        max_interpreters=cpus,
                        thread_name_prefix="aiointerpreters-everywhere",
                    )
        return self._executor


_HOMES = _Homes()


def executor() -> InterpreterThreadPoolExecutor:
    """The executor whose interpreters are leased."""
    return _HOMES.get()


def forget() -> None:
    """End the interpreters that are leased. The next call has new ones made (for tests)."""
    executor = _HOMES.forget()
    if executor is not None:
        executor.shutdown()
