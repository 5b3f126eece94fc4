"""As the default executor of event loops: asyncio's, uvloop's, a Runner's."""

import asyncio
import contextvars
import functools
import threading
import time

import jobs
import pytest
import tagged_jobs
from harness import TIMEOUT, assert_ok, interpreters, run_script

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


@pytest.fixture
def run(factory):
    """Run a coroutine function in a loop whose default executor is ours."""

    def run(main, debug=False):
        with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
            InterpreterThreadPoolExecutor(4).set_as_event_loop_default(runner)
            return runner.run(asyncio.wait_for(main(), TIMEOUT))

    return run


# --- becoming the default ------------------------------------------------------------------------


def default_is(loop, executor):
    thread = loop.run_until_complete(loop.run_in_executor(None, threading.current_thread))
    return thread in executor._threads


def test_of_the_running_loop(factory, pool):
    executor = pool(1)

    async def main():
        executor.set_as_event_loop_default()
        return await asyncio.to_thread(interpreter(jobs.interpreter_id))

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) != 0
    assert len(executor._threads) == 1


def test_of_a_loop(factory, pool):
    executor = pool(1)
    loop = factory()
    try:
        assert executor.set_as_event_loop_default(loop) is None
        assert default_is(loop, executor)
        assert loop.run_until_complete(loop.run_in_executor(None, interpreter(jobs.interpreter_id)))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def test_of_a_loop_as_a_keyword(pool):
    executor = pool(1)
    loop = asyncio.new_event_loop()
    executor.set_as_event_loop_default(ctx=loop)
    assert default_is(loop, executor)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_of_a_runner(factory, pool):
    executor = pool(1)
    with asyncio.Runner(loop_factory=factory) as runner:
        executor.set_as_event_loop_default(runner)
        assert default_is(runner.get_loop(), executor)


def test_without_a_running_loop(pool):
    with pytest.raises(RuntimeError, match="no running event loop"):
        pool(1).set_as_event_loop_default()


@pytest.mark.parametrize("wrong", [3, "loop", object(), asyncio])
def test_of_something_else(pool, wrong):
    with pytest.raises(TypeError):
        pool(1).set_as_event_loop_default(wrong)


def test_set_default_executor(factory, pool):
    executor = pool(1)

    async def main():
        asyncio.get_running_loop().set_default_executor(executor)
        return await asyncio.to_thread(interpreter(jobs.interpreter_id))

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) != 0


def test_loop_shuts_its_default_executor_down(factory):
    executor = InterpreterThreadPoolExecutor(2)

    async def main():
        executor.set_as_event_loop_default()
        await asyncio.to_thread(interpreter(jobs.add), 1)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert executor._shutdown
    assert not any(thread.is_alive() for thread in executor._threads)
    assert interpreters() == set()


# --- calls ---------------------------------------------------------------------------------------


def test_to_thread(run):
    async def main():
        assert await asyncio.to_thread(interpreter(jobs.interpreter_id)) != 0
        assert await asyncio.to_thread(jobs.interpreter_id) == 0
        args, pairs = await asyncio.to_thread(interpreter(jobs.capture), 1, "b", key=2, other=3)
        assert (args, pairs) == ((1, "b"), (("key", 2), ("other", 3)))
        ran_in, n = await asyncio.to_thread(tagged_jobs.plain, 1, extra=4)
        assert ran_in != 0
        assert n == 5
        return await asyncio.to_thread(jobs.capture, 1, key=2)

    assert run(main) == ((1,), (("key", 2),))


def test_run_in_executor(run):
    async def main():
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, interpreter(jobs.interpreter_id)) != 0
        assert await loop.run_in_executor(None, jobs.interpreter_id) == 0
        assert await loop.run_in_executor(None, functools.partial(jobs.add, 1, b=5)) == 6
        assert await loop.run_in_executor(None, interpreter(functools.partial(jobs.add, 1)), 4) == 5
        return await loop.run_in_executor(None, interpreter(jobs.add), 5, 6)

    assert run(main) == 11


def test_run_in_an_executor_that_is_not_the_default(factory, executor):
    async def main():
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(executor, interpreter(jobs.interpreter_id)) != 0
        return await loop.run_in_executor(executor, jobs.interpreter_id)

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) == 0


def test_task_group(run):
    async def main():
        async with asyncio.TaskGroup() as group:
            tagged = [
                group.create_task(asyncio.to_thread(interpreter(jobs.add), n, 1)) for n in range(50)
            ]
            plain = [group.create_task(asyncio.to_thread(jobs.add, n, 2)) for n in range(50)]
        return [task.result() for task in tagged], [task.result() for task in plain]

    assert run(main) == (list(range(1, 51)), list(range(2, 52)))


def test_gather_of_many(run):
    async def main():
        calls = [asyncio.to_thread(interpreter(jobs.identity), n) for n in range(1000)]
        return await asyncio.gather(*calls)

    assert run(main) == list(range(1000))


def test_as_completed(run):
    async def main():
        calls = [asyncio.to_thread(interpreter(jobs.identity), n) for n in range(50)]
        return sorted([await call for call in asyncio.as_completed(calls)])

    assert run(main) == list(range(50))


@both
def test_errors(run, tag):
    async def main():
        with pytest.raises(jobs.CustomError) as caught:
            await asyncio.to_thread(tag(jobs.raise_custom))
        assert caught.value.extra == {"more": [1, 2]}
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.to_thread(tag(jobs.raise_value_error), "in a group"))
        return [str(error) for error in caught.value.exceptions]

    assert run(main) == ["in a group"]


def test_worker_traceback_is_shown(run):
    async def main():
        with pytest.raises(ValueError, match="no good") as caught:
            await asyncio.to_thread(interpreter(jobs.raise_value_error))
        return str(caught.value.__cause__)

    assert "in raise_value_error" in run(main)


def test_what_cannot_be_sent(run):
    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError, match="capture"):
            await asyncio.to_thread(interpreter(jobs.capture), loop)
        return await asyncio.to_thread(interpreter(jobs.add), 1)

    assert run(main) == 1


@both
def test_debug_mode(run, tag):
    async def main():
        loop = asyncio.get_running_loop()
        assert loop.get_debug()
        assert await asyncio.to_thread(tag(jobs.add), 1, 2) == 3
        return await loop.run_in_executor(None, tag(jobs.add), 3, 4)

    assert run(main, debug=True) == 7


@both
def test_stop_iteration(run, tag):
    """A StopIteration cannot be raised into a future: asyncio makes a RuntimeError of it."""

    async def main():
        with pytest.raises(RuntimeError):
            await asyncio.to_thread(tag(jobs.stop_iteration))
        return await asyncio.to_thread(tag(jobs.add), 1)

    assert run(main) == 1


def test_untagged_sees_the_context(run):
    variable = contextvars.ContextVar("variable", default="default")

    async def main():
        variable.set("of the task")
        return await asyncio.to_thread(variable.get)

    assert run(main) == "of the task"


def test_tagged_does_not_see_the_context(run):
    """A context cannot be sent to an interpreter: there, variables have their defaults."""

    async def main():
        contextvars.ContextVar("variable").set("of the task")
        return await asyncio.to_thread(interpreter(lambda: len(contextvars.copy_context())))

    assert run(main) == 0


# --- the loop stays free -------------------------------------------------------------------------


def test_loop_runs_while_interpreters_compute(run):
    """A tagged task computes until the loop has gone round a few times, told through memory."""

    async def main():
        flags = memoryview(bytearray(2))
        call = asyncio.to_thread(interpreter(jobs.flag_up_and_await), flags, 0, 1, TIMEOUT / 2)
        task = asyncio.create_task(call)
        deadline = time.monotonic() + TIMEOUT / 2
        while not flags[0]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not task.done()
        flags[1] = 1
        return await task

    assert run(main) is True


def test_cancelling_a_task_that_runs(run, gate):
    """The awaiting task ends at once; what runs in a thread runs to its end."""

    async def main():
        task = asyncio.create_task(asyncio.to_thread(jobs.pass_gate, *gate.args))
        while "S" not in gate.listen():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert gate.listen() == "S"
        gate.open()

    run(main)
    assert gate.listen() == "SE"


@both
def test_timeout_of_a_task_that_runs(run, tag, gate):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.to_thread(tag(jobs.pass_gate), *gate.args)
        gate.open()

    run(main)


@both
def test_loop_closed_while_a_task_runs(pool, tag, gate, factory):
    """The result comes when nobody is there any more: no error, no hang."""
    executor = pool(1)
    loop = factory()
    future = loop.run_in_executor(executor, tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    loop.close()
    gate.open()
    assert executor.submit(tag(jobs.add), 1).result(TIMEOUT) == 1
    assert not future.done()


@both
def test_run_coroutine_threadsafe_from_a_task(run, tag):
    async def answer(n):
        return n * 2

    async def main():
        loop = asyncio.get_running_loop()

        def ask():
            return asyncio.run_coroutine_threadsafe(answer(21), loop).result(TIMEOUT)

        return await asyncio.to_thread(ask)

    assert run(main) == 42


def test_asyncio_inside_an_interpreter(run):
    def inner():
        import asyncio

        async def main():
            await asyncio.sleep(0)
            return 42

        return asyncio.run(main())

    async def main():
        return await asyncio.to_thread(interpreter(inner))

    assert run(main) == 42


def test_loops_in_two_threads_with_one_executor(pool):
    executor = pool(2)

    def life():
        async def main():
            loop = asyncio.get_running_loop()
            calls = [loop.run_in_executor(executor, interpreter(jobs.add), n, 1) for n in range(50)]
            return await asyncio.gather(*calls)

        return asyncio.run(main())

    results = [future.result(TIMEOUT) for future in [executor.submit(life)]]
    assert results == [list(range(1, 51))]
    assert life() == list(range(1, 51))


def test_asyncio_run_ends_cleanly(tmp_path):
    assert_ok(
        run_script(
            tmp_path,
            """
            import asyncio
            import jobs
            from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

            async def main():
                InterpreterThreadPoolExecutor().set_as_event_loop_default()
                async with asyncio.TaskGroup() as group:
                    for n in range(5):
                        group.create_task(asyncio.to_thread(interpreter(jobs.add), n))
                print(await asyncio.to_thread(interpreter(jobs.add), 1, 2))

            asyncio.run(main(), debug=True)
            """,
        ),
        "3",
    )
