"""Shutdown, collection and the end of the process: accepted work is done, nothing is left."""

import gc
import random
import sys
import threading
import weakref
from concurrent.futures import CancelledError, as_completed, wait

import jobs
import pytest
from harness import (
    TIMEOUT,
    Gate,
    assert_ok,
    in_thread,
    interpreters,
    run_python,
    run_script,
    wait_until,
)

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


def assert_ended(threads) -> None:
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    wait_until(lambda: interpreters() == set(), "its interpreters end")


# --- shutdown ------------------------------------------------------------------------------------


@both
def test_shutdown_waits_for_all_tasks(pool, tag, gate):
    executor = pool(2)
    futures = [executor.submit(tag(jobs.pass_gate), *gate.args) for _ in range(10)]
    gate.open(10)
    executor.shutdown(wait=True)
    assert all(future.done() for future in futures)
    assert not any(future.cancelled() for future in futures)
    for thread in executor._threads:
        assert not thread.is_alive()
    assert interpreters() == set()


@both
def test_shutdown_without_waiting_does_all_tasks(pool, tag, gate):
    executor = pool(1)
    futures = [executor.submit(tag(jobs.pass_gate), *gate.args, n) for n in range(10)]
    executor.shutdown(wait=False)
    assert not futures[-1].done()
    gate.open(10)
    assert [future.result(TIMEOUT) for future in futures] == list(range(10))
    assert_ended(executor._threads)


@both
def test_submit_after_shutdown(pool, tag):
    executor = pool(1)
    executor.submit(tag(jobs.add), 1).result(TIMEOUT)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(tag(jobs.add), 1)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        list(executor.map(tag(jobs.add), [1]))


def test_shutdown_of_an_unused_executor(pool):
    for wait_for_it in (True, False):
        executor = pool(1)
        executor.shutdown(wait_for_it)
        executor.shutdown(wait_for_it, cancel_futures=True)


@both
def test_shutdown_again(pool, tag):
    executor = pool(1)
    future = executor.submit(tag(jobs.add), 1)
    for wait_for_it in (False, True, True, False):
        executor.shutdown(wait=wait_for_it)
    assert future.result(timeout=0) == 1


@both
def test_shutdown_from_several_threads(pool, tag, gate):
    executor = pool(2)
    future = executor.submit(tag(jobs.pass_gate), *gate.args, "value")
    threads = [threading.Thread(target=executor.shutdown) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert future.result(timeout=0) == "value"


@both
def test_shutdown_waits_without_holding_up_other_threads(pool, tag, gate):
    executor = pool(1)
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    shutting_down = threading.Thread(target=executor.shutdown)
    shutting_down.start()
    wait_until(lambda: executor._shutdown, "the shutdown begins")
    assert not future.done()
    assert shutting_down.is_alive()
    gate.open()
    shutting_down.join(TIMEOUT)
    assert not shutting_down.is_alive()
    assert future.done()


@both
def test_cancel_futures(pool, tag, gate):
    executor = pool(1)
    running = executor.submit(tag(jobs.pass_gate), *gate.args, "ran")
    gate.wait_started()
    pending = [executor.submit(tag(jobs.add), n) for n in range(10)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in pending)
    assert executor._work_queue.qsize() == 0
    gate.open()
    assert running.result(TIMEOUT) == "ran"
    assert_ended(executor._threads)


@both
def test_cancel_futures_of_tasks_that_wait_for_an_interpreter(pool, tag, gate):
    executor = pool(4, max_interpreters=1)
    running = executor.submit(interpreter(jobs.pass_gate), *gate.args, "ran")
    gate.wait_started()
    pending = [executor.submit(interpreter(jobs.add), n) for n in range(10)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert wait(pending, TIMEOUT).not_done == set()
    assert all(future.cancelled() for future in pending)
    gate.open()
    assert running.result(TIMEOUT) == "ran"


@both
def test_cancel_futures_tells_those_who_wait(pool, tag, gate):
    """CPython's own leaves wait() and as_completed() hanging here."""
    executor = pool(1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    pending = [executor.submit(tag(jobs.add), n) for n in range(3)]
    results, begun = [], threading.Semaphore(0)

    def ask(function):
        begun.release()
        results.append(function())

    def result():
        with pytest.raises(CancelledError):
            pending[0].result(TIMEOUT)
        return "cancelled"

    threads = [
        threading.Thread(target=ask, args=(function,))
        for function in (
            lambda: wait(pending, TIMEOUT).not_done,
            lambda: {*as_completed(pending, TIMEOUT)} ^ {*pending},
            result,
        )
    ]
    told = []
    pending[1].add_done_callback(told.append)
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=TIMEOUT)
    executor.shutdown(wait=False, cancel_futures=True)
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert sorted(results, key=str) == ["cancelled", set(), set()]
    assert told == [pending[1]]
    # And those who come later.
    assert wait(pending, TIMEOUT).not_done == set()
    assert set(as_completed(pending, TIMEOUT)) == set(pending)
    gate.open()


@both
def test_cancel_futures_after_a_shutdown_that_did_not(pool, tag, gate):
    executor = pool(1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    pending = [executor.submit(tag(jobs.add), n) for n in range(3)]
    executor.shutdown(wait=False)
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in pending)
    gate.open()


def test_shutdown_from_within_a_task(pool):
    executor = pool(1)
    with pytest.raises(RuntimeError, match="cannot join current thread"):
        executor.submit(executor.shutdown).result(TIMEOUT)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(jobs.add, 1)


def test_shutdown_from_within_a_task_without_waiting(pool):
    executor = pool(1)
    assert executor.submit(executor.shutdown, wait=False).result(TIMEOUT) is None
    assert_ended(executor._threads)


@both
def test_shutdown_from_a_callback(pool, tag, gate):
    executor = pool(1)
    future = executor.submit(tag(jobs.pass_gate), *gate.args)
    future.add_done_callback(lambda _: executor.shutdown(wait=False))
    gate.open()
    assert_ended(executor._threads)


@both
def test_pending_result_while_the_executor_shuts_down(pool, tag, gate):
    executor = pool(1)
    future = executor.submit(tag(jobs.pass_gate), *gate.args, "value")
    executor.shutdown(wait=False)
    thread_result = []
    thread = threading.Thread(target=lambda: thread_result.append(future.result(TIMEOUT)))
    thread.start()
    gate.open()
    thread.join(TIMEOUT)
    assert thread_result == ["value"]


def test_many_executors_one_after_the_other(pool):
    for n in range(20):
        with InterpreterThreadPoolExecutor(2) as executor:
            futures = [executor.submit(interpreter(jobs.add), n, m) for m in range(4)]
            futures += [executor.submit(jobs.add, n, m) for m in range(4)]
            assert [f.result(TIMEOUT) for f in futures] == [n, n + 1, n + 2, n + 3] * 2
        assert interpreters() == set()


def test_many_executors_at_once(pool):
    executors = [pool(1) for _ in range(10)]
    futures = [executor.submit(interpreter(jobs.interpreter_id)) for executor in executors]
    assert len({future.result(TIMEOUT) for future in futures}) == 10


# --- collection ----------------------------------------------------------------------------------


@both
def test_collected_executor_stops_its_workers(tag):
    executor = InterpreterThreadPoolExecutor(2)
    results = executor.map(tag(jobs.add), range(10))
    threads = executor._threads
    reference = weakref.ref(executor)
    del executor
    wait_until(lambda: gc.collect() is None or reference() is None, "it is collected")
    assert_ended(threads)
    assert list(results) == list(range(10))


@both
def test_collected_executor_does_its_pending_work(tag, rack):
    rack.append(gate := Gate())
    executor = InterpreterThreadPoolExecutor(1)
    futures = [executor.submit(tag(jobs.pass_gate), *gate.args, n) for n in range(5)]
    gate.wait_started()
    threads = executor._threads
    del executor
    gc.collect()
    assert not futures[-1].done()
    gate.open(5)
    assert [future.result(TIMEOUT) for future in futures] == list(range(5))
    assert_ended(threads)


@both
def test_executor_in_a_cycle_is_collected(tag):
    class Owner:
        pass

    owner = Owner()
    owner.executor = InterpreterThreadPoolExecutor(1)
    owner.executor.owner = owner
    owner.executor.submit(tag(jobs.add), 1).result(TIMEOUT)
    threads = owner.executor._threads
    reference = weakref.ref(owner.executor)
    del owner
    wait_until(lambda: gc.collect() is None or reference() is None, "it is collected")
    assert_ended(threads)


@both
def test_future_does_not_keep_the_executor(tag):
    executor = InterpreterThreadPoolExecutor(1)
    future = executor.submit(tag(jobs.add), 1)
    future.result(TIMEOUT)
    threads = executor._threads
    del executor
    gc.collect()
    assert_ended(threads)
    assert future.result() == 1


@both
def test_executor_dropped_in_a_callback(tag, rack):
    """Its last reference goes in its own worker."""
    rack.append(gate := Gate())
    executors = [InterpreterThreadPoolExecutor(1)]
    dropped = threading.Event()

    def drop(_):
        executors.clear()
        gc.collect()
        dropped.set()

    future = executors[0].submit(tag(jobs.pass_gate), *gate.args, "value")
    threads = executors[0]._threads
    future.add_done_callback(drop)
    gate.open()
    assert dropped.wait(TIMEOUT)
    assert future.result(TIMEOUT) == "value"
    assert_ended(threads)


def test_thread_that_a_task_leaves_in_its_interpreter(gate):
    """The interpreter ends when the task's thread has ended, and the shutdown waits for it."""

    def leave(started, opened):
        import threading

        threading.Thread(target=jobs.pass_gate, args=(started, opened)).start()

    executor = InterpreterThreadPoolExecutor(1)
    executor.submit(interpreter(leave), *gate.args).result(TIMEOUT)
    gate.wait_started()
    gate.open()
    executor.shutdown(wait=True)
    assert gate.listen() == "SE"
    wait_until(lambda: interpreters() == set(), "the interpreter ends")


def test_idle_worker_keeps_nothing_of_its_last_task(executor):
    class Thing:
        def method(self, other):
            return Thing()

    thing, other = Thing(), Thing()
    references = [weakref.ref(thing), weakref.ref(other)]
    future = executor.submit(thing.method, other)
    references.append(weakref.ref(future.result(TIMEOUT)))
    references.append(weakref.ref(future))
    del thing, other, future
    for reference in references:
        wait_until(lambda r=reference: gc.collect() is None or r() is None, "it is let go")


def test_tagged_task_keeps_nothing_of_the_caller(executor):
    class Callback:
        def __call__(self, future):
            pass

    point, callback = jobs.Point(1, 2), Callback()
    references = [weakref.ref(point), weakref.ref(callback)]
    future = executor.submit(interpreter(jobs.move), point, 1)
    future.add_done_callback(callback)
    references.append(weakref.ref(future.result(TIMEOUT)))
    references.append(weakref.ref(future))
    del point, callback, future
    for reference in references:
        wait_until(lambda r=reference: gc.collect() is None or r() is None, "it is let go")


# --- workers survive -----------------------------------------------------------------------------


@both
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_callback_that_raises_what_is_no_exception(pool, tag, gate, error, capsys):
    """CPython's own pool loses its worker here, and with one worker never runs again."""
    executor = pool(1)

    def failing(_):
        raise error("by the callback")

    future = executor.submit(tag(jobs.pass_gate), *gate.args, "value")
    future.add_done_callback(failing)
    gate.open()
    assert future.result(TIMEOUT) == "value"
    for kind in (jobs.add, interpreter(jobs.add)):
        assert executor.submit(kind, 1, 2).result(TIMEOUT) == 3
    assert all(thread.is_alive() for thread in executor._threads)


@both
def test_task_that_raises_what_is_no_exception(pool, tag):
    executor = pool(1)
    first = executor.submit(threading.get_ident).result(TIMEOUT)
    for function in (jobs.exit_with, jobs.interrupt, jobs.generator_exit):
        arguments = (1,) if function is jobs.exit_with else ()
        assert executor.submit(tag(function), *arguments).exception(TIMEOUT) is not None
    assert executor.submit(threading.get_ident).result(TIMEOUT) == first


# --- nothing is left -----------------------------------------------------------------------------


def test_no_thread_and_no_interpreter_is_left():
    before_threads, before = set(threading.enumerate()), interpreters()
    with InterpreterThreadPoolExecutor(4, max_interpreters=4) as executor:
        wait([executor.submit(interpreter(jobs.add), n) for n in range(100)], TIMEOUT)
        assert interpreters() > before
    assert interpreters() == before
    new = set(threading.enumerate()) - before_threads
    assert not [thread for thread in new if not isinstance(thread, threading.Timer)]


def test_created_and_shut_down_in_another_thread():
    def life():
        with InterpreterThreadPoolExecutor(2) as executor:
            return executor.submit(interpreter(jobs.add), 1, 2).result(TIMEOUT)

    assert in_thread(life) == 3
    assert interpreters() == set()


# --- everything at once --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_everything_at_once(seed):
    """Threads submit, cancel, wait and drop at random; each future ends as it should."""
    chance = random.Random(seed)
    executor = InterpreterThreadPoolExecutor(3, max_interpreters=2)
    wrong = []

    def check(future, expected):
        try:
            result = future.result(TIMEOUT)
        except CancelledError:
            result = "cancelled"
        except ValueError as error:
            result = str(error)
        if result not in expected:
            wrong.append((result, expected))

    def life(random):
        pending = []
        for n in range(400):
            tag = random.choice([interpreter, lambda function: function])
            match random.randrange(6):
                case 0:
                    future = executor.submit(tag(jobs.raise_value_error), str(n))
                    expected = [str(n)]
                case 1:
                    view = memoryview(bytearray([n % 256]) * 100)
                    future, expected = executor.submit(tag(sum), view), [n % 256 * 100]
                case 2:
                    future = executor.submit(tag(jobs.move), jobs.Point(n, 1), 1)
                    expected = [jobs.Point(n + 1, 1)]
                case _:
                    future, expected = executor.submit(tag(jobs.add), n, 1), [n + 1]
            match random.randrange(8):
                case 0:
                    if future.cancel():
                        expected = ["cancelled"]
                case 1:
                    future.add_done_callback(lambda done: done.done() or wrong.append(done))
                case 2:
                    check(future, expected)
                case 3:
                    continue  # dropped
                case 4:
                    wait([future, *(other for other, _ in pending[-3:])], TIMEOUT)
            pending.append((future, expected))
        for future, expected in pending:
            check(future, expected)

    lives = [random.Random(chance.random()) for _ in range(4)]
    threads = [threading.Thread(target=life, args=(one,)) for one in lives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * TIMEOUT)
        assert not thread.is_alive()
    executor.shutdown(wait=True)
    assert wrong == []
    assert_ended(executor._threads)


@pytest.mark.parametrize("seed", range(4))
def test_shutdown_in_the_middle_of_everything(seed):
    """What was accepted ends, with a result or cancelled; what comes later is refused."""
    executor = InterpreterThreadPoolExecutor(3, max_interpreters=2)
    accepted, refusals, enough = [], [], threading.Event()

    def submit_until_refused():
        for n in range(100_000):
            tag = interpreter if n % 2 else lambda function: function
            try:
                accepted.append((executor.submit(tag(jobs.add), n, 1), n + 1))
            except RuntimeError as error:
                refusals.append(str(error))
                return
            if len(accepted) > 200:
                enough.set()

    threads = [threading.Thread(target=submit_until_refused) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert enough.wait(TIMEOUT)
    executor.shutdown(wait=seed % 2 == 0, cancel_futures=seed >= 2)
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert refusals == ["cannot schedule new futures after shutdown"] * 3
    assert wait([future for future, _ in accepted], TIMEOUT).not_done == set()
    for future, expected in accepted:
        if future.cancelled():
            assert seed >= 2
        else:
            assert future.result() == expected
    assert_ended(executor._threads)


# --- the end of the process ----------------------------------------------------------------------

SCRIPT = """
import os
import sys
import jobs
from harness import Gate
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

tag = interpreter if sys.argv[1] == "tagged" else lambda function: function
executor = InterpreterThreadPoolExecutor(2)


def say(n):
    os.write(1, f"task {n}\\n".encode())


def work(count):
    gate = Gate()
    futures = [executor.submit(tag(jobs.pass_gate), *gate.args) for _ in range(2)]
    for n in range(count):
        futures.append(executor.submit(tag(jobs.write_line), 1, f"task {n}"))
    gate.wait_started(%(running)d)
    gate.open(2)
    return futures


"""


def run_end(tmp_path, kind, ending, running=1):
    return run_script(tmp_path, SCRIPT % {"running": running} + ending, kind)


kinds = pytest.mark.parametrize("kind", ["untagged", "tagged"])
TASKS = [f"task {n}" for n in range(20)]


def assert_all_done(done, code=0, error=""):
    assert done.returncode == code, done.stdout + done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(TASKS), done.stdout + done.stderr
    if not error:
        assert done.stderr == ""
    assert error in done.stderr


@kinds
@pytest.mark.parametrize(
    ("ending", "code", "error"),
    [
        ("work(20)", 0, ""),
        ("work(20); sys.exit(0)", 0, ""),
        ("work(20); sys.exit(3)", 3, ""),
        ("work(20); sys.exit('bad end')", 1, "bad end"),
        ("work(20); 1 / 0", 1, "ZeroDivisionError"),
        ("work(20); raise SystemExit(5)", 5, ""),
        ("work(20); executor.shutdown(wait=False)", 0, ""),
        ("work(20); executor.shutdown(wait=False); sys.exit(3)", 3, ""),
        ("with executor: work(20)", 0, ""),
        ("work(20); del executor", 0, ""),
        ("executor.itself = executor; work(20); del executor", 0, ""),
        ("futures = work(20); futures[0].executor = executor", 0, ""),
    ],
    ids=lambda value: value if isinstance(value, str) and value else None,
)
def test_exit_waits_for_accepted_work(tmp_path, kind, ending, code, error):
    assert_all_done(run_end(tmp_path, kind, ending), code, error)


@kinds
def test_exit_from_a_thread_that_goes_on(tmp_path, kind):
    """The main thread ends first, while another one waits for results."""
    done = run_end(
        tmp_path,
        kind,
        """
import threading

submitted = threading.Event()

def submit_and_wait():
    futures = work(20)
    submitted.set()
    for future in futures:
        future.result(30)

threading.Thread(target=submit_and_wait).start()
submitted.wait(30)
""",
    )
    assert_all_done(done)


@kinds
def test_executor_made_in_a_function_and_forgotten(tmp_path, kind):
    done = run_end(
        tmp_path,
        kind,
        """
def forget():
    global executor
    executor = InterpreterThreadPoolExecutor(2)
    work(20)
    executor = None

forget()
""",
    )
    assert_all_done(done)


@kinds
def test_executor_kept_by_a_module(tmp_path, kind):
    (tmp_path / "keeper.py").write_text(
        "from aiointerpreters import InterpreterThreadPoolExecutor\n"
        "executor = InterpreterThreadPoolExecutor(2)\n"
    )
    done = run_end(tmp_path, kind, "import keeper; executor = keeper.executor; work(20)")
    assert_all_done(done)


@kinds
def test_tasks_that_submit_more_tasks_at_exit(tmp_path, kind):
    """What is submitted after the exit has begun is refused; what was accepted is done."""
    done = run_end(
        tmp_path,
        kind,
        """
def late():
    try:
        while True:
            executor.submit(jobs.add, 1).result(30)
    except RuntimeError as error:
        os.write(2, f"refused: {error}".encode())

executor.submit(late)
for n in range(20):
    executor.submit(tag(jobs.write_line), 1, f"task {n}")
""",
    )
    assert_all_done(done, error="refused: cannot schedule new futures after")


@kinds
def test_submit_in_an_atexit_function(tmp_path, kind):
    done = run_end(
        tmp_path,
        kind,
        """
import atexit

@atexit.register
def late():
    try:
        executor.submit(tag(jobs.add), 1)
    except RuntimeError as error:
        os.write(2, f"refused: {error}".encode())

work(20)
""",
    )
    assert_all_done(done, error="refused: cannot schedule new futures after interpreter shutdown")


@kinds
def test_exit_while_an_interpreter_is_being_made(tmp_path, kind):
    for _ in range(3):
        done = run_end(
            tmp_path,
            kind,
            "for n in range(20): executor.submit(tag(jobs.write_line), 1, f'task {n}')",
        )
        assert_all_done(done)


@kinds
def test_exit_with_idle_workers(tmp_path, kind):
    done = run_end(
        tmp_path,
        kind,
        "futures = work(20)\nfor future in futures: future.result(30)\n",
    )
    assert_all_done(done)


@kinds
def test_exit_with_many_executors(tmp_path, kind):
    done = run_end(
        tmp_path,
        kind,
        """
executors = [InterpreterThreadPoolExecutor(1) for _ in range(10)]
for n in range(20):
    executors[n % 10].submit(tag(jobs.write_line), 1, f"task {n}")
""",
    )
    assert_all_done(done)


@kinds
def test_immediate_exit_does_not_wait(tmp_path, kind):
    done = run_end(
        tmp_path,
        kind,
        """
gate = Gate()
executor.submit(tag(jobs.pass_gate), *gate.args)
gate.wait_started()
os._exit(4)
""",
    )
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "")


@kinds
def test_exit_with_an_error_that_nobody_asks_for(tmp_path, kind):
    done = run_end(
        tmp_path, kind, "work(20); executor.submit(tag(jobs.raise_value_error)); sys.exit(0)"
    )
    assert_all_done(done)


@kinds
def test_exit_with_a_shared_memoryview(tmp_path, kind):
    done = run_end(
        tmp_path,
        kind,
        """
work(20)
block = bytearray(100)
executor.submit(tag(jobs.keep), memoryview(block)).result(30)
kept = executor.submit(tag(jobs.own_memory), 100, 1).result(30)
""",
    )
    assert_all_done(done)


@kinds
def test_threads_that_the_program_abandons(tmp_path, kind):
    """The idiom with which programs switch off CPython's own wait at exit must not crash us."""
    done = run_end(
        tmp_path,
        kind,
        """
import concurrent.futures.thread

work(20)
executor._threads.clear()
concurrent.futures.thread._threads_queues.clear()
""",
    )
    assert_all_done(done)


@kinds
def test_interrupt_from_the_keyboard_while_waiting(tmp_path, kind):
    """Ctrl-C reaches the main thread in result(): a tagged call ends, an untagged one goes on."""
    done = run_end(
        tmp_path,
        kind,
        """
import signal
import threading

gate = Gate()
future = executor.submit(tag(jobs.pass_gate), *gate.args)
gate.wait_started()
main = threading.get_ident()
try:
    threading.Timer(0.2, signal.pthread_kill, [main, signal.SIGINT]).start()
    future.result(30)
except KeyboardInterrupt:
    os.write(1, b"interrupted\\n")
gate.open()
future.cancelled() or future.result(30)
os.write(1, b"cancelled\\n" if future.cancelled() else b"finished\\n")
""",
    )
    assert_ok(done, "interrupted", "cancelled" if kind == "tagged" else "finished")


@pytest.mark.parametrize("flags", [("-X", "dev"), ("-W", "error"), ("-O",), ("-X", "importtime")])
def test_python_options(tmp_path, flags):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT % {"running": 1} + "work(20)")
    done = run_python(*flags, script, "tagged")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(TASKS)
    if "importtime" not in flags:
        assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="PYTHONMALLOC")
def test_with_debugging_memory_allocators(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT % {"running": 1} + "work(20)")
    done = run_python(script, "tagged", PYTHONMALLOC="debug")
    assert_all_done(done)


def test_repeated_exits(tmp_path):
    """An exit that races with workers goes wrong only sometimes."""
    for n in range(20):
        ending = f"for n in range({n}): executor.submit(interpreter(jobs.add), n)"
        assert_ok(run_end(tmp_path, "tagged", ending))
