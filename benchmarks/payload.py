"""What the large tasks call. Not in tasks.py, so that only their workers hold the data."""

import time
from collections.abc import Sized

MEGABYTES_8 = bytes(range(256)) * (8_000_000 // 256)


def size(data: Sized) -> int:
    """Takes much and returns little."""
    return len(data)


def produce() -> bytes:
    """Takes nothing and returns much, which the worker keeps."""
    return MEGABYTES_8


def produce_anew() -> tuple[float, bytes]:
    """Takes nothing and returns much that was made for it; and when it had made it."""
    data = bytes(memoryview(MEGABYTES_8))
    return time.perf_counter(), data


# A map of a maze, as the users' own complaint has it.
GRID = tuple(tuple((row * 7 + column * 11) % 13 > 2 for column in range(130)) for row in range(130))


def corner(grid: tuple[tuple[object, ...], ...], number: int) -> int:
    """Takes a grid, looks at it, and returns little."""
    return number if len(grid[0]) > 0 else -1
