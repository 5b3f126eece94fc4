"""Processes that exit at a random moment amid mixed work, in every way that a program can end.

    exits.py --count 1000        # about ten a second on two cores

Each process works with an executor (tagged and plain tasks, errors, values that cannot be sent,
callbacks, map, prestart, an event loop), and ends at a moment of its own, in the way whose turn it
is. It must end within the limit, with the right exit status, without a crash, and saying nothing on
stderr but what its way of ending makes Python say.
"""

import asyncio
import atexit
import concurrent.futures
import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time

import processes

TRACEBACK = "Traceback"
# way to end: (exit status, what stderr may contain)
ENDINGS = {
    "return": (0, ""),
    "sys.exit": (3, ""),
    "exception": (1, TRACEBACK),
    "os._exit": (4, ""),
    "SIGINT": (-signal.SIGINT, TRACEBACK),
    "SIGTERM": (-signal.SIGTERM, ""),
    "global": (0, ""),
    "cycle": (0, ""),
    "daemon": (0, ""),
    "atexit": (0, ""),
    "parked": (0, ""),
    "with": (1, TRACEBACK),
    "asyncio SIGINT": (-signal.SIGINT, TRACEBACK),
    "shutdown": (0, ""),
    "main thread": (0, ""),
}
LATEST = 0.15  # seconds from the beginning of the work to the end of the process


# --- the parent ----------------------------------------------------------------------------------


def run(number, chance, limit):
    names = list(ENDINGS)
    ending = names[number % len(names)]
    child = processes.Child([__file__, "--child", ending, str(chance.random())], limit)
    child.wait_for_line()
    if ending.endswith("SIGINT") or ending == "SIGTERM":
        time.sleep(chance.uniform(0, LATEST))
        for _ in range(5):  # code that swallows a KeyboardInterrupt (a destructor) may be hit
            child.send(getattr(signal, ending.split()[-1]))
            if child.ends_within(limit / 10):
                break
    ended = child.end()
    return ending, judge(ended, *ENDINGS[ending]), ended.stdout + ended.stderr


def judge(ended, code, allowed):
    if ended.crash():
        return ended.crash()
    if ended.code != code:
        return f"exit status {ended.code} instead of {code}"
    if not allowed and ended.stderr:
        return "said something on stderr"
    if "Exception ignored" in ended.stderr:
        return "an exception was ignored"
    return ""


# --- the child -----------------------------------------------------------------------------------


def work(executor, chance, count):
    """Some of everything; the futures. Raises RuntimeError once the executor takes no more."""
    import jobs

    from aiointerpreters import interpreter

    futures = []
    for n in range(count):
        tag = chance.choice([interpreter, interpreter, lambda function: function])
        match chance.randrange(11):
            case 0:
                futures.append(executor.submit(tag(jobs.raise_value_error), str(n)))
            case 1:
                futures.append(executor.submit(interpreter(jobs.identity), threading.Lock()))
            case 2:
                futures.append(executor.submit(tag(time.sleep), chance.uniform(0, 0.02)))
            case 3:
                futures.append(executor.submit(tag(sum), range(chance.randrange(200_000))))
            case 4:
                executor.submit(tag(jobs.add), n, 1).add_done_callback(lambda f: f.cancelled())
            case 5:
                executor.map(tag(abs), range(chance.randrange(20)))
            case 6:
                executor.prestart(chance.randrange(3))
            case 7:
                futures.append(executor.submit(tag(len), memoryview(bytearray(100_000))))
            case 8:
                executor.submit(tag(jobs.add), n).cancel()
            case 9:
                futures.append(executor.submit(tag(bytes), 200_000))
            case _:
                futures.append(executor.submit(tag(jobs.add), n, 1))
    if futures and chance.random() < 0.3:
        with contextlib.suppress(concurrent.futures.CancelledError):  # by a shutdown, or a Ctrl-C
            chance.choice(futures).exception()
    return futures


def run_loop(executor, chance):
    """Mixed work through an event loop, in a thread of its own, until nothing more is taken."""

    async def main():
        loop = asyncio.get_running_loop()
        executor.set_as_event_loop_default(loop)
        while True:
            futures = [asyncio.wrap_future(f) for f in work(executor, chance, 5)]
            await asyncio.gather(*futures, return_exceptions=True)

    with contextlib.suppress(RuntimeError):
        asyncio.run(main())


def child(ending, seed):
    from aiointerpreters import InterpreterThreadPoolExecutor

    chance = random.Random(seed)
    workers = chance.choice([1, 2, 4])
    options = {"max_interpreters": min(workers, chance.choice([1, 2]))}
    if chance.random() < 0.3:
        options["preload"] = ["json"]
    executor = InterpreterThreadPoolExecutor(workers, **options)
    moment = time.monotonic() + chance.uniform(0, LATEST)
    print("working", flush=True)
    if chance.random() < 0.3:  # daemon: a thread that is not would keep the process
        other = random.Random(chance.random())
        threading.Thread(target=run_loop, args=(executor, other), daemon=True).start()
    if ending in ("SIGINT", "SIGTERM"):
        while True:
            work(executor, chance, 5)[-1:]
    if ending == "asyncio SIGINT":
        return asyncio.run(until_interrupted(executor, chance))
    keep = [work(executor, chance, 3)]
    while time.monotonic() < moment:
        keep.append(work(executor, chance, 1))
    return END[ending](executor, chance, keep)


async def until_interrupted(executor, chance):
    executor.set_as_event_loop_default()
    loop = asyncio.get_running_loop()
    while True:
        futures = [asyncio.wrap_future(f) for f in work(executor, chance, 5)]
        futures.append(loop.run_in_executor(None, abs, -1))
        await asyncio.gather(*futures, return_exceptions=True)


def end_raising(executor, chance, keep):
    raise LookupError("the end")


def end_as_global(executor, chance, keep):
    sys.modules["json"].executor = executor
    globals().update(executor=executor, keep=keep)


def end_in_cycle(executor, chance, keep):
    cycle = [executor, keep]
    cycle.append(cycle)
    executor.itself = cycle
    if chance.random() < 0.5:
        del executor, keep, cycle
        gc.collect()


def end_beside_daemon(executor, chance, keep):
    def submit_on_and_on():
        with contextlib.suppress(RuntimeError):
            while True:
                work(executor, random.Random(0), 2)

    for _ in range(2):
        threading.Thread(target=submit_on_and_on, daemon=True).start()


def end_with_atexit(executor, chance, keep):
    from aiointerpreters import InterpreterThreadPoolExecutor

    def use(one):
        with contextlib.suppress(RuntimeError):
            for future in work(one, random.Random(1), 3):
                future.exception()

    atexit.register(use, executor)
    atexit.register(lambda: use(InterpreterThreadPoolExecutor(1)))


def end_with_parked(executor, chance, keep):
    from aiointerpreters import _core

    never = _core.executor_types()[0]()  # a future that nobody will end
    for future in [never, *keep[0]]:
        threading.Thread(target=future.exception, daemon=True).start()


def end_in_with(executor, chance, keep):
    with executor:
        work(executor, chance, 3)
        raise LookupError("the end")


def end_by_shutdown(executor, chance, keep):
    threading.Thread(target=executor.shutdown, daemon=True).start()
    executor.shutdown(wait=chance.random() < 0.5, cancel_futures=chance.random() < 0.5)


def end_before_other_threads(executor, chance, keep):
    """The main thread returns; another one, which is no daemon, goes on for a while."""

    def go_on():
        with contextlib.suppress(RuntimeError):
            for _ in range(5):
                work(executor, random.Random(2), 2)

    threading.Thread(target=go_on).start()


END = {
    "return": lambda executor, chance, keep: None,
    "sys.exit": lambda executor, chance, keep: sys.exit(3),
    "exception": end_raising,
    "os._exit": lambda executor, chance, keep: os._exit(4),
    "global": end_as_global,
    "cycle": end_in_cycle,
    "daemon": end_beside_daemon,
    "atexit": end_with_atexit,
    "parked": end_with_parked,
    "with": end_in_with,
    "shutdown": end_by_shutdown,
    "main thread": end_before_other_threads,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], float(sys.argv[3]))
    else:
        sys.exit(processes.run_many(processes.parser(__doc__, 100).parse_args(), "exits", run))
