"""tests/cpython/run.py can neither lie nor hang: executors wrong in known ways must fail it."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("test.test_concurrent_futures", reason="this Python has no `test` package")

RUN = Path(__file__).parents[1] / "cpython" / "run.py"
PREAMBLE = """
import concurrent.futures
import os
import threading
from concurrent.futures.thread import ThreadPoolExecutor
"""


@pytest.fixture
def run(tmp_path):
    """Run test_init with a class Candidate of the given source; the process, and its counts."""

    def run(source, *options):
        (tmp_path / "candidate.py").write_text(PREAMBLE + textwrap.dedent(source))
        counts = tmp_path / "counts.json"
        command = [sys.executable, RUN, "--executor", "candidate:Candidate", "--json", counts]
        done = subprocess.run(
            [*command, *options, "test_init"],
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
        )
        return done, json.loads(counts.read_text())

    return run


def test_good_executor_passes(run):
    done, counts = run("class Candidate(ThreadPoolExecutor): pass")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "2 passed, 0 failed, 0 skipped"
    assert (counts["passed"], counts["failed"], counts["skipped"]) == (2, 0, 0)
    assert counts["suites"]["test_init"]["executors"] == 2


def test_failing_test_fails_the_run(run):
    done, counts = run(
        """
        class Candidate(ThreadPoolExecutor):
            def __init__(self, max_workers=None, **others):
                super().__init__(max_workers)  # forgets the initializer
        """
    )
    assert done.returncode == 1
    assert counts["failed"] == 2
    assert "test_initializer" in done.stdout


def test_hang_fails_the_run_with_stacks(run):
    done, counts = run(
        """
        class Candidate(ThreadPoolExecutor):
            def submit(self, fn, /, *args, **kwargs):
                return concurrent.futures.Future()
        """,
        "--seconds=5",
    )
    assert done.returncode == 1
    assert counts["failed"] == 1
    assert "Timeout" in done.stdout
    assert "in test_initializer" in done.stdout


def test_executor_of_cpython_itself_is_refused(run):
    done, counts = run("Candidate = ThreadPoolExecutor")
    assert done.returncode == 1
    assert (counts["passed"], counts["failed"]) == (0, 1)
    assert "is not a subclass" in done.stdout


def test_stray_executor_fails_the_run(run):
    done, counts = run(
        """
        class Candidate(ThreadPoolExecutor):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                ThreadPoolExecutor()
        """
    )
    assert done.returncode == 1
    assert counts["failed"] == 1
    assert "executors that are not ours: {'stray ThreadPoolExecutor': 2}" in done.stdout


def test_left_over_thread_fails_the_run(run):
    done, counts = run(
        """
        class Candidate(ThreadPoolExecutor):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                threading.Thread(target=threading.Event().wait, daemon=True).start()
        """
    )
    assert done.returncode == 1
    assert counts["failed"] == 1
    assert "a test left threads or processes behind" in done.stdout


def test_crash_fails_the_run(run):
    done, counts = run(
        """
        class Candidate(ThreadPoolExecutor):
            def submit(self, fn, /, *args, **kwargs):
                os.abort()
        """
    )
    assert done.returncode == 1
    assert counts["failed"] == 1
    assert "ended with -6" in done.stdout
