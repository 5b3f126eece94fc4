"""Checked by mypy, never run: a tagged function keeps its signature.

`type: ignore` stands where an error is wanted; mypy reports those that ignore nothing.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import assert_type

import aiointerpreters
from aiointerpreters import InterpreterThreadPoolExecutor, Runner, Shareable, Stats, interpreter
from aiointerpreters.executors import InterpreterThreadPoolExecutor as SameExecutor
from aiointerpreters.executors import interpreter as same_interpreter
from aiointerpreters.executors.interpthread import interpreter as also_same_interpreter
from aiointerpreters.types import Shareable as SameShareable


def parse(text: str, limit: int = 0, *, strict: bool = False) -> list[str]:
    return [text]


# As a function.
tagged = interpreter(parse)
assert_type(tagged("a", 1, strict=True), list[str])
assert_type(tagged.fn("a"), list[str])
assert_type(tagged.__wrapped__("a"), list[str])
tagged(1)  # type: ignore[arg-type]
tagged()  # type: ignore[call-arg]
tagged("a", loose=True)  # type: ignore[call-arg]
like_before: Callable[[str, int], list[str]] = tagged
unlike_before: Callable[[int], list[str]] = tagged  # type: ignore[assignment]
interpreter(3)  # type: ignore[call-overload]


# As a decorator.
@interpreter
def total(first: int, /, *rest: float, scale: float = 1) -> float:
    return sum(rest, first) * scale


assert_type(total(1, 2.5, scale=2), float)
total("1")  # type: ignore[arg-type]
total(1, scale="2")  # type: ignore[arg-type]
assert_type(total.__name__, str)


@interpreter
def generic[T](value: T) -> list[T]:
    return [value]


def log[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    return function


@interpreter
@log
def logged(x: int) -> str:
    return str(x)


assert_type(logged(1), str)
logged("1")  # type: ignore[arg-type]


# With options.
request_id = ContextVar[str]("request_id")
with_options = interpreter(parse, context_vars=[request_id])
assert_type(with_options("a", strict=True), list[str])
with_options(1)  # type: ignore[arg-type]
interpreter(parse, context_vars=["request_id"])  # type: ignore[list-item]
interpreter(parse, unknown=1)  # type: ignore[call-overload]


@interpreter(context_vars=(request_id,))
def decorated(first: int, *, scale: float = 1) -> float:
    return first * scale


assert_type(decorated(1, scale=2), float)
decorated("1")  # type: ignore[arg-type]
interpreter(context_vars=[1])  # type: ignore[list-item]


everywhere = interpreter(parse, everywhere=True)
assert_type(everywhere("a", strict=True), list[str])
everywhere(1)  # type: ignore[arg-type]
interpreter(parse, everywhere="yes")  # type: ignore[call-overload]


@interpreter(everywhere=True, timeout=1.5)
def decorated_everywhere(first: int) -> float:
    return first / 2


assert_type(decorated_everywhere(1), float)


# On methods.
class Parser:
    @interpreter(context_vars=[request_id])
    def with_options(self, text: str) -> bytes:
        return text.encode()

    @interpreter
    def method(self, text: str, limit: int = 0) -> bytes:
        return text.encode()

    @staticmethod
    @interpreter
    def static(text: str) -> int:
        return len(text)

    @classmethod
    @interpreter
    def of_class(cls, text: str) -> bytes:
        return text.encode()

    @interpreter
    def property_like(self) -> int:
        return 1


assert_type(Parser().method("a", limit=1), bytes)
assert_type(Parser.method(Parser(), "a"), bytes)
assert_type(Parser.static("a"), int)
assert_type(Parser().static("a"), int)
assert_type(Parser.of_class("a"), bytes)
assert_type(Parser().of_class("a"), bytes)
Parser.of_class(1)  # type: ignore[arg-type]
assert_type(Parser().property_like(), int)
assert_type(Parser().with_options("a"), bytes)
Parser().with_options(1)  # type: ignore[arg-type]
Parser().method(1)  # type: ignore[arg-type]
Parser().method()  # type: ignore[call-arg]
Parser.static(1)  # type: ignore[arg-type]
Parser().static(1)  # type: ignore[arg-type]


# In the executor, tagged or not.
with InterpreterThreadPoolExecutor(
    4, "prefix", print, ("started",), max_interpreters=2
) as executor:
    assert_type(executor, InterpreterThreadPoolExecutor)
    assert_type(executor.submit(parse, "a"), Future[list[str]])
    assert_type(executor.submit(tagged, "a", strict=True), Future[list[str]])
    assert_type(executor.submit(Parser().method, "a"), Future[bytes])
    assert_type(executor.submit(Parser.of_class, "a"), Future[bytes])
    assert_type(executor.submit(Parser.static, "a"), Future[int])
    assert_type(executor.map(total, [1, 2], [2.5, 3.5]), Iterator[float])
    executor.submit(tagged, 1)  # type: ignore[call-overload]
    assert_type(executor.map(tagged, ["a"], buffersize=2, timeout=1.5), Iterator[list[str]])
    executor.map(tagged, ["a"], buffersize="2")  # type: ignore[arg-type]
    executor.set_as_event_loop_default()
    executor.set_as_event_loop_default(3)  # type: ignore[arg-type]
    same: SameExecutor = executor
    prestarted: Future[None] = executor.prestart(2, threads=None)
    assert_type(executor.prestart().result(1.5), None)
    executor.prestart("2")  # type: ignore[arg-type]
    assert_type(executor.stats(), Stats)
    assert_type(executor.stats().wait.p99, float)
    executor.dump()
    executor.dump("stderr")  # type: ignore[arg-type]
    executor.shutdown(wait=False, cancel_futures=True)

InterpreterThreadPoolExecutor(max_pending=10, when_full="raise")
InterpreterThreadPoolExecutor(max_pending=10, pending_timeout=1.5)
InterpreterThreadPoolExecutor(when_full="drop")  # type: ignore[arg-type]
InterpreterThreadPoolExecutor(max_interpreters="2")  # type: ignore[arg-type]
InterpreterThreadPoolExecutor(preload=["json", aiointerpreters])
InterpreterThreadPoolExecutor(preload=[3])  # type: ignore[list-item]
assert_type(same_interpreter(parse)("a"), list[str])
assert_type(also_same_interpreter(parse)("a"), list[str])


# In the runner, and ahead of it.
async def accepted() -> None:
    assert_type(await executor.submit_async(tagged, "a", strict=True), Future[list[str]])
    await executor.submit_async(tagged, 1)  # type: ignore[call-overload]


async def awaited() -> None:
    assert_type(await InterpreterThreadPoolExecutor().prestart(), None)
    with Runner(workers=2).start() as runner:
        assert_type(runner, Runner)
        assert_type(await runner.run(parse, "a", strict=True), list[str])
        assert_type(await runner.run(tagged, "a"), list[str])
        await runner.run(parse, 1)  # type: ignore[call-overload]
        wrapped = runner.wrap(parse)
        assert_type(await wrapped("a", 1), list[str])
        await wrapped(1)  # type: ignore[arg-type]


# Types and errors.
shareable: Shareable = ("a", b"b", 1, 2.5, True, None, memoryview(b""), ("nested", ()))
not_shareable: Shareable = object()  # type: ignore[assignment]
same_shareable: SameShareable = shareable
error: aiointerpreters.SendError = aiointerpreters.SendError("text")
assert_type(error.role, str | None)
assert_type(error.position, int | str | None)
