"""Tags that lie below something else: partials, methods, decorators that keep `__wrapped__`."""

import asyncio
import functools
import gc
import threading
import weakref

import found_jobs
import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters import InterpreterThreadPoolExecutor, SendError, interpreter
from aiointerpreters._core import find_tag


def ran_in(executor, function, *args, **kwargs):
    """The interpreter that ran it, by each way in."""
    found = {executor.submit(function, *args, **kwargs).result(TIMEOUT)}
    if not kwargs:
        found |= set(executor.map(function, *([arg] * 3 for arg in args)))

    async def awaited():
        loop = asyncio.get_running_loop()
        call = functools.partial(function, *args, **kwargs)
        yield await executor.run(function, *args, **kwargs)
        yield await loop.run_in_executor(executor, call)
        loop.set_default_executor(executor)
        try:
            yield await asyncio.to_thread(function, *args, **kwargs)
        finally:
            loop._default_executor = None  # the loop would shut it down

    async def collected():
        return {value async for value in awaited()}

    return found | asyncio.run(collected())


@pytest.fixture(scope="module")
def executor():
    with InterpreterThreadPoolExecutor(2, max_interpreters=1) as pool:
        yield pool


WAYS = {
    "decorated": lambda: found_jobs.decorated,
    "decorated twice": lambda: found_jobs.decorated_twice,
    "partial": lambda: functools.partial(found_jobs.tagged),
    "partial with keywords": lambda: functools.partial(found_jobs.tagged, key=2),
    "partial of a decorated": lambda: functools.partial(found_jobs.decorated, key=2),
    "partial of a partial": lambda: functools.partial(interpreter(functools.partial(jobs_where))),
    "decorated method": lambda: found_jobs.Work().decorated_method,
    "decorated method of the class": lambda: functools.partial(
        found_jobs.Work.decorated_method, found_jobs.Work()
    ),
    "class method": lambda: found_jobs.Work.of_class,
    "class method of an instance": lambda: found_jobs.Work().of_class,
    "partialmethod": lambda: found_jobs.Work().partial_method,
    "by value": lambda: found_jobs.logged(interpreter(lambda n, key=0: jobs.interpreter_id())),
}


def jobs_where(n, key=0):
    return jobs.interpreter_id()


@pytest.mark.parametrize("way", WAYS)
def test_found(executor, way):
    function = WAYS[way]()
    before = executor.stats().interpreters
    found = ran_in(executor, function, 1)
    assert 0 not in found
    assert len(found) == 1 or before == 0
    assert ran_in(executor, functools.partial(function, 1)) == found
    assert function(1) == 0  # a direct call is what it was


NOT_FOUND = {
    "lambda": lambda: lambda n: found_jobs.tagged(n),
    "cache": lambda: functools.lru_cache(found_jobs.tagged),
    "argument": lambda: functools.partial(lambda f, n: f(n), found_jobs.tagged),
    "plain decorated": lambda: found_jobs.logged(found_jobs.where),
    "plain partial": lambda: functools.partial(found_jobs.where),
}


@pytest.mark.parametrize("way", NOT_FOUND)
def test_not_found(executor, way):
    function = NOT_FOUND[way]()
    assert find_tag(function) is None
    assert ran_in(executor, function, 1) == {0}


def test_options_come_along(executor):
    decorated = found_jobs.logged(interpreter(found_jobs.spin, timeout=0.05))
    partials = [functools.partial(each) for each in (decorated, decorated.__wrapped__)]
    for function in decorated, *partials:
        with pytest.raises(TimeoutError):
            executor.submit(function).result(TIMEOUT)
    assert "timeout=0.05" in repr(interpreter(decorated, interruptible=True))


def test_keywords_of_a_partial_are_overridden(executor):
    function = functools.partial(interpreter(jobs.capture), 1, key=2)
    assert executor.submit(function, 3, key=4).result(TIMEOUT) == ((1, 3), (("key", 4),))


@pytest.mark.parametrize("wrap", [found_jobs.logged, found_jobs.logged_async, functools.partial])
def test_coroutine_functions(executor, wrap):
    function = wrap(found_jobs.coroutine)

    async def main():
        assert [r async for r in executor.amap(function, [1, 2])] == [1, 2]
        return await executor.run(function, 5)

    assert asyncio.run(main()) == 5
    assert executor.submit(function, 3).result(TIMEOUT) == 3
    with pytest.raises(TypeError, match="amap"):
        executor.map(function, [1])


def test_asynchronous_generator_functions(executor):
    async def main():
        for wrap in found_jobs.logged, functools.partial:
            items = executor.run(wrap(found_jobs.items), 3)
            assert [item async for item in items] == [0, 1, 2]

    asyncio.run(main())


def test_async_decorator_around_a_function_stays_with_its_event_loop(executor):
    """It awaits where it is called; only what it calls is tagged."""
    function = found_jobs.logged_async(found_jobs.tagged)

    async def main():
        with pytest.raises(TypeError, match="coroutine function"):
            executor.run(function, 1)

    asyncio.run(main())
    assert find_tag(function) is None


def test_endless_chains_end(executor):
    def around():
        return 5

    around.__wrapped__ = around
    assert executor.submit(around).result(TIMEOUT) == 5
    loop = functools.partial(around)
    around.__wrapped__ = loop
    assert executor.submit(loop).result(TIMEOUT) == 5


def test_partial_of_itself_is_submitted(executor):
    """What it calls, in the end, is nobody's to say; CPython may not survive the call."""
    partial = functools.partial(found_jobs.where)
    partial.__setstate__((partial, (), {}, {}))
    assert find_tag(partial) is None
    assert interpreter(partial)._gives == "value"
    free = threading.Event()
    with InterpreterThreadPoolExecutor(1) as busy:
        busy.submit(free.wait, TIMEOUT)
        try:
            assert busy.submit(partial).cancel()
        finally:
            free.set()


def test_partial_of_a_tag_of_itself_is_submitted(executor):
    partial = functools.partial(interpreter(found_jobs.where))
    tag = interpreter(partial)
    partial.__setstate__((tag, (), {}, {}))
    assert isinstance(executor.submit(tag, 1).exception(TIMEOUT), SendError)


def test_nothing_is_kept():
    tagged = found_jobs.logged(interpreter(lambda: 5))
    with InterpreterThreadPoolExecutor(1) as executor:
        assert executor.submit(tagged).result(TIMEOUT) == 5
        assert list(executor.map(functools.partial(tagged))) == []
    reference = weakref.ref(tagged)
    del tagged
    gc.collect()
    assert reference() is None


def test_anyio(executor):
    anyio = pytest.importorskip("anyio")
    import aiointerpreters.anyio

    run_sync = functools.partial(aiointerpreters.anyio.run_sync, executor=executor)
    for function in found_jobs.decorated, functools.partial(found_jobs.tagged):
        assert anyio.run(run_sync, function, 1) != 0
