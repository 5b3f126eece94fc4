"""How much of two cores computing tasks get, by their length: what is missing, the executor took.

The same tasks run in one worker alone, in the two of them, and in one alone again, so that a clock
that changes its speed and a machine that is needed elsewhere do least harm. 1.0 is twice as fast
as one worker alone. The floor says what two C threads get of this machine, which has hyperthreads,
a clock that slows down when two cores work, and other users.
"""

import time
from concurrent.futures import Executor

from contestants import WORKERS, Contestant
from measures import AS_THREADS, Figure, Outcome
from sampling import rounds_for, warm_executor
from tasks import spin, timed_spins

TITLE = "efficiency: computing tasks on two workers, against twice one worker alone"
LENGTHS = {"10ms": 10e-3, "1ms": 1e-3, "100us": 100e-6}  # seconds of a task
FIGURES = {name: Figure("of two cores", more_is_better=True) for name in LENGTHS}
PROCESSES = 4, 2
ABSENT = {"0.6.0-untagged": AS_THREADS}


def plan(quick: bool, length: float) -> tuple[int, float, float]:
    """Samples; seconds that both workers compute for one, and that one does, before and after."""
    # At the end one worker may be idle for a task's length; that must not show.
    together = max(0.5, 100 * length)
    return (2, together * 0.4, 0.1) if quick else (3, together, 0.2)


def efficiency(
    executor: Executor, contestant: Contestant, rounds: int, alone: int, together: int
) -> float:
    """`alone` tasks in one worker before and after, and `together` tasks in all of them."""
    compute, timed = contestant.prepare(spin), contestant.prepare(timed_spins)
    before = executor.submit(timed, rounds, alone).result()
    start = time.perf_counter()
    futures = [executor.submit(compute, rounds) for _ in range(together)]
    for future in futures:
        future.result()
    taken = time.perf_counter() - start
    after = executor.submit(timed, rounds, alone).result()
    return together * (before + after) / (2 * alone) / (WORKERS * taken)


def run(contestant: Contestant, quick: bool) -> Outcome:
    taken: Outcome = {}
    with warm_executor(contestant) as executor:
        for name, length in LENGTHS.items():
            count, seconds_together, seconds_alone = plan(quick, length)
            rounds = rounds_for(executor, contestant, length)
            alone = round(seconds_alone / length)
            together = round(WORKERS * seconds_together / length)
            efficiency(executor, contestant, rounds, alone // 10, together // 10)  # warm
            taken[name] = [
                efficiency(executor, contestant, rounds, alone, together) for _ in range(count)
            ]
    return taken


def floor(quick: bool) -> Outcome:
    """Two C threads against one: there are no tasks, so it is one figure for all lengths."""
    import _floor

    count, seconds_together, seconds_alone = plan(quick, 0)
    million = 1_000_000
    per_second = million / min(_floor.spin(million, 1) for _ in range(10))
    alone, together = (round(s * per_second) for s in (seconds_alone, seconds_together))
    taken = []
    for _ in range(count * len(LENGTHS)):
        before = _floor.spin(alone, 1)
        both = _floor.spin(together, WORKERS)
        after = _floor.spin(alone, 1)
        taken.append(together * (before + after) / (2 * alone) / both)
    return dict.fromkeys(LENGTHS, taken)
