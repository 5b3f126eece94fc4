"""A call of a Python function in a bare interpreter of another thread, and back.

No executor: one int is handed over through a futex, in C, and nothing can be queued, fail, or be
cancelled. What round_trip takes beyond this is an executor's; what this takes beyond the floor of
round_trip is Python's: a thread state, a function call, two ints, in caches that have gone cold.
"""

from contestants import CONTESTANTS, FLOOR, Contestant
from measures import Outcome
from measures.round_trip import FIGURES, figures, timed, trips

__all__ = ("FIGURES",)

TITLE = "round trip of a call in a bare interpreter, without an executor"
ABSENT = dict.fromkeys((name for name in CONTESTANTS if name != FLOOR), "it is an executor")

SOURCE = """
def f(value):
    return value
"""


def run(contestant: Contestant, quick: bool) -> Outcome:
    raise NotImplementedError("it has a floor only")


def floor(quick: bool) -> Outcome:
    import _floor

    _floor.bare_call(SOURCE)
    try:
        timed(_floor.bare_trip, 500, 0)  # warm
        return {**figures(lambda gap: timed(_floor.bare_trip, trips(quick), gap))}
    finally:
        _floor.bare_end()
