"""A client of a cluster of two workers of one thread each; test_dask.py runs it as a script.

    python dask_client.py FOLDER local               a LocalCluster, and the plugin
    python dask_client.py FOLDER SCHEDULER_FILE      workers with aiointerpreters.dask as a preload

Prints a line for each thing that holds; an AssertionError says what does not. Its files go
to FOLDER.
"""

import os
import sys
import threading
from pathlib import Path

import dask
import jobs
import pytest
from distributed import Client, LocalCluster

from aiointerpreters import SendError, interpreter
from aiointerpreters.dask import Interpreters

TIMEOUT = 60
offset = 40


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def moved(point: Point, by: int) -> Point:
    return Point(point.x + by)


def with_global(n: int) -> tuple[int, int]:
    import _interpreters

    return offset + n, int(_interpreters.get_current()[0])


def process_and_interpreter(_number: int) -> tuple[int, int]:
    return os.getpid(), jobs.interpreter_id()


def endless(fifo: str) -> None:
    with open(fifo, "w") as pipe:
        pipe.write("running")
    while True:
        pass


def lock() -> object:
    return threading.Lock()


def check_annotated(client: Client, folder: Path) -> None:
    addresses = list(client.scheduler_info()["workers"])
    assert len(addresses) == 2, addresses
    places = client.gather(
        [
            client.submit(process_and_interpreter, n, workers=[address], pure=False)
            for address in addresses
            for n in range(3)
        ]
    )
    assert all(interpreter != 0 for _, interpreter in places), places
    assert len({process for process, _ in places} | {os.getpid()}) == 3, places
    print("in interpreters of two workers")

    total, where = client.submit(with_global, 2).result(TIMEOUT)
    assert (total, where != 0) == (42, True)
    print("a function of __main__")

    n = 3
    assert client.gather(client.map(lambda x: x * n, range(20))) == [x * 3 for x in range(20)]
    print("lambdas and closures")

    point = client.submit(moved, Point(1), by=2).result(TIMEOUT)
    assert type(point) is Point
    assert point.x == 3
    print("a class of __main__")

    assert client.submit(interpreter(jobs.interpreter_id), pure=False).result(TIMEOUT) != 0
    print("a tagged function")

    add = dask.delayed(jobs.add)
    graph = add(add(1, 2), dask.delayed(sum)([add(3, 4), 5]))
    assert graph.compute() == 15
    print("a graph")


def check_errors(client: Client, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^not this$"):
        client.submit(jobs.raise_value_error, "not this").result(TIMEOUT)
    print("an error")
    with pytest.raises(SendError, match="lock"):
        client.submit(lock, pure=False).result(TIMEOUT)
    print("a result that cannot be sent")
    with pytest.raises(TimeoutError):
        client.submit(interpreter(endless, timeout=0.1), "/dev/null", pure=False).result(TIMEOUT)
    print("a time limit")


def check_cancelling(client: Client, folder: Path) -> None:
    """A worker has one thread: it can do nothing else until the task has been interrupted."""
    for address in client.scheduler_info()["workers"]:
        fifo = folder / f"fifo-{address.rpartition(':')[2]}"
        os.mkfifo(fifo)
        future = client.submit(endless, str(fifo), workers=[address], pure=False)
        assert fifo.read_text() == "running"  # which waits for it
        future.cancel()
        again = client.submit(jobs.add, 1, 2, workers=[address], pure=False)
        assert again.result(TIMEOUT) == 3
    print("cancelled")


def check_others(client: Client, folder: Path) -> None:
    """What is not annotated runs as ever."""
    assert client.submit(jobs.interpreter_id, pure=False).result(TIMEOUT) == 0
    print("in a thread")
    leased = interpreter(jobs.interpreter_id, everywhere=True)
    assert client.submit(leased, pure=False).result(TIMEOUT) != 0
    assert dask.delayed(jobs.add)(dask.delayed(leased)(), 0).compute() != 0
    print("in a leased interpreter")


def main(folder: Path, where: str) -> None:
    if where == "local":
        cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        )
        client = Client(cluster)
        client.register_plugin(Interpreters())
    else:
        client = Client(scheduler_file=where)
    client.wait_for_workers(2, TIMEOUT)
    with dask.annotate(executor="interpreters"):
        check_annotated(client, folder)
        check_errors(client, folder)
        check_cancelling(client, folder)
    check_others(client, folder)
    client.shutdown()
    print("ended")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
