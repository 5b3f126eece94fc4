"""What breaks a task (its stack, its memory) ends that task: the worker and the pool go on."""

import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters import SendError, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


def repr_deeply():
    value = []
    for _ in range(200_000):
        value = [value]
    return len(repr(value))


def parse_deeply():
    import json

    return json.loads("[" * 200_000)


def call_deeply_in_c():
    def key(value):
        return sorted([value], key=key)

    return key(1)


def allocate():
    return bytes(2**62)


def allocate_in_a_list():
    return [0] * 2**60


@both
@pytest.mark.parametrize(
    ("function", "error"),
    [
        (jobs.recurse_forever, RecursionError),
        (repr_deeply, RecursionError),
        (parse_deeply, RecursionError),
        (call_deeply_in_c, RecursionError),
        (allocate, MemoryError),
        (allocate_in_a_list, MemoryError),
    ],
)
def test_the_task_gets_the_error_and_the_worker_goes_on(pool, tag, function, error):
    executor = pool(1)
    before = executor.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT)
    for _ in range(2):
        with pytest.raises(error):
            executor.submit(tag(function)).result(TIMEOUT)
    assert executor.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT) == before
    assert executor.submit(jobs.add, 1, 2).result(TIMEOUT) == 3
    assert executor.stats().threads == 1


@both
def test_a_result_that_is_too_deep(pool, tag):
    """It cannot be sent; where nothing is sent, it is the result."""
    executor = pool(1)
    future = executor.submit(tag(jobs.nest), 100_000)
    if tag is interpreter:
        with pytest.raises((SendError, RecursionError)):
            future.result(TIMEOUT)
    else:
        assert len(future.result(TIMEOUT)) == 1
    assert executor.submit(tag(jobs.add), 1, 2).result(TIMEOUT) == 3
