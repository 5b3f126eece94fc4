"""Forks: no import of this package's own is under way in another thread as the child begins.

Modules of this package that are rarely needed are imported when they are, by whichever thread needs
them. A module that another thread imports during a fork stays locked in the child for ever: that is
CPython's way with any module. So whoever forks waits for such imports, and begins those that a
thread might begin meanwhile.
"""

from __future__ import annotations

import os
import sys
from functools import cache

__all__ = ("guard",)

_ROOT = "aiointerpreters."
# What the calls of an executor import when they need it.
_ROOMS = (
    "broadcasts",
    "byvalue",
    "context",
    "errors",
    "home",
    "limits",
    "pickling",
    "rebuild",
    "waiters",
)


@cache
def guard() -> None:
    """Have forks wait, from the first executor on: before it, no thread imports these."""
    os.register_at_fork(before=_finish_imports)


def _finish_imports() -> None:
    begun = [name for name in tuple(sys.modules) if name.startswith(_ROOT)]
    for name in (*begun, *(f"{_ROOT}_{room}" for room in _ROOMS)):
        __import__(name)  # which waits while another thread is at it
