"""The memory of a memoryview is lent: both sides write to it, and it lives with the last view."""

import array
import ctypes
import gc
import mmap
import time
import weakref

import jobs
import pytest
from harness import TIMEOUT, wait_until

from aiointerpreters.executors import interpreter


def send(executor, function, /, *args, **kwargs):
    return executor.submit(interpreter(function), *args, **kwargs).result(TIMEOUT)


def resizable(block: bytearray) -> bool:
    """Whether nobody holds a view of `block`: only then can it grow."""
    try:
        block.append(0)
    except BufferError:
        return False
    block.pop()
    return True


@pytest.fixture
def worker(pool):
    """An executor of one worker, so that what a task keeps is where the next one looks."""
    return pool(max_workers=1)


# --- one memory, both directions -----------------------------------------------------------------


def test_writes_of_the_worker_are_seen(worker):
    block = bytearray(1000)
    assert send(worker, jobs.fill, memoryview(block), 7) == 1000
    assert block == b"\x07" * 1000


def test_writes_of_the_caller_are_seen(worker):
    block = bytearray(1000)
    send(worker, jobs.keep, memoryview(block))
    block[:] = b"\x05" * 1000
    assert send(worker, jobs.kept_bytes) == b"\x05" * 1000
    send(worker, jobs.drop_kept)


def test_writes_are_seen_while_the_task_runs(worker):
    block = bytearray(2)
    future = worker.submit(
        interpreter(jobs.flag_up_and_await), memoryview(block), 0, 1, TIMEOUT / 2
    )
    deadline = time.monotonic() + TIMEOUT
    while not block[0]:
        assert time.monotonic() < deadline, "the caller does not see what the worker wrote"
    block[1] = 1
    assert future.result(TIMEOUT), "the worker does not see what the caller wrote"


def test_two_workers_share_the_memory(pool):
    executor = pool(max_workers=2, max_interpreters=2)
    view = memoryview(bytearray(2))
    futures = [
        executor.submit(interpreter(jobs.flag_up_and_await), view, mine, 1 - mine, TIMEOUT / 2)
        for mine in (0, 1)
    ]
    assert [future.result(TIMEOUT) for future in futures] == [True, True]


def test_result_that_is_memory_of_the_caller(worker):
    block = bytearray(b"0123456789")
    view = send(worker, jobs.slice_of, memoryview(block), 2, 5)
    assert view.tobytes() == b"234"
    view[0] = ord("x")
    assert block == b"01x3456789"


def test_memory_that_goes_to_and_fro(worker):
    block = bytearray(4)
    view = memoryview(block)
    for n in range(10):
        view = send(worker, jobs.identity, view)
        view[n % 4] = n
    assert block == bytearray([8, 9, 6, 7])


def test_several_views_and_places(worker):
    first, second = bytearray(b"ab"), bytearray(b"cd")
    one, (two, key) = send(
        worker,
        jobs.identity,
        (memoryview(first), (memoryview(second), "key")),
    )
    one[0], two[0] = ord("A"), ord("C")
    assert (first, second, key) == (b"Ab", b"Cd", "key")
    _, ((name, view),) = send(worker, jobs.capture, key=memoryview(first))
    view[1] = ord("B")
    assert (name, first) == ("key", b"AB")


def test_one_view_twice(worker):
    block = bytearray(b"ab")
    view = memoryview(block)
    one, two = send(worker, jobs.identity, (view, view))
    one[0], two[1] = ord("A"), ord("B")
    assert block == b"AB"


def test_many_views_at_once(worker):
    blocks = [bytearray([n]) for n in range(200)]
    views = send(worker, jobs.identity, tuple(map(memoryview, blocks)))
    for view in views:
        view[0] += 50
    assert blocks == [bytearray([n + 50]) for n in range(200)]


# --- the memory lives as long as a view of it -----------------------------------------------------


def test_memory_of_the_caller_outlives_the_callers_references(worker):
    block = bytearray(b"still here" * 1000)
    send(worker, jobs.keep, memoryview(block))
    del block
    gc.collect()
    junk = [bytearray(10_000) for _ in range(100)]
    assert send(worker, jobs.kept_bytes) == b"still here" * 1000
    del junk
    send(worker, jobs.drop_kept)


def test_memory_of_the_worker_outlives_the_workers_references(worker):
    view = send(worker, jobs.own_memory, 10_000, 9)
    for _ in range(20):
        send(worker, jobs.own_memory, 10_000, 1)
    assert view.tobytes() == b"\x09" * 10_000


def test_memory_of_the_worker_outlives_its_interpreter(pool):
    executor = pool(max_workers=1)
    view = send(executor, jobs.own_memory, 10_000, 9)
    executor.shutdown(wait=True)
    del executor
    gc.collect()
    assert view.tobytes() == b"\x09" * 10_000
    view[0] = 1
    assert view[0] == 1
    part = view[5:]
    del view
    gc.collect()
    assert part.tobytes() == b"\x09" * 9_995


def test_memory_of_a_future_that_nobody_asks(worker):
    block = bytearray(10)
    worker.submit(interpreter(jobs.identity), memoryview(block))
    worker.submit(interpreter(jobs.own_memory), 10, 1)
    send(worker, jobs.add, 1, 1)
    gc.collect()
    wait_until(lambda: resizable(block), "the abandoned future lets go of the memory")


def test_memory_in_a_cycle_when_the_interpreter_ends(pool):
    block = bytearray(10)
    executor = pool(max_workers=1)

    def keep_in_a_cycle(view):
        cycle = [view]
        cycle.append(cycle)
        jobs.KEPT.append(cycle)

    send(executor, keep_in_a_cycle, memoryview(block))
    assert not resizable(block)
    executor.shutdown(wait=True)
    wait_until(lambda: resizable(block), "the interpreter that ended lets go of the memory")


def test_the_object_behind_is_let_go(worker):
    class Block(bytearray):
        pass

    block = Block(10)
    reference = weakref.ref(block)
    send(worker, jobs.fill, memoryview(block), 1)
    del block
    wait_until(lambda: gc.collect() is None or reference() is None, "the memory is let go")


def test_bytearray_does_not_resize_while_it_is_lent(worker):
    block = bytearray(10)
    send(worker, jobs.keep, memoryview(block))
    gc.collect()
    with pytest.raises(BufferError):
        block.append(0)
    with pytest.raises(BufferError):
        block.clear()
    assert send(worker, jobs.drop_kept) == 1
    wait_until(lambda: resizable(block), "what the worker dropped can be resized")


def test_bytearray_does_not_resize_while_the_task_runs(worker, gate):
    block = bytearray(10)
    future = worker.submit(interpreter(jobs.pass_gate), *gate.args, memoryview(block))
    gate.wait_started()
    gc.collect()
    assert not resizable(block)
    gate.open()
    future.result(TIMEOUT)
    del future
    wait_until(lambda: resizable(block), "what came back can be resized")


def test_memory_of_a_task_that_was_cancelled(worker, gate):
    block = bytearray(10)
    worker.submit(interpreter(jobs.pass_gate), *gate.args)
    gate.wait_started()
    pending = worker.submit(interpreter(jobs.fill), memoryview(block), 1)
    assert not resizable(block)
    assert pending.cancel()
    gate.open()
    send(worker, jobs.add, 1)
    wait_until(lambda: resizable(block), "a cancelled task lets go of its memory")
    assert block == bytes(10)


def test_memory_of_a_task_that_failed(worker):
    block = bytearray(10)
    error = worker.submit(interpreter(jobs.nest), memoryview(block), "too many").exception(TIMEOUT)
    assert isinstance(error, TypeError)
    del error
    wait_until(lambda: resizable(block), "a task that failed lets go of its memory")


def test_view_that_the_worker_releases(worker):
    block = bytearray(10)
    send(worker, memoryview.release, memoryview(block))
    wait_until(lambda: resizable(block), "what the worker released can be resized")


# --- forms ---------------------------------------------------------------------------------------


class Structure(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


def views():
    numbers = array.array("i", range(24))
    yield "bytes", memoryview(b"read only")
    yield "bytearray", memoryview(bytearray(b"writable"))
    yield "empty", memoryview(b"")
    yield "empty writable", memoryview(bytearray())
    yield "slice", memoryview(bytearray(range(100)))[10:20]
    yield "slice of nothing", memoryview(bytearray(10))[5:5]
    yield "every second", memoryview(bytearray(range(100)))[::2]
    yield "backwards", memoryview(bytearray(range(100)))[::-1]
    yield "backwards in threes", memoryview(bytearray(range(100)))[90:10:-3]
    for code in "bBhHiIlLqQfd":
        yield f"array of {code}", memoryview(array.array(code, range(10)))
    yield "ints, every third", memoryview(numbers)[::3]
    yield "two dimensions", memoryview(numbers).cast("B").cast("i", (4, 6))
    yield "three dimensions", memoryview(numbers).cast("B").cast("i", (2, 3, 4))
    yield "no dimension", memoryview(bytearray(b"x")).cast("B", ())
    yield "chars", memoryview(bytearray(b"abc")).cast("c")
    yield "bools", memoryview(bytearray(b"\x00\x01")).cast("?")
    yield "read-only view of writable", memoryview(bytearray(b"abc")).toreadonly()
    yield "ctypes array", memoryview((ctypes.c_double * 3)(1.0, 2.0, 3.0))
    yield "ctypes matrix", memoryview(((ctypes.c_int * 3) * 2)((1, 2, 3), (4, 5, 6)))
    yield "structure", memoryview(Structure(1, 2.0))
    yield "mmap", memoryview(mmap.mmap(-1, 4096))


@pytest.mark.parametrize("view", [pytest.param(view, id=name) for name, view in views()])
def test_forms(worker, view):
    assert send(worker, jobs.view_facts, view) == jobs.view_facts(view)
    back = send(worker, jobs.identity, view)
    assert type(back) is memoryview
    assert jobs.view_facts(back) == jobs.view_facts(view)


def test_strided_writes_land_where_they_belong(worker):
    block = bytearray(10)
    send(worker, jobs.fill, memoryview(block)[::3], 1)
    assert list(block) == [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    send(worker, jobs.fill, memoryview(block)[8:0:-4], 2)
    assert list(block) == [1, 0, 0, 1, 2, 0, 1, 0, 2, 1]


def test_elements_keep_their_format(worker):
    numbers = array.array("d", [0.0] * 5)
    send(worker, jobs.fill, memoryview(numbers), 2.5)
    assert numbers.tolist() == [2.5] * 5


def test_two_dimensions_are_written_by_index(worker):
    def write(view):
        view[1, 2] = 42

    numbers = array.array("i", range(6))
    send(worker, write, memoryview(numbers).cast("B").cast("i", (2, 3)))
    assert numbers.tolist() == [0, 1, 2, 3, 4, 42]


def test_read_only_stays_read_only(worker):
    error = worker.submit(interpreter(jobs.fill), memoryview(b"abc"), 1).exception(TIMEOUT)
    assert isinstance(error, TypeError)
    assert "read-only" in str(error)
    assert send(worker, jobs.identity, memoryview(b"abc")).readonly


def test_large_memory_is_not_copied(worker):
    """100 crossings of 256 MiB: copies would move 50 GiB."""
    block = mmap.mmap(-1, 256 << 20)
    view = memoryview(block)
    for _ in range(100):
        send(worker, jobs.fill, view[-1:], 1)
        assert send(worker, jobs.identity, view).nbytes == view.nbytes
    assert view[-1] == 1


# --- errors --------------------------------------------------------------------------------------


def test_released_view_as_an_argument(worker):
    view = memoryview(bytearray(10))
    view.release()
    error = worker.submit(interpreter(jobs.fill), view, 1).exception(TIMEOUT)
    assert error is not None
    text = str(error)
    assert "released" in text
    assert "memoryview" in text
    assert "fill" in text
    assert send(worker, jobs.add, 1, 1) == 2


def test_released_view_as_a_result(worker):
    error = worker.submit(interpreter(jobs.released_view)).exception(TIMEOUT)
    assert error is not None
    text = str(error)
    assert "released" in text
    assert "memoryview" in text
    assert "released_view" in text
    assert send(worker, jobs.add, 1, 1) == 2


def test_view_that_the_caller_releases_while_it_is_lent(worker):
    """The caller's view is one of several: releasing it takes nothing from the worker."""
    block = bytearray(b"abc")
    view = memoryview(block)
    send(worker, jobs.keep, view)
    view.release()
    del view
    assert send(worker, jobs.kept_bytes) == b"abc"
    assert not resizable(block)
    send(worker, jobs.drop_kept)


def test_memory_under_load(pool):
    """Views made, written, kept and dropped in several workers at once, and all let go."""
    executor = pool(max_workers=2, max_interpreters=2)
    blocks = [bytearray(100) for _ in range(500)]
    futures = [
        executor.submit(interpreter(jobs.fill), memoryview(block), n % 256)
        for n, block in enumerate(blocks)
    ]
    returned = [executor.submit(interpreter(jobs.own_memory), 50, n % 256) for n in range(500)]
    assert [future.result(TIMEOUT) for future in futures] == [100] * 500
    for n, future in enumerate(returned):
        assert future.result(TIMEOUT).tobytes() == bytes([n % 256]) * 50
    assert blocks == [bytearray([n % 256]) * 100 for n in range(500)]
    del futures
    wait_until(lambda: all(map(resizable, blocks)), "all the memory is let go")
