"""What the checks with many processes share: run them two at a time, judge each, count, and report.

A run is described by (number, seed): who sees a failure starts that one again with `--only NUMBER`
and the seed that was printed.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
JOBS = HERE.parent / "py"  # the folder of jobs.py and harness.py, which workers import
CRASHES = ("Fatal Python error", "Segmentation fault", "Assertion", "double free", "corrupt",
           "remaining subinterpreters", "AddressSanitizer", "runtime error:")  # fmt: skip


def environment() -> dict[str, str]:
    path = [str(JOBS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


def parser(doc: str, count: int) -> argparse.ArgumentParser:
    """The options that these checks have in common."""
    options = argparse.ArgumentParser(description=doc.splitlines()[0])
    options.add_argument("--count", type=int, default=count, help=f"processes ({count})")
    options.add_argument("--seed", type=int, help="what the last line of a failed run says")
    options.add_argument("--only", type=int, help="the number of one process to run again")
    options.add_argument("--limit", type=float, default=60, help="seconds for one process")
    options.add_argument("--processes", type=int, default=2, help="at the same time (2)")
    options.add_argument("--json", type=Path, help="a file for the counts")
    return options


class Ended:
    """How a child ended: `code`, `stdout`, `stderr`, `hung`."""

    def __init__(self, code: int, stdout: str, stderr: str, hung: bool):
        self.code, self.stdout, self.stderr, self.hung = code, stdout, stderr, hung

    def crash(self) -> str:
        """Why this is a crash or a hang, or ''."""
        if self.hung:
            return "hung"
        if -self.code in {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL}:
            return f"crashed: {signal.Signals(-self.code).name}"
        return next((f"says {text!r}" for text in CRASHES if text in self.stderr), "")


class Child:
    """One Python process in a session of its own, so that all it leaves can be ended."""

    def __init__(self, arguments: list[str], limit: float, **changes: str):
        self._deadline = time.monotonic() + limit
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment() | changes,
            start_new_session=True,
        )

    def wait_for_line(self) -> str:
        """The first line that it says, or '' when it has ended."""
        return self._process.stdout.readline()

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> Ended:
        hung = False
        try:
            out, err = self._process.communicate(
                timeout=max(0.1, self._deadline - time.monotonic())
            )
        except subprocess.TimeoutExpired:
            hung = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGABRT)  # faulthandler prints the stacks
            time.sleep(1)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            out, err = self._process.communicate()
        return Ended(self._process.returncode, out, err, hung)


Judged = tuple[str, str, str]  # the kind of run, what was wrong or '', and what it said


def run_many(options: argparse.Namespace, name: str, run: Callable[..., Judged]) -> int:
    """Call run(number, random, limit) for each number; the exit code of the whole."""
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    numbers = range(options.count) if options.only is None else [options.only]

    def one(number: int) -> tuple[int, Judged]:
        return number, run(number, random.Random(f"{seed}:{number}"), options.limit)

    began = time.monotonic()
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    with concurrent.futures.ThreadPoolExecutor(options.processes) as threads:
        for number, (kind, wrong, said) in unordered(threads, one, numbers):
            counts[kind]["failed" if wrong else "passed"] += 1
            if wrong:
                print(f"FAILED {name} {kind}: {wrong}: --seed {seed} --only {number}\n{said}")
                sys.stdout.flush()
    passed = sum(count["passed"] for count in counts.values())
    failed = sum(count["failed"] for count in counts.values())
    for kind, count in sorted(counts.items()):
        print(f"  {kind:<28} {count['passed']:>5} passed {count['failed']:>4} failed")
    version = sys.version.split()[0]
    seconds = time.monotonic() - began
    print(f"{name}, Python {version}, seed {seed}: {passed} processes as they should end, "
          f"{failed} not, {seconds:.0f} s")  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps({"passed": passed, "failed": failed}))
    return 1 if failed or not passed else 0


def unordered(threads, function, items) -> Iterator:
    for future in concurrent.futures.as_completed([threads.submit(function, i) for i in items]):
        yield future.result()
