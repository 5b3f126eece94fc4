"""The executor: threads for ordinary functions, interpreters for tagged ones."""

from __future__ import annotations

import sys

from aiointerpreters._core import executor_types, interpreter
from aiointerpreters._forks import guard
from aiointerpreters._threads import check as check_threads

__all__ = ("InterpreterThreadPoolExecutor", "interpreter")

TYPE_CHECKING = False
if not TYPE_CHECKING:

    def overload(function):  # without an import of typing
        return function


if TYPE_CHECKING:
    import asyncio
    from collections.abc import (
        AsyncIterable,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
    )
    from concurrent.futures import Future, ThreadPoolExecutor
    from contextvars import ContextVar
    from types import FrameType, ModuleType, TracebackType
    from typing import Any, Literal, TextIO, overload

    from aiointerpreters._amap import AsyncMap
    from aiointerpreters._dump import Worker
    from aiointerpreters._limits import Bell, Turn
    from aiointerpreters._prestart import Prestart
    from aiointerpreters._stats import Stats
    from aiointerpreters._streams import Stream

    class _Executor(ThreadPoolExecutor):
        # What aiointerpreters._core makes of it.
        _max_workers: int
        _max_interpreters: int

        _thread_name_prefix: str

        def __init__(
            self,
            *args: Any,
            max_interpreters: int | None,
            preload: tuple[str, ...],
            grace: float | None,
            argument_cache_bytes: int,
            context_vars: tuple[ContextVar[Any], ...],
            limit: tuple[int, bool, float | None] = ...,
            recycling: tuple[int, float | None] = ...,
            tasks_per_interpreter: int = ...,
            **kwargs: Any,
        ) -> None: ...
        @overload
        def submit[**P, R](
            self,
            fn: interpreter[P, Coroutine[Any, Any, R]],
            /,
            *args: P.args,
            **kwargs: P.kwargs,
        ) -> Future[R]: ...
        @overload
        def submit[**P, R](
            self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
        ) -> Future[R]: ...
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]: ...
        def shutdown(
            self, wait: bool = True, *, cancel_futures: bool = False, interrupt: bool = False
        ) -> None: ...
        @overload
        def run[**P, R](
            self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[object, None, R]: ...
        @overload  # AsyncIterator and AsyncGenerator among them
        def run[**P, R](  # type: ignore[overload-overlap]
            self, fn: Callable[P, AsyncIterable[R]], /, *args: P.args, **kwargs: P.kwargs
        ) -> Stream[R]: ...
        @overload  # not Coroutine[Any, ...]: of that mypy makes an Any in asyncio.gather()
        def run[**P, R](
            self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[object, None, R]: ...
        def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...
        def _run_turn[**P, R](
            self, turn: Turn, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[Any, Any, R]: ...
        def _begin_turn(self, bell: int, /) -> Turn: ...
        def _submit_turn[**P, R](
            self, turn: Turn, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
        ) -> Future[R]: ...
        def _fetch(self, call: Any, taken: int, closes: bool, /) -> Any: ...
        def _totals(self) -> tuple[Any, ...]: ...
        def _waiting(self) -> int: ...
        def _frames(self) -> dict[int, FrameType]: ...
        def _workers(self, seconds: float, /) -> list[Worker]: ...
        def _prestart(
            self,
            interpreters: int,
            threads: int,
            waiter: Callable[[BaseException | None], Callable[[], None] | None],
        ) -> tuple[list[Future[None]], int, Exception | None]: ...
        def _map[R](
            self,
            fn: Callable[..., R],
            iterables: tuple[Iterable[Any], ...],
            timeout: float | None,
            ahead: int,
        ) -> Iterator[R]: ...

else:
    _, _Executor = executor_types()

_SUBMIT = _Executor.submit


class InterpreterThreadPoolExecutor(_Executor):
    """A `concurrent.futures.ThreadPoolExecutor` in which tagged functions run in parallel.

    A callable that is marked with `interpreter` runs in a worker's own interpreter, with a GIL of
    its own (PEP 684); any other runs in a worker's thread, as with `ThreadPoolExecutor`. Threads
    are made as they are needed, an interpreter with the first tagged task that needs one. Coroutine
    functions that are marked run on event loops in interpreters, many on one loop (`run`).

    What crosses to an interpreter is copied. `None`, numbers, strings, bytes, `bytearray`,
    `array.array` and containers of these have an encoding of their own, everything else is pickled
    (protocol 5); a `concurrent.interpreters.Queue` is the same queue on both sides. The memory of a
    `memoryview` is not copied: a call's is lent, a result's is handed over. An argument itself that
    exports its memory and cannot be had by an interpreter (`mmap`, `ctypes` and NumPy arrays)
    arrives as a `memoryview` of it.
    Functions go by name where they have one, by value where not (those of `__main__`, lambdas,
    closures).

    Args:
        max_workers: The most threads. Default: as `ThreadPoolExecutor`, the CPUs that this
            process may use plus 4, at most 32; or `max_interpreters`, if that is more.
        thread_name_prefix: What the names of the threads begin with.
        initializer: Called in each thread as it starts and in each interpreter as it is made;
            tagged, in interpreters only. If it raises, the executor is broken: what is pending,
            and what is submitted later, ends with `BrokenThreadPool`.
        initargs: Positional arguments of `initializer`.
        max_interpreters: The most interpreters, and so the most tagged tasks at a time. Default:
            the CPUs that this process may use, and no more than `max_workers`. Further tagged tasks
            wait; they block no other task as long as a thread is free.
        preload: Modules that each interpreter imports as it is made, in this order and before
            `initializer`: absolute names, or modules. They are not imported here. If that fails,
            the executor is broken, as by `initializer`.
        grace: Seconds that a tagged task has to end once it is interrupted. After that its worker
            is set aside: another thread and another interpreter take its place, and it ends
            whenever the task does. None: it is waited for. Default: 5.
        argument_cache_bytes: Arguments of tagged calls that are passed again, the very same object,
            are sent to each interpreter once: `tuple` and `frozenset` from about 1 KiB on, of
            nothing but such, `str` and `bytes` of less than 64 KiB, numbers, bools and None, and
            such in a tuple of up to 8 that is an argument. The last 16 are kept here, and as
            copies in interpreters; one that nothing else refers to goes with the next tagged call.
            Together they weigh no more than this, each no more than a sixteenth of it: about the
            bytes that they take in an interpreter. 0: nothing is recognised or kept.
        context_vars: The `contextvars.ContextVar` objects whose values each tagged task sees: those
            of the `Context` that `asyncio.to_thread` made, or of `context=` in
            `submit(tagged, ..., context=ctx)` where `ctx` is a `Context`, else those at the place
            of the submit. With any of them, the caller's decimal context comes along, too. Each
            must be found in a module. All other variables have their defaults in an interpreter,
            or what `initializer` set there. See also `context_vars` of `interpreter`.

        max_pending: The most tasks that are accepted and have not started. Default: no limit.
            With it, `map` reads its iterables as tasks start, and not ahead of them.
        when_full: What `submit` does when so many are pending: "block" waits for room, as others
            before it do, in order; "raise" raises `queue.Full`. In the thread of a running event
            loop it never waits, but raises; `submit_async` is for there.
        pending_timeout: Seconds that "block" waits for room before it raises `queue.Full`.
            Default: no limit.
        max_tasks_per_interpreter: An interpreter that has run so many tagged tasks, whether they
            returned or raised, is ended, and a new one takes its place, made as the first was
            (`preload`, `initializer`). That is between tasks, and other threads go on meanwhile.
            None: never. Default: None.
        idle_timeout: Seconds after which an interpreter that no task has used is ended, as soon as
            the thread that made it has nothing to do. The thread stays; a tagged task that needs an
            interpreter later has a new one made. None: never. Default: None.
        tasks_per_interpreter: The most calls of coroutine functions that are under way on one event
            loop; others wait, in order. Such loops run in interpreters and threads of their own, up
            to `max_interpreters`, which are made with the first such call. Default: no limit.

    Raises:
        ValueError: `max_workers`, `max_interpreters`, `max_pending`, `max_tasks_per_interpreter`,
            `idle_timeout` or `tasks_per_interpreter` is not positive, `max_interpreters` is greater
            than `max_workers`, `grace`,
            `argument_cache_bytes` or `pending_timeout` is negative, the last is given with "raise",
            `when_full` is neither "block" nor "raise", an item of `preload` is no name that an
            interpreter could import, or one of `context_vars` is found in no module that an
            interpreter could import, and not in `__main__`.
        RuntimeError: Threads or locks are replaced by others (gevent, eventlet).
        TypeError: `initializer` cannot be called, `preload` is no iterable of names and modules,
            `context_vars` none of context variables, or an option has another type than these.

    Warns:
        RuntimeWarning: `max_tasks_per_interpreter` or `idle_timeout` is given on Python 3.13, which
            leaks 1.4 to 7.8 MB with each interpreter that ends.

    A task that waits for another one of the same executor (`result`, `exception`, the results of
    `map`) gets a `DeadlockError` if all workers there may be would wait so.

    A task's future ends with what the function raised, whose `__cause__`, for a tagged one, is a
    `RemoteTraceback` that shows the worker's traceback; or with `SendError`, if the function, an
    argument, the result or the exception cannot be sent.

    A tagged task can be cancelled while it runs, too: `cancel()` of its future returns True, and
    `Interrupted` is raised in the function at its next bytecode. A Ctrl-C that leaves a wait does
    that with what was waited for, one in a `with` block with all of them.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[object, ...] = (),
        *,
        max_interpreters: int | None = None,
        preload: Iterable[str | ModuleType] = (),
        grace: float | None = 5.0,
        argument_cache_bytes: int = 64 * 2**20,
        context_vars: Iterable[ContextVar[Any]] = (),
        max_pending: int | None = None,
        when_full: Literal["block", "raise"] = "block",
        pending_timeout: float | None = None,
        max_tasks_per_interpreter: int | None = None,
        idle_timeout: float | None = None,
        tasks_per_interpreter: int | None = None,
    ) -> None:
        names: tuple[str, ...] = ()
        if preload != ():
            from aiointerpreters._prestart import module_names

            names = module_names(preload)
        variables: tuple[ContextVar[Any], ...] = ()
        if context_vars != ():
            from aiointerpreters._context import checked

            variables = checked(context_vars, True)
        limit: tuple[int, bool, float | None] = (0, False, None)
        if max_pending is not None or when_full != "block" or pending_timeout is not None:
            from aiointerpreters._limits import options

            limit = options(max_pending, when_full, pending_timeout)
        recycling: tuple[int, float | None] = (0, None)
        if max_tasks_per_interpreter is not None or idle_timeout is not None:
            from aiointerpreters._recycling import options as recycling_options

            recycling = recycling_options(max_tasks_per_interpreter, idle_timeout)
        most = 0
        if tasks_per_interpreter is not None:
            from aiointerpreters._limits import most_tasks

            most = most_tasks(tasks_per_interpreter)
        check_threads()
        guard()
        self._max_pending = limit[0]
        self._bells: dict[asyncio.AbstractEventLoop, Bell] = {}
        super().__init__(
            max_workers,
            thread_name_prefix,
            initializer,
            initargs,
            max_interpreters=max_interpreters,
            preload=names,
            grace=grace,
            argument_cache_bytes=argument_cache_bytes,
            context_vars=variables,
            limit=limit,
            recycling=recycling,
            tasks_per_interpreter=most,
        )

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            self.shutdown(wait=True, interrupt=True)
        else:
            self.shutdown(wait=True)

    @overload
    async def submit_async[**P, R](
        self, fn: interpreter[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]: ...
    @overload
    async def submit_async[**P, R](
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]: ...
    async def submit_async(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Schedule `fn(*args, **kwargs)` as soon as there is room among the pending tasks.

        Waits without holding up the event loop, in one queue with those who wait in `submit`, in
        whatever thread or loop. Cancelling it gives up the place in that queue; `asyncio.timeout`
        limits the wait (`when_full` and `pending_timeout` do not matter here). The arguments are
        sent when the turn has come.

        Args:
            fn: A callable, tagged or not.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            The accepted task's `concurrent.futures.Future`: `await asyncio.wrap_future(future)`
            gives its result.

        Raises:
            RuntimeError: The executor, or Python, is shutting down, also while this waits; or this
                is a worker's interpreter.
            BrokenThreadPool: An initializer or a preload has failed, also while this waits.
        """
        if self._max_pending == 0:
            return self.submit(fn, *args, **kwargs)
        return await self._in_turn(lambda turn: self._submit_turn(turn, fn, *args, **kwargs))

    @overload
    def amap[R](
        self,
        fn: Callable[[Any], Coroutine[Any, Any, R]],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        limit: int | None = None,
        ordered: bool = True,
    ) -> AsyncMap[R]: ...
    @overload
    def amap[R](
        self,
        fn: Callable[[Any], R],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        limit: int | None = None,
        ordered: bool = True,
    ) -> AsyncMap[R]: ...
    def amap(
        self,
        fn: Callable[[Any], Any],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        limit: int | None = None,
        ordered: bool = True,
    ) -> AsyncMap[Any]:
        """Call `fn(item)` for each item, and give the results to an event loop as it asks for them.

            async for result in executor.amap(interpreter(cpu_bound), items):
                ...

        Nothing is read or called before the first result is asked for. Then items are read as there
        is room for their calls, so that memory does not grow with their number.

        Args:
            fn: A callable of one argument, tagged or not. An untagged one runs in a thread. A
                tagged coroutine function runs on an event loop in an interpreter.
            items: An iterable, which is read in the thread of the event loop, or an async one.
            limit: The most calls under way, results that nobody has asked for among them. Default:
                256.
            ordered: Whether results come in the order of the items, or as they end.

        Returns:
            An asynchronous iterator with `aclose()`. Its `async for` raises what `fn` has raised,
            or the items, or `run`; what is under way then, or when it is left early or cancelled,
            is cancelled: what is pending never starts, and tagged calls that run are interrupted.
            What `items` raise comes after the results of the items before. In an executor with
            `max_pending`, calls wait for room; with `when_full="raise"`, `queue.Full` is raised
            when others leave none and no call of this is under way.

        Raises:
            TypeError: `fn` cannot be called, `items` cannot be iterated, or `limit` is no int.
            ValueError: `limit` is not positive.
        """
        from aiointerpreters._amap import amap

        return amap(self, fn, items, limit, ordered)

    async def _in_turn[T](self, use: Callable[[Turn], T]) -> T:
        """Wait for room in the running event loop, and use it."""
        import asyncio

        from aiointerpreters._limits import Bell

        loop = asyncio.get_running_loop()
        bell = self._bells.get(loop)
        if bell is None:
            bell = self._bells[loop] = Bell(loop)
        try:
            return await bell.take_turn(self._begin_turn, use)
        finally:
            if bell.is_silent():
                self._bells.pop(loop, None)

    def stats(self) -> Stats:
        """The figures of this executor: tasks, workers, bytes and times.

        Returns:
            A frozen dataclass, `aiointerpreters.Stats`. Counting is always on.
        """
        from aiointerpreters._stats import Stats

        return Stats._of(self._totals())

    def dump(self, file: TextIO | None = None) -> None:
        """Write what each worker is doing, with the Python stack of each task that runs.

        A tagged task is stopped for a moment to look at its stack. One that is in C code which
        keeps the GIL of its interpreter cannot be: after 0.2 seconds it is written without its
        stack.

        Args:
            file: Where to, a text file. Default: `sys.stderr`.
        """
        import threading

        from aiointerpreters._dump import describe

        text = describe(
            self._thread_name_prefix,
            self.stats(),
            threading.enumerate(),
            self._frames(),
            lambda: self._workers(0.2),
        )
        file = sys.stderr if file is None else file
        if file is not None:
            file.write(text)
            file.flush()

    def prestart(self, interpreters: int | None = None, threads: int | None = None) -> Prestart:
        """Make interpreters and start threads now, so that the first task finds them ready.

        Each interpreter has then imported what `preload` names, run the `initializer`, and taken
        the GIL of the main interpreter for the last time; each thread has run the `initializer`.
        The interpreters are spread over as many threads, which are started for them.

        Args:
            interpreters: How many are to be there, those that are there already among them.
                Default, and at most: `max_interpreters`.
            threads: The same of threads. Default, and at most: `max_workers`.

        Returns:
            A `concurrent.futures.Future` that can be awaited, too. Its result is None, as soon as
            all of them are ready, whoever makes them; or it ends with `BrokenThreadPool` if the
            `initializer` or `preload` fails, with a RuntimeError if an interpreter or a thread
            cannot be made. Cancelling it, or its await, cancels the making of interpreters that
            has not begun.

        Raises:
            ValueError: `interpreters` or `threads` is negative.
            TypeError: One of them is neither an int nor None.
            RuntimeError: The executor, or Python, is shutting down; or this is a worker's
                interpreter.
            BrokenThreadPool: An initializer or a preload has failed before.
        """
        from aiointerpreters._prestart import Prestart, parse_count

        wanted = parse_count(interpreters, "interpreters", self._max_interpreters)
        started = parse_count(threads, "threads", self._max_workers)
        prestart = Prestart()
        return prestart.begin(*self._prestart(wanted, started, prestart.thread_ended))

    def map[R](
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[R]:
        """Call `fn` with the items of `iterables`, like the builtin `map`, in workers.

        Args:
            fn: A callable, tagged or not, that takes as many arguments as there are iterables.
            *iterables: Where the arguments come from; the shortest one ends the map.
            timeout: Seconds, from this call on, in which each result must be there. Default: no
                limit.
            chunksize: Ignored, as in `ThreadPoolExecutor`.
            buffersize: The most tasks that are submitted and not yet yielded; the iterables are
                read as results are taken. Default: they are read, and everything is submitted,
                before this returns; in an executor with `max_pending`, that number and
                `max_workers` together. There fewer are submitted when others leave no room for
                more, and `when_full` counts only when none is. (On 3.13 not for a class with a
                `submit` of its own, for which this is the `map` of the standard library.)

        Returns:
            An iterator of the results, in the order of the arguments. When it ends early (an
            error, a timeout, `close`), it cancels what has not started.

        Raises:
            TypeError: `buffersize` is neither an integer nor None.
            ValueError: `buffersize` is not positive.
            TimeoutError: From the iterator: a result was not there in time.
            Exception: From the iterator: what the call of the function raised.
        """
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        if self.submit != _SUBMIT.__get__(self):
            # Somebody else's submit() makes the futures.
            return super().map(fn, *iterables, timeout=timeout, **_given(buffersize=buffersize))
        seconds = None if timeout is None else timeout + 0.0
        if self._max_pending and buffersize is None:
            buffersize = self._max_pending + self._max_workers
        return self._map(fn, iterables, seconds, buffersize or 0)

    def set_as_event_loop_default(
        self, ctx: asyncio.AbstractEventLoop | asyncio.Runner | None = None
    ) -> None:
        """Make this the executor that an event loop uses for `asyncio.to_thread` and the like.

        The loop shuts it down as it would its own default executor.

        Args:
            ctx: An event loop (of asyncio or another make, such as uvloop), or an
                `asyncio.Runner`, whose loop is meant. Default: the running loop.

        Raises:
            RuntimeError: No `ctx` was given and no loop runs in this thread.
            TypeError: `ctx` is something else.
        """
        import asyncio

        if ctx is None:
            loop = asyncio.get_running_loop()
        elif isinstance(ctx, asyncio.AbstractEventLoop):
            loop = ctx
        elif isinstance(ctx, asyncio.Runner):
            loop = ctx.get_loop()
        else:
            raise TypeError(
                "ctx must be an event loop, an asyncio.Runner or None, "
                f"not {type(ctx).__qualname__!r}"
            )
        loop.set_default_executor(self)


def _given(**options: object) -> dict[str, Any]:
    """The options that are not None: 3.13 does not know `buffersize`."""
    return {name: value for name, value in options.items() if value is not None}
