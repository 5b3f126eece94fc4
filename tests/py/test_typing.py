"""What type checkers make of the package: tests/typing, by mypy and pyright as users run them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "typing"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_types(file, tmp_path):
    pytest.importorskip("mypy")
    command = ["-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(file)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=tmp_path, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_by_pyright(tmp_path):
    pytest.importorskip("basedpyright")
    rules = {
        "typeCheckingMode": "standard",
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": True,
    }
    tmp_path.joinpath("pyrightconfig.json").write_text(json.dumps(rules))
    command = ["-m", "basedpyright", "--pythonpath", sys.executable]
    files = sorted(map(str, FOLDER.glob("*.py")))
    done = subprocess.run(
        [sys.executable, *command, *files],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
