"""The judges of tests/check: they see what went wrong, and pass what did not."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from harness import environment

CHECK = Path(__file__).resolve().parents[1] / "check"


@pytest.fixture
def load(monkeypatch):
    """Load a module of tests/check."""
    monkeypatch.syspath_prepend(str(CHECK))

    def load(name):
        spec = importlib.util.spec_from_file_location(f"checked_{name}", CHECK / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def end_of(load, source, limit=30):
    return load("processes").Child(["-c", source], limit).end()


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("", ""),
        ("raise SystemExit(3)", ""),
        ("import os; os.abort()", "crashed: SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed: SIGSEGV"),
        ("import sys; sys.stderr.write('Fatal Python error: x')", "says 'Fatal Python error'"),
    ],
)
def test_crash_of_a_process(load, source, complaint):
    assert end_of(load, source).crash() == complaint


def test_process_that_hangs(load):
    ended = end_of(load, "import threading; threading.Event().wait()", limit=1)
    assert ended.crash() == "hung"
    assert "most recent call first" in ended.stderr


@pytest.mark.parametrize(
    ("ending", "source", "complaint"),
    [
        ("return", "", ""),
        ("return", "raise SystemExit(1)", "exit status 1 instead of 0"),
        ("return", "import sys; print('x', file=sys.stderr)", "said something on stderr"),
        ("exception", "1 / 0", ""),
        ("SIGTERM", "import os; os.kill(os.getpid(), 15)", ""),
        ("SIGINT", "raise SystemExit(130)", "exit status 130 instead of -2"),
    ],
)
def test_end_of_a_process(load, ending, source, complaint):
    exits = load("exits")
    assert exits.judge(end_of(load, source), *exits.ENDINGS[ending]) == complaint


def test_seed_and_number_of_a_failed_run_are_printed(load, capsys):
    processes = load("processes")
    options = processes.parser("Doc.", 3).parse_args(["--seed", "5"])
    kinds = iter(["one", "two", "two"])

    def run(number, chance, limit):
        return next(kinds), "wrong" if number == 1 else "", "what it said"

    assert processes.run_many(options, "name", run) == 1
    said = capsys.readouterr().out
    assert "wrong: --seed 5 --only 1\nwhat it said" in said
    assert "2 processes as they should end, 1 not" in said


def test_soak_counts_each_end(load):
    """A future that ends as its kind must not is seen, and so is one that tells twice."""
    soak = load("soak")
    tally = soak.Tally(100)

    class Twice:
        def add_done_callback(self, callback):
            callback(self)
            callback(self)

        def cancelled(self):
            return True

    tally.watch("ok", Twice())
    assert ("ok", "cancelled", 2) in tally.wrong
    assert ("ok", "cancelled", 1) in tally.wrong


@pytest.mark.parametrize("script", ["exits.py", "forks.py"])
def test_short_run(script):
    """As a person would run it; two processes of each way are in `make check SHORT=1`."""
    done = subprocess.run(
        [sys.executable, CHECK / script, "--count", "3", "--seed", "1"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 processes as they should end, 0 not" in done.stdout
