"""Done-callbacks run in a worker; what they wait for must not need what that worker holds."""

import concurrent.futures
from asyncio import futures as asyncio_futures

import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters.executors import interpreter


@pytest.fixture
def narrow(pool):
    """Many threads, and one interpreter."""
    return pool(4, max_interpreters=1)


def answering(executor, answers):
    """A callback that waits for a tagged task."""
    answer = concurrent.futures.Future()
    answers.append(answer)

    def callback(_):
        answer.set_result(executor.submit(interpreter(jobs.add), 1, 2).result(TIMEOUT))

    return callback


@pytest.mark.parametrize("passing", [jobs.pass_gate, jobs.pass_gate_and_raise])
def test_callback_of_a_tagged_task_waits_for_another(narrow, gate, passing):
    answers = []
    future = narrow.submit(interpreter(passing), *gate.args)
    future.add_done_callback(answering(narrow, answers))
    gate.open()
    assert answers[0].result(TIMEOUT) == 3


def test_callback_of_a_prestart_waits_for_a_task(narrow):
    answers = []
    narrow.prestart().add_done_callback(answering(narrow, answers))
    assert answers[0].result(TIMEOUT) == 3


def test_callbacks_of_many_tasks_wait_for_others(narrow):
    answers = []
    for n in range(3):  # one thread is left for what they wait for
        narrow.submit(interpreter(jobs.add), n).add_done_callback(answering(narrow, answers))
    assert [answer.result(TIMEOUT) for answer in answers] == [3, 3, 3]


@pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])
def test_followed_by_another_concurrent_future(executor, gate, tag):
    """asyncio's own callback, and no loop at its end."""
    source = executor.submit(tag(jobs.pass_gate), *gate.args, 5)
    destination = concurrent.futures.Future()
    asyncio_futures._chain_future(source, destination)
    gate.open()
    assert destination.result(TIMEOUT) == 5
