"""Runs CPython's own tests of ThreadPoolExecutor against this project's executor.

usage: python tests/cpython/run.py [--json FILE] [-k TEXT] [--verbose] [--list] [SUITE ...]

The tests come out of the `test` package of the Python that runs this. Each suite (suites.py) runs
in a process of its own, in which, and in whose child processes, `replaced/sitecustomize.py` has put
the project's executor in the place of `concurrent.futures.ThreadPoolExecutor`. A suite also fails
if an executor was made that is not ours, if none of ours was made, if a test left threads behind,
or if it ran past its time limit; then the stacks of all threads are printed.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from suites import EXCLUDED, SUITES  # noqa: E402

EXECUTOR = "aiointerpreters.executors:InterpreterThreadPoolExecutor"
GRACE = 30  # seconds that a suite has to print its stacks and end, after its own time limit


def environment(folder: Path, executor: str, our_future: bool) -> dict[str, str]:
    """A suite's environment: the replacement first on the path, then the caller's own path."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [str(HERE / "replaced"), *(os.path.abspath(part) for part in inherited if part)]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        "AIOINTERPRETERS_SUITE_LOG": str(folder / "log"),
        "AIOINTERPRETERS_SUITE_EXECUTOR": executor,
        "AIOINTERPRETERS_SUITE_FUTURE": "1" if our_future else "0",
    }


def finish(process: subprocess.Popen, seconds: float) -> int | str:
    """Wait for the end of `process`, then end what it left in its group; how it ended."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return "no end"
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def run(suite, options) -> dict:
    """Run one suite; its counts, and under "output" what it printed."""
    limit = options.seconds or suite.seconds
    with tempfile.TemporaryDirectory(prefix="aiointerpreters-") as name:
        folder = Path(name)
        (folder / "work").mkdir()
        command = [sys.executable, HERE / "suite.py", suite.name, str(limit)]
        command += [folder / "log", folder / "result"]
        started = time.monotonic()
        # To a file, not a pipe: a grandchild that outlives the suite would keep a pipe open.
        with open(folder / "output", "wb") as output:
            process = subprocess.Popen(
                command + ([options.text] if options.text else []),
                env=environment(folder, options.executor, suite.our_future),
                cwd=folder / "work",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = finish(process, limit + GRACE)
        printed = (folder / "output").read_text(errors="replace")
        counts = {"passed": 0, "failed": 0, "skipped": 0, "failures": []}
        if (folder / "result").exists():
            counts |= json.loads((folder / "result").read_text())
        if code != 0 and not counts["failed"]:
            counts["failed"] = 1
            counts["failures"] = [f"the suite's process ended with {code}"]
        return counts | {"seconds": round(time.monotonic() - started, 1), "output": printed}


def describe(suite, counts: dict) -> str:
    made = [f"{counts.get(kind, 0)} {kind}" for kind in ("executors", "futures", "scripts")]
    return (
        f"{suite.name:<33} {counts['passed']:>3} passed, {counts['failed']} failed, "
        f"{counts['skipped']} skipped   ({', '.join(made)}, {counts['seconds']} s)"
    )


def options_from_command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="CPython's own tests of ThreadPoolExecutor, on this project's executor."
    )
    parser.add_argument("suites", nargs="*", help="only the suites whose name contains this")
    parser.add_argument("-k", dest="text", help="only the tests whose id contains this")
    parser.add_argument("--json", metavar="FILE", help="write the counts there")
    parser.add_argument("--seconds", type=float, help="time limit of each suite, for its own")
    parser.add_argument(
        "--executor", default=EXECUTOR, metavar="MODULE:CLASS", help="another class to test"
    )
    parser.add_argument("--verbose", action="store_true", help="print what passing suites print")
    parser.add_argument("--list", action="store_true", help="print suites and excluded tests")
    return parser.parse_args()


def main() -> int:
    options = options_from_command_line()
    chosen = [
        suite
        for suite in SUITES
        if not options.suites or any(text in suite.name for text in options.suites)
    ]
    if options.list:
        for suite in chosen:
            print(f"{suite.name:<33} {suite.module}")
        for test, reason in EXCLUDED.items():
            print(f"excluded: {test}: {reason}")
        return 0
    if importlib.util.find_spec("test.test_concurrent_futures") is None:
        print(f"{sys.executable} has no `test` package with CPython's own tests", file=sys.stderr)
        return 2
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    suites = {}
    for suite in chosen:
        if importlib.util.find_spec(suite.module) is None:
            print(f"{suite.name:<33} is not among the tests of this Python", flush=True)
            continue
        counts = run(suite, options)
        output = counts.pop("output")
        suites[suite.name] = counts
        for key in totals:
            totals[key] += counts[key]
        print(describe(suite, counts), flush=True)
        if counts["failed"] or options.verbose:
            print(output)
        for failure in counts["failures"]:
            print(f"failed: {failure}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(totals | {"suites": suites}, indent=1) + "\n")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**totals))
    return 1 if totals["failed"] or not totals["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
