"""Interruptions in a row, with both workers busy: each hits its task, once, and no other.

    stops.py --count 10000      # about half a minute on two cores

In each round two tasks compute without end, one on each worker. Each is stopped, by `cancel()` or
by its time limit, and at once another one follows on that worker, which must not be hit. Now and
then a task is cancelled that ends by itself at about that time: either may come first.
"""

import argparse
import collections
import faulthandler
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

LIMIT = 0.003  # seconds that the tasks may run that their limit stops
NOBODY = -1  # a descriptor
# What the ledger says of each task: it began, how many interruptions, when (ns) the last one came.
BEGAN, HITS, ENDED = range(3)
FIELDS = 3


def endless(ledger: memoryview, number: int, said: int) -> None:
    try:
        ledger[FIELDS * number + BEGAN] = 1
        if said != NOBODY:
            os.write(said, b"S")
        while True:
            pass
    except BaseException:
        ledger[FIELDS * number + ENDED] = time.monotonic_ns()
        ledger[FIELDS * number + HITS] += 1
        raise


def add_up(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total


class Round:
    """Stop two tasks, and have others follow them."""

    def __init__(self, executor, ledger: memoryview, pipe: tuple[int, int], chance: random.Random):
        self._executor, self._ledger, self._chance = executor, ledger, chance
        self._listen, self._say = pipe
        self.ends: collections.Counter[str] = collections.Counter()
        self.latencies: list[float] = []  # milliseconds
        self.wrong: list[str] = []

    def _expect(self, what: str, future, end: str) -> None:
        """Note how it ended, which is a mistake unless it is `end`."""
        if future.cancelled():
            found = "cancelled"
        else:
            error = future.exception(60)
            found = "value" if error is None else type(error).__name__
        self.ends[f"{what}: {found}"] += 1
        if found != end:
            self.wrong.append(f"{what} ended as {found}, not {end}")

    def _follow(self) -> None:
        """Run something right away that must be left alone."""
        n = self._chance.randrange(2000)
        future = self._executor.submit(interpreter(add_up), n)
        self._followers.append((future, n))

    def run(self, first: int) -> None:
        """Stop the tasks `first` and `first + 1`."""
        numbers, self._followers = (first, first + 1), []
        limited = self._chance.random() < 0.3
        tag = interpreter(endless, timeout=LIMIT) if limited else interpreter(endless)
        said = NOBODY if limited else self._say
        futures = [self._executor.submit(tag, self._ledger, n, said) for n in numbers]
        begun = 0
        while not limited and begun < len(futures):
            begun += len(os.read(self._listen, len(futures) - begun))
        asked = {}
        for number, future in zip(numbers, futures, strict=True):
            if not limited:
                asked[number] = time.monotonic_ns()
                future.cancel()
            self._follow()
        if self._chance.random() < 0.3:
            racing = self._executor.submit(interpreter(add_up), self._chance.randrange(20000))
            add_up(self._chance.randrange(20000))
            racing.cancel()  # before, while, or after it runs
            self._follow()
            self.ends["racing: " + ("cancelled" if racing.cancelled() else "value")] += 1
        for future in futures:
            self._expect("limited" if limited else "cancelled", future,
                         "TimeoutError" if limited else "cancelled")  # fmt: skip
        for future, n in self._followers:
            self._expect("follower", future, "value")
            if not future.exception() and future.result() != n * (n - 1) // 2:
                self.wrong.append(f"a follower gave {future.result()} for {n}")
        # A follower on each of the two workers has ended, or one has run both.
        for future in [self._executor.submit(interpreter(add_up), 1) for _ in numbers]:
            self._expect("follower", future, "value")
        for number, when in asked.items():
            while not (ended := self._ledger[FIELDS * number + ENDED]):
                time.sleep(0.0001)  # it shares nothing else with us
            self.latencies.append((ended - when) / 1e6)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="interruptions (10000)")
    parser.add_argument("--seed", type=int, help="what the last line of a failed run says")
    parser.add_argument("--limit", type=float, default=1800, help="seconds until a dump")
    parser.add_argument("--json", type=Path, help="a file for the counts")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    faulthandler.dump_traceback_later(options.limit, exit=True)
    count = options.count + options.count % 2
    ledger = memoryview(bytearray(8 * FIELDS * count)).cast("q")
    pipe = os.pipe()
    start = time.monotonic()
    with InterpreterThreadPoolExecutor(4, max_interpreters=2) as executor:
        rounds = Round(executor, ledger, pipe, random.Random(seed))
        for first in range(0, count, 2):
            rounds.run(first)
    seconds = time.monotonic() - start
    wrong = rounds.wrong
    for number in range(count):
        began, hits = ledger[FIELDS * number + BEGAN], ledger[FIELDS * number + HITS]
        if hits > 1 or began > hits:  # a limit may have passed before the first line
            wrong.append(f"task {number}, of which {began} began, was interrupted {hits} times")
    for end, ends in sorted(rounds.ends.items()):
        print(f"  {end:<24} {ends:>8}")
    cuts = statistics.quantiles(rounds.latencies, n=100)
    print(f"  from cancel() to the interruption, ms: p50 {cuts[49]:.2f}, p99 {cuts[98]:.2f}, "
          f"max {max(rounds.latencies):.2f}")  # fmt: skip
    for line in wrong[:20]:
        print(f"FAILED stops: {line}: --seed {seed}")
    print(f"stops, Python {sys.version.split()[0]}, seed {seed}: {count} interruptions, "
          f"{len(wrong)} wrong, {seconds:.0f} s")  # fmt: skip
    if options.json is not None:
        passed = int(not wrong)
        options.json.write_text(json.dumps({"passed": passed, "failed": 1 - passed}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
