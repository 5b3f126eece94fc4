"""Functions that run until somebody stops them. What they say goes to a file descriptor."""

import contextlib
import os
import select
import sys
import threading
import time

from aiointerpreters import Interrupted


def say(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode())


def spin(said: int) -> None:
    """Run for ever, in Python."""
    say(said, "S")
    while True:
        pass


def spin_in_calls(said: int) -> None:
    def recur(depth):
        return depth if depth == 0 else recur(depth - 1)

    say(said, "S")
    while True:
        recur(20)


def spin_in_comprehension(said: int) -> None:
    say(said, "S")
    sum(0 for _ in iter(int, 1))


def spin_and_clean_up(said: int) -> None:
    """Clean up at length, in every way there is."""

    @contextlib.contextmanager
    def manager():
        try:
            yield
        finally:
            work()
            say(said, "c")

    def work():
        for _ in range(300_000):
            pass

    try:
        with manager():
            spin(said)
    finally:
        try:
            raise ValueError("in the finally")
        except ValueError:
            work()
            say(said, "e")
        work()
        say(said, "f")


def swallow(said: int, times: int) -> None:
    """Catch the interruption so many times."""
    caught = -1
    while caught < times:
        try:
            if caught < 0:
                caught = 0
                say(said, "S")
            while True:
                pass
        except Interrupted:
            caught += 1
            say(said, "i")
    while True:
        pass


def turn_into_error(said: int) -> None:
    try:
        spin(said)
    except BaseException as error:
        raise ValueError("something else") from error


def swallow_and_return(said: int) -> str:
    try:
        spin(said)
    except Interrupted:
        return "caught"


def read(said: int, descriptor: int) -> bytes:
    """Block in C, to be stopped when that is over; says which thread does."""
    say(said, f"S[{threading.get_native_id()}]")
    return os.read(descriptor, 1)


def import_slowly(said: int, folder: str) -> None:
    """Import a module that never ends to be imported."""
    sys.path.insert(0, folder)
    sys.said = said
    import endless  # noqa: F401


def spin_in_library(said: int) -> None:
    """Run for ever in the standard library's Python code."""
    import random

    say(said, "S")
    while True:
        random.shuffle(list(range(100_000)))


def spin_beside_a_thread(said: int) -> None:
    """Another thread of the interpreter runs Python, too, and ends with the task."""
    over = threading.Event()

    def run():
        while not over.is_set():
            pass

    thread = threading.Thread(target=run)
    thread.start()
    try:
        spin(said)
    finally:
        over.set()
        thread.join()


def raise_interrupted() -> None:
    raise Interrupted("by hand")


def raise_in_destructor(said: int) -> None:
    """What is raised in a destructor is lost."""

    class Slow:
        def __del__(self):
            for _ in range(100):
                pass

    say(said, "S")
    while True:
        Slow()


def block_and_go_on(said: int, how: str, descriptor: int) -> None:
    """Wait in C until there is something to read, say so, and go on for ever."""
    lock = threading.Lock()
    lock.acquire()
    if how == "lock":
        threading.Thread(target=lambda: (os.read(descriptor, 1), lock.release())).start()
    say(said, f"S[{threading.get_native_id()}]")
    if how == "select":
        select.select([descriptor], [], [])
    elif how == "lock":
        lock.acquire()
    elif how == "sleep":
        time.sleep(2)
    else:
        os.read(descriptor, 1)
    say(said, "X")
    while True:
        pass
