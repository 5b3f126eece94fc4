"""What a warm worker adds to the memory of the process, or processes."""

import os
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

from contestants import WORKERS, Contestant
from measures import Figure
from tasks import echo, stay

TITLE = f"memory of a warm worker, one of {WORKERS}"
FIGURES = {"pss": Figure("MB")}


def descendants(pid: int) -> Iterator[int]:
    """`pid`, and the processes below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from descendants(int(child))


def proportional_set_size(pid: int) -> int:
    """Bytes of one process, shared pages counted by their share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1024
    raise RuntimeError("no Pss in smaps_rollup")


def memory() -> int:
    """Bytes of this process and those below it."""
    return sum(map(proportional_set_size, descendants(os.getpid())))


def per_worker(before: int) -> dict[str, list[float]]:
    return {"pss": [(memory() - before) / WORKERS / 1e6]}


def run(contestant: Contestant, quick: bool) -> dict[str, list[float]]:
    contestant.make(1).shutdown()
    before = memory()
    with contestant.make(WORKERS) as executor:
        wait([executor.submit(contestant.prepare(stay), 0.3) for _ in range(WORKERS)])
        wait([executor.submit(contestant.prepare(echo), n) for n in range(200)])
        return per_worker(before)


def floor(quick: bool) -> dict[str, list[float]]:
    """Bare interpreters."""
    import _floor

    before = memory()
    _floor.interpreters(WORKERS)
    result = per_worker(before)
    _floor.end_interpreters()
    return result
