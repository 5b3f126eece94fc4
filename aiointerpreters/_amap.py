"""executor.amap(): results as an event loop asks for them, of a bounded number of calls."""

from __future__ import annotations

import asyncio
from collections import deque
from queue import Full

from aiointerpreters._limits import positive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
    )
    from typing import Any

    from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor

__all__ = ("AsyncMap", "amap")

DEFAULT_LIMIT = 256


class _Calls:
    """The calls under way, and the results that nobody has asked for; in one event loop's thread.

    It does not refer to the iterator: so one that nobody has any more goes at once, and ends what
    is under way.
    """

    def __init__(
        self,
        executor: InterpreterThreadPoolExecutor,
        fn: Callable[[Any], object],
        limit: int,
        ordered: bool,
    ) -> None:
        self._run, self._fn = executor.run, fn
        self._limit, self._ordered = limit, ordered
        self._waits_for_room = executor._max_pending > 0
        self._loop = asyncio.get_running_loop()
        self.under_way: set[asyncio.Future[Any]] = set()  # unordered: those that have not ended
        self.queue: deque[asyncio.Future[Any]] = deque()  # ordered: all; else those that have ended
        self.error: BaseException | None = (
            None  # of the items, for when all that came before is out
        )
        self.refused: list[object] = []  # an item that was read, and has no room yet
        self.fed = False  # no item comes any more
        self.awaited: asyncio.Future[Any] | None = None  # ordered: the call that was taken last
        self._news: asyncio.Future[None] | None = None  # whoever waits for something to happen
        self._room: asyncio.Future[None] | None = None  # the feeder, which waits for room

    def count(self) -> int:
        return len(self.queue) + len(self.under_way)

    def start(self, item: object) -> bool:
        """Call the function on an item. False: there is no room as yet; or, with `fed`, that cannot
        be done, and nothing more will come.
        """
        try:
            call: Any = self._run(self._fn, item)
        except Full as error:
            if self.count() == 0 and self.awaited is None:
                self.fail(error)  # others fill the executor
            return False
        except BaseException as error:
            self.fail(error)
            return False
        if self._waits_for_room and not asyncio.isfuture(call):
            call = self._loop.create_task(call)  # it waits its turn
        if self._ordered:
            self.queue.append(call)
        else:
            self.under_way.add(call)
            call.add_done_callback(self._ended)
        return True

    def stop_feeding(self, error: BaseException | None) -> None:
        self.fed, self.error = True, error
        self.tell()

    def fail(self, error: BaseException) -> None:
        """Note what was raised, for later; but what ends programs goes on at once."""
        self.stop_feeding(error)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error

    def refill(self, items: Iterator[Any]) -> None:
        """Read as many items as there is room for."""
        for _ in range(self._limit - self.count()):
            try:
                item = self.refused.pop() if self.refused else next(items)
            except StopIteration:
                self.stop_feeding(None)
                return
            except BaseException as error:
                self.fail(error)
                return
            if not self.start(item):
                self.refused.append(item)
                return

    async def feed(self, items: AsyncIterator[Any]) -> None:
        """Do the same for asynchronous items, as there is room, until there is none left."""
        try:
            async for item in items:
                while not self.start(item):
                    if self.fed:
                        return
                    await self._has_room()
                self.tell()
                while self.count() >= self._limit:
                    await self._has_room()
        except BaseException as error:
            self.fail(error)
        else:
            self.stop_feeding(None)

    async def _has_room(self) -> None:
        self._room = self._loop.create_future()
        await self._room

    def make_room(self) -> None:
        """There may be some for the feeder."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def take(self) -> asyncio.Future[Any]:
        call = self.queue.popleft()
        self.make_room()
        return call

    def _ended(self, call: asyncio.Future[Any]) -> None:
        if call in self.under_way:
            self.under_way.remove(call)
            self.queue.append(call)
            self.tell()

    def tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def hear(self) -> None:
        """Wait until something has happened."""
        if not self.under_way:
            self.make_room()  # whatever was awaited has ended
        self._news = self._loop.create_future()
        await self._news

    def end(self) -> None:
        """Cancel what is under way, and forget what has ended."""
        calls = [*self.queue, *self.under_way]
        if self.awaited is not None:
            calls.append(self.awaited)
        self.queue.clear()
        self.under_way.clear()
        self.refused.clear()
        self.fed, self.error = True, None
        if self._loop.is_closed():
            return
        for call in calls:
            if not call.cancel() and not call.cancelled():
                call.exception()  # nobody will ask for it
        self.tell()

    def end_from_anywhere(self) -> None:
        """Do that in the loop's thread, if this is another one."""
        if asyncio._get_running_loop() is self._loop:
            self.end()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.end)


class AsyncMap[R]:
    """The results of `executor.amap()`: an asynchronous iterator.

    It is used in one event loop, by one task at a time. What is under way when it is closed, fails
    or is let go of is cancelled.
    """

    def __init__(
        self,
        executor: InterpreterThreadPoolExecutor,
        fn: Callable[[Any], R],
        items: Any,  # an iterator of either kind
        limit: int,
        ordered: bool,
    ) -> None:
        self._begun: _Calls | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._closed = self._asked = False
        self._executor, self._fn, self._limit, self._ordered = executor, fn, limit, ordered
        self._chunk = max(1, limit // 8)  # so many are read together
        self._async_items = items if hasattr(type(items), "__anext__") else None
        self._items = items

    def __aiter__(self) -> AsyncMap[R]:
        return self

    def _begin(self) -> _Calls:
        self._begun = calls = _Calls(self._executor, self._fn, self._limit, self._ordered)
        if self._async_items is not None:
            self._feeder = asyncio.create_task(calls.feed(self._async_items))
            self._async_items = None
        return calls

    def _check_free(self) -> None:
        if self._asked:
            raise RuntimeError("amap() is used by one task at a time: another one awaits the next")

    def __anext__(self) -> Awaitable[R]:
        """Await the next result.

        Raises:
            StopAsyncIteration: There is none any more.
            RuntimeError: Another task awaits the next one.
        """
        self._check_free()
        if self._closed:
            return self._end()
        calls = self._begun or self._begin()
        if self._feeder is None and not calls.fed and self._limit - calls.count() >= self._chunk:
            try:
                calls.refill(self._items)
            except BaseException:
                self._close()
                raise
        queue = calls.queue
        if queue and (first := queue[0]).done() and not first.cancelled():
            if first.exception() is None:
                return calls.take()  # nobody has to wait, and no coroutine is needed
        return self._next(calls)

    async def _end(self) -> R:
        raise StopAsyncIteration  # to whoever awaits, for the sake of anext(results, default)

    async def _next(self, calls: _Calls) -> R:
        self._check_free()  # it may have been made before that one began
        self._asked = True
        try:
            while not calls.queue:
                if calls.fed and not calls.under_way:
                    error, calls.error = calls.error, None
                    raise StopAsyncIteration if error is None else error
                if self._feeder is None and not calls.under_way:
                    calls.refill(self._items)  # who asked before has taken all that was begun
                    continue
                await calls.hear()
                if self._closed:
                    raise StopAsyncIteration
            calls.awaited = calls.take()
            result: R = await calls.awaited
            if self._closed:
                raise StopAsyncIteration
            return result
        except BaseException as error:
            by_aclose = self._closed and isinstance(error, asyncio.CancelledError)
            self._close()
            if by_aclose and not self._is_cancelled():
                raise StopAsyncIteration from None
            raise
        finally:
            calls.awaited = None
            self._asked = False

    @staticmethod
    def _is_cancelled() -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    def _close(self) -> None:
        self._closed = True
        self._items = self._async_items = None
        if self._feeder is not None and not self._feeder.done():
            self._feeder.cancel()
        if self._begun is not None:
            self._begun.end()

    async def aclose(self) -> None:
        """Cancel what is under way, and give no more results. May be called at any time."""
        self._close()
        if self._feeder is not None and not self._feeder.done():
            await asyncio.wait([self._feeder])

    def __del__(self) -> None:
        if self._begun is None or self._closed:
            return
        self._begun.end_from_anywhere()
        if self._feeder is not None and not self._feeder.done():
            loop = self._feeder.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._feeder.cancel)


def amap[R](
    executor: InterpreterThreadPoolExecutor,
    fn: Callable[[Any], R],
    items: Iterable[Any] | AsyncIterable[Any],
    limit: int | None,
    ordered: bool,
) -> AsyncMap[R]:
    """Check the arguments of `executor.amap()`.

    Raises:
        TypeError: `fn` cannot be called, `items` cannot be iterated, or `limit` is no int.
        ValueError: `limit` is not positive.
    """
    if not callable(fn):
        raise TypeError(f"amap() needs a callable, not {fn!r} of type {type(fn).__qualname__!r}")
    if getattr(fn, "_gives", None) == "generator":
        raise TypeError(
            f"amap() needs a function that gives one result, and {fn!r} gives many: "
            "use `async for` with executor.run()"
        )
    most = DEFAULT_LIMIT if limit is None else positive("limit", limit)
    given: Any = items
    if hasattr(type(items), "__aiter__"):
        return AsyncMap(executor, fn, aiter(given), most, ordered)
    if not hasattr(type(items), "__iter__") and not hasattr(type(items), "__getitem__"):
        kind = type(items).__qualname__
        raise TypeError(f"amap() needs an iterable or an async iterable of items, not {kind!r}")
    return AsyncMap(executor, fn, iter(given), most, ordered)
