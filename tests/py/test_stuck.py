"""Processes that end although tasks are in C code that does not return (stuck.py)."""

import signal
import subprocess
import sys
import time

import pytest
from harness import HERE, assert_ok, environment, run_script

pytestmark = pytest.mark.skipif(
    hasattr(sys, "gettotalrefcount"), reason="a debug build waits for them"
)

LIMIT = 30  # seconds that a process may take that does not wait


def end(way, how, *seconds, interrupt=False):
    """Run it; (exit status, stderr, seconds from when it was stuck)."""
    command = [sys.executable, "-X", "faulthandler", str(HERE / "stuck.py"), way, how]
    process = subprocess.Popen(
        [*command, *map(str, seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "stuck\n"
            began = time.monotonic()
            if interrupt:
                process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=LIMIT)
        except BaseException:
            process.kill()
            raise
    return process.returncode, stderr, time.monotonic() - began


@pytest.mark.parametrize("how", ["sleep", "pause", "read", "in_threads"])
@pytest.mark.parametrize(
    ("way", "code", "said"),
    [
        ("normal", 0, ""),
        ("exit", 3, ""),
        ("raise", 1, "ValueError: by purpose"),
        ("shutdown", 0, ""),
        ("works", 0, ""),
        ("guest", 0, ""),
        ("loop", 0, ""),
    ],
)
def test_the_process_ends_without_them(way, code, said, how):
    for _ in range(3):
        status, stderr, _ = end(way, how)
        assert status == code, stderr
        assert said in stderr if said else stderr == ""


@pytest.mark.parametrize("how", ["sleep", "pause", "read", "in_threads"])
@pytest.mark.parametrize("way", ["result", "with"])
def test_ctrl_c_ends_it(way, how):
    for _ in range(3):
        status, stderr, _ = end(way, how, interrupt=True)
        assert status == -signal.SIGINT, stderr
        assert stderr.rstrip().endswith("KeyboardInterrupt"), stderr


def test_code_that_keeps_the_gil_is_waited_for():
    """Nobody could make sure that it does not go on in the middle of the end."""
    status, stderr, took = end("exit", "compute", 0.6)
    assert (status, stderr) == (3, "")
    assert took > 0.5


def test_one_that_comes_back_at_that_moment():
    """It ends its interpreter, or never runs again; in both cases the process ends."""
    for n in range(30):
        status, stderr, _ = end("exit", "sleep", 0.04 + 0.004 * n)
        assert (status, stderr) == (3, "")


def test_threads_that_are_just_being_started(tmp_path):
    """At the end, what is said to be waited for may be there and not have begun."""
    script = """
    import threading
    from aiointerpreters import _exit

    class Late(threading.Thread):
        def join(self, timeout=None):
            try:
                super().join(timeout)
            except RuntimeError:
                seen.set()
                raise

    def start_late(*args, **kwargs):
        begun.set()
        seen.wait()
        return start(*args, **kwargs)

    seen, begun = threading.Event(), threading.Event()
    late = Late(target=print, args=("it has run",))
    start = threading._start_joinable_thread

    def start_it():
        threading._start_joinable_thread = start_late
        late.start()

    threading.Thread(target=start_it, daemon=True).start()
    begun.wait()
    _exit.leave_out([])
    """
    assert_ok(run_script(tmp_path, script), "it has run")
