"""What the large tasks call. Not in tasks.py, so that only their workers hold the data."""

from collections.abc import Sized

MEGABYTES_8 = bytes(range(256)) * (8_000_000 // 256)


def size(data: Sized) -> int:
    """Takes much and returns little."""
    return len(data)


def produce() -> bytes:
    """Takes nothing and returns much."""
    return MEGABYTES_8
