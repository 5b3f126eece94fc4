"""The part of the package that is written in C."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from types import GenericAlias
from typing import Any, Concatenate, Protocol, Self, overload

class _Marks[F](Protocol):
    # Where a type checker compares the first parameter of a method with the instance.
    @property
    def fn(self) -> F: ...

class interpreter[**P, R]:
    """Mark a callable to run in an isolated interpreter of an InterpreterThreadPoolExecutor."""

    @overload
    def __new__(
        cls,
        fn: Callable[P, R],
        *,
        context_vars: Iterable[ContextVar[Any]] = (),
        timeout: float | None = None,
        interruptible: bool = True,
        everywhere: bool = False,
        buffer: int = 64,
    ) -> interpreter[P, R]: ...
    @overload  # with the same options, and at least one of them: a decorator
    def __new__(
        cls,
        *,
        context_vars: Iterable[ContextVar[Any]] = (),
        timeout: float | None = None,
        interruptible: bool = True,
        everywhere: bool = False,
        buffer: int = 64,
    ) -> _Decorator: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @property
    def fn(self) -> Callable[P, R]: ...
    @property
    def _gives(self) -> str: ...
    @property
    def __wrapped__(self) -> Callable[P, R]: ...
    @property
    def __name__(self) -> str: ...
    @property
    def __qualname__(self) -> str: ...
    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...
    @overload  # a method
    def __get__[S, **Q](
        self: _Marks[Callable[Concatenate[S, Q], R]], instance: S, owner: type | None = None, /
    ) -> interpreter[Q, R]: ...
    @overload  # a static method, which is not bound
    def __get__(self, instance: object, owner: type | None = None, /) -> Self: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

class _Decorator(interpreter[[Callable[..., Any]], Any]):
    # Not a tag, but mypy takes the answer of a __new__ at its word for subclasses only.
    def __call__[**P, R](self, fn: Callable[P, R], /) -> interpreter[P, R]: ...

class Interrupted(BaseException):
    """Raised inside a tagged task that is to stop."""

class _Host:  # private: of aiointerpreters._hosting
    def fileno(self) -> int: ...
    def take(self) -> None: ...
    def flush(self) -> None: ...
    def is_over(self) -> bool: ...
    def begins(self) -> bool: ...
    def settle(self) -> list[asyncio.Task[Any]]: ...

def host(loop: asyncio.AbstractEventLoop, /) -> _Host: ...

class broadcast[T]:
    """A handle that is passed to tasks like any argument and arrives as the value, sent once."""

    def __new__(cls, value: T | broadcast[T], /) -> broadcast[T]: ...
    @property
    def value(self) -> T: ...
    @property
    def _holds_handles(self) -> bool: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

def relied_on() -> dict[str, bool]: ...
def executor_types() -> tuple[type[Future[Any]], type[ThreadPoolExecutor]]: ...
