"""What others learn of a tag: inspect, pydoc, pickle, libraries that store functions by name."""

import asyncio
import contextlib
import copy
import doctest
import functools
import inspect
import pickle
import pydoc
import subprocess
import sys
import textwrap
import types
import typing
from concurrent.futures import InvalidStateError
from unittest import mock

import found_jobs
import jobs
import pytest
import tagged_jobs
from harness import TIMEOUT

from aiointerpreters import (
    InterpreterThreadPoolExecutor,
    Runner,
    RunnerError,
    SendError,
    interpreter,
)

# --- generator functions -------------------------------------------------------------------------


def rows(n):
    """Rows."""
    yield from range(n)


class Table:
    def rows(self):
        yield self

    @classmethod
    def of_class(cls):
        yield cls

    def __call__(self):
        yield self


GENERATORS = {
    "function": rows,
    "lambda": lambda: (yield),
    "partial": functools.partial(rows, 3),
    "partial of a method": functools.partial(Table().rows),
    "method": Table().rows,
    "class method": Table.of_class,
    "classmethod": Table.__dict__["of_class"],
    "staticmethod": staticmethod(rows),
    "instance": Table(),
    "old coroutine": types.coroutine(lambda: (yield)),
}


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("options", [{}, {"everywhere": True}, {"timeout": 3}])
def test_generator_function_is_refused_with_what_to_do(name, options):
    with pytest.raises(TypeError, match=r"a generator function, .*async def.* or have it return a"):
        interpreter(GENERATORS[name], **options)
    with pytest.raises(TypeError, match="a generator function"):
        interpreter(timeout=3)(GENERATORS[name])


def test_generator_function_in_a_runner():
    with Runner(workers=1).start() as runner:
        with pytest.raises(RunnerError, match="a generator function"):
            runner.run(rows, 3)
        with pytest.raises(TypeError, match="a generator function"):
            runner.wrap(rows)


def test_what_makes_a_list_of_a_generator_is_none(shared):
    @functools.wraps(rows)
    def listed(n):
        return list(rows(n))

    assert shared.submit(interpreter(listed), 3).result(TIMEOUT) == [0, 1, 2]
    assert interpreter(contextlib.contextmanager(rows))._gives == "value"


# --- mocks, proxies, functions of another make ---------------------------------------------------


async def coroutine_function(n):
    return n


async def generator_function(n):
    yield n


class Proxy:
    """Answers every attribute."""

    def __getattr__(self, name):
        return object()

    def __call__(self, n):
        return n


class Raising:
    def __getattr__(self, name):
        raise InvalidStateError(name)

    def __call__(self, n):
        return n


class Asynchronous:
    async def __call__(self, n):
        return n


@inspect.markcoroutinefunction
def marked(n):
    return coroutine_function(n)


def wrongly_marked(n):
    return n


wrongly_marked._is_coroutine_marker = True

KINDS = {
    "MagicMock": (mock.MagicMock(), "value"),
    "Mock": (mock.Mock(), "value"),
    "Mock of a function": (mock.Mock(spec=jobs.add), "value"),
    "MagicMock of a class": (mock.MagicMock(spec=jobs.Point), "value"),
    "autospec of a function": (mock.create_autospec(jobs.add), "value"),
    "partial of a mock": (functools.partial(mock.MagicMock(), 1), "value"),
    "attribute of a mock": (mock.MagicMock().some.method, "value"),
    "AsyncMock": (mock.AsyncMock(), "coroutine"),
    "proxy": (Proxy(), "value"),
    "raising": (Raising(), "value"),
    "wrong mark": (wrongly_marked, "value"),
    "marked": (marked, "coroutine"),
    "partial of a marked": (functools.partial(marked, 1), "coroutine"),
    "instance": (Asynchronous(), "coroutine"),
    "method": (Asynchronous().__call__, "coroutine"),
    "generator": (generator_function, "generator"),
    "tag": (interpreter(coroutine_function), "coroutine"),
}


@pytest.mark.parametrize("name", KINDS)
def test_kind_is_what_inspect_says(name):
    function, kind = KINDS[name]
    tagged = interpreter(function)
    assert tagged._gives == kind
    try:
        says = inspect.iscoroutinefunction(function)
    except (TypeError, InvalidStateError):  # of mocks with a spec, and of what raises
        return
    assert says == (kind == "coroutine") or isinstance(function, Asynchronous)
    if not isinstance(function, functools.partial):
        assert inspect.iscoroutinefunction(tagged) == says


class Stopping(type):
    """A class whose attributes, and those of its objects, cannot be asked for."""

    error: BaseException | None = None

    def __call__(cls):
        return cls.__new__(cls)

    def __getattribute__(cls, name):
        if name == "__call__" and Stopping.error is not None:
            raise Stopping.error
        return super().__getattribute__(name)


class Stopped(metaclass=Stopping):
    asked = ("__code__",)

    def __getattr__(self, name):
        if name in self.asked and Stopping.error is not None:
            raise Stopping.error
        raise AttributeError(name)

    def __call__(self, n=0):
        return n


class StoppedByTheClass(Stopped):
    asked = ()


class StoppedByItsMark(Stopped):
    asked = ("_is_coroutine_marker",)


def partial_of_stopped():
    return functools.partial(Stopped())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("make", [Stopped, StoppedByTheClass, StoppedByItsMark, partial_of_stopped])
def test_ctrl_c_while_it_is_inspected(shared, monkeypatch, error, make):
    """It is raised, where any other error says that the object cannot tell."""
    function = make()

    async def run():
        return await shared.run(function, 1)

    monkeypatch.setattr(Stopping, "error", ValueError())
    assert interpreter(function)._gives == "value"
    assert asyncio.run(run()) == 1
    monkeypatch.setattr(Stopping, "error", error())
    with pytest.raises(error):
        interpreter(function)
    with pytest.raises(error):
        interpreter(timeout=1)(function)

    async def refused():
        with pytest.raises(error):
            shared.run(function, 1)

    asyncio.run(refused())


class Nameless:
    def __call__(self):
        pass

    def __getattr__(self, name):
        if name == "__qualname__" and Stopping.error is not None:
            raise Stopping.error
        raise AttributeError(name)


def test_ctrl_c_while_its_name_is_looked_up(shared, monkeypatch):
    tagged = interpreter(Nameless())
    monkeypatch.setattr(Stopping, "error", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        tagged.__reduce__()
    with pytest.raises(KeyboardInterrupt):
        shared.submit(tagged)


@pytest.mark.parametrize("function", [mock.MagicMock, mock.Mock])
def test_mock_is_called(shared, function):
    tagged = interpreter(function(return_value="mocked"))
    assert shared.submit(tagged, 1).result(TIMEOUT) == "mocked"
    assert list(shared.map(tagged, [1])) == ["mocked"]
    assert tagged(1) == "mocked"


def test_mock_that_cannot_be_sent(shared):
    future = shared.submit(interpreter(mock.create_autospec(jobs.add)), 1, 2)
    assert isinstance(future.exception(TIMEOUT), SendError)


def test_proxy_is_called(shared):
    tagged = interpreter(Proxy())
    assert tagged(5) == 5


# --- help() --------------------------------------------------------------------------------------


def test_doc_and_help():
    def documented(a: int, *, b: str = "") -> int:
        """Does one thing."""

    for tagged in tagged_jobs.plain, interpreter(documented), interpreter(documented, timeout=3):
        text = pydoc.render_doc(tagged, renderer=pydoc.plaintext)
        assert tagged.__doc__ in text
        assert str(inspect.signature(tagged)) in text
        assert inspect.getdoc(tagged) == tagged.__doc__ == tagged.fn.__doc__
    assert interpreter(lambda: 1).__doc__ is None
    assert interpreter.__doc__.startswith("Mark a callable")
    assert "Mark a callable" in pydoc.render_doc(interpreter, renderer=pydoc.plaintext)


def test_descriptor_of_doc_knows_its_objects():
    descriptor = vars(interpreter)["__doc__"]
    assert descriptor.__get__(interpreter(jobs.add)) == jobs.add.__doc__
    assert descriptor.__get__(None, interpreter) == interpreter.__doc__
    for other in object(), jobs.add, interpreter:
        with pytest.raises(TypeError, match="descriptor '__doc__'"):
            descriptor.__get__(other)


def test_help_of_a_class_and_of_a_module():
    class Documented:
        @interpreter
        def method(self, n: int) -> int:
            "What the method does."

        @classmethod
        @interpreter
        def of_class(cls):
            "What the class method does."

    text = pydoc.render_doc(Documented, renderer=pydoc.plaintext)
    assert "method(self, n: int) -> int\n |      What the method does." in text
    assert "What the class method does." in text
    assert "What the method does." in pydoc.render_doc(
        Documented().method, renderer=pydoc.plaintext
    )
    assert "Says where it runs." in pydoc.render_doc(tagged_jobs, renderer=pydoc.plaintext)


def test_doctest_finds_it():
    found = [test.name for test in doctest.DocTestFinder(exclude_empty=False).find(tagged_jobs)]
    assert "tagged_jobs.plain" in found
    assert "tagged_jobs.Work.method" in found


# --- by name -------------------------------------------------------------------------------------


def test_what_stands_under_its_name_is_a_function():
    for tagged in tagged_jobs.plain, tagged_jobs.Work.method, tagged_jobs.Work.Inner.deep:
        assert inspect.isfunction(tagged)
        assert inspect.isroutine(tagged)
        assert isinstance(tagged, interpreter)
        assert type(tagged) is interpreter
        assert inspect.getsourcefile(tagged) == tagged_jobs.__file__
        assert pickle.loads(pickle.dumps(tagged)) is tagged
        assert copy.deepcopy(tagged) is copy.copy(tagged) is tagged
    bound = tagged_jobs.Work().method
    assert inspect.ismethod(bound)
    assert isinstance(bound, interpreter)
    assert typing.get_type_hints(tagged_jobs.plain)["n"] is int
    assert inspect.getmembers(tagged_jobs.Work, inspect.isfunction)


def test_what_does_not_is_none():
    """Its function stands there without the tag."""
    for tagged in interpreter(jobs.add), interpreter(lambda: 1), interpreter(len):
        assert not inspect.isfunction(tagged)
        assert tagged.__class__ is interpreter


def test_cloudpickle_keeps_the_tag():
    cloudpickle = pytest.importorskip("cloudpickle")
    for tagged in tagged_jobs.plain, interpreter(jobs.add, timeout=3), interpreter(lambda: 1):
        assert type(cloudpickle.loads(cloudpickle.dumps(tagged))) is interpreter


def test_apscheduler_stores_the_name(shared):
    util = pytest.importorskip("apscheduler.util")
    for tagged in tagged_jobs.plain, tagged_jobs.Work.method, tagged_jobs.Work.Inner.deep:
        reference = util.obj_to_ref(tagged)
        assert reference == f"tagged_jobs:{tagged.__qualname__}"
        assert util.ref_to_obj(reference) is tagged
    assert util.obj_to_ref(tagged_jobs.Work().method) == "tagged_jobs:Work.method"


def test_main_module_stores_the_name(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import inspect
            from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

            @interpreter(timeout=100)
            def job():
                return other is not None and type(other).__name__, Marker

            class Marker:
                pass

            @interpreter
            def other():
                return 1

            assert inspect.isfunction(job), job.__class__
            with InterpreterThreadPoolExecutor(1) as executor:
                name, marker = executor.submit(job).result(100)
                assert name == "interpreter", name
            print("done")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=100, cwd=tmp_path
    )
    assert done.stdout == "done\n", done.stderr


def test_wrappers_of_a_tag_take_its_attributes():
    @functools.wraps(tagged_jobs.plain)
    def wrapper():
        pass

    assert wrapper.__doc__ == "Says where it runs."
    assert wrapper.__qualname__ == "plain"
    assert wrapper.__wrapped__ is tagged_jobs.plain


# --- in an interpreter of somebody else ----------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 14), reason="concurrent.interpreters")
def test_executor_in_a_foreign_interpreter():
    import concurrent.interpreters

    there = concurrent.interpreters.create()
    try:
        there.prepare_main(path=tuple(sys.path))
        there.exec("import sys; sys.path[:] = path; import found_jobs")
        text = there.call(found_jobs.what_submit_says)
    finally:
        there.close()
    assert "takes tasks in the main interpreter only" in text
    assert "concurrent.interpreters" in text


def test_executor_in_a_worker(shared):
    text = shared.submit(interpreter(found_jobs.what_submit_says)).result(TIMEOUT)
    assert "takes tasks in the main interpreter only" in text
    assert "submit where" in text


def test_executors_and_futures_cannot_be_sent(shared):
    with InterpreterThreadPoolExecutor(1) as executor:
        for value in executor, executor.submit(int), executor.map(int):
            with pytest.raises(SendError, match="cannot pickle"):
                shared.submit(interpreter(repr), value).result(TIMEOUT)
