"""submit and map: tagged and untagged functions, arguments, results, where they run."""

import itertools
import operator
import sys
import threading

import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


@both
def test_result(executor, tag):
    assert executor.submit(tag(pow), 2, 8).result(TIMEOUT) == 256


@both
def test_arguments_and_keywords(executor, tag):
    future = executor.submit(tag(jobs.capture), 1, "two", three=3, four=(4, 4.5))
    assert future.result(TIMEOUT) == ((1, "two"), (("four", (4, 4.5)), ("three", 3)))


@both
def test_no_arguments(executor, tag):
    assert executor.submit(tag(jobs.capture)).result(TIMEOUT) == ((), ())


@both
def test_keywords_named_like_those_of_submit(executor, tag):
    future = executor.submit(tag(jobs.capture), 1, self=2, fn=3)
    assert future.result(TIMEOUT) == ((1,), (("fn", 3), ("self", 2)))


@both
def test_many_arguments(executor, tag):
    arguments = tuple(range(300))
    keywords = {f"k{n}": n for n in range(300)}
    args, pairs = executor.submit(tag(jobs.capture), *arguments, **keywords).result(TIMEOUT)
    assert args == arguments
    assert dict(pairs) == keywords


def test_submit_needs_a_function(executor):
    with pytest.raises(TypeError):
        executor.submit()
    with pytest.raises(TypeError):
        executor.submit(fn=jobs.where)


@pytest.mark.parametrize("not_callable", [None, 3, "text"])
def test_untagged_that_cannot_be_called(executor, not_callable):
    assert isinstance(executor.submit(not_callable).exception(TIMEOUT), TypeError)


@both
def test_wrong_arguments_for_the_function(executor, tag):
    future = executor.submit(tag(jobs.nest), 1, 2, 3, no=4)
    assert isinstance(future.exception(TIMEOUT), TypeError)
    assert "nest()" in str(future.exception(TIMEOUT))


def test_untagged_runs_in_the_main_interpreter_in_another_thread(executor):
    interpreter_id, thread = executor.submit(jobs.where).result(TIMEOUT)
    assert interpreter_id == 0
    assert thread != threading.get_ident()
    assert thread in {worker.ident for worker in executor._threads}


def test_tagged_runs_in_an_interpreter_on_a_worker_thread(executor):
    interpreter_id, thread = executor.submit(interpreter(jobs.where)).result(TIMEOUT)
    assert interpreter_id != 0
    assert thread in {worker.ident for worker in executor._threads}


def test_tagged_runs_again_in_the_same_interpreter(pool):
    executor = pool(max_workers=1)
    first = executor.submit(interpreter(jobs.where)).result(TIMEOUT)
    assert executor.submit(interpreter(jobs.where)).result(TIMEOUT) == first


def test_interpreters_share_no_modules_state(pool):
    executor = pool(max_workers=1)
    jobs.set_state("of the caller")
    try:
        assert executor.submit(interpreter(jobs.get_state)).result(TIMEOUT) == "untouched"
        assert executor.submit(jobs.get_state).result(TIMEOUT) == "of the caller"
        executor.submit(interpreter(jobs.set_state), "of the worker").result(TIMEOUT)
        assert jobs.get_state() == "of the caller"
        assert executor.submit(interpreter(jobs.get_state)).result(TIMEOUT) == "of the worker"
    finally:
        jobs.set_state("untouched")


def test_untagged_takes_and_gives_any_object(executor):
    lock = threading.Lock()
    assert executor.submit(jobs.identity, lock).result(TIMEOUT) is lock
    assert executor.submit(lambda: lock).result(TIMEOUT) is lock


def test_mixed_tasks_on_one_worker(pool):
    executor = pool(max_workers=1)
    kinds = [jobs.interpreter_id, interpreter(jobs.interpreter_id)] * 50
    ran_in = [future.result(TIMEOUT) for future in [executor.submit(kind) for kind in kinds]]
    assert set(ran_in[::2]) == {0}
    assert len(set(ran_in[1::2])) == 1
    assert 0 not in ran_in[1::2]


@both
def test_one_worker_keeps_the_order(pool, tag, gate, lines):
    executor = pool(max_workers=1)
    executor.submit(tag(jobs.pass_gate), *gate.args)
    futures = [executor.submit(tag(jobs.write_line), lines.descriptor, str(n)) for n in range(100)]
    gate.open()
    for future in futures:
        future.result(TIMEOUT)
    assert lines.read() == [str(n) for n in range(100)]


@both
def test_many_tasks(executor, tag):
    futures = [executor.submit(tag(operator.add), n, 1) for n in range(5000)]
    assert [future.result(TIMEOUT) for future in futures] == list(range(1, 5001))


@both
def test_submit_from_many_threads(executor, tag):
    wrong = []

    def submitter(base):
        futures = [executor.submit(tag(jobs.add), base, n) for n in range(200)]
        for n, future in enumerate(futures):
            if future.result(TIMEOUT) != base + n:
                wrong.append((base, n))

    threads = [threading.Thread(target=submitter, args=(1000 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert wrong == []


def test_submit_from_a_task(executor):
    def outer():
        return executor.submit(interpreter(jobs.add), 20, 22).result(TIMEOUT)

    assert executor.submit(outer).result(TIMEOUT) == 42


def test_submit_from_a_done_callback(executor):
    results = []
    done = threading.Event()

    def last(future):
        results.append(future.result())
        done.set()

    def first(future):
        executor.submit(interpreter(jobs.add), future.result(), 1).add_done_callback(last)

    executor.submit(interpreter(jobs.add), 1, 1).add_done_callback(first)
    assert done.wait(TIMEOUT)
    assert results == [3]


class Reenters:
    """Calls back as it is pickled, in the middle of a submit."""

    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return int, (self.call(),)


def test_submit_while_an_argument_is_pickled(executor):
    inner = Reenters(lambda: executor.submit(interpreter(jobs.add), 1, 2).result(TIMEOUT))
    assert executor.submit(interpreter(jobs.identity), inner).result(TIMEOUT) == 3


def test_shutdown_while_an_argument_is_pickled(pool):
    executor = pool(1)
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)
    inner = Reenters(lambda: executor.shutdown() or 3)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(interpreter(jobs.identity), inner)


def test_executor_dropped_while_an_argument_is_pickled():
    executors = [InterpreterThreadPoolExecutor(1)]
    inner = Reenters(lambda: executors.clear() or 3)
    assert executors[0].submit(interpreter(jobs.identity), inner).result(TIMEOUT) == 3


def test_submit_and_result_near_the_limit_of_recursion(executor):
    """Whatever the depth at which Python gives up: a RecursionError or the right result."""

    def at_depth(levels, function, *args):
        return at_depth(levels - 1, function, *args) if levels else function(*args)

    outcomes = set()
    for levels in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit()):
        try:
            future = at_depth(levels, executor.submit, interpreter(jobs.nest), 20)
            outcomes.add(jobs.depth(at_depth(levels, future.result, TIMEOUT)))
        except RecursionError:
            outcomes.add("too deep")
    assert outcomes in ({20}, {20, "too deep"})
    assert executor.submit(interpreter(jobs.add), 1, 1).result(TIMEOUT) == 2


@both
def test_thread_that_cannot_be_started(pool, tag, monkeypatch):
    executor = pool(2)

    def fail(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.submit(tag(jobs.add), 1)
    assert executor.submit(tag(jobs.add), 2).result(TIMEOUT) == 2
    assert len(executor._threads) == 1


def test_inside_an_interpreter_it_says_that_it_does_not_work(executor):
    def inner():
        from aiointerpreters import InterpreterThreadPoolExecutor

        with InterpreterThreadPoolExecutor(1) as executor:
            executor.submit(len, "text")

    error = executor.submit(interpreter(inner)).exception(TIMEOUT)
    assert isinstance(error, RuntimeError)
    assert "main interpreter only" in str(error)


def test_two_executors_at_once(pool):
    one, two = pool(max_workers=1), pool(max_workers=1)
    futures = [
        executor.submit(interpreter(jobs.where)) for _ in range(20) for executor in (one, two)
    ]
    ran_in = [future.result(TIMEOUT) for future in futures]
    assert len(set(ran_in[::2])) == 1
    assert len(set(ran_in[1::2])) == 1
    assert ran_in[0][0] != ran_in[1][0]
    assert ran_in[0][1] != ran_in[1][1]


def test_worker_has_the_callers_path(executor):
    assert executor.submit(interpreter(jobs.sys_path)).result(TIMEOUT) == sys.path


def test_module_found_through_a_folder_added_by_the_caller(executor, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    assert executor.submit(interpreter(only_here.answer)).result(TIMEOUT) == 42


def test_module_found_through_a_folder_added_after_the_interpreter_was_made(
    pool, tmp_path, monkeypatch
):
    executor = pool(max_workers=1)
    executor.submit(interpreter(jobs.where)).result(TIMEOUT)
    (tmp_path / "later_here.py").write_text("def answer():\n    return 43\n")
    monkeypatch.syspath_prepend(tmp_path)
    import later_here

    assert executor.submit(interpreter(later_here.answer)).result(TIMEOUT) == 43


def test_worker_loads_the_same_file(executor):
    assert executor.submit(interpreter(jobs.module_file)).result(TIMEOUT) == jobs.__file__


# --- map -----------------------------------------------------------------------------------------


@both
def test_map(executor, tag):
    assert list(executor.map(tag(pow), range(10), range(10))) == [n**n for n in range(10)]


@both
def test_map_takes_a_generator_and_shortest_iterable(executor, tag):
    results = executor.map(tag(jobs.add), (n for n in range(100)), itertools.repeat(5, 3))
    assert list(results) == [5, 6, 7]


@both
def test_map_of_nothing(executor, tag):
    assert list(executor.map(tag(jobs.identity), [])) == []


@both
def test_map_raises_where_the_function_did(executor, tag):
    results = executor.map(tag(divmod), [1, 1, 1, 1], [2, 3, 0, 5])
    assert next(results) == (0, 1)
    assert next(results) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        next(results)


@both
def test_map_chunksize_makes_no_difference(executor, tag):
    results = executor.map(tag(jobs.add), range(10), range(10), chunksize=3)
    assert list(results) == list(range(0, 20, 2))


@both
def test_map_submits_before_it_is_iterated(executor, tag, lines):
    executor.map(tag(jobs.write_line), [lines.descriptor] * 10, map(str, range(10)))
    executor.shutdown(wait=True)
    assert sorted(lines.read()) == [str(n) for n in range(10)]


@both
def test_map_timeout(pool, tag, gate):
    executor = pool(max_workers=1)
    busy = executor.submit(tag(jobs.pass_gate), *gate.args)
    results = executor.map(tag(jobs.identity), range(3), timeout=0)
    with pytest.raises(TimeoutError):
        next(results)
    gate.open()
    busy.result(TIMEOUT)


@both
def test_map_that_timed_out_cancels_the_rest(pool, tag, gate, lines):
    executor = pool(max_workers=1)
    busy = executor.submit(tag(jobs.pass_gate), *gate.args)
    results = executor.map(tag(jobs.write_line), [lines.descriptor] * 3, ["1", "2", "3"], timeout=0)
    with pytest.raises(TimeoutError):
        next(results)
    gate.open()
    busy.result(TIMEOUT)
    executor.shutdown(wait=True)
    assert lines.read() == []


@both
def test_map_buffersize_bounds_what_is_taken(pool, tag):
    executor = pool(max_workers=2)
    numbers = itertools.count()
    results = executor.map(tag(jobs.identity), numbers, buffersize=2)
    assert next(numbers) == 2  # two were taken, and this one by the test
    assert next(results) == 0
    assert next(numbers) == 4
    assert next(results) == 1
    assert next(results) == 3


@both
def test_map_buffersize_gives_everything(executor, tag):
    for buffersize in (1, 2, 4, 100):
        results = executor.map(tag(jobs.add), range(20), range(20), buffersize=buffersize)
        assert list(results) == list(range(0, 40, 2))
    assert list(executor.map(tag(jobs.identity), [], buffersize=2)) == []
    assert list(executor.map(tag(jobs.identity), buffersize=2)) == []


@pytest.mark.parametrize("buffersize", ["foo", 2.0])
def test_map_buffersize_of_a_wrong_type(executor, buffersize):
    with pytest.raises(TypeError, match="buffersize must be an integer or None"):
        executor.map(str, range(4), buffersize=buffersize)


@pytest.mark.parametrize("buffersize", [0, -1])
def test_map_buffersize_too_small(executor, buffersize):
    with pytest.raises(ValueError, match="buffersize must be None or > 0"):
        executor.map(str, range(4), buffersize=buffersize)
