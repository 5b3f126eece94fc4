"""Measure this project beside the executors that people use today, and beside a floor in C.

    python benchmarks/run.py [--quick] [--only MEASURE,…] [--contestants NAME,…]

Every measure runs for every contestant in a process of its own, in turn (A B C A B C …), after a
warm-up. A process gives the median of its samples; the tables show the median of the processes
and their lowest and highest. What was aimed at, and what this run reached, comes last. The results
also go to a JSON file below benchmarks/results/, and as a picture beside it; compare.py compares
two such files, and targets.py and plot.py show one again.

`make bench` installs a wheel of this checkout first. The first run also makes an environment, below
.cache/, with the pure-Python predecessor from the package index; where that cannot be had, it is
left out, and said so.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import environments
import measures
import results
import targets
from contestants import CONTESTANTS

HERE = Path(__file__).resolve().parent
TIME_LIMIT = 180  # seconds for one process
MOST_TABLES = 4  # a measure with more figures has one table for all

# What the processes of a (measure, contestant) printed.
type Runs = dict[tuple[str, str], list[dict[str, Any]]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog=f"measures: {', '.join(measures.ALL)}"
    )
    parser.add_argument("--quick", action="store_true", help="a few minutes, rough figures")
    parser.add_argument("--only", help="measures, comma between them", default="")
    parser.add_argument("--contestants", help=f"of {', '.join(CONTESTANTS)}", default="")
    parser.add_argument("--processes", type=int, help="for each contestant and measure")
    parser.add_argument("--reference", choices=CONTESTANTS, help="what the ratios are against")
    parser.add_argument("--output", type=Path, help="the JSON file")
    options = parser.parse_args()
    options.only = chosen(parser, options.only, list(measures.ALL))
    options.contestants = chosen(parser, options.contestants, list(CONTESTANTS))
    options.processes = options.processes or (3 if options.quick else 7)
    if options.processes < 1:
        parser.error("--processes must be at least 1")
    return options


def chosen(parser: argparse.ArgumentParser, text: str, known: list[str]) -> list[str]:
    """The names in `text`, in the order of `known`; all, if it names none."""
    names = text.split(",") if text else known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if name in names]


def make_environments(names: list[str], console: Console) -> dict[str, Path | str]:
    """The Python of each environment that is needed, or why it cannot be had."""
    made: dict[str, Path | str] = {}
    able = [CONTESTANTS[name] for name in names if sys.version_info >= CONTESTANTS[name].minimum]
    for name in dict.fromkeys(contestant.environment for contestant in able):
        with console.status(f"making the environment {name!r}"):
            try:
                made[name] = environments.MAKERS[name]()
            except environments.Absent as reason:
                made[name] = str(reason)
                console.print(f"[yellow]left out: {reason}[/yellow]", highlight=False)
    return made


def run_once(python: Path | str, measure: str, contestant: str, quick: bool) -> dict[str, Any]:
    """What child.py printed."""
    if isinstance(python, str):
        return {"absent": python}
    command = [python, HERE / "child.py", measure, contestant, *(["--quick"] * quick)]
    path = os.pathsep.join([str(HERE), str(environments.CACHE)])  # workers see it, too
    environment = {**os.environ, "PYTHONPATH": path}
    # Workers import what they run: from the cache of byte code, as they would anywhere.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    # Files, not pipes: what a failed measure leaves behind would keep a pipe open.
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=complained,
            process_group=0,
        )
        try:
            status = child.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            return {"error": f"took longer than {TIME_LIMIT} s"}
        finally:
            end(child)
        said.seek(0)
        complained.seek(0)
        try:
            return json.loads(said.read())
        except ValueError:
            message = complained.read().strip().splitlines()[-1:] or [f"exit status {status}"]
            return {"error": message[0].replace(str(environments.ROOT), "…")}


def end(child: subprocess.Popen[bytes]) -> None:
    """Ends `child`, if it still runs, and the processes that it left behind."""
    if child.poll() is None:
        child.kill()
        child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)


def run_all(
    options: argparse.Namespace, pythons: dict[str, Path | str], console: Console
) -> tuple[Runs, dict[str, float]]:
    """Every measure and contestant, `options.processes` times at most, in turn; the seconds that
    each measure took.
    """
    modules = {measure: import_module(f"measures.{measure}") for measure in options.only}
    turns = {
        measure: measures.processes(module, options.processes, options.quick)
        for measure, module in modules.items()
    }
    runs: Runs = {(m, name): [] for m in options.only for name in options.contestants}
    elapsed = dict.fromkeys(options.only, 0.0)
    columns = TextColumn("{task.description:34}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("", total=sum(turns.values()) * len(options.contestants))
        for turn in range(options.processes):
            for (measure, name), outcomes in runs.items():
                if turn >= turns[measure]:
                    continue
                progress.update(bar, description=f"{measure}: {name}")
                # Too old a Python for the contestant makes no environment; child.py says so.
                python = pythons.get(CONTESTANTS[name].environment, Path(sys.executable))
                if not any("figures" not in outcome for outcome in outcomes):
                    start = time.monotonic()
                    outcomes.append(run_once(python, measure, name, options.quick))
                    elapsed[measure] += time.monotonic() - start
                progress.advance(bar)
    return runs, elapsed


def pictures(everything: results.Results, path: Path, console: Console) -> list[Path]:
    """The files of the plot, beside `path`. None, and says so, where there is no matplotlib, or
    where none of the measures is in the plot.
    """
    try:
        import plot
    except ImportError as error:
        console.print(f"[yellow]no picture: {escape(str(error))}; `make bench` installs it[/]")
        return []
    try:
        return plot.draw(everything, path)
    except ValueError as error:
        console.print(f"[yellow]no picture: {escape(str(error))}[/]")
        return []


def failed(runs: Runs) -> bool:
    """Whether a measure of this project ended in an error; one that there is not is none."""
    ours = [outcomes for (_, name), outcomes in runs.items() if name in ("tagged", "untagged")]
    return any("error" in outcome for outcomes in ours for outcome in outcomes)


def main() -> int:
    options = arguments()
    console = Console(width=None if sys.stdout.isatty() else 120)
    machine = results.machine(options.quick, options.processes)
    if machine["load_at_start"] > 0.5:
        console.print(f"[yellow]this machine is busy: load {machine['load_at_start']}[/yellow]")
    environments.build()
    pythons = make_environments(options.contestants, console)
    runs, elapsed = run_all(options, pythons, console)
    machine["seconds"] = {measure: round(seconds) for measure, seconds in elapsed.items()}

    everything = results.Results(machine, [])
    references = [options.reference] if options.reference else ["interpreters", "threads"]
    for measure in options.only:
        module = import_module(f"measures.{measure}")
        rows = [
            result
            for name in options.contestants
            for result in results.collect(measure, name, module.FIGURES, runs[measure, name])
        ]
        everything.results += rows
        if len(module.FIGURES) > MOST_TABLES:
            console.print(results.wide_table(module.TITLE, rows))
        else:
            for figure in module.FIGURES:
                of_figure = [row for row in rows if row.figure == figure]
                console.print(results.table(module.TITLE, of_figure, references))
        for reason in results.reasons(rows):
            console.print(f"[dim]none: {escape(reason)}[/dim]", highlight=False)
        console.print()
    mode = "-quick" if options.quick else ""
    name = f"{machine['python']}-{machine['commit']}{mode}.json"
    path = options.output or results.FOLDER / name
    everything.save(path)
    console.print(targets.table(everything))
    took = ", ".join(f"{measure} {seconds:.0f}" for measure, seconds in elapsed.items())
    console.print(f"seconds: {took}; together {sum(elapsed.values()):.0f}", highlight=False)
    console.print(f"written to {os.path.relpath(path)}", highlight=False)
    for picture in pictures(everything, path, console):
        console.print(f"drawn in {os.path.relpath(picture)}", highlight=False)
    return failed(runs)


if __name__ == "__main__":
    sys.exit(main())
