"""Made ahead: what `preload` names, and the future of `executor.prestart()`."""

from __future__ import annotations

import itertools
import operator
import os
from concurrent.futures import Future
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

__all__ = ("Prestart", "module_names", "parse_count")


def module_names(preload: Iterable[str | ModuleType]) -> tuple[str, ...]:
    """The absolute names of the modules in `preload`, in order.

    Raises:
        TypeError: It is a str itself or cannot be iterated, or an item is no str and no module.
        ValueError: An item names nothing that an interpreter could import.
    """
    if isinstance(preload, (str, bytes)):
        raise TypeError(f"preload must be an iterable of modules, not one name: {preload!r}")
    try:
        items = iter(preload)
    except TypeError:
        kind = type(preload).__qualname__
        raise TypeError(f"preload must be an iterable of modules, not {kind!r}") from None
    return tuple(map(_module_name, items))


def _module_name(item: object) -> str:
    name: object = item
    if isinstance(item, ModuleType):
        # A script that is run by `python -m` has a spec, but an interpreter has its own __main__.
        name = getattr(item, "__name__", None)
        if name != "__main__":
            name = getattr(getattr(item, "__spec__", None), "name", None) or name
    if not isinstance(name, str):
        raise TypeError(f"preload takes names of modules, and modules: not {item!r}")
    if name == "__main__":
        raise ValueError(f"preload: interpreters cannot import the main module: {item!r}")
    if not all(name.split(".")):
        raise ValueError(f"preload: not an absolute name of a module: {item!r}")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise ValueError(f"preload: not a name of a module: {item!r}")
    return str(name)


def parse_count(count: int | None, name: str, most: int) -> int:
    """An argument of `prestart()`: `most` for None, and at most that.

    Raises:
        TypeError: It is no int.
        ValueError: It is negative.
    """
    if count is None:
        return most
    try:
        number = operator.index(count)
    except TypeError:
        kind = type(count).__qualname__
        raise TypeError(f"{name} must be an int or None, not {kind!r}") from None
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {number}")
    return min(number, most)


class Prestart(Future[None]):
    """The future of `executor.prestart()`, which can be awaited, too.

    It ends when everything that it waits for has ended, its parts: the making of each interpreter,
    a future of its own, and the start of each thread. Parts end in any thread, under the GIL.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self._makers: list[Future[None]] = []
        self._ended = itertools.count(1)  # next() counts a part that has ended, as one step
        self._parts = -1  # how many there are, once that is known
        self._errors: list[BaseException] = []
        self._was_cancelled = False  # a part was

    def begin(
        self, makers: list[Future[None]], threads: int, error: BaseException | None
    ) -> Prestart:
        """Wait for the makers, for `threads` calls of `thread_ended`, and for this call itself."""
        # What the caller of a first task would import: done here while interpreters are being made.
        import aiointerpreters._byvalue
        import aiointerpreters._pickling  # noqa: F401

        self._makers = makers
        self._parts = len(makers) + threads + 1
        for maker in makers:
            maker.add_done_callback(self._maker_ended)
        self._part_ended(error, finish=True)
        return self

    def thread_ended(self, error: BaseException | None) -> Callable[[], None] | None:
        """Count one thread; what is to be called then, if it was the last part, or None."""
        return self._finish if self._part_ended(error, finish=False) else None

    def _maker_ended(self, maker: Future[None]) -> None:
        if maker.cancelled():
            self._was_cancelled = True
            self._part_ended(None, finish=True)
        else:
            self._part_ended(maker.exception(), finish=True)

    def _part_ended(self, error: BaseException | None, *, finish: bool) -> bool:
        if error is not None:
            self._errors.append(error)
        last = next(self._ended) == self._parts
        if last and finish:
            self._finish()
        return last

    def _finish(self) -> None:
        if self._was_cancelled and not self._errors:
            super().cancel()
        if not self.set_running_or_notify_cancel():
            return
        if self._errors:
            self.set_exception(self._errors[0])
        else:
            self.set_result(None)

    def cancel(self) -> bool:
        """Cancel it, and the making of those interpreters that has not begun."""
        cancelled = super().cancel()
        if cancelled:
            for maker in self._makers:
                maker.cancel()
        return cancelled

    def result(self, timeout: float | None = None) -> None:
        self._check_process()
        try:
            return super().result(timeout)
        except KeyboardInterrupt:
            self.cancel()
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._check_process()
        try:
            return super().exception(timeout)
        except KeyboardInterrupt:
            self.cancel()
            raise

    def _check_process(self) -> None:
        if not self.done() and os.getpid() != self._process:
            raise RuntimeError(
                "the prestart belongs to the process that this one was forked from; it will not "
                "end here"
            )

    def __await__(self) -> Generator[object]:
        import asyncio

        return asyncio.wrap_future(self).__await__()
