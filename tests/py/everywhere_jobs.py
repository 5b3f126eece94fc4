"""Functions that lease an interpreter where they are called."""

import functools
import logging
import os
import string
import threading
import time
from contextvars import ContextVar

import jobs

from aiointerpreters import interpreter

everywhere = functools.partial(interpreter, everywhere=True)
user = ContextVar("user", default="nobody")


@everywhere
def where() -> tuple[int, int]:
    """The interpreter and the thread that this runs in."""
    return jobs.interpreter_id(), threading.get_ident()


@interpreter(everywhere=True)
def count_for_a_while():
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    return "untouched"


@interpreter(everywhere=True)
def add(a, b=0):
    return a + b


@interpreter(everywhere=True)
def pass_gate(*args):
    return jobs.pass_gate(*args)


@interpreter(everywhere=True)
def raise_error(text):
    raise ValueError(text)


@interpreter(everywhere=True)
def exit_with(code):
    raise SystemExit(code)


@interpreter(everywhere=True)
def return_lock():
    return threading.Lock()


@interpreter(everywhere=True)
def thread_name():
    return threading.current_thread().name


@interpreter(everywhere=True)
def factorial(n):
    """Calls itself by its name, which is the tag's."""
    return (1 if n < 2 else n * factorial(n - 1)[0]), jobs.interpreter_id()


@interpreter(everywhere=True, context_vars=[user])
def who():
    return user.get()


@interpreter(everywhere=True)
def log(text):
    logging.getLogger("everywhere").warning(text)
    return jobs.interpreter_id()


@interpreter(everywhere=True)
def fill(view, byte):
    view[:] = bytes([byte]) * len(view)
    return jobs.interpreter_id()


@interpreter(everywhere=True)
def spin(said):
    os.write(said, b"S")
    while True:
        pass


@interpreter(everywhere=True, timeout=0.05)
def spin_for_a_while():
    while True:
        pass


class Endless(dict):
    def __missing__(self, name):
        while True:
            pass


@interpreter(everywhere=True, timeout=0.05)
def spin_in_library():
    """With code of the standard library on the stack."""
    return string.Template("$x").substitute(Endless())


class Counter:
    def __init__(self, start):
        self.start = start

    @interpreter(everywhere=True)
    def plus(self, n):
        return self.start + n, jobs.interpreter_id()

    @staticmethod
    @interpreter(everywhere=True)
    def double(n):
        return 2 * n, jobs.interpreter_id()

    @classmethod
    @interpreter(everywhere=True)
    def name(cls):
        return cls.__name__, jobs.interpreter_id()
