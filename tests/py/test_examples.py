"""The examples that need no network run, and check their own results."""

import sys
from pathlib import Path

import harness
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize(
    ("script", "arguments", "runs"),
    [
        ("grid.py", ["--calls", "50"], ["threads", "this project", "this project, broadcast"]),
        ("dask_primes.py", ["--limit", "2000"], ["threads", "interpreters"]),
        ("image.py", ["--megapixels", "1"], ["alone", "threads", "interpreters"]),
    ],
)
def test_example(script, arguments, runs):
    pytest.importorskip("rich")
    if script == "dask_primes.py":
        pytest.importorskip("distributed")
    quiet = {"COLUMNS": "120", "DASK_LOGGING__DISTRIBUTED": "critical"}
    done = harness.run_python(EXAMPLES / script, *arguments, "--workers", "2", **quiet)
    harness.assert_ok(done)
    lines = [line.strip("│ ") for line in done.stdout.splitlines()]
    for name in runs:
        assert any(line.startswith(name) for line in lines), done.stdout
    has_pool = any(line.startswith("InterpreterPoolExecutor") for line in lines)
    assert has_pool == (script == "grid.py" and sys.version_info >= (3, 14))


@pytest.mark.parametrize("script", ["dask_primes.py", "grid.py", "image.py"])
def test_bad_arguments(script):
    pytest.importorskip("rich")
    if script == "dask_primes.py":
        pytest.importorskip("distributed")
    done = harness.run_python(EXAMPLES / script, "--workers", "0")
    assert done.returncode == 2
    assert "--workers must be at least 1" in done.stderr
