"""The options for interpreters that are ended and renewed while their executor goes on."""

from __future__ import annotations

import operator
import os
import sys
import warnings

__all__ = ("options",)

# Whatever counts that far is never reached.
MOST_TASKS = 2**32 - 1

LEAK = (
    "on Python 3.13 each interpreter that ends leaves 1.4 to 7.8 MB behind, so an executor with "
    "max_tasks_per_interpreter or idle_timeout grows for as long as it runs"
)


def options(max_tasks: int | None, idle_timeout: float | None) -> tuple[int, float | None]:
    """Check the options of an executor, and give them as its C part takes them.

    Warns, with a RuntimeWarning, where CPython leaks with each interpreter that ends (3.13).

    Raises:
        TypeError: `max_tasks` is no int, or `idle_timeout` no number.
        ValueError: One of them is not positive.
    """
    most = 0
    if max_tasks is not None:
        try:
            most = operator.index(max_tasks)
        except TypeError:
            kind = type(max_tasks).__qualname__
            raise TypeError(
                f"max_tasks_per_interpreter must be an int or None, not {kind!r}"
            ) from None
        if most <= 0:
            raise ValueError("max_tasks_per_interpreter must be greater than 0")
    if idle_timeout is not None:
        try:
            idle_timeout = float(idle_timeout)
        except TypeError:
            kind = type(idle_timeout).__qualname__
            raise TypeError(f"idle_timeout must be a number or None, not {kind!r}") from None
        if not idle_timeout > 0:
            raise ValueError("idle_timeout must be greater than 0")
    if sys.version_info < (3, 14):
        here = (os.path.dirname(__file__),)
        warnings.warn(LEAK, RuntimeWarning, stacklevel=2, skip_file_prefixes=here)
    return min(most, MOST_TASKS), idle_timeout
