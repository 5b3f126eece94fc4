"""Sum the primes below a limit three times: serially, on threads, and in interpreters.

    python examples/sums.py [--limit N] [--workers N]

The same function does the same work each time; only the executor differs. Threads share one GIL,
so they take as long as the serial run; interpreters have a GIL each and run in parallel. A sieve
checks every result, and the script exits with 1 if one is wrong.

This is a plain script on purpose: its functions live in `__main__`, there is no
`if __name__ == "__main__"` guard, and nothing here is run a second time in a worker.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import compress, pairwise
from math import isqrt

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

type Span = tuple[int, int]  # start and stop
type Run = Callable[[list[Span]], Iterable[int]]


def is_prime(n: int) -> bool:
    """Trial division, slow on purpose: this is the work to be shared out."""
    if n < 4:
        return n > 1
    if n % 2 == 0 or n % 3 == 0:
        return False
    return all(n % d and n % (d + 2) for d in range(5, isqrt(n) + 1, 6))


def prime_sum(span: Span) -> int:
    """The sum of the primes in one span."""
    return sum(n for n in range(*span) if is_prime(n))


def sieve_sum(limit: int) -> int:
    """The sum of the primes below `limit` by another method, to check the others with."""
    sieve = bytearray([0, 0]) + bytearray([1]) * (limit - 2)
    for n in range(2, isqrt(limit) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, limit, n)))
    return sum(compress(range(limit), sieve))


def split(limit: int, parts: int) -> list[Span]:
    """`parts` spans that cover 0 to `limit`."""
    return list(pairwise(limit * part // parts for part in range(parts + 1)))


def serially(spans: list[Span]) -> Iterable[int]:
    yield from map(prime_sum, spans)


def on_threads(spans: list[Span]) -> Iterable[int]:
    with ThreadPoolExecutor(options.workers) as executor:
        yield from executor.map(prime_sum, spans)


def in_interpreters(spans: list[Span]) -> Iterable[int]:
    with InterpreterThreadPoolExecutor(options.workers) as executor:
        yield from executor.map(interpreter(prime_sum), spans)


def timed(name: str, run: Run, spans: list[Span], progress: Progress) -> tuple[int, float]:
    """Runs `run` over the spans with a progress bar: the sum, and the seconds it took.

    The seconds include making the executor, and its interpreters, and shutting them down.
    """
    bar = progress.add_task(name, total=len(spans))
    total = 0
    start = time.perf_counter()
    for subtotal in run(spans):
        total += subtotal
        progress.advance(bar)
    return total, time.perf_counter() - start


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--limit", type=int, default=2_000_000, help="sum the primes below it")
parser.add_argument("--workers", type=int, default=os.process_cpu_count() or 1)
options = parser.parse_args()
if options.limit < 2 or options.workers < 1:
    parser.error("--limit must be at least 2 and --workers at least 1")

console = Console()
columns = TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn()
spans = split(options.limit, parts=60)
runs: dict[str, Run] = {
    "serial": serially,
    "threads": on_threads,
    "interpreters": in_interpreters,
}
with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
    results = {name: timed(name, run, spans, progress) for name, run in runs.items()}

expected = sieve_sum(options.limit)
table = Table(title=f"The primes below {options.limit:,}, {options.workers} workers")
table.add_column("run")
for heading in ("sum", "seconds", "speed-up"):
    table.add_column(heading, justify="right")
for name, (total, seconds) in results.items():
    speedup = results["serial"][1] / seconds
    verdict = "" if total == expected else f" [red](wrong: {expected:,})[/red]"
    table.add_row(name, f"{total:,}{verdict}", f"{seconds:.2f}", f"{speedup:.2f}x")
console.print(table)

if any(total != expected for total, _ in results.values()):
    sys.exit("the runs do not agree with the sieve")
