"""What executor.run() gives for an asynchronous generator function: its items, as they come."""

from __future__ import annotations

import asyncio
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from typing import Any, Self

    from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor

__all__ = ("Stream",)


class _Ready[T]:
    """An awaitable that does not wait."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, Any, T]:
        return self  # type: ignore[return-value]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> None:
        raise StopIteration(self._value)


class Stream[T]:
    """The items of an asynchronous generator in an interpreter: an asynchronous iterator.

    It is used in the event loop that runs where it was made, by one task at a time. The generator
    runs ahead of whoever iterates, by as many items as its tag says (`buffer`).
    """

    def __init__(self, executor: InterpreterThreadPoolExecutor, call: Any) -> None:
        self._call = call  # of the generator; it goes on until all items are out
        self._fetch = executor._fetch
        self._loop = call.get_loop()
        self._items: deque[T] = deque()
        self._taken = 0
        self._over = self._asked = False

    def __aiter__(self) -> Stream[T]:
        return self

    def _check_free(self) -> None:
        if self._asked:
            raise RuntimeError("a stream is used by one task at a time: another one awaits it")

    def __anext__(self) -> Awaitable[T]:
        """Await the next item.

        Raises:
            StopAsyncIteration: There is none any more.
            RuntimeError: Another task awaits the next one.
        """
        if self._items and not self._asked:
            self._taken += 1
            return _Ready(self._items.popleft())
        return self._next()

    async def _next(self) -> T:
        self._check_free()
        self._asked = True
        try:
            if not self._items:
                await self._refill()
            self._taken += 1
            return self._items.popleft()
        except BaseException:
            self._end()
            raise
        finally:
            self._asked = False

    async def _refill(self) -> None:
        if self._over:
            raise StopAsyncIteration
        fetched = self._fetch(self._call, self._taken, False)
        if fetched is not None:
            fetched = await fetched
        if fetched is None:  # the generator is gone; its own call says why
            self._over = True
            await self._call
            raise StopAsyncIteration
        items, self._over = fetched
        self._items.extend(items)
        if not items:
            raise StopAsyncIteration

    def _end(self) -> None:
        """Cancel the generator, and give no more items."""
        self._over = True
        self._items.clear()
        call = self._call
        if not call.cancel() and not call.cancelled():
            call.exception()  # nobody will ask for it

    async def aclose(self) -> None:
        """End the generator in its interpreter, and wait until its `finally` blocks have run."""
        self._check_free()
        self._items.clear()
        if self._over:
            return
        self._over = self._asked = True
        try:
            closed = self._fetch(self._call, self._taken, True)
            if closed is not None:
                await closed
        finally:
            self._asked = False
            self._end()

    def __del__(self) -> None:
        if self._over or self._loop.is_closed():
            return
        if asyncio._get_running_loop() is self._loop:
            self._end()
        else:
            self._loop.call_soon_threadsafe(self._call.cancel)
