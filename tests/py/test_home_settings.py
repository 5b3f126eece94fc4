"""What an interpreter takes over: environment, settings, reloads; and what stays out."""

import importlib
import os
import socket
import sys

import home_jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters import interpreter


@pytest.fixture
def executor(pool):
    """One of one interpreter, which is there."""
    executor = pool(max_workers=1)
    run(executor, home_jobs.argv)
    return executor


def run(executor, function, *args):
    return executor.submit(interpreter(function), *args).result(TIMEOUT)


# --- environment ---------------------------------------------------------------------------------


def test_environment_follows_the_callers(executor, monkeypatch):
    names = "AIO_A", "AIO_B"
    assert run(executor, home_jobs.environment_of, *names) == [None, None]
    monkeypatch.setenv("AIO_A", "1")
    monkeypatch.setenv("AIO_B", "\udcff")
    assert run(executor, home_jobs.environment_of, *names) == ["1", "\udcff"]
    monkeypatch.setenv("AIO_A", "2")
    monkeypatch.delenv("AIO_B")
    assert run(executor, home_jobs.environment_of, *names) == ["2", None]
    kept = dict(os.environ)
    os.environ.clear()
    try:
        assert run(executor, home_jobs.environment_of, "AIO_A", "PATH") == [None, None]
    finally:
        os.environ.update(kept)
    assert run(executor, home_jobs.environment_of, "AIO_A", "PATH") == ["2", os.environ["PATH"]]


def test_what_a_task_sets_stays_with_its_worker(executor, pool, monkeypatch):
    monkeypatch.setenv("AIO_A", "of the caller")
    run(executor, home_jobs.set_environment, "AIO_A", "of the task")
    run(executor, home_jobs.set_environment, "AIO_C", "of the task")
    monkeypatch.setenv("AIO_B", "1")
    assert run(executor, home_jobs.environment_of, "AIO_A", "AIO_B", "AIO_C") == [
        "of the task", "1", "of the task"]  # fmt: skip
    assert os.environ["AIO_A"] == "of the caller"
    assert "AIO_C" not in os.environ
    assert run(pool(1), home_jobs.environment_of, "AIO_A", "AIO_C") == ["of the caller", None]
    monkeypatch.setenv("AIO_A", "changed")
    assert run(executor, home_jobs.environment_of, "AIO_A") == ["changed"]
    os.unsetenv("AIO_C")


def test_putenv_reaches_the_programs_that_tasks_start(executor):
    os.putenv("AIO_D", "put")
    assert run(executor, home_jobs.shell, "echo $AIO_D") == "put\n"
    assert run(executor, home_jobs.environment_of, "AIO_D") == [os.environ.get("AIO_D")]
    os.unsetenv("AIO_D")
    assert run(executor, home_jobs.shell, "echo $AIO_D") == "\n"


# --- settings ------------------------------------------------------------------------------------


def test_settings_of_sys_follow_the_callers(executor, pool, monkeypatch):
    before = sys.getrecursionlimit(), sys.get_int_max_str_digits(), sys.dont_write_bytecode
    assert run(executor, home_jobs.settings) == before
    try:
        sys.setrecursionlimit(4321)
        assert run(executor, home_jobs.settings) == (4321, *before[1:])
        sys.set_int_max_str_digits(5432)
        monkeypatch.setattr(sys, "dont_write_bytecode", not before[2])
        assert run(executor, home_jobs.settings) == (4321, 5432, not before[2])
        assert run(pool(1), home_jobs.settings) == (4321, 5432, not before[2])
        run(executor, home_jobs.set_recursion_limit, 2345)
        sys.set_int_max_str_digits(6543)
        assert run(executor, home_jobs.settings)[:2] == (2345, 6543)
    finally:
        sys.setrecursionlimit(before[0])
        sys.set_int_max_str_digits(before[1])
    monkeypatch.undo()
    assert run(executor, home_jobs.settings) == before


def test_default_timeout_of_sockets_follows_the_callers(executor, pool):
    assert socket.getdefaulttimeout() is None
    try:
        for seconds in (3.5, None, 2.0):
            socket.setdefaulttimeout(seconds)
            assert run(executor, home_jobs.socket_timeout) == (seconds, seconds)
        assert run(pool(1), home_jobs.socket_timeout) == (2.0, 2.0)
    finally:
        socket.setdefaulttimeout(None)
    assert run(executor, home_jobs.socket_timeout) == (None, None)


# --- reloads -------------------------------------------------------------------------------------


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Write `edited.py` and have it imported anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change within a second

    def write(source):
        (tmp_path / "edited.py").write_text(source)
        importlib.invalidate_caches()
        known = sys.modules.get("edited")
        return importlib.import_module("edited") if known is None else importlib.reload(known)

    yield write
    sys.modules.pop("edited", None)


def test_a_reloaded_module_is_imported_anew(executor, edit):
    old = edit("def f(): return 'old'").f
    assert run(executor, old) == "old"
    module = edit("def f(): return 'new'\ndef g(): return 'added'")
    assert run(executor, module.f) == "new"
    assert run(executor, module.g) == "added"
    assert run(executor, old) == "old"  # what it is for the caller, too
    assert run(executor, home_jobs.call_of, "edited", "f") == "new"


def test_a_function_that_is_changed_in_place(executor, edit):
    """As IPython's %autoreload does it."""
    module = edit("def f(): return 'old'")
    kept, tag = module.f, interpreter(module.f)
    by_value = lambda: kept()  # noqa: E731
    assert executor.submit(tag).result(TIMEOUT) == run(executor, by_value) == "old"
    new = edit("def f(): return 'new'").f
    kept.__code__ = new.__code__
    module.f = kept
    assert executor.submit(tag).result(TIMEOUT) == run(executor, by_value) == "new"


def test_a_module_that_another_one_uses(executor, edit, tmp_path):
    edit("def f(): return 'old'")
    (tmp_path / "uses_edited.py").write_text("import edited\ndef f(): return edited.f()")
    uses = importlib.import_module("uses_edited")
    assert run(executor, uses.f) == "old"
    edit("def f(): return 'new'")
    assert run(executor, uses.f) == uses.f() == "new"
    edit("if __import__('_interpreters').get_current()[0]:\n  1/0\ndef f(): return 'never'")
    assert run(executor, home_jobs.argv) == sys.argv  # which does not use it
    with pytest.raises(ZeroDivisionError):
        run(executor, home_jobs.call_of, "edited", "f")
    sys.modules.pop("uses_edited")


# --- what stays out ------------------------------------------------------------------------------


def test_tracing_ends_with_its_task(executor):
    run(executor, home_jobs.leave_tracing, "settrace")
    assert run(executor, home_jobs.tracing) == (None, None)
    with pytest.raises(LookupError):
        run(executor, home_jobs.leave_tracing, "setprofile")
    assert run(executor, home_jobs.tracing) == (None, None)


def test_tracing_of_the_initializer_stays(pool):
    executor = pool(1, initializer=interpreter(home_jobs.leave_tracing), initargs=("settrace",))
    for _ in range(2):
        assert run(executor, lambda: __import__("sys").gettrace() is not None)


def test_tasks_cannot_read_what_is_typed(tmp_path):
    done = run_script(
        tmp_path,
        """
        import io
        import home_jobs

        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        with InterpreterThreadPoolExecutor() as executor:
            for how in "input", "iteration", "buffer", "read", "readline", "readlines", "fileno":
                error = executor.submit(interpreter(home_jobs.read_input), how).exception()
                assert isinstance(error, io.UnsupportedOperation), error
            print(error)
        print(input())
        """,
        input="the caller's\n",
    )
    assert_ok(
        done,
        "a tagged task cannot read sys.stdin, whose lines are the caller's: read them there and "
        "pass them as arguments, or submit the function untagged",
        "the caller's",
    )


def test_sys_stdin_is_seen_by_the_collector(executor):
    assert run(executor, home_jobs.referents_of_input) == (True, True)
