"""One file a measure. Each has

TITLE      one line: what is done and timed
FIGURES    name → Figure, what run() and floor() return samples of
run(contestant, quick) → {name: samples}    in a process of its own; `quick` asks for fewer samples
floor(quick) → {name: samples}              the same work in C; left out where there is none

and its place in the tuple below. A str in the place of samples says why there are none. It may have

PROCESSES          how many processes are enough: of a full run, of a quick one
ABSENT             contestant → why it does not take part

Standard library only.
"""

from dataclasses import dataclass
from types import ModuleType

ALL = (
    "submit",
    "map",
    "round_trip",
    "bare_trip",
    "run_in_executor",
    "to_thread",
    "run",
    "amap",
    "lease",
    "first_task",
    "worker_memory",
    "pending_memory",
    "megabytes",
    "views",
    "handed",
    "dicts",
    "grid",
    "stream",
    "efficiency",
    "loop_lag",
    "web",
    "echo",
    "growth",
)

# Samples of each figure, or why there are none.
type Outcome = dict[str, list[float] | str]

# Said by the measures that take long.
AS_THREADS = "left out: its untagged tasks go the way of ThreadPoolExecutor's"

# Of measures of what only this project has.
NO_SUCH_METHOD = dict.fromkeys(
    ("threads", "interpreters", "processes", "0.6.0-tagged", "0.6.0-untagged"),
    "it has no such method",
)


@dataclass(frozen=True)
class Figure:
    """What a sample says, and whether more of it is better."""

    unit: str
    more_is_better: bool = False


def processes(measure: ModuleType, asked: int, quick: bool) -> int:
    """How many processes to run for each contestant: no more than are asked for."""
    enough: tuple[int, int] = getattr(measure, "PROCESSES", (asked, asked))
    return min(asked, enough[quick])
