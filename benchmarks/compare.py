"""Compare two result files of run.py: how many times better each figure of the second is.

    python benchmarks/compare.py BEFORE.json AFTER.json [--contestants NAME,…]

A ratio is bold when the two spreads (lowest to highest process) do not overlap, so that a
difference is more than what one run differs from the next by.
"""

import argparse
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import results
from results import Result, Results, number


def apart(before: Result, after: Result) -> bool:
    """The spreads do not overlap."""
    return max(before.processes) < min(after.processes) or max(after.processes) < min(
        before.processes
    )


def row(before: Result, after: Result) -> list[str]:
    """One line of the table."""
    ratio = after.times_better_than(before)
    cells = [before.measure, before.contestant, f"{before.figure}, {before.unit}"]
    cells += [number(before.median), number(after.median), number(ratio)]
    if not math.isnan(ratio) and apart(before, after):
        colour = "green" if ratio > 1 else "red"
        cells[-1] = f"[bold {colour}]{cells[-1]}[/]"
    return cells


def compared(before: Results, after: Results, contestants: list[str]) -> Table:
    """The figures that both have."""
    table = Table(caption="ratio: how many times better, more or less whichever is better")
    for heading in ("measure", "contestant", "figure"):
        table.add_column(heading)
    for one in (before, after):
        commit, python = one.machine["commit"], one.machine["python"]
        table.add_column(f"{commit}\n{python}", justify="right")
    table.add_column("ratio", justify="right")
    for old in before.results:
        new = after.get(*old.key)
        wanted = not contestants or old.contestant in contestants
        if new is not None and wanted and old.processes and new.processes:
            table.add_row(*row(old, new))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--contestants", default="", help="only these, comma between them")
    options = parser.parse_args()
    try:
        before, after = results.load(options.before), results.load(options.after)
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(str(error))
    contestants = options.contestants.split(",") if options.contestants else []
    table = compared(before, after, contestants)
    if not table.row_count:
        parser.error("the two files have no figure in common")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    if before.machine["quick"] or after.machine["quick"]:
        console.print("[yellow]a quick run's figures are rough[/yellow]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
