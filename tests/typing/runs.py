"""Checked by mypy, never run: what is awaited has the type that the function returns.

`type: ignore` stands where an error is wanted; mypy reports those that ignore nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
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
    await executor.run(interpreter(numbers), 1)  # type: ignore[misc]
    await executor.run(fetch, 3)  # type: ignore[call-overload]


async def main(executor: InterpreterThreadPoolExecutor) -> None:
    assert_type(await executor.run(half, 1, exact=False), float)
    assert_type(await executor.run(words, "text"), list[str])
    assert_type(await executor.run(interpreter(half), 1), float)
    assert_type(await aiointerpreters.run(words, "text"), list[str])
    assert_type(await asyncio.create_task(executor.run(half, 1)), float)
    await asyncio.gather(executor.run(half, 1), executor.run(words, ""))
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(executor.run(words, "text")), asyncio.Task[list[str]])
    async for each in executor.amap(half, [1, 2], limit=2, ordered=False):
        assert_type(each, float)
    async for part in executor.amap(words, iter(["text"])):
        assert_type(part, list[str])
    executor.amap(half, 3)  # type: ignore[arg-type]
    await executor.run(half, "text")  # type: ignore[call-overload]
    await executor.run(half)  # type: ignore[call-overload]
    await executor.run(half, 1, inexact=True)  # type: ignore
    await aiointerpreters.run(words, 3)  # type: ignore[call-overload]
