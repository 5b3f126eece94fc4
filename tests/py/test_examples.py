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
        ("image.py", ["--megapixels", "1"], ["alone", "threads", "interpreters"]),
    ],
)
def test_example(script, arguments, runs):
    pytest.importorskip("rich")
    done = harness.run_python(EXAMPLES / script, *arguments, "--workers", "2", COLUMNS="120")
    harness.assert_ok(done)
    lines = [line.strip("│ ") for line in done.stdout.splitlines()]
    for name in runs:
        assert any(line.startswith(name) for line in lines), done.stdout
    has_pool = any(line.startswith("InterpreterPoolExecutor") for line in lines)
    assert has_pool == (script == "grid.py" and sys.version_info >= (3, 14))


@pytest.mark.parametrize("script", ["grid.py", "image.py"])
def test_bad_arguments(script):
    pytest.importorskip("rich")
    done = harness.run_python(EXAMPLES / script, "--workers", "0")
    assert done.returncode == 2
    assert "--workers must be at least 1" in done.stderr
