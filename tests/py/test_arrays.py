"""A `bytearray` and an `array.array` arrive as what they are, a copy, wherever they are."""

import array
import functools
import json
import mmap

import buffers
import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters import SendError, broadcast
from aiointerpreters.executors import interpreter


def send(executor, function, /, *args, **kwargs):
    return executor.submit(interpreter(function), *args, **kwargs).result(TIMEOUT)


def arrays():
    for size in (0, 1, 100, 65_535, 65_536, 300_000):
        yield f"bytearray of {size}", bytearray(range(256)) * (size // 256) + bytes(size % 256)
    for code in "bBhHiIlLqQfdw":
        for size in (0, 3, 100_000):
            items = "é" * size if code == "w" else [1] * size
            yield f"{size} of {code}", array.array(code, items)


ARRAYS = [pytest.param(value, id=name) for name, value in arrays()]


def describe(value):
    return type(value).__name__, getattr(value, "typecode", None), len(value), value[-3:]


def in_a_list(value):
    return [value, value]


def in_a_dict(value):
    return {"key": (1, value)}


def in_an_object(value):
    return buffers.Frame(1, value)


@pytest.mark.parametrize("value", ARRAYS)
def test_there_and_back(shared, value):
    assert send(shared, describe, value) == describe(value)
    assert send(shared, describe, value=value) == describe(value)
    for back in (send(shared, jobs.identity, value), send(shared, jobs.identity, [value])[0]):
        assert back == value
        assert describe(back) == describe(value)
        assert back is not value
        back.append(back[0] if back else ("x" if "w" in str(describe(back)) else 1))


@pytest.mark.parametrize("wrap", [in_a_list, in_a_dict, in_an_object])
@pytest.mark.parametrize("size", [3, 100_000])
def test_wherever_they_are(shared, wrap, size):
    for value in (bytearray(size), array.array("d", [0.5]) * size):
        for back in (send(shared, jobs.identity, wrap(value)), send(shared, wrap, value)):
            assert back == wrap(value)
    assert send(shared, lambda wrap, size: wrap(bytearray(size)), wrap, size) == wrap(
        bytearray(size)
    )


@pytest.mark.parametrize("size", [3, 100_000])
def test_one_object_stays_one(shared, size):
    def look(first, second, inside):
        first.append(7)
        return first is second is inside["key"], len(second)

    for value in (bytearray(size), array.array("h", [1]) * size):
        assert send(shared, look, value, value, {"key": value}) == (True, size + 1)
        assert len(value) == size
        first, second = send(shared, in_a_list, value)
        assert first is second


@pytest.mark.parametrize("size", [3, 100_000])
def test_in_something_that_contains_itself(shared, size):
    loop = [bytearray(size)]
    loop += [loop, loop[0]]
    back = send(shared, jobs.identity, loop)
    assert back[1] is back
    assert back[2] is back[0]
    assert type(back[0]) is bytearray


def test_what_they_are_good_for(shared):
    assert send(shared, lambda data: (data.decode(), json.loads(data)), bytearray(b"[1]")) == (
        "[1]",
        [1],
    )
    assert send(shared, lambda numbers: (numbers.typecode, sum(numbers)), array.array("i", [1, 2]))


@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("make", [bytearray, functools.partial(array.array, "b")])
def test_usable_as_soon_as_it_was_submitted(pool, gate, make, size):
    """What is submitted is what it holds then."""
    value = make(bytes(size))
    executor = pool(1)
    executor.submit(interpreter(jobs.pass_gate), *gate.args)
    gate.wait_started()
    pending = executor.submit(interpreter(jobs.identity), value)
    value[0] = 5
    value.append(1)
    del value[1:]
    gate.open()
    assert pending.result(TIMEOUT) == make(bytes(size))


def test_writes_are_not_seen_but_those_to_a_view(shared):
    block = bytearray(100_000)
    send(shared, jobs.fill, block, 1)
    assert not any(block)
    send(shared, jobs.fill, memoryview(block), 1)
    assert all(block)


def test_a_result_that_the_worker_keeps(pool):
    with pool(1) as executor:
        for make in (bytearray, functools.partial(array.array, "b")):
            kept = send(executor, buffers.keep_made, make, 100_000)
            kept[0] = 1
            assert send(executor, buffers.first_kept) == 0
            send(executor, buffers.drop_kept)


def test_of_a_broadcast_and_of_initargs(pool):
    handle = broadcast([bytearray(100_000), array.array("d", [1.0])])
    with pool(2) as executor:
        for _ in range(4):
            assert send(executor, jobs.identity, handle) == handle.value
        assert type(send(executor, jobs.identity, broadcast(bytearray(3)))) is bytearray
    with pool(2, initializer=interpreter(buffers.keep), initargs=(bytearray(100_000),)) as executor:
        executor.prestart(2)
        for _ in range(4):
            assert send(executor, buffers.kinds_kept) == ["bytearray"]


class Named(bytearray):
    pass


def test_subclasses(shared):
    value = Named(b"abc")
    value.name = "x"
    back = send(shared, jobs.identity, value)
    assert (type(back), back, back.name) == (Named, b"abc", "x")


def test_one_that_is_lent_to_somebody(shared):
    block = bytearray(100_000)
    with memoryview(block):
        assert send(shared, jobs.identity, block) == block


# --- what becomes of a memoryview instead ---------------------------------------------------------


def ask(value):
    return value.mean()


def ask_slice(value):
    return value[1:].decode()


def ask_deeper(value):
    try:
        ask(value)
    except AttributeError as error:
        raise ValueError("wrapped") from error


def ask_together(value):
    try:
        ask(value)
    except AttributeError as error:
        raise ExceptionGroup("both", [ValueError(1), error]) from None


def notes(executor, function, value):
    error = executor.submit(interpreter(function), value).exception(TIMEOUT)
    return error, "\n".join(getattr(error, "__notes__", ()))


@pytest.mark.parametrize("function", [ask, ask_slice, ask_deeper, ask_together])
def test_an_attribute_that_the_type_would_have(shared, function):
    error, said = notes(shared, function, mmap.mmap(-1, 10))
    assert not isinstance(error, SendError)
    assert "mmap.mmap" in said
    assert function.__name__ in said
    assert "memoryview of its memory" in said


def test_an_attribute_of_numpys(shared):
    np = pytest.importorskip("numpy", exc_type=ImportError)
    error, said = notes(shared, ask, np.arange(3))
    assert (type(error), error.name) == (AttributeError, "mean")
    assert "numpy.ndarray" in said
    assert "memoryview of its memory" in said


def test_an_attribute_of_a_view_of_ones_own(shared):
    def ask_own(_):
        return memoryview(b"abc").mean()

    error, said = notes(shared, ask_own, None)
    assert type(error) is AttributeError
    assert said == ""
