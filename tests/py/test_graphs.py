"""Values that refer to each other, in any way Hypothesis thinks of, arrive as pickle has them."""

import pickle

import jobs
import pytest
from harness import TIMEOUT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiointerpreters.executors import interpreter

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters(exclude_categories=())),
    st.binary(),
)
# A step makes a node of the graph of earlier ones: (kind, picks); a pick is the number of a node.
NATIVE = ("list", "tuple", "dict", "set", "frozenset", "leaf again", "into an earlier one")
picks = st.lists(st.integers(0, 1000), max_size=5)


def hashable(value) -> bool:
    try:
        hash(value)
    except (TypeError, RecursionError):
        return False
    return True


def build(values, steps):
    """Make the graph that `steps` describe, and give its last node together with one on the way."""
    nodes = list(values) or [None]
    for kind, numbers in steps:
        parts = [nodes[number % len(nodes)] for number in numbers]
        keys = [part for part in parts if hashable(part)]
        match kind:
            case "list":
                nodes.append(parts)
            case "tuple":
                nodes.append(tuple(parts))
            case "dict":
                nodes.append(dict(zip(keys, parts, strict=False)))
            case "set":
                nodes.append(set(keys))
            case "frozenset":
                nodes.append(frozenset(keys))
            case "object":
                nodes.append(jobs.Point(parts, len(parts)))
            case "leaf again":
                nodes.append([nodes[0], nodes[0]])
            case _:
                holders = [node for node in nodes if type(node) is list]
                if holders:
                    holders[len(numbers) % len(holders)].extend(parts)
    return (nodes[-1], nodes[len(nodes) // 2], nodes)


def shape(value):
    """Describe a graph: types, values and order, and which containers are one object."""
    numbers, described, pending = {}, [], [value]
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind in (list, tuple, dict, set, frozenset, jobs.Point):
            known = numbers.get(id(item))
            # Python itself has one empty tuple, and one empty frozenset.
            if known is not None and item not in ((), frozenset()):
                described.append(("again", known))
                continue
            numbers[id(item)] = len(numbers)
            if kind is dict:
                parts = [part for pair in item.items() for part in pair]
            elif kind is jobs.Point:
                parts = [item.x, item.y]
            elif kind in (set, frozenset):
                described.append((kind, sorted(map(shape_of_hashable, item))))
                continue
            else:
                parts = list(item)
            described.append((kind, len(parts)))
            pending.extend(reversed(parts))
        else:
            described.append((kind, repr(item)))
    return described


def shape_of_hashable(value) -> str:
    """Describe an item of a set, whose order may differ from one interpreter's to another's."""
    if type(value) is tuple:
        return f"({', '.join(map(shape_of_hashable, value))})"
    if type(value) is frozenset:
        return f"{{{', '.join(sorted(map(shape_of_hashable, value)))}}}"
    return f"{type(value).__name__} {value!r}"


def shape_there(value):
    return shape(value)


lenient = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400
)


@pytest.mark.parametrize("extra", [(), ("object",)], ids=["native", "pickled"])
@lenient
@given(data=st.data())
def test_graphs_arrive_as_pickle_has_them(shared, extra, data):
    values = data.draw(st.lists(leaves, max_size=6))
    steps = data.draw(st.lists(st.tuples(st.sampled_from(NATIVE + extra), picks), max_size=12))
    value = build(values, steps)
    expected = shape(pickle.loads(pickle.dumps(value, 5)))
    assert shape(shared.submit(interpreter(jobs.identity), value).result(TIMEOUT)) == expected
    assert shared.submit(interpreter(shape_there), value).result(TIMEOUT) == expected
