"""What tests/py/test_home*.py run in workers; imports nothing that matters before a task does."""

import sys


def log(name, level, text, *arguments, **options):
    import logging

    logging.getLogger(name).log(level, text, *arguments, **options)


def log_error(text):
    import logging

    try:
        raise LookupError("of the task")
    except LookupError:
        logging.exception(text)


def log_from_a_thread(text):
    import logging
    import threading

    thread = threading.Thread(target=lambda: logging.warning(text), name="of the task")
    thread.start()
    thread.join()


def log_many(name, count):
    import logging

    for n in range(count):
        logging.getLogger(name).warning("%d", n)


def is_enabled(*names):
    import logging

    levels = [logging.getLogger(name).getEffectiveLevel() for name in names]
    return levels, logging.root.manager.disable


def set_level(name, level):
    import logging

    logging.getLogger(name).setLevel(level)


def configured_here(text):
    """Configure logging as a script does; what it wrote."""
    import io
    import logging

    stream = io.StringIO()
    logging.basicConfig(stream=stream, format="%(levelname)s %(message)s", level=logging.DEBUG)
    logging.getLogger("configured").info(text)
    logging.warning(text)
    return stream.getvalue()


def imported(*names):
    return [name for name in names if name in sys.modules]


def thread_name():
    before = "threading" in sys.modules
    import threading

    return before, threading.current_thread().name


def filters():
    import warnings

    return [(item[0], item[2].__name__, item[4]) for item in warnings.filters]


def outcome_of_warning(text):
    import warnings

    try:
        warnings.warn(text, UserWarning, stacklevel=1)
    except UserWarning:
        return "raised"
    return "went on"


def own_warning(text):
    import warnings

    import odd_warnings

    try:
        warnings.warn(text, odd_warnings.OddWarning, stacklevel=1)
    except odd_warnings.OddWarning:
        return "raised"
    return "went on"


def argv():
    return sys.argv


def decimal_precision():
    import decimal

    return decimal.getcontext().prec, decimal.DefaultContext.traps[decimal.FloatOperation]


def number_format():
    import locale

    return locale.setlocale(locale.LC_NUMERIC), locale.localeconv()["decimal_point"]


class Refuses:
    """Cannot be sent."""

    def __repr__(self):
        return "<refuses>"

    def __reduce__(self):
        raise TypeError("not me")


def forget_this_package():
    for name in [name for name in sys.modules if name.partition(".")[0] == "aiointerpreters"]:
        del sys.modules[name]


def environment_of(*names):
    import os

    return [os.environ.get(name) for name in names]


def set_environment(name, value):
    import os

    os.environ[name] = value


def shell(command):
    """What a program that the task starts sees."""
    import subprocess

    return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout


def settings():
    return sys.getrecursionlimit(), sys.get_int_max_str_digits(), sys.dont_write_bytecode


def set_recursion_limit(limit):
    sys.setrecursionlimit(limit)


def socket_timeout():
    import socket

    return socket.getdefaulttimeout(), socket.socket().gettimeout()


def call_of(module, name):
    import importlib

    return getattr(importlib.import_module(module), name)()


def leave_tracing(how):
    def trace(*_):
        return trace

    getattr(sys, how)(trace)
    if how == "setprofile":
        raise LookupError(how)


def tracing():
    return sys.gettrace(), sys.getprofile()


def read_input(how):
    if how == "input":
        return input()
    if how == "iteration":
        return list(sys.stdin)
    if how == "buffer":
        return sys.stdin.buffer.read()
    return getattr(sys.stdin, how)()


def add_argument(text):
    sys.argv.append(text)


def seen_here(*names):
    """Of the environment, two settings, the end of the path, the level of the root logger."""
    import logging

    return (
        *environment_of(*names),
        getattr(sys, "tracebacklimit", None),
        sys.pycache_prefix,
        sys.path[-1],
        logging.root.level,
    )


def referents_of_input():
    """Whether the collector follows sys.stdin to its class, and from there to the module."""
    import gc

    kind = type(sys.stdin)
    return gc.is_tracked(sys.stdin), kind in gc.get_referents(sys.stdin)
