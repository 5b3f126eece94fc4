"""The end of the process without threads that never return."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress

__all__ = ("can_leave_out", "daemons", "end_by_interrupt", "leave_out", "say_interrupted")


def daemons() -> list[int]:
    """The idents of the threads that Python does not wait for at exit."""
    return [
        thread.ident
        for thread in threading.enumerate()
        if thread.daemon and thread.ident is not None
    ]


def can_leave_out() -> bool:
    """Whether this Python waits for threads at exit in the way that is known."""
    return hasattr(threading, "_thread_shutdown")


def leave_out(abandoned: list[threading.Thread]) -> None:
    """Have the end of the process wait for all non-daemon threads but these.

    To be called by a function of `threading._register_atexit`, which is before Python waits for
    threads. As there, a Ctrl-C ends the waiting.
    """

    def join_others() -> None:
        try:
            while others := [
                thread
                for thread in threading.enumerate()
                if not thread.daemon
                and thread not in abandoned
                and thread is not threading.current_thread()
            ]:
                for thread in others:
                    try:
                        thread.join()
                    except RuntimeError:  # it is just being started
                        time.sleep(0.001)
        except BaseException:
            sys.excepthook(*sys.exc_info())

    threading._thread_shutdown = join_others  # type: ignore[attr-defined]


def say_interrupted(*_ignored: object) -> None:
    """Say that a Ctrl-C ends the process; a `sys.excepthook`.

    The traceback of a main program that has ended would show nothing.
    """
    with suppress(Exception):
        print("KeyboardInterrupt", file=sys.stderr)


def end_by_interrupt(silently: bool) -> None:
    """End the process by SIGINT now, although threads run: after what `atexit` has, and flushing.

    Python could not be finalized under them. From here on another Ctrl-C ends the process at once.

    Args:
        silently: It was said already why.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    atexit._run_exitfuncs()  # which prints what these raise
    if not silently:
        say_interrupted()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os.kill(os.getpid(), signal.SIGINT)
