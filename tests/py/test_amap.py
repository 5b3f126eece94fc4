"""executor.amap(): an event loop asks for results, one after the other."""

import asyncio
import contextlib
import gc
import itertools
import queue
import threading

import jobs
import pytest
import stopping_jobs
from harness import TIMEOUT
from test_run import descriptors, run

from aiointerpreters import SendError
from aiointerpreters.executors import interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])
orders = pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "as they end"])


async def asynchronous(items):
    for item in items:
        await asyncio.sleep(0)
        yield item


kinds = pytest.mark.parametrize("kind", [iter, asynchronous], ids=["items", "async items"])


def raise_at(bad: int, item: int) -> int:
    if item == bad:
        raise ValueError(bad)
    return item


def raise_at_5(item: int) -> int:
    return raise_at(5, item)


async def collect(results, note):
    async for result in results:
        note(result)


# --- results -------------------------------------------------------------------------------------


@both
@orders
@kinds
@pytest.mark.parametrize("limit", [None, 1, 2, 7, 1000])
def test_all_results(factory, executor, tag, ordered, kind, limit):
    async def main():
        results = executor.amap(tag(jobs.identity), kind(range(600)), limit=limit, ordered=ordered)
        return [result async for result in results]

    results, told = run(factory, main)
    assert told == []
    assert (results if ordered else sorted(results)) == [*range(600)]


@orders
@kinds
def test_no_items(factory, executor, ordered, kind):
    async def main():
        return [result async for result in executor.amap(len, kind([]), ordered=ordered)]

    assert run(factory, main) == ([], [])


def test_order_of_the_items(factory, executor, gates):
    """The first result is waited for while others have ended."""
    gate = gates()

    async def main():
        items = executor.amap(lambda n: jobs.pass_gate(*gate.args) and n if n == 0 else n, range(4))
        first = asyncio.create_task(anext(items))
        await asyncio.to_thread(gate.wait_started)
        await executor.run(interpreter(jobs.identity), 1)
        assert not first.done()
        gate.open()
        return [await first, *[result async for result in items]]

    assert run(factory, main) == ([0, 1, 2, 3], [])


def test_order_of_the_ends(factory, executor, gates):
    gate = gates()

    async def main():
        calls = executor.amap(
            lambda n: jobs.pass_gate(*gate.args) and n if n == 0 else n, range(4), ordered=False
        )
        early = [await anext(calls) for _ in range(3)]
        gate.open()
        return early, [result async for result in calls]

    (early, rest), told = run(factory, main)
    assert (sorted(early), rest, told) == ([1, 2, 3], [0], [])


@orders
@kinds
def test_no_more_calls_than_the_limit(factory, executor, ordered, kind):
    """What was read and not given out is never more than the limit."""
    read, given, most = itertools.count(1), 0, 0
    seen = 0

    def items():
        nonlocal seen, most
        for item in range(500):
            seen = next(read)
            most = max(most, seen - given)
            yield item

    async def main():
        nonlocal given
        results = executor.amap(interpreter(jobs.identity), kind(items()), limit=5, ordered=ordered)
        async for _ in results:
            given += 1

    run(factory, main)
    assert (given, seen) == (500, 500)
    assert most <= 6  # an asynchronous item is read before there is room for its call


def test_nothing_is_read_before_it_is_asked_for(factory, executor):
    read = []

    async def main():
        executor.amap(interpreter(jobs.identity), (read.append(n) for n in range(3)))
        await asyncio.sleep(0)

    run(factory, main)
    assert read == []


def test_items_that_never_end(factory, executor):
    async def main():
        results = executor.amap(interpreter(jobs.identity), itertools.count(), limit=10)
        async with contextlib.aclosing(results):
            async for result in results:
                if result == 1_000:
                    break
        return result

    assert run(factory, main) == (1_000, [])


def test_two_at_once_in_one_loop(factory, executor):
    async def all_of(tag):
        return [n async for n in executor.amap(tag(jobs.identity), range(300), limit=4)]

    async def main():
        return await asyncio.gather(all_of(interpreter), all_of(lambda f: f))

    assert run(factory, main) == ([[*range(300)]] * 2, [])


# --- errors --------------------------------------------------------------------------------------


@both
@kinds
def test_what_the_function_raises(factory, executor, tag, kind):
    async def main():
        seen = []
        results = executor.amap(tag(raise_at_5), kind(range(1_000)), limit=20)
        with pytest.raises(ValueError, match="5"):
            await collect(results, seen.append)
        with pytest.raises(StopAsyncIteration):
            await anext(results)
        gc.collect()
        return seen

    assert run(factory, main) == ([0, 1, 2, 3, 4], [])


def test_what_cannot_be_sent(factory, executor):
    async def main():
        results = executor.amap(interpreter(jobs.identity), [1, threading.Lock(), 2])
        with pytest.raises(SendError):
            await collect(results, lambda _: None)

    assert run(factory, main)[1] == []


@orders
@kinds
def test_what_the_items_raise(factory, executor, ordered, kind):
    """It comes after the results of the items before."""

    def items():
        yield from range(5)
        raise KeyError("items")

    async def main():
        seen = []
        results = executor.amap(interpreter(jobs.identity), kind(items()), ordered=ordered)
        with pytest.raises(KeyError, match="items"):
            await collect(results, seen.append)
        return sorted(seen)

    assert run(factory, main) == ([0, 1, 2, 3, 4], [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_comes_at_once(factory, pool, gate, error):
    """Also out of the items, whatever has not ended by then."""
    executor = pool(2)

    def items():
        yield from range(2)
        raise error

    async def main():
        results = executor.amap(lambda _: jobs.pass_gate(*gate.args), items())
        with pytest.raises(error):
            await anext(results)
        end = await anext(results, "the end")
        gate.open(2)
        return end

    assert run(factory, main) == ("the end", [])


@kinds
def test_shut_down_meanwhile(factory, pool, kind):
    executor = pool(2)

    async def main():
        seen = []

        def note(n):
            seen.append(n)
            executor.shutdown(wait=False)

        results = executor.amap(interpreter(jobs.identity), kind(range(1_000)), limit=4)
        with pytest.raises(RuntimeError, match="shutdown"):
            await collect(results, note)
        return seen

    seen, told = run(factory, main)
    assert (seen, told) == ([*range(len(seen))], [])
    assert 0 < len(seen) < 1_000


def test_bad_arguments(executor):
    with pytest.raises(TypeError, match="needs a callable"):
        executor.amap(3, [])
    with pytest.raises(TypeError, match="iterable or an async iterable of items, not 'int'"):
        executor.amap(len, 3)
    with pytest.raises(ValueError, match="limit must be greater than 0"):
        executor.amap(len, [], limit=0)
    with pytest.raises(TypeError, match="limit must be an int or None, not 'str'"):
        executor.amap(len, [], limit="2")


def test_without_a_loop(executor):
    with pytest.raises(RuntimeError, match="no running event loop"):
        executor.amap(len, ["a"]).__anext__()


def test_two_tasks_ask(factory, executor, gates):
    gate = gates()

    async def main():
        results = executor.amap(lambda _: jobs.pass_gate(*gate.args), range(2))
        first, early = asyncio.create_task(anext(results)), anext(results)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another one awaits the next"):
            await early
        with pytest.raises(RuntimeError, match="another one awaits the next"):
            await anext(results)
        gate.open(2)
        return await first

    assert run(factory, main)[1] == []


def test_asked_ahead(factory, executor):
    """Whoever awaits the next result late finds the items that there is room for by then."""

    async def main():
        results = executor.amap(interpreter(jobs.identity), range(3), limit=1)
        asked = [results.__anext__() for _ in range(3)]
        return [await each for each in asked]

    assert run(factory, main) == ([0, 1, 2], [])


# --- the end -------------------------------------------------------------------------------------


def spinning(executor, gate, kind=iter, **options):
    """The first item is done at once, the others compute without end."""

    def work(item: int) -> int:
        if item > 0:
            stopping_jobs.spin(saying)
        return item

    saying, _ = gate.args
    return executor.amap(interpreter(work), kind(range(100)), **options)


async def two_spin(gate):
    await asyncio.to_thread(gate.wait_started, 2)


@kinds
@pytest.mark.parametrize("how", ["break", "aclose", "cancel", "error"])
def test_the_rest_is_ended(factory, pool, gate, kind, how):
    """Pending calls never start, tagged ones that run are interrupted, however it is left."""
    executor = pool(2, max_interpreters=2)

    async def consume(left):
        results = spinning(executor, gate, kind, limit=10)
        if how == "aclose":
            await anext(results)
            await two_spin(gate)
            await results.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(results)
            return
        async for _ in results:
            await two_spin(gate)
            left.set()
            if how == "break":
                break
            if how == "error":
                raise LookupError

    async def main():
        left = asyncio.Event()
        task = asyncio.create_task(consume(left))
        if how == "cancel":
            await left.wait()
            await asyncio.sleep(0)  # it awaits the next result
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, LookupError):
            await task
        del task
        gc.collect()
        # Both workers are free again.
        calls = [executor.run(interpreter(jobs.identity), n) for n in range(4)]
        return await asyncio.gather(*calls)

    assert run(factory, main) == ([0, 1, 2, 3], [])
    assert executor.stats().pending == 0


@both
@orders
def test_closed_while_another_task_asks(factory, pool, gate, tag, ordered):
    """It gets no more results, and the call that it awaits is cancelled, too."""
    executor = pool(2)
    job = stopping_jobs.spin if tag is interpreter else jobs.pass_gate

    async def main():
        results = executor.amap(tag(job), gate.args[:1] * 2, ordered=ordered)
        if tag is not interpreter:
            results = executor.amap(lambda _: job(*gate.args), range(2), ordered=ordered)
        waiting = asyncio.create_task(anext(results, "the end"))
        await two_spin(gate)
        await results.aclose()
        end = await waiting
        gate.open(2)
        calls = [executor.run(interpreter(jobs.identity), n) for n in range(4)]
        return end, await asyncio.gather(*calls)

    assert run(factory, main) == (("the end", [0, 1, 2, 3]), [])


def test_closed_and_cancelled_at_once(factory, executor, gates):
    """A task that is cancelled hears of that, and not that there are no more results."""
    gate = gates()

    async def main():
        results = executor.amap(lambda _: jobs.pass_gate(*gate.args), range(2))
        waiting = asyncio.create_task(anext(results))
        await asyncio.to_thread(gate.wait_started)
        await results.aclose()
        waiting.cancel()
        gate.open(2)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert run(factory, main) == (None, [])


def test_the_end_again_and_again(factory, executor):
    async def main():
        results = executor.amap(len, ["a"])
        return [await anext(results, "the end") for _ in range(3)]

    assert run(factory, main) == ([1, "the end", "the end"], [])


@kinds
@pytest.mark.parametrize("stop_at", range(6))
def test_cancelled_at_every_await(factory, executor, kind, stop_at):
    """After any number of steps of the loop."""

    async def consume():
        async for _ in executor.amap(interpreter(jobs.identity), kind(range(200)), limit=3):
            await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(consume())
        for _ in range(stop_at):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await executor.run(interpreter(jobs.identity), 1)

    assert run(factory, main) == (1, [])


@kinds
@orders
def test_a_loop_that_closes_first(factory, executor, gates, kind, ordered):
    gate = gates()
    before = descriptors()
    loop = factory()

    async def main():
        results = executor.amap(
            lambda _: jobs.pass_gate(*gate.args), kind(range(3)), limit=3, ordered=ordered
        )
        first = asyncio.ensure_future(anext(results))
        await asyncio.to_thread(gate.wait_started)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())
    loop.close()
    gc.collect()
    gate.open(3)
    assert executor.submit(interpreter(jobs.identity), 1).result(TIMEOUT) == 1
    assert descriptors() == before


def test_let_go_of_in_another_thread(factory, pool, gate):
    executor = pool(2, max_interpreters=2)

    async def main():
        held = [spinning(executor, gate, limit=10)]
        await anext(held[0])
        await two_spin(gate)
        await asyncio.to_thread(held.clear)
        return await executor.run(interpreter(jobs.identity), 1)

    assert run(factory, main) == (1, [])


@kinds
def test_a_full_pool(factory, pool, kind):
    """With max_pending, calls wait for their turn."""
    executor = pool(2, max_pending=2)

    async def main():
        results = executor.amap(interpreter(jobs.identity), kind(range(200)), limit=20)
        return [result async for result in results]

    assert run(factory, main) == ([*range(200)], [])


@kinds
@orders
def test_a_full_pool_that_raises(factory, pool, kind, ordered):
    """As long as calls are under way, the items wait for room."""
    executor = pool(2, max_pending=2, when_full="raise")

    async def main():
        results = executor.amap(interpreter(jobs.identity), kind(range(200)), ordered=ordered)
        return sorted([result async for result in results])

    assert run(factory, main) == ([*range(200)], [])


@kinds
@orders
def test_a_pool_that_others_fill(factory, pool, gate, kind, ordered):
    executor = pool(1, max_pending=1, when_full="raise")

    async def main():
        others = [executor.run(jobs.pass_gate, *gate.args)]
        await asyncio.to_thread(gate.wait_started)
        others.append(executor.run(jobs.pass_gate, *gate.args))
        results = executor.amap(interpreter(jobs.identity), kind(range(9)), ordered=ordered)
        with pytest.raises(queue.Full):
            await anext(results)
        gate.open(2)
        return await asyncio.gather(*others)

    assert run(factory, main) == ([0, 0], [])


def test_memory_stays_flat(factory, executor):
    """What is alive while the last items go is no more than while the first do."""
    alive = []

    async def main():
        count = 0
        async for _ in executor.amap(interpreter(jobs.identity), itertools.repeat(1, 60_000)):
            count += 1
            if count in (10_000, 60_000):
                gc.collect()
                alive.append(len(gc.get_objects()))

    run(factory, main)
    assert alive[1] - alive[0] < 2_000
