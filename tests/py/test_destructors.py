"""What runs at the end of a life, and what is let go: results, executors, messages, modules."""

import gc
import threading
import weakref

import jobs
import odd_jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters import SendError
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


# --- destructors that use the executor -----------------------------------------------------------


class Submitting:
    """Submits as it goes, and waits for the result."""

    def __init__(self, executor, function, results, gone):
        self.last_words = executor, function, results, gone

    def __del__(self):
        executor, function, results, gone = self.last_words
        try:
            results.append(executor.submit(function, 1, 2).result(TIMEOUT / 6))
        except BaseException as error:
            results.append(error)
        gone.set()


@pytest.fixture
def warm(pool, gate):
    """An executor whose two workers are both idle."""
    executor = pool(2)
    futures = [executor.submit(jobs.pass_gate, *gate.args) for _ in range(2)]
    gate.wait_started(2)
    gate.open(2)
    for future in futures:
        future.result(TIMEOUT)
    return executor


@both
def test_result_that_nobody_asks_for(warm, tag):
    """It goes while its worker is busy with it: not a worker that the call could be for."""
    results, gone, dropped = [], threading.Event(), threading.Event()

    def make():
        assert dropped.wait(TIMEOUT)
        return Submitting(warm, tag(jobs.add), results, gone)

    warm.submit(make)
    dropped.set()
    assert gone.wait(TIMEOUT)
    assert results == [3]


@both
def test_exception_that_nobody_asks_for(warm, tag):
    results, gone, dropped = [], threading.Event(), threading.Event()

    def fail():
        assert dropped.wait(TIMEOUT)
        raise ValueError(Submitting(warm, tag(jobs.add), results, gone))

    warm.submit(fail)
    dropped.set()
    assert gone.wait(TIMEOUT)
    assert results == [3]


@both
def test_argument(warm, tag):
    results, gone = [], threading.Event()
    warm.submit(id, Submitting(warm, tag(jobs.add), results, gone))
    assert gone.wait(TIMEOUT)
    assert results == [3]


@both
def test_callback(warm, tag, gates):
    results, gone, gate = [], threading.Event(), gates()

    def add_callback(future):
        last = Submitting(warm, tag(jobs.add), results, gone)
        future.add_done_callback(lambda _, last=last: None)

    add_callback(warm.submit(jobs.pass_gate, *gate.args))
    gate.open()
    assert gone.wait(TIMEOUT)
    assert results == [3]


# --- executors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize("how", ["initializer", "tagged initializer", "initargs"])
def test_executor_whose_initializer_leads_back_to_it(used, how):
    class Owner:
        def __init__(self):
            keywords = {
                "initializer": {"initializer": self.setup},
                "tagged initializer": {"initializer": interpreter(self.setup)},
                "initargs": {"initializer": id, "initargs": (self,)},
            }
            self.executor = InterpreterThreadPoolExecutor(1, **keywords[how])

        def setup(self):
            pass

    owner = Owner()
    if used:
        assert owner.executor.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
        owner.executor.shutdown()
    references = [weakref.ref(owner), weakref.ref(owner.executor)]
    del owner
    gc.collect()
    assert [reference() for reference in references] == [None, None]


# --- messages ------------------------------------------------------------------------------------


def frames_of(error):
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            yield trace.tb_frame
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("job", [odd_jobs.make_arriving, odd_jobs.raise_arriving])
def test_traceback_shows_no_freed_memory(shared, job):
    """The frames of a failed unpickling have a view of the message, which is gone by then."""

    def fail():
        raise LookupError("not today")

    future = shared.submit(interpreter(job), "x" * 5000)
    odd_jobs.ON_ARRIVAL.append(fail)
    error = future.exception(TIMEOUT)
    assert odd_jobs.ON_ARRIVAL == []
    assert isinstance(error, SendError)
    assert "not today" in str(error)
    frames = list(frames_of(error))
    views = [
        value
        for frame in frames
        for value in frame.f_locals.values()
        if isinstance(value, memoryview)
    ]
    assert all(jobs.is_closed(view) for view in views)
    if job is odd_jobs.make_arriving:
        assert "loads" in [frame.f_code.co_name for frame in frames]


# --- modules -------------------------------------------------------------------------------------


def test_task_that_lets_go_of_this_package(tmp_path):
    """In the interpreter of the task; the worker goes on with what it has."""
    source = """
    import jobs
    import odd_jobs
    from harness import TIMEOUT
    from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

    def call(function, *arguments):
        return executor.submit(interpreter(function), *arguments)

    for before in (False, True):
        with InterpreterThreadPoolExecutor(1) as executor:
            if before:
                assert call(jobs.move, jobs.Point(1, 2), 1).result(TIMEOUT) == jobs.Point(2, 2)
            assert "aiointerpreters._core" in call(odd_jobs.forget_this_package).result(TIMEOUT)
            for n in range(5):
                assert call(pow, 2, n).result(TIMEOUT) == 2**n
                assert call(jobs.move, jobs.Point(n, 2), 1).result(TIMEOUT).x == n + 1
                error = call(jobs.raise_value_error, "no").exception(TIMEOUT)
                assert isinstance(error, ValueError), repr(error)
                view = call(jobs.own_memory, 100, 7).result(TIMEOUT)
                assert bytes(view) == bytes([7]) * 100
                del view
                assert call(lambda n: n + 1, n).result(TIMEOUT) == n + 1
    print("done")
    """
    assert_ok(run_script(tmp_path, source), "done")
