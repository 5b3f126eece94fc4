"""The executor whose interpreters direct calls lease (`interpreter(f, everywhere=True)`)."""

from __future__ import annotations

import os

from aiointerpreters._shared import SharedExecutor
from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor

__all__ = ("executor", "forget")


def _make() -> InterpreterThreadPoolExecutor:
    """Its workers are the homes of the interpreters: as many as may run at the same time.

    That is as many as there are CPUs for this process.
    """
    cpus = os.process_cpu_count() or 1
    return InterpreterThreadPoolExecutor(
        max_workers=cpus,
        max_interpreters=cpus,
        thread_name_prefix="aiointerpreters-everywhere",
    )


_HOMES = SharedExecutor(_make)


def executor() -> InterpreterThreadPoolExecutor:
    """The executor whose interpreters are leased."""
    return _HOMES.get()


def forget() -> None:
    """End the interpreters that are leased. The next call has new ones made (for tests)."""
    executor = _HOMES.forget()
    if executor is not None:
        executor.shutdown()
