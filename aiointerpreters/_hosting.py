"""What runs in a host: the event loop of a worker's interpreter, and asynchronous generators there.

The calls themselves, from the mailbox to the outcome, are in the extension module (hosting.c).
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import functools
from collections import deque

from aiointerpreters import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterable
    from typing import Any

__all__ = ("Pump", "awaiting", "main", "nothing")


def main() -> None:
    """Serve calls until the executor is shut down and nothing is left to do.

    What leaves the loop (SystemExit, KeyboardInterrupt, the end that `loop.stop()` makes) is what
    its own Task has ended with; the loop goes on for the others. Anything else is the loop's own
    end: then this raises it, and whatever is under way ends with that.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    lost: list[asyncio.Task[Any]] | None = None
    try:
        host = _core.host(loop)
        loop.add_reader(host.fileno(), host.take)
        loop.set_exception_handler(functools.partial(_report, host))
        try:
            while not host.is_over():
                try:
                    loop.run_forever()
                except (KeyboardInterrupt, SystemExit):
                    pass
        except BaseException:
            lost = host.settle()
            raise
        host.settle()  # nothing, unless the host was set aside and has come back
    finally:
        _close(loop, lost)


def _report(host: _core._Host, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a Task that begins with a SystemExit raises is known, though that Task is never seen."""
    ends = isinstance(context.get("exception"), (KeyboardInterrupt, SystemExit))
    if not (ends and host.begins()):
        loop.default_exception_handler(context)


def _close(loop: asyncio.AbstractEventLoop, lost: list[asyncio.Task[Any]] | None) -> None:
    """End what coroutines have left behind, as `asyncio.run` does.

    `lost`: the loop is of no use any more, and these Tasks will never end.
    """
    try:
        if lost is None:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(_end(loop, tasks))
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        for task in lost or ():
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        asyncio.set_event_loop(None)
        loop.set_exception_handler(None)  # which refers to the host, and so to the loop
        try:
            loop.close()
        except Exception:
            _close_pieces(loop)


def _close_pieces(loop: Any) -> None:
    """Close a loop whose parts a coroutine has taken from it."""
    for name in ("_ssock", "_csock", "_selector"):
        try:
            getattr(loop, name).close()
        except Exception:
            pass  # it is closed already
    asyncio.base_events.BaseEventLoop.close(loop)


async def _end(loop: asyncio.AbstractEventLoop, tasks: Iterable[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


async def awaiting(awaitable: Awaitable[Any]) -> Any:
    """Make a coroutine of anything that can be awaited."""
    return await awaitable


async def nothing() -> None:
    """What a fetch gets when its generator is not there any more."""


class Pump:
    """Runs an asynchronous generator, at most `buffer` items ahead of whoever takes them."""

    def __init__(self, generator: AsyncGenerator[Any], buffer: int) -> None:
        self._generator: AsyncGenerator[Any] | None = generator
        self._buffer = buffer
        self._items: deque[Any] = deque()
        self._produced, self._allowed = 0, buffer
        self._most = max(1, buffer // 2)  # items at a time, so that the others are made meanwhile
        # Of the generator, for when all that came before was taken.
        self._error: BaseException | None = None
        self._over = self._closing = self._gone = False
        self._unread = False  # nobody has asked for items within the patience
        self._task: asyncio.Task[Any] | None = None  # while it is in the generator, or waits
        self._patience: float | None = None  # seconds; None: as long as it takes
        self._news: asyncio.Future[None] | None = None  # fetch() waits
        self._asked: asyncio.Future[None] | None = None  # run() waits

    async def run(self) -> None:
        """Fill the buffer until there is nothing left; ends when all was taken."""
        self._task = asyncio.current_task()
        try:
            assert self._generator is not None
            async for item in self._generator:
                self._items.append(item)
                self._produced += 1
                self._tell(self._news)
                while self._produced >= self._allowed and not self._closing:
                    await self._wait()
                if self._closing:
                    break
        except asyncio.CancelledError:
            if not self._closing:
                self._gone = True
                raise
        except BaseException as error:
            self._error = error
        finally:
            self._task = None
            await self._end()
        while self._items or self._error is not None:
            if self._unread and self._error is not None:
                raise self._error  # they were waited for once already
            await self._wait()

    async def _end(self) -> None:
        close = getattr(self._generator, "aclose", None)
        try:
            if close is not None:
                await close()
        except BaseException as error:
            if self._error is None:
                self._error = error
        finally:
            self._over = True
            self._generator = None
            self._tell(self._news)

    async def _wait(self) -> None:
        """Wait until somebody asks for items."""
        self._asked = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._patience):
                await self._asked
        except TimeoutError:
            self._unread = True
            raise

    def _tell(self, future: asyncio.Future[None] | None) -> None:
        if future is not None and not future.done():
            future.set_result(None)

    def hurry(self, seconds: float) -> None:
        """Wait no longer than that for somebody to ask for items."""
        if seconds >= 0:
            self._patience = seconds
            self._tell(self._asked)

    async def fetch(self, taken: int, closes: bool) -> tuple[list[Any], bool] | None:
        """The next items, and whether they are the last; `taken`: items that are used by now.

        None: it was cancelled, or its time was over, as its own call knows.
        """
        if closes:
            self._closing = True
            self._items.clear()
            if self._task is not None:
                self._task.cancel()
        self._allowed = taken + self._buffer
        self._tell(self._asked)
        while not self._over and (closes or not self._items):
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        items = [self._items.popleft() for _ in range(min(self._most, len(self._items)))]
        if items:
            is_end = self._over and not self._items and self._error is None
            if is_end:  # nobody will ask again; later, since they may be given back
                asyncio.get_running_loop().call_soon(self._tell, self._asked)
            return items, is_end
        if self._gone:
            return None
        error, self._error = self._error, None
        self._tell(self._asked)
        if error is not None:
            raise error
        return items, True

    def give_back(self, fetched: tuple[list[Any], bool]) -> tuple[list[Any], bool] | None:
        """Of what fetch() gave, which cannot be sent, the first item alone; None if it is."""
        items, _ = fetched
        if len(items) < 2:
            self._closing = True
            self._items.clear()
            self._tell(self._asked)
            return None
        self._items.extendleft(reversed(items[1:]))
        return items[:1], False
