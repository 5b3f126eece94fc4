"""What CPython does badly beside interpreters, and what is done about it."""

import signal
import sys

import pytest
from harness import assert_ok, run_python, run_script

LATER = sys.version_info >= (3, 15)


# --- tracemalloc ---------------------------------------------------------------------------------

TRACED = """
import tracemalloc
import jobs
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

tracemalloc.start()
with InterpreterThreadPoolExecutor(2) as executor:
    print(executor.submit(jobs.add, 1, 2).result(30))
    for ask in (
        lambda: executor.submit(interpreter(jobs.add), 1, 2).result(30),
        lambda: list(executor.map(interpreter(jobs.add), [1, 2])),
        lambda: executor.prestart().result(30),
    ):
        try:
            print(ask())
        except RuntimeError as error:
            print("refused", "tracemalloc.stop()" in str(error))
    tracemalloc.stop()
    print(executor.submit(interpreter(jobs.add), 3, 4).result(30))
"""


def test_tracemalloc(tmp_path):
    """Before 3.15 a tagged task would hang: it is refused while memory is traced."""
    answers = ["3", "[1, 2]", "None"] if LATER else ["refused True"] * 3
    assert_ok(run_script(tmp_path, TRACED), "3", *answers, "7")


# --- KeyboardInterrupt, whose mark is the whole process's ----------------------------------------

INTERRUPTED = """
import sys
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

def raised():
    exec("raise KeyboardInterrupt")

def caught():
    try:
        raised()
    except KeyboardInterrupt:
        return "caught"

def in_a_thread():
    import threading

    threading.excepthook = lambda arguments: None
    thread = threading.Thread(target=raised)
    thread.start()
    thread.join()

def at_exit():
    import atexit

    atexit.register(caught)

with InterpreterThreadPoolExecutor() as executor:
    error = executor.submit(interpreter(globals()[sys.argv[1]])).exception(30)
    print(type(error).__name__)
sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize(
    ("task", "error"),
    [
        ("raised", "KeyboardInterrupt"),
        ("caught", "NoneType"),
        ("in_a_thread", "NoneType"),
        ("at_exit", "NoneType"),
    ],
)
def test_interrupt_in_a_worker_is_not_the_programs(tmp_path, task, error, code):
    assert_ok(run_script(tmp_path, INTERRUPTED, task, code), error, code=code)


def test_work_after_a_ctrl_c_is_not_the_programs(tmp_path):
    """The program ends by SIGINT, whatever workers evaluate between that and the end."""
    source = """
    import os
    import signal
    import jobs
    from harness import Gate
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    def evaluate(*gate):
        jobs.pass_gate(*gate)
        return eval("1 + 1")

    gate = Gate()
    executor = InterpreterThreadPoolExecutor()
    executor.submit(interpreter(evaluate), *gate.args)
    gate.wait_started()
    executor.submit(gate.open)
    signal.raise_signal(signal.SIGINT)
    """
    done = run_script(tmp_path, source)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert "KeyboardInterrupt" in done.stderr


# --- _datetime -----------------------------------------------------------------------------------


def test_datetime_in_workers_before_main_has_it(tmp_path):
    """On 3.13 that corrupts the heap, unless the main interpreter has imported it before."""
    source = """
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    def year():
        import datetime
        import zoneinfo

        return datetime.datetime(2000, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")).year

    for _ in range(3):
        with InterpreterThreadPoolExecutor(4, max_interpreters=4) as executor:
            print({f.result(30) for f in [executor.submit(interpreter(year)) for _ in range(8)]})
    """
    assert_ok(run_script(tmp_path, source), *["{2000}"] * 3)


# --- fork ----------------------------------------------------------------------------------------


def test_unknown_layout_is_said_once_and_all_else_works(tmp_path):
    """Without the guard of forks: one warning, all tasks, and forks without interpreters."""
    source = """
    import ctypes
    import os
    import warnings
    import jobs

    # What describes the runtime's layout begins with a cookie; another one is another layout.
    ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime").value = b"y"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
        for _ in range(2):
            executor = InterpreterThreadPoolExecutor(2)
            print(executor.submit(jobs.add, 1, 2).result(30))
            executor.shutdown()
        warnings.simplefilter("ignore")
        pid = os.fork()
        if pid == 0:
            with InterpreterThreadPoolExecutor(1) as executor:
                os._exit(executor.submit(interpreter(jobs.add), 1, 2).result(30))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        with InterpreterThreadPoolExecutor(2) as executor:
            print(executor.submit(interpreter(jobs.add), 3, 4).result(30))
    print(len(caught), caught[0].category.__name__, "fork" in str(caught[0].message))
    """
    script = tmp_path / "script.py"
    script.write_text("if True:\n" + source)
    assert_ok(run_python(script), "3", "3", "3", "7", "1 RuntimeWarning True")
