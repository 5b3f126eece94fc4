"""`aiointerpreters.anyio.run_sync`, on asyncio, uvloop and trio.

What AnyIO promises for `to_thread.run_sync` is asked of it, of ours with an untagged function, and
of ours with a tagged one, by the same steps.
"""

import asyncio
import concurrent.futures
import contextvars
import gc
import importlib.util
import sys
import threading
import weakref

import jobs
import pytest
import stopping_jobs
import tagged_jobs
from harness import TIMEOUT, assert_ok, interpreters, run_script, wait_until

anyio = pytest.importorskip("anyio", reason="not installed for this Python")

from anyio import to_thread  # noqa: E402

from aiointerpreters import InterpreterThreadPoolExecutor, SendError, interpreter  # noqa: E402
from aiointerpreters.anyio import current_default_interpreter_limiter, run_sync  # noqa: E402

BACKENDS = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


@pytest.fixture(params=BACKENDS)
def run(request):
    """Run a coroutine function in each of the event loops."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed for this Python")
    backend, options = BACKENDS[request.param]

    def run(main, *args):
        async def bounded():
            with anyio.fail_after(TIMEOUT):
                return await main(*args)

        return anyio.run(bounded, backend=backend, backend_options=options)

    run.backend = backend
    return run


async def by_anyio(function, *args, executor, **options):
    return await to_thread.run_sync(function, *args, **options)


async def untagged(function, *args, **options):
    return await run_sync(function, *args, **options)


async def tagged(function, *args, **options):
    return await run_sync(interpreter(function), *args, **options)


same = pytest.mark.parametrize("call", [by_anyio, untagged, tagged])
ours = pytest.mark.parametrize("call", [untagged, tagged])


class Call:
    """One call under way in a task group, and how it ended."""

    def __init__(self, call, *args, **options):
        self.scope = anyio.CancelScope()
        self.outcome = None
        self._call = call, args, options

    async def run(self):
        call, args, options = self._call
        with self.scope:
            try:
                self.outcome = await call(*args, **options)
            except BaseException as error:
                self.outcome = type(error)
                raise

    async def cancel(self):
        """Cancel it; on return it has been told, and has done about it what it does at once."""
        self.scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()


def cancelled_type():
    return anyio.get_cancelled_exc_class()


# --- calls ---------------------------------------------------------------------------------------


def test_a_tagged_function_runs_in_an_interpreter(run, executor):
    async def main():
        ran_in, n = await run_sync(tagged_jobs.plain, 1, executor=executor)
        assert ran_in != 0
        assert n == 1
        return await run_sync(interpreter(jobs.add), 1, 2, executor=executor)

    assert run(main) == 3


def test_an_untagged_function_runs_in_a_thread_of_anyios(run, executor):
    async def main():
        where, thread = await run_sync(jobs.where, executor=executor)
        assert (where, thread != threading.get_ident()) == (0, True)
        # The way back that AnyIO gives its threads.
        back = await run_sync(anyio.from_thread.run_sync, threading.get_ident)
        assert back == threading.get_ident()

    run(main)
    assert not executor._threads


def test_a_partial_is_tagged_within_or_as_a_whole(run, executor):
    from functools import partial

    async def main():
        assert await run_sync(interpreter(partial(jobs.add, b=5)), 1, executor=executor) == 6
        inside = partial(tagged_jobs.plain, extra=1)
        return await run_sync(inside, 1, executor=executor)

    ran_in, total = run(main)
    assert ran_in != 0
    assert total == 2


def test_many_at_once(run, executor):
    async def one(n):
        assert await run_sync(interpreter(jobs.add), n, 1, executor=executor) == n + 1

    async def main():
        async with anyio.create_task_group() as group:
            for n in range(300):
                group.start_soon(one, n)

    run(main)


def test_context_variables(run, pool):
    executor = pool(1, context_vars=[tagged_jobs.tenant])

    async def main():
        tagged_jobs.request_id.set("r-1")
        tagged_jobs.tenant.set("ann")
        return await run_sync(tagged_jobs.sees_request, "x", executor=executor)

    where, *seen = contextvars.Context().run(run, main)
    assert where != 0
    assert seen == ["r-1", "ann", "x"]


def test_several_event_loops_share_an_executor(run, executor):
    results = []

    async def main():
        for n in range(20):
            results.append(await run_sync(interpreter(jobs.add), n, executor=executor))

    threads = [threading.Thread(target=run, args=(main,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert sorted(results) == sorted([*range(20)] * 3)


# --- errors --------------------------------------------------------------------------------------


@same
def test_what_the_function_raises(run, executor, call):
    async def main():
        with pytest.raises(ValueError, match="no good"):
            await call(jobs.raise_value_error, executor=executor)
        return await call(jobs.add, 1, executor=executor)

    assert run(main) == 1


def test_what_cannot_be_sent(run, executor):
    async def main():
        with pytest.raises(SendError, match="lock"):
            await tagged(jobs.identity, threading.Lock(), executor=executor)
        with pytest.raises(SendError):
            await tagged(jobs.make_unpicklable, executor=executor)
        return await tagged(jobs.add, 1, executor=executor)

    assert run(main) == 1


def test_an_executor_that_is_shut_down(run, executor):
    executor.shutdown()

    async def main():
        for _ in range(2):
            with pytest.raises(RuntimeError, match="shutdown"):
                await tagged(jobs.add, 1, executor=executor)
        return current_default_interpreter_limiter(executor).borrowed_tokens

    assert run(main) == 0


def test_a_call_that_somebody_else_cancels(run, pool, gate):
    executor = pool(1)

    async def pending():
        with pytest.raises(concurrent.futures.CancelledError):
            await tagged(jobs.add, 1, executor=executor)

    async def main():
        running = Call(tagged, jobs.pass_gate, *gate.args, "value", executor=executor)
        async with anyio.create_task_group() as group:
            group.start_soon(running.run)
            await to_thread.run_sync(gate.wait_started)
            group.start_soon(pending)
            await anyio.wait_all_tasks_blocked()
            executor.shutdown(wait=False, cancel_futures=True)
            gate.open()
        return running.outcome

    assert run(main) == "value"


def test_without_an_event_loop(executor):
    call = run_sync(interpreter(jobs.add), 1, executor=executor)
    with pytest.raises(RuntimeError, match="event loop"):
        call.send(None)


# --- limiters ------------------------------------------------------------------------------------


@same
def test_a_limiter(run, executor, gate, call):
    async def main():
        limiter = anyio.CapacityLimiter(1)
        calls = [
            Call(call, jobs.pass_gate, *gate.args, executor=executor, limiter=limiter)
            for _ in range(3)
        ]
        async with anyio.create_task_group() as group:
            for each in calls:
                group.start_soon(each.run)
            await to_thread.run_sync(gate.wait_started)
            await anyio.wait_all_tasks_blocked()
            statistics = limiter.statistics()
            assert (statistics.borrowed_tokens, statistics.tasks_waiting) == (1, 2)
            gate.open(3)
        assert limiter.borrowed_tokens == 0

    run(main)
    assert gate.most_at_once() == 1
    assert gate.listen() == "SESESE"


def test_the_default_limiters(run, pool):
    first, second = pool(4, max_interpreters=1), pool(4, max_interpreters=3)

    async def main():
        limiters = [current_default_interpreter_limiter(executor) for executor in (first, second)]
        assert [limiter.total_tokens for limiter in limiters] == [2, 6]
        assert current_default_interpreter_limiter(first) is limiters[0]
        limiters[0].total_tokens = 1
        return limiters

    limiters = run(main)
    assert run(main)[0] is not limiters[0]


def test_the_default_limiter_bounds_tagged_calls_only(run, pool, gates):
    executor, inside, outside = pool(4, max_interpreters=2), gates(), gates()

    async def main():
        limiter = current_default_interpreter_limiter(executor)
        limiter.total_tokens = 1
        async with anyio.create_task_group() as group:
            for gate, call in [(inside, tagged), (inside, tagged), (outside, untagged)]:
                each = Call(call, jobs.pass_gate, *gate.args, executor=executor)
                group.start_soon(each.run)
            await to_thread.run_sync(outside.wait_started)
            await to_thread.run_sync(inside.wait_started)
            assert to_thread.current_default_thread_limiter().borrowed_tokens == 1
            assert limiter.borrowed_tokens == 1
            outside.open()
            inside.open(2)

    run(main)
    assert inside.most_at_once() == 1


def test_limiters_do_not_keep_the_executor(run):
    executor = InterpreterThreadPoolExecutor(1)
    alive = weakref.ref(executor)

    async def main():
        nonlocal executor
        await tagged(jobs.add, 1, executor=executor)
        del executor
        gc.collect()
        assert alive() is None

    run(main)


def test_nothing_keeps_the_event_loop(run, executor):
    from anyio.lowlevel import current_token

    async def main():
        await tagged(jobs.add, 1, executor=executor)
        return weakref.ref(current_token().native_token)

    loop = run(main)
    gc.collect()
    assert loop() is None


# --- cancellation --------------------------------------------------------------------------------


@same
def test_a_running_call_is_shielded(run, executor, gate, call):
    async def main():
        shielded = Call(call, jobs.pass_gate, *gate.args, "value", executor=executor)
        async with anyio.create_task_group() as group:
            group.start_soon(shielded.run)
            await to_thread.run_sync(gate.wait_started)
            await shielded.cancel()
            assert shielded.outcome is None
            gate.open()
        return shielded.outcome

    assert run(main) == "value"


@same
def test_waiting_for_a_token_is_not_shielded(run, executor, gate, call):
    async def main():
        limiter = anyio.CapacityLimiter(1)
        options = {"executor": executor, "limiter": limiter}
        first = Call(call, jobs.pass_gate, *gate.args, "value", **options)
        second = Call(call, jobs.pass_gate, *gate.args, **options)
        async with anyio.create_task_group() as group:
            group.start_soon(first.run)
            await to_thread.run_sync(gate.wait_started)
            group.start_soon(second.run)
            await anyio.wait_all_tasks_blocked()
            await second.cancel()
            assert second.outcome is cancelled_type()
            gate.open()
        assert limiter.borrowed_tokens == 0
        return first.outcome

    assert run(main) == "value"
    assert gate.listen() == "SE"


@same
def test_cancelled_before_it_begins(run, executor, lines, call):
    async def main():
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call(jobs.write_line, lines.descriptor, "ran", executor=executor)
        return scope.cancelled_caught

    assert run(main)
    executor.shutdown()
    assert lines.read() == []


@pytest.mark.parametrize("call", [by_anyio, untagged])
def test_an_abandoned_thread_runs_on(run, executor, gate, call):
    async def main():
        options = {"executor": executor, "abandon_on_cancel": True}
        abandoned = Call(call, jobs.pass_gate, *gate.args, **options)
        async with anyio.create_task_group() as group:
            group.start_soon(abandoned.run)
            await to_thread.run_sync(gate.wait_started)
            await abandoned.cancel()
            assert abandoned.outcome is cancelled_type()
        gate.open()
        await to_thread.run_sync(gate.wait_for, "SE")

    run(main)


def test_an_abandoned_interpreter_is_interrupted(run, pool, gate):
    executor = pool(1)

    async def main():
        options = {"executor": executor, "abandon_on_cancel": True}
        spin = Call(tagged, stopping_jobs.spin_and_clean_up, gate.args[0], **options)
        async with anyio.create_task_group() as group:
            group.start_soon(spin.run)
            await to_thread.run_sync(gate.wait_started)
            await spin.cancel()
            assert spin.outcome is cancelled_type()
            assert current_default_interpreter_limiter(executor).borrowed_tokens == 0
        await to_thread.run_sync(gate.wait_for, "Sce")
        # Its only worker is free for the next.
        return await tagged(jobs.add, 1, executor=executor)

    assert run(main) == 1


def test_an_abandoned_call_that_is_pending_never_runs(run, pool, gate, lines):
    executor = pool(1)

    async def main():
        options = {"executor": executor, "abandon_on_cancel": True}
        running = Call(tagged, jobs.pass_gate, *gate.args, executor=executor)
        pending = Call(tagged, jobs.write_line, lines.descriptor, "ran", **options)
        async with anyio.create_task_group() as group:
            group.start_soon(running.run)
            await to_thread.run_sync(gate.wait_started)
            group.start_soon(pending.run)
            await anyio.wait_all_tasks_blocked()
            assert executor._work_queue.qsize() == 1
            await pending.cancel()
            assert pending.outcome is cancelled_type()
            assert executor._work_queue.qsize() == 0
            gate.open()
        return await tagged(jobs.add, 1, executor=executor)

    assert run(main) == 1
    assert lines.read() == []


def test_a_timeout_interrupts(run, pool, gate):
    executor = pool(1)

    async def main():
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await run_sync(
                interpreter(stopping_jobs.spin),
                gate.args[0],
                executor=executor,
                abandon_on_cancel=True,
            )
        return await tagged(jobs.add, 1, executor=executor)

    assert run(main) == 1


@same
def test_a_cancellation_of_asyncios_own(executor, gate, call):
    """It passes AnyIO's shield: the wait ends, and the call goes on."""

    async def main():
        native = asyncio.create_task(call(jobs.pass_gate, *gate.args, executor=executor))
        await to_thread.run_sync(gate.wait_started)
        native.cancel()
        with pytest.raises(asyncio.CancelledError):
            await native
        gate.open()
        await to_thread.run_sync(gate.wait_for, "SE")

    anyio.run(main, backend="asyncio")


def test_a_loop_that_ends_before_the_call(tmp_path):
    script = """
    import os, sys
    import anyio
    from anyio import to_thread
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
    from aiointerpreters.anyio import run_sync

    def hold(said, told):
        os.write(said, b"S")
        os.read(told, 1)

    async def main():
        tag = interpreter(hold, interruptible=False)
        async with anyio.create_task_group() as group:
            async def call():
                await run_sync(tag, saying, hearing, executor=executor, abandon_on_cancel=True)
            group.start_soon(call)
            await to_thread.run_sync(os.read, said, 1)
            group.cancel_scope.cancel()

    for backend in sys.argv[1:]:
        said, saying = os.pipe()
        hearing, telling = os.pipe()
        with InterpreterThreadPoolExecutor(1) as executor:
            anyio.run(main, backend=backend)
            os.write(telling, b"x")
        print(backend)
    """
    backends = [name for name in ("asyncio", "trio") if importlib.util.find_spec(name)]
    assert_ok(run_script(tmp_path, script, *backends), *backends)


# --- executors with a bound on pending tasks -----------------------------------------------------


def test_waiting_for_room_in_order(run, pool, gate, lines):
    executor = pool(1, max_pending=1)

    async def main():
        limiter = anyio.CapacityLimiter(100)
        async with anyio.create_task_group() as group:
            running = Call(tagged, jobs.pass_gate, *gate.args, executor=executor)
            group.start_soon(running.run)
            await to_thread.run_sync(gate.wait_started)
            for n in range(6):
                arguments = (jobs.write_line, lines.descriptor, str(n))
                each = Call(tagged, *arguments, executor=executor, limiter=limiter)
                group.start_soon(each.run)
                await anyio.wait_all_tasks_blocked()
            gate.open()

    run(main)
    assert lines.read() == [str(n) for n in range(6)]


def test_giving_up_while_waiting_for_room(run, pool, gate, lines):
    executor = pool(1, max_pending=1)

    async def main():
        calls = [Call(tagged, jobs.pass_gate, *gate.args, executor=executor) for _ in range(2)]
        options = {"executor": executor, "abandon_on_cancel": True}
        abandoned = [
            Call(tagged, jobs.write_line, lines.descriptor, "ran", **options) for _ in range(2)
        ]
        current_default_interpreter_limiter(executor).total_tokens = 10
        async with anyio.create_task_group() as group:
            for each in calls:
                group.start_soon(each.run)
            await to_thread.run_sync(gate.wait_started)
            await to_thread.run_sync(
                wait_until, lambda: executor._work_queue.qsize() == 1, "a call"
            )
            for each in abandoned:
                group.start_soon(each.run)
            await to_thread.run_sync(wait_until, executor._waiting, "a thread that waits for room")
            for each in abandoned:
                await each.cancel()
                assert each.outcome is cancelled_type()
            gate.open(2)
        return await tagged(jobs.add, 1, executor=executor)

    assert run(main) == 1
    executor.shutdown()
    assert lines.read() == []


# --- what importing it takes ---------------------------------------------------------------------


def test_a_module_that_imports_it_is_imported_by_workers(tmp_path, pool):
    (tmp_path / "service.py").write_text(
        "import aiointerpreters.anyio\n"
        "from jobs import interpreter_id\n"
        "def work():\n"
        "    return interpreter_id(), aiointerpreters.anyio.__name__\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import service

        where, name = pool(1).submit(interpreter(service.work)).result(TIMEOUT)
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("service", None)
    assert where != 0
    assert name == "aiointerpreters.anyio"


def test_the_package_does_without_anyio(tmp_path):
    script = """
    import sys
    sys.modules["anyio"] = None
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
    with InterpreterThreadPoolExecutor(1) as executor:
        print(executor.submit(interpreter(len), "abc").result())
    try:
        import aiointerpreters.anyio
    except ImportError as error:
        print(type(error).__name__)
    """
    assert_ok(run_script(tmp_path, script), "3", "ModuleNotFoundError")


def test_nothing_is_left(run, executor):
    """Interpreters end with their executor, whatever was awaited."""

    async def main():
        await tagged(jobs.add, 1, executor=executor)

    run(main)
    executor.shutdown()
    assert interpreters() == set()
