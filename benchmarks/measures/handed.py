"""The most memory resident at any moment while a task makes 100 MB and the caller gets them."""

import os
import re
from pathlib import Path

from contestants import Contestant
from measures import Figure
from measures.worker_memory import descendants
from sampling import warm_executor
from tasks import make

TITLE = "100 MB of bytes that a task makes: peak of resident memory"
FIGURES = {"peak": Figure("sizes")}
PROCESSES = 3, 1

SIZE = 100_000_000


def peak() -> int:
    """Bytes that were resident in this process and those below it, at most, each by itself."""
    total = 0
    for pid in descendants(os.getpid()):
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        total += int(found[1]) * 1024 if found else 0
    return total


def forget_peaks() -> None:
    """From now on the peaks are what is resident now."""
    for pid in descendants(os.getpid()):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    function = contestant.prepare(make)
    with warm_executor(contestant, workers=1) as executor:
        forget_peaks()
        before = peak()
        value = executor.submit(function, SIZE).result()
        if len(value) != SIZE:
            raise AssertionError("wrong size")
        return {"peak": [(peak() - before) / SIZE]}
