"""Checked by mypy, never run: what is awaited has the type that the function returns.

`type: ignore` stands where an error is wanted; mypy reports those that ignore nothing.
"""

import asyncio
from typing import assert_type

import aiointerpreters
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter


def half(n: int, *, exact: bool = True) -> float:
    return n / 2


@interpreter
def words(text: str) -> list[str]:
    return text.split()


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
    await executor.run(half, "text")  # type: ignore[arg-type]
    await executor.run(half)  # type: ignore[call-arg]
    await executor.run(half, 1, inexact=True)  # type: ignore[call-arg]
    await aiointerpreters.run(words, 3)  # type: ignore[arg-type]
