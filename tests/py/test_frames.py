"""sys._current_frames(), which profilers call, beside interpreters."""

import sys
import threading

import jobs
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters import interpreter


def test_it_has_the_threads_of_its_interpreter(executor, gate):
    plain = executor.submit(jobs.pass_gate, *gate.args)
    tagged = executor.submit(interpreter(jobs.pass_gate), *gate.args)
    gate.wait_started(2)
    frames = sys._current_frames()
    assert frames[threading.get_ident()] is sys._getframe()
    assert set(frames) <= {thread.ident for thread in threading.enumerate()}
    assert [frame.f_code.co_name for frame in frames.values()].count("pass_gate") == 1
    gate.open(2)
    for future in (plain, tagged):
        future.result(TIMEOUT)


def test_it_is_audited():
    seen = []

    def hook(event, _arguments):
        if event == "sys._current_frames" and hooking:
            seen.append(event)

    hooking = True
    sys.addaudithook(hook)  # for good
    sys._current_frames()
    hooking = False
    assert seen == ["sys._current_frames"]


def test_a_profiler_beside_busy_interpreters(tmp_path):
    """With CPython's own function this corrupts the heap, on 3.13 within a fraction of a second."""
    script = """
    import sys, threading
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    def deep(count):
        def inner(level):
            return level and inner(level - 1) + 1
        return sum(inner(20) for _ in range(count))

    def sample():
        while not stop.is_set():
            sys._current_frames()

    stop = threading.Event()
    with InterpreterThreadPoolExecutor(2) as executor:
        sampling = threading.Thread(target=sample)
        sampling.start()
        print(set(executor.map(interpreter(deep), [200] * 200)))
        stop.set()
        sampling.join()
    """
    assert_ok(run_script(tmp_path, script), "{4000}")
