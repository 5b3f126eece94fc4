"""Has one allocation, thread, interpreter and lock after another fail, in a fixed set of workloads.

    faults.py                    # every one that the extension itself asks for, and all threads
    faults.py --memory 1         # also every allocation that Python makes on our thread's behalf
    faults.py --memory 20        # one in twenty of those

In each run the n-th call fails, or all from the n-th on. It must end; each accepted future ends, or
submit() has raised; afterwards the pool works, or is broken and says so; nothing crashes, and the
process exits with 0. faults.c says what can fail and how. One process does a workload again and
again, for n = 1, 2, ..., until there is no n-th call; if it dies, another goes on behind that n.
"""

import collections
import concurrent.futures
import contextlib
import ctypes
import importlib
import json
import os
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import processes

DIRECT, MEMORY, THREADS = 1, 2, 4
KINDS = {"direct": DIRECT, "memory": MEMORY, "threads": THREADS}
PATIENCE = 20  # seconds for anything that is expected to happen at once
BUILD = processes.HERE.parents[1] / "build" / "check"


# --- workloads: each accepts futures and lets MemoryError and RuntimeError out ------------------


class Run:
    """What one workload did: its executors, and the futures that they accepted."""

    def __init__(self, patience=PATIENCE):
        self.executors = []
        self.futures = []
        self.patience = patience  # seconds to wait for what may have been lost

    def executor(self, *args, **kwargs):
        from aiointerpreters import InterpreterThreadPoolExecutor

        self.executors.append(InterpreterThreadPoolExecutor(*args, **kwargs))
        return self.executors[-1]

    def submit(self, executor, function, *args, **kwargs):
        with contextlib.suppress(Exception):
            self.futures.append(executor.submit(function, *args, **kwargs))


def plain(run):
    import jobs

    executor = run.executor(2)
    for n in range(3):
        run.submit(executor, jobs.add, n, b=1)
    run.submit(executor, jobs.raise_value_error)


def tagged(run):
    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(2, max_interpreters=1)
    run.submit(executor, interpreter(jobs.add), 1, b=2)
    run.submit(
        executor, interpreter(jobs.identity), [(1, 2.5), {"a": b"b", 3: None}, {1, 2}, 2**70]
    )
    run.submit(executor, interpreter(jobs.raise_value_error))


def two_interpreters(run):
    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(3, max_interpreters=2)
    for _ in range(3):
        run.submit(executor, interpreter(time.sleep), 0.001)
        run.submit(executor, interpreter(jobs.add), 1)


def guest(run):
    """An interpreter used by a worker that is not its home."""
    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(2, max_interpreters=1)
    started, release = threading.Event(), threading.Event()
    run.submit(executor, interpreter(jobs.add), 1)
    concurrent.futures.wait(run.futures, 2)
    run.submit(executor, lambda: (started.set(), release.wait(PATIENCE)))  # on the only thread
    try:
        started.wait(PATIENCE if len(run.futures) == 2 else 0)
        for _ in range(3):
            run.submit(executor, interpreter(jobs.add), 1)
            with contextlib.suppress(Exception):
                run.futures[-1].result(1)
    finally:
        release.set()


def values(run):
    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(1)
    for value in (
        memoryview(bytearray(100)),
        b"x" * 100_000,
        "é" * 100_000,
        jobs.Point(1, 2),
        threading.Lock(),
        [memoryview(b"abc"), jobs.Point(1, 2)],
    ):
        run.submit(executor, interpreter(jobs.identity), value)
    for future in list(run.futures):
        with contextlib.suppress(Exception):
            future.result(PATIENCE)


def by_value(run):
    from aiointerpreters import interpreter

    executor, other = run.executor(1), [1, 2, 3]
    run.submit(executor, interpreter(lambda n: n + len(other)), 1)
    run.submit(executor, interpreter(lambda: 1 / 0))


def mapped(run):
    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(2)
    for function in (interpreter(jobs.add), jobs.add):
        results = executor.map(function, range(50), timeout=PATIENCE)
        for _ in results:
            pass


def observed(run):
    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(2)
    seen = []
    for tag in (interpreter, lambda function: function):
        run.submit(executor, tag(jobs.add), 1)
        if run.futures:
            run.futures[-1].add_done_callback(seen.append)
    for future in run.futures:
        _ = future._condition  # not for the first time in wait(), which would leave others locked
    concurrent.futures.wait(run.futures, 2)
    for future in run.futures:
        repr(future)
        future.exception(PATIENCE)


def loop(run):
    import asyncio

    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(2)

    async def main():
        calls = [executor.submit(interpreter(jobs.add), n) for n in range(5)]
        run.futures += calls
        calls = [asyncio.wrap_future(call) for call in calls]
        calls.append(asyncio.get_running_loop().run_in_executor(executor, jobs.add, 3))
        await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), run.patience)

    try:
        asyncio.run(main())
    except TimeoutError:
        return "a future of the event loop was never told"


def cancelled(run):
    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(1)
    release = threading.Event()
    run.submit(executor, release.wait, PATIENCE)
    try:
        for tag in (interpreter, lambda function: function):
            for _ in range(2):
                run.submit(executor, tag(jobs.add), 1)
        for future in run.futures[1:]:
            future.cancel()
        run.submit(executor, jobs.add, 1)
        run.submit(executor, interpreter(jobs.add), 1)
        executor.shutdown(wait=False, cancel_futures=True)
    finally:
        release.set()


def initialized(run):
    import jobs

    from aiointerpreters import interpreter

    executor = run.executor(2, initializer=jobs.identity, initargs=([1],), preload=["json"])
    run.submit(executor, jobs.add, 1)
    run.submit(executor, interpreter(jobs.add), 1)


def prestarted(run):
    executor = run.executor(2, preload=["jobs"])
    with contextlib.suppress(Exception):
        run.futures.append(executor.prestart())
    with contextlib.suppress(Exception):
        run.futures.append(executor.prestart(1, 2))


def work_queue(run):
    import jobs

    executor = run.executor(1)
    release = threading.Event()
    run.submit(executor, release.wait, PATIENCE)
    try:
        for n in range(3):
            run.submit(executor, jobs.add, n)
        queue = executor._work_queue
        with contextlib.suppress(Exception):
            item = queue.get_nowait()
            if item.future in run.futures:  # its end is ours now
                run.futures.remove(item.future)
    finally:
        release.set()


def leased(run):
    """The interpreters that direct calls lease, of an executor of their own."""
    import everywhere_jobs

    from aiointerpreters import _everywhere

    def call():
        for n in range(3):
            with contextlib.suppress(Exception):
                assert everywhere_jobs.add(n, 1) == n + 1
        with contextlib.suppress(Exception):
            everywhere_jobs.raise_error("no")
        with contextlib.suppress(Exception):
            everywhere_jobs.thread_name()

    threads = [threading.Thread(target=call, daemon=True) for _ in range(3)]
    for thread in threads:
        with contextlib.suppress(RuntimeError, MemoryError):
            thread.start()
    call()
    for thread in threads:
        if thread.ident is not None:
            thread.join(PATIENCE)
    executor = _everywhere._HOMES.forget()
    if executor is not None:
        run.executors.append(executor)
    return "a call never returns" if any(thread.is_alive() for thread in threads) else None


WORKLOADS = {
    function.__name__: function
    for function in (plain, tagged, two_interpreters, guest, values, by_value, mapped, observed,
                     loop, cancelled, initialized, prestarted, work_queue, leased)
}  # fmt: skip
# The loop is not part of "memory": asyncio itself loses a call that lacks memory (Handle._run).
PERSISTENT = {
    "plain", "tagged", "two_interpreters", "values", "mapped", "prestarted", "loop", "leased"
}  # fmt: skip


# --- the child: one workload, again and again ----------------------------------------------------


def load_faults():
    faults = ctypes.PyDLL(os.environ["FAULTS"])
    faults.faults_arm.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    faults.faults_disarm.restype = ctypes.c_long
    faults.faults_last.restype = ctypes.c_char_p
    return faults


def once(faults, workload, kind, n, persist):
    """One run; how many calls could have failed, and what is wrong, or ''."""
    run = Run(2 if persist else PATIENCE)  # while nothing at all can be had, nobody can be told
    mine = kind == MEMORY  # CPython itself ends the process when its own threads lack memory
    faults.faults_arm(kind, n, persist, mine)
    wrong = None
    try:
        wrong = workload(run)
    except Exception:  # whatever a caller may get to see for want of memory
        pass
    count = faults.faults_disarm()
    for future in run.futures:
        try:
            future.exception(PATIENCE)
        except concurrent.futures.CancelledError:
            pass
        except TimeoutError:
            if not future.done():
                return count, f"a future never ended: {future!r}"
    if wrong and not persist:
        return count, wrong
    for executor in run.executors:
        wrong = look_at(executor)
        if wrong:
            return count, wrong
    return count, ""


def look_at(executor):
    """Whether it still works, or says that it does not; then it is shut down."""
    import jobs

    from aiointerpreters import interpreter

    for tag in (lambda function: function, interpreter):
        try:
            if executor.submit(tag(jobs.add), 1, 2).result(PATIENCE) != 3:
                return "a wrong result afterwards"
        except TimeoutError:
            return f"afterwards a {'tagged' if tag is interpreter else 'plain'} task never ends"
        except concurrent.futures.BrokenExecutor:
            pass
        except RuntimeError as error:
            if "after shutdown" not in str(error):  # by the workload
                return f"afterwards: {error!r}"
    done = threading.Thread(target=executor.shutdown, daemon=True)
    done.start()
    done.join(PATIENCE)
    return "shutdown() never returns" if done.is_alive() else ""


def child(name, kind, first, step, persist):
    import faulthandler

    for loaded in ("aiointerpreters._core", "aiointerpreters.executors"):
        importlib.import_module(loaded)  # what is to be patched
    faults = load_faults()
    if kind == MEMORY:
        faults.faults_hook_memory()
    if kind == DIRECT:
        assert faults.faults_patch_extension() > 50
    if first == 1:
        once(faults, WORKLOADS[name], 0, 0, False)  # what is done once only is another matter
    n = first
    while True:
        faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
        say({"n": n})
        count, wrong = once(faults, WORKLOADS[name], kind, n, persist)
        failed = faults.faults_last().decode()
        say({"n": n, "count": count, "wrong": wrong, "failed": failed})
        if wrong:
            os._exit(0)  # what is stuck would be waited for
        if not failed:
            break
        n += step
    faulthandler.cancel_dump_traceback_later()


def say(report):
    os.write(int(os.environ["REPORT"]), json.dumps(report).encode() + b"\n")


# --- the parent ----------------------------------------------------------------------------------


def build():
    """The shared object of faults.c, made anew when that is newer."""
    source = processes.HERE / "faults.c"
    target = BUILD / f"faults.{sysconfig.get_config_var('SOABI')}.so"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        include = sysconfig.get_path("include")
        subprocess.run(
            [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-g", "-I", include,
             "-I", str(Path(include).parent), str(source), "-o", str(target), "-ldl"],
            check=True,
        )  # fmt: skip
    return target


class Part:
    """One workload with one kind of fault: the runs so far, and what failed in which."""

    def __init__(self, name, kind, step, persist, limit):
        self.name, self.kind, self.step, self.persist, self.limit = name, kind, step, persist, limit
        self.runs = 0
        self.failures = []
        self.names = collections.Counter()  # what was made to fail, and how often

    def title(self):
        return f"{self.name}, {self.kind}{', and all that follow' if self.persist else ''}"

    def go(self, faults, first):
        n, deadline = first, time.monotonic() + self.limit
        while n is not None and time.monotonic() < deadline:
            n = self._go_from(faults, n, deadline)
        return self

    def _go_from(self, faults, first, deadline):
        """One process. The n to go on with, or None at the end."""
        reading, writing = os.pipe()
        numbers = [KINDS[self.kind], first, self.step, int(self.persist)]
        command = [sys.executable, "-X", "faulthandler", __file__, "--child", self.name]
        command += map(str, numbers)
        with subprocess.Popen(
            command,
            pass_fds=[writing],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=processes.environment()
            | {"FAULTS": str(faults), "LD_PRELOAD": str(faults), "REPORT": str(writing)},
        ) as process:
            os.close(writing)
            killer = threading.Timer(max(1, deadline - time.monotonic()), process.kill)
            killer.start()
            _, stderr = process.communicate()
            late = not killer.is_alive()
            killer.cancel()
        with open(reading) as pipe:
            reports = [json.loads(line) for line in pipe]
        ended = [report for report in reports if "count" in report]
        self.runs += len(ended)
        for report in ended:
            self.names[report["failed"]] += report["failed"] != ""
            if report["wrong"]:
                self.fail(report["n"], f"{report['failed']}: {report['wrong']}", "")
                return report["n"] + self.step
        if late:
            self.runs += 1
            self.fail(reports[-1]["n"] if reports else first, "cut off by the limit", stderr)
            return None
        n = reports[-1]["n"] if reports else first
        if process.returncode != 0 or not reports:
            where = "at the end" if reports and "count" in reports[-1] else "during the run"
            self.runs += 1
            self.fail(n, f"exit status {process.returncode} {where}", stderr)
            return None if where == "at the end" or not reports else n + self.step
        return None

    def fail(self, n, why, stderr):
        self.failures.append((n, why))
        print(f"FAILED faults {self.title()}, n = {n}: {why}\n{stderr[-3000:]}", flush=True)


def main():
    options = processes.parser(__doc__, 0)
    options.add_argument("-k", dest="text", default="", help="only workloads with this in the name")
    options.add_argument("--kinds", default="direct,threads", help="direct, threads, memory")
    options.add_argument(
        "--memory", type=int, default=0, help="every so many-th allocation (0: none)"
    )
    options.add_argument("--step", type=int, default=1, help="every so many-th direct call (1)")
    options.add_argument("--first", type=int, default=1, help="begin with this n")
    options.set_defaults(limit=600)
    options = options.parse_args()
    kinds = options.kinds.split(",") + (["memory"] if options.memory else [])
    parts = [
        Part(name, kind, {"memory": options.memory, "direct": options.step}.get(kind, 1), persist,
             options.limit)
        for kind in kinds
        for name in WORKLOADS
        for persist in ((False, True) if name in PERSISTENT and kind != "memory" else (False,))
        if options.text in name and not (kind == "memory" and name == "loop")
    ]  # fmt: skip
    faults, began = build(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.processes) as threads:
        for part in threads.map(lambda part: part.go(faults, options.first), parts):
            print(
                f"  {part.title():<50} {part.runs:>5} runs {len(part.failures):>4} failed",
                flush=True,
            )
    runs = sum(part.runs for part in parts)
    failed = sum(len(part.failures) for part in parts)
    names = sum((part.names for part in parts), collections.Counter())
    print(
        "  failed in turn: " + ", ".join(f"{name} {names[name]}" for name in sorted(names) if name)
    )
    version, seconds = sys.version.split()[0], time.monotonic() - began
    passed = runs - failed
    print(
        f"faults, Python {version}: {passed} runs as they should end, {failed} not, {seconds:.0f} s"
    )
    if options.json is not None:
        options.json.write_text(json.dumps({"passed": runs - failed, "failed": failed}))
    return 1 if failed or not runs else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        sys.exit(main())
