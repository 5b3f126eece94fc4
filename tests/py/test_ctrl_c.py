"""A Ctrl-C in a wait interrupts what is waited for; the pool can be used, and the process ends."""

import os
import select
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from harness import TIMEOUT, assert_ok, environment, run_script

BEGIN = """
import asyncio, os, signal, sys, threading
from concurrent.futures import CancelledError, Future, as_completed, wait
import coroutine_jobs, jobs, stopping_jobs
from harness import await_sleep
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

said, saying = os.pipe()
main = threading.get_native_id()
executor = InterpreterThreadPoolExecutor(2, max_interpreters=1, grace=30)
spin = interpreter(stopping_jobs.spin)

def press(*, tasks=1):
    "Press Ctrl-C once that many tasks run and the main thread waits."
    def run():
        for _ in range(tasks):
            assert os.read(said, 1) == b"S"
        await_sleep(main)
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    return thread

def interrupted(waits, *args, **options):
    "The wait is left by a Ctrl-C."
    thread = press(**options)
    try:
        waits(*args)
    except KeyboardInterrupt:
        thread.join()
    else:
        raise AssertionError("not interrupted")

def assert_usable(of=None):
    assert (of or executor).submit(interpreter(jobs.add), 1, 2).result(30) == 3
"""


def script(tmp_path, source, **options):
    return run_script(tmp_path, BEGIN + textwrap.dedent(source), **options)


# --- each wait -----------------------------------------------------------------------------------

WAITS = {
    "result": "executor.submit(spin, saying).result()",
    "result with a timeout": "executor.submit(spin, saying).result(60)",
    "exception": "executor.submit(spin, saying).exception()",
    "map": "next(executor.map(spin, [saying]))",
    "all of map": "list(executor.map(spin, [saying] * 3))",
    "map with a buffer": "list(executor.map(spin, [saying] * 3, buffersize=2))",
    "map by submit": "next(Subclass(1).map(spin, [saying]))",
    "wait": "wait([executor.submit(spin, saying), standard])",
    "wait with a timeout": "wait([executor.submit(spin, saying)], 60)",
    "as_completed": "next(as_completed([standard, executor.submit(spin, saying)]))",
    "a partial": "executor.submit(interpreter(partial(stopping_jobs.spin, saying))).result()",
    "a direct call": "interpreter(stopping_jobs.spin, everywhere=True)(saying)",
    "a coroutine": "executor.submit(interpreter(coroutine_jobs.spin), saying).result()",
    "run": "asyncio.run(run())",
    "wrap_future": "asyncio.run(wrap())",
    "amap": "asyncio.run(amap())",
    "a wait in a loop": "asyncio.run(block())",
}


def test_each_wait(tmp_path):
    """The one interpreter is free afterwards, so what was waited for has been stopped."""
    source = f"""
    from functools import partial

    class Subclass(InterpreterThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            return super().submit(fn, *args, **kwargs)

    async def run():
        await executor.run(spin, saying)

    async def wrap():
        await asyncio.wrap_future(executor.submit(spin, saying))

    async def amap():
        async for _ in executor.amap(spin, [saying] * 3):
            pass

    async def block():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as the second one, in asyncio
        executor.submit(spin, saying).result()

    standard = Future()  # which nobody ends, and nobody cancels
    for name, code in {WAITS!r}.items():
        said, saying = os.pipe()  # a coroutine says that it is stopped
        interrupted(eval, code)
        assert_usable()
        print(name, flush=True)
    assert standard.cancel()
    """
    assert_ok(script(tmp_path, source), *WAITS)


def test_as_often_as_there_are_cpus(tmp_path):
    """As in cells of a notebook: caught outside, and the futures are gone, or are not."""
    source = """
    executor = InterpreterThreadPoolExecutor(max_workers=2, max_interpreters=2)
    kept = []
    for n in range(4):
        future = executor.submit(spin, saying)
        if n % 2:
            kept.append(future)
        interrupted(future.result)
    assert_usable(executor)
    print([future.cancelled() for future in kept])
    executor.shutdown()  # waits for nothing that runs
    """
    assert_ok(script(tmp_path, source), "[True, True]")


def test_a_task_that_cleans_up(tmp_path):
    """It is interrupted as by cancel(), with its finally clauses run to their ends."""
    source = """
    future = executor.submit(interpreter(stopping_jobs.spin_and_clean_up), saying)
    interrupted(future.result)
    assert_usable()
    print(os.read(said, 9).decode())
    """
    assert_ok(script(tmp_path, source), "cef")


# --- what is left alone --------------------------------------------------------------------------


def test_what_others_wait_for_is_cancelled_for_them(tmp_path):
    source = """
    future = executor.submit(spin, saying)
    outcome = []
    def run():
        try:
            future.result()
        except CancelledError:
            outcome.append("cancelled")
    other = threading.Thread(target=run)
    other.start()
    future.add_done_callback(lambda f: outcome.append(f.cancelled()))
    interrupted(future.result)
    other.join()
    print(*sorted(map(str, outcome)))
    """
    assert_ok(script(tmp_path, source), "True cancelled")


def test_only_what_is_waited_for(tmp_path):
    """A pending tagged call never starts; the one that runs, which nobody waits for, goes on."""
    source = """
    from harness import Gate
    gate = Gate()
    other = executor.submit(interpreter(jobs.pass_gate), *gate.args, "value")
    gate.wait_started()
    pending = executor.submit(spin, saying)
    interrupted(pending.result, tasks=0)
    print(pending.cancelled(), other.running())
    gate.open()
    print(other.result(30))
    """
    assert_ok(script(tmp_path, source), "True True", "value")


def test_untagged_calls_go_on(tmp_path):
    """As in ThreadPoolExecutor, those that are pending, too."""
    source = """
    from harness import Gate
    gate = Gate()
    executor = InterpreterThreadPoolExecutor(1)
    running = executor.submit(jobs.pass_gate, *gate.args, "first")
    pending = executor.submit(jobs.add, 1, 2)
    gate.wait_started()
    interrupted(running.result, tasks=0)
    interrupted(pending.result, tasks=0)
    interrupted(wait, [running, pending], tasks=0)
    interrupted(next, as_completed([running, pending]), tasks=0)
    gate.open()
    print(running.result(30), pending.result(30))
    """
    assert_ok(script(tmp_path, source), "first 3")


def test_what_must_not_be_interrupted(tmp_path):
    source = """
    from harness import Gate
    gate = Gate()
    future = executor.submit(interpreter(jobs.pass_gate, interruptible=False), *gate.args, "value")
    gate.wait_started()
    interrupted(future.result, tasks=0)
    gate.open()
    print(future.result(30))
    """
    assert_ok(script(tmp_path, source), "value")


def test_what_a_handler_of_another_signal_raises(tmp_path):
    """It is for the program to say what is to be done about the call then."""
    source = """
    from harness import Gate
    gate = Gate()

    class Alarm(Exception):
        pass

    def handle(*_):
        raise Alarm

    signal.signal(signal.SIGINT, handle)
    future = executor.submit(interpreter(jobs.pass_gate), *gate.args, "value")
    gate.wait_started()
    thread = press(tasks=0)
    try:
        future.result()
    except Alarm:
        thread.join()
        gate.open()
        print(future.result(30))
    """
    assert_ok(script(tmp_path, source), "value")


def test_a_future_that_nobody_will_end(tmp_path):
    """One that is ended by hand is somebody else's."""
    source = """
    from aiointerpreters._core import executor_types
    future = executor_types()[0]()
    interrupted(future.result, tasks=0)
    future.set_result("value")
    print(future.result())
    """
    assert_ok(script(tmp_path, source), "value")


# --- the details ---------------------------------------------------------------------------------


def test_another_ctrl_c_in_a_callback(tmp_path):
    """One KeyboardInterrupt leaves the wait, and the call is cancelled."""
    source = """
    def press_again(future):
        signal.raise_signal(signal.SIGINT)

    future = executor.submit(spin, saying)
    future.add_done_callback(press_again)
    interrupted(future.result)
    print(future.cancelled())
    assert_usable()
    """
    assert_ok(script(tmp_path, source), "True")


def test_a_callback_that_raises(tmp_path):
    source = """
    def refuse(future):
        raise SystemExit("from a callback")

    sys.unraisablehook = lambda unraisable: print(unraisable.exc_value)
    future = executor.submit(spin, saying)
    future.add_done_callback(refuse)
    interrupted(future.result)
    print(future.cancelled())
    """
    assert_ok(script(tmp_path, source), "from a callback", "True")


def test_while_a_worker_is_being_started(tmp_path):
    """The call is accepted, and its future is given to nobody: it must not run for ever."""
    source = """
    def press_in_start(start):
        def run(self):
            start(self)
            signal.raise_signal(signal.SIGINT)
        return run

    threading.Thread.start = press_in_start(start := threading.Thread.start)
    calls = {
        "submit": lambda: executor.submit(spin, saying),
        "map": lambda: executor.map(spin, [saying] * 3),
        "a limit": lambda: limited.submit(spin, saying),
        "map with a limit": lambda: limited.map(spin, [saying] * 3),
        "run": lambda: asyncio.run(run()),
        "a direct call": lambda: interpreter(stopping_jobs.spin, everywhere=True)(saying),
        "a coroutine": lambda: executor.submit(interpreter(coroutine_jobs.spin), saying),
        "prestart": lambda: executor.prestart(1),
    }

    async def run():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        executor.run(spin, saying)

    for name, call in calls.items():
        executor = InterpreterThreadPoolExecutor(1)
        limited = InterpreterThreadPoolExecutor(1, max_pending=5)
        try:
            call()
        except KeyboardInterrupt:
            print(name, flush=True)
        threading.Thread.start, started = start, threading.Thread.start
        for each in (executor, limited):
            assert_usable(each)
            each.shutdown()
        threading.Thread.start = started
    """
    assert_ok(
        script(tmp_path, source),
        *["submit", "map", "a limit", "map with a limit", "run"],
        *["a direct call", "a coroutine", "prestart"],
    )


def test_as_a_map_is_made(tmp_path):
    """Nobody has its iterator: nothing of it goes on."""
    source = """
    def items():
        yield saying
        assert os.read(said, 1) == b"S"
        signal.raise_signal(signal.SIGINT)
        yield saying

    try:
        executor.map(spin, items())
    except KeyboardInterrupt:
        assert_usable()
        print("interrupted")
    """
    assert_ok(script(tmp_path, source), "interrupted")


def test_prestart(tmp_path):
    """What has not begun is not made; what is being made is, and used."""
    source = """
    from harness import Gate
    gate = Gate()
    executor = InterpreterThreadPoolExecutor(
        1, initializer=interpreter(jobs.pass_gate), initargs=gate.args
    )
    prestart = executor.prestart()
    gate.wait_started()
    interrupted(prestart.result, tasks=0)
    print(prestart.cancelled())
    gate.open()
    assert_usable(executor)
    """
    assert_ok(script(tmp_path, source), "True")


def test_waits_of_the_standard_library_keep_nothing(tmp_path):
    """Futures are let go of as they are given; a list of waiters is a list."""
    source = """
    import gc, weakref
    gc.disable()
    futures = [executor.submit(interpreter(jobs.add), n, 0) for n in range(3)]
    refs = [weakref.ref(future) for future in futures]
    results = []
    for future in as_completed([futures.pop() for _ in range(3)]):
        results.append(future.result())
        del future
        assert sum(ref() is not None for ref in refs) <= 3 - len(results)
    print(sorted(results))
    future = Future(), executor.submit(interpreter(jobs.add), 1, 1)
    assert not wait(future, 0.01, return_when="ALL_COMPLETED").done - {future[1]}
    assert future[1]._waiters == [] and isinstance(future[1]._waiters, list)
    """
    assert_ok(script(tmp_path, source), "[0, 1, 2]")


# --- the exit ------------------------------------------------------------------------------------

ENDLESS = """
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
import os, stopping_jobs, sys, time

def sleep_on():
    print("waiting", flush=True)
    while not executor._shutdown:
        time.sleep(0.01)
    print("exit", flush=True)  # where the main thread runs no Python any more
    while True:
        time.sleep(0.01)

def spin():
    stopping_jobs.spin(1)

executor = InterpreterThreadPoolExecutor(2, grace=30)
"""


class Program:
    """A script that says a line when it waits, and gets signals then."""

    def __init__(self, tmp_path, source):
        path = tmp_path / "script.py"
        path.write_text(ENDLESS + textwrap.dedent(source))
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            bufsize=0,
        )
        self.stdout = b""

    def wait_for(self, text):
        deadline = time.monotonic() + TIMEOUT
        while text not in self.stdout:
            assert time.monotonic() < deadline, self.stdout
            if select.select([self._process.stdout], [], [], 1)[0]:
                part = os.read(self._process.stdout.fileno(), 4096)
                assert part, self.stdout + self._process.stderr.read()
                self.stdout += part

    def press(self):
        self._process.send_signal(signal.SIGINT)

    def end(self):
        """(exit status, stdout, stderr)."""
        try:
            out, error = self._process.communicate(timeout=TIMEOUT)
        except BaseException:
            self._process.kill()
            self._process.communicate()
            raise
        return self._process.returncode, (self.stdout + out).decode(), error.decode()


def test_a_program_that_catches_it_ends(tmp_path):
    program = Program(
        tmp_path,
        """
        try:
            executor.submit(interpreter(spin)).result()
        except KeyboardInterrupt:
            sys.exit(7)
        """,
    )
    program.wait_for(b"S")
    program.press()
    assert program.end() == (7, "S", "")


def test_ctrl_c_at_the_exit(tmp_path):
    """It stops what runs in interpreters; Python ends as usual, and says it in one line."""
    program = Program(
        tmp_path,
        """
        import atexit
        atexit.register(print, "atexit")
        executor.submit(interpreter(spin))
        """,
    )
    program.wait_for(b"S")
    program.press()
    assert program.end() == (-signal.SIGINT, "Satexit\n", "KeyboardInterrupt\n")


@pytest.mark.parametrize("tagged", [False, True])
def test_ctrl_c_at_the_exit_does_not_wait_for_threads(tmp_path, tagged):
    """Nor does ThreadPoolExecutor's exit. What `atexit` has is done, and output is not lost."""
    source = """
    import atexit
    atexit.register(print, "atexit")
    executor.submit(sleep_on)
    if %d:
        executor.submit(interpreter(spin))
    """
    program = Program(tmp_path, source % tagged)
    program.wait_for(b"exit\n")
    if tagged:
        program.wait_for(b"S")
    program.press()
    status, said, error = program.end()
    assert (status, error) == (-signal.SIGINT, "KeyboardInterrupt\n")
    assert said.endswith("atexit\n")


def test_a_second_ctrl_c_at_the_exit(tmp_path):
    """The first has ended the main program, whose traceback is all that is said."""
    program = Program(
        tmp_path,
        """
        executor.submit(sleep_on).result()
        """,
    )
    program.wait_for(b"waiting")
    program.press()
    program.wait_for(b"exit")
    program.press()
    status, _, error = program.end()
    assert status == -signal.SIGINT
    assert error.count("Traceback") == error.count("KeyboardInterrupt") == 1
    assert error.endswith("KeyboardInterrupt\n")


def test_a_second_ctrl_c_ends_a_task_that_does_not_stop(tmp_path):
    program = Program(
        tmp_path,
        """
        def stay():
            while True:
                try:
                    print("S", flush=True)
                    time.sleep(1000)
                finally:
                    print("F", flush=True)
                    time.sleep(1000)

        executor.submit(interpreter(stay))
        """,
    )
    program.wait_for(b"S")
    program.press()
    program.press()
    while True:
        try:
            program._process.wait(1)
            break
        except subprocess.TimeoutExpired:  # two that come together are one
            program.press()
    assert program.end()[::2] == (-signal.SIGINT, "KeyboardInterrupt\n")
