"""As `jobs`, for what is out of the ordinary: values that are disturbed on their way, tasks that
pull the rug from under this package."""

import gc
import os
import sys
import time

ON_ARRIVAL = []  # called as values arrive, one for each; empty where nobody filled it


class Arriving:
    """A value whose unpickling runs Python code, which `ON_ARRIVAL` may disturb."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return arrive, (self.value,)


def arrive(value):
    if ON_ARRIVAL:
        ON_ARRIVAL.pop(0)()
    return Arriving(value)


def make_arriving(value) -> Arriving:
    return Arriving(value)


def raise_arriving(value):
    raise ValueError(Arriving(value))


def value_of(arrived: Arriving):
    return arrived.value


def forget_this_package() -> list[str]:
    """Let go of all modules of this package, where this runs."""
    names = [name for name in sys.modules if name.partition(".")[0] == "aiointerpreters"]
    for name in names:
        del sys.modules[name]
    gc.collect()
    return names


def stamp(times: memoryview, index: int, descriptor: int, seconds: float) -> None:
    """Wait, awake, until the first of the times is set; then set another one, and write a byte."""
    deadline = time.monotonic() + seconds
    while not times[0] and time.monotonic() < deadline:
        pass
    times[index] = time.monotonic()
    os.write(descriptor, b".")


class Unhashable:
    """A callable that cannot be a key."""

    __hash__ = None

    def __call__(self, value):
        return ("unhashable", value)


class Odd:
    """A callable that answers no question about itself."""

    def _refuse(self, *_):
        raise RuntimeError("asked")

    __eq__ = __hash__ = __bool__ = __len__ = _refuse

    def __call__(self, value):
        return ("odd", value)
