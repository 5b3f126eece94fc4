"""Forks amid busy workers, in every way that programs fork; child and parent must both live.

    forks.py --count 200

Each process keeps its executor's workers busy, tagged and plain, from other threads, too, and forks
in the middle. The child uses the executor that it inherited, a fresh one, and asks a future of the
parent's; it ends as a Python does. The parent then finishes all its work. A debug build of CPython
asserts at the full end of a child of a process with threads: there, children end by os._exit.
"""

import contextlib
import importlib
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
import warnings

import processes

TIMEOUT = 30  # seconds for anything within a child
DEBUG = hasattr(sys, "gettotalrefcount")


def run(number, chance, limit):
    names = list(WAYS)
    way = names[number % len(names)]
    ended = processes.Child([__file__, "--child", way, str(chance.random())], limit).end()
    return way, judge(ended), ended.stdout + ended.stderr


def judge(ended):
    if ended.crash():
        return ended.crash()
    if ended.code != 0:
        return f"exit status {ended.code}"
    return "said something on stderr" if ended.stderr else ""


# --- the parent of the fork, and its load --------------------------------------------------------


def make_load(executor, chance, enough):
    """Keep the executor busy until `enough` is set; the futures."""
    import jobs

    from aiointerpreters import interpreter

    futures = []
    while not enough.is_set() and len(futures) < 5000:
        for tag in (interpreter, lambda function: function):
            futures.append(executor.submit(tag(sum), range(chance.randrange(50_000))))
            futures.append(executor.submit(tag(jobs.add), 1, 2))
            futures[-1].add_done_callback(lambda future: future.result())
            futures.append(executor.submit(tag(time.sleep), 0.002))
        futures.append(executor.submit(interpreter(bytes), 100_000))
        futures[-1].exception()
    return futures


def child(way, seed):
    from aiointerpreters import InterpreterThreadPoolExecutor

    # Not for the first time in a thread beside the fork: an import that is under way there keeps
    # its lock in the child for ever, with or without executors.
    importlib.import_module("jobs")
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
    chance = random.Random(seed)
    executor = InterpreterThreadPoolExecutor(chance.choice([2, 4]), max_interpreters=2)
    if chance.random() < 0.3:
        executor.prestart().result(TIMEOUT)
    enough = threading.Event()
    futures = []
    load = threading.Thread(
        target=lambda: futures.extend(make_load(executor, random.Random(seed), enough))
    )
    load.start()
    time.sleep(chance.uniform(0, 0.1))
    asked = executor.submit(time.sleep, 0.01)
    try:
        WAYS[way](executor, asked)
    finally:
        enough.set()
        load.join()
    for future in futures:
        assert future.exception(TIMEOUT) is None
    use(executor)


# --- what the child of the fork does -------------------------------------------------------------


def use(executor, asked=None):
    """Both kinds of tasks, on the inherited executor and on a new one, and a future of before."""
    import jobs

    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    if asked is not None:
        with contextlib.suppress(RuntimeError):  # it is the parent's, unless it had ended
            asked.result(TIMEOUT)
    with InterpreterThreadPoolExecutor(2) as fresh:
        for one in (executor, fresh):
            assert one.submit(interpreter(jobs.add), 3, 4).result(TIMEOUT) == 7
            assert one.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
            assert list(one.map(interpreter(abs), range(-5, 0))) == [5, 4, 3, 2, 1]


def leave():
    sys.stdout.flush()
    if DEBUG:
        os._exit(0)


def wait_for(pid):
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"the child ended with {code}"


# --- the ways to fork ----------------------------------------------------------------------------


def fork(executor, asked):
    pid = os.fork()
    if pid == 0:
        os.environ["FORKED"] = "1"
        use(executor, asked)
        leave()
        sys.exit(0)
    wait_for(pid)


def fork_at_once(executor, asked):
    """The child does nothing and ends."""
    pid = os.fork()
    if pid == 0:
        leave()
        sys.exit(0)
    wait_for(pid)


def fork_in_thread(executor, asked):
    def life():
        pid = os.fork()
        if pid == 0:
            use(executor, asked)
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    codes = []
    thread = threading.Thread(target=life)
    thread.start()
    thread.join()
    assert codes == [0], codes


def fork_twice(executor, asked):
    """A child that forks again, with workers of its own."""
    pid = os.fork()
    if pid == 0:
        use(executor, asked)
        fork(executor, asked)
        leave()
        sys.exit(0)
    wait_for(pid)


def multiprocessing_fork(executor, asked):
    process = multiprocessing.get_context("fork").Process(target=use, args=(executor, asked))
    process.start()
    process.join()
    assert process.exitcode == 0, process.exitcode


def preexec_fn(executor, asked):
    done = subprocess.run(["true"], preexec_fn=lambda: None, timeout=TIMEOUT)
    assert done.returncode == 0, done


def process_pool(executor, asked):
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(abs, range(-5, 0), timeout=TIMEOUT)) == [5, 4, 3, 2, 1]


def prefork(executor, asked):
    """As a web server does: several children, each of which serves with the inherited executor."""
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            for _ in range(5):
                use(executor, asked)
            leave()
            sys.exit(0)
        pids.append(pid)
    for pid in pids:
        wait_for(pid)


WAYS = {
    "os.fork": fork,
    "os.fork, child ends": fork_at_once,
    "os.fork in a thread": fork_in_thread,
    "os.fork twice": fork_twice,
    "multiprocessing": multiprocessing_fork,
    "subprocess preexec_fn": preexec_fn,
    "ProcessPoolExecutor": process_pool,
    "prefork": prefork,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], float(sys.argv[3]))
    else:
        sys.exit(processes.run_many(processes.parser(__doc__, 200).parse_args(), "forks", run))
