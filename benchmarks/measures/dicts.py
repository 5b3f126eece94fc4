"""A list of 2,000 small dicts as an argument: much to encode, little to copy."""

from contestants import Contestant
from measures import Figure, Outcome
from measures.megabytes import timed
from payload import size
from sampling import warm_executor

TITLE = "a list of 2,000 small dicts in"
FIGURES = {"in": Figure("ms")}

COUNT = 2_000
WARM = 3  # trips that do not count


def records() -> list[dict[str, object]]:
    return [
        {"id": i, "name": f"user{i}", "score": i * 0.5, "active": i % 2 == 0} for i in range(COUNT)
    ]


def trips(quick: bool) -> int:
    return WARM + (15 if quick else 60)


def run(contestant: Contestant, quick: bool) -> Outcome:
    take, data = contestant.prepare(size), records()
    with warm_executor(contestant, workers=1) as executor:
        if executor.submit(take, data).result() != COUNT:
            raise AssertionError("wrong size")
        return {"in": [timed(executor, take, data) for _ in range(trips(quick))][WARM:]}
