"""A web service, uvicorn and Starlette, with one route that computes for 20 ms and a trivial one.

The service is a process of its own (web_service.py), and so is what drives it over loopback
(load.c): twice as many connections as there are workers ask for the route that computes, one
request after the other, so that no worker is without work, and one connection asks for the trivial
one every 5 ms. That one's time counts from when its request was due.

The route awaits `asyncio.to_thread` on threads, `loop.run_in_executor` on interpreters and
processes, `executor.run` on this project.
"""

import json
import statistics
import subprocess
import sys
from contextlib import AbstractContextManager

from contestants import WORKERS, Contestant, name_of
from environments import CACHE, HERE
from measures import AS_THREADS, Figure, Outcome
from sampling import PATIENCE, percentile, serving

TITLE = "web service: a route that computes for 20 ms, and a trivial one beside it"
FIGURES = {
    "rate": Figure("requests/s", more_is_better=True),
    "trivial_p50": Figure("ms"),
    "trivial_p99": Figure("ms"),
}
PROCESSES = 4, 2
ABSENT = {
    "0.6.0-tagged": "its environment has no web server",
    "0.6.0-untagged": "its environment has no web server",
    "untagged": AS_THREADS.replace("its", "this project's"),
}

INTERVAL = 5_000  # microseconds between the requests for the trivial route


def plan(quick: bool) -> tuple[float, float]:
    """The seconds that count for nothing, and those that count."""
    return (0.3, 1.5) if quick else (1.0, 6.0)


def service(name: str) -> AbstractContextManager[str]:
    """The port of a service that runs while the body does."""
    return serving([sys.executable, HERE / "web_service.py", name])


def drive(port: str, quick: bool) -> tuple[list[float], list[float]]:
    """The milliseconds that each answer took: of the heavy route, and of the trivial one."""
    heavy, trivial = ["/heavy", 2 * WORKERS, 0], ["/trivial", 1, INTERVAL]
    command = [CACHE / "load", port, *plan(quick), *heavy, *trivial]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=2 * PATIENCE
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"load: exit {done.returncode}")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    return first, second


def run(contestant: Contestant, quick: bool) -> Outcome:
    with service(name_of(contestant)) as port:
        heavy, trivial = drive(port, quick)
    return {
        "rate": [len(heavy) / plan(quick)[1]],
        "trivial_p50": [statistics.median(trivial)],
        "trivial_p99": [percentile(trivial, 99)],
    }
