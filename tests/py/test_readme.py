"""Every Python block of the README, and of docs/, is a script that runs and prints what it says.

A block's `print(...)  # text` lines, in order, say what it prints.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a page is about, and may not be there.
NEEDED = {"dask.md": "distributed", "web.md": "fastapi"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a cluster logs when it ends depends on the moment.
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}
PROMISE = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)


def blocks() -> list:
    """The blocks, each named after its file and line."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            needed = NEEDED.get(page.name, "sys")
            skip = pytest.mark.skipif(find_spec(needed) is None, reason=f"needs {needed}")
            found.append(pytest.param(match[1], id=f"{page.name}:{line}", marks=skip))
    return found


def test_there_are_blocks():
    assert len(blocks()) > 5


@pytest.mark.parametrize("block", blocks())
def test_block(block, tmp_path):
    script = tmp_path / "snippet.py"
    script.write_text(block, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore:on Python 3.13", script],
        cwd=tmp_path,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == PROMISE.findall(block)
