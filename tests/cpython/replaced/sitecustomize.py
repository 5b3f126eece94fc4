"""Puts the executor under test in the place of `concurrent.futures.ThreadPoolExecutor`.

`run.py` puts this folder first on PYTHONPATH, so that every Python imports this module at its
start: in the process that runs a suite, and in the scripts that the suite's tests start. It reads
from the environment:

AIOINTERPRETERS_SUITE_LOG       a file that gets a line for each process in which the replacement
                                took place, and for each executor and future made. Absent: do
                                nothing.
AIOINTERPRETERS_SUITE_EXECUTOR  the class to put there, as MODULE:CLASS.
AIOINTERPRETERS_SUITE_FUTURE    "1" replaces `concurrent.futures.Future` as well.
"""

import importlib
import os
import sys


def is_main_interpreter() -> bool:
    """Whether this is the main interpreter: `site` runs in the executor's interpreters too."""
    try:
        import _interpreters
    except ImportError:
        return True
    return _interpreters.get_current() == _interpreters.get_main()


def record(what: str) -> None:
    """Append a line to the log in one write, so that processes and threads do not mix theirs."""
    log = os.environ["AIOINTERPRETERS_SUITE_LOG"]
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{what}\n".encode())
    finally:
        os.close(descriptor)


def counted(cls: type, label) -> type:
    """`cls`, recording each object made; a subclass of the same name where `cls` is immutable.

    `label(object)` says what to record; None records nothing.
    """
    original = cls.__init__

    def __init__(self, *args, **kwargs):
        if (text := label(self)) is not None:
            record(text)
        original(self, *args, **kwargs)

    __init__.__doc__ = original.__doc__
    try:
        cls.__init__ = __init__
    except TypeError:
        members = {"__init__": __init__, "__module__": cls.__module__}
        return type(cls)(cls.__name__, (cls,), members)
    return cls


def replace_executor() -> None:
    import concurrent.futures
    import concurrent.futures.thread

    module, _, name = os.environ["AIOINTERPRETERS_SUITE_EXECUTOR"].partition(":")
    ours = getattr(importlib.import_module(module), name)
    stdlib = concurrent.futures.thread.ThreadPoolExecutor
    if ours is stdlib or not issubclass(ours, stdlib):
        raise SystemExit(f"{ours!r} is not a subclass of {stdlib!r}")
    counted(stdlib, lambda made: None if isinstance(made, ours) else f"stray {type(made).__name__}")
    ours = counted(ours, lambda made: "executor")
    # Tests write the class's own name into scripts: `from concurrent.futures import NAME`.
    for attribute in ("ThreadPoolExecutor", ours.__name__):
        setattr(concurrent.futures, attribute, ours)


def replace_future() -> None:
    import concurrent.futures
    import concurrent.futures._base

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        ours = type(executor.submit(int))
    stdlib = concurrent.futures._base.Future
    if ours is stdlib or not issubclass(ours, stdlib):
        raise SystemExit(f"futures are {ours!r}, not a subclass of {stdlib!r}")
    ours = counted(ours, lambda made: "future")
    concurrent.futures._base.Future = ours
    concurrent.futures.Future = ours


if os.environ.get("AIOINTERPRETERS_SUITE_LOG") and is_main_interpreter():
    replace_executor()
    if os.environ.get("AIOINTERPRETERS_SUITE_FUTURE") == "1":
        replace_future()
    record(f"replaced {os.getpid()} {sys.orig_argv[1:2]}")
