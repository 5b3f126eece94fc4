"""Mixed tasks from eight threads and an event loop at once: each future ends exactly once.

Counts add up, and memory is flat after a warm-up.

    soak.py --tasks 1000000      # about ten minutes on two cores

Each task is one of KINDS, drawn at random. For each the future's one end is counted by a callback
(a second call would be seen), and compared with what that kind of task must end with.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import faulthandler
import json
import os
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "py"))

import jobs
import stopping_jobs

from aiointerpreters import InterpreterThreadPoolExecutor, SendError, interpreter

SUBMITTERS = 8
AHEAD = 64  # futures that each submitter has under way
MEMORY_PARTS = 10  # the memory is looked at after each tenth of the tasks


def plain_or_tagged(chance):
    return chance.choice([interpreter, lambda function: function])


# --- the kinds of tasks: (submit one, what its future may end with). A new kind is one line here.


def submit_ok(executor, chance, n):
    return executor.submit(plain_or_tagged(chance)(jobs.add), n, 1)


def submit_error(executor, chance, n):
    return executor.submit(plain_or_tagged(chance)(jobs.raise_value_error), str(n))


def submit_unsendable(executor, chance, n):
    return executor.submit(interpreter(jobs.identity), LOCK)


def submit_unsendable_result(executor, chance, n):
    return executor.submit(interpreter(threading.Lock))


def submit_and_cancel(executor, chance, n):
    future = executor.submit(plain_or_tagged(chance)(jobs.add), n, 1)
    future.cancel()
    return future


def submit_buffer(executor, chance, n):
    return executor.submit(
        plain_or_tagged(chance)(len), memoryview(bytearray(chance.randrange(5000)))
    )


def submit_large(executor, chance, n):
    return executor.submit(interpreter(bytes), 100_000)


def submit_and_interrupt(executor, chance, n):
    future = executor.submit(interpreter(stopping_jobs.spin), SINK)
    threading.Timer(chance.uniform(0, 0.005), future.cancel).start()
    return future


def submit_with_timeout(executor, chance, n):
    timeout = chance.uniform(0.0005, 0.003)
    return executor.submit(interpreter(stopping_jobs.spin, timeout=timeout), SINK)


LOCK = threading.Lock()
SINK = os.open(os.devnull, os.O_WRONLY)
KINDS = {
    "ok": (submit_ok, {"value"}, 50),
    "error": (submit_error, {"ValueError"}, 15),
    "unsendable": (submit_unsendable, {"SendError"}, 5),
    "unsendable result": (submit_unsendable_result, {"SendError"}, 5),
    "cancel": (submit_and_cancel, {"cancelled", "value"}, 15),
    "buffer": (submit_buffer, {"value"}, 8),
    "large": (submit_large, {"value"}, 2),
    "interrupt": (submit_and_interrupt, {"cancelled"}, 0.5),
    "timeout": (submit_with_timeout, {"TimeoutError"}, 0.5),
}
NAMES, WEIGHTS = list(KINDS), [weight for _, _, weight in KINDS.values()]


class Tally:
    """Who ended how, counted under a lock; callbacks come from many threads."""

    def __init__(self, tasks):
        self._part = tasks // MEMORY_PARTS
        self.memory = []  # resident MiB after each part
        self._lock = threading.Lock()
        self.ends = collections.Counter()  # (kind, end)
        self.submitted = collections.Counter()
        self.wrong = []

    def watch(self, kind, future):
        with self._lock:
            self.submitted[kind] += 1
            if sum(self.submitted.values()) % self._part == 0:
                self.memory.append(resident())
        told = []  # by this future, however often

        def ended(done):
            told.append(done)
            end = end_of(done)
            with self._lock:
                self.ends[kind, end] += 1
                if len(told) > 1 or done is not future or end not in KINDS[kind][1]:
                    self.wrong.append((kind, end, len(told)))

        future.add_done_callback(ended)
        return future


def end_of(future):
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    if error is None:
        return "value"
    return "SendError" if isinstance(error, SendError) else type(error).__name__


def submit_share(executor, tally, chance, count):
    """The share of one thread: some futures ahead, the oldest awaited."""
    ahead = collections.deque()
    for n in range(count):
        kind = chance.choices(NAMES, WEIGHTS)[0]
        ahead.append(tally.watch(kind, KINDS[kind][0](executor, chance, n)))
        if len(ahead) >= AHEAD:
            concurrent.futures.wait([ahead.popleft()])
    concurrent.futures.wait(ahead)


async def submit_in_loop(executor, tally, chance, count):
    """The same through an event loop, which cancels some of its own."""
    done = 0
    while done < count:
        batch = min(AHEAD, count - done)
        futures = []
        for n in range(batch):
            kind = chance.choices(NAMES, WEIGHTS)[0]
            future = tally.watch(kind, KINDS[kind][0](executor, chance, n))
            futures.append(asyncio.wrap_future(future))
        await asyncio.gather(*futures, return_exceptions=True)
        done += batch


def resident():
    """Resident memory of this process in MiB."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


def run_all(executor, tally, seed, tasks):
    share = tasks // (SUBMITTERS + 1)
    errors = []

    def life(function, *args):
        try:
            function(*args)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [
        threading.Thread(target=life, args=(submit_share, executor, tally,
                                            random.Random(f"{seed}:{n}"), share))
        for n in range(SUBMITTERS)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    asyncio.run(
        submit_in_loop(executor, tally, random.Random(f"{seed}:loop"), tasks - SUBMITTERS * share)
    )
    for thread in threads:
        thread.join()
    assert not errors, errors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100_000, help="how many in all (100000)")
    parser.add_argument("--seed", type=int, help="what the last line of a failed run says")
    parser.add_argument(
        "--limit", type=float, default=3600, help="seconds until stacks are printed"
    )
    parser.add_argument("--growth", type=float, default=16, help="MiB of growth after the warm-up")
    parser.add_argument(
        "--recycle", type=int, default=5000, help="tasks per interpreter, but on 3.13 (5000)"
    )
    parser.add_argument("--json", type=Path, help="a file for the counts")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    faulthandler.dump_traceback_later(options.limit, exit=True)
    tally, began = Tally(options.tasks), time.monotonic()
    recycle = options.recycle if sys.version_info >= (3, 14) else None  # 3.13 leaks
    with InterpreterThreadPoolExecutor(
        4, max_interpreters=2, max_tasks_per_interpreter=recycle
    ) as executor:
        run_all(executor, tally, seed, options.tasks)
        recycled = executor.stats().recycled
    seconds = time.monotonic() - began
    submitted, ended = sum(tally.submitted.values()), sum(tally.ends.values())
    for kind in NAMES:
        ends = {end: count for (name, end), count in sorted(tally.ends.items()) if name == kind}
        print(f"  {kind:<20} {tally.submitted[kind]:>8} submitted, ended: {ends}")
        if sum(ends.values()) != tally.submitted[kind]:
            tally.wrong.append((kind, ends))
    # The first three tenths are the warm-up.
    growth = max(tally.memory[3:]) - tally.memory[2]
    print(f"  resident MiB after each tenth: {' '.join(f'{size:.0f}' for size in tally.memory)}")
    if growth > options.growth:
        tally.wrong.append(f"memory grew by {growth:.1f} MiB after the warm-up")
    for wrong in tally.wrong[:20]:
        print(f"FAILED soak: {wrong}: --seed {seed}")
    print(f"soak, Python {sys.version.split()[0]}, seed {seed}: {submitted} futures, {ended} ends, "
          f"{len(tally.wrong)} wrong, {recycled} interpreters recycled, "
          f"growth {growth:.1f} MiB, {seconds:.0f} s")  # fmt: skip
    if options.json is not None:
        passed = int(not tally.wrong)
        options.json.write_text(json.dumps({"passed": passed, "failed": 1 - passed}))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
