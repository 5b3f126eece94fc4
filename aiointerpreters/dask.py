"""Dask: the tasks of a cluster, in interpreters of its workers.

    dask worker tcp://scheduler:8786 --preload aiointerpreters.dask --interpreters 4

    client.register_plugin(aiointerpreters.dask.Interpreters())  # or from a client, to all workers

    with dask.annotate(executor="interpreters"):
        total = client.submit(cpu_bound, 1_000)

Needs distributed 2026.7 or later (`pip install aiointerpreters[dask]`).
"""

from __future__ import annotations

import asyncio
import copy
import threading
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import click
from dask._task_spec import GraphNode, NestedContainer, Task
from distributed import Reschedule, WorkerPlugin

from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor, interpreter

__all__ = ("InterpreterExecutor", "Interpreters", "dask_setup")

NAME = "interpreters"  # of the executor, for `dask.annotate`, and of the plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from typing import Any, TypeIs

    from distributed import Worker


# A worker gives an executor whose type has "ThreadPoolExecutor" in its name a closure to run. Any
# other one, as if it were one of processes, gets the task itself: so this is no subclass.
class InterpreterExecutor(Executor):
    """An executor for `distributed.Worker` that calls the functions of tasks in interpreters.

        pool = InterpreterThreadPoolExecutor(2)
        Worker(..., executor={"interpreters": InterpreterExecutor(pool)})

    Each function of a task is called in an interpreter, whether it is tagged or not; a tag says
    more (`timeout`, `context_vars`). What the function takes and returns is carried over as by
    `InterpreterThreadPoolExecutor`. All else of the task is done in a thread, which waits for
    that: its arguments are put together, its result is measured.

    Args:
        pool: What has the interpreters. It is shut down with this executor.
        threads: The most tasks at a time. Default: as many as `pool` may have interpreters.

    Raises:
        ValueError: `threads` is not positive.
    """

    def __init__(self, pool: InterpreterThreadPoolExecutor, threads: int | None = None) -> None:
        self.pool = pool
        self._threads = ThreadPoolExecutor(
            pool._max_interpreters if threads is None else threads, "Dask-Interpreters"
        )
        self._lock = threading.Lock()
        self._runs: dict[object, _Run] = {}  # by key: tasks that have not ended

    def submit[**P, R](self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Schedule `fn(*args, **kwargs)` in a thread.

        Args:
            fn: A function that calls a task of dask's, which is one of its arguments.
            *args: Its positional arguments. A task among them calls its functions in interpreters.
            **kwargs: Its keyword arguments.

        Raises:
            RuntimeError: This executor is shut down.
        """
        runs = {place: _Run(self.pool, arg) for place, arg in enumerate(args) if _is_task(arg)}
        ours: Any = tuple(runs.get(place, arg) for place, arg in enumerate(args))
        future = self._threads.submit(fn, *ours, **kwargs)
        for run in runs.values():
            with self._lock:
                self._runs[run.key] = run
            future.add_done_callback(partial(self._forget, run))
        return future

    def _forget(self, run: _Run, future: Future[Any]) -> None:
        with self._lock:
            if self._runs.get(run.key) is run:
                del self._runs[run.key]

    def interrupt(self, key: object) -> bool:
        """Stop the task of that key: what runs is interrupted, what is pending never starts.

        The task ends with `distributed.Reschedule`, which counts for nothing if nobody wants it any
        more, and has it begin anew, on any worker, if somebody does.

        Returns:
            Whether there was such a task.
        """
        with self._lock:
            run = self._runs.get(key)
        if run is not None:
            run.interrupt()
        return run is not None

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False, interrupt: bool = False
    ) -> None:
        """Accept no more tasks, and end the pool when those that were accepted have ended.

        Args:
            wait: Return only when all of that has been done.
            cancel_futures: Cancel the tasks that have not started.
            interrupt: Stop those that have, too.
        """
        self._threads.shutdown(False, cancel_futures=cancel_futures or interrupt)
        if interrupt:
            with self._lock:
                runs = list(self._runs.values())
            for run in runs:
                run.interrupt()
        if wait:
            self._end_pool()
        else:
            # The threads have calls to make yet: the pool ends after the last of them.
            ending = threading.Thread(target=self._end_pool, name="Dask-Interpreters-end")
            with suppress(RuntimeError):  # the process ends, and with it the pool
                ending.start()

    def _end_pool(self) -> None:
        self._threads.shutdown()
        self.pool.shutdown()


class _Run:
    """One task of dask's on an executor; a call of it calls its functions in interpreters."""

    def __init__(self, pool: InterpreterThreadPoolExecutor, task: GraphNode) -> None:
        self.key = task.key
        self._pool = pool
        self._task = task
        self._lock = threading.Lock()
        self._calls: set[Future[Any]] = set()  # under way; a task may hand itself to threads
        self._stopped = False

    def __call__(self, data: Any = ()) -> Any:
        try:
            return _placed(self._task, self._place)(data)
        except CancelledError:
            if self._stopped:
                raise Reschedule from None
            raise

    def _place(self, function: Callable[..., Any]) -> Callable[..., Any]:
        tagged = function if isinstance(function, interpreter) else interpreter(function)
        return partial(self._call, tagged)

    def _call(self, tagged: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        future = self._pool.submit(tagged, *args, **kwargs)
        with self._lock:
            self._calls.add(future)
            stopped = self._stopped
        if stopped:
            future.cancel()
        try:
            return future.result()
        finally:
            with self._lock:
                self._calls.discard(future)

    def interrupt(self) -> None:
        with self._lock:
            self._stopped = True
            calls = list(self._calls)
        for future in calls:
            future.cancel()


def _is_task(value: object) -> TypeIs[GraphNode]:
    return isinstance(value, GraphNode)


def _placed(part: Any, place: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    """A task, or an argument of one, with `place(f)` for each function f that it calls."""
    if not isinstance(part, Task):
        return part
    placed = copy.copy(part)
    if part.has_subgraph():  # several tasks that were fused
        tasks, *others = part.args
        placed.args = ({key: _placed(task, place) for key, task in tasks.items()}, *others)
        return placed
    placed.args = tuple(_placed(arg, place) for arg in part.args)
    if not isinstance(part, NestedContainer):
        placed.kwargs = {name: _placed(arg, place) for name, arg in part.kwargs.items()}
        placed.func = place(part.func)
    return placed


class Interpreters(WorkerPlugin):
    """A plugin that gives workers the executor "interpreters".

        client.register_plugin(Interpreters(preload=["json"]))

    A worker has one interpreter for each of its threads. Tasks that run there are interrupted when
    they are cancelled, or their worker closes. If the worker has an `InterpreterThreadPoolExecutor`
    of that name already, that is where the interpreters are.

    Args:
        max_interpreters: Of each worker. Default: as many as it has threads.
        preload: The names of modules that each interpreter imports as it is made.
        **options: Other arguments of `InterpreterThreadPoolExecutor`.
    """

    name = NAME

    def __init__(
        self, max_interpreters: int | None = None, preload: Iterable[str] = (), **options: Any
    ) -> None:
        self._max_interpreters = max_interpreters
        self._options = {"preload": list(preload), **options}
        self._executor: InterpreterExecutor | None = None

    async def setup(self, worker: Worker) -> None:
        threads = worker.state.nthreads
        pool = worker.executors.get(NAME)
        if not isinstance(pool, InterpreterThreadPoolExecutor):
            count = self._max_interpreters or threads
            pool = InterpreterThreadPoolExecutor(
                count, f"{worker.name}-interpreters", max_interpreters=count, **self._options
            )
        self._executor = worker.executors[NAME] = InterpreterExecutor(pool, threads)

    def transition(self, key: object, start: str, finish: str, **kwargs: Any) -> None:
        # So a task that runs is called off.
        if (start, finish) == ("executing", "released") and self._executor is not None:
            self._executor.interrupt(key)

    async def teardown(self, worker: Worker) -> None:
        if self._executor is None:
            return
        if worker.executors.get(NAME) is self._executor:
            del worker.executors[NAME]
        await asyncio.to_thread(self._executor.shutdown, interrupt=True)


@click.command()
@click.option("--interpreters", type=click.IntRange(1), help="Default: one for each thread.")
@click.option("--import", "modules", multiple=True, help="A module that interpreters import first.")
async def dask_setup(worker: Worker, interpreters: int | None, modules: tuple[str, ...]) -> None:
    """What `dask worker --preload aiointerpreters.dask` calls."""
    await worker.plugin_add(Interpreters(interpreters, modules), catch_errors=False)
