"""What this project aims at, and what a run reached.

    python benchmarks/targets.py RESULT.json

Every target is a ratio or a difference of figures of one run, so that it says the same on a slow
machine and on a fast one; only the memory of a pending task is a number of bytes.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import results
from results import Results, number

TICK = 4  # milliseconds: what a busy Linux takes, at most, until it runs who has waited longest


@dataclass(frozen=True)
class Target:
    """One line: what is compared, with what bound, and what the run gives."""

    what: str
    than: str  # in what unit, or against what
    bound: float
    reached: float  # NaN if a figure is missing
    at_least: bool = True
    strictly: bool = False

    @property
    def asked(self) -> str:
        sign = (">" if self.at_least else "<") + ("" if self.strictly else "=")
        return f"{sign} {self.bound:g} {self.than}"

    @property
    def met(self) -> bool | None:
        """None if this run cannot tell."""
        if math.isnan(self.reached):
            return None
        if self.strictly and self.reached == self.bound:
            return False
        return self.reached >= self.bound if self.at_least else self.reached <= self.bound


class Run:
    """The medians of a run, by name."""

    def __init__(self, everything: Results) -> None:
        self._medians = {result.key: result.median for result in everything.results}

    def median(self, measure: str, figure: str, contestant: str) -> float:
        return self._medians.get((measure, figure, contestant), math.nan)

    def ratio(
        self, measure: str, figure: str, contestant: str, other: str, other_measure: str = ""
    ) -> float:
        """One contestant's median divided by another's."""
        value = self.median(measure, figure, contestant)
        base = self.median(other_measure or measure, figure, other)
        return value / base if base else math.nan


def rates(run: Run) -> Iterator[Target]:
    """Small tasks a second."""
    wanted = [
        ("small tasks, submit: tagged", "submit", "", "tagged", "interpreters", 60),
        ("small tasks, submit: tagged", "submit", "", "tagged", "threads", 6),
        ("small tasks, map: tagged", "map", "", "tagged", "interpreters", 100),
        ("small tasks, map: tagged", "map", "", "tagged", "threads", 10),
        ("small tasks, submit: untagged", "submit", "", "untagged", "threads", 4),
        ("run_in_executor: tagged", "run_in_executor", "", "tagged", "interpreters", 5),
        ("to_thread: tagged", "to_thread", "run_in_executor", "tagged", "interpreters", 5),
        ("to_thread: tagged", "to_thread", "", "tagged", "floor", 0.9),
        ("run_in_executor: untagged", "run_in_executor", "", "untagged", "threads", 1.3),
        ("to_thread: untagged", "to_thread", "", "untagged", "threads", 1.3),
        ("run: tagged", "run", "run_in_executor", "tagged", "interpreters", 10),
        ("run: tagged", "run", "run_in_executor", "tagged", "threads", 3),
        ("amap: tagged", "amap", "run_in_executor", "tagged", "interpreters", 20),
    ]
    for what, measure, other_measure, contestant, other, bound in wanted:
        than = f"× {other}" + (f"' {other_measure}" if other_measure else "")
        ratio = run.ratio(measure, "rate", contestant, other, other_measure)
        yield Target(what, than, bound, ratio)


def round_trips(run: Run) -> Iterator[Target]:
    for figure in ("p50", "p99"):
        ratio = run.ratio("round_trip", figure, "tagged", "floor")
        yield Target(f"round trip, {figure}: tagged", "× floor", 1.3, ratio, at_least=False)
    for figure, pause in (("soon", "0.2 ms"), ("p50", "1 ms"), ("late", "5 ms")):
        what = f"round trip after {pause}, median: tagged"
        if figure != "p50":
            ratio = run.ratio("round_trip", figure, "tagged", "floor")
            yield Target(what, "× floor", 1.3, ratio, at_least=False)
        bare = run.median("bare_trip", figure, "floor")
        ratio = run.median("round_trip", figure, "tagged") / bare if bare else math.nan
        yield Target(what, "× a bare interpreter", 1.3, ratio, at_least=False)
    for figure in ("p50", "p99"):
        ratio = run.ratio("round_trip", figure, "untagged", "threads")
        what = f"round trip, {figure}: untagged"
        yield Target(what, "× threads", 1, ratio, at_least=False, strictly=True)


def leases(run: Run) -> Iterator[Target]:
    more = run.median("lease", "p50", "tagged")
    what = "a direct call on a lease: tagged"
    yield Target(what, "µs more than the function", 6, more, at_least=False)


def efficiency(run: Run) -> Iterator[Target]:
    for figure, length, bound in (
        ("10ms", "10 ms", 0.98),
        ("1ms", "1 ms", 0.97),
        ("100us", "100 µs", 0.93),
    ):
        reached = run.median("efficiency", figure, "tagged")
        yield Target(f"efficiency, tasks of {length}: tagged", "of two cores", bound, reached)
        ratio = run.ratio("efficiency", figure, "tagged", "floor")
        yield Target(f"efficiency, tasks of {length}: tagged", "× floor", bound, ratio)


def workers(run: Run) -> Iterator[Target]:
    """What a worker takes, and a task that waits."""
    for figure in ("first", "next", "both"):
        ratio = run.ratio("first_task", figure, "tagged", "floor")
        yield Target(f"first task, {figure}: tagged", "× floor", 1.3, ratio, at_least=False)
    ratio = run.ratio("worker_memory", "pss", "tagged", "floor")
    yield Target("memory of a warm worker: tagged", "× floor", 1.3, ratio, at_least=False)
    few, many = (run.median("pending_memory", figure, "tagged") for figure in ("few", "many"))
    yield Target("memory of a pending task: tagged", "bytes", 400, few, at_least=False)
    what = "the same, very many against few: tagged"
    yield Target(what, "apart", 0.1, abs(many / few - 1) if few else math.nan, at_least=False)


def data(run: Run) -> Iterator[Target]:
    trip = run.median("round_trip", "p50", "tagged") / 1e3  # µs to ms
    for figure, what in (("in", "in"), ("new", "in, new each time"), ("out", "out")):
        ideal = run.median("megabytes", figure, "floor") + trip
        reached = run.median("megabytes", figure, "tagged") / ideal
        than = "× (floor + round trip)"
        yield Target(f"8 MB of bytes {what}: tagged", than, 1.2, reached, at_least=False)
    ratio = run.ratio("megabytes", "crossing", "tagged", "floor")
    what = "8 MB of bytes in, new each time: tagged"
    yield Target(what, "× floor: a copy by another thread", 1.2, ratio, at_least=False)
    ratio = run.ratio("megabytes", "fresh", "tagged", "floor")
    what = "8 MB of bytes out, made by the task: tagged"
    yield Target(what, "× floor", 0.2, ratio, at_least=False)
    for figure, what in (
        ("in", "8 MB view in"),
        ("back", "8 MB view in and back"),
        ("large", "256 MB view in"),
    ):
        more = run.median("views", figure, "tagged")
        yield Target(f"{what}: tagged", "µs more than an empty trip", 10, more, at_least=False)
    sizes = run.median("handed", "peak", "tagged")
    what = "100 MB result, peak of resident memory: tagged"
    yield Target(what, "sizes", 1.1, sizes, at_least=False, strictly=True)
    ratio = run.ratio("dicts", "in", "tagged", "interpreters")
    yield Target("2,000 dicts in: tagged", "× interpreters", 0.6, ratio, at_least=False)


def repeats(run: Run) -> Iterator[Target]:
    """What is passed to every call is sent once."""
    without = run.median("grid", "without", "tagged")
    for figure, what in (("passed", "passed again"), ("broadcast", "as a broadcast")):
        reached = run.median("grid", figure, "tagged") / without
        yield Target(f"the grid, {what}: tagged", "× a call without", 1.5, reached, at_least=False)
    cached, uncached = (run.median("stream", name, "tagged") for name in ("cached", "uncached"))
    what = "distinct tuples of 300 floats in: tagged"
    yield Target(what, "× without the cache", 1.05, cached / uncached, at_least=False)


def lag(run: Run) -> Iterator[Target]:
    idle, busy = (run.median("loop_lag", f"{state}_p99", "tagged") for state in ("idle", "busy"))
    what = "event loop's lag, p99, busy less idle: tagged"
    yield Target(what, "ms", TICK, busy - idle, at_least=False)


def web(run: Run) -> Iterator[Target]:
    rate = run.ratio("web", "rate", "tagged", "threads")
    yield Target("web service, the route that computes: tagged", "× threads", 1.9, rate)
    late = run.ratio("web", "trivial_p99", "tagged", "threads")
    what = "web service, the trivial route, p99: tagged"
    yield Target(what, "× threads", 1, late, at_least=False, strictly=True)


def echo(run: Run) -> Iterator[Target]:
    many, one = (run.median("echo", figure, "tagged") for figure in ("interpreters", "one_loop"))
    what = "coroutines and an echo server: tagged"
    yield Target(what, "× one loop", 1.7, many / one if one else math.nan)


def growth(run: Run) -> Iterator[Target]:
    for what, name, most in (("workers", "workers", 64), ("submitting threads", "submitters", 16)):
        many, one = (run.median("growth", f"{name}_{n}", "tagged") for n in (most, 1))
        reached = many / one if one else math.nan
        yield Target(f"rate with {most} {what}: tagged", "× with 1", 0.8, reached)


def targets(everything: Results) -> list[Target]:
    """All of them, for one run."""
    run = Run(everything)
    waits = rates, round_trips, leases, efficiency, workers, lag
    parts = *waits, data, repeats, web, echo, growth
    return [target for part in parts for target in part(run)]


def table(everything: Results) -> Table:
    """The targets that the run has a measure for."""
    shown = Table(title="targets", title_justify="left", title_style="bold")
    shown.add_column("", min_width=32)
    shown.add_column("asked")
    shown.add_column("reached", justify="right")
    shown.add_column("")
    verdicts = {True: "[green]met[/]", False: "[red]missed[/]", None: "no figure"}
    for target in targets(everything):
        if target.met is not None or not partial(everything):
            shown.add_row(target.what, target.asked, number(target.reached), verdicts[target.met])
    return shown


def partial(everything: Results) -> bool:
    """The run had only some of the measures or of the contestants."""
    from contestants import CONTESTANTS
    from measures import ALL

    measured = {result.measure for result in everything.results}
    ran = {result.contestant for result in everything.results}
    return measured != set(ALL) or ran != set(CONTESTANTS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("result", type=Path)
    options = parser.parse_args()
    try:
        everything = results.load(options.result)
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(str(error))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table(everything))
    if everything.machine["quick"]:
        console.print("[yellow]a quick run's figures are rough[/yellow]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
