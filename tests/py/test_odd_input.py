"""What nobody should pass, set or return: an error says so, and the process lives."""

import contextlib
import functools
import sys
import threading
from concurrent.futures import Future

import jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script
from odd_input_jobs import OddName, names, walk, walk_here

from aiointerpreters import InterpreterThreadPoolExecutor, broadcast, interpreter


class Odd:
    """Whatever is asked of it raises."""

    def _raise(self, *_args, **_kwargs):
        raise ZeroDivisionError("odd")

    __call__ = __iter__ = __len__ = __bool__ = __index__ = __float__ = __hash__ = __eq__ = _raise
    __contains__ = __getitem__ = __reduce_ex__ = __repr__ = __str__ = __enter__ = _raise


ODD = [
    None,
    5,
    -1,
    0.5,
    10**400,
    float("nan"),
    float("inf"),
    True,
    "x",
    "\ud800",
    b"x",
    (),
    (None,),
    [],
]
ODD += [
    [5],
    {},
    {1: 2},
    object,
    Odd,
    Odd(),
    len,
    threading.Lock(),
    range(3),
    ...,
    {5},
    memoryview(b"x"),
]


pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"  # what cannot be told, since it is odd
)


# -- futures --

SETTABLE = ["_state", "_result", "_exception", "_condition", "_waiters", "_done_callbacks"]


def use(future):
    """Whatever is done with futures; what it raises does not matter here."""
    uses = [
        future.cancel,
        future.done,
        lambda: future.add_done_callback(callable),
        lambda: future.set_result(1),
        lambda: future.set_exception(ValueError()),
        lambda: future.result(0),
        lambda: future.exception(0),
        future.set_running_or_notify_cancel,
        future._invoke_callbacks,
        lambda: repr(future),
    ]
    for call in uses:
        with contextlib.suppress(Exception):
            call()


@pytest.mark.parametrize("name", SETTABLE)
def test_attributes_of_a_future_set_to_anything(executor, name):
    kind = type(executor.submit(int))
    for value in ODD:
        future = kind()
        with contextlib.suppress(Exception):
            setattr(future, name, value)
        use(future)


@pytest.mark.parametrize("name", ["_waiters", "_done_callbacks"])
@pytest.mark.parametrize("value", [None, 5, (None, None, None), {}, "waiters", iter([])])
def test_waiters_and_callbacks_are_a_list(executor, name, value):
    future = type(executor.submit(int))()
    with pytest.raises(TypeError, match="are a list each, not"):
        setattr(future, name, value)
    future.set_result(1)
    assert future.result() == 1


def test_waiters_without_an_event(executor):
    class Raises:
        @property
        def event(self):
            raise KeyError("event")

        def add_result(self, _future):
            pass

    future = executor.submit(int)
    waiter = Raises()
    future._waiters.append(waiter)
    assert future._waiters == [waiter]
    assert future.result(TIMEOUT) == 0


@pytest.mark.parametrize("name", ["_waiters", "_done_callbacks"])
def test_a_list_that_shrinks_while_it_is_told(executor, name):
    class Told:
        def clear(self, _future):
            items.clear()

        add_result = __call__ = clear

    future = type(executor.submit(int))()
    items = [Told(), Told(), Told()]
    setattr(future, name, items)
    future.set_result(1)
    assert future.result() == 1


@pytest.mark.parametrize("kind", ["plain", "tagged"])
def test_a_call_that_runs_does_not_begin_again(executor, gate, kind):
    function = interpreter(jobs.pass_gate) if kind == "tagged" else jobs.pass_gate
    future = executor.submit(function, *gate.args)
    gate.wait_started(1)
    with pytest.raises(ValueError, match="cannot be set back"):
        future._state = "PENDING"
    gate.open(1)
    future.result(TIMEOUT)


def test_a_long_chain_of_futures(tmp_path):
    """Each is the result of the next: on 3.13 they were freed by recursion."""
    script = """
    import threading
    from aiointerpreters import InterpreterThreadPoolExecutor

    with InterpreterThreadPoolExecutor(1) as executor:
        kind = type(executor.submit(int))

    def chain():
        last = kind()
        last.set_result(None)
        for _ in range(200_000):
            future = kind()
            future.set_result(last)
            last = future

    chain()
    print("freed")
    """
    assert_ok(run_script(tmp_path, script), "freed")


def test_a_long_chain_of_broadcasts(tmp_path):
    """Whose last owner is a message: they were freed by recursion."""
    script = """
    import threading
    from aiointerpreters import InterpreterThreadPoolExecutor, broadcast, interpreter

    handle = broadcast(0)
    for _ in range(100_000):
        handle = broadcast((handle,))
    with InterpreterThreadPoolExecutor(1) as executor:
        busy = threading.Event()
        executor.submit(busy.wait)
        future = executor.submit(interpreter(id), handle)
        del handle
        assert future.cancel()
        busy.set()
    print("freed")
    """
    assert_ok(run_script(tmp_path, script), "freed")


# -- calls --


def test_a_keyword_that_is_never_found_again(executor):
    partial = functools.partial(names, **{OddName("a"): 1})
    assert executor.submit(partial).result(TIMEOUT) == ["a"]
    for keywords in ({}, {"b": 2}):
        future = executor.submit(interpreter(partial), **keywords)
        assert future.result(TIMEOUT) == ["a", *keywords]


def test_a_keyword_that_is_no_string(executor):
    partial = functools.partial(names)
    partial.__setstate__((names, (), {1: 2}, None))
    future = executor.submit(interpreter(partial))
    with pytest.raises(TypeError, match="keywords must be strings, and 1"):
        future.result(TIMEOUT)


@pytest.mark.parametrize("tag", [interpreter, lambda function: function])
def test_odd_arguments(executor, tag):
    """Each is sent, or refused with an error of its own."""
    futures = [executor.submit(tag(callable), value) for value in ODD]
    futures += [executor.submit(tag(names), **{"\ud800": value}) for value in ODD]
    for future in futures:
        assert future.exception(TIMEOUT) is None or isinstance(future.exception(), Exception)
    assert executor.submit(tag(callable), 1).result(TIMEOUT) is False


def test_very_many_arguments(executor):
    values = range(200_000)
    assert executor.submit(interpreter(max), *values).result(TIMEOUT) == 199_999


def test_odd_callables(executor):
    for value in ODD:
        with contextlib.suppress(Exception):
            executor.submit(value).exception(TIMEOUT)
        with contextlib.suppress(Exception):
            executor.submit(interpreter(value), 1).exception(TIMEOUT)
        with contextlib.suppress(Exception):
            list(executor.map(value, [1]))
        with contextlib.suppress(Exception):
            list(executor.map(callable, value))
    assert executor.submit(interpreter(callable), 1).result(TIMEOUT) is False


OPTIONS = """max_workers thread_name_prefix initializer initargs max_interpreters preload grace
    argument_cache_bytes context_vars max_pending when_full idle_timeout"""


@pytest.mark.parametrize("name", OPTIONS.split())
def test_odd_options(name):
    for value in ODD:
        with contextlib.suppress(Exception):
            executor = InterpreterThreadPoolExecutor(**{"max_workers": 1} | {name: value})
            with contextlib.suppress(Exception):
                executor.submit(callable, 1).result(TIMEOUT)
            executor.shutdown()


def test_odd_timeouts(executor):
    done = executor.submit(callable, 1)
    done.result(TIMEOUT)
    pending = type(done)()
    for value in ODD:
        for wait in (done.result, done.exception):
            with contextlib.suppress(Exception):
                wait(value)
        if type(value) not in (type(None), int, float, bool):  # those wait
            for wait in (pending.result, pending.exception):
                with pytest.raises((TypeError, ZeroDivisionError)):
                    wait(value)
        with contextlib.suppress(Exception):
            list(executor.map(callable, [1], timeout=value))
    for wait in (pending.result, pending.exception):
        with pytest.raises(ValueError, match="NaN"):
            wait(float("nan"))
        with pytest.raises(OverflowError):
            wait(10**400)
        for value in (-1, False):
            with pytest.raises(TimeoutError):
                wait(value)


# -- objects that are not what they seem --


def test_half_made_objects(executor):
    kind, pool = type(executor.submit(int)), type(executor)
    base = pool.__bases__[0]
    use(kind.__new__(kind))
    for method in (
        "submit",
        "run",
        "map",
        "shutdown",
        "stats",
        "prestart",
        "_begin_turn",
        "_fetch",
    ):
        bare = object.__new__(pool)
        with pytest.raises((RuntimeError, TypeError, AttributeError)):
            getattr(bare, method)(1)
    for name in ("result", "cancel", "_invoke_callbacks"):
        with pytest.raises(TypeError):
            getattr(kind, name)(object())
        with pytest.raises(TypeError):
            getattr(kind, name)(Future())
    with pytest.raises(TypeError):
        base.submit(object(), callable)
    with pytest.raises(TypeError):
        kind.__new__(Future)


def test_subclasses_with_slots(executor):
    class Wide(type(executor.submit(int))):
        __slots__ = ("a", "b", "c")

    class Pool(InterpreterThreadPoolExecutor):
        __slots__ = ("a", "b", "c")

    future = Wide()
    future.a, future.c = 1, 3
    future.set_result(2)
    assert (future.a, future.result(), future.c) == (1, 2, 3)
    with Pool(1) as pool:
        pool.a = pool.c = 1
        assert pool.submit(interpreter(callable), 1).result(TIMEOUT) is False


def test_made_twice():
    class Again:
        """Makes the executor anew while it is being used."""

        def __index__(self):
            executor.__init__(1)
            return 1

        __float__ = __index__

    executor = InterpreterThreadPoolExecutor(1)
    for call in (
        lambda: executor._begin_turn(Again()),
        lambda: executor._workers(Again()),
        lambda: executor._map(callable, ([1],), None, Again()),
        lambda: executor._prestart(Again(), 0, callable),
    ):
        with contextlib.suppress(TypeError):
            call()
        assert executor.submit(interpreter(callable), 1).result(TIMEOUT) is False
    executor.shutdown()


def test_a_map_that_is_found_before_it_is_made(executor):
    import gc

    class Finds:
        def __iter__(self):
            for found in gc.get_objects():
                if type(found).__name__ == "MapIterator":
                    with contextlib.suppress(ValueError):
                        found.close()
            return iter([1])

    assert list(executor.map(interpreter(callable), Finds())) == [False]


def test_two_bases(tmp_path):
    """Where our part of an object begins may differ from interpreter to interpreter."""
    (tmp_path / "user.py").write_text(
        "from aiointerpreters import InterpreterThreadPoolExecutor, interpreter\n"
        "pool = InterpreterThreadPoolExecutor(2)\n"
        "@interpreter\ndef add(x): return x + 1\n"
    )
    script = f"""
    import sys
    import concurrent.futures.thread as thread, concurrent.futures._base as base
    sys.path.insert(0, {str(tmp_path)!r})
    class Executor(thread.ThreadPoolExecutor):
        __slots__ = tuple("abcdef")
    class Future(base.Future):
        __slots__ = tuple("abcdef")
    thread.ThreadPoolExecutor, base.Future = Executor, Future
    import user
    for i in range(50):
        assert user.pool.submit(user.add, i).result(30) == i + 1
    print("done")
    """
    assert_ok(run_script(tmp_path, script), "done")


def test_reentrance(executor):
    """Submits, cancels and shuts down from within what a call runs while it is sent."""

    class Busy:
        def __reduce__(self):
            executor.submit(interpreter(callable), 1).cancel()
            executor.submit(interpreter(callable), Odd())
            executor.shutdown(wait=False)
            return int, ()

    with contextlib.suppress(RuntimeError):
        executor.submit(interpreter(callable), Busy()).exception(TIMEOUT)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(callable, 1)


def test_odd_surroundings(tmp_path):
    """sys.path, sys.argv and warnings.filters with whatever in them, or replaced."""
    script = """
    import sys, warnings
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    with InterpreterThreadPoolExecutor(1) as executor:
        def call():
            future = executor.submit(interpreter(abs), -1)
            assert future.exception(30) is None or isinstance(future.exception(), Exception)
        for odd in (None, 5, b"x", object(), (1, 2), "\\ud800", ["x"]):
            for values in (sys.path, sys.argv, warnings.filters):
                values.append(odd)
                call()
                values.pop()
            warnings.filters.insert(0, ("error", odd, odd, odd, odd))
            call()
            del warnings.filters[0]
            for holder, name in ((sys, "path"), (sys, "argv"), (warnings, "filters")):
                before = getattr(holder, name)
                setattr(holder, name, odd)
                call()
                setattr(holder, name, before)
        assert executor.submit(interpreter(abs), -1).result(30) == 1
    print("done")
    """
    assert_ok(run_script(tmp_path, script), "done")


@pytest.mark.parametrize(
    "name", ["_threads", "_work_queue", "_shutdown", "_broken", "_initializer", "_max_workers"]
)
def test_attributes_of_an_executor_set_to_anything(name):
    with InterpreterThreadPoolExecutor(1) as executor:
        for value in ODD:
            with contextlib.suppress(AttributeError, TypeError):
                setattr(executor, name, value)
        assert executor.submit(interpreter(callable), 1).result(TIMEOUT) is False


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_odd_broadcasts(executor, value):
    with contextlib.suppress(Exception):
        handle = broadcast(value)
        executor.submit(interpreter(callable), handle).exception(TIMEOUT)
    assert executor.submit(interpreter(callable), 1).result(TIMEOUT) is False


# -- functions of sys that walk all interpreters --

WALKS = """
import sys, threading
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

def busy(rounds):
    for i in range(rounds):
        try:
            raise ValueError([i])
        except ValueError:
            held = [[n] for n in range(60_000)] # arenas come
        del held # and go
    return rounds

with InterpreterThreadPoolExecutor(2) as executor:
    futures = [executor.submit(interpreter(busy), 15) for _ in range(2)]
    while not all(future.done() for future in futures):
        CALL
    assert [future.result() for future in futures] == [15, 15]
    print("done")
"""


def test_current_exceptions_beside_busy_interpreters(tmp_path):
    """With CPython's own this crashes on 3.13."""
    call = "assert set(sys._current_exceptions().values()) == {None}"
    assert_ok(run_script(tmp_path, WALKS.replace("CALL", call)), "done")


def test_current_exceptions():
    error = ValueError()
    try:
        raise error
    except ValueError:
        seen = sys._current_exceptions()[threading.get_ident()]
    assert seen is error
    assert sys._current_exceptions()[threading.get_ident()] is None


def test_allocated_blocks_beside_busy_interpreters(tmp_path):
    """With CPython's own this crashes: it walks arenas that others unmap."""
    script = """
    import sys, threading
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    def busy(rounds):
        return sum(len([[n] for n in range(60_000)]) > 0 for _ in range(rounds))

    with InterpreterThreadPoolExecutor(2) as executor:
        assert executor.submit(interpreter(abs), -1).result() == 1
        assert sys.getallocatedblocks() > 1000 # nothing runs
        futures = [executor.submit(interpreter(busy), 50) for _ in range(2)]
        try:
            while not all(future.done() for future in futures):
                sys.getallocatedblocks()
        except RuntimeError as error:
            assert "while no tagged task runs" in str(error), error
        for future in futures:
            assert future.result() == 50
        assert sys.getallocatedblocks() > 1000
    print("done")
    """
    assert_ok(run_script(tmp_path, script), "done")


def test_walks_in_a_worker(executor):
    for name in ("_current_frames", "_current_exceptions"):
        assert executor.submit(interpreter(walk_here), name).result(TIMEOUT)
    with pytest.raises(RuntimeError, match="in the main interpreter"):
        executor.submit(interpreter(walk), "getallocatedblocks").result(TIMEOUT)


# -- what of CPython is relied on --

TWICE = "sys.getallocatedblocks = itertools.count(10_000, -80).__next__"

RELIED_ON = """
import asyncio, sys
SETTING
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
from aiointerpreters._core import relied_on

print(relied_on()["safe_mode"], relied_on()["memory_moves"])
with InterpreterThreadPoolExecutor(2) as executor:
    for kind in (bytes, bytearray):
        assert bytes(executor.submit(interpreter(kind), 1_000_000).result()) == bytes(1_000_000)
    text = executor.submit(interpreter("x".__mul__), 200_000).result()
    assert text == "x" * 200_000

    async def threads():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[
            loop.run_in_executor(executor, interpreter(abs), -i) for i in range(50)
        ])

    assert asyncio.run(threads()) == list(range(50))
"""


@pytest.mark.parametrize(
    ("setting", "allocator", "safe", "printed"),
    [
        ("", "pymalloc", "", "False True"),
        ("", "malloc", "0", "False True"),
        ("", "debug", "", "False False"),
        ("", "pymalloc", "1", "True False"),
        # It counts otherwise than is known: not at all, or each block twice.
        ("sys.getallocatedblocks = lambda: 7", "pymalloc", "", "False False"),
        (f"import itertools; {TWICE}", "pymalloc", "", "False False"),
        ("del sys.getallocatedblocks", "pymalloc", "", "False False"),
    ],
)
def test_memory_moves_only_where_it_is_counted_as_is_known(
    tmp_path, setting, allocator, safe, printed
):
    script = RELIED_ON.replace("SETTING", setting)
    done = run_script(tmp_path, script, PYTHONMALLOC=allocator, AIOINTERPRETERS_SAFE=safe)
    assert_ok(done, printed)
