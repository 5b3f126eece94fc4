"""Interpreters that are ended and renewed while their executor goes on."""

import contextvars
import os
import sys
import threading
import time
import warnings

import jobs
import pytest
import stopping_jobs
import tagged_jobs
from harness import TIMEOUT, interpreters, wait_until

from aiointerpreters import InterpreterThreadPoolExecutor, broadcast, interpreter

LEAKS = sys.version_info < (3, 14)  # which is warned of

pytestmark = pytest.mark.filterwarnings("ignore:on Python 3.13:RuntimeWarning")


def ids(executor, count):
    """In which interpreters so many tasks run, one after the other."""
    return [executor.submit(interpreter(jobs.interpreter_id)).result(TIMEOUT) for _ in range(count)]


def wait_for(executor, **figures):
    def reached():
        stats = executor.stats()
        return {name: getattr(stats, name) for name in figures} == figures

    wait_until(reached, str(figures))


# --- max_tasks_per_interpreter -------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_an_interpreter_runs_no_more_tasks_than_that(pool, most):
    executor = pool(3, max_interpreters=2, max_tasks_per_interpreter=most)
    ran = [future.result(TIMEOUT) for future in
           [executor.submit(interpreter(jobs.interpreter_id)) for _ in range(30)]]  # fmt: skip
    assert max(map(ran.count, ran)) <= most
    assert len(executor._threads) <= 3


def test_exactly_so_many_in_a_row(pool):
    executor = pool(1, max_tasks_per_interpreter=3)
    ran = ids(executor, 9)
    assert [ran.count(one) for one in dict.fromkeys(ran)] == [3, 3, 3]
    wait_for(executor, recycled=3, interpreters=1, threads=1)
    wait_until(lambda: len(interpreters()) == 1, "the end of the old ones")


def test_whatever_becomes_of_a_task_it_counts(pool, gate):
    executor = pool(1, max_tasks_per_interpreter=4)
    before = ids(executor, 1)
    with pytest.raises(ValueError, match="no good"):
        executor.submit(interpreter(jobs.raise_value_error)).result(TIMEOUT)
    executor.submit(interpreter(jobs.identity, interruptible=False), 1).result(TIMEOUT)
    future = executor.submit(interpreter(stopping_jobs.spin), gate.args[0])
    gate.wait_started()
    assert future.cancel()
    assert ids(executor, 1) != before
    wait_for(executor, recycled=1)


def test_a_task_that_did_not_start_does_not_count(pool, gate):
    executor = pool(1, max_tasks_per_interpreter=2)
    blocked = executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    assert executor.submit(interpreter(jobs.add), 1).cancel()
    gate.open()
    blocked.result(TIMEOUT)
    ran = ids(executor, 2)
    assert ran[0] == ran[1]


def test_untagged_tasks_do_not_count(pool):
    executor = pool(1, max_tasks_per_interpreter=2)
    ran = []
    for _ in range(4):
        ran += ids(executor, 1)
        executor.submit(jobs.add, 1).result(TIMEOUT)
    assert ran[0] == ran[1] != ran[2] == ran[3]


def test_the_new_one_is_there_without_being_asked_for(pool):
    executor = pool(1, max_tasks_per_interpreter=1)
    before = ids(executor, 1)
    wait_for(executor, recycled=1, interpreters=1)
    wait_until(lambda: len(interpreters()) == 1, "the end of the old one")
    assert interpreters() != set(before)


def test_other_interpreters_go_on_meanwhile(pool, gates):
    """One is being renewed for as long as we like; the tasks go to the other one."""
    making, others = gates(), gates()
    executor = pool(
        3, max_interpreters=2, max_tasks_per_interpreter=4, initializer=interpreter(jobs.pass_gate),
        initargs=making.args,
    )  # fmt: skip
    making.open(2)
    executor.prestart().result(TIMEOUT)
    blocker = executor.submit(interpreter(jobs.pass_gate), *others.args)
    others.wait_started()
    ids(executor, 4)  # the other one is worn, and its successor waits at the gate
    making.wait_started(3)
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1
    others.open()
    blocker.result(TIMEOUT)
    ran = ids(executor, 3)
    assert len(set(ran)) == 1
    making.close()
    wait_for(executor, recycled=2, interpreters=2)


def test_no_task_waits_for_the_end_of_an_interpreter(pool, gates):
    """A thread that a task has left behind holds up the end, and nothing else."""
    executor = pool(2, max_interpreters=1, max_tasks_per_interpreter=1)
    left = gates()
    executor.submit(interpreter(jobs.leave_a_thread), *left.args).result(TIMEOUT)
    left.wait_started()
    before = interpreters()
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1
    assert interpreters() & before  # it waits for that thread
    left.open()
    wait_until(lambda: not interpreters() & before, "the end of the old ones")


def test_worn_in_an_interpreter_that_another_worker_has_made(pool, gate, gates):
    """Its home ends it when it has time; another one takes its place meanwhile."""
    executor = pool(2, max_interpreters=1, max_tasks_per_interpreter=2)
    before = ids(executor, 1)[0]
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()
    assert ids(executor, 1) == [before]
    after = ids(executor, 1)[0]
    assert after != before
    assert before in interpreters()
    gate.open()
    wait_until(lambda: before not in interpreters(), "the end of the old one")


def test_a_renewed_one_has_all_that_the_first_one_had(pool):
    handle = broadcast({"of": "the caller"})
    executor = pool(
        1, max_tasks_per_interpreter=1, preload=["decimal"],
        initializer=interpreter(jobs.set_state), initargs=("ready",),
        context_vars=[tagged_jobs.request_id],
    )  # fmt: skip
    context = contextvars.copy_context()
    context.run(tagged_jobs.request_id.set, "id")
    again = tuple(range(10_000))
    for _ in range(3):
        assert executor.submit(interpreter(jobs.get_state)).result(TIMEOUT) == "ready"
        assert executor.submit(interpreter(jobs.loaded), "decimal").result(TIMEOUT)
        assert executor.submit(interpreter(jobs.identity), handle).result(TIMEOUT) == handle.value
        assert executor.submit(interpreter(sum), again).result(TIMEOUT) == sum(again)
        seen = executor.submit(tagged_jobs.sees_request, 1, context=context).result(TIMEOUT)
        assert "id" in str(seen)
    assert len(interpreters()) <= 2


def test_results_outlive_their_interpreter(pool):
    executor = pool(1, max_tasks_per_interpreter=1)
    futures = [executor.submit(interpreter(jobs.own_memory), 70_000, n) for n in range(3)]
    wait_for(executor, recycled=3)
    for n, future in enumerate(futures):
        assert bytes(future.result(TIMEOUT)) == bytes([n]) * 70_000


def test_what_is_lent_comes_back_from_one_that_ends(pool):
    executor = pool(1, max_tasks_per_interpreter=1)
    data = bytearray(5000)
    executor.submit(interpreter(jobs.keep), data).result(TIMEOUT)
    wait_for(executor, recycled=1)
    executor.submit(jobs.add, 1).result(TIMEOUT)
    wait_until(lambda: resizes(data), "the end of the loan")


def resizes(data):
    try:
        data.append(1)
    except BufferError:
        return False
    return True


def test_an_initializer_that_fails_in_a_renewed_one_breaks_the_pool(pool, tmp_path):
    """And nobody waits for ever."""
    from concurrent.futures.thread import BrokenThreadPool

    path = tmp_path / "once"
    executor = pool(1, max_tasks_per_interpreter=1, initializer=interpreter(os.mkdir),
                    initargs=(str(path),))  # fmt: skip
    first = executor.submit(interpreter(jobs.add), 1)
    later = [executor.submit(interpreter(jobs.add), n) for n in range(3)]
    assert first.result(TIMEOUT) == 1
    for future in later:
        with pytest.raises(BrokenThreadPool):
            future.result(TIMEOUT)
    with pytest.raises(BrokenThreadPool):
        executor.submit(jobs.add, 1)


def test_callbacks_may_wait_for_tasks_while_one_is_renewed(pool):
    executor = pool(2, max_interpreters=1, max_tasks_per_interpreter=1)
    got = []
    done = threading.Event()

    def callback(future):
        got.append(executor.submit(interpreter(jobs.add), future.result(), 1).result(TIMEOUT))
        done.set()

    future = executor.submit(interpreter(jobs.add), 1)
    future.add_done_callback(callback)
    assert done.wait(TIMEOUT)
    assert got == [2]


def test_shutdown_amid_renewals(pool):
    for _ in range(5):
        executor = pool(2, max_tasks_per_interpreter=1)
        futures = [executor.submit(interpreter(jobs.add), n) for n in range(6)]
        executor.shutdown(wait=True)
        assert [future.result(0) for future in futures] == list(range(6))
        assert not interpreters()


def test_map_and_cancels_amid_renewals(pool):
    executor = pool(3, max_interpreters=2, max_tasks_per_interpreter=2)
    futures = [executor.submit(interpreter(sum), range(n * 1000)) for n in range(20)]
    cancelled = [future for future in futures[::3] if future.cancel()]
    assert list(executor.map(interpreter(jobs.add), range(20))) == list(range(20))
    for n, future in enumerate(futures):
        if future not in cancelled:
            assert future.result(TIMEOUT) == sum(range(n * 1000))
    wait_until(lambda: executor.stats().interpreters <= 2, "at most two")


# --- idle_timeout --------------------------------------------------------------------------------

SHORT = 0.05  # seconds


def test_interpreters_go_when_nobody_uses_them(pool):
    executor = pool(3, max_interpreters=2, idle_timeout=SHORT)
    executor.prestart(2, 2).result(TIMEOUT)
    threads = set(executor._threads)
    wait_for(executor, recycled=2, interpreters=0)
    wait_until(lambda: not interpreters(), "their end")
    assert executor.stats().threads == 2
    assert all(thread.is_alive() for thread in threads)
    assert ids(executor, 1)
    assert executor._threads == threads
    wait_for(executor, recycled=3, interpreters=0)


def test_one_that_is_used_stays(pool):
    executor = pool(1, idle_timeout=TIMEOUT)
    assert len(set(ids(executor, 20))) == 1
    assert executor.stats().recycled == 0


def test_a_task_that_runs_longer_than_that_is_not_hit(pool, gate):
    executor = pool(1, idle_timeout=0.001)
    future = executor.submit(interpreter(jobs.pass_gate), *gate.args, "value")
    gate.wait_started()
    time.sleep(SHORT)
    assert executor.stats().recycled == 0
    gate.open()
    assert future.result(TIMEOUT) == "value"
    wait_for(executor, recycled=1, interpreters=0)


def test_lent_to_another_worker_as_its_home_parks(pool, gate, gates):
    executor = pool(2, max_interpreters=1, idle_timeout=SHORT)
    own = gates()
    assert ids(executor, 1)
    plain = executor.submit(jobs.pass_gate, *own.args)
    own.wait_started()
    guest = executor.submit(interpreter(jobs.pass_gate), *gate.args)
    gate.wait_started()
    own.open()
    plain.result(TIMEOUT)
    gate.open()
    guest.result(TIMEOUT)
    wait_until(lambda: not interpreters(), "its end")
    assert executor.stats().recycled == 1


def test_prestart_ends_although_interpreters_are_not_used(pool):
    """However short the timeout: they were all there at one time."""
    executor = pool(3, max_interpreters=3, idle_timeout=0.001)
    for _ in range(3):
        assert executor.prestart().result(TIMEOUT) is None
        wait_for(executor, interpreters=0)


def test_ended_at_any_moment_no_task_is_lost(pool):
    executor = pool(2, max_interpreters=2, idle_timeout=0.001, max_tasks_per_interpreter=7)
    for n in range(60):
        assert executor.submit(interpreter(jobs.add), n, 1).result(TIMEOUT) == n + 1
        time.sleep(0.0005 * (n % 5))
    assert executor.stats().done == 60


def test_in_a_forked_child(pool):
    worn = pool(1, max_tasks_per_interpreter=2)
    idle = pool(1, idle_timeout=SHORT)
    ids(worn, 3)
    ids(idle, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            ran = ids(worn, 4)
            ids(idle, 1)
            wait_for(idle, interpreters=0)
            status = 0 if ran[0] == ran[1] != ran[2] == ran[3] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ids(worn, 1)
    wait_for(idle, interpreters=0)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_tasks_per_interpreter": 0}, ValueError),
        ({"max_tasks_per_interpreter": -1}, ValueError),
        ({"max_tasks_per_interpreter": 1.5}, TypeError),
        ({"max_tasks_per_interpreter": "1"}, TypeError),
        ({"idle_timeout": 0}, ValueError),
        ({"idle_timeout": -1}, ValueError),
        ({"idle_timeout": float("nan")}, ValueError),
        ({"idle_timeout": []}, TypeError),
    ],
)
def test_wrong_options(pool, options, error):
    with pytest.raises(error, match=next(iter(options))):
        pool(1, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_tasks_per_interpreter": 2**70, "idle_timeout": 1e300},
        {"idle_timeout": float("inf")},
        {"idle_timeout": 1},
        {"max_tasks_per_interpreter": True},
    ],
)
def test_options_of_any_size(pool, options):
    assert len(ids(pool(1, **options), 3)) == 3


@pytest.mark.parametrize("options", [{"max_tasks_per_interpreter": 5}, {"idle_timeout": 5}])
@pytest.mark.filterwarnings("default")
def test_where_cpython_leaks_a_warning_says_so_once(options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        InterpreterThreadPoolExecutor(1, **options).shutdown()
    assert [warning.category for warning in caught] == LEAKS * [RuntimeWarning]
    for warning in caught:
        assert warning.filename == __file__
        assert "1.4 to 7.8 MB" in str(warning.message)


def test_without_the_options_there_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InterpreterThreadPoolExecutor(1).shutdown()
