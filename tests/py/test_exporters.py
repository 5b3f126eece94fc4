"""Arguments that export memory and cannot be rebuilt arrive as memoryviews of it.

`bytearray` and `array.array` keep their type: test_arrays.py.
"""

import array
import ctypes
import functools
import gc
import importlib
import mmap
import tempfile
import threading
from pickle import PickleBuffer

import buffers
import jobs
import kinds
import pytest
from harness import TIMEOUT, in_thread, wait_until

from aiointerpreters import SendError
from aiointerpreters.executors import interpreter


def send(executor, function, /, *args, **kwargs):
    return executor.submit(interpreter(function), *args, **kwargs).result(TIMEOUT)


def failure(executor, function, /, *args, **kwargs) -> SendError:
    """The SendError of a call; the executor goes on afterwards."""
    error = executor.submit(interpreter(function), *args, **kwargs).exception(TIMEOUT)
    assert type(error) is SendError, error
    assert send(executor, jobs.add, 1, 1) == 2
    return error


def resizable(block: bytearray) -> bool:
    try:
        block.append(0)
    except BufferError:
        return False
    block.pop()
    return True


@pytest.fixture
def worker(pool):
    return pool(max_workers=1)


def mapped(access: int) -> mmap.mmap:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(range(256)) * 16)
        file.flush()
        return mmap.mmap(file.fileno(), 4096, access=access)


def exporters():
    yield "mmap", mmap.mmap(-1, 4096)
    yield "mmap of a file", mapped(mmap.ACCESS_WRITE)
    yield "read-only mmap", mapped(mmap.ACCESS_READ)
    yield "ctypes array", (ctypes.c_double * 3)(1, 2, 3)
    yield "ctypes matrix", ((ctypes.c_int * 3) * 2)((1, 2, 3), (4, 5, 6))
    yield "ctypes structures", (buffers.Position * 2)((1, 2.0), (3, 4.0))
    yield "PickleBuffer", PickleBuffer(bytearray(b"writable"))
    yield "empty PickleBuffer", PickleBuffer(bytearray())
    yield "large PickleBuffer", PickleBuffer(bytearray(range(256)) * 1000)
    for code in "bBhHiIlLqQfd":
        yield f"PickleBuffer of {code}", PickleBuffer(array.array(code, range(10)))
    yield "read-only PickleBuffer", PickleBuffer(b"read only")
    yield "PickleBuffer of a slice", PickleBuffer(memoryview(bytearray(range(100)))[::-3])


def of_numpy():
    yield "C order", lambda np: np.arange(12.0).reshape(3, 4)
    yield "Fortran order", lambda np: np.asfortranarray(np.arange(12).reshape(3, 4))
    yield "strided", lambda np: np.arange(100)[::7]
    yield "backwards", lambda np: np.arange(12).reshape(3, 4)[::-1, ::-2]
    yield "nothing", lambda np: np.zeros((0, 3))
    yield "bools", lambda np: np.zeros((130, 130), dtype=bool)
    yield "records", lambda np: np.zeros(3, dtype=[("a", "i4"), ("b", "f8")])

    def frozen(np):
        made = np.arange(5)
        made.flags.writeable = False
        return made

    yield "read-only", frozen


EXPORTERS = [pytest.param(value, id=name) for name, value in exporters()]


def library(name: str):
    return pytest.importorskip(name, reason="not installed for this Python", exc_type=ImportError)


@pytest.fixture(params=[make for _, make in of_numpy()], ids=[name for name, _ in of_numpy()])
def ndarray(request):
    return request.param(library("numpy"))


# --- an argument itself --------------------------------------------------------------------------


def check_arrival(executor, value):
    expected = "memoryview", buffers.facts(memoryview(value))
    assert send(executor, buffers.arrive, value) == [expected]
    assert send(executor, buffers.arrive, key=value) == [expected]
    beside_a_pickle = send(executor, buffers.arrive, jobs.Point(1, 2), value, key=value)
    assert beside_a_pickle == [("Point", None), expected, expected]


@pytest.mark.parametrize("value", EXPORTERS)
def test_arrival(shared, value):
    check_arrival(shared, value)


def test_arrival_of_numpy(shared, ndarray):
    check_arrival(shared, ndarray)


def test_arrival_of_arrow(shared):
    check_arrival(shared, library("pyarrow").py_buffer(b"arrow" * 1000))


@pytest.mark.parametrize("value", EXPORTERS)
def test_there_and_back(shared, value):
    back = send(shared, jobs.identity, value)
    assert type(back) is memoryview
    assert buffers.facts(back) == buffers.facts(memoryview(value))


def test_there_and_back_of_numpy(shared, ndarray):
    back = library("numpy").asarray(send(shared, jobs.identity, ndarray))
    assert (back == ndarray).all()
    assert back.dtype == ndarray.dtype
    assert back.__array_interface__["data"] == ndarray.__array_interface__["data"]


@pytest.mark.parametrize(
    "value",
    [
        mmap.mmap(-1, 4),
        (ctypes.c_ubyte * 4)(),
        PickleBuffer(bytearray(4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_writes_are_seen(shared, value):
    assert send(shared, jobs.fill_bytes, value, 7) == 4
    assert bytes(memoryview(value)) == b"\x07" * 4
    back = send(shared, jobs.slice_of, value, 1, 3)
    back.cast("B")[0] = 9
    assert bytes(memoryview(value)) == b"\x07\x09\x07\x07"


def test_writes_to_numpy_are_seen(shared):
    grid = library("numpy").zeros((3, 4), dtype="u1")

    def write(view):
        view[2, 3] = 5

    send(shared, write, grid)
    assert grid[2, 3] == 5


def test_arguments_of_other_kinds_of_calls(executor):
    block = mmap.mmap(-1, 4)
    assert send(executor, functools.partial(jobs.fill, block), 1) == 4
    assert list(executor.map(interpreter(jobs.fill), [block] * 3, [1, 2, 3])) == [4, 4, 4]
    assert send(executor, functools.partial(jobs.fill, byte=8), block) == 4
    assert block[:] == b"\x08" * 4


def test_initargs(pool):
    block = mmap.mmap(-1, 1)
    with pool(1, initializer=interpreter(jobs.fill), initargs=(block, 3)) as executor:
        send(executor, jobs.add, 1)
    assert block[:] == b"\x03"


def test_one_object_in_two_arguments(shared):
    def write(first, second):
        first[0] = 1
        return second[0]

    block = mmap.mmap(-1, 1)
    assert send(shared, write, block, second=block) == 1


def test_large_memory_is_not_copied(worker):
    """100 crossings of 256 MiB: copies would move 50 GiB."""
    block = mmap.mmap(-1, 256 << 20)
    for _ in range(100):
        assert send(worker, jobs.identity, block).nbytes == 256 << 20


# --- inside others, and classes ------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 4095, 4096, 100_000])
def test_classes_arrive_as_themselves(shared, size):
    for kind in (buffers.ZeroCopyByteArray, buffers.Block):
        value = kind(bytes(range(256)) * (size // 256 + 1))[:size]
        value = kind(value)
        for nested in (value, [value], buffers.Frame(1, value)):
            back = send(shared, jobs.identity, nested)
            assert back == nested
        assert type(back.pixels) is kind
        assert send(shared, buffers.arrive, value) == [(kind.__name__, None)]


def test_buffers_of_pickle_are_lent(shared):
    data = bytearray(4096)
    value = {"frame": [kinds.OutOfBand(data)]}
    send(shared, lambda value: jobs.fill_bytes(memoryview(value["frame"][0].data), 5), value)
    assert data == b"\x05" * 4096
    back = send(shared, jobs.identity, value)["frame"][0]
    memoryview(back.data)[0] = 6
    assert data[0] == 6


def test_small_buffers_of_pickle_are_copied(shared):
    data = bytearray(4095)
    send(shared, lambda value: jobs.fill_bytes(memoryview(value.data), 5), kinds.OutOfBand(data))
    assert data == bytes(4095)


def test_buffers_of_pickle_stay_read_only(shared):
    value = kinds.OutOfBand(bytes(10_000))
    assert send(shared, lambda value: memoryview(value.data).readonly, value)


def test_numpy_in_a_container_is_refused_where_it_does_not_load(shared):
    np = library("numpy")
    error = shared.submit(interpreter(jobs.identity), [np.arange(3)]).exception(TIMEOUT)
    assert isinstance(error, SendError | ImportError)
    assert "numpy" in str(error)
    assert send(shared, jobs.add, 1, 1) == 2


def test_structures_arrive_as_themselves(shared):
    value = buffers.Position(1, 2.5)
    back = send(shared, jobs.identity, value)
    assert type(back) is buffers.Position
    assert back == value


# --- views of lent memory come back --------------------------------------------------------------


def wrap_in_pickle_buffer(view):
    return PickleBuffer(view)


def wrap_in_frame(view):
    return buffers.Frame(1, view)


def wrap_out_of_band(view):
    return kinds.OutOfBand(view[:4096])


def wrap_in_containers(view):
    return {"views": [view[1:], (view[::-1],)]}


def test_wrapped_views_are_of_the_same_memory(shared):
    block = bytearray(8192)
    frame = send(shared, wrap_in_frame, PickleBuffer(block))
    frame.pixels[0] = 1
    views = send(shared, wrap_in_containers, PickleBuffer(block))["views"]
    views[0][0] = 2
    views[1][0][0] = 3
    memoryview(send(shared, wrap_in_pickle_buffer, PickleBuffer(block)))[2] = 4
    memoryview(send(shared, wrap_out_of_band, PickleBuffer(block)).data)[3] = 5
    assert block[:4] == bytes([1, 2, 4, 5])
    assert block[-1] == 3


# --- how long it is lent -------------------------------------------------------------------------


def test_not_resizable_while_the_task_runs(worker, gate):
    block = bytearray(10)
    future = worker.submit(interpreter(jobs.pass_gate), *gate.args, value=PickleBuffer(block))
    gate.wait_started()
    gc.collect()
    with pytest.raises(BufferError):
        block.clear()
    gate.open()
    view = future.result(TIMEOUT)
    assert not resizable(block), "the result is a view of it"
    del view, future
    wait_until(lambda: resizable(block), "the last view is gone")


def grow(executor, block) -> int:
    send(executor, jobs.fill, PickleBuffer(block), 1)
    block.append(0)
    lent = PickleBuffer(block)
    assert list(executor.map(interpreter(jobs.fill), [lent], [2])) == [len(block)]
    lent.release()
    block.append(0)
    lent = PickleBuffer(block)
    error = executor.submit(interpreter(jobs.nest), lent, "too many").exception(TIMEOUT)
    lent.release()
    assert isinstance(error, TypeError)
    block.append(0)
    return len(block)


def test_resizable_as_soon_as_the_outcome_is_there(worker):
    """In any thread: the main thread's pending calls are not waited for."""
    assert grow(worker, bytearray()) == 3
    assert in_thread(grow, worker, bytearray()) == 3


def test_not_resizable_while_the_worker_keeps_a_view(worker):
    block = bytearray(10)
    send(worker, jobs.keep, PickleBuffer(block))
    assert not resizable(block)
    send(worker, jobs.drop_kept)
    wait_until(lambda: resizable(block), "the last view is gone")


def test_view_that_outlives_the_executor(worker):
    block = bytearray(b"0123")
    view = send(worker, jobs.identity, PickleBuffer(block))
    worker.shutdown()
    del worker
    view[0] = ord("x")
    assert block == b"x123"
    view.release()
    wait_until(lambda: resizable(block), "the last view is gone")


def test_view_kept_by_an_interpreter_that_ends(pool):
    block = bytearray(10)
    with pool(1) as executor:
        send(executor, jobs.keep, PickleBuffer(block))
    wait_until(lambda: resizable(block), "the interpreter that ended lets go of the memory")


def test_let_go_by_a_task_that_never_runs(worker, gate):
    block = bytearray(10)
    worker.submit(interpreter(jobs.pass_gate), *gate.args)
    gate.wait_started()
    pending = worker.submit(interpreter(jobs.fill), PickleBuffer(block), 1)
    assert not resizable(block)
    assert pending.cancel()
    gate.open()
    wait_until(lambda: resizable(block), "a cancelled task lets go of its memory")


@pytest.mark.parametrize("refused", [threading.Lock(), jobs.Unpicklable()], ids=repr)
def test_let_go_by_a_call_that_cannot_be_sent(worker, refused):
    block = bytearray(10)
    error = failure(worker, jobs.capture, PickleBuffer(block), refused)
    assert error.position == 1
    del error
    gc.collect()  # its traceback leads to frames that have it as their local
    wait_until(lambda: resizable(block), "a call that failed lets go of its memory")


# --- what cannot be lent -------------------------------------------------------------------------


def test_closed_mmap(worker):
    closed = mmap.mmap(-1, 4096)
    closed.close()
    error = failure(worker, jobs.capture, 1, closed)
    assert (error.position, error.type_name) == (1, "mmap.mmap")
    assert "closed" in str(error)
    assert failure(worker, jobs.capture, key=closed).position == "key"


def test_mmap_that_is_lent_does_not_close(worker):
    block = mmap.mmap(-1, 4096)
    send(worker, jobs.keep, block)
    with pytest.raises(BufferError):
        block.close()
    send(worker, jobs.drop_kept)


def test_released_pickle_buffer(worker):
    released = PickleBuffer(b"abc")
    released.release()
    error = failure(worker, jobs.identity, released)
    assert "released" in str(error)
    assert error.type_name == "pickle.PickleBuffer"


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x]], ids=["itself", "in a list"])
def test_exporter_that_raises(worker, wrap):
    error = failure(worker, jobs.capture, 1, wrap(buffers.Refusing()))
    assert "no memory today" in str(error)
    assert error.position == 1


def test_memory_that_holds_objects(worker):
    objects = (ctypes.py_object * 2)(1, 2)
    assert failure(worker, jobs.identity, objects).position == 0
    error = failure(worker, jobs.identity, memoryview(objects))
    assert "Python objects" in str(error)
    assert "memoryview" in str(error)
    assert failure(worker, jobs.identity, jobs.Point(memoryview(objects), 1)).position == 0
    error = failure(worker, lambda: memoryview((ctypes.py_object * 2)(1, 2)))
    assert (error.role, "Python objects" in str(error)) == ("result", True)


def test_names_of_fields_are_no_formats(worker):
    view = memoryview((buffers.Position * 2)((1, 2.0), (3, 4.0)))
    assert "Offset" in view.format
    assert send(worker, buffers.arrive, view) == [("memoryview", buffers.facts(view))]


def test_format_that_memoryview_does_not_know(worker):
    def look(view):
        try:
            return view[0]
        except NotImplementedError as error:
            return type(error).__name__, view.nbytes

    structures = (buffers.Position * 2)()
    assert send(worker, look, structures) == ("NotImplementedError", ctypes.sizeof(structures))


def test_memory_in_pieces(worker):
    try:
        testbuffer = importlib.import_module("_testbuffer")
    except ImportError:
        pytest.skip("this Python has no _testbuffer")
    flags = testbuffer.ND_PIL
    pieces = testbuffer.ndarray(list(range(6)), shape=[2, 3], format="B", flags=flags)
    for value in (pieces, memoryview(pieces)):
        assert "suboffsets" in str(failure(worker, jobs.identity, value))


def test_failing_exporter_of_c(worker):
    try:
        testbuffer = importlib.import_module("_testbuffer")
    except ImportError:
        pytest.skip("this Python has no _testbuffer")
    flags = testbuffer.ND_GETBUF_FAIL
    failing = testbuffer.ndarray([1, 2], shape=[2], format="B", flags=flags)
    error = failure(worker, jobs.capture, 1, failing)
    assert (error.position, error.type_name) == (1, "ndarray")
