"""Coroutine functions in interpreters, from the call to the end of their host."""

import asyncio
import contextvars
import functools
import gc
import os
import queue
import signal
import threading
import time
from concurrent.futures.thread import BrokenThreadPool

import coroutine_jobs
import jobs
import pytest
from harness import TIMEOUT, assert_ok, in_thread, run_script, wait_until

import aiointerpreters
from aiointerpreters import RemoteTraceback, Runner, SendError, _core
from aiointerpreters.executors import interpreter

pytestmark = pytest.mark.filterwarnings("error")


def run(factory, main, *, debug=False):
    """What the coroutine function returns, and what the loop's exception handler was told."""
    told = []

    async def supervised():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        result = await asyncio.wait_for(main(), TIMEOUT)
        gc.collect()
        return result

    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        return runner.run(supervised()), told


async def said(gate, letters):
    """Wait, in a loop that goes on, until jobs have said so."""
    await asyncio.sleep(0)  # what follows may not wait
    await asyncio.to_thread(gate.wait_for, letters)


def descriptors():
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("descriptors cannot be counted here")
    return len(os.listdir("/proc/self/fd"))


# --- results -------------------------------------------------------------------------------------


def test_a_call(factory, shared):
    async def main():
        return await shared.run(
            interpreter(coroutine_jobs.capture), 1, "two", self=3, fn=[4, {5: b"6"}]
        )

    assert run(factory, main) == (((1, "two"), (("fn", [4, {5: b"6"}]), ("self", 3))), [])


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("job", [coroutine_jobs.add, coroutine_jobs.at_once])
def test_gathered(factory, shared, job, debug):
    async def main():
        return await asyncio.gather(*(shared.run(interpreter(job), n) for n in range(2_000)))

    plus = 2 if job is coroutine_jobs.add else 0
    assert run(factory, main, debug=debug) == ([*range(plus, 2_000 + plus)], [])


def test_one_after_the_other(factory, shared):
    async def main():
        return [await shared.run(interpreter(coroutine_jobs.at_once), n) for n in range(300)]

    assert run(factory, main) == ([*range(300)], [])


def test_it_runs_on_a_loop_that_others_share(pool):
    executor = pool(4, max_interpreters=1)

    async def main():
        places = await asyncio.gather(
            *(executor.run(interpreter(coroutine_jobs.where)) for _ in range(50))
        )
        return len(set(places)), places[0][0]

    ((count, place), told) = run(asyncio.new_event_loop, main)
    assert (count, told) == (1, [])
    assert place != 0


def test_many_wait_at_the_same_time(factory, pool, gate):
    executor = pool(1)

    async def main():
        calls = [
            executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, n) for n in range(100)
        ]
        await said(gate, "S" * 100)
        gate.close()
        return await asyncio.gather(*calls)

    assert run(factory, main) == ([*range(100)], [])
    assert gate.most_at_once() == 100


def test_loops_of_several_threads(factory, shared):
    results = {}

    def serve(first):
        async def main():
            job = interpreter(coroutine_jobs.add)
            return await asyncio.gather(*(shared.run(job, first + n, 0) for n in range(500)))

        results[first] = run(factory, main)

    threads = [threading.Thread(target=serve, args=(n * 500,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert results == {n: ([*range(n, n + 500)], []) for n in range(0, 2_000, 500)}


def test_one_loop_after_the_other(factory, shared):
    async def main():
        return await shared.run(interpreter(coroutine_jobs.add), 1)

    assert [run(factory, main) for _ in range(3)] == [(3, [])] * 3


def test_large_values(shared):
    async def main():
        data = bytearray(b"y" * 1_000_000)
        echoed = await shared.run(interpreter(coroutine_jobs.echo_view), data)
        return echoed == data, len(await shared.run(interpreter(coroutine_jobs.large), 2_000_000))

    assert run(asyncio.new_event_loop, main) == ((True, 2_000_000), [])


def test_a_function_by_value(shared):
    base = 5

    async def main():
        async def local(n):
            await asyncio.sleep(0)
            return base + n

        return await shared.run(interpreter(local), 2)

    assert run(asyncio.new_event_loop, main) == (7, [])


def test_the_executor_of_the_process(factory):
    async def main():
        return await aiointerpreters.run(interpreter(coroutine_jobs.add), 1)

    try:
        assert run(factory, main) == (3, [])
    finally:
        aiointerpreters._awaiting._DEFAULT.forget().shutdown()


# --- what is a coroutine function ----------------------------------------------------------------

instance = coroutine_jobs.Object()


@pytest.mark.parametrize(
    ("function", "args", "result"),
    [
        (coroutine_jobs.partial, (4,), 5),
        (functools.partial(interpreter(coroutine_jobs.add), 1), (4,), 5),
        (instance.method, (1,), 11),
        (coroutine_jobs.Object.of_class, (1,), 11),
        (coroutine_jobs.Object.static, (1,), 2),
        (functools.partial(instance.method), (2,), 12),
        (instance, (3,), 30),
        (coroutine_jobs.marked, (), "awaited"),
        (interpreter(coroutine_jobs.add, timeout=20), (1,), 3),
    ],
    ids=["partial", "of tag", "method", "class", "static", "of method", "object", "marked", "tag"],
)
def test_what_is_called(shared, function, args, result):
    async def main():
        return await shared.run(interpreter(function), *args)

    assert interpreter(function)._gives == "coroutine"
    assert run(asyncio.new_event_loop, main) == (result, [])


@pytest.mark.parametrize(
    "function", [jobs.add, len, int, functools.partial(jobs.add), coroutine_jobs.Object, str.strip]
)
def test_what_is_not(function):
    assert interpreter(function)._gives == "value"


def test_a_tag_is_called_as_what_it_marks():
    async def main():
        return await interpreter(coroutine_jobs.add)(1, 1)

    assert asyncio.run(main()) == 2


def test_an_untagged_coroutine_function(shared):
    async def main():
        for function in (coroutine_jobs.add, functools.partial(coroutine_jobs.add), instance):
            with pytest.raises(TypeError, match=r"is a coroutine function: tag it, run\(interp"):
                shared.run(function, 1)

    assert run(asyncio.new_event_loop, main) == (None, [])


def test_map_says_what_to_use(shared):
    with pytest.raises(TypeError, match=r"coroutine function: use `async for .* executor\.amap"):
        list(shared.map(interpreter(coroutine_jobs.add), [1, 2]))


def test_amap(factory, shared):
    async def main():
        job = interpreter(coroutine_jobs.add)
        ordered = [item async for item in shared.amap(job, range(500), limit=20)]
        return ordered, sorted([item async for item in shared.amap(job, range(9), ordered=False)])

    assert run(factory, main) == (([*range(2, 502)], [*range(2, 11)]), [])


# --- futures -------------------------------------------------------------------------------------


def test_submit(shared):
    futures = [shared.submit(interpreter(coroutine_jobs.add), n) for n in range(100)]
    assert [future.result(TIMEOUT) for future in futures] == [*range(2, 102)]


def test_submit_and_its_error(shared):
    future = shared.submit(interpreter(coroutine_jobs.raise_this), ValueError("no good"))
    error = future.exception(TIMEOUT)
    assert repr(error) == "ValueError('no good')"
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in raise_this" in str(error.__cause__)
    assert "_hosting" not in str(error.__cause__)


def test_what_loops_do_with_an_executor(factory, shared):
    assert run(factory, lambda: _three(shared)) == ((4, 7, 9), [])


def test_run_in_executor(shared):
    """uvloop refuses coroutine functions there, as asyncio does in debug mode."""

    async def main():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(shared, interpreter(coroutine_jobs.add), 1)

    assert run(asyncio.new_event_loop, main) == (3, [])


async def _to_thread(executor, job, *args, **kwargs):
    """What asyncio.to_thread() submits."""
    context = contextvars.copy_context()
    called = functools.partial(context.run, job, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(executor, called)


async def _three(executor):
    job = interpreter(coroutine_jobs.add)
    return (
        await asyncio.wrap_future(executor.submit(job, 2)),
        await _to_thread(executor, job, 3, b=4),
        await asyncio.wrap_future(await executor.submit_async(job, 7)),
    )


def test_wait_and_as_completed(shared):
    import concurrent.futures

    job = interpreter(coroutine_jobs.add)
    futures = {shared.submit(job, n) for n in range(20)}
    assert {f.result() for f in concurrent.futures.as_completed(futures, TIMEOUT)} == {
        *range(2, 22)
    }
    done, left = concurrent.futures.wait([shared.submit(job, 1)], TIMEOUT)
    assert (len(done), left) == (1, set())


def test_a_callback_may_wait_for_another_call_of_the_same_host(pool, gate):
    executor = pool(2, max_interpreters=1)
    future = executor.submit(interpreter(coroutine_jobs.pass_gate), *gate.args)
    results = queue.Queue()

    def wait_for_another(_):
        other = executor.submit(interpreter(coroutine_jobs.add), 1)
        results.put(other.result(TIMEOUT))

    future.add_done_callback(wait_for_another)
    gate.close()
    assert results.get(timeout=TIMEOUT) == 3


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [coroutine_jobs.raise_this, coroutine_jobs.raise_at_once])
@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, MemoryError]
)
def test_what_it_raises(factory, pool, gate, job, error, capfd):
    """It is its own, and nobody else on its loop has anything of it."""
    executor = pool(1)

    async def main():
        other = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, "other")
        await said(gate, "S")
        call = executor.run(interpreter(job), error("text"))
        await asyncio.wait([asyncio.ensure_future(_ended(call))])
        raised = call.exception()
        gate.close()
        return type(raised), str(raised), await other

    assert run(factory, main) == ((error, "text", "other"), [])
    executor.shutdown()
    assert capfd.readouterr() == ("", "")


async def _ended(call):
    while not call.done():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("error", [StopIteration, GeneratorExit])
def test_what_would_end_a_coroutine(shared, error):
    async def main():
        with pytest.raises(RuntimeError):
            await shared.run(interpreter(coroutine_jobs.raise_this), error("text"))

    assert run(asyncio.new_event_loop, main) == (None, [])


def test_errors_among_results(shared):
    async def main():
        calls = [shared.run(interpreter(coroutine_jobs.odd_only), n) for n in range(200)]
        return await asyncio.gather(*calls, return_exceptions=True)

    results, told = run(asyncio.new_event_loop, main)
    assert [type(result) is ValueError for result in results] == [True, False] * 100
    assert told == []


@pytest.mark.parametrize("role", ["argument", "function", "result"])
def test_what_cannot_be_sent(shared, role):
    class Unsendable:
        def __init__(self):
            self.lock = threading.Lock()

        async def __call__(self):
            pass

    function, *arguments = {
        "argument": (coroutine_jobs.at_once, threading.Lock()),
        "function": (Unsendable(),),
        "result": (coroutine_jobs.lock,),
    }[role]

    async def main():
        with pytest.raises(SendError) as raised:
            await shared.run(interpreter(function), *arguments)
        return raised.value.role, await shared.run(interpreter(coroutine_jobs.add), 1)

    assert run(asyncio.new_event_loop, main) == ((role, 3), [])


def test_in_a_thread_without_a_loop(shared):
    def attempt():
        with pytest.raises(RuntimeError, match=r"needs a running event loop.*or use submit\(\)"):
            shared.run(interpreter(coroutine_jobs.add), 1)
        return True

    assert in_thread(attempt)


def test_an_exception_that_nobody_asks_for(shared):
    """Is told to the loop, as of any call; but not one that was asked for."""

    async def main():
        call = shared.run(interpreter(coroutine_jobs.raise_this), ValueError("text"))
        await _ended(call)
        del call
        gc.collect()

    _, told = run(asyncio.new_event_loop, main)
    assert [context["message"] for context in told] == [
        "the exception of a call was never retrieved"
    ]


# --- context, initializer, preload ---------------------------------------------------------------


def test_context_variables(pool):
    executor = pool(1, context_vars=[coroutine_jobs.variable])

    async def main():
        job = interpreter(coroutine_jobs.read_variable)
        first = await executor.run(job)
        coroutine_jobs.variable.set("given")
        return first, await asyncio.gather(*(executor.run(job) for _ in range(3)))

    context = contextvars.copy_context()
    assert context.run(run, asyncio.new_event_loop, main) == (("default", ["given"] * 3), [])


def test_the_initializer_has_run_there(pool):
    executor = pool(1, initializer=interpreter(coroutine_jobs.initialize), initargs=("mark",))

    async def main():
        return await executor.run(interpreter(coroutine_jobs.read_marks))

    assert run(asyncio.new_event_loop, main) == (["mark"], [])


@pytest.mark.filterwarnings("ignore")
def test_an_initializer_that_fails(pool, caplog):
    executor = pool(1, initializer=interpreter(coroutine_jobs.refuse))

    async def main():
        calls = [executor.run(interpreter(coroutine_jobs.add), n) for n in range(5)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(BrokenThreadPool):
            await executor.run(interpreter(coroutine_jobs.add), 1)
        return {type(result) for result in results}

    assert run(asyncio.new_event_loop, main) == ({BrokenThreadPool}, [])


@pytest.mark.filterwarnings("ignore")
def test_a_host_that_has_failed_before_the_call_reaches_it(pool, monkeypatch):
    start = threading.Thread.start

    def start_and_wait(thread):
        start(thread)
        if "-host_" in thread.name:
            thread.join(TIMEOUT)

    monkeypatch.setattr(threading.Thread, "start", start_and_wait)
    executor = pool(1, initializer=coroutine_jobs.refuse)
    future = executor.submit(interpreter(coroutine_jobs.add), 1)
    assert type(future.exception(TIMEOUT)) is BrokenThreadPool


def test_two_callers_start_no_more_hosts_than_there_may_be(pool):
    """Encoding the initializer for the first host calls for another one."""
    where, futures, nested = interpreter(coroutine_jobs.where), [], []

    def call_too():
        nested.append(None)
        if len(nested) == 2:  # once for the executor's own interpreters, once for the hosts'
            futures.append(executor.submit(where))

    executor = pool(
        4,
        max_interpreters=1,
        initializer=interpreter(coroutine_jobs.ignore),
        initargs=(coroutine_jobs.Hook(call_too),),
    )
    futures.append(executor.submit(where))
    assert len({future.result(TIMEOUT) for future in futures}) == 1
    assert len(futures) == 2


def test_what_is_printed_comes_out(tmp_path):
    script = """
        import asyncio
        import coroutine_jobs
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        async def main():
            with InterpreterThreadPoolExecutor(1) as executor:
                await executor.run(interpreter(coroutine_jobs.print_this), "hello")
                print("after")

        asyncio.run(main())
    """
    assert_ok(run_script(tmp_path, script), "hello", "after")


# --- hosts ---------------------------------------------------------------------------------------


def test_tagged_functions_run_beside(pool, gate):
    executor = pool(1)

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, "held")
        await said(gate, "S")
        result = await executor.run(interpreter(jobs.add), 1, 2)
        gate.close()
        return result, await held

    assert run(asyncio.new_event_loop, main) == ((3, "held"), [])


def test_calls_go_to_the_host_with_the_fewest(pool, gate):
    executor = pool(4, max_interpreters=2)

    async def main():
        held = []
        for _ in range(6):
            held.append(executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args))
        await said(gate, "S" * 6)
        gate.close()
        places = await asyncio.gather(*held)
        return sorted(places.count(place) for place in set(places))

    assert run(asyncio.new_event_loop, main) == ([3, 3], [])


def test_tasks_per_interpreter(pool, gate):
    executor = pool(4, max_interpreters=1, tasks_per_interpreter=3)

    async def main():
        calls = [
            executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, n) for n in range(12)
        ]
        await said(gate, "SSS")
        assert gate.listen() == "SSS"
        stats = executor.stats()
        assert (stats.running, stats.pending) == (3, 9)
        gate.open(12)
        return await asyncio.gather(*calls)

    assert run(asyncio.new_event_loop, main) == ([*range(12)], [])
    assert gate.most_at_once() <= 3


def test_those_that_wait_and_nobody_is_told(pool):
    """The place of one that has ended is taken, also if that was not to be told to anybody."""
    executor = pool(1, tasks_per_interpreter=1)
    futures = [executor.submit(interpreter(coroutine_jobs.add), n) for n in range(50)]
    wait_until(lambda: executor.stats().done == 50, "the end of all")
    assert [future.result() for future in futures] == [*range(2, 52)]


def test_those_that_wait_start_in_order(pool, gate, lines):
    executor = pool(1, tasks_per_interpreter=1)

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args)
        order = []
        calls = [executor.run(interpreter(coroutine_jobs.at_once), n) for n in range(20)]
        for call in calls:
            call.add_done_callback(lambda call: order.append(call.result()))
        gate.close()
        await asyncio.gather(held, *calls)
        return order

    assert run(asyncio.new_event_loop, main) == ([*range(20)], [])


@pytest.mark.parametrize("value", [0, -1, "many", 1.5])
def test_a_limit_that_is_none(pool, value):
    with pytest.raises(ValueError if isinstance(value, int) else TypeError, match="tasks_per_int"):
        pool(1, tasks_per_interpreter=value)


def test_figures(pool):
    executor = pool(2, max_interpreters=1)

    async def main():
        await executor.run(interpreter(coroutine_jobs.add), 1)
        with pytest.raises(ValueError, match="x"):
            await executor.run(interpreter(coroutine_jobs.raise_this), ValueError("x"))
        stats = executor.stats()
        return stats.done, stats.failed, stats.running, stats.interpreters

    assert run(asyncio.new_event_loop, main) == ((1, 1, 0, 1), [])


def test_prestart_starts_no_host_but_a_first_call_does(pool):
    executor = pool(2, max_interpreters=1, thread_name_prefix="ahead")

    def hosts():
        return sum(thread.name.startswith("ahead-host_") for thread in threading.enumerate())

    executor.prestart().result(TIMEOUT)
    assert hosts() == 0
    assert executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT) == 3
    assert hosts() == 1


def test_a_dump_shows_the_host(pool, gate, tmp_path):
    executor = pool(2, max_interpreters=1, thread_name_prefix="crawl")

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args)
        await said(gate, "S")
        with open(tmp_path / "dump", "w+") as file:
            executor.dump(file)
            file.seek(0)
            text = file.read()
        gate.close()
        await held
        return text

    text, _ = run(asyncio.new_event_loop, main)
    assert 'Thread "crawl-host_0"' in text
    assert "aiointerpreters._hosting.main" in text
    assert "run_forever" in text


# --- cancellation --------------------------------------------------------------------------------


def test_cancelled_while_it_waits(factory, pool, gate):
    executor = pool(1)

    async def main():
        call = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args)
        task = asyncio.ensure_future(_awaiting(call))
        await said(gate, "S")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await said(gate, "SC")
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert run(factory, main) == (3, [])
    wait_until(lambda: executor.stats().interrupted == 1, "the count")


async def _awaiting(call):
    return await call


@pytest.mark.parametrize("at", range(6))
def test_cancelled_at_every_await(pool, gate, at):
    executor = pool(1)

    async def main():
        call = executor.run(interpreter(coroutine_jobs.steps), gate.args[0], at)
        await said(gate, "S" * at)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        if at:
            await said(gate, "F")
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert run(asyncio.new_event_loop, main) == (3, [])


def test_cancelled_at_once(factory, pool):
    executor = pool(1)

    async def main():
        calls = [executor.run(interpreter(coroutine_jobs.add), n) for n in range(500)]
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        return {type(result) for result in results[::2]}, results[1::2]

    assert run(factory, main) == (({asyncio.CancelledError}, [*range(3, 502, 2)]), [])


def test_cancelled_before_it_starts(pool, gate):
    executor = pool(1, tasks_per_interpreter=1)

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args)
        await said(gate, "S")
        waiting = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args)
        after = executor.run(interpreter(coroutine_jobs.add), 1)
        waiting.cancel()
        stats = executor.stats()
        assert (stats.pending, stats.cancelled) == (1, 1)
        gate.close()
        await held
        return await after

    assert run(asyncio.new_event_loop, main) == (3, [])
    assert gate.listen() == "SE"


def test_a_future_is_cancelled(pool, gate):
    executor = pool(1)
    future = executor.submit(interpreter(coroutine_jobs.pass_gate), *gate.args)
    gate.wait_started()
    assert future.cancel()
    assert future.cancelled()
    gate.wait_for("C")
    assert executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT) == 3


def test_one_that_is_not_interruptible(pool, gate):
    executor = pool(1)
    future = executor.submit(
        interpreter(coroutine_jobs.pass_gate, interruptible=False), *gate.args, "done"
    )
    gate.wait_started()
    assert not future.cancel()
    gate.close()
    assert future.result(TIMEOUT) == "done"
    assert gate.listen() == "SE"


def test_timeouts_and_groups_cancel(factory, pool, gate):
    executor = pool(1)
    job = interpreter(coroutine_jobs.pass_gate)

    async def in_a_group():
        async with asyncio.TaskGroup() as group:
            group.create_task(executor.run(job, *gate.args))
            group.create_task(executor.run(interpreter(coroutine_jobs.raise_this), ValueError()))

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await executor.run(job, *gate.args)
        with pytest.raises(ExceptionGroup):
            await in_a_group()
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert run(factory, main) == (3, [])


def test_one_that_goes_on_when_it_is_cancelled(pool, gate):
    """As in asyncio: that is its own affair, and its host serves others."""
    executor = pool(1, grace=0.1)

    async def main():
        call = executor.run(interpreter(coroutine_jobs.swallow), *gate.args)
        await said(gate, "S")
        call.cancel()
        await said(gate, "SC")
        place = await executor.run(interpreter(coroutine_jobs.where))
        await asyncio.sleep(0.5)  # longer than its grace
        return place == await executor.run(interpreter(coroutine_jobs.where))

    assert run(asyncio.new_event_loop, main) == (True, [])
    gate.close()


def test_cleaning_up_is_not_interrupted(pool, gate):
    executor = pool(1)

    async def main():
        call = executor.run(interpreter(coroutine_jobs.clean_up_slowly), gate.args[0])
        await said(gate, "S")
        call.cancel()
        await said(gate, "SF")

    assert run(asyncio.new_event_loop, main) == (None, [])


# --- time limits ---------------------------------------------------------------------------------


def test_its_time_is_over(pool, gate):
    executor = pool(1)
    job = interpreter(coroutine_jobs.pass_gate, timeout=0.05)

    async def main():
        with pytest.raises(TimeoutError, match=r"pass_gate took longer than its timeout of 0\.05"):
            await executor.run(job, *gate.args)
        await said(gate, "SC")
        with pytest.raises(TimeoutError):
            await asyncio.wrap_future(executor.submit(job, *gate.args))
        return await executor.run(interpreter(coroutine_jobs.add, timeout=TIMEOUT), 1)

    assert run(asyncio.new_event_loop, main) == (3, [])
    assert executor.stats().interrupted == 2


def test_many_limits(pool, gate):
    executor = pool(1)

    async def main():
        calls = [
            executor.run(
                interpreter(coroutine_jobs.pass_gate, timeout=0.02 * (n % 5 + 1)), *gate.args
            )
            for n in range(100)
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        return {type(result) for result in results}

    assert run(asyncio.new_event_loop, main) == ({TimeoutError}, [])


# --- coroutines that never yield -----------------------------------------------------------------


def test_one_that_never_yields_is_cancelled(pool, gates):
    executor = pool(1)
    gate, other = gates(), gates()

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *other.args)
        await said(other, "S")
        before = await executor.run(interpreter(coroutine_jobs.where))
        call = executor.run(interpreter(coroutine_jobs.spin), gate.args[0])
        await said(gate, "S")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await said(gate, "SE")
        same = before == await executor.run(interpreter(coroutine_jobs.where))
        other.close()
        return same, await held == before[0]

    assert run(asyncio.new_event_loop, main) == ((True, True), [])
    assert executor.stats().set_aside == 0


def test_it_is_cancelled_while_another_one_begins(pool, gates, tmp_path):
    """The host is reminded in the middle of its turn, and gets on: that must not be all it does."""
    executor = pool(1)
    gate, place = gates(), str(tmp_path / "file")
    future = executor.submit(interpreter(coroutine_jobs.poll), place)
    executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT)  # it polls by now
    blocking = executor.submit(interpreter(coroutine_jobs.hold_up_until), *gate.args, place)
    gate.wait_started()
    assert future.cancel()
    gate.open()
    blocking.result(TIMEOUT)
    assert executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT) == 3


def test_the_time_of_one_that_never_yields_is_over(pool, gates):
    executor = pool(1)
    gate, other = gates(), gates()

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *other.args, "held")
        await said(other, "S")
        with pytest.raises(TimeoutError, match="took longer than its timeout"):
            await executor.run(interpreter(coroutine_jobs.spin, timeout=0.05), gate.args[0])
        other.close()
        return await held

    assert run(asyncio.new_event_loop, main) == ("held", [])
    assert executor.stats().set_aside == 0


@pytest.mark.parametrize("how", ["step", "wake"])
def test_no_wake_up_is_lost(pool, gates, how):
    """It is to stop while a Task or a future is about to schedule something."""
    executor = pool(1, grace=TIMEOUT)
    gate = gates()

    async def main():
        call = executor.run(interpreter(coroutine_jobs.hold_up_call_soon), gate.args[0], how)
        await said(gate, "b")
        call.cancel()
        await said(gate, "bew" if how == "wake" else "be")
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert run(asyncio.new_event_loop, main) == (3, [])
    assert executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT) == 3
    executor.shutdown()
    assert executor.stats().set_aside == 0


def test_functions_that_it_calls_are_interrupted(pool, gates):
    executor = pool(1, grace=TIMEOUT)
    gate = gates()

    async def main():
        call = executor.run(interpreter(coroutine_jobs.spin_in_function), gate.args[0])
        await said(gate, "h")
        call.cancel()
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert run(asyncio.new_event_loop, main) == (3, [])
    assert executor.stats().set_aside == 0


def test_another_one_is_never_hit(pool, gates):
    """What holds up the loop is not what was cancelled: it is left alone."""
    executor = pool(1, grace=TIMEOUT)
    gate, blocking = gates(), gates()

    async def main():
        victim = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args)
        await said(gate, "S")
        innocent = executor.run(interpreter(coroutine_jobs.spin_a_while), blocking.args[0], 0.7)
        await said(blocking, "S")
        victim.cancel()
        return await innocent

    assert run(asyncio.new_event_loop, main) == ("untouched", [])


def test_a_host_that_does_not_come_back(pool, gates):
    executor = pool(1, grace=0.2)
    gate, other = gates(), gates()

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *other.args)
        await said(other, "S")
        before = await executor.run(interpreter(coroutine_jobs.where))
        call = executor.run(interpreter(coroutine_jobs.hold_up), *gate.args)
        await said(gate, "S")
        posted = executor.run(interpreter(coroutine_jobs.add), 1)
        call.cancel()
        for lost in (held, posted):
            with pytest.raises(RuntimeError, match="was given up: a coroutine that was to stop"):
                await lost
        after = await executor.run(interpreter(coroutine_jobs.where))
        gate.close()
        return before[0] != after[0]

    assert run(asyncio.new_event_loop, main) == (True, [])
    assert executor.stats().set_aside == 1


# --- loops that die ------------------------------------------------------------------------------


def test_a_callback_whose_thread_begins_but_is_said_not_to(tmp_path):
    source = """
        import threading
        import coroutine_jobs
        import harness
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        begun, go = threading.Event(), threading.Event()
        start = threading.Thread.start

        def begins():
            if threading.current_thread().name.endswith("-host_1"):
                begun.set()
                go.wait()

        def start_and_fail(thread):
            start(thread)
            if thread.name.endswith("-host_1"):
                begun.wait()
                raise MemoryError("no more")

        threading.Thread.start = start_and_fail
        coroutine_jobs.begins = begins
        called = threading.Semaphore(0)
        initializer = coroutine_jobs.call_begins
        with InterpreterThreadPoolExecutor(1, initializer=initializer) as executor:
            gate = harness.Gate()
            future = executor.submit(interpreter(coroutine_jobs.large_later), *gate.args, 5_000_000)
            future.add_done_callback(lambda future: called.release())
            gate.open()
            called.acquire()
            go.set()
        print(len(future.result()), called.acquire(blocking=False))
    """
    assert_ok(run_script(tmp_path, source), "5000000 False")


def test_a_loop_that_is_stopped_goes_on(pool, gate):
    executor = pool(1)

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, "held")
        await said(gate, "S")
        stopped = await executor.run(interpreter(coroutine_jobs.stop_loop), "stopped")
        gate.close()
        return stopped, await held

    assert run(asyncio.new_event_loop, main) == (("stopped", "held"), [])


def test_a_loop_that_dies(factory, pool, gate):
    executor = pool(1)

    async def main():
        held = executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args)
        await said(gate, "S")
        broken = executor.run(interpreter(coroutine_jobs.break_loop))
        for call in (held, broken):
            with pytest.raises(RuntimeError, match="the event loop that ran the coroutine has end"):
                await call
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert run(factory, main) == (3, [])


def test_calls_that_wait_have_another_host(pool, gate):
    executor = pool(1, tasks_per_interpreter=1)

    async def main():
        broken = executor.run(interpreter(coroutine_jobs.break_loop))
        waiting = [executor.run(interpreter(coroutine_jobs.add), n) for n in range(5)]
        with pytest.raises(RuntimeError, match="the event loop that ran the coroutine has ended"):
            await broken
        return await asyncio.gather(*waiting)

    assert run(asyncio.new_event_loop, main) == ([*range(2, 7)], [])


def test_a_task_that_is_left_behind(pool, gate):
    executor = pool(1)

    async def main():
        await executor.run(interpreter(coroutine_jobs.leave_a_task), gate.args[0])

    assert run(asyncio.new_event_loop, main) == (None, [])
    gate.wait_for("S")
    executor.shutdown()
    assert gate.listen() == "SF"


# --- the caller's loop ---------------------------------------------------------------------------


def test_a_loop_that_is_closed_before_the_results_come(pool, gate, capfd):
    executor = pool(1)

    async def main():
        for n in range(10):
            executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, n)
        await said(gate, "S" * 10)

    asyncio.run(main())
    gate.close()
    executor.shutdown()
    gc.collect()
    assert gate.listen().count("E") == 10
    assert capfd.readouterr() == ("", "")


def test_a_loop_that_is_stopped_and_runs_again(pool, gate):
    executor = pool(1)
    loop = asyncio.new_event_loop()
    calls = []

    async def begin():
        calls.extend(
            executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, n) for n in range(5)
        )

    loop.run_until_complete(begin())
    gate.wait_for("S" * 5)
    gate.close()
    wait_until(lambda: executor.stats().done == 5, "the end of the calls")
    assert not any(call.done() for call in calls)
    assert loop.run_until_complete(asyncio.gather(*calls)) == [*range(5)]
    loop.close()


# --- the end of the executor ---------------------------------------------------------------------


def test_a_shutdown_finishes_what_was_accepted(pool, gate):
    executor = pool(1, tasks_per_interpreter=2)

    async def main():
        calls = [
            executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, n) for n in range(6)
        ]
        await said(gate, "SS")
        executor.shutdown(wait=False)
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.run(interpreter(coroutine_jobs.add), 1)
        gate.close()
        ended = asyncio.to_thread(executor.shutdown)
        results = await asyncio.gather(*calls)
        await ended
        return results

    assert run(asyncio.new_event_loop, main) == ([*range(6)], [])


def test_a_shutdown_cancels_what_has_not_started(pool, gate):
    executor = pool(1, tasks_per_interpreter=2)

    async def main():
        calls = [
            executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, n) for n in range(6)
        ]
        await said(gate, "SS")
        executor.shutdown(wait=False, cancel_futures=True)
        gate.close()
        results = await asyncio.gather(*calls, return_exceptions=True)
        return results[:2], {type(result) for result in results[2:]}

    assert run(asyncio.new_event_loop, main) == (([0, 1], {asyncio.CancelledError}), [])


def test_a_shutdown_interrupts(factory, pool, gate):
    executor = pool(1)

    async def main():
        calls = [executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args) for _ in range(6)]
        await said(gate, "S" * 6)
        executor.shutdown(wait=False, interrupt=True)
        results = await asyncio.gather(*calls, return_exceptions=True)
        return {type(result) for result in results}

    assert run(factory, main) == ({asyncio.CancelledError}, [])
    executor.shutdown()
    assert sorted(gate.listen()) == ["C"] * 6 + ["S"] * 6


@pytest.mark.parametrize("grace", [0, 0.2, 5.0])
def test_a_shutdown_interrupts_one_that_never_yields(pool, gate, grace):
    executor = pool(1, grace=grace)
    future = executor.submit(interpreter(coroutine_jobs.spin), gate.args[0])
    gate.wait_started()
    executor.shutdown(interrupt=True)
    assert future.cancelled()


def test_a_shutdown_does_not_interrupt_what_is_not_interruptible(pool, gates):
    executor = pool(1)
    gate, other, spinning = gates(), gates(), gates()
    future = executor.submit(
        interpreter(coroutine_jobs.pass_gate, interruptible=False), *gate.args, "done"
    )
    interrupted = executor.submit(interpreter(coroutine_jobs.pass_gate), *other.args)
    spins = interpreter(coroutine_jobs.spin_a_while, interruptible=False)
    untouched = executor.submit(spins, spinning.args[0], 0.7)
    for begun in (gate, other, spinning):
        begun.wait_started()
    executor.shutdown(wait=False, interrupt=True)
    other.wait_for("C")
    gate.close()
    assert untouched.result(TIMEOUT) == "untouched"
    assert future.result(TIMEOUT) == "done"
    assert interrupted.cancelled()


def test_a_shutdown_while_the_first_call_is_encoded(pool):
    executor = pool(1)
    hook = coroutine_jobs.Hook(executor.shutdown)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(interpreter(coroutine_jobs.at_once), hook)
    assert executor.stats().threads == 0


def test_a_shutdown_of_nothing(pool):
    executor = pool(1)
    executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT)
    executor.shutdown()
    executor.shutdown(interrupt=True)


def test_a_body_that_raises(pool, gate):
    executor = pool(1)

    calls = []

    def body():
        with executor:
            calls.append(executor.run(interpreter(coroutine_jobs.pass_gate), *gate.args, 1))
            gate.close()
            raise ValueError("body")

    async def main():
        with pytest.raises(ValueError, match="body"):
            body()
        return await calls[0]

    assert run(asyncio.new_event_loop, main) == (1, [])


def test_an_executor_that_nobody_has_any_more(gate):
    executor = aiointerpreters.InterpreterThreadPoolExecutor(1)
    future = executor.submit(interpreter(coroutine_jobs.pass_gate), *gate.args, "done")
    gate.wait_started()
    del executor
    gc.collect()
    gate.close()
    assert future.result(TIMEOUT) == "done"
    del future


def test_nothing_is_left(pool):
    run(asyncio.new_event_loop, lambda: asyncio.sleep(0))  # what Python itself opens once
    before = descriptors()
    for _ in range(3):
        executor = pool(2)

        async def main(executor=executor):
            job = interpreter(coroutine_jobs.add)
            await asyncio.gather(*(executor.run(job, n) for n in range(50)))

        run(asyncio.new_event_loop, main)
        executor.shutdown()
    assert descriptors() == before


def test_nothing_is_left_of_a_loop_that_died(pool):
    executor = pool(1)

    async def main():
        with pytest.raises(RuntimeError):
            await executor.run(interpreter(coroutine_jobs.break_loop))

    run(asyncio.new_event_loop, main)
    executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT)
    before = descriptors()
    for _ in range(3):
        run(asyncio.new_event_loop, main)
        executor.submit(interpreter(coroutine_jobs.add), 1).result(TIMEOUT)
    wait_until(lambda: descriptors() <= before, "the end of the hosts' descriptors")


# --- the end of the process ----------------------------------------------------------------------

HEAD = """
import asyncio
import os
import sys
import coroutine_jobs
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

executor = InterpreterThreadPoolExecutor(2)
"""


def script(folder, body, *arguments, **options):
    import textwrap

    return run_script(folder, HEAD + textwrap.dedent(body), *arguments, **options)


def test_a_program_finishes_what_is_under_way(tmp_path):
    body = """
        async def say(text):
            await asyncio.sleep(0.2)
            os.write(1, text.encode())

        async def main():
            executor.run(interpreter(say), "said\\n")

        asyncio.run(main())
        os.write(1, b"end\\n")
    """
    assert_ok(script(tmp_path, body), "end", "said")


def test_an_idle_host_does_not_keep_the_process(tmp_path):
    body = """
        print(executor.submit(interpreter(coroutine_jobs.add), 1).result())
    """
    assert_ok(script(tmp_path, body), "3")


@pytest.mark.parametrize("job", ["hold", "spin"])
def test_a_ctrl_c_ends_the_program(tmp_path, job):
    body = """
        import signal, threading, time

        async def hold(text):
            os.write(1, b"begun\\n")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                os.write(1, b"cleaned up\\n")

        async def spin(text):
            os.write(1, b"begun\\n")
            try:
                while True:
                    pass
            finally:
                os.write(1, b"cleaned up\\n")

        async def main():
            await asyncio.gather(executor.run(interpreter(globals()[sys.argv[1]]), "text"))

        def kill():
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

        async def begin():
            await executor.run(interpreter(coroutine_jobs.add), 1)
            threading.Thread(target=kill).start()
            await main()

        with executor:
            asyncio.run(begin())
    """
    begun = time.monotonic()
    done = script(tmp_path, body, job)
    assert done.returncode == -signal.SIGINT, done
    assert done.stdout.splitlines() == ["begun", "cleaned up"]
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert time.monotonic() - begun < TIMEOUT


def test_the_child_of_a_fork(tmp_path):
    body = """
        import warnings
        warnings.simplefilter("ignore")

        async def main():
            return await asyncio.gather(*(executor.run(interpreter(coroutine_jobs.add), n)
                                          for n in range(20)))

        async def hold():
            await asyncio.get_running_loop().create_future()

        assert asyncio.run(main()) == [*range(2, 22)]
        future = executor.submit(interpreter(hold))
        before = len(os.listdir("/proc/self/fd"))
        pid = os.fork()
        if pid == 0:
            assert asyncio.run(main()) == [*range(2, 22)]
            executor.shutdown()
            assert len(os.listdir("/proc/self/fd")) < before, os.listdir("/proc/self/fd")
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert asyncio.run(main()) == [*range(2, 22)]
        executor.shutdown(interrupt=True)
        print(future.cancelled())
    """
    assert_ok(script(tmp_path, body), "True")


# --- the runner ----------------------------------------------------------------------------------


def test_runner():
    async def main():
        with Runner(workers=2).start() as runner:
            wrapped = runner.wrap(coroutine_jobs.add)
            results = await asyncio.gather(*(runner.run(coroutine_jobs.add, n) for n in range(50)))
            with pytest.raises(aiointerpreters.InterpreterError, match="ValueError: text"):
                await runner.run(coroutine_jobs.raise_this, ValueError("text"))
            return results, await wrapped(1, b=5)

    assert asyncio.run(main()) == ([*range(2, 52)], 6)


def test_a_host_is_no_function_of_others():
    with pytest.raises(RuntimeError, match="no worker that is to be a host"):
        _core.host(None)
