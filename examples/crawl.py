"""Crawl a documentation site, and keep the event loop free while its pages are parsed.

    python examples/crawl.py [--workers N] [--fetchers N]

A server in a process of its own (docserver.py, on the loopback interface) serves the reference
pages of the standard library, up to 500 kB each. From the index on, `httpx` fetches the pages and
`BeautifulSoup` finds the links in each, which say what to fetch next. That parsing is pure
Python: on plain threads it takes the GIL from the event loop, in interpreters it does not.

The same crawl runs once with a `ThreadPoolExecutor` and once with an
`InterpreterThreadPoolExecutor` as the loop's default executor, with as many workers. Beside it a
ticker sleeps 5 ms again and again: how much too late it wakes up is the lag that every other user
of the loop would see. The script exits with 1 if the two crawls differ.

The parser is `html.parser`: it is slower than `lxml`, which does not load in an interpreter.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import httpx
from bs4 import BeautifulSoup
from rich.console import Console
from rich.table import Table

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

SERVER = Path(__file__).with_name("docserver.py")
TICK = 0.005  # seconds

type Links = dict[str, int]  # how often a page links to each target
type Parse = Callable[[str], Links]


def count_links(html: str) -> Links:
    """How often a page links to what: the CPU-bound part of the crawl."""
    anchors = BeautifulSoup(html, "html.parser").find_all("a", href=True)
    return dict(Counter(str(anchor["href"]) for anchor in anchors))


@dataclass
class Crawl:
    """What one crawl found, and how late the event loop's ticks were meanwhile."""

    pages: dict[str, int] = field(default_factory=dict)  # links on each page, by its URL
    size: int = 0  # characters of HTML
    seconds: float = 0.0
    lags: list[float] = field(default_factory=list)  # seconds


async def tick(lags: list[float]) -> None:
    """Appends, until cancelled, how much too late each sleep of `TICK` seconds ended."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - start - TICK)


def targets(url: str, links: Links) -> set[str]:
    """The pages of the same site that `links`, found at `url`, lead to."""
    found = {urldefrag(urljoin(url, link)).url for link in links}
    return {target for target in found if httpx.URL(target).netloc == httpx.URL(url).netloc}


async def crawl(start: str, parse: Parse, fetchers: int) -> Crawl:
    """Fetches and parses every page that can be reached from `start`."""
    result = Crawl()
    seen = {start}
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(start)

    async def fetch() -> None:
        while True:
            url = await queue.get()
            response = await client.get(url)
            if response.status_code != httpx.codes.NOT_FOUND:
                html = response.raise_for_status().text
                links = await asyncio.to_thread(parse, html)
                result.pages[url] = sum(links.values())
                result.size += len(html)
                for target in sorted(targets(url, links) - seen):
                    seen.add(target)
                    queue.put_nowait(target)
            queue.task_done()

    async with httpx.AsyncClient() as client, cancelled_at_exit(tick(result.lags)):
        begun = time.perf_counter()
        async with cancelled_at_exit(*(fetch() for _ in range(fetchers))):
            await queue.join()
        result.seconds = time.perf_counter() - begun
    return result


@asynccontextmanager
async def cancelled_at_exit(*coroutines: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Runs coroutines that never end beside the block; what one of them raises ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        yield
        for task in tasks:
            task.cancel()


async def warm_up(parse: Parse, workers: int) -> float:
    """Has every worker parse something, so that it has its imports; the seconds it took."""
    start = time.perf_counter()
    html = "<a href='x'></a>" * 2000
    await asyncio.gather(*(asyncio.to_thread(parse, html) for _ in range(2 * workers)))
    return time.perf_counter() - start


async def idle(seconds: float) -> Crawl:
    """The lag of a loop that has nothing else to do, for comparison."""
    result = Crawl()
    async with cancelled_at_exit(tick(result.lags)):
        await asyncio.sleep(seconds)
    return result


@asynccontextmanager
async def documentation_server() -> AsyncIterator[str]:
    """Runs docserver.py; the address of its index page."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, SERVER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = (await process.stdout.readline()).decode().strip()
        if not address:
            raise RuntimeError("the documentation server did not start")
        yield address
    finally:
        process.stdin.close()  # the server ends with its standard input
        await process.wait()


def row(name: str, run: Crawl, warm: float | None = None) -> list[str]:
    """A row of the table for one run."""
    lags = [lag * 1000 for lag in run.lags]
    percentiles = statistics.quantiles(lags, n=100, method="inclusive")
    cells = [name, *(f"{lag:.1f}" for lag in (percentiles[49], percentiles[98], max(lags)))]
    if warm is None:
        return [*cells, *["-"] * 4]
    links = sum(run.pages.values())
    return [*cells, f"{warm:.2f}", f"{run.seconds:.2f}", f"{len(run.pages)}", f"{links:,}"]


async def main(workers: int, fetchers: int, console: Console) -> int:
    """Both crawls and the table; the exit status."""
    runs: list[tuple[str, ThreadPoolExecutor, Parse]] = [
        ("threads", ThreadPoolExecutor(workers), count_links),
        ("interpreters", InterpreterThreadPoolExecutor(workers), interpreter(count_links)),
    ]
    table = Table("parsed on", caption="lag in milliseconds; warm-up and crawl in seconds")
    for heading in ("lag p50", "p99", "max", "warm-up", "crawl", "pages", "links"):
        table.add_column(heading, justify="right")

    crawls: list[Crawl] = []
    with console.status("rendering the pages") as status:
        async with documentation_server() as address:
            table.add_row(*row("(idle loop)", await idle(1.0)))
            for name, executor, parse in runs:
                status.update(f"crawling, parsing on {name}")
                asyncio.get_running_loop().set_default_executor(executor)
                warm = await warm_up(parse, workers)
                crawls.append(await crawl(address, parse, fetchers))
                table.add_row(*row(name, crawls[-1], warm))
                executor.shutdown()
    size = crawls[0].size / 1e6
    table.title = f"The standard library's reference, {size:.1f} MB of HTML, {workers} workers"
    console.print(table)

    if crawls[0].pages != crawls[1].pages or not crawls[0].pages:
        print("the two crawls did not find the same links", file=sys.stderr)
        return 1
    return 0


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--workers", type=int, default=os.process_cpu_count() or 1)
parser.add_argument("--fetchers", type=int, default=8, help="requests under way at a time")
options = parser.parse_args()
if options.workers < 1 or options.fetchers < 1:
    parser.error("--workers and --fetchers must be at least 1")
sys.exit(asyncio.run(main(options.workers, options.fetchers, Console())))
