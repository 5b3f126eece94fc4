"""What `executor.stats()` gives."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("Stats", "Times")


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, over all tasks, in seconds.

    While tasks take long, each is timed. Of many short ones (below 10 µs), one in 64 is, and counts
    for all of them: `count` is then near the number of tasks, and not that number. `p50` and `p99`
    are right within an eighth of themselves.

    Attributes:
        count: The tasks that were timed, and those that they stand for.
        sum: The time of all of them together.
        p50: The median, 0.0 when there is none.
        p99: What 99 of 100 stay below, 0.0 when there is none.
    """

    count: int
    sum: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Stats:
    """The figures of an executor at one moment, since it was made (or forked).

    Every task that was accepted is in exactly one of `pending`, `running`, `done`, `failed`,
    `cancelled` and `interrupted`, but for the moment in which it goes from one to the next. A
    result that has been seen has been counted.

    Attributes:
        pending: Accepted tasks that have not started.
        running: Tasks that run.
        done: Tasks that have returned a value.
        failed: Tasks that have raised; among them, those that could not be sent or run.
        cancelled: Tasks that were cancelled before they started.
        interrupted: Tasks that were stopped while they ran.
        set_aside: Workers that were given up and replaced, because their task did not stop.
        recycled: Interpreters that were ended while the executor goes on: after
            `max_tasks_per_interpreter` tasks, after `idle_timeout`, or because an interruption may
            have broken them. Those of workers that were set aside are not among them.
        threads: Worker threads.
        interpreters: Interpreters that are there.
        bytes_in: What has gone into interpreters with tagged calls: encoded values, and the memory
            that was lent with them.
        bytes_out: What has come back.
        wait: From being accepted to the start of the task.
        run: From the start of the task to its end.
    """

    pending: int
    running: int
    done: int
    failed: int
    cancelled: int
    interrupted: int
    set_aside: int
    recycled: int
    threads: int
    interpreters: int
    bytes_in: int
    bytes_out: int
    wait: Times
    run: Times

    @classmethod
    def _of(cls, totals: tuple[Any, ...]) -> Stats:
        values: list[Any] = [*totals[:-2], Times(*totals[-2]), Times(*totals[-1])]
        return cls(*values)
