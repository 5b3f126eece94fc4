"""What other libraries touch: types, attributes, names, signatures, subclasses."""

import concurrent.futures
import concurrent.futures.thread
import inspect
import operator
import pickle
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import jobs
import pytest
from harness import TIMEOUT, wait_until

import aiointerpreters
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


def test_is_a_thread_pool_executor(executor):
    assert isinstance(executor, ThreadPoolExecutor)
    assert isinstance(executor, concurrent.futures.Executor)
    assert issubclass(InterpreterThreadPoolExecutor, ThreadPoolExecutor)
    assert isinstance(executor.submit(jobs.add, 1), concurrent.futures.Future)


def test_one_class_under_all_its_names():
    assert aiointerpreters.InterpreterThreadPoolExecutor is InterpreterThreadPoolExecutor
    assert aiointerpreters.interpreter is interpreter
    assert InterpreterThreadPoolExecutor.__name__ == "InterpreterThreadPoolExecutor"


def test_module_of_the_class_can_be_imported():
    module = __import__(InterpreterThreadPoolExecutor.__module__, fromlist=["x"])
    assert module.InterpreterThreadPoolExecutor is InterpreterThreadPoolExecutor
    assert pickle.loads(pickle.dumps(InterpreterThreadPoolExecutor)) is (
        InterpreterThreadPoolExecutor
    )


# --- attributes ----------------------------------------------------------------------------------


def test_max_workers(pool):
    assert pool(7)._max_workers == 7
    assert pool(max_workers=3)._max_workers == 3


@both
def test_threads_are_threads(pool, tag, gate):
    executor = pool(2, max_interpreters=2)
    assert isinstance(executor._threads, set)
    for _ in range(2):
        executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started(2)
    assert len(executor._threads) == 2
    for thread in executor._threads:
        assert isinstance(thread, threading.Thread)
        assert thread.is_alive()
        assert not thread.daemon
        assert thread in threading.enumerate()
        assert thread.ident is not None
        assert thread.native_id is not None
    gate.open(2)
    executor.shutdown(wait=True)
    for thread in executor._threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@both
def test_current_thread_in_a_task(executor, tag):
    executor.submit(tag(jobs.add), 1).result(TIMEOUT)
    assert executor.submit(threading.current_thread).result(TIMEOUT) in executor._threads


@both
def test_work_queue_counts_what_waits(pool, tag, gate):
    executor = pool(1)
    assert executor._work_queue.qsize() == 0
    assert executor._work_queue.empty()
    running = executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    waiting = [executor.submit(tag(jobs.add), n) for n in range(5)]
    assert executor._work_queue.qsize() == 5
    assert not executor._work_queue.empty()
    gate.open()
    running.result(TIMEOUT)
    waiting[-1].result(TIMEOUT)
    assert executor._work_queue.qsize() == 0
    assert executor._work_queue.empty()


def test_work_queue_counts_tagged_tasks_that_wait_for_an_interpreter(pool, gate):
    executor = pool(4, max_interpreters=1)
    for _ in range(6):
        executor.submit(interpreter(jobs.pass_gate), *gate.args)
    gate.wait_started()
    wait_until(lambda: executor._work_queue.qsize() == 5, "five tasks wait")
    gate.open(6)


def test_shutdown_flag(pool):
    executor = pool(1)
    assert executor._shutdown is False
    executor.shutdown()
    assert executor._shutdown is True


def test_broken_flag(pool, caplog):
    executor = pool(1, initializer=jobs.fail_to_start)
    assert executor._broken is False
    executor.submit(jobs.add, 1).exception(TIMEOUT)
    assert "initializer failed" in executor._broken


@both
def test_idle_semaphore_counts_idle_threads(pool, tag):
    executor = pool(3)
    assert executor._idle_semaphore._value == 0
    executor.submit(tag(jobs.add), 1).result(TIMEOUT)
    wait_until(lambda: executor._idle_semaphore._value == 1, "the thread is idle")


def test_locks(executor):
    with executor._shutdown_lock:
        pass


@both
def test_thread_names(pool, tag, gate):
    executor = pool(3, thread_name_prefix="Special", max_interpreters=3)
    for _ in range(3):
        executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started(3)
    assert sorted(t.name for t in executor._threads) == ["Special_0", "Special_1", "Special_2"]
    assert executor._thread_name_prefix == "Special"
    gate.open(3)


def test_default_thread_names(pool):
    names = []
    for executor in (pool(1), pool(1)):
        executor.submit(jobs.add, 1).result(TIMEOUT)
        names += [thread.name for thread in executor._threads]
    numbers = [re.fullmatch(r".*ThreadPoolExecutor-(\d+)_0", name)[1] for name in names]
    assert int(numbers[1]) > int(numbers[0])


def test_subclass_of_a_name(pool):
    executor = pool(1, "prefix")
    assert executor.submit(lambda: threading.current_thread().name).result(TIMEOUT) == "prefix_0"


def test_positional_arguments_as_in_the_standard_library(pool, lines):
    executor = pool(1, "named", jobs.write_line, (lines.descriptor, "started"))
    executor.submit(jobs.add, 1).result(TIMEOUT)
    assert lines.read() == ["started"]
    assert {thread.name for thread in executor._threads} == {"named_0"}


def test_max_interpreters_is_a_keyword():
    with pytest.raises(TypeError):
        InterpreterThreadPoolExecutor(1, "", None, (), 2)


def test_unknown_keyword():
    with pytest.raises(TypeError):
        InterpreterThreadPoolExecutor(max_worker=2)


def test_weak_references_and_attributes(pool):
    executor = pool(1)
    executor.note = "mine"
    assert executor.note == "mine"
    assert weakref.ref(executor)() is executor


def test_repr(executor):
    assert "InterpreterThreadPoolExecutor" in repr(executor)


# --- signatures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("submit", "(self, fn, /, *args, **kwargs)"),
        ("shutdown", "(self, wait=True, *, cancel_futures=False, interrupt=False)"),
    ],
)
def test_signatures_of_methods(name, text):
    signature = inspect.signature(getattr(InterpreterThreadPoolExecutor, name))
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    assert str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)) in (
        text,
        text.replace("(self,", "(self, /,"),
    )


def test_signature_of_map():
    parameters = inspect.signature(InterpreterThreadPoolExecutor.map).parameters
    assert list(parameters) == ["self", "fn", "iterables", "timeout", "chunksize", "buffersize"]
    assert [parameters[name].default for name in list(parameters)[3:]] == [None, 1, None]


def test_signature_of_the_class():
    parameters = inspect.signature(InterpreterThreadPoolExecutor).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "max_workers": None,
        "thread_name_prefix": "",
        "initializer": None,
        "initargs": (),
        "max_interpreters": None,
        "preload": (),
        "grace": 5.0,
        "argument_cache_bytes": 64 * 2**20,
        "context_vars": (),
        "max_pending": None,
        "when_full": "block",
        "pending_timeout": None,
        "max_tasks_per_interpreter": None,
        "idle_timeout": None,
        "tasks_per_interpreter": None,
    }
    assert parameters["max_interpreters"].kind is inspect.Parameter.KEYWORD_ONLY


def test_docstrings():
    names = (
        "submit",
        "submit_async",
        "map",
        "shutdown",
        "set_as_event_loop_default",
        "stats",
        "dump",
    )
    for name in names:
        assert getattr(InterpreterThreadPoolExecutor, name).__doc__
    assert InterpreterThreadPoolExecutor.__doc__


# --- subclasses ----------------------------------------------------------------------------------


def test_subclass_that_overrides_submit():
    submitted = []

    class Recording(InterpreterThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            submitted.append(fn)
            return super().submit(fn, *args, **kwargs)

    with Recording(2) as executor:
        assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1
        assert list(executor.map(interpreter(jobs.add), [1, 2])) == [1, 2]
    assert submitted == [jobs.add] + [interpreter(jobs.add)] * 2


def test_subclass_that_overrides_init_and_shutdown():
    calls = []

    class Mine(InterpreterThreadPoolExecutor):
        def __init__(self, name):
            super().__init__(max_workers=1, thread_name_prefix=name)
            self.name = name

        def shutdown(self, wait=True, *, cancel_futures=False):
            calls.append((wait, cancel_futures))
            super().shutdown(wait, cancel_futures=cancel_futures)

    with Mine("mine") as executor:
        assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
        assert executor.name == "mine"
    assert calls == [(True, False)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(jobs.add, 1)


def test_subclass_with_slots_and_another_base():
    class Mixin:
        def twice(self, n):
            return self.submit(interpreter(jobs.add), n, n)

    class Mine(Mixin, InterpreterThreadPoolExecutor):
        __slots__ = ("extra",)

    with Mine(1) as executor:
        executor.extra = 5
        assert executor.twice(4).result(TIMEOUT) == 8


def test_subclass_that_forgets_the_base_init():
    class Forgetful(InterpreterThreadPoolExecutor):
        def __init__(self):
            pass

    executor = Forgetful()
    with pytest.raises((RuntimeError, AttributeError)):
        executor.submit(jobs.add, 1)


def test_context_manager_gives_itself_and_shuts_down():
    executor = InterpreterThreadPoolExecutor(1)
    with executor as entered:
        assert entered is executor
        future = executor.submit(interpreter(jobs.add), 1)
    assert future.done()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(jobs.add, 1)


def test_context_manager_lets_errors_through():
    executor = InterpreterThreadPoolExecutor(1)
    with pytest.raises(ZeroDivisionError), executor:
        executor.submit(interpreter(operator.truediv), 1, 0).result(TIMEOUT)
    assert executor._shutdown


def test_registered_where_libraries_look_for_workers(executor):
    """Profilers and debuggers list worker threads through `threading`."""
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)
    names = {thread.name for thread in threading.enumerate()}
    assert {thread.name for thread in executor._threads} <= names


def test_task_that_the_work_queue_cannot_hand_out_ends(pool, gate, monkeypatch):
    """It has left the queue by then, and no worker will come for it."""

    def lack_memory(**_attributes):
        raise MemoryError

    executor = pool(1)
    running = executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    first, second = (executor.submit(jobs.add, n) for n in range(2))
    with monkeypatch.context() as patch:
        patch.setattr("types.SimpleNamespace", lack_memory)
        with pytest.raises(MemoryError):
            executor._work_queue.get_nowait()
    assert isinstance(first.exception(timeout=0), MemoryError)
    gate.open()
    assert second.result(TIMEOUT) == 1
    assert running.done()
