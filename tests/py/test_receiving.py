"""Python that runs as a value is received, or sent, finds everything in order."""

import array
import sys

import jobs
import pytest
import receive_jobs
from harness import TIMEOUT
from receive_jobs import MARK, Key, Runs

from aiointerpreters import SendError, broadcast, interpreter


@pytest.fixture
def single(pool):
    return pool(1)


def send(executor, function, *args):
    return executor.submit(interpreter(function), *args).result(TIMEOUT)


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("nested", [False, True])
def test_what_is_being_filled_is_full_of_none(single, kind, nested):
    """The value of a handle is unpickled as the container around it is being filled."""
    handle = broadcast(Runs(receive_jobs.look))
    value = kind([MARK, 1, handle, 2])
    sent = [value, value] if nested else value
    expected = repr(kind([MARK, 1, None, None]))
    found = send(single, receive_jobs.seen, sent)
    assert found == ([expected] if kind is list else [])  # a tuple cannot be found
    arrived = kind([MARK, 1, 7, 2])
    assert send(single, jobs.identity, sent) == ([arrived, arrived] if nested else arrived)


def test_a_key_that_is_hashed_meanwhile(single):
    handle = broadcast(Key())
    value = [MARK, {handle: 1}, {handle}, 2]
    # What is looked at last: the set's member, as it is put in.
    found = send(single, receive_jobs.seen, value)
    assert len(found) == 1
    assert found[0].endswith("1}, None, None]")


def test_a_tuple_is_known_to_the_collector_in_the_end(single):
    value = (MARK, broadcast(Runs(receive_jobs.collect)), [])
    assert send(single, receive_jobs.is_tracked, value)


def test_a_list_that_is_emptied_meanwhile(single):
    value = [MARK, 1, broadcast(Runs(receive_jobs.empty)), 2]
    with pytest.raises(SendError, match="a list was changed while it was being received"):
        send(single, jobs.identity, value)
    assert send(single, jobs.identity, [MARK, 1]) == [MARK, 1]


def test_what_is_dropped_meanwhile_is_still_referred_to(single):
    inner = ["inner"]
    value = [MARK, inner, broadcast(Runs(receive_jobs.forget)), inner]
    assert send(single, jobs.identity, value) == [MARK, None, 7, ["inner"]]


def test_what_is_given_up_in_a_cycle_is_filled_up(single):
    """A cycle keeps the list until the garbage collector finds it."""
    value = [MARK, 1]
    value += [[value], broadcast(Runs(receive_jobs.refuse)), 1]
    with pytest.raises(SendError, match="refused"):
        send(single, jobs.identity, value)
    assert send(single, receive_jobs.look_and_tell) == [f"['{MARK}', 1, [[...]], None, None]"]


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("size", [1, 20_000])
def test_an_import_in_the_middle(single, kind, size):
    """The module of an array is imported once; audit hooks are told of each array."""
    assert send(single, receive_jobs.look_around_arrays) == []
    numbers = array.array("i", range(size))
    value = kind([MARK, numbers, [MARK, 1], numbers])
    assert send(single, receive_jobs.found_around_arrays, value) == (
        ["import", repr([MARK, None, None, None]), "audit", repr([MARK, None, None, None])]
        if kind is list
        else ["import", "audit"]  # a tuple cannot be found
    )
    value = kind([MARK, numbers, 2])
    assert send(single, receive_jobs.found_around_arrays, value) == (
        ["audit", repr([MARK, None, None])] if kind is list else ["audit"]
    )


class Looks:
    """An iterable that looks around as it is asked for its iterator."""

    def __iter__(self):
        receive_jobs.look()
        return iter(range(3))


def test_the_iterators_of_map(single):
    iterators = [MARK] * 2, Looks()
    assert len([*single.map(interpreter(jobs.capture), *iterators)]) == 2
    assert "NULL" not in repr(receive_jobs.SEEN)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="interpreters have no queues")
def test_what_is_changed_as_a_queue_is_sent(single, monkeypatch):
    """An object made where one that was sent before has been is another one."""
    from concurrent import interpreters

    queue = interpreters.create_queue()
    first, last = [], []
    inner = ["inner"]
    first += [inner, inner]
    del inner

    def number(queue):
        first.clear()
        fresh = [["fresh"] for _ in range(10)]
        last.extend(item for item in fresh for _ in range(2))
        return queue._id

    monkeypatch.setattr(interpreters.Queue, "id", property(number))
    sent = send(single, first_and_last, first, queue, last)
    assert sent == ([["inner"]] * 2, [["fresh"]] * 20)


def first_and_last(first, _queue, last):
    return first, last
