"""Draw a run: a small panel for each measure, a bar for each contestant.

    python benchmarks/plot.py RESULT.json [--output NAME]

Writes NAME.svg and NAME.png, by default beside the file. The same file gives the same pictures.
Needs matplotlib, which `make bench` installs.
"""

import argparse
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

import results
from contestants import CONTESTANTS, FLOOR
from results import Result, Results, number


@dataclass(frozen=True)
class Panel:
    """Bars of one figure, or lines over the figures whose names begin with `figure`."""

    measure: str
    figure: str
    title: str
    lines: bool = False


PANELS = (
    Panel("submit", "rate", "small tasks: submit, then result"),
    Panel("map", "rate", "small tasks: map"),
    Panel("run_in_executor", "rate", "small tasks: run_in_executor"),
    Panel("to_thread", "rate", "small tasks: asyncio.to_thread"),
    Panel("run", "rate", "small tasks: executor.run"),
    Panel("amap", "rate", "small tasks: executor.amap"),
    Panel("round_trip", "p50", "round trip, idle pool: p50"),
    Panel("round_trip", "p99", "round trip, idle pool: p99"),
    Panel("efficiency", "10ms", "efficiency, tasks of 10 ms"),
    Panel("efficiency", "1ms", "efficiency, tasks of 1 ms"),
    Panel("efficiency", "100us", "efficiency, tasks of 100 µs"),
    Panel("loop_lag", "busy_p99", "event loop's lag, workers busy: p99"),
    Panel("web", "rate", "web service: the route that computes"),
    Panel("web", "trivial_p99", "web service: the trivial route, p99"),
    Panel("echo", "one_loop", "echo server: one loop"),
    Panel("echo", "interpreters", "echo server: interpreters"),
    Panel("first_task", "next", "a new pool's first task"),
    Panel("worker_memory", "pss", "memory of a warm worker"),
    Panel("megabytes", "in", "8 MB of bytes in, the same again"),
    Panel("megabytes", "new", "8 MB of bytes in, new each time"),
    Panel("megabytes", "out", "8 MB of bytes out"),
    Panel("megabytes", "fresh", "8 MB of bytes out, made by the task"),
    Panel("handed", "peak", "peak of memory for a result of 100 MB"),
    Panel("dicts", "in", "2,000 small dicts in"),
    Panel("pending_memory", "many", "memory of a pending task"),
    Panel("growth", "workers_", "small tasks, by workers", lines=True),
    Panel("growth", "submitters_", "small tasks, by submitting threads", lines=True),
)
COLUMNS = 3
WIDTH = 9.0  # inches: 900 pixels in a README
ROW = 1.62  # inches
CAPTION = 0.45  # inches

# Okabe and Ito's colours, which those who see fewer can tell apart; and markers, for the lines.
STYLES = {
    FLOOR: ("#bbbbbb", "."),
    "threads": ("#e69f00", "s"),
    "interpreters": ("#d55e00", "D"),
    "processes": ("#cc79a7", "v"),
    "0.6.0-tagged": ("#009e73", "^"),
    "0.6.0-untagged": ("#86cdb8", "<"),
    "tagged": ("#0072b2", "o"),
    "untagged": ("#56b4e9", "P"),
}

SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "aiointerpreters",  # ids that do not change from run to run
    "svg.fonttype": "none",  # text stays text
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.linewidth": 0.5,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.5,
    "xtick.labelsize": 6,
    "ytick.labelsize": 7,
    "ytick.major.width": 0.5,
}


def short(value: float) -> str:
    """A number that fits beside a bar."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= 10 * size or (letter == " M" and value >= size):
            return f"{value / size:.3g}{letter}"
    return number(value)


def whiskers(result: Result) -> tuple[list[float], list[float]]:
    """How far the lowest and the highest process are from the median."""
    low, high = min(result.processes), max(result.processes)
    return [result.median - low], [high - result.median]


def log_limits(values: list[float], room: float) -> tuple[float, float]:
    """Of an axis that begins below the shortest bar and leaves `room`, a part of it, for text."""
    low, high = math.log10(min(values)), math.log10(max(values))
    low = math.floor(low - 0.3)
    return 10**low, 10 ** (low + (high - low) / (1 - room))


def bars(axes: Axes, measured: dict[str, Result], names: list[str]) -> None:
    """A bar, its spread and its number for each contestant, the first one on top."""
    part_of_one = all(result.unit == "of two cores" for result in measured.values())
    highest = [max(result.processes) for result in measured.values()]
    lowest = [min(result.processes) for result in measured.values()]
    if part_of_one:
        axes.set_xlim(0, 1.4)
        axes.set_xticks([0, 0.5, 1])
        axes.axvline(1, color="#888888", linewidth=0.5, linestyle=":", zorder=0)
    else:
        axes.set_xscale("log")
        axes.set_xlim(*log_limits(lowest + highest, room=0.24))
    for place, name in enumerate(names):
        result = measured.get(name)
        if result is None:
            if name != FLOOR:
                axes.text(
                    *(0.02, place, "none"),
                    transform=axes.get_yaxis_transform(),
                    va="center",
                    color="#888888",
                    style="italic",
                    size=6,
                )
            continue
        start = axes.get_xlim()[0]
        axes.barh(
            place,
            result.median - start,
            left=start,
            height=0.74,
            color=STYLES[name][0],
            xerr=whiskers(result),
            error_kw={"elinewidth": 0.7, "capsize": 1.5, "capthick": 0.7, "ecolor": "#333333"},
        )
        axes.annotate(
            short(result.median),
            (max(result.processes), place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=6,
            weight="bold" if name == "tagged" else "normal",
        )
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [CONTESTANTS[name].title for name in names])
    axes.tick_params(axis="y", length=0)


def lines(axes: Axes, panel: Panel, of_measure: list[Result]) -> None:
    """A line for each contestant: its figure against the number in the figures' names."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    by_contestant: dict[str, list[tuple[int, Result]]] = {}
    for result in of_measure:
        if result.figure.startswith(panel.figure) and result.processes:
            number_of = int(result.figure.removeprefix(panel.figure))
            by_contestant.setdefault(result.contestant, []).append((number_of, result))
    ticks = sorted({n for points in by_contestant.values() for n, _ in points})
    for name, points in by_contestant.items():
        colour, marker = STYLES[name]
        spreads = [whiskers(result) for _, result in points]
        axes.errorbar(
            [n for n, _ in points],
            [result.median for _, result in points],
            yerr=[[low[0] for low, _ in spreads], [high[0] for _, high in spreads]],
            color=colour,
            marker=marker,
            markersize=3,
            linewidth=1,
            elinewidth=0.7,
        )
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.tick_params(axis="y", labelsize=6)


def caption(everything: Results) -> str:
    """What the figures were measured on, and how to read them; two lines."""
    machine = everything.machine
    processes = max((len(result.processes) for result in everything.results), default=0)
    of = "a quick run of" if machine["quick"] else "commit"
    return (
        f"CPython {machine['python']}, {machine['system']}, {machine['cpus']} CPUs, "
        f"{machine['workers']} workers, {of} {machine['commit']}. "
        f"Medians of processes, {processes} at most; whiskers: lowest and highest.\n"
        "The floor is the same work in C; for asyncio an executor that runs nothing. "
        "The axes are logarithmic, except of efficiency."
    )


def drawn(everything: Results) -> Picture:
    """The picture; ValueError if there is nothing to draw."""
    panels = []
    for panel in PANELS:
        found = [
            result
            for result in everything.results
            if result.measure == panel.measure
            and result.processes
            and (result.figure.startswith(panel.figure) if panel.lines else True)
            and (panel.lines or result.figure == panel.figure)
        ]
        if found:
            panels.append((panel, found))
    if not panels:
        raise ValueError("no figure to draw")
    ran = {result.contestant for result in everything.results if result.processes}
    names = [name for name in CONTESTANTS if name in ran]
    rows = math.ceil(len(panels) / COLUMNS)
    picture = Picture(
        figsize=(WIDTH, ROW * rows + CAPTION), layout="constrained", facecolor="white"
    )
    below = CAPTION / (ROW * rows + CAPTION)
    picture.get_layout_engine().set(rect=(0, below, 1, 1 - below))
    grid = picture.add_gridspec(rows, COLUMNS)
    for place, (panel, found) in enumerate(panels):
        axes = picture.add_subplot(grid[place // COLUMNS, place % COLUMNS])
        better = "more" if found[0].more_is_better else "less"
        axes.set_title(panel.title, loc="left", weight="bold", pad=11)
        axes.annotate(
            f"{found[0].unit}; {better} is better",
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            size=6.5,
            color="#444444",
        )
        if panel.lines:
            lines(axes, panel, found)
        else:
            bars(axes, {result.contestant: result for result in found}, names)
            if place % COLUMNS:
                axes.set_yticklabels([])
        axes.minorticks_off()
    picture.text(0.01, 0.008, caption(everything), size=6.5, color="#444444", va="bottom")
    return picture


def draw(everything: Results, path: Path) -> list[Path]:
    """Writes `path` with the endings .svg and .png, and returns those paths."""
    written = [path.with_suffix(".svg"), path.with_suffix(".png")]
    with mpl.rc_context(SETTINGS):
        picture = drawn(everything)
        picture.savefig(written[0], metadata={"Date": None, "Creator": None})
        picture.savefig(written[1], dpi=144, metadata={"Software": None})
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--output", type=Path, help="the pictures' name, its ending replaced")
    options = parser.parse_args()
    try:
        written = draw(results.load(options.result), options.output or options.result)
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(str(error))
    for path in written:
        print(f"drawn in {os.path.relpath(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
