"""Functions that run until somebody stops them. What they say goes to a file descriptor."""

import concurrent.futures
import contextlib
import gc
import logging
import os
import queue
import sched
import select
import sys
import threading
import time
import weakref

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


def spin_in_scheduler(said: int) -> None:
    """Run for ever in the standard library's Python code, which does not return."""
    begun = iter([None])

    def delay(seconds):
        for _ in begun:
            say(said, "S")

    scheduler = sched.scheduler(lambda: 0, delay)
    scheduler.enter(1, 1, print)
    scheduler.run()


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


# --- where a task is left alone ------------------------------------------------------------------


def busy(said: int) -> None:
    """Compute for longer than it takes to be knocked at, several times."""
    say(said, "b")
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pass
    say(said, "e")


def busy_in_handler(said):
    class Handler(logging.Handler):
        def emit(self, record):
            busy(said)

    Handler().handle(logging.makeLogRecord({}))


def busy_in_condition(said):
    condition = threading.Condition()
    with condition:
        condition.wait_for(lambda: busy(said) is None)


def busy_in_queue(said):
    class Queue(queue.Queue):
        def _put(self, item):
            busy(said)

    Queue().put(1)


def busy_in_callback(said):
    future = concurrent.futures.Future()
    future.add_done_callback(lambda _: busy(said))
    future.set_result(1)


def busy_in_finalizer(said):
    class Value:
        pass

    value = Value()
    weakref.finalize(value, busy, said)
    del value
    gc.collect()


def busy_in_destructor(said):
    class Value:
        def __del__(self):
            busy(said)

    Value()


def busy_in_import(said):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "not_to_be_found":
                busy(said)

    sys.meta_path.insert(0, Finder())
    try:
        with contextlib.suppress(ImportError):
            import not_to_be_found  # noqa: F401
    finally:
        del sys.meta_path[0]


def busy_in_closed_generator(said):
    def generate():
        try:
            yield
        finally:
            busy(said)

    generator = generate()
    next(generator)
    generator.close()


def busy_in_exit(said):
    class Manager:
        def __enter__(self):
            pass

        def __exit__(self, *_):
            busy(said)

    with Manager():
        pass


def busy_then_spin(said: int, where: str) -> None:
    """Be busy in code that others call, and then run for ever in code that nobody else does."""
    globals()[f"busy_in_{where}"](said)
    while True:
        pass


def clean_up_in_except_star(said: int) -> None:
    try:
        spin(said)
    except* Interrupted:
        busy(said)


def clean_up_after_a_group(said: int) -> None:
    try:
        try:
            spin(said)
        except Interrupted as error:
            interruption = error
        raise BaseExceptionGroup("several", [interruption])
    finally:
        busy(said)


def clean_up_in_a_sibling(said: int) -> None:
    """A Task of the task's own loop is interrupted; the other one is cancelled by that."""
    import asyncio

    async def turn():
        say(said, "S")
        while True:
            await asyncio.sleep(0)

    async def wait():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            busy(said)

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(turn())

    asyncio.run(main())


def clean_up_handling_something_else(said: int) -> None:
    """Clean up in a generator that has been handling something else since before."""

    def generate():
        try:
            raise KeyError
        except KeyError:
            yield
            busy(said)
            yield

    generator = generate()
    next(generator)
    try:
        spin(said)
    finally:
        next(generator)


lock = threading.Lock()


def enter_in_a_loop(said: int) -> None:
    say(said, "S")
    while True:
        with lock:
            pass


def is_lock_held() -> bool:
    held = lock.locked()
    if held:
        lock.release()
    return held


def wait_in_a_loop(said: int) -> None:
    """Wait for most of the time, for ten times as long as is between two knocks."""
    event = threading.Event()
    say(said, "S")
    while not event.wait(0.64):
        pass


def clean_up_beside_threads(said: int, count: int) -> None:
    """The other threads run Python all the time, and get most knocks."""
    over = threading.Event()

    def run():
        while not over.is_set():
            pass

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        spin(said)
    finally:
        busy(said)
        over.set()
        for thread in threads:
            thread.join()
        say(said, "f")


# --- what tasks leave behind ---------------------------------------------------------------------


def leave_a_thread(what: str, saying: int, listening: int) -> None:
    """Return, while a thread of the task's goes on."""

    def spin():
        while True:
            pass

    def clean_up_for_ever():
        try:
            spin()
        finally:
            spin()

    def block():
        os.read(listening, 1)

    def clean_up():
        try:
            spin()
        finally:
            busy(saying)

    targets = {"block": block, "clean_up": clean_up, "clean_up_for_ever": clean_up_for_ever}
    threading.Thread(target=targets[what]).start()


def leave_a_pool() -> int:
    """Return, while the threads of an executor wait for more."""
    sys.executor = concurrent.futures.ThreadPoolExecutor(2)
    return sys.executor.submit(abs, -1).result()
