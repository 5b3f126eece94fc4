"""Asynchronous generators in interpreters: items one by one, no further ahead than they may be."""

import asyncio
import functools
import gc

import coroutine_jobs
import pytest
from harness import TIMEOUT, wait_until
from test_coroutines import descriptors, run, said

from aiointerpreters import InterpreterError, Runner, RunnerError, SendError, _hosting
from aiointerpreters.executors import interpreter

pytestmark = pytest.mark.filterwarnings("error")

LOOP = asyncio.new_event_loop


async def read(stream, items):
    """Read to the end, whatever that is."""
    async for item in stream:
        items.append(item)


@pytest.mark.parametrize("buffer", [1, 2, 5, 64, 1_000])
def test_all_items_in_order(factory, shared, buffer):
    job = interpreter(coroutine_jobs.count, buffer=buffer)

    async def main():
        return [item async for item in shared.run(job, 500)]

    assert run(factory, main) == ([*range(500)], [])


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 128, 129])
def test_the_end(shared, count):
    async def main():
        stream = shared.run(interpreter(coroutine_jobs.count), count)
        items = [item async for item in stream]
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
        return items

    assert run(LOOP, main) == ([*range(count)], [])


def test_what_is_a_generator_function(shared):
    async def main():
        job = functools.partial(coroutine_jobs.count, 3)
        return [item async for item in shared.run(interpreter(job))]

    assert interpreter(coroutine_jobs.count)._gives == "generator"
    assert run(LOOP, main) == ([0, 1, 2], [])


def test_several_at_a_time(factory, shared):
    async def read_all(n):
        return [item async for item in shared.run(interpreter(coroutine_jobs.count, buffer=3), n)]

    async def main():
        return await asyncio.gather(*(read_all(n) for n in range(50)))

    assert run(factory, main) == ([[*range(n)] for n in range(50)], [])


def test_it_waits_for_room_as_others_do(pool, gate):
    executor = pool(1, tasks_per_interpreter=1)

    async def read_all():
        return [item async for item in executor.run(interpreter(coroutine_jobs.count), 100)]

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, "held")
        await said(gate, "S")
        readers = [asyncio.create_task(read_all()) for _ in range(3)]
        await asyncio.sleep(0)  # they have asked for their first items
        await asyncio.sleep(0)
        gate.close()
        return await held, await asyncio.gather(*readers)

    assert run(LOOP, main) == (("held", [[*range(100)]] * 3), [])


# --- how far ahead -------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer", [1, 2, 3, 10])
def test_it_is_not_further_ahead_than_it_may(pool, gate, buffer):
    executor = pool(1)

    async def main():
        job = interpreter(coroutine_jobs.count_saying, buffer=buffer)
        taken = 0
        async for _ in executor.run(job, gate.args[0], 40):
            taken += 1
            for _ in range(3):  # others are served, and so it has had its turn
                await executor.run(interpreter(coroutine_jobs.add), 1)
            assert gate.listen().count("I") <= taken + buffer
        return taken

    assert run(LOOP, main) == (40, [])
    assert gate.listen() == "I" * 40 + "F"


def test_it_is_ahead_by_as_much_as_it_may(pool, gate):
    executor = pool(1)

    async def main():
        job = interpreter(coroutine_jobs.count_saying, buffer=8)
        stream = executor.run(job, gate.args[0], 40)
        await said(gate, "I" * 8)
        assert await anext(stream) == 0
        await stream.aclose()

    assert run(LOOP, main) == (None, [])


def test_an_endless_one(pool):
    executor = pool(1)

    async def main():
        taken = []
        async for item in executor.run(interpreter(coroutine_jobs.forever)):
            taken.append(item)
            if item == 1_000:
                break
        return taken

    assert run(LOOP, main) == ([*range(1_001)], [])


@pytest.mark.parametrize("value", [0, -1, "many", None, 1.5])
def test_a_buffer_that_is_none(value):
    error = ValueError if isinstance(value, int) else TypeError
    with pytest.raises(error, match="buffer must be"):
        interpreter(coroutine_jobs.count, buffer=value)


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 10, 100])
@pytest.mark.parametrize("error", [ValueError, SystemExit, MemoryError])
def test_an_error_comes_after_the_items_before(pool, shared, count, error):
    async def main():
        items = []
        job = interpreter(coroutine_jobs.count_and_fail, buffer=7)
        with pytest.raises(error, match="text"):
            await read(shared.run(job, count, error("text")), items)
        return items

    assert run(LOOP, main) == ([*range(count)], [])


@pytest.mark.parametrize("place", [0, 1, 5, 20])
def test_an_item_that_cannot_be_sent(shared, place):
    """It ends the generator; the items before it come first."""

    async def main():
        items = []
        with pytest.raises(SendError, match="lock"):
            await read(shared.run(interpreter(coroutine_jobs.with_a_lock), 40, place), items)
        return items

    assert run(LOOP, main) == ([*range(place)], [])


def test_an_argument_that_cannot_be_sent(shared):
    import threading

    async def main():
        stream = shared.run(interpreter(coroutine_jobs.count), threading.Lock())
        with pytest.raises(SendError) as raised:
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        return raised.value.role

    assert run(LOOP, main) == ("argument", [])


def test_large_items(shared):
    async def main():
        job = interpreter(coroutine_jobs.blocks, buffer=2)
        return [len(block) async for block in shared.run(job, 10, 300_000)]

    assert run(LOOP, main) == ([300_000] * 10, [])


def test_submit_map_and_amap_say_what_to_use(shared):
    with pytest.raises(TypeError, match=r"asynchronous generator function.*executor\.run"):
        shared.submit(interpreter(coroutine_jobs.count), 1)
    with pytest.raises(TypeError, match="coroutine function"):
        list(shared.map(interpreter(coroutine_jobs.count), [1]))

    async def main():
        with pytest.raises(TypeError, match=r"amap\(\) needs a function that gives one result"):
            shared.amap(interpreter(coroutine_jobs.count), [1])

    run(LOOP, main)


def test_its_time_is_over(pool, gate):
    executor = pool(1)

    async def main():
        job = interpreter(coroutine_jobs.wait_in_between, timeout=0.1)
        items = []
        with pytest.raises(TimeoutError, match="wait_in_between took longer than its timeout"):
            await read(executor.run(job, *gate.args), items)
        await said(gate, "F")
        return items

    assert run(LOOP, main) == ([1], [])


def test_a_host_that_dies(pool, gate):
    executor = pool(1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.wait_in_between), *gate.args)
        assert await anext(stream) == 1
        await said(gate, "S")
        broken = executor.run(interpreter(coroutine_jobs.break_loop))
        with pytest.raises(RuntimeError, match="the event loop that ran the coroutine has ended"):
            await anext(stream)
        with pytest.raises(RuntimeError, match="the event loop that ran the coroutine has ended"):
            await broken
        return [item async for item in executor.run(interpreter(coroutine_jobs.count), 2)]

    assert run(LOOP, main) == ([0, 1], [])


# --- the end of the one who reads ----------------------------------------------------------------


def test_a_break_closes_it(pool, gate):
    executor = pool(1)

    async def main():
        async for item in executor.run(interpreter(coroutine_jobs.count_saying), gate.args[0], 999):
            if item == 3:
                break
        await said(gate, "F")

    assert run(LOOP, main) == (None, [])


def test_it_ends_with_its_last_item_whether_or_not_more_is_asked_for(pool, gate):
    executor = pool(1, tasks_per_interpreter=1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.wait_and_give), *gate.args, [1, 2])
        asking = asyncio.ensure_future(anext(stream))
        await said(gate, "S")
        gate.open()
        items = [await asking, await anext(stream)]
        return items, await executor.run(interpreter(coroutine_jobs.add), 1), stream

    (items, after, _), told = run(LOOP, main)
    assert (items, after, told) == ([1, 2], 3, [])


def test_the_items_before_one_that_cannot_be_sent_come_although_they_were_waited_for(pool, gate):
    executor = pool(1)
    job = interpreter(coroutine_jobs.wait_and_give_what_cannot_be_sent)
    items = []

    async def main():
        reading = asyncio.ensure_future(read(executor.run(job, *gate.args), items))
        await said(gate, "S")
        gate.open()
        with pytest.raises(SendError):
            await reading

    assert run(LOOP, main) == (None, [])
    assert items == [1, 2]


def test_aclose_waits_for_its_end(factory, pool, gate):
    executor = pool(1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.count_saying), gate.args[0], 999)
        assert await anext(stream) == 0
        await stream.aclose()
        assert gate.listen()[-1] == "F"
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    assert run(factory, main) == (None, [])


def test_what_its_end_raises(pool):
    executor = pool(1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.fail_in_the_end, buffer=1))
        assert await anext(stream) == 1
        with pytest.raises(ValueError, match="while it was closed"):
            await stream.aclose()
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert run(LOOP, main) == (3, [])


def test_aclose_before_the_first_item(pool, gate):
    executor = pool(1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.wait_in_between), *gate.args)
        await stream.aclose()
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert run(LOOP, main) == (3, [])


def test_a_cancellation_closes_it(factory, pool, gate):
    executor = pool(1)

    async def main():
        job = interpreter(coroutine_jobs.wait_in_between)
        task = asyncio.create_task(read(executor.run(job, *gate.args), []))
        await said(gate, "S")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await said(gate, "SCF")

    assert run(factory, main) == (None, [])


@pytest.mark.parametrize("items", [0, 1, 40])
def test_one_that_nobody_has_any_more_is_closed(pool, gate, items):
    executor = pool(1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.count_saying, buffer=4), gate.args[0], 999)
        for _ in range(items):
            await anext(stream)
        if not items:
            await said(gate, "I")
        del stream
        gc.collect()
        await said(gate, "F")

    assert run(LOOP, main) == (None, [])


def test_a_loop_that_is_closed_first(pool, gate, capfd):
    executor = pool(1, grace=0.2)
    streams = []

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.count_saying, buffer=4), gate.args[0], 999)
        await anext(stream)
        streams.append(stream)

    asyncio.run(main())
    streams.clear()
    gc.collect()
    executor.shutdown()
    assert gate.listen()[-1] == "F"
    assert capfd.readouterr() == ("", "")


def test_two_tasks_cannot_read_it(pool, gate):
    executor = pool(1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.wait_in_between), *gate.args)
        assert await anext(stream) == 1
        task = asyncio.ensure_future(_next(stream))
        await said(gate, "S")
        with pytest.raises(RuntimeError, match="a stream is used by one task at a time"):
            await anext(stream)
        with pytest.raises(RuntimeError, match="a stream is used by one task at a time"):
            await stream.aclose()
        gate.close()
        return await task

    assert run(LOOP, main) == (2, [])


async def _next(stream):
    return await anext(stream)


# --- the end of the executor ---------------------------------------------------------------------


def test_a_shutdown_lets_it_go_on(pool, gate):
    executor = pool(1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.count_saying, buffer=4), gate.args[0], 200)
        items = [await anext(stream)]
        executor.shutdown(wait=False)
        items += [item async for item in stream]
        return items

    assert run(LOOP, main) == ([*range(200)], [])


def test_a_shutdown_does_not_wait_for_a_reader_that_does_not_read(pool, gate):
    """As when it blocks the very loop that reads."""
    executor = pool(1, grace=0.2)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.count_saying, buffer=4), gate.args[0], 200)
        assert await anext(stream) == 0
        executor.shutdown()
        assert gate.listen()[-1] == "F"
        with pytest.raises((TimeoutError, RuntimeError)):
            async for _ in stream:
                pass

    assert run(LOOP, main) == (None, [])


def test_a_shutdown_waits_for_a_reader_once():
    """What it ends with is not offered to the reader for as long again."""
    waits = []

    class Pump(_hosting.Pump):
        async def _wait(self):
            waits.append(len(self._items))
            await super()._wait()

    async def main():
        pump = Pump(coroutine_jobs.count(9), 4)
        pump.hurry(0.01)
        with pytest.raises(TimeoutError):
            await pump.run()

    asyncio.run(main())
    assert waits == [4]


def test_a_shutdown_interrupts_it(pool, gate):
    executor = pool(1)

    async def main():
        stream = executor.run(interpreter(coroutine_jobs.wait_in_between), *gate.args)
        assert await anext(stream) == 1
        await said(gate, "S")
        executor.shutdown(wait=False, interrupt=True)
        with pytest.raises(asyncio.CancelledError):
            await anext(stream)
        await said(gate, "SCF")

    assert run(LOOP, main) == (None, [])


def test_nothing_is_left(pool):
    executor = pool(1)

    async def main():
        for _ in range(20):
            async for item in executor.run(interpreter(coroutine_jobs.count), 100):
                if item == 50:
                    break

    run(LOOP, main)
    before = descriptors()
    run(LOOP, main)
    assert descriptors() == before
    wait_until(lambda: executor.stats().running == 0, "the end of all generators", TIMEOUT)


# --- the runner ----------------------------------------------------------------------------------


def test_runner():
    async def main():
        runner = Runner(workers=1)
        with pytest.raises(RunnerError, match="is not started"):
            async for _ in runner.run(coroutine_jobs.count, 1):
                pass
        with runner.start():
            items = [item async for item in runner.run(coroutine_jobs.count, 100)]
            with pytest.raises(InterpreterError, match="ValueError: text"):
                async for _ in runner.run(coroutine_jobs.count_and_fail, 1, ValueError("text")):
                    pass
            return items

    assert asyncio.run(main()) == [*range(100)]
