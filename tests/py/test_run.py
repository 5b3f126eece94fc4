"""executor.run(): calls that event loops await, from the call to the end of the loop."""

import asyncio
import collections.abc
import contextlib
import contextvars
import functools
import gc
import os
import queue
import signal
import sys
import threading
import weakref
from concurrent.futures.thread import BrokenThreadPool

import jobs
import pytest
import stopping_jobs
from harness import TIMEOUT, assert_ok, in_thread, run_script, wait_until

import aiointerpreters
from aiointerpreters import RemoteTraceback, SendError, _awaiting
from aiointerpreters._shared import SharedExecutor
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


def ended(executor):
    """How many tasks of the executor have ended, whoever knows of it."""
    return executor.stats().done + executor.stats().failed


def descriptors():
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("descriptors cannot be counted here")
    return len(os.listdir("/proc/self/fd"))


# --- results -------------------------------------------------------------------------------------


@both
def test_a_call(factory, executor, tag):
    async def main():
        return await executor.run(tag(jobs.capture), 1, "two", self=3, fn=4)

    assert run(factory, main) == (((1, "two"), (("fn", 4), ("self", 3))), [])


def test_where_it_runs(factory, executor):
    async def main():
        return await executor.run(jobs.where), await executor.run(interpreter(jobs.where))

    ((here, thread), (there, _)), _ = run(factory, main)
    assert here == 0 != there
    assert thread in {worker.ident for worker in executor._threads}


@both
@pytest.mark.parametrize("debug", [False, True])
def test_gathered(factory, executor, tag, debug):
    async def main():
        return await asyncio.gather(*(executor.run(tag(jobs.identity), n) for n in range(2_000)))

    assert run(factory, main, debug=debug) == ([*range(2_000)], [])


@both
def test_one_after_the_other(factory, executor, tag):
    async def main():
        return [await executor.run(tag(jobs.identity), n) for n in range(300)]

    assert run(factory, main) == ([*range(300)], [])


@both
def test_loops_of_several_threads(factory, executor, tag):
    results = {}

    def serve(first):
        async def main():
            calls = (executor.run(tag(jobs.identity), first + n) for n in range(1_000))
            return await asyncio.gather(*calls)

        results[first] = run(factory, main)

    threads = [threading.Thread(target=serve, args=(n * 1_000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert results == {n: ([*range(n, n + 1_000)], []) for n in range(0, 4_000, 1_000)}


def test_a_large_result_and_a_memoryview(factory, executor):
    async def main():
        data = bytearray(b"x" * 1_000_000)
        sent = executor.run(interpreter(bytes), data)
        return await sent == data, (await executor.run(interpreter(memoryview), b"abc")).tobytes()

    assert run(factory, main) == ((True, b"abc"), [])


def test_any_other_loop_goes_on_with_one_executor(factory, executor):
    async def main():
        return await executor.run(interpreter(jobs.identity), 1)

    assert [run(factory, main) for _ in range(3)] == [(1, [])] * 3


# --- errors --------------------------------------------------------------------------------------


@both
def test_what_it_raises(factory, executor, tag):
    async def main():
        with pytest.raises(ValueError, match="no good") as raised:
            await executor.run(tag(jobs.raise_value_error))
        return raised.value.__cause__

    cause, told = run(factory, main)
    assert told == []
    assert isinstance(cause, RemoteTraceback) if tag is interpreter else cause is None


@both
def test_errors_among_results(factory, executor, tag):
    async def main():
        calls = [executor.run(tag(jobs.odd_only), n) for n in range(200)]
        return await asyncio.gather(*calls, return_exceptions=True)

    results, told = run(factory, main)
    assert [type(result) is ValueError for result in results] == [True, False] * 100
    assert told == []


@both
@pytest.mark.parametrize("error", [StopIteration, GeneratorExit])
def test_what_would_end_a_coroutine(factory, executor, tag, error):
    async def main():
        with pytest.raises(RuntimeError, match=f"has raised {error.__name__}, which") as raised:
            await executor.run(tag(jobs.raise_this), error("text"))
        return repr(raised.value.__cause__)

    assert run(factory, main) == (repr(error("text")), [])


@pytest.mark.parametrize("error", [asyncio.CancelledError, StopAsyncIteration, Exception])
def test_what_means_something_to_coroutines(factory, executor, error):
    async def main():
        with pytest.raises(error, match="text"):
            await executor.run(jobs.raise_this, error("text"))
        return await executor.run(jobs.identity, 1)

    assert run(factory, main) == (1, [])


def test_a_stop_iteration_as_the_result(factory, executor):
    async def main():
        call = executor.run(jobs.identity, StopIteration(1))
        assert isinstance(await call, StopIteration)
        with pytest.raises(StopIteration) as stop:
            call.send(None)
        return type(stop.value.value)

    assert run(factory, main) == (StopIteration, [])


def test_the_same_error_again(factory, executor):
    """Asked for again, it has the traceback that it came with, and not a longer one each time."""

    async def main():
        call = executor.run(jobs.raise_value_error)
        depths = []
        for _ in range(3):
            with pytest.raises(ValueError, match="no good") as raised:
                await call
            depths.append(len(raised.traceback))
        return depths

    (first, *others), told = run(factory, main)
    assert others == [first, first]
    assert told == []


@pytest.mark.parametrize("role", ["argument", "function", "result"])
def test_what_cannot_be_sent_ends_the_call(factory, executor, role):
    function, *arguments = {
        "argument": (jobs.identity, threading.Lock()),
        "function": (threading.Lock().locked,),
        "result": (threading.Lock,),
    }[role]

    async def main():
        call = executor.run(interpreter(function), *arguments)
        with pytest.raises(SendError) as raised:
            await call
        return raised.value.role, await executor.run(interpreter(jobs.identity), 1)

    assert run(factory, main) == ((role, 1), [])


def test_time_is_over(factory, executor, gate):
    saying, _ = gate.args

    async def main():
        with pytest.raises(TimeoutError, match=r"longer than its timeout of 0\.05 seconds"):
            await executor.run(interpreter(stopping_jobs.spin, timeout=0.05), saying)

    assert run(factory, main) == (None, [])


@pytest.mark.parametrize("value", [None, 1, "text"])
def test_no_callable(factory, executor, value):
    async def main():
        with pytest.raises(TypeError, match="needs a callable"):
            executor.run(value)
        with pytest.raises(TypeError, match="missing 1 required"):
            executor.run()

    assert run(factory, main) == (None, [])


@both
def test_in_a_thread_without_a_loop(executor, default, tag):
    for call in (
        lambda: executor.run(tag(jobs.add), 1),
        lambda: aiointerpreters.run(tag(jobs.add)),
    ):
        with pytest.raises(RuntimeError, match=r"needs a running event loop.*or use submit\(\)"):
            in_thread_raising(call)
    assert executor._work_queue.qsize() == 0


def in_thread_raising(call):
    def attempt():
        try:
            return call()
        except RuntimeError as error:
            return error

    raise in_thread(attempt)


def test_after_the_shutdown(factory, executor):
    executor.shutdown()

    async def main():
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.run(jobs.add, 1)

    assert run(factory, main) == (None, [])


@both
def test_a_broken_executor(factory, pool, tag, caplog):
    executor = pool(1, initializer=jobs.fail_to_start)

    async def main():
        with pytest.raises(BrokenThreadPool):
            await executor.run(tag(jobs.add), 1)
        with pytest.raises(BrokenThreadPool):
            executor.run(tag(jobs.add), 1)

    assert run(factory, main) == (None, [])


def test_a_thread_that_cannot_be_started(factory, pool, monkeypatch):
    executor = pool(1)

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    async def main():
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                executor.run(jobs.add, 1)
        return await executor.run(jobs.add, 1)

    assert run(factory, main) == (1, [])


# --- as asyncio's futures and coroutines are used ------------------------------------------------


@both
def test_a_future_and_a_coroutine(factory, executor, tag):
    def call(n):
        return executor.run(tag(jobs.identity), n)

    async def main():
        assert asyncio.isfuture(call(0))
        assert isinstance(call(0), collections.abc.Coroutine)
        mine = call(1)
        assert asyncio.ensure_future(mine) is mine
        assert mine.get_loop() is asyncio.get_running_loop()
        task = asyncio.create_task(call(2), name="a task")
        assert "coro=<run()" in repr(task)
        async with asyncio.TaskGroup() as group:
            grouped = [group.create_task(call(n)) for n in range(3, 6)]
        completed = [await each for each in asyncio.as_completed([call(6)])]
        again = call(9)
        values = [await asyncio.shield(call(7)), await asyncio.wait_for(call(8), TIMEOUT)]
        twice = await asyncio.gather(again, asyncio.create_task(awaiting(again)))
        return await mine, await task, [t.result() for t in grouped], completed, values, twice

    async def awaiting(call):
        return await call

    expected = 1, 2, [3, 4, 5], [6], [7, 8], [9, 9]
    assert run(factory, main) == (expected, [])


def test_run_until_complete_and_send(factory, executor):
    async def begin():
        return executor.run(jobs.identity, 5)

    with contextlib.closing(factory()) as loop:
        call = loop.run_until_complete(begin())
        assert loop.run_until_complete(call) == 5
        with pytest.raises(StopIteration) as stop:
            next(call)
        assert stop.value.value == 5
        assert call.close() is None
        with pytest.raises(KeyError):
            call.throw(KeyError)
        with pytest.raises(KeyError):
            call.throw(KeyError, KeyError("instance"))
        with pytest.raises(TypeError, match="1 to 3 arguments"):
            call.throw()
        with pytest.raises(TypeError, match="must derive from BaseException"):
            call.throw(3)


def test_what_waits_for_tasks_takes_tasks(factory, executor):
    async def main():
        call = executor.run(jobs.identity, 1)
        with pytest.raises(TypeError, match="use tasks explicitly"):
            await asyncio.wait([call])
        done, _ = await asyncio.wait([asyncio.create_task(call)])
        return done.pop().result()

    assert run(factory, main) == (1, [])


def test_awaited_by_hand(factory, executor, gate):
    """Whoever sends into it without having been told that it has ended hears of it."""

    async def main():
        call = executor.run(jobs.pass_gate, *gate.args)
        assert call.send(None) is call
        assert call._asyncio_future_blocking is True
        with pytest.raises(RuntimeError, match="wasn't used with future"):
            call.send(None)
        call._asyncio_future_blocking = False
        with pytest.raises(AttributeError):
            call.no_such_attribute  # noqa: B018
        gate.open()
        return await call

    assert run(factory, main) == (0, [])


def test_states(factory, executor, gate):
    async def main():
        call = executor.run(jobs.pass_gate, *gate.args, "value")
        seen = [call.done(), call.cancelled(), repr(call)]
        with pytest.raises(asyncio.InvalidStateError, match="Result is not set"):
            call.result()
        with pytest.raises(asyncio.InvalidStateError, match="Exception is not set"):
            call.exception()
        gate.open()
        await call
        failed = executor.run(jobs.raise_value_error)
        await asyncio.gather(failed, return_exceptions=True)
        cancelled = executor.run(jobs.pass_gate, *gate.args)
        assert cancelled.cancel("why")
        assert (cancelled.done(), cancelled.cancelled()) == (True, True)
        for ask in (cancelled.result, cancelled.exception):
            with pytest.raises(asyncio.CancelledError, match="why"):
                ask()
        gate.open()
        return [
            *seen,
            *(call.done(), call.cancelled(), call.result(), call.exception(), repr(call)),
            *(type(failed.exception()), repr(failed), repr(cancelled)),
        ]

    assert run(factory, main) == (
        [
            *(False, False, "<call of an executor, pending>"),
            *(True, False, "value", None, "<call of an executor, finished result='value'>"),
            ValueError,
            "<call of an executor, finished exception=ValueError('no good')>",
            "<call of an executor, cancelled>",
        ],
        [],
    )


# --- callbacks -----------------------------------------------------------------------------------


def test_callbacks(factory, executor, gate):
    variable = contextvars.ContextVar("variable", default="unset")
    order = []

    def note(name, call):
        order.append((name, variable.get(), call.done()))

    async def main():
        call = executor.run(jobs.pass_gate, *gate.args)
        one, two, three = (functools.partial(note, n) for n in ("one", "two", "three"))
        context = contextvars.copy_context()
        context.run(variable.set, "in a context")
        variable.set("at the place")
        for callback in (one, two, three, one):
            call.add_done_callback(callback)
        call.add_done_callback(two, context=context)
        assert call.remove_done_callback(one) == 2
        assert call.remove_done_callback(one) == 0
        variable.set("later")
        gate.open()
        await call
        call.add_done_callback(one, context=None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert run(factory, main) == (None, [])
    assert order == [
        ("two", "at the place", True),
        ("three", "at the place", True),
        ("two", "in a context", True),
        ("one", "later", True),
    ]


def test_callbacks_that_compare_badly(factory, executor, gate):
    class Odd:
        def __eq__(self, other):
            raise KeyError("comparing")

        def __call__(self, call):
            pass

    async def main():
        call = executor.run(jobs.pass_gate, *gate.args)
        before = asyncio.create_task(awaiting(call))
        await asyncio.sleep(0)
        call.add_done_callback(Odd())
        after = asyncio.create_task(awaiting(call))
        await asyncio.sleep(0)
        with pytest.raises(KeyError):
            call.remove_done_callback(print)
        gate.open()
        return await before, await after

    async def awaiting(call):
        return await call

    assert run(factory, main) == ((0, 0), [])


@pytest.mark.parametrize(
    ("arguments", "keywords", "text"),
    [
        ((), {}, "add_done_callback"),
        ((print, print), {}, "add_done_callback"),
        ((print,), {"contexts": None}, "add_done_callback"),
        ((print,), {"context": 3}, "must be a contextvars.Context"),
    ],
)
def test_bad_callbacks(factory, executor, arguments, keywords, text):
    async def main():
        call = executor.run(jobs.add, 1)
        with pytest.raises(TypeError, match=text):
            call.add_done_callback(*arguments, **keywords)
        return await call

    assert run(factory, main) == (1, [])


def test_a_callback_that_raises_is_the_loops_to_report(factory, executor):
    async def main():
        call = executor.run(jobs.add, 1)
        call.add_done_callback(lambda _: [].pop())
        more = executor.run(jobs.add, 2)
        return await call, await more, call

    (one, two, call), told = run(factory, main)
    assert (one, two) == (1, 2)
    assert [(type(context["exception"]), context["future"]) for context in told] == [
        (IndexError, call)
    ]


def test_exit_from_within_a_callback(pool, gate):
    """What ends the loop in the middle does not lose the others: a later run gets them."""
    executor = pool(1)

    def leave(_):
        raise SystemExit(7)

    async def begin():
        first = executor.run(interpreter(jobs.pass_gate), *gate.args)
        calls = [executor.run(interpreter(jobs.identity), n) for n in range(200)]
        calls[50].add_done_callback(leave)
        return first, calls

    async def finish(calls):
        return await asyncio.gather(*calls)

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        first, calls = loop.run_until_complete(begin())
        gate.open()
        with pytest.raises(SystemExit):
            loop.run_until_complete(finish([first, *calls]))
        assert loop.run_until_complete(finish(calls)) == [*range(200)]


@pytest.mark.parametrize("method", ["is_closed", "call_soon"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_signal_as_the_loop_is_woken(pool, gate, method, error):
    """What its handler raises leaves the loop, and the calls that are left are told later."""
    executor = pool(1)

    class Loop(asyncio.SelectorEventLoop):
        armed = False

        def strike(self):
            self.armed = False
            signal.raise_signal(signal.SIGINT)

        def is_closed(self):
            if self.armed and method == "is_closed":
                self.strike()
            return super().is_closed()

        def call_soon(self, callback, *args, context=None):
            if self.armed and method == "call_soon":
                self.strike()
            return super().call_soon(callback, *args, context=context)

    def end(*_):
        raise error

    async def begin():
        first = executor.run(interpreter(jobs.pass_gate), *gate.args)
        calls = [executor.run(interpreter(jobs.identity), n) for n in range(200)]
        first.add_done_callback(lambda _: setattr(loop, "armed", True))
        return first, calls

    async def finish(calls):
        return await asyncio.wait_for(asyncio.gather(*calls), TIMEOUT)

    before = signal.signal(signal.SIGINT, end)
    try:
        with contextlib.closing(Loop()) as loop:
            first, calls = loop.run_until_complete(begin())
            gate.open()
            wait_until(lambda: ended(executor) == 201, "end of all")
            with pytest.raises(error):
                loop.run_until_complete(finish([first, *calls]))
            assert not loop.armed
            assert loop.run_until_complete(finish(calls)) == [*range(200)]
    finally:
        signal.signal(signal.SIGINT, before)


def await_in_a_loop_of_its_own(call):
    async def main():
        with contextlib.suppress(RuntimeError):  # it belongs to another loop
            await call

    asyncio.run(main())


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "end",
    [
        lambda call: call.cancel(),
        lambda call: call.close(),
        await_in_a_loop_of_its_own,
    ],
    ids=["cancel", "close", "await"],
)
def test_ended_in_another_thread(executor, gate, end, debug):
    """The loop is asleep, and hears of it."""
    loop_thread = threading.get_ident()

    def is_asleep():
        return sys._current_frames()[loop_thread].f_code.co_name == "select"

    def end_in_thread(call):
        wait_until(is_asleep, "the loop's sleep")
        end(call)

    async def main():
        call = executor.run(jobs.pass_gate, *gate.args)
        thread = threading.Thread(target=end_in_thread, args=(call,))
        thread.start()
        with pytest.raises(asyncio.CancelledError):
            await call
        thread.join(TIMEOUT)

    assert run(asyncio.new_event_loop, main, debug=debug) == (None, [])


# --- contexts ------------------------------------------------------------------------------------


def change_context():
    before = jobs.CONTEXT.get()
    jobs.CONTEXT.set("changed in the thread")
    return before


def test_untagged_runs_in_a_copy_of_the_context(factory, executor):
    async def main():
        jobs.CONTEXT.set("the caller's")
        seen = await executor.run(change_context), await executor.run(change_context)
        return seen, jobs.CONTEXT.get()

    assert run(factory, main) == ((("the caller's", "the caller's"), "the caller's"), [])


def test_named_variables_go_along_with_tagged_calls(factory, pool):
    executor = pool(1, context_vars=[jobs.CONTEXT])

    async def main():
        jobs.CONTEXT.set("the caller's")
        return await executor.run(interpreter(jobs.get_context))

    assert run(factory, main) == ("the caller's", [])


# --- cancelling ----------------------------------------------------------------------------------


@both
def test_cancelled_before_it_starts(factory, pool, gate, tag):
    executor = pool(1)

    async def main():
        first = executor.run(tag(jobs.pass_gate), *gate.args)
        gate.wait_started()
        waiting = asyncio.create_task(executor.run(tag(jobs.pass_gate), *gate.args))
        await asyncio.sleep(0)
        queued = executor._work_queue.qsize()
        waiting.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await waiting
        left = executor._work_queue.qsize()
        gate.open()
        await first
        return queued, left, gate.listen()

    assert run(factory, main) == ((1, 0, "SE"), [])


def test_cancelled_while_it_runs(factory, pool, gate):
    """It is interrupted: the one worker is free for another call."""
    executor = pool(1)
    saying, _ = gate.args

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await executor.run(interpreter(stopping_jobs.spin), saying)
        return await executor.run(interpreter(jobs.identity), 1)

    assert run(factory, main) == (1, [])
    assert executor.stats().interrupted <= 1


@pytest.mark.parametrize("tag", [lambda f: f, functools.partial(interpreter, interruptible=False)])
def test_cancelled_while_it_runs_and_cannot_be_stopped(factory, pool, gate, tag):
    executor = pool(1)

    async def main():
        call = executor.run(tag(jobs.pass_gate), *gate.args)
        gate.wait_started()
        assert call.cancel()
        assert not call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.open()
        return await executor.run(tag(jobs.identity), 1), gate.listen()

    assert run(factory, main) == ((1, "SE"), [])


@both
def test_cancelled_between_its_end_and_its_delivery(factory, pool, tag):
    executor = pool(1)

    async def main():
        calls = [executor.run(tag(jobs.identity), n) for n in range(20)]
        wait_until(lambda: ended(executor) == 20, "the end of all calls")
        assert all(call.cancel() for call in calls[::2])
        return await asyncio.gather(*calls, return_exceptions=True)

    results, told = run(factory, main)
    assert results[1::2] == [*range(1, 20, 2)]
    assert {type(result) for result in results[::2]} == {asyncio.CancelledError}
    assert told == []


@both
def test_a_task_that_is_cancelled_before_its_first_step(factory, pool, gate, tag):
    executor = pool(1)

    async def main():
        first = executor.run(tag(jobs.pass_gate), *gate.args)
        gate.wait_started()
        task = asyncio.create_task(executor.run(tag(jobs.pass_gate), *gate.args))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        await first
        return executor._work_queue.qsize(), gate.listen()

    assert run(factory, main) == ((0, "SE"), [])


@both
def test_a_coroutine_that_is_closed_gives_up_its_call(factory, pool, gate, tag):
    executor = pool(1)

    async def wait():
        await executor.run(tag(jobs.pass_gate), *gate.args)

    async def main():
        first = executor.run(tag(jobs.pass_gate), *gate.args)
        gate.wait_started()
        coroutine = wait()
        assert isinstance(coroutine.send(None), type(first))
        queued = executor._work_queue.qsize()
        coroutine.close()
        left = executor._work_queue.qsize()
        gate.open()
        await first
        return queued, left

    assert run(factory, main) == ((1, 0), [])


def test_gathered_and_cancelled(factory, pool, gate):
    executor = pool(2)

    async def main():
        calls = [executor.run(interpreter(jobs.pass_gate), *gate.args) for _ in range(10)]
        gathered = asyncio.gather(*calls)
        gate.wait_started(2)
        gathered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathered
        gate.open(2)  # reading is not interrupted
        return {call.cancelled() for call in calls}, executor._work_queue.qsize()

    assert run(factory, main) == (({True}, 0), [])


def test_one_of_a_task_group_fails(factory, pool, gate):
    executor = pool(2)
    saying, _ = gate.args

    async def together():
        async with asyncio.TaskGroup() as group:
            group.create_task(executor.run(interpreter(stopping_jobs.spin), saying))
            group.create_task(executor.run(interpreter(jobs.raise_value_error)))

    async def main():
        with pytest.raises(ExceptionGroup) as raised:
            await together()
        return [type(error) for error in raised.value.exceptions]

    assert run(factory, main) == ([ValueError], [])


# --- shutdown ------------------------------------------------------------------------------------


@both
def test_shutdown_cancels_what_is_awaited(factory, pool, gate, tag):
    executor = pool(1)

    async def main():
        first = executor.run(tag(jobs.pass_gate), *gate.args, "first")
        gate.wait_started()
        others = [asyncio.create_task(executor.run(tag(jobs.identity), n)) for n in range(20)]
        await asyncio.to_thread(executor.shutdown, wait=False, cancel_futures=True)
        results = await asyncio.gather(*others, return_exceptions=True)
        gate.open()
        return {type(result) for result in results}, await first

    assert run(factory, main) == (({asyncio.CancelledError}, "first"), [])


def test_shutdown_interrupts_what_is_awaited(factory, pool, gate):
    executor = pool(1)
    saying, _ = gate.args

    async def main():
        call = executor.run(interpreter(stopping_jobs.spin), saying)
        gate.wait_started()
        await asyncio.to_thread(executor.shutdown, interrupt=True)
        with pytest.raises(asyncio.CancelledError):
            await call

    assert run(factory, main) == (None, [])


@both
def test_shutdown_finishes_what_is_awaited(factory, pool, tag):
    executor = pool(1)

    async def main():
        calls = [executor.run(tag(jobs.identity), n) for n in range(50)]
        await asyncio.to_thread(executor.shutdown)
        return await asyncio.gather(*calls)

    assert run(factory, main) == ([*range(50)], [])


def test_an_executor_that_nobody_has_any_more(factory):
    async def main():
        calls = [
            aiointerpreters.InterpreterThreadPoolExecutor(1).run(interpreter(jobs.identity), n)
            for n in range(3)
        ]
        return await asyncio.gather(*calls)

    assert run(factory, main) == ([0, 1, 2], [])


# --- loops that stop, or close -------------------------------------------------------------------


@both
def test_loop_that_closes_before_its_results(factory, pool, gate, tag, recwarn, caplog):
    """Nothing is said, nothing is kept, and the executor goes on."""
    executor = pool(1)
    before = descriptors()
    calls = []

    async def main():
        calls.append(executor.run(tag(jobs.pass_gate), *gate.args))
        calls.extend(executor.run(tag(jobs.identity), n) for n in range(20))
        calls.extend(executor.run(tag(jobs.raise_value_error)) for _ in range(20))

    run(factory, main)
    gone = [weakref.ref(call) for call in calls]
    gate.open()
    assert executor.submit(tag(jobs.identity), 5).result(TIMEOUT) == 5
    assert not any(call.done() for call in calls)
    calls.clear()
    gc.collect()
    wait_until(lambda: not any(call() for call in gone), "the end of all calls")
    assert descriptors() <= before
    assert not recwarn.list
    assert not caplog.records


@both
def test_loop_that_closes_with_results_on_their_way(factory, pool, gate, tag, recwarn, caplog):
    """They have come, the loop is to be told, and closes without having run again."""
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    with contextlib.closing(factory()) as loop:
        calls = loop.run_until_complete(begin(executor, tag))
        gone = [weakref.ref(call) for call in calls]
        gate.open()
        wait_until(lambda: ended(executor) == 41, "the end of all calls")
        assert executor.submit(tag(jobs.identity), 5).result(TIMEOUT) == 5
    assert not any(call.done() for call in calls)
    calls[0].add_done_callback(print)
    with pytest.raises(RuntimeError, match="closed"):
        calls[0].cancel()
    calls.clear()
    gc.collect()
    assert not any(call() for call in gone)
    assert not recwarn.list
    assert not caplog.records


async def begin(executor, tag):
    calls = [executor.run(tag(jobs.identity), n) for n in range(20)]
    return calls + [executor.run(tag(jobs.raise_value_error)) for _ in range(20)]


def test_loop_that_nobody_has_any_more(pool, gate):
    """Not even closed: what it waits for goes with it."""
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    loop = asyncio.new_event_loop()
    calls = loop.run_until_complete(begin(executor, interpreter))
    gone = weakref.ref(loop)
    gate.open()
    wait_until(lambda: ended(executor) == 41, "the end of all calls")
    assert executor.submit(jobs.add, 5).result(TIMEOUT) == 5
    loop._selector.close()
    loop._ssock.close()
    loop._csock.close()
    loop._closed = True  # so that it says nothing about itself
    del calls, loop
    gc.collect()
    assert gone() is None


@both
def test_loop_that_stops_and_goes_on(factory, pool, gate, tag):
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)

    async def finish(calls):
        return await asyncio.gather(*calls, return_exceptions=True)

    with contextlib.closing(factory()) as loop:
        calls = loop.run_until_complete(begin(executor, tag))
        calls[0].add_done_callback(lambda _: loop.stop())
        gate.open()
        loop.run_forever()
        wait_until(lambda: ended(executor) == 41, "the end of all calls")
        results = loop.run_until_complete(finish(calls))
    assert results[:20] == [*range(20)]
    assert {type(result) for result in results[20:]} == {ValueError}


@both
def test_loops_of_which_one_has_closed(factory, pool, gate, tag):
    executor = pool(1)
    gone = factory()
    left = gone.run_until_complete(begin(executor, tag))

    async def main():
        first = executor.run(tag(jobs.pass_gate), *gate.args, "first")
        mine = [executor.run(tag(jobs.identity), n) for n in range(50)]
        gone.close()
        gate.open()
        return await first, await asyncio.gather(*mine)

    assert run(factory, main) == (("first", [*range(50)]), [])
    assert len(left) == 40


def test_a_waiter_that_fails_to_wake_the_loop_is_let_go(pool, gate, monkeypatch):
    """A loop that refuses to be told, though it is open: the other loops are told."""
    executor = pool(1)
    unraisable = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: unraisable.append(args.exc_type))

    class Refusing(asyncio.SelectorEventLoop):
        refuses = False

        def call_soon_threadsafe(self, *args, **kwargs):
            if self.refuses:
                raise KeyError("no")
            return super().call_soon_threadsafe(*args, **kwargs)

    with contextlib.closing(Refusing()) as loop:
        calls = loop.run_until_complete(begin_gated(executor, gate))
        loop.refuses = True
        gate.open()
        assert executor.submit(jobs.add, 5).result(TIMEOUT) == 5
        wait_until(lambda: unraisable, "the report")
    assert unraisable == [KeyError]
    assert not calls[0].done()


async def begin_gated(executor, gate):
    return [executor.run(jobs.pass_gate, *gate.args)]


def test_an_error_that_nobody_asks_for_is_reported(factory, executor):
    async def main():
        lost = executor.run(jobs.raise_value_error)
        asked = executor.run(jobs.raise_value_error)
        seen = asyncio.Event()
        asked.add_done_callback(lambda call: (call.exception(), seen.set()))
        await seen.wait()
        await executor.run(jobs.add, 1)  # so that the first has come, too
        del lost
        gc.collect()

    result, told = run(factory, main)
    assert result is None
    assert [(context["message"], type(context["exception"])) for context in told] == [
        ("the exception of a call was never retrieved", ValueError)
    ]


def test_no_descriptors_are_left_open(factory, executor):
    async def main():
        return await asyncio.gather(*(executor.run(interpreter(jobs.add), n) for n in range(100)))

    run(factory, main)
    before = descriptors()
    for _ in range(5):
        run(factory, main)
    assert descriptors() == before


# --- as many pending as may be -------------------------------------------------------------------


@both
def test_a_full_executor_waits_its_turn(factory, pool, gate, tag):
    executor = pool(1, max_pending=2)

    async def main():
        first = executor.run(tag(jobs.pass_gate), *gate.args, "first")
        gate.wait_started()
        calls = [asyncio.ensure_future(executor.run(tag(jobs.identity), n)) for n in range(30)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pending, waiting = executor._work_queue.qsize(), executor._waiting()
        gate.open()
        return pending, waiting, await first, await asyncio.gather(*calls)

    before = descriptors()
    assert run(factory, main) == ((2, 28, "first", [*range(30)]), [])
    assert executor._bells == {}
    assert descriptors() <= before


def test_a_full_executor_that_raises(factory, pool, gate):
    executor = pool(1, max_pending=1, when_full="raise")

    async def main():
        first = executor.run(jobs.pass_gate, *gate.args)
        gate.wait_started()
        second = executor.run(jobs.add, 1)
        with pytest.raises(queue.Full, match="submit again"):
            executor.run(jobs.add, 2)
        gate.open()
        return await first, await second

    assert run(factory, main) == ((0, 1), [])


def test_a_full_executor_with_little_patience(factory, pool, gate):
    executor = pool(1, max_pending=1, pending_timeout=0.02)

    async def main():
        first = executor.run(jobs.pass_gate, *gate.args)
        gate.wait_started()
        second = executor.run(jobs.add, 1)
        with pytest.raises(queue.Full, match=r"within 0\.02 s"):
            await executor.run(jobs.add, a=2)
        gate.open()
        return await first, await second, executor._waiting()

    assert run(factory, main) == ((0, 1, 0), [])


def test_what_waits_for_room_is_cancelled_and_shut_down(factory, pool, gate):
    executor = pool(1, max_pending=1)

    async def main():
        first = executor.run(jobs.pass_gate, *gate.args)
        gate.wait_started()
        second = executor.run(jobs.add, 1)
        waiting = [asyncio.create_task(executor.run(jobs.add, n)) for n in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        left = executor._waiting()
        executor.shutdown(wait=False)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        gate.open()
        return left, [type(error) for error in results], await first, await second

    errors = [asyncio.CancelledError, RuntimeError, RuntimeError]
    assert run(factory, main) == ((2, errors, 0, 1), [])


def test_room_that_cannot_be_used(factory, pool, gate):
    """What cannot be sent ends the await, and gives its room to others."""
    executor = pool(1, max_pending=1)

    async def main():
        first = executor.run(jobs.pass_gate, *gate.args)
        gate.wait_started()
        second = executor.run(jobs.add, 1)
        third = asyncio.create_task(executor.run(interpreter(jobs.identity), threading.Lock()))
        fourth = asyncio.create_task(executor.run(jobs.add, 4))
        await asyncio.sleep(0)
        gate.open()
        with pytest.raises(SendError):
            await third
        return await first, await second, await fourth

    assert run(factory, main) == ((0, 1, 4), [])


# --- the executor of the process -----------------------------------------------------------------


@pytest.fixture
def default(monkeypatch):
    """The executor of the process, as if nobody had asked for it; ended, since it is a test's."""
    fresh = SharedExecutor(_awaiting._DEFAULT._make)
    monkeypatch.setattr(_awaiting, "_DEFAULT", fresh)
    yield fresh
    fresh.get().shutdown()


def test_default_executor(factory, default):
    async def main():
        here = await aiointerpreters.run(jobs.where)
        there = await aiointerpreters.run(interpreter(jobs.add), 1, b=2)
        return here[0], there

    executor = default.get()
    results = [in_thread(run, factory, main) for _ in range(3)]
    assert results == [((0, 3), [])] * 3
    assert default.get() is executor
    assert executor.stats().done == 6


def test_default_executor_of_a_process(tmp_path):
    """Made once, whoever comes first; anew in a forked child; gone with the process."""
    source = """
    import asyncio, os, sys, threading, warnings
    import jobs, aiointerpreters
    from aiointerpreters import interpreter

    async def main():
        return await aiointerpreters.run(interpreter(jobs.add), 1, b=2)

    barrier = threading.Barrier(8)
    def first():
        barrier.wait()
        assert asyncio.run(main()) == 3
    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    names = {thread.name.split("_")[0] for thread in threading.enumerate()}
    print(sorted(names))
    sys.stdout.flush()
    warnings.simplefilter("ignore")
    child = os.fork()
    if child == 0:
        os._exit(asyncio.run(main()))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    async def leave():
        aiointerpreters.run(interpreter(print), "done before the end", flush=True)
        aiointerpreters.run(print, "and in a thread", flush=True)
    asyncio.run(leave())
    """
    done = run_script(tmp_path, source)
    assert_ok(done)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["['MainThread', 'aiointerpreters']", "3"]
    assert sorted(lines[2:]) == ["and in a thread", "done before the end"]


def test_in_a_workers_interpreter(executor):
    with pytest.raises(RuntimeError, match="in the main interpreter only"):
        executor.submit(interpreter(run_there)).result(TIMEOUT)


def run_there():
    import asyncio

    import jobs

    import aiointerpreters

    async def main():
        return await aiointerpreters.run(jobs.add, 1)

    return asyncio.run(main())


# --- collecting ----------------------------------------------------------------------------------


def test_a_call_in_a_cycle_is_collected(factory, executor):
    async def main():
        call = executor.run(jobs.identity, [])
        gone = weakref.ref(call)
        (await call).append(call)
        await asyncio.sleep(0)  # until then the loop has it, as any future
        del call
        gc.collect()
        return gone()

    assert run(factory, main) == (None, [])


def test_a_call_that_nobody_has_tells_its_callbacks(factory, executor, gate):
    async def main():
        told = asyncio.get_running_loop().create_future()
        call = executor.run(interpreter(jobs.pass_gate), *gate.args, "value")
        call.add_done_callback(lambda call: told.set_result(call.result()))
        del call
        gc.collect()
        gate.open()
        return await told

    assert run(factory, main) == ("value", [])
