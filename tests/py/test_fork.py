"""os.fork() with executors that have worked: each process has its own."""

import os
import textwrap

import pytest
from harness import assert_ok, run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

# `fork(function)` runs `function` in a child, which ends as a Python does, and gives its exit code.
# A child that hangs is ended by SIGALRM. (A debug build of Python aborts at the end of a child of a
# process with threads, by itself.)
FORKING = """
import os
import signal
import sys
import threading
import traceback
import warnings

import jobs
from harness import TIMEOUT, Gate, in_thread, wait_until
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
leave = os._exit if hasattr(sys, "gettotalrefcount") else sys.exit

def fork(function, leave=leave):
    pid = os.fork()
    if pid == 0:
        signal.alarm(TIMEOUT)
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        leave(code)
    return exit_code(pid)

def exit_code(pid):
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)

"""


def run_forking(folder, source, *arguments, before=""):
    """As run_script, without its watchdog: the child would wait for the thread of that one."""
    script = folder / "script.py"
    script.write_text(FORKING + textwrap.dedent(before) + textwrap.dedent(source))
    return run_python(script, *arguments)


def test_child_of_idle_workers_exits(tmp_path):
    source = """
    with InterpreterThreadPoolExecutor(2) as executor:
        assert executor.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
        print(fork(lambda: None))
        assert executor.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
    """
    assert_ok(run_forking(tmp_path, source), "0")


@pytest.mark.parametrize("state", ["unused", "idle", "busy"])
def test_executor_works_afresh_in_the_child(tmp_path, state):
    source = """
    state = sys.argv[1]
    gate = Gate()

    def use():
        assert [executor.submit(jobs.add, n).result(TIMEOUT) for n in range(5)] == [*range(5)]
        tagged = executor.submit(interpreter(jobs.interpreter_id))
        assert tagged.result(TIMEOUT) != 0
        in_thread(executor.shutdown)

    executor = InterpreterThreadPoolExecutor(1)
    if state == "busy":
        running = executor.submit(jobs.pass_gate, *gate.args, "ran")
        pending = executor.submit(jobs.add, 1, 2)
        gate.wait_started()
    elif state == "idle":
        executor.submit(jobs.add, 1, 2).result(TIMEOUT)
    print(fork(use))
    gate.open()
    if state == "busy":
        assert running.result(TIMEOUT) == "ran"
        assert pending.result(TIMEOUT) == 3
    use()
    """
    assert_ok(run_forking(tmp_path, source, state), "0")


def test_executor_with_an_initializer_works_afresh_in_the_child(tmp_path):
    source = """
    def use():
        assert executor.submit(jobs.get_state).result(TIMEOUT) == 7

    with InterpreterThreadPoolExecutor(1, initializer=jobs.set_state, initargs=(7,)) as executor:
        use()
        jobs.set_state(0)  # only the initializer of the child's thread can set it again
        print(fork(use))
    """
    assert_ok(run_forking(tmp_path, source), "0")


def test_shut_down_executor_stays_shut_down_in_the_child(tmp_path):
    source = """
    def use():
        try:
            executor.submit(jobs.add, 1)
        except RuntimeError as error:
            print(error, flush=True)
        executor.shutdown()

    executor = InterpreterThreadPoolExecutor(1)
    executor.submit(jobs.add, 1, 2).result(TIMEOUT)
    executor.shutdown()
    print(fork(use))
    """
    said = "cannot schedule new futures after shutdown"
    assert_ok(run_forking(tmp_path, source), said, "0")


def test_futures_of_the_parent(tmp_path):
    """What had ended has its outcome in the child; what had not will not, and says so."""
    source = """
    gate = Gate()

    def ask():
        assert finished.result(TIMEOUT) == 3
        assert isinstance(failed.exception(TIMEOUT), ValueError)
        assert cancelled.cancelled()
        assert by_hand.result(TIMEOUT) == "by hand"
        for future in (running, pending):
            for timeout in (None, TIMEOUT, 0):
                for method in (future.result, future.exception):
                    try:
                        method(timeout)
                    except RuntimeError as error:
                        assert "forked" in str(error), error
                    else:
                        raise AssertionError(future)

    with InterpreterThreadPoolExecutor(1) as executor:
        finished = executor.submit(jobs.add, 1, 2)
        failed = executor.submit(jobs.raise_value_error)
        running = executor.submit(jobs.pass_gate, *gate.args, "ran")
        pending = executor.submit(jobs.add, 1, 2)
        cancelled = executor.submit(jobs.add, 1, 2)
        by_hand = executor.submit(jobs.add, 1, 2)
        gate.wait_started()
        assert cancelled.cancel()
        by_hand.set_result("by hand")
        print(fork(ask))
        gate.open()
        assert running.result(TIMEOUT) == "ran"
        assert pending.result(TIMEOUT) == 3
    """
    assert_ok(run_forking(tmp_path, source), "0")


def test_future_made_by_hand_is_ended_in_the_child(tmp_path):
    """It is nobody's call."""
    source = """
    with InterpreterThreadPoolExecutor(1) as executor:
        future = type(executor.submit(jobs.add, 1))()

    def end():
        thread = threading.Thread(target=future.set_result, args=("ended",))
        thread.start()
        assert future.result(TIMEOUT) == "ended"
        thread.join(TIMEOUT)

    print(fork(end))
    """
    assert_ok(run_forking(tmp_path, source), "0")


def test_task_that_forks(tmp_path):
    """It returns in both processes; the child has this worker only, and ends with it."""
    source = """
    def fork_under_alarm():
        pid = os.fork()
        if pid == 0:
            signal.alarm(TIMEOUT)
        return pid

    with InterpreterThreadPoolExecutor(2) as executor:
        future = executor.submit(fork_under_alarm)
        print(exit_code(future.result(TIMEOUT)))
        assert executor.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
    """
    assert_ok(run_forking(tmp_path, source), "0")


def test_forks_amid_submits(tmp_path):
    """No lock of this package is left held in the child by a thread that it does not have."""
    source = """
    over = threading.Event()

    def submit():
        while not over.is_set():
            for future in [executor.submit(jobs.add, n) for n in range(10)]:
                future.result(TIMEOUT)

    def use():
        for n in range(3):
            assert executor.submit(jobs.add, n).result(TIMEOUT) == n
        with InterpreterThreadPoolExecutor(1) as another:
            assert another.submit(jobs.add, 1, 2).result(TIMEOUT) == 3

    with InterpreterThreadPoolExecutor(2) as executor:
        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()
        codes = {fork(use, os._exit) for _ in range(30)}
        over.set()
        for thread in threads:
            thread.join(TIMEOUT)
    print(codes)
    """
    assert_ok(run_forking(tmp_path, source), "{0}")


def test_fork_by_the_destructor_of_a_result_that_nobody_asks_for(tmp_path):
    """The child's only thread is a worker's; it ends in order, and the executor works there."""
    done = run_forking(
        tmp_path,
        """
        executor = InterpreterThreadPoolExecutor(1)
        gone, told = os.pipe()

        class Result:
            def __del__(self):
                def work():
                    assert executor.submit(abs, -1).result(TIMEOUT) == 1
                    print("child", flush=True)
                    os._exit(0)

                pid = os.fork()
                if pid == 0:
                    signal.alarm(TIMEOUT)
                    threading.Thread(target=work).start()
                else:
                    _, status = os.waitpid(pid, 0)
                    os.write(told, b"%d" % status)

        # Nobody has the future when the task ends.
        start = threading.Event()
        executor.submit(lambda: start.wait(TIMEOUT) and Result())
        start.set()
        print("parent", os.read(gone, 10).decode())
        """,
    )
    assert_ok(done, "child", "parent 0")


def test_an_import_of_ours_is_finished_first(tmp_path):
    """A module that another thread imports during a fork would stay locked in the child."""
    source = """
    begun, go = threading.Event(), threading.Event()

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "aiointerpreters._byvalue":
                begun.set()
                assert go.wait(TIMEOUT)

    def use():
        assert executor.submit(interpreter(jobs.add), 1, 2).result(TIMEOUT) == 3

    def forks():
        frame = sys._current_frames()[threading.main_thread().ident]
        while frame is not None and frame.f_code.co_name != "_finish_imports":
            frame = frame.f_back
        return frame is not None

    def release():
        wait_until(forks, "fork")
        go.set()

    executor = InterpreterThreadPoolExecutor(2)
    sys.meta_path.insert(0, Finder())
    threads = [threading.Thread(target=target) for target in (use, release)]
    for thread in threads:
        thread.start()
    assert begun.wait(TIMEOUT)
    assert fork(use) == 0
    for thread in threads:
        thread.join()
    """
    assert_ok(run_forking(tmp_path, source))
