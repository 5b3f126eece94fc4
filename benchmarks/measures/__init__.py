"""One file a measure. Each has

TITLE      one line: what is done and timed
FIGURES    name → Figure, what run() and floor() return samples of
run(contestant, quick) → {name: samples}    in a process of its own; `quick` asks for fewer samples
floor(quick) → {name: samples}              the same work in C; left out where there is none

and its place in the tuple below. Standard library only.
"""

from dataclasses import dataclass

ALL = (
    "submit",
    "map",
    "round_trip",
    "run_in_executor",
    "to_thread",
    "first_task",
    "worker_memory",
    "megabytes",
)


@dataclass(frozen=True)
class Figure:
    """What a sample says, and whether more of it is better."""

    unit: str
    more_is_better: bool = False
