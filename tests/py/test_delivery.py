"""Results on their way to event loops: many at a time, and none lost, wherever a loop ends."""

import asyncio
import contextlib
import functools
import gc
import signal
import threading

import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters.executors import interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


def run(factory, main, *, debug=False):
    """What the coroutine function returns, and what the loop's exception handler was told."""
    told = []

    async def supervised():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        return await asyncio.wait_for(main(), TIMEOUT)

    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        return runner.run(supervised()), told


def gathered(executor, function, values, **options):
    async def main():
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, function, value) for value in values]
        return await asyncio.gather(*calls, **options)

    return main


@both
@pytest.mark.parametrize("debug", [False, True])
def test_many(factory, executor, tag, debug):
    main = gathered(executor, tag(jobs.identity), range(2_000))
    assert run(factory, main, debug=debug) == ([*range(2_000)], [])


@both
def test_loops_of_several_threads(factory, executor, tag):
    results = {}

    def serve(first):
        values = range(first, first + 1_000)
        results[first] = run(factory, gathered(executor, tag(jobs.identity), values))

    threads = [threading.Thread(target=serve, args=(n * 1_000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert results == {n: ([*range(n, n + 1_000)], []) for n in range(0, 4_000, 1_000)}


@both
def test_errors_among_results(factory, executor, tag):
    main = gathered(executor, tag(jobs.odd_only), range(200), return_exceptions=True)
    results, told = run(factory, main)
    assert [type(result) is ValueError for result in results] == [True, False] * 100
    assert told == []


@both
def test_cancelled_before_it_is_delivered(factory, pool, gate, tag):
    """The loop finds the future cancelled when the result arrives; the others are not touched."""
    executor = pool(2)

    async def main():
        loop = asyncio.get_running_loop()
        wait = tag(jobs.pass_gate)
        running = [loop.run_in_executor(executor, wait, *gate.args) for _ in range(2)]
        others = [loop.run_in_executor(executor, tag(jobs.identity), n) for n in range(100)]
        await asyncio.to_thread(gate.wait_started, 2)
        running[0].cancel()
        gate.open(2)
        await asyncio.wait(running)
        return running[0].cancelled(), running[1].cancelled(), await asyncio.gather(*others)

    assert run(factory, main) == ((True, False, [*range(100)]), [])


@both
def test_future_that_was_ended_by_hand(factory, pool, gate, tag):
    """The loop is told what is wrong with the one; those that come with it are delivered."""
    executor = pool(1)

    async def main():
        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(executor, tag(jobs.pass_gate), *gate.args)
        second, *others = (loop.run_in_executor(executor, tag(jobs.identity), n) for n in range(50))
        second.set_result("by hand")
        gate.open()
        await first
        return await asyncio.gather(*others), second.result()

    result, told = run(factory, main)
    assert result == ([*range(1, 50)], "by hand")
    assert [type(context["exception"]) for context in told] == [AssertionError]  # as asyncio's own


@both
def test_loop_that_closes_before_its_results(factory, pool, gate, tag, recwarn, caplog):
    executor = pool(1)

    async def main():
        loop = asyncio.get_running_loop()
        loop.run_in_executor(executor, tag(jobs.pass_gate), *gate.args)
        for n in range(20):
            loop.run_in_executor(executor, tag(jobs.identity), n)

    run(factory, main)
    gate.open()
    assert executor.submit(tag(jobs.identity), 5).result(TIMEOUT) == 5
    gc.collect()
    assert not recwarn.list
    assert not caplog.records


@both
def test_loops_of_which_one_has_closed(factory, pool, gate, tag):
    """One worker's results are for two loops; that one of them is gone is nothing to the other."""
    executor = pool(1)
    gone = factory()

    async def main():
        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(executor, tag(jobs.pass_gate), *gate.args)
        mine = []
        for n in range(50):
            gone.run_in_executor(executor, tag(jobs.identity), n)
            mine.append(loop.run_in_executor(executor, tag(jobs.identity), n))
        gone.close()
        gate.open()
        await first
        return await asyncio.gather(*mine)

    assert run(factory, main) == ([*range(50)], [])


@both
def test_callback_that_waits_for_another_future(factory, executor, tag):
    """Somebody's own callback runs in a worker and blocks; what it waits for is told meanwhile."""
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        futures = [executor.submit(tag(jobs.identity), n) for n in range(100)]
        followed = [asyncio.wrap_future(future, loop=loop) for future in futures]
        last = executor.submit(tag(jobs.identity), "last")
        arrived = threading.Event()
        asyncio.wrap_future(last, loop=loop).add_done_callback(lambda _: arrived.set())
        blocking = executor.submit(tag(jobs.identity), "first")
        asyncio.wrap_future(blocking, loop=loop)
        blocking.add_done_callback(lambda _: seen.append(arrived.wait(TIMEOUT)))
        return await asyncio.gather(*followed)

    assert run(factory, main) == ([*range(100)], [])
    executor.shutdown()
    assert seen == [True]


@both
def test_callbacks_run_in_their_order(executor, tag):
    order = []

    async def main():
        loop = asyncio.get_running_loop()
        future = executor.submit(tag(jobs.identity), 1)
        for n in range(3):
            future.add_done_callback(functools.partial(lambda n, _: order.append(n), n))
        return await asyncio.wrap_future(future, loop=loop)

    assert run(asyncio.new_event_loop, main) == (1, [])
    executor.shutdown()
    assert order == [0, 1, 2]


@both
def test_waited_for_and_followed(factory, executor, tag):
    """By a loop, by concurrent.futures.wait() and by result(), each of them all of it."""
    import concurrent.futures

    async def main():
        futures = [executor.submit(tag(jobs.identity), n) for n in range(200)]
        waiting = asyncio.to_thread(concurrent.futures.wait, futures, TIMEOUT)
        results = asyncio.gather(*map(asyncio.wrap_future, futures))
        taken = asyncio.to_thread(lambda: [future.result(TIMEOUT) for future in futures])
        return len((await waiting).done), await results, await taken

    assert run(factory, main) == ((200, [*range(200)], [*range(200)]), [])


def test_exit_from_within_a_delivery(pool, gate):
    """What ends the loop in the middle does not lose the others: a later run gets them."""
    executor = pool(1)
    loop = asyncio.new_event_loop()
    with contextlib.closing(loop):
        first = loop.run_in_executor(executor, interpreter(jobs.pass_gate), *gate.args)
        calls = [loop.run_in_executor(executor, interpreter(jobs.identity), n) for n in range(200)]

        class Leaving(asyncio.Future):
            def set_result(self, result):
                raise SystemExit(result)

        leaving = Leaving(loop=loop)
        asyncio.futures._chain_future(executor.submit(interpreter(jobs.identity), 7), leaving)
        more = [loop.run_in_executor(executor, interpreter(jobs.identity), n) for n in range(200)]
        gate.open()
        with pytest.raises(SystemExit):
            loop.run_until_complete(asyncio.gather(first, *calls, *more))
        results = loop.run_until_complete(asyncio.gather(*calls, *more))
        assert results == [*range(200)] * 2


def test_a_signal_as_the_others_are_put_off(executor):
    """What its handler raises leaves the loop, and those that are left are told later."""

    class Loop(asyncio.SelectorEventLoop):
        deliver = None
        armed = False

        def call_soon_threadsafe(self, callback, *args, context=None):
            if getattr(callback, "__name__", "") == "deliver":
                self.deliver = callback
            return super().call_soon_threadsafe(callback, *args, context=context)

        def call_soon(self, callback, *args, context=None):
            if self.armed and callback is self.deliver:
                self.armed = False
                signal.raise_signal(signal.SIGINT)
            return super().call_soon(callback, *args, context=context)

    async def finish(futures):
        return await asyncio.wait_for(asyncio.gather(*futures), TIMEOUT)

    with contextlib.closing(Loop()) as loop:
        loop.run_until_complete(loop.run_in_executor(executor, interpreter(jobs.identity), 1))
        futures = [loop.create_future() for _ in range(200)]
        items = [(asyncio.Future.set_result, future, n) for n, future in enumerate(futures)]
        loop.call_soon(loop.deliver, loop, items)
        loop.armed = True
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(finish(futures))
        assert not loop.armed
        assert loop.run_until_complete(finish(futures)) == [*range(200)]
