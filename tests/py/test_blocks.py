"""Large bytes and str: lent, and copied once by the interpreter that receives them.

A block belongs to the interpreter that made it until nobody can ask for it any more; when that
interpreter ends first, the block outlives it.
"""

import sys
import threading

import jobs
import pytest
from harness import TIMEOUT, wait_until

from aiointerpreters.executors import interpreter

SIZE = 1_000_000  # bytes or characters, far more than what is copied into a message

BLOCKS = {
    "bytes": bytes(range(256)) * (SIZE // 256),
    "ascii": "ab\n\0" * (SIZE // 4),
    "latin1": "é" * SIZE,
    "ucs2": "aŁ" * (SIZE // 2),
    "ucs4": "a😀" * (SIZE // 2),
    "lone surrogates": "\ud800a" * (SIZE // 2),
    "least": bytes(65_536),
    "one less": bytes(65_535),
}


@pytest.fixture(params=BLOCKS.values(), ids=BLOCKS)
def block(request):
    return request.param


def send(executor, function, /, *args):
    return executor.submit(interpreter(function), *args).result(TIMEOUT)


def same(left, right) -> bool:
    return type(left) is type(right) and left == right  # no long diff of a failure


def test_there_and_back(executor, block):
    assert same(send(executor, jobs.identity, block), block)


def test_in_containers_beside_small_values(executor, block):
    value = {"key": [block, 1, ("small", b"small", block)], "block": block}
    assert same(send(executor, jobs.identity, value), value)


def test_in_an_object_that_is_pickled(executor, block):
    value = jobs.CustomError(block, "text")
    assert same(send(executor, jobs.identity, value).args, value.args)


def test_by_map(executor, block):
    results = list(executor.map(interpreter(jobs.identity), [block] * 20))
    assert all(same(result, block) for result in results)


def test_read_by_many_threads(executor, block):
    future = executor.submit(interpreter(jobs.identity), block)
    results = list(executor.map(lambda _: future.result(TIMEOUT), range(8)))
    assert all(same(result, block) for result in results)


# --- owners that go first ------------------------------------------------------------------------


def test_read_after_the_executor_has_ended(pool, block):
    executor = pool(max_workers=2)
    futures = [executor.submit(interpreter(jobs.identity), block) for _ in range(6)]
    executor.shutdown()
    assert all(same(future.result(TIMEOUT), block) for future in futures)


def test_taken_from_map_after_the_executor_has_ended(pool, block):
    executor = pool(max_workers=2)
    results = executor.map(interpreter(jobs.identity), [block] * 6)
    executor.shutdown()
    assert all(same(result, block) for result in results)


def test_read_while_the_executor_ends(pool, block):
    for _ in range(10):
        executor = pool(max_workers=2)
        future = executor.submit(interpreter(jobs.identity), block)
        assert future.exception(TIMEOUT) is None
        ending = threading.Thread(target=executor.shutdown)
        ending.start()
        assert same(future.result(TIMEOUT), block)
        ending.join(TIMEOUT)


def test_never_read(pool, block):
    executor = pool(max_workers=1)
    futures = [executor.submit(interpreter(jobs.identity), block) for _ in range(3)]
    executor.submit(interpreter(jobs.where)).result(TIMEOUT)
    del futures[0]  # before the interpreter ends, and the others after
    executor.shutdown()
    del futures


def test_sent_and_never_run(pool, block):
    executor = pool(max_workers=1)
    before = sys.getrefcount(block)
    with executor:
        running = executor.submit(interpreter(jobs.identity), block)
        pending = [executor.submit(interpreter(jobs.identity), block) for _ in range(5)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert same(running.result(TIMEOUT), block)
    assert any(future.cancelled() for future in pending)
    del running, pending
    wait_until(lambda: sys.getrefcount(block) <= before, "the caller's block is given back")


# --- what they cost ------------------------------------------------------------------------------


def test_the_caller_keeps_what_is_sent_no_longer_than_the_call(executor):
    block = bytes(SIZE)
    before = sys.getrefcount(block)
    assert send(executor, len, block) == SIZE
    wait_until(lambda: sys.getrefcount(block) == before, "the caller's block is given back")


def test_results_do_not_pile_up_in_the_worker(pool):
    executor = pool(max_workers=1)
    with open("/proc/self/statm") as statm:

        def resident() -> int:
            statm.seek(0)
            return int(statm.read().split()[1]) * 4096

        for _ in range(20):
            send(executor, bytes, 10 * SIZE)
        before = resident()
        for _ in range(100):
            send(executor, bytes, 10 * SIZE)
        assert resident() - before < 200 * SIZE  # of a thousand
