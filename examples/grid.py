"""Find thousands of shortest paths on one map, which every call gets as an argument.

    python examples/grid.py [--calls N] [--workers N]

The map is a tuple of tuples of bools, 130 × 130. `InterpreterPoolExecutor` (3.14 and later) pickles
it anew for every call. This project recognises the very object that it has sent before, and sends
it once to each interpreter; `broadcast(map)` says so beforehand. The same function searches each
time, in plain Python, and all have to agree.
"""

import argparse
import concurrent.futures
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from aiointerpreters import broadcast
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

SIZE = 130
REACH = 10  # cells between start and goal, at most, in each direction

type Grid = tuple[tuple[bool, ...], ...]
type Cell = tuple[int, int]


def make_map(seed: int = 1) -> Grid:
    """True where one can walk: three of four cells."""
    chance = random.Random(seed)
    return tuple(tuple(chance.random() < 0.75 for _ in range(SIZE)) for _ in range(SIZE))


def make_trips(grid: Grid, count: int, seed: int = 2) -> list[tuple[Cell, Cell]]:
    chance = random.Random(seed)

    def cells() -> Iterator[Cell]:
        while True:
            cell = chance.randrange(SIZE), chance.randrange(SIZE)
            if grid[cell[0]][cell[1]]:
                yield cell

    trips = []
    for row, column in cells():
        goal = row + chance.randint(-REACH, REACH), column + chance.randint(-REACH, REACH)
        if 0 <= goal[0] < SIZE and 0 <= goal[1] < SIZE and grid[goal[0]][goal[1]]:
            trips.append(((row, column), goal))
        if len(trips) >= count:
            break
    return trips


def steps(grid: Grid, start: Cell, goal: Cell) -> int:
    """How many steps the shortest way takes, within twice the reach; -1: there is none."""
    top, left = max(0, start[0] - 2 * REACH), max(0, start[1] - 2 * REACH)
    bottom, right = min(SIZE, start[0] + 2 * REACH), min(SIZE, start[1] + 2 * REACH)
    seen = {start}
    border = [start]
    taken = 0
    while border:
        if goal in seen:
            return taken
        taken += 1
        further = []
        for row, column in border:
            for cell in (
                (row + 1, column),
                (row - 1, column),
                (row, column + 1),
                (row, column - 1),
            ):
                if (
                    cell not in seen
                    and top <= cell[0] < bottom
                    and left <= cell[1] < right
                    and grid[cell[0]][cell[1]]
                ):
                    seen.add(cell)
                    further.append(cell)
        border = further
    return -1


def timed(
    executor: Executor, function: Callable[..., int], grid: object, trips: list[tuple[Cell, Cell]]
) -> tuple[list[int], float]:
    """The steps of each trip; and the seconds, with those for making workers and ending them."""
    start = time.perf_counter()
    with executor:
        futures = [executor.submit(function, grid, *trip) for trip in trips]
        found = [future.result() for future in futures]
    return found, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--workers", type=int, default=os.process_cpu_count() or 1)
    options = parser.parse_args()
    if options.calls < 1 or options.workers < 1:
        parser.error("--calls and --workers must be at least 1")
    grid = make_map()
    trips = make_trips(grid, options.calls)

    workers = options.workers
    runs = {"threads": timed(ThreadPoolExecutor(workers), steps, grid, trips)}
    if sys.version_info >= (3, 14):
        pool = concurrent.futures.InterpreterPoolExecutor(workers)
        runs["InterpreterPoolExecutor"] = timed(pool, steps, grid, trips)
    ours: dict[str, object] = {"this project": grid, "this project, broadcast": broadcast(grid)}
    for name, argument in ours.items():
        ready = InterpreterThreadPoolExecutor(workers, max_interpreters=workers)
        runs[name] = timed(ready, interpreter(steps), argument, trips)

    expected, alone = runs["threads"]
    table = Table(title=f"{len(trips):,} paths on a {SIZE} × {SIZE} map, {workers} workers")
    table.add_column("searched on")
    for heading in ("seconds", "ms a call", "speed-up"):
        table.add_column(heading, justify="right")
    for name, (_, seconds) in runs.items():
        each = seconds / len(trips) * 1e3
        table.add_row(name, f"{seconds:.2f}", f"{each:.3f}", f"{alone / seconds:.2f}x")
    Console().print(table)
    if any(found != expected for found, _ in runs.values()):
        sys.exit("the runs do not agree")


if __name__ == "__main__":
    main()
