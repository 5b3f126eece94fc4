"""Changes that are seen whoever else describes them at the time, and only changes that matter."""

import contextlib
import gc
import importlib
import io
import logging
import sys
import threading
import warnings

import home_jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters import _home, interpreter


def run(executor, function, *args):
    return executor.submit(interpreter(function), *args).result(TIMEOUT)


class Described(logging.Logger):
    """Calls `when_read` each time that its level is read, after that of the root logger."""

    when_read = staticmethod(lambda: None)

    @property
    def level(self):
        self.when_read()
        return 30

    @level.setter
    def level(self, _):
        pass


@pytest.fixture
def executor(pool):
    """One of one interpreter, which follows the levels of loggers."""
    executor = pool(max_workers=1)
    level = logging.root.level
    run(executor, home_jobs.is_enabled, "")
    yield executor
    logging.root.setLevel(level)


@pytest.fixture
def described(executor):
    """A logger whose level is read in each description."""
    logging.root.manager.loggerDict["described"] = logger = Described("described")
    yield logger
    del logging.root.manager.loggerDict["described"]


@contextlib.contextmanager
def described_elsewhere(executor, described):
    """Another thread describes what has changed, and waits in the middle of it."""
    arrived, go_on = threading.Event(), threading.Event()

    def wait():
        if threading.current_thread() is thread:
            arrived.set()
            assert go_on.wait(TIMEOUT)

    described.when_read = wait
    thread = threading.Thread(target=run, args=(executor, home_jobs.argv))
    thread.start()
    try:
        assert arrived.wait(TIMEOUT)
        yield
    finally:
        go_on.set()
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_an_older_description_does_not_replace_a_newer_one(executor, described, monkeypatch):
    monkeypatch.setenv("AIO_RACE", "1")
    with described_elsewhere(executor, described):
        logging.root.setLevel(11)
        monkeypatch.setattr(sys, "tracebacklimit", 7, raising=False)
        new = ("1", 7, sys.pycache_prefix, sys.path[-1], 11)
        assert run(executor, home_jobs.seen_here, "AIO_RACE") == new
    assert run(executor, home_jobs.seen_here, "AIO_RACE") == new


def test_changes_that_another_thread_still_describes(executor, described, monkeypatch):
    recursion_limit = sys.getrecursionlimit()
    monkeypatch.setenv("AIO_RACE", "1")
    logging.root.setLevel(11)
    sys.setrecursionlimit(3210)
    try:
        with described_elsewhere(executor, described):
            new = ("1", None, sys.pycache_prefix, sys.path[-1], 11)
            assert run(executor, home_jobs.seen_here, "AIO_RACE") == new
            assert run(executor, home_jobs.settings)[0] == 3210
    finally:
        sys.setrecursionlimit(recursion_limit)


@pytest.fixture
def reloaded(executor, tmp_path, monkeypatch):
    """A module that the worker has imported, and the caller has reloaded since."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the file changes within a second
    (tmp_path / "raced.py").write_text("def f(): return 'old'")
    module = importlib.import_module("raced")
    assert run(executor, module.f) == "old"
    (tmp_path / "raced.py").write_text("def f(): return 'new'")
    yield importlib.reload(module)
    sys.modules.pop("raced")


def test_a_reload_that_another_thread_still_describes(executor, described, reloaded):
    with described_elsewhere(executor, described):
        assert run(executor, home_jobs.call_of, "raced", "f") == "new"


def test_a_reload_whose_description_fails(executor, described, reloaded):
    described.when_read = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run(executor, home_jobs.argv)
    described.when_read = lambda: None
    assert run(executor, home_jobs.call_of, "raced", "f") == "new"


def test_what_is_described_submits(executor, described, monkeypatch):
    futures = []

    def submit():
        if len(futures) < 100:
            logging.root.setLevel(12)
            futures.append(executor.submit(interpreter(home_jobs.is_enabled), ""))

    logging.root.setLevel(11)
    described.when_read = submit
    monkeypatch.setenv("AIO_RACE", "2")
    assert run(executor, home_jobs.environment_of, "AIO_RACE") == ["2"]
    described.when_read = lambda: None
    assert futures
    assert futures[-1].result(TIMEOUT) == ([12], 0)
    assert run(executor, home_jobs.is_enabled, "") == ([12], 0)


# --- what is described, and taken over -----------------------------------------------------------


def test_only_changes_that_workers_follow_are_described(executor, monkeypatch):
    own, calls = _home.describe, []
    monkeypatch.setattr(_home, "describe", lambda *args: calls.append(1) or own(*args))
    run(executor, home_jobs.argv)
    calls.clear()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        run(executor, home_jobs.argv)
        monkeypatch.setattr(sys, "a_setting_of_nobody", 1, raising=False)
        run(executor, home_jobs.argv)
    run(executor, home_jobs.argv)
    assert not calls
    monkeypatch.setattr(sys, "pycache_prefix", "somewhere")
    assert run(executor, home_jobs.seen_here)[1] == "somewhere"
    assert len(calls) == 1


def test_what_is_set_to_what_it_was_is_not_taken_over(executor, monkeypatch):
    monkeypatch.setenv("AIO_SAME", "same")
    run(executor, home_jobs.add_argument, "of the task")
    before = run(executor, home_jobs.argv)
    assert before[-1] == "of the task"
    monkeypatch.setenv("AIO_SAME", "same")
    gc.collect()
    assert run(executor, home_jobs.argv) == before
    monkeypatch.setenv("AIO_SAME", "another")
    assert run(executor, home_jobs.argv) == sys.argv


FOLLOWED = """
    import logging
    import os
    import sys
    import warnings
    from importlib import invalidate_caches, reload
    from pathlib import Path

    import home_jobs

    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    sys.dont_write_bytecode = True
    folder = Path("modules").resolve()
    folder.mkdir()
    sys.path.append(str(folder))
    edited = folder / "edited.py"
    edited.write_text("def f(): return -1")
    import edited as module
    with InterpreterThreadPoolExecutor(1) as executor:
        def run(function, *args):
            return executor.submit(interpreter(function), *args).result(30)

        for n in range(3):
            os.environ["AIO_POLLED"] = str(n)
            sys.path.append(f"/{n}")
            sys.tracebacklimit = n
            logging.root.setLevel(n + 1)
            seen = run(home_jobs.seen_here, "AIO_POLLED")
            assert seen == (str(n), n, None, f"/{n}", n + 1), seen
            warnings.simplefilter("error", UserWarning, lineno=n + 1)
            assert run(home_jobs.filters)[0] == ("error", "UserWarning", n + 1)
            edited.write_text(f"def f(): return {n}")
            invalidate_caches()
            assert run(reload(module).f) == n
        sys.argv = ["replaced"]
        assert run(home_jobs.argv) == ["replaced"]
        del os.environ["AIO_POLLED"]
        assert run(home_jobs.environment_of, "AIO_POLLED") == [None]
    print("followed")
"""

NO_WATCHER_LEFT = """
    import ctypes

    callback_type = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int, *[ctypes.c_void_p] * 3)
    callback = callback_type(lambda *_: 0)
    add = ctypes.pythonapi.PyDict_AddWatcher
    add.argtypes = [callback_type]
    try:
        while True:
            add(callback)
    except RuntimeError:
        pass
"""


def test_changes_are_followed_when_others_have_all_watchers(tmp_path):
    assert_ok(run_script(tmp_path, NO_WATCHER_LEFT + FOLLOWED, cwd=tmp_path), "followed")


def test_changes_are_followed_in_safe_mode(tmp_path):
    done = run_script(tmp_path, FOLLOWED, cwd=tmp_path, AIOINTERPRETERS_SAFE="1")
    assert_ok(done, "followed")


def test_a_program_that_has_removed_the_dict_of_its_environment(tmp_path):
    done = run_script(
        tmp_path,
        """
        import os
        import posix
        import sys

        import home_jobs

        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        posix.environ = None
        with InterpreterThreadPoolExecutor(1) as executor:
            for n in range(2):
                sys.argv = [str(n)]
                assert executor.submit(interpreter(home_jobs.argv)).result(30) == [str(n)]
            values = executor.submit(interpreter(home_jobs.environment_of), "PATH").result(30)
            print(values == [os.environ["PATH"]])
        """,
    )
    assert_ok(done, "True")
