"""os.fork() in a process with live interpreters, where CPython by itself loses the child."""

import os

import pytest
from harness import assert_ok
from test_fork import run_forking

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

# `use()` asks for everything that a child may want: the inherited executor and one of its own.
USING = """
def use():
    assert executor.submit(interpreter(jobs.add), 3, 4).result(TIMEOUT) == 7
    assert executor.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
    with InterpreterThreadPoolExecutor(2) as another:
        tagged = [another.submit(interpreter(jobs.interpreter_id)) for _ in range(4)]
        assert all(future.result(TIMEOUT) != 0 for future in tagged)
    in_thread(executor.shutdown)

executor = InterpreterThreadPoolExecutor(2)
assert executor.submit(interpreter(jobs.add), 1, 2).result(TIMEOUT) == 3
"""


def test_idle_interpreters(tmp_path):
    source = """
    print({fork(use) for _ in range(5)})
    use()
    """
    assert_ok(run_forking(tmp_path, source, before=USING), "{0}")


def test_busy_interpreters(tmp_path):
    source = """
    def count(n):
        return sum(range(n))

    futures, codes = [], set()
    for _ in range(10):
        futures += [executor.submit(interpreter(count), 20_000) for _ in range(8)]
        codes.add(fork(use))
    assert {future.result(TIMEOUT) for future in futures} == {count(20_000)}
    print(codes)
    use()
    """
    assert_ok(run_forking(tmp_path, source, before=USING), "{0}")


def test_from_another_thread(tmp_path):
    source = """
    codes = []
    forking = threading.Thread(target=lambda: codes.append(fork(use, os._exit)))
    forking.start()
    forking.join(TIMEOUT)
    print(codes)
    use()
    """
    assert_ok(run_forking(tmp_path, source, before=USING), "[0]")


def test_multiprocessing_and_preexec_fn(tmp_path):
    source = """
    import multiprocessing
    import subprocess
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as processes:
        assert list(processes.map(abs, range(-3, 0), timeout=TIMEOUT)) == [3, 2, 1]
    process = context.Process(target=use)
    process.start()
    process.join(TIMEOUT)
    ran = subprocess.run(["true"], preexec_fn=lambda: None, timeout=TIMEOUT)
    print(process.exitcode, ran.returncode)
    use()
    """
    assert_ok(run_forking(tmp_path, source, before=USING), "0 0")
