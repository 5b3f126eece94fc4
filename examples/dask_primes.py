"""Sum the primes below a limit on a Dask worker, on its threads and in its interpreters.

    python examples/dask_primes.py [--limit N] [--workers N]

One cluster, one worker process, the same tasks: only `dask.annotate(executor="interpreters")` makes
the difference. With threads, a worker computes on one core; otherwise one has to give each core a
worker process of its own, which then holds its own copy of the data. A sieve checks the results.

Needs `pip install 'aiointerpreters[dask,examples]'`.
"""

import argparse
import os
import sys
import time
from itertools import compress, pairwise
from math import isqrt

import dask
from distributed import Client, LocalCluster
from rich.console import Console
from rich.table import Table

from aiointerpreters.dask import Interpreters


def is_prime(n: int) -> bool:
    """Trial division, slow on purpose: this is the work to be shared out."""
    if n < 4:
        return n > 1
    if n % 2 == 0 or n % 3 == 0:
        return False
    return all(n % d and n % (d + 2) for d in range(5, isqrt(n) + 1, 6))


def prime_sum(start: int, stop: int) -> int:
    """The sum of the primes in one span."""
    return sum(n for n in range(start, stop) if is_prime(n))


def sieve_sum(limit: int) -> int:
    """The sum of the primes below `limit` by another method, to check the others with."""
    sieve = bytearray([0, 0]) + bytearray([1]) * (limit - 2)
    for n in range(2, isqrt(limit) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, limit, n)))
    return sum(compress(range(limit), sieve))


def timed(client: Client, limit: int, parts: int) -> tuple[int, float]:
    """The sum, as a graph of `parts` tasks and one that adds, and the seconds that it took."""
    bounds = pairwise(limit * part // parts for part in range(parts + 1))
    start = time.perf_counter()
    sums = [client.submit(prime_sum, *span, pure=False) for span in bounds]
    total = client.submit(sum, sums, pure=False).result()
    return total, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limit", type=int, default=2_000_000, help="sum the primes below it")
    parser.add_argument("--workers", type=int, default=os.process_cpu_count() or 1)
    options = parser.parse_args()
    if options.limit < 2 or options.workers < 1:
        parser.error("--workers must be at least 1 and --limit at least 2")

    cluster = LocalCluster(
        n_workers=1,
        threads_per_worker=options.workers,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )
    client = Client(cluster)
    client.register_plugin(Interpreters())
    results = {"threads": timed(client, options.limit, 60)}
    with dask.annotate(executor="interpreters"):
        timed(client, 1_000, 60)  # makes the interpreters
        results["interpreters"] = timed(client, options.limit, 60)
    client.shutdown()

    expected = sieve_sum(options.limit)
    table = Table(
        title=f"The primes below {options.limit:,}, a worker of {options.workers} threads"
    )
    table.add_column("run")
    for heading in ("sum", "seconds", "speed-up"):
        table.add_column(heading, justify="right")
    for name, (total, seconds) in results.items():
        speedup = results["threads"][1] / seconds
        table.add_row(name, f"{total:,}", f"{seconds:.2f}", f"{speedup:.2f}x")
    Console().print(table)
    if any(total != expected for total, _ in results.values()):
        sys.exit("the runs do not agree with the sieve")


if __name__ == "__main__":
    main()
