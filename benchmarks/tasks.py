"""What the small tasks call, in a module that every worker can import."""

import time


def echo(value: int) -> int:
    """The small task."""
    return value


def take(value: object) -> None:
    """Takes anything and returns nothing."""


def make(size: int) -> bytes:
    """Makes what it returns."""
    return b"x" * size


def stay(seconds: float) -> None:
    """Keeps its worker, so that the next task needs another one."""
    time.sleep(seconds)


def spin(rounds: int) -> int:
    """The task that computes."""
    value = 0
    for number in range(rounds):
        value = (value + number) & 0xFF
    return value


def timed_spins(rounds: int, count: int) -> float:
    """The seconds that `count` spins take in one worker, one after the other."""
    start = time.perf_counter()
    for _ in range(count):
        spin(rounds)
    return time.perf_counter() - start


def hold(said: str, told: str) -> None:
    """Says, through the one named pipe, that it is running; goes on after a byte of the other."""
    with open(said, "wb", buffering=0) as pipe:
        pipe.write(b".")
    with open(told, "rb", buffering=0) as pipe:
        pipe.read(1)
