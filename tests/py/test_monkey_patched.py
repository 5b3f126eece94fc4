"""Threads that something has replaced: an executor works on real ones, or says so."""

import _thread
import threading

import jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters import _threads
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

START = """
import jobs
if early:
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
    made = InterpreterThreadPoolExecutor(2)
from gevent import monkey
monkey.patch_all(thread=thread)
if not early:
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
"""

CALLS = {
    "an executor": "InterpreterThreadPoolExecutor(2)",
    "a direct call": "interpreter(jobs.add, everywhere=True)(1, 2)",
    "a worker": "made.submit(jobs.add, 1, 2)",
    "a tagged worker": "made.submit(interpreter(jobs.add), 1, 2)",
    "map": "made.map(interpreter(jobs.add), [1], [2])",
    "prestart": "made.prestart().result()",
}


@pytest.mark.parametrize("early", [False, True])
def test_gevent(tmp_path, early):
    """Whether it is imported before or after; also by an executor that was made before."""
    pytest.importorskip("gevent", reason="not installed")
    names = [name for name in CALLS if early or "made" not in CALLS[name]]
    source = f"early, thread = {early}, True\n{START}"
    for name in names:
        source += f"""
try:
    {CALLS[name]}
except RuntimeError as error:
    assert "patch_all(thread=False)" in str(error), error
    print({name!r}, flush=True)
"""
    assert_ok(run_script(tmp_path, source), *names)


@pytest.mark.parametrize("early", [False, True])
def test_gevent_without_threads(tmp_path, early):
    pytest.importorskip("gevent", reason="not installed")
    source = f"early, thread = {early}, False\n{START}"
    source += """
import gevent
with InterpreterThreadPoolExecutor(2) as executor:
    print(executor.submit(jobs.add, 1, 2).result(30))
    print(executor.submit(interpreter(jobs.add), 1, 2).result(30))
    print(gevent.get_hub().threadpool.apply(executor.submit(jobs.add, 1, 2).result))
    print(interpreter(jobs.add, everywhere=True)(1, 2))
"""
    assert_ok(run_script(tmp_path, source), *"3333")


def test_gevent_that_patches_nothing(tmp_path):
    pytest.importorskip("gevent", reason="not installed")
    source = """
    import gevent
    import jobs
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
    with InterpreterThreadPoolExecutor(2) as executor:
        print(executor.submit(interpreter(jobs.add), 1, 2).result(30))
    """
    assert_ok(run_script(tmp_path, source), "3")


# --- by hand -------------------------------------------------------------------------------------

PLACES = [
    (_thread, "start_new_thread"),
    (_thread, "start_joinable_thread"),
    (threading, "_start_joinable_thread"),
]
ids = [f"{module.__name__}.{name}" for module, name in PLACES]


def runs_at_once(function, *_args, **_options):
    function()


def starts_none(*_args, **_options):
    raise OSError("no threads")


def forgets(*_args, **_options):
    pass


@pytest.mark.parametrize("replacement", [runs_at_once, starts_none, forgets])
@pytest.mark.parametrize(("module", "name"), PLACES, ids=ids)
def test_what_starts_no_thread(monkeypatch, module, name, replacement):
    monkeypatch.setattr(_threads, "PATIENCE", 0.01)
    monkeypatch.setattr(_threads, "_TRIED", {})
    monkeypatch.setattr(module, name, replacement)
    with pytest.raises(RuntimeError, match=f"threads are monkey-patched .*{replacement.__name__}"):
        InterpreterThreadPoolExecutor(1)


@pytest.mark.parametrize(("module", "name"), PLACES, ids=ids)
def test_what_starts_threads_after_all(monkeypatch, pool, module, name):
    """As debuggers have it, which follow each thread from its start."""
    calls = []
    original = getattr(module, name)

    def start(*args, **options):
        calls.append(args)
        return original(*args, **options)

    monkeypatch.setattr(module, name, start)
    assert pool(1).submit(interpreter(jobs.add), 1, 2).result(TIMEOUT) == 3
    assert pool(1).submit(jobs.add, 1, 2).result(TIMEOUT) == 3
    assert calls


@pytest.mark.parametrize(
    ("module", "name"), [(_thread, "allocate_lock"), (threading, "_allocate_lock")]
)
def test_other_locks(monkeypatch, module, name):
    class Lock:
        pass

    monkeypatch.setattr(module, name, Lock)
    with pytest.raises(RuntimeError, match=r"threads are monkey-patched .*Lock"):
        InterpreterThreadPoolExecutor(1)


def test_another_class_of_threads(monkeypatch):
    monkeypatch.setattr(threading, "Thread", type("Thread", (), {}))
    with pytest.raises(RuntimeError, match=r"threads are monkey-patched .*Thread"):
        InterpreterThreadPoolExecutor(1)


def test_patched_between_submits(monkeypatch, pool):
    """The workers that there are go on; no other one is started."""
    executor = pool(2)
    assert executor.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
    monkeypatch.setattr(_threads, "_TRIED", {starts_none: False})
    monkeypatch.setattr(threading, "_start_joinable_thread", starts_none)
    assert executor.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
    for future in [executor.submit(jobs.add, n) for n in range(9)]:
        future.result(TIMEOUT)
    assert len(executor._threads) == 1
