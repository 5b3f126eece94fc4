"""What a small task takes while it waits for a worker, its future included.

`few` and `many` are bytes in use: blocks of Python's allocator and of the C library's, counted
exactly, so that a thousand tasks are enough to tell. `many_resident` is what the process, or
processes, grew by. The list that keeps the futures is made before; the argument, an int, counts
where the executor keeps it.
"""

import ctypes
import gc
import os
import re
import sys
import tempfile

from contestants import WORKERS, Contestant
from measures import AS_THREADS, Figure, Outcome
from measures.worker_memory import memory
from sampling import held
from tasks import echo

TITLE = "memory of a small task that waits: of 1,000, of 1,000,000 (quick: 100,000)"
FIGURES = {name: Figure("bytes") for name in ("few", "many", "many_resident")}
PROCESSES = 3, 1
ABSENT = {"0.6.0-untagged": AS_THREADS}

FEW = 1_000
PRIMER = 10  # tasks that do not count: what the first one leaves behind for all


def many(quick: bool) -> int:
    return 100_000 if quick else 1_000_000


class Mallinfo2(ctypes.Structure):
    """See mallinfo(3)."""

    NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES.split()]


def malloc_in_use() -> int:
    """Bytes of the C library's allocator, of all threads."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        raise RuntimeError("this C library has no mallinfo2") from None
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def objects_in_use() -> int:
    """Bytes of the main interpreter's allocator of small blocks."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()  # writes to the file descriptor
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        text = file.read().decode()
    found = re.search(r"# bytes in allocated blocks\s*=\s*([\d,]+)", text)
    if found is None:
        raise RuntimeError("sys._debugmallocstats() does not say what is in use")
    return int(found[1].replace(",", ""))


def in_use() -> int:
    return malloc_in_use() + objects_in_use()


def run(contestant: Contestant, quick: bool) -> Outcome:
    total = many(quick)
    function = contestant.prepare(echo)
    executor = contestant.make(WORKERS)
    with held(contestant, executor):
        primer = [executor.submit(function, number) for number in range(PRIMER)]
        futures: list[object] = [None] * total
        in_use()
        gc.collect()
        gc.disable()  # all of it stays alive: looking for garbage would only take time
        resident, before = memory(), in_use()
        for number in range(FEW):
            futures[number] = executor.submit(function, number)
        few = in_use() - before
        for number in range(FEW, total):
            futures[number] = executor.submit(function, number)
        most, resident = in_use() - before, memory() - resident
        executor.shutdown(wait=False, cancel_futures=True)
    executor.shutdown()
    del futures, primer
    return {
        "few": [few / FEW],
        "many": [most / total],
        "many_resident": [resident / total],
    }
