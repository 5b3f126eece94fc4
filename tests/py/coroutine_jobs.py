"""Coroutine functions and asynchronous generators that the tests have run in interpreters."""

import asyncio
import contextvars
import functools
import inspect
import os
import threading
import time

variable = contextvars.ContextVar("variable", default="default")
marks = []  # what an initializer has left


async def add(a, b=2):
    await asyncio.sleep(0)
    return a + b


async def at_once(value):
    return value


async def capture(*args, **kwargs):
    await asyncio.sleep(0)
    return args, tuple(sorted(kwargs.items()))


def interpreter_id():
    from aiointerpreters import _core

    return _core.place()[0]


async def where():
    return interpreter_id(), threading.get_ident()


async def raise_this(error):
    await asyncio.sleep(0)
    raise error


async def raise_at_once(error):
    raise error


async def odd_only(n):
    await asyncio.sleep(0)
    if n % 2 == 0:
        raise ValueError(n)
    return n


class Hook:
    """As an argument it is None, and its function is called whenever it is encoded."""

    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        self.function()
        return type(None), ()


def ignore(*args):
    pass


begins = ignore  # what call_begins() calls; in the main interpreter a test may replace it


def call_begins():
    begins()


async def poll(place):
    """Give way until the file is there, and not any more then."""
    while not os.path.exists(place):
        await asyncio.sleep(0)
    while True:
        pass


async def hold_up_until(saying, listening, place):
    """Block the loop until the gate is open, and make a file."""
    block(saying, listening)
    open(place, "w").close()


async def readable(descriptor):
    """Wait until there is something to read, or the other end is closed."""
    loop = asyncio.get_running_loop()
    mine = os.dup(descriptor)
    come = loop.create_future()
    loop.add_reader(mine, lambda: come.done() or come.set_result(None))
    try:
        await come
    finally:
        loop.remove_reader(mine)
        os.close(mine)


async def pass_gate(saying, listening, result=None):
    """Say S, wait for the gate, say E; if it is cancelled, say C."""
    os.write(saying, b"S")
    os.set_blocking(listening, False)
    try:
        while True:
            await readable(listening)
            try:
                os.read(listening, 1)
                break
            except BlockingIOError:
                pass  # another one was let through
        os.write(saying, b"E")
    except asyncio.CancelledError:
        os.write(saying, b"C")
        raise
    return interpreter_id() if result is None else result


async def steps(saying, count):
    """Say S at each of `count` awaits, and F in the end, after a cleanup that waits."""
    forever = asyncio.get_running_loop().create_future()
    try:
        for _ in range(count):
            os.write(saying, b"S")
            await asyncio.sleep(0)
        await forever
    finally:
        await asyncio.sleep(0)
        os.write(saying, b"F")


async def swallow(saying, listening):
    """Go on, cancelled or not, until the gate is open."""
    os.write(saying, b"S")
    while True:
        try:
            await readable(listening)
            return "went on"
        except asyncio.CancelledError:
            os.write(saying, b"C")


async def spin(saying):
    """Never yield."""
    os.write(saying, b"S")
    try:
        while True:
            pass
    finally:
        os.write(saying, b"E")


async def spin_a_while(saying, seconds):
    """Do not yield for so long."""
    os.write(saying, b"S")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "untouched"


async def hold_up_call_soon(saying, how):
    """Be busy where C code of asyncio is in the middle of telling somebody."""
    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon

    def slow(callback, *args, context=None):
        del loop.call_soon
        os.write(saying, b"b")
        end = time.monotonic() + 0.6  # a host is knocked at after 0.25 seconds
        while time.monotonic() < end:
            pass
        os.write(saying, b"e")
        return call_soon(callback, *args, context=context)

    future = loop.create_future()
    future.add_done_callback(lambda _: os.write(saying, b"w"))
    loop.call_soon = slow
    if how == "step":
        await asyncio.sleep(0)
    else:
        future.set_result(None)
    while True:
        pass


async def spin_in_function(saying):
    """Never yield, in a function that the coroutine calls."""

    def spin():
        os.write(saying, b"h")
        while True:
            pass

    spin()


async def spin_later(saying, listening):
    """Wait for the gate, and never yield from then on."""
    await pass_gate(saying, listening)
    await spin(saying)


async def never_stop(saying, listening):
    """Never yield, whatever is raised, until something can be read."""
    os.write(saying, b"S")
    while True:
        try:
            while not os.get_blocking(listening):
                pass
            os.read(listening, 1)
            os.write(saying, b"E")
            return
        except BaseException:
            pass


def block(saying, listening):
    os.write(saying, b"S")
    os.set_blocking(listening, True)
    os.read(listening, 1)


async def hold_up(saying, listening):
    """Block the loop in a system call."""
    block(saying, listening)
    return "came back"


async def clean_up_slowly(saying):
    try:
        os.write(saying, b"S")
        await asyncio.get_running_loop().create_future()
    finally:
        for _ in range(3_000_000):
            pass
        os.write(saying, b"F")


async def stop_loop(value):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    asyncio.get_running_loop().stop()
    return value


async def break_loop():
    asyncio.get_running_loop()._selector.close()
    await asyncio.sleep(0)


async def leave_a_task(saying):
    """A task of its own goes on when this has returned."""

    async def left():
        try:
            os.write(saying, b"S")
            await asyncio.get_running_loop().create_future()
        finally:
            os.write(saying, b"F")

    marks.append(asyncio.create_task(left()))
    await asyncio.sleep(0)


async def read_variable():
    await asyncio.sleep(0)
    before = variable.get()
    variable.set("changed")
    return before


def initialize(value):
    marks.append(value)


def refuse():
    raise ValueError("no good")


async def read_marks():
    return list(marks)


async def lock():
    return threading.Lock()


async def large(size):
    return b"x" * size


async def large_later(saying, listening, size):
    await pass_gate(saying, listening)
    return bytes(size)


async def echo_view(view):
    await asyncio.sleep(0)
    return bytes(view)


async def print_this(text):
    print(text)


class Object:
    def __init__(self, base=10):
        self.base = base

    async def method(self, n):
        await asyncio.sleep(0)
        return self.base + n

    @classmethod
    async def of_class(cls, n):
        return cls().base + n

    @staticmethod
    async def static(n):
        return n + 1

    async def __call__(self, n):
        return self.base * n


class Later:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "awaited"


@inspect.markcoroutinefunction
def marked():
    return Later()


partial = functools.partial(add, 1)


# --- asynchronous generators ---------------------------------------------------------------------


async def count(n):
    for i in range(n):
        yield i


async def count_and_fail(n, error):
    for i in range(n):
        yield i
        if i % 7 == 0:
            await asyncio.sleep(0)
    raise error


async def count_saying(saying, n):
    """Say I for each item before it is yielded, and F in the end."""
    try:
        for i in range(n):
            os.write(saying, b"I")
            yield i
    finally:
        await asyncio.sleep(0)
        os.write(saying, b"F")


async def wait_in_between(saying, listening):
    try:
        yield 1
        await pass_gate(saying, listening)
        yield 2
    finally:
        os.write(saying, b"F")


async def wait_and_give(saying, listening, items):
    await pass_gate(saying, listening)
    for item in items:
        yield item


async def wait_and_give_what_cannot_be_sent(saying, listening):
    await pass_gate(saying, listening)
    yield 1
    yield 2
    yield asyncio.get_running_loop()


async def with_a_lock(n, place):
    for i in range(n):
        yield threading.Lock() if i == place else i


async def fail_in_the_end():
    try:
        yield 1
        yield 2
    finally:
        raise ValueError("while it was closed")


async def forever():
    i = 0
    while True:
        yield i
        i += 1


async def blocks(n, size):
    for _ in range(n):
        yield b"x" * size
