"""Runner: the older interface, for calls from asyncio to interpreters."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self, overload

from aiointerpreters._errors import InterpreterError, RunnerError, SendError
from aiointerpreters._worker import run_entry_point
from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor, interpreter

__all__ = ("InterpreterError", "Runner", "RunnerError", "get_module_info")

type ModuleInfo = tuple[Literal["module", "path"], str, str]


class Runner:
    """Runs functions in interpreters, awaited.

        with Runner(workers=5).start() as runner:
            await asyncio.gather(runner.run(cpu_bound, 5), runner.run(cpu_bound, key=5))

    A runner can be started again after it has ended, and serves any number of event loops.

    Args:
        workers: How many functions run at the same time, each in an interpreter of its own.

    Raises:
        ValueError: `workers` is not positive.
    """

    def __init__(self, *, workers: int) -> None:
        if workers <= 0:
            raise ValueError("workers must be greater than 0")
        self.workers = workers
        self._executor: InterpreterThreadPoolExecutor | None = None

    @contextmanager
    def start(self) -> Iterator[Self]:
        """Start the runner, in a `with` block; its end waits for the calls that were made.

        Workers are made as they are needed.

        Raises:
            RunnerError: The runner is running.
        """
        if self._executor is not None:
            raise RunnerError("the runner was started already")
        with InterpreterThreadPoolExecutor(
            self.workers, "aiointerpreters.Runner", max_interpreters=self.workers
        ) as executor:
            self._executor = executor
            try:
                yield self
            finally:
                self._executor = None

    @overload
    def run[**P, R](
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, None, R]: ...
    @overload
    def run[**P, R](  # type: ignore[overload-overlap]
        self, fn: Callable[P, AsyncIterable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[R]: ...
    @overload
    def run[**P, R](
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, None, R]: ...
    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `fn` in an interpreter. If the await is cancelled, so is the call.

        Args:
            fn: The function; an interpreter tag around it makes no difference. A coroutine
                function runs on an event loop there, which many calls share.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            Something to await, which gives what the function returned. Of an asynchronous generator
            function, an asynchronous iterator over the items.

        Raises:
            InterpreterError: The function raised, or what it returned or raised cannot be sent
                back. `__cause__` is what it raised, or the `SendError`.
            RunnerError: The call was not made: the runner is not started, `fn` is a generator
                function, or it or an argument cannot be sent (`__cause__` is the `SendError`).
        """
        if callable(fn) and _gives(fn) == "generator":
            return self._items(fn, args, kwargs)
        return self._call(fn, args, kwargs)

    def _started(self) -> InterpreterThreadPoolExecutor:
        if self._executor is None:
            raise RunnerError("the runner is not started: use `with runner.start():`")
        return self._executor

    async def _items(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any]:
        stream: Any = self._started().run(interpreter(fn), *args, **kwargs)
        try:
            while True:
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
                except Exception as error:
                    raise _told_apart(error) from error
                yield item
        finally:
            await stream.aclose()

    async def _call(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        executor = self._started()
        if not callable(fn):
            raise RunnerError(f"{fn!r} cannot be called")
        try:
            submitted = executor.submit(interpreter(fn), *args, **kwargs)
        except SendError as error:
            raise RunnerError(str(error)) from error
        future = asyncio.wrap_future(submitted)
        try:
            # Not `await future`: asyncio throws a future's exception into the coroutine, where
            # GeneratorExit would mean that the coroutine itself is closed.
            await asyncio.wait((future,))
        except BaseException:
            future.cancel()
            raise
        if future.cancelled() or future.exception() is None:
            return future.result()
        raised = submitted.exception()
        assert raised is not None
        raise _told_apart(raised) from raised

    @overload
    def wrap[**P, R](
        self, fn: Callable[P, Coroutine[Any, Any, R]]
    ) -> Callable[P, Coroutine[object, None, R]]: ...
    @overload
    def wrap[**P, R](  # type: ignore[overload-overlap]
        self, fn: Callable[P, AsyncIterable[R]]
    ) -> Callable[P, AsyncGenerator[R]]: ...
    @overload
    def wrap[**P, R](self, fn: Callable[P, R]) -> Callable[P, Coroutine[object, None, R]]: ...
    def wrap(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A function that calls `fn` in an interpreter, to be awaited or iterated. See `run`."""
        if interpreter(fn)._gives == "generator":

            @functools.wraps(fn)
            async def items(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
                async with contextlib.aclosing(self._items(fn, args, kwargs)) as all_items:
                    async for item in all_items:
                        yield item

            return items

        @functools.wraps(fn)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            return await self._call(fn, args, kwargs)

        return wrapped

    async def run_module_function(
        self, module_info: ModuleInfo, /, *args: object, **kwargs: object
    ) -> object:
        """Call a function that is named by its place. See `run`.

        Args:
            module_info: `("module", name of the module, name of the function)`, or
                `("path", path of a Python file, name of the function)`. The file is run once in
                each interpreter that needs it, and is nobody's `__main__` there.
            *args: Positional arguments of the function.
            **kwargs: Its keyword arguments.
        """
        return await self.run(run_entry_point, *module_info, args, kwargs)


def _gives(fn: Callable[..., Any]) -> str:
    try:
        return interpreter(fn)._gives
    except TypeError as error:  # a generator function
        raise RunnerError(str(error)) from error


def _told_apart(error: BaseException) -> InterpreterError | RunnerError:
    text = str(error)
    if isinstance(error, SendError):
        if error.role in ("function", "argument"):
            return RunnerError(text)
        return InterpreterError(text)
    return InterpreterError(f"{type(error).__qualname__}: {text}" if text else repr(error))


def get_module_info(fn: Callable[..., object]) -> ModuleInfo:
    """The place of a function, for `Runner.run_module_function`.

    Raises:
        RunnerError: It has none, because it is not defined at the top level of a module or file.
    """
    module = getattr(fn, "__module__", None)
    name = getattr(fn, "__qualname__", None)
    if not module or not name or not name.isidentifier():
        raise RunnerError(f"{fn!r} is not a top level function")
    if module != "__main__":
        return "module", module, name
    try:
        return "path", inspect.getfile(inspect.unwrap(fn)), name
    except TypeError:
        raise RunnerError(f"{fn!r} is not defined in a file") from None
