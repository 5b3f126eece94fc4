"""Checked by mypy, never run: what is awaited has the type that the function returns.

`type: ignore` stands where an error is wanted; mypy reports those that ignore nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from typing import assert_type

import aiointerpreters
from aiointerpreters import InterpreterThreadPoolExecutor, Runner, interpreter


def half(n: int, *, exact: bool = True) -> float:
    return n / 2


@interpreter
def words(text: str) -> list[str]:
    return text.split()


@interpreter
async def fetch(url: str) -> bytes:
    return url.encode()


async def numbers(n: int) -> AsyncGenerator[int]:
    yield n


@interpreter
async def letters(text: str) -> AsyncIterator[str]:
    for letter in text:
        yield letter


async def coroutines(executor: InterpreterThreadPoolExecutor, runner: Runner) -> None:
    assert_type(await executor.run(fetch, "text"), bytes)
    assert_type(await aiointerpreters.run(fetch, "text"), bytes)
    assert_type(await runner.run(fetch, "text"), bytes)
    assert_type(await runner.run(half, 1), float)
    assert_type(await runner.wrap(fetch)("text"), bytes)
    async for number in executor.run(interpreter(numbers, buffer=3), 1):
        assert_type(number, int)
    async for number in runner.run(numbers, 1):
        assert_type(number, int)
    async for number in runner.wrap(numbers)(1):
        assert_type(number, int)
    async for letter in executor.run(letters, "text"):
        assert_type(letter, str)
    async for letter in runner.run(letters, "text"):
        assert_type(letter, str)
    async for letter in aiointerpreters.run(letters, "text"):
        assert_type(letter, str)
    await executor.run(interpreter(numbers), 1)  # type: ignore[misc]
    assert_type(executor.submit(fetch, "text"), Future[bytes])
    assert_type(await executor.submit_async(fetch, "text"), Future[bytes])
    executor.submit(fetch, 3)  # type: ignore[call-overload]
    async for page in executor.amap(fetch, ["text"]):
        assert_type(page, bytes)
    await executor.run(fetch, 3)  # type: ignore[call-overload]


async def main(executor: InterpreterThreadPoolExecutor) -> None:
    assert_type(await executor.run(half, 1, exact=False), float)
    assert_type(await executor.run(words, "text"), list[str])
    assert_type(await executor.run(interpreter(half), 1), float)
    assert_type(await aiointerpreters.run(words, "text"), list[str])
    assert_type(await asyncio.create_task(executor.run(half, 1)), float)
    gathered = await asyncio.gather(executor.run(half, 1), executor.run(words, ""))
    assert_type(gathered, tuple[float, list[str]])
    both = await asyncio.gather(aiointerpreters.run(fetch, ""), Runner(workers=1).run(half, 1))
    assert_type(both, tuple[bytes, float])
    assert_type(await asyncio.wait_for(executor.run(words, ""), 1), list[str])
    assert_type(await asyncio.to_thread(words, "text"), list[str])
    loop = asyncio.get_running_loop()
    assert_type(await loop.run_in_executor(executor, words, "text"), list[str])
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(executor.run(words, "text")), asyncio.Task[list[str]])
    async for each in executor.amap(half, [1, 2], limit=2, ordered=False):
        assert_type(each, float)
    async for part in executor.amap(words, iter(["text"])):
        assert_type(part, list[str])
    executor.amap(half, 3)  # type: ignore[call-overload]
    await executor.run(half, "text")  # type: ignore[call-overload]
    await executor.run(half)  # type: ignore[call-overload]
    await executor.run(half, 1, inexact=True)  # type: ignore
    await aiointerpreters.run(words, 3)  # type: ignore[call-overload]
