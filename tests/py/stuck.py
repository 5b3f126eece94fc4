"""A process that ends while tasks are in C code that does not return: stuck.py WAY HOW [SECONDS].

Prints "stuck" once they are, and ends in that way; by SIGINT, whoever started it sends that.
"""

import concurrent.futures
import contextlib
import ctypes
import os
import sys
import threading
import time

import jobs

from aiointerpreters import InterpreterThreadPoolExecutor, interpreter


def stay(said: int, block) -> None:
    """Block, although an interruption comes before that."""
    try:
        os.write(said, b"S")
        block()
    finally:
        try:
            block()
        finally:
            block()


def sleep(said: int, seconds: float) -> None:
    stay(said, lambda: time.sleep(seconds))


def pause(said: int, _seconds: float) -> None:
    stay(said, ctypes.CDLL(None).pause)


def read(said: int, _seconds: float) -> None:
    reading, _writing = os.pipe()
    stay(said, lambda: os.read(reading, 1))


def in_threads(said: int, seconds: float) -> None:
    """Threads of the task's own that would run Python for ever, too."""

    def run():
        while True:
            time.sleep(0.001)

    for _ in range(2):
        threading.Thread(target=run).start()
    sleep(said, seconds)


def compute(said: int, seconds: float) -> None:
    """Keep the GIL of the interpreter, in C."""
    usleep = ctypes.PyDLL(None).usleep
    stay(said, lambda: usleep(ctypes.c_uint(int(seconds * 1e6))))


HOW = {function.__name__: function for function in (sleep, pause, read, in_threads, compute)}


def start(executor, how, seconds, count=1):
    """So many tasks, in so many interpreters; their futures. They are stuck when it returns."""
    said, saying = os.pipe()
    futures = [executor.submit(interpreter(HOW[how]), saying, seconds) for _ in range(count)]
    for _ in range(count):
        assert os.read(said, 1) == b"S"
    return futures


def main() -> None:
    way, how, seconds = sys.argv[1], sys.argv[2], float((sys.argv[3:] or ["1000"])[0])
    executor = InterpreterThreadPoolExecutor(3, max_interpreters=2, grace=0.05)
    futures = start(executor, how, seconds, 2)
    print("stuck", flush=True)
    if way == "result":
        futures[0].result()
    if way == "with":
        with executor:
            futures[0].result()
    if way == "guest":  # stuck in an interpreter that another worker has made
        lent, lending = os.pipe()
        other = InterpreterThreadPoolExecutor(2, max_interpreters=1, grace=0.05)
        other.submit(interpreter(jobs.add), 1).result()
        plain = other.submit(os.read, lent, 1)
        futures += start(other, how, seconds)
        futures[-1].cancel()
        assert other.submit(interpreter(jobs.add), 1).result() == 1  # in another interpreter
        os.write(lending, b"x")
        plain.result()
    for future in futures:
        future.cancel()
    if way == "shutdown":
        executor.shutdown(interrupt=True)
    if way == "works":
        assert executor.submit(interpreter(jobs.add), 1).result() == 1
    if way == "exit":
        sys.exit(3)
    if way == "raise":
        raise ValueError("by purpose")
    if way == "loop":  # threads that submit until the end

        def submit():
            with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError):
                while True:
                    executor.submit(interpreter(jobs.add), 1).result()

        threading.Thread(target=submit, daemon=True).start()


if __name__ == "__main__":
    main()
