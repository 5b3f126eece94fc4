"""Runner, the older interface, and the executor as an event loop's default."""

import asyncio
import functools
import inspect
import threading
from concurrent.futures import CancelledError

import harness
import jobs
import pytest

from aiointerpreters import runner as runner_module
from aiointerpreters._errors import SendError
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter
from aiointerpreters.runner import InterpreterError, Runner, RunnerError, get_module_info


@pytest.fixture(scope="module")
def runner():
    with Runner(workers=2).start() as started:
        yield started


def run(coroutine):
    """Run a coroutine to its end, or fail."""

    async def limited():
        return await asyncio.wait_for(coroutine, harness.TIMEOUT)

    return asyncio.run(limited())


# --- what it runs --------------------------------------------------------------------------------


def test_run(runner):
    async def main():
        return await asyncio.gather(
            runner.run(jobs.add, 1, 2),
            runner.run(jobs.add, 1, b=3),
            runner.run(jobs.add, a="x", b="y"),
            runner.run(interpreter(jobs.add), 1),
            runner.run(lambda x: x * 2, 4),
            runner.run(functools.partial(jobs.add, 10), 5),
            runner.run(jobs.capture, self=1, fn=2, module_info=3),
        )

    named = ((), (("fn", 2), ("module_info", 3), ("self", 1)))
    assert run(main()) == [3, 4, "xy", 1, 8, 15, named]


def test_runs_in_an_interpreter(runner):
    assert run(runner.run(jobs.interpreter_id)) != 0


def test_each_worker_has_its_interpreter(gate):
    with Runner(workers=3).start() as runner:

        async def main():
            calls = [
                asyncio.ensure_future(runner.run(jobs.pass_gate, *gate.args)) for _ in range(3)
            ]
            await asyncio.to_thread(gate.wait_started, 3)
            gate.open(3)
            return await asyncio.gather(*calls)

        identities = run(main())
    assert len(set(identities)) == 3
    assert 0 not in identities


def test_wrap(runner):
    parallel = runner.wrap(jobs.add)
    assert inspect.iscoroutinefunction(parallel)
    assert (parallel.__name__, parallel.__wrapped__) == ("add", jobs.add)
    assert run(parallel(1, b=2)) == 3


def test_several_loops(runner):
    results = [harness.in_thread(run, runner.run(jobs.add, n, n)) for n in range(3)]
    assert results == [0, 2, 4]


def test_run_module_function(runner, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("assert __name__ != '__main__'\ndef f(x, *, y): return x, y\n")
    call = runner.run_module_function
    assert run(call(("module", "jobs", "add"), 1, b=2)) == 3
    assert run(call(("path", str(script), "f"), 1, y=2)) == (1, 2)
    with pytest.raises(InterpreterError, match="no_such"):
        run(call(("module", "jobs", "no_such")))


def test_get_module_info():
    assert get_module_info(jobs.add) == ("module", "jobs", "add")
    assert get_module_info(jobs.doubled) == ("module", "jobs", "doubled")
    for unfit in (lambda: 1, jobs.Point.total, functools.partial(jobs.add), 3):
        with pytest.raises(RunnerError, match="is not a top level function"):
            get_module_info(unfit)


def test_main_script(tmp_path):
    done = harness.run_script(
        tmp_path,
        """
        import asyncio
        from aiointerpreters.runner import InterpreterError, Runner, RunnerError, get_module_info

        class Error(Exception): pass
        LIMIT = 5
        def add(a, b=0): return a + b + LIMIT
        def fail(): raise Error("own")

        async def main():
            with Runner(workers=2).start() as runner:
                print(await asyncio.gather(runner.run(add, 1), runner.wrap(add)(1, b=2)))
                try:
                    await runner.run(fail)
                except InterpreterError as error:
                    print(type(error.__cause__) is Error, error)

        print(get_module_info(add) == ("path", __file__, "add"))
        asyncio.run(main())
        """,
    )
    harness.assert_ok(done, "True", "[6, 8]", "True Error: own")


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "cause", "text"),
    [
        (jobs.raise_value_error, ValueError, "ValueError: no good"),
        (jobs.raise_custom, jobs.CustomError, "CustomError: (7, 'seven')"),
        (functools.partial(jobs.exit_with, 3), SystemExit, "SystemExit: 3"),
        (jobs.interrupt, KeyboardInterrupt, "KeyboardInterrupt: by the task"),
        (jobs.generator_exit, GeneratorExit, "GeneratorExit: closed"),
        (jobs.stop_iteration, StopIteration, "StopIteration: ended"),
        (jobs.cancelled, CancelledError, "CancelledError: by the task"),
        (jobs.time_out, TimeoutError, "TimeoutError: by the task"),
    ],
)
def test_what_the_function_raises(runner, function, cause, text):
    with pytest.raises(InterpreterError) as caught:
        run(runner.run(function))
    assert str(caught.value) == text
    assert type(caught.value.__cause__) is cause
    assert "Traceback" in str(caught.value.__cause__.__cause__)


def test_what_the_function_raises_is_not_about_the_await(runner):
    # An exception that means something to a coroutine reaches it only as a cause.
    async def main():
        return await asyncio.gather(
            *[runner.run(f) for f in (jobs.generator_exit, jobs.cancelled, jobs.stop_iteration)],
            return_exceptions=True,
        )

    for _ in range(20):
        assert [type(error) for error in run(main())] == [InterpreterError] * 3


def test_what_comes_back_cannot_be_sent(runner):
    for function in (jobs.make_unpicklable, jobs.raise_holding):
        with pytest.raises(InterpreterError) as caught:
            run(runner.run(function))
        assert type(caught.value.__cause__) is SendError


def test_what_cannot_be_sent(runner):
    lock = threading.Lock()
    for function, args in ((lambda: lock, ()), (jobs.add, (lock,)), (jobs.add, (1, lock))):
        with pytest.raises(RunnerError, match=r"cannot be sent.*_thread\.lock") as caught:
            run(runner.run(function, *args))
        assert type(caught.value.__cause__) is SendError
    for unfit in (3, None, "text"):
        with pytest.raises(RunnerError, match="cannot be called"):
            run(runner.run(unfit))
    assert run(runner.run(jobs.add, 1, 2)) == 3


def test_not_started():
    runner = Runner(workers=1)
    for _ in range(2):
        with pytest.raises(RunnerError, match="not started"):
            run(runner.run(jobs.add, 1))
        with runner.start() as started:
            assert started is runner
            with pytest.raises(RunnerError, match="started already"), runner.start():
                pass
            assert run(runner.run(jobs.add, 1)) == 1


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers(workers):
    with pytest.raises(ValueError, match="workers must be greater than 0"):
        Runner(workers=workers)


def test_an_error_in_the_block_ends_the_runner():
    runner = Runner(workers=1)

    def use_and_fail():
        with runner.start():
            run(runner.run(jobs.add, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use_and_fail()
    with pytest.raises(RunnerError, match="not started"):
        run(runner.run(jobs.add, 1))


def test_cancelled_await_cancels_the_call(gate, lines):
    with Runner(workers=1).start() as runner:

        async def main():
            first = asyncio.ensure_future(runner.run(jobs.pass_gate, *gate.args))
            await asyncio.to_thread(gate.wait_started)
            second = asyncio.ensure_future(runner.run(jobs.write_line, lines.descriptor, "ran"))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            gate.open()
            return await first

        assert run(main()) != 0
    assert lines.read() == []


def test_timeout_around_an_await(gate):
    with Runner(workers=1).start() as runner:

        async def main():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await runner.run(jobs.pass_gate, *gate.args)
            gate.close()
            return await runner.run(jobs.add, 1)

        assert run(main()) == 1


def test_names_of_the_older_module():
    assert set(runner_module.__all__) == {
        "InterpreterError",
        "Runner",
        "RunnerError",
        "get_module_info",
    }


# --- the default executor of a loop --------------------------------------------------------------


async def through_to_thread():
    return await asyncio.gather(
        asyncio.to_thread(interpreter(jobs.interpreter_id)),
        asyncio.to_thread(jobs.interpreter_id),
        asyncio.get_running_loop().run_in_executor(None, interpreter(jobs.add), 1, 2),
    )


def check(results):
    identity, main_identity, total = results
    assert identity != 0
    assert (main_identity, total) == (0, 3)


def test_default_of_the_running_loop(pool):
    async def main():
        pool(2).set_as_event_loop_default()
        return await through_to_thread()

    check(run(main()))


def test_default_of_a_loop(pool):
    loop = asyncio.new_event_loop()
    try:
        pool(2).set_as_event_loop_default(loop)
        check(loop.run_until_complete(through_to_thread()))
    finally:
        loop.close()


def test_default_of_an_asyncio_runner(pool):
    with asyncio.Runner() as asyncio_runner:
        pool(2).set_as_event_loop_default(asyncio_runner)
        check(asyncio_runner.run(through_to_thread()))


def test_default_of_a_uvloop(pool):
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as asyncio_runner:
        pool(2).set_as_event_loop_default(asyncio_runner.get_loop())
        check(asyncio_runner.run(through_to_thread()))


def test_default_of_a_loop_that_wraps_another(pool):
    class Wrapping(asyncio.SelectorEventLoop):
        pass

    loop = Wrapping()
    pool(1).set_as_event_loop_default(ctx=loop)
    loop.close()


def test_default_of_nothing(pool):
    executor = pool(1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        executor.set_as_event_loop_default()
    for unfit in (3, "loop", asyncio, Runner(workers=1), asyncio.Runner):
        with pytest.raises(TypeError, match=r"event loop, an asyncio\.Runner or None, not"):
            executor.set_as_event_loop_default(unfit)


def test_the_loop_shuts_it_down():
    executor = InterpreterThreadPoolExecutor(1)

    async def main():
        executor.set_as_event_loop_default()
        await asyncio.to_thread(jobs.add, 1)

    run(main())
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(jobs.add, 1)
