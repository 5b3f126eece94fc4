"""What the small tasks call, in a module that every worker can import."""

import time


def echo(value: int) -> int:
    """The small task."""
    return value


def stay(seconds: float) -> None:
    """Keeps its worker, so that the next task needs another one."""
    time.sleep(seconds)
