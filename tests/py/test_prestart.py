"""prestart: interpreters and threads that are there before the first task."""

import asyncio
import concurrent.futures
import gc
import inspect
import os
import threading
import weakref
from concurrent.futures import CancelledError, as_completed, wait
from concurrent.futures.thread import BrokenThreadPool

import jobs
import pytest
from harness import HERE, TIMEOUT, Gate, assert_ok, in_thread, interpreters, run_script, wait_until
from test_fork import run_forking

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


def starts(lines):
    """What jobs.report_start wrote: pairs of interpreter and thread."""
    return [tuple(map(int, line.split())) for line in lines.read()]


def threads_of(executor):
    assert all(thread.is_alive() for thread in executor._threads)
    return len(executor._threads)


# --- what is there -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "made", "started"),
    [
        ((), 2, 4),
        ((None, None), 2, 4),
        ((2, 3), 2, 3),
        ((1, 4), 1, 4),
        ((2, 0), 2, 2),  # an interpreter is made by a thread
        ((2, 1), 2, 2),
        ((0, 3), 0, 3),
        ((0, None), 0, 4),
        ((None, 0), 2, 2),
        ((0, 0), 0, 0),
        ((99, 99), 2, 4),
        ((10**30, 10**30), 2, 4),
        ((True, 2), 1, 2),
    ],
)
def test_makes_and_starts(pool, arguments, made, started):
    executor = pool(4, max_interpreters=2)
    assert executor.prestart(*arguments).result(TIMEOUT) is None
    assert len(interpreters()) == made
    assert threads_of(executor) == started
    assert executor._work_queue.qsize() == 0
    for tag in (interpreter, lambda function: function):
        assert executor.submit(tag(jobs.add), 1, 2).result(TIMEOUT) == 3


def test_by_keyword(pool):
    executor = pool(3, max_interpreters=2)
    executor.prestart(threads=2, interpreters=1).result(TIMEOUT)
    assert (len(interpreters()), threads_of(executor)) == (1, 2)


@pytest.mark.parametrize("name", ["interpreters", "threads"])
@pytest.mark.parametrize(
    ("count", "error", "text"),
    [
        (-1, ValueError, "{} must not be negative, got -1"),
        (1.0, TypeError, "{} must be an int or None, not 'float'"),
        ("1", TypeError, "{} must be an int or None, not 'str'"),
    ],
)
def test_counts_that_are_none(pool, name, count, error, text):
    executor = pool(2)
    with pytest.raises(error) as caught:
        executor.prestart(**{name: count})
    assert str(caught.value) == text.format(name)
    assert threads_of(executor) == 0


def test_what_is_there_already_counts(pool):
    executor = pool(3, max_interpreters=3)
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)
    executor.prestart(2, 2).result(TIMEOUT)
    assert (len(interpreters()), threads_of(executor)) == (2, 2)
    executor.prestart(1, 1).result(TIMEOUT)
    executor.prestart(2, 2).result(TIMEOUT)
    assert (len(interpreters()), threads_of(executor)) == (2, 2)
    done = executor.prestart(2, 2)
    assert done.done()
    executor.prestart().result(TIMEOUT)
    assert (len(interpreters()), threads_of(executor)) == (3, 3)


@pytest.mark.parametrize("steps", [(3,), (1, 2, 3), (1, 3), (2, 2, 3)])
def test_interpreters_are_spread_over_threads(pool, lines, steps):
    """Also when a thread with an interpreter is idle: one is started for the next."""
    initializer = interpreter(jobs.report_start)
    executor = pool(4, max_interpreters=3, initializer=initializer, initargs=(lines.descriptor,))
    for step in steps:
        executor.prestart(step, 0).result(TIMEOUT)
    made = starts(lines)
    assert len(made) == len({where for where, _ in made}) == 3
    assert len({thread for _, thread in made}) == 3
    assert threads_of(executor) == 3


def test_interpreters_are_spread_over_idle_threads(pool, lines):
    initializer = interpreter(jobs.report_start)
    executor = pool(3, max_interpreters=3, initializer=initializer, initargs=(lines.descriptor,))
    executor.prestart(0, 3).result(TIMEOUT)
    for count in (1, 2, 3):
        executor.prestart(count).result(TIMEOUT)
        made = starts(lines)
        assert len({thread for _, thread in made}) == len(made) == count


def test_at_the_limit_of_threads_one_makes_several(pool, lines, gate):
    """The other one is busy, and may be so for long."""
    initializer = interpreter(jobs.report_start)
    executor = pool(2, max_interpreters=2, initializer=initializer, initargs=(lines.descriptor,))
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    executor.prestart().result(TIMEOUT)
    assert len({thread for _, thread in starts(lines)}) == 1
    assert len(interpreters()) == 2
    gate.open()


def test_initializer_has_run_everywhere(pool, lines):
    executor = pool(
        3, max_interpreters=2, initializer=jobs.report_start, initargs=(lines.descriptor,)
    )
    executor.prestart().result(TIMEOUT)
    said = starts(lines)
    idents = sorted(thread.ident for thread in executor._threads)
    assert sorted(thread for where, thread in said if where == 0) == idents
    assert {where for where, _ in said} - {0} == interpreters()
    assert len(said) == 5


def test_modules_are_there_before_the_first_task(pool, tmp_path, monkeypatch, lines):
    source = f"import jobs; jobs.write_line({lines.descriptor}, str(jobs.interpreter_id()))"
    (tmp_path / "preloaded_ahead.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    executor = pool(2, max_interpreters=2, preload=["json", "preloaded_ahead"])
    executor.prestart().result(TIMEOUT)
    assert sorted(map(int, lines.read())) == sorted(interpreters())
    loaded = [executor.submit(interpreter(jobs.loaded), "preloaded_ahead") for _ in range(8)]
    assert all(future.result(TIMEOUT) for future in loaded)
    assert not jobs.loaded("preloaded_ahead")


def test_interpreter_needs_no_import_for_a_first_task(pool):
    """Of this package: what functions by value, pickles and errors take."""
    executor = pool(1)
    executor.prestart().result(TIMEOUT)
    for name in ("_rebuild", "_pickling", "_worker"):
        loaded = executor.submit(interpreter(jobs.loaded), f"aiointerpreters.{name}")
        assert loaded.result(TIMEOUT)


# --- waiting -------------------------------------------------------------------------------------


def test_is_a_future(pool):
    executor = pool(2)
    future = executor.prestart()
    assert isinstance(future, concurrent.futures.Future)
    called = []
    future.add_done_callback(called.append)
    assert wait([future], TIMEOUT).done == {future}
    assert list(as_completed([future], TIMEOUT)) == [future]
    assert future.exception(TIMEOUT) is None
    wait_until(lambda: called == [future], "its callback is called")


def test_waits_for_the_initializer_of_each_thread(pool, gate):
    executor = pool(2, initializer=jobs.pass_gate, initargs=gate.args)
    future = executor.prestart(0, 2)
    gate.wait_started(2)
    assert not future.done()
    with pytest.raises(TimeoutError):
        future.result(0)
    gate.open()
    gate.wait_for("E")
    assert not future.done()
    gate.open()
    assert future.result(TIMEOUT) is None


def test_waits_for_the_initializer_of_each_interpreter(pool, gate):
    executor = pool(2, initializer=interpreter(jobs.pass_gate), initargs=gate.args)
    future = executor.prestart(2, 0)
    gate.wait_started(2)  # both at once
    assert not future.done()
    gate.open()
    gate.wait_for("E")
    assert not future.done()
    gate.open()
    assert future.result(TIMEOUT) is None


def test_waits_for_threads_that_others_start(pool, gate):
    executor = pool(2, initializer=jobs.pass_gate, initargs=gate.args)
    task = executor.submit(jobs.add, 1)
    future = executor.prestart(0, 1)
    assert threads_of(executor) == 1
    assert not future.done()
    gate.open()
    assert future.result(TIMEOUT) is None
    assert task.result(TIMEOUT) == 1


def test_waits_for_interpreters_that_tasks_make(pool, gate):
    executor = pool(
        2, max_interpreters=2, initializer=interpreter(jobs.pass_gate), initargs=gate.args
    )
    task = executor.submit(interpreter(jobs.add), 1)
    gate.wait_started()
    future = executor.prestart(1, 1)
    assert not future.done()
    gate.open()
    assert future.result(TIMEOUT) is None
    assert task.result(TIMEOUT) == 1
    assert len(interpreters()) == 1


def test_is_not_held_up_by_the_task_that_made_the_interpreter(pool, gates):
    made, ran = gates(), gates()
    executor = pool(
        2, max_interpreters=1, initializer=interpreter(jobs.pass_gate), initargs=made.args
    )
    task = executor.submit(interpreter(jobs.pass_gate), *ran.args, "ran")
    made.wait_started()
    future = executor.prestart(1, 0)
    made.open()
    assert future.result(TIMEOUT) is None
    assert not task.done()
    ran.open()
    assert task.result(TIMEOUT) == "ran"


def test_again_waits_for_the_first_and_makes_no_more(pool, gate):
    executor = pool(
        4, max_interpreters=4, initializer=interpreter(jobs.pass_gate), initargs=gate.args
    )
    futures = [executor.prestart(2, 2) for _ in range(3)]
    gate.wait_started(2)
    assert not any(future.done() for future in futures)
    gate.open(2)
    assert [future.result(TIMEOUT) for future in futures] == [None] * 3
    assert gate.listen().count("S") == 2
    assert len(interpreters()) == 2


def test_from_several_threads_at_once(pool):
    executor = pool(3, max_interpreters=3)
    together = threading.Barrier(4)
    done = []

    def begin(count):
        together.wait(TIMEOUT)
        executor.prestart(count).result(TIMEOUT)
        done.append(count <= len(interpreters()))

    threads = [threading.Thread(target=begin, args=(count,)) for count in (1, 2, 3, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert done == [True] * 4
    assert len(interpreters()) == 3


@pytest.mark.parametrize("seed", range(3))
def test_amid_tasks(pool, seed):
    executor = pool(4, max_interpreters=3)
    futures = []
    for n in range(60):
        tag = interpreter if (n * 7 + seed) % 3 else lambda function: function
        futures.append((executor.submit(tag(jobs.add), n, 1), n + 1))
        if n % 9 == seed:
            futures.append((executor.prestart(n % 4, n % 5), None))
    assert all(future.result(TIMEOUT) == expected for future, expected in futures)
    executor.prestart().result(TIMEOUT)
    assert len(interpreters()) == 3


def test_callback_may_wait_for_a_task(pool):
    """Whichever thread calls it, others are there for the task."""
    for arguments in [(2, 2), (0, 2), (1, 0), (1, 2)]:
        executor = pool(2)
        results = []

        def submit_and_wait(_, executor=executor, results=results):
            results.append(executor.submit(jobs.add, 1, 2).result(TIMEOUT))

        future = executor.prestart(*arguments)
        future.add_done_callback(submit_and_wait)
        wait_until(lambda results=results: results == [3], "the callback has its result")


def test_returns_at_once(pool, gate):
    """It waits for nothing: not for busy threads, either."""
    executor = pool(1)
    running = executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    future = executor.prestart()
    assert not future.done()
    assert executor._work_queue.qsize() == 1
    gate.open()
    assert future.result(TIMEOUT) is None
    assert running.result(TIMEOUT) == 0


# --- asyncio -------------------------------------------------------------------------------------


def test_await(pool):
    executor = pool(3, max_interpreters=2)

    async def main():
        assert await executor.prestart() is None
        assert (len(interpreters()), threads_of(executor)) == (2, 3)
        futures = [executor.prestart(1), executor.prestart()]
        await asyncio.gather(*futures)
        assert await asyncio.wait_for(futures[0], TIMEOUT) is None
        assert await asyncio.wrap_future(executor.prestart()) is None

    asyncio.run(main())


def test_await_that_fails(pool, caplog):
    executor = pool(1, preload=["no_such_module"])

    async def main():
        with pytest.raises(BrokenThreadPool, match="no_such_module"):
            await executor.prestart()

    asyncio.run(main())


def test_await_that_is_cancelled(pool, gate):
    """What has not begun is not done; the executor works."""
    executor = pool(1)
    running = executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    future = executor.prestart()

    async def main():
        async def wait_for_it():
            begun.set()
            await future

        begun = asyncio.Event()
        task = asyncio.create_task(wait_for_it())
        await begun.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert future.cancelled()
    gate.open()
    assert running.result(TIMEOUT) == 0
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1
    assert interpreters() == set()
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1


# --- cancelling ----------------------------------------------------------------------------------


def test_cancel_what_has_not_begun(pool, gate):
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    future = executor.prestart()
    called = []
    future.add_done_callback(called.append)
    assert future.cancel()
    assert future.cancelled()
    assert called == [future]
    with pytest.raises(CancelledError):
        future.result(TIMEOUT)
    assert future.cancel()
    assert wait([future], TIMEOUT).done == {future}
    gate.open()
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1
    assert interpreters() == set()


def test_cancel_what_has_begun(pool, gate):
    executor = pool(1, initializer=interpreter(jobs.pass_gate), initargs=gate.args)
    future = executor.prestart()
    gate.wait_started()
    assert future.cancel()
    gate.open()
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    assert gate.listen() == "SE"
    assert executor.prestart().result(TIMEOUT) is None
    assert future.cancelled()


def test_cancel_what_has_ended(pool):
    future = pool(1).prestart()
    assert future.result(TIMEOUT) is None
    assert not future.cancel()
    assert not future.cancelled()


def test_cancelling_one_leaves_the_others(pool, gate):
    executor = pool(2, max_interpreters=2)
    for _ in range(2):
        executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started(2)
    futures = [executor.prestart() for _ in range(3)]
    assert futures[0].cancel()
    assert futures[2].cancel()
    gate.open(2)
    assert futures[1].result(TIMEOUT) is None
    assert len(interpreters()) == 2


def test_shutdown_that_cancels(pool, gate):
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    future = executor.prestart()
    executor.shutdown(wait=False, cancel_futures=True)
    assert wait([future], TIMEOUT).done == {future}
    assert future.cancelled()
    gate.open()
    executor.shutdown()
    assert interpreters() == set()


# --- failing -------------------------------------------------------------------------------------


@both
def test_initializer_that_fails(pool, tag, caplog):
    executor = pool(2, initializer=tag(jobs.fail_to_start), initargs=("the reason",))
    future = executor.prestart()
    error = future.exception(TIMEOUT)
    assert isinstance(error, BrokenThreadPool)
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__.args == ("the reason",)
    with pytest.raises(BrokenThreadPool):
        executor.prestart(0, 0)
    with pytest.raises(BrokenThreadPool):
        executor.submit(jobs.add, 1)


def test_initializer_that_fails_in_a_thread(pool, gate, caplog):
    executor = pool(2, initializer=jobs.pass_gate_and_raise, initargs=gate.args)
    future = executor.prestart(0, 2)
    gate.wait_started(2)
    gate.open(2)
    assert isinstance(future.exception(TIMEOUT), BrokenThreadPool)


def test_preload_that_fails(pool, caplog):
    executor = pool(2, preload=["no_such_module"])
    error = executor.prestart().exception(TIMEOUT)
    assert isinstance(error, BrokenThreadPool)
    assert "preload of module 'no_such_module'" in str(error)
    assert isinstance(error.__cause__, ModuleNotFoundError)


def test_threads_without_interpreters_do_not_need_the_preload(pool):
    executor = pool(2, preload=["no_such_module"])
    assert executor.prestart(0).result(TIMEOUT) is None
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1


def test_initializer_that_cannot_be_sent(pool, caplog):
    lock = threading.Lock()
    executor = pool(1, initializer=interpreter(lambda: lock.locked()))
    assert executor.prestart(0).result(TIMEOUT) is None
    with pytest.raises(BrokenThreadPool):
        executor.prestart()


def fail_to_start(thread):
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("arguments", [(), (1, 0), (0, 2)])
def test_no_thread_can_be_started(pool, monkeypatch, arguments):
    executor = pool(2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_to_start)
        future = executor.prestart(*arguments)
        error = future.exception(TIMEOUT)
    assert isinstance(error, RuntimeError)
    assert "can't start new thread" in str(error)
    assert executor._work_queue.qsize() == 0
    assert executor.prestart().result(TIMEOUT) is None
    assert threads_of(executor) == 2


def test_only_some_threads_can_be_started(pool, monkeypatch):
    executor = pool(3)
    executor.prestart(0, 1).result(TIMEOUT)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_to_start)
        error = executor.prestart(0, 3).exception(TIMEOUT)
        assert executor.prestart(0, 1).result(TIMEOUT) is None
    assert isinstance(error, RuntimeError)
    assert "could not be started" in str(error)
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1


def test_thread_that_fails_to_start_for_another_one(pool, monkeypatch):
    """A start that several wait for fails: all of them say so."""
    executor = pool(2)
    starting, failing = threading.Semaphore(0), threading.Semaphore(0)

    def fail_late(thread):
        starting.release()
        assert failing.acquire(timeout=TIMEOUT)
        raise RuntimeError("can't start new thread")

    futures = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_late)
        first = _native_thread(lambda: futures.append(executor.prestart(0, 1)))
        assert starting.acquire(timeout=TIMEOUT)
        second = executor.prestart(0, 1)
        assert not second.done()
        failing.release()
        first()
    assert isinstance(futures[0].exception(TIMEOUT), RuntimeError)
    assert isinstance(second.exception(TIMEOUT), RuntimeError)


def _native_thread(function):
    """Run `function` in a thread without threading.Thread; call what is returned to join it."""
    import _thread

    ended = _thread.allocate_lock()
    ended.acquire()

    def run():
        try:
            function()
        finally:
            ended.release()

    _thread.start_new_thread(run, ())

    def join():
        assert ended.acquire(timeout=TIMEOUT)

    return join


def test_interpreters_that_cannot_be_made(tmp_path):
    """Each maker says so; what waited for another one tries for itself."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif 'REFUSE' in os.environ:\n    raise SystemExit('refused')\n"
    )
    source = """
    import os
    import jobs
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
    from harness import interpreters

    executor = InterpreterThreadPoolExecutor(3, max_interpreters=2)
    os.environ["REFUSE"] = "yes"
    futures = [executor.prestart(), executor.prestart(2, 1)]
    for future in futures:
        error = future.exception(30)
        assert type(error) is RuntimeError, error
        assert "an interpreter could not be created: " in str(error)
    assert interpreters() == set()
    assert executor.submit(jobs.add, 1, 2).result(30) == 3
    del os.environ["REFUSE"]
    executor.prestart().result(30)
    assert len(interpreters()) == 2
    assert executor.submit(interpreter(jobs.add), 1, 2).result(30) == 3
    print("done")
    """
    path = os.pathsep.join([str(tmp_path), str(HERE)])
    done = run_script(tmp_path, source, PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr  # which CPython writes to


def test_inside_an_interpreter_it_says_that_it_does_not_work(executor):
    def inner():
        from aiointerpreters import InterpreterThreadPoolExecutor

        with InterpreterThreadPoolExecutor(1) as executor:
            executor.prestart()

    error = executor.submit(interpreter(inner)).exception(TIMEOUT)
    assert isinstance(error, RuntimeError)
    assert "main interpreter only" in str(error)


# --- the end -------------------------------------------------------------------------------------


def test_after_shutdown(pool):
    executor = pool(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.prestart()


@pytest.mark.parametrize("wait_for_it", [True, False])
def test_shutdown_finishes_it(wait_for_it):
    executor = InterpreterThreadPoolExecutor(3, max_interpreters=2)
    future = executor.prestart()
    executor.shutdown(wait=wait_for_it)
    assert future.result(TIMEOUT) is None
    assert future.done()
    in_thread(executor.shutdown)
    assert interpreters() == set()


def test_with_block_finishes_it():
    with InterpreterThreadPoolExecutor(2) as executor:
        future = executor.prestart()
    assert future.result(0) is None
    assert interpreters() == set()


def test_executor_that_is_collected_finishes_it(rack):
    rack.append(gate := Gate())
    executor = InterpreterThreadPoolExecutor(
        2, initializer=interpreter(jobs.pass_gate), initargs=gate.args
    )
    future = executor.prestart()
    gate.wait_started()
    threads = executor._threads
    reference = weakref.ref(executor)
    del executor
    gc.collect()
    assert reference() is None
    assert not future.done()
    gate.open(2)
    assert future.result(TIMEOUT) is None
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert interpreters() == set()


def test_future_that_nobody_keeps(pool):
    executor = pool(2)
    reference = weakref.ref(executor.prestart())
    executor.prestart().result(TIMEOUT)
    wait_until(lambda: gc.collect() is None or reference() is None, "it is let go")


SCRIPT = """
import os
import sys
import threading
import jobs
from harness import Gate
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

executor = InterpreterThreadPoolExecutor(3, max_interpreters=2, preload=["json"])
"""


@pytest.mark.parametrize(
    "ending",
    [
        "executor.prestart()",
        "executor.prestart(); sys.exit(0)",
        "executor.prestart().result(30)",
        "executor.prestart(); del executor",
        "with executor: executor.prestart()",
        "executor.prestart(); executor.shutdown(wait=False)",
        "executor.prestart(); executor.shutdown(wait=False, cancel_futures=True)",
        "future = executor.prestart(); future.executor = executor",
        "executor.prestart(); executor.submit(interpreter(jobs.add), 1)",
    ],
)
def test_exit_during_it(tmp_path, ending):
    for _ in range(2):
        assert_ok(run_script(tmp_path, SCRIPT + ending))


def test_at_exit(tmp_path):
    source = """
    import atexit
    from aiointerpreters import InterpreterThreadPoolExecutor

    executor = InterpreterThreadPoolExecutor(1)

    @atexit.register
    def late():
        try:
            executor.prestart()
        except RuntimeError as error:
            print(error)
    """
    said = "cannot schedule new futures after interpreter shutdown"
    assert_ok(run_script(tmp_path, source), said)


# --- fork ----------------------------------------------------------------------------------------


def test_fork_afterwards(tmp_path):
    source = """
    from harness import interpreters

    def use():
        assert executor.submit(interpreter(jobs.add), 3, 4).result(TIMEOUT) == 7
        executor.prestart().result(TIMEOUT)
        assert len(executor._threads) == 3
        in_thread(executor.shutdown)

    executor = InterpreterThreadPoolExecutor(3, max_interpreters=2, preload=["json"])
    executor.prestart().result(TIMEOUT)
    print({fork(use) for _ in range(3)})
    use()
    """
    assert_ok(run_forking(tmp_path, source), "{0}")


def test_fork_during_it(tmp_path):
    """In the child it will not end, and says so; a new one there does."""
    source = """
    gate = Gate()

    def ask():
        for method in (begun.result, begun.exception):
            try:
                method(TIMEOUT)
            except RuntimeError as error:
                assert "forked" in str(error), error
            else:
                raise AssertionError(begun)
        assert executor.prestart(0, 0).result(TIMEOUT) is None
        assert executor.prestart(0, 1).done() in (False, True)

    executor = InterpreterThreadPoolExecutor(
        2, max_interpreters=1, initializer=jobs.pass_gate, initargs=gate.args
    )
    begun = executor.prestart()
    gate.wait_started(2)
    code = fork(ask, os._exit)
    gate.open(10)
    begun.result(TIMEOUT)
    in_thread(executor.shutdown)
    print(code)
    """
    assert_ok(run_forking(tmp_path, source), "0")


# --- its signature -------------------------------------------------------------------------------


def test_signature():
    parameters = inspect.signature(InterpreterThreadPoolExecutor.prestart).parameters
    assert list(parameters) == ["self", "interpreters", "threads"]
    assert all(parameters[name].default is None for name in ("interpreters", "threads"))
