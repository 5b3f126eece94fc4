"""A run's results: how they are summed up, kept in a file, and shown as a table."""

import json
import math
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from contestants import CONTESTANTS, WORKERS
from measures import Figure

FOLDER = Path(__file__).resolve().parent / "results"
FORMAT = 1  # of the file


@dataclass
class Result:
    """One figure of one measure for one contestant, or why there is none."""

    measure: str
    contestant: str
    figure: str
    unit: str
    more_is_better: bool
    processes: list[float] = field(default_factory=list)  # the median of each process
    missing: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.processes) if self.processes else math.nan

    @property
    def key(self) -> tuple[str, str, str]:
        return self.measure, self.figure, self.contestant

    def times_better_than(self, other: "Result") -> float:
        """How many times better than `other`, whichever way is better; NaN if one is missing."""
        ratio = self.median / other.median if other.median else math.nan
        return ratio if self.more_is_better else 1 / ratio


@dataclass
class Results:
    """All figures of a run, and what they were measured on."""

    machine: dict[str, Any]
    results: list[Result]

    def get(self, measure: str, figure: str, contestant: str) -> Result | None:
        wanted = measure, figure, contestant
        return next((result for result in self.results if result.key == wanted), None)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        results = [asdict(result) for result in self.results]
        content = {"format": FORMAT, "machine": self.machine, "results": results}
        path.write_text(json.dumps(content, indent=1) + "\n")


def load(path: Path) -> Results:
    """Reads a file that save() wrote; ValueError if it is none."""
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not a result file of this version of the benchmark")
    return Results(content["machine"], [Result(**result) for result in content["results"]])


def collect(
    measure: str, contestant: str, figures: dict[str, Figure], outcomes: list[dict[str, Any]]
) -> list[Result]:
    """The results of a measure for a contestant, from what its processes printed."""
    failed = next((reason for o in outcomes if (reason := o.get("error") or o.get("absent"))), "")
    results = []
    for name, figure in figures.items():
        samples = [outcome["figures"][name] for outcome in outcomes if "figures" in outcome]
        medians = [statistics.median(sample) for sample in samples if not isinstance(sample, str)]
        missing = failed or next((sample for sample in samples if isinstance(sample, str)), "")
        results.append(
            Result(measure, contestant, name, figure.unit, figure.more_is_better, medians, missing)
        )
    return results


def machine(quick: bool, processes: int) -> dict[str, Any]:
    """What a reader needs to judge the figures; nothing that tells one computer from another."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.process_cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "workers": WORKERS,
        "processes": processes,
        "quick": quick,
    }


def commit() -> str:
    """The commit of this checkout, "-dirty" if files differ from it; "unknown" outside of one."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    return head + ("-dirty" if git("status", "--porcelain") else "") if head else "unknown"


def number(value: float) -> str:
    """Three digits that mean something, with thousands separated."""
    if math.isnan(value):
        return "-"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}" if value < 10_000 else f"{float(f'{value:.3g}'):,.0f}"


def table(title: str, results: list[Result], references: list[str]) -> Table:
    """One figure: a row a contestant, and how many times better it is than the first of
    `references` that has a figure.
    """
    figure, unit = results[0].figure, results[0].unit
    measured = {result.contestant: result for result in results if result.processes}
    reference = next((name for name in references if name in measured), references[0])
    base = measured.get(reference)
    shown = Table(title=f"{title}: {figure}", title_justify="left", title_style="bold")
    shown.add_column("", min_width=32)
    for heading in (unit, "spread", f"× {reference}"):
        shown.add_column(heading, justify="right", min_width=14)
    for result in results:
        name = CONTESTANTS[result.contestant].title
        if result.processes:
            spread = f"{number(min(result.processes))} – {number(max(result.processes))}"
            ratio = result.times_better_than(base) if base else math.nan
            shown.add_row(name, number(result.median), spread, number(ratio))
        elif result.missing:
            shown.add_row(name, "none")
    return shown


def wide_table(title: str, results: list[Result]) -> Table:
    """All figures of a measure: a row a figure, a column a contestant that has any; medians."""
    shown = Table(title=f"{title}; {results[0].unit}", title_justify="left", title_style="bold")
    shown.add_column("")
    contestants = dict.fromkeys(result.contestant for result in results if result.processes)
    for contestant in contestants:
        shown.add_column(contestant, justify="right")
    medians = {(result.figure, result.contestant): result.median for result in results}
    for figure in dict.fromkeys(result.figure for result in results):
        shown.add_row(figure, *(number(medians[figure, name]) for name in contestants))
    return shown


def reasons(results: list[Result]) -> list[str]:
    """Why figures are missing, a line each."""
    figures = {r.figure for r in results}
    missing: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.missing and not result.processes:
            missing.setdefault((result.contestant, result.missing), []).append(result.figure)
    lines = []
    for (name, reason), without in missing.items():
        which = "" if set(without) == figures else f" ({', '.join(without)})"
        lines.append(f"{CONTESTANTS[name].title}{which}: {reason}")
    return lines
