"""Runner: the older interface, for calls from asyncio to interpreters."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Literal, Self

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

    async def run[**P, R](self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `fn` in an interpreter. If the await is cancelled, so is a call not yet begun.

        Args:
            fn: The function; an interpreter tag around it makes no difference.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            What the function returned.

        Raises:
            InterpreterError: The function raised, or what it returned or raised cannot be sent
                back. `__cause__` is what it raised, or the `SendError`.
            RunnerError: The call was not made: the runner is not started, or the function or an
                argument cannot be sent (`__cause__` is the `SendError`).
        """
        executor = self._executor
        if executor is None:
            raise RunnerError("the runner is not started: use `with runner.start():`")
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

    def wrap[**P, R](self, fn: Callable[P, R]) -> Callable[P, Coroutine[None, None, R]]:
        """An async function that calls `fn` in an interpreter. See `run`."""

        @functools.wraps(fn)
        async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self.run(fn, *args, **kwargs)

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
