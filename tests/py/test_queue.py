"""A concurrent.interpreters.Queue arrives as the same queue (Python 3.14 and later)."""

import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters.executors import interpreter

interpreters = pytest.importorskip("concurrent.interpreters", reason="came with Python 3.14")


def send(executor, function, /, *args, **kwargs):
    return executor.submit(interpreter(function), *args, **kwargs).result(TIMEOUT)


@pytest.fixture
def queue():
    return interpreters.create_queue()


def test_arrives_as_the_same_queue(executor, queue):
    assert send(executor, jobs.queue_facts, queue) == ("Queue", queue.id)


def test_items_put_there_are_got_here(executor, queue):
    send(executor, jobs.put_all, queue, (1, "two", 3.0, None, (4, b"5")))
    assert [queue.get(timeout=TIMEOUT) for _ in range(5)] == [1, "two", 3.0, None, (4, b"5")]


def test_items_put_here_are_got_there(executor, queue):
    for n in range(3):
        queue.put(n)
    assert send(executor, jobs.get_some, queue, 3) == (0, 1, 2)


def test_while_the_task_runs(executor, queue):
    answers = interpreters.create_queue()

    def double(questions, answers):
        while (question := questions.get(timeout=30)) is not None:
            answers.put(question * 2)

    future = executor.submit(interpreter(double), queue, answers)
    for n in range(10):
        queue.put(n)
        assert answers.get(timeout=TIMEOUT) == 2 * n
    queue.put(None)
    assert future.result(TIMEOUT) is None


def test_between_two_interpreters(pool, queue):
    executor = pool(max_workers=2, max_interpreters=2)
    getting = executor.submit(interpreter(jobs.get_some), queue, 2)
    putting = executor.submit(interpreter(jobs.put_all), queue, ("a", "b"))
    assert putting.result(TIMEOUT) is None
    assert getting.result(TIMEOUT) == ("a", "b")


def test_comes_back_as_the_same_queue(executor, queue):
    result = send(executor, jobs.identity, queue)
    assert result == queue
    assert result.id == queue.id
    queue.put(5)
    assert result.get(timeout=TIMEOUT) == 5


def test_inside_tuples_and_as_a_keyword(executor, queue):
    (inner,), number = send(executor, jobs.identity, ((queue,), 1))
    assert inner.id == queue.id
    assert number == 1
    _, ((name, there),) = send(executor, jobs.capture, queue=queue)
    assert (name, there.id) == ("queue", queue.id)


def test_inside_a_list(executor, queue):
    assert send(executor, jobs.identity, [queue])[0].id == queue.id


def test_queue_made_by_the_worker(executor):
    def make():
        from concurrent import interpreters

        queue = interpreters.create_queue()
        queue.put("from the worker")
        return queue

    assert send(executor, make).get(timeout=TIMEOUT) == "from the worker"


def test_queue_outlives_the_callers_reference_while_the_task_runs(pool, gate):
    executor = pool(max_workers=1)
    queue = interpreters.create_queue()
    queue.put("kept")
    executor.submit(interpreter(jobs.pass_gate), *gate.args)
    future = executor.submit(interpreter(jobs.get_some), queue, 1)
    del queue
    gate.open()
    assert future.result(TIMEOUT) == ("kept",)


def test_what_a_worker_put_goes_with_its_interpreter(pool, queue):
    """docs/values.md says so; it is CPython's doing."""
    executor = pool(1)
    send(executor, jobs.put_all, queue, ([1], [2]))
    queue.put("the caller's")
    assert queue.get(timeout=TIMEOUT) == [1]
    executor.shutdown()
    left = [queue.get(timeout=TIMEOUT) for _ in range(queue.qsize())]
    assert [2] not in left
    assert left[-1] == "the caller's"
