"""The names that users import: what they are, what importing them costs, what they document."""

import concurrent.futures
import importlib
import inspect
import pickle
import sys

import harness
import pytest
from interp import interpreter as new_interpreter

import aiointerpreters
from aiointerpreters import executors, runner, types
from aiointerpreters.executors import interpthread

HEAVY = {
    "asyncio",
    "cloudpickle",
    "concurrent",
    "concurrent.futures",
    "dataclasses",
    "inspect",
    "logging",
    "pickle",
    "traceback",
    "typing",
}

NEWLY_LOADED = """
import sys
before = set(sys.modules)
{statement}
loaded = sorted(set(sys.modules) - before)
"""


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import aiointerpreters", {"aiointerpreters"}),
        ("import aiointerpreters.executors", {"aiointerpreters", "aiointerpreters.executors"}),
        ("from aiointerpreters import interpreter", None),
        ("from aiointerpreters.executors import interpreter", None),
        ("from aiointerpreters import SendError, RemoteTraceback", None),
        ("from aiointerpreters.types import Shareable", None),
    ],
)
def test_what_an_import_loads(statement, allowed):
    source = NEWLY_LOADED.format(statement=statement)
    # In a process, where site may have loaded something already …
    done = harness.run_python("-P", "-c", source + "print(*loaded)")
    harness.assert_ok(done)
    # … and in an interpreter, as in a worker.
    with new_interpreter() as worker:
        there = worker.run(source + "answer = ' '.join(loaded).encode()").decode()
    for loaded in (done.stdout.split(), there.split()):
        assert "aiointerpreters" in loaded
        assert not HEAVY & set(loaded)
        if allowed is not None:
            assert {name for name in loaded if name.startswith("aiointerpreters")} == allowed


def test_names():
    for module in (aiointerpreters, executors, interpthread, runner, types):
        assert list(module.__all__) == sorted(module.__all__)
        for name in module.__all__:
            assert getattr(module, name) is not None
            assert name in dir(module)
    namespace = {}
    exec("from aiointerpreters import *", namespace)
    assert set(aiointerpreters.__all__) <= namespace.keys()


def test_one_object_under_all_its_names():
    tag = aiointerpreters.interpreter
    assert tag is executors.interpreter is interpthread.interpreter
    executor = aiointerpreters.InterpreterThreadPoolExecutor
    assert executor is executors.InterpreterThreadPoolExecutor
    assert aiointerpreters.Runner is runner.Runner
    assert aiointerpreters.InterpreterError is runner.InterpreterError
    assert aiointerpreters.RunnerError is runner.RunnerError
    assert aiointerpreters.Shareable is types.Shareable


@pytest.mark.parametrize("module", [aiointerpreters, executors, types], ids=lambda m: m.__name__)
def test_other_names(module):
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nope'"):
        _ = module.nope
    with pytest.raises(ImportError, match="nope"):
        exec(f"from {module.__name__} import nope")


def test_public_things_are_pickled_by_name():
    for name in aiointerpreters.__all__:
        thing = getattr(aiointerpreters, name)
        assert pickle.loads(pickle.dumps(thing)) is thing


def test_executor_is_a_thread_pool():
    executor_type = aiointerpreters.InterpreterThreadPoolExecutor
    assert issubclass(executor_type, concurrent.futures.ThreadPoolExecutor)
    assert executor_type.__module__ == "aiointerpreters.executors.interpthread"
    with executor_type(1) as executor:
        assert isinstance(executor, concurrent.futures.ThreadPoolExecutor)
        assert isinstance(executor.submit(int), concurrent.futures.Future)


def test_map_takes_what_cpython_takes():
    ours = inspect.signature(aiointerpreters.InterpreterThreadPoolExecutor.map).parameters
    theirs = inspect.signature(concurrent.futures.ThreadPoolExecutor.map).parameters
    assert {name: p.default for name, p in ours.items()}.items() >= {
        name: p.default for name, p in theirs.items()
    }.items()


@pytest.mark.parametrize(
    ("documented", "arguments"),
    [
        (
            aiointerpreters.InterpreterThreadPoolExecutor,
            "max_workers thread_name_prefix initializer initargs max_interpreters preload",
        ),
        (
            aiointerpreters.InterpreterThreadPoolExecutor.map,
            "fn *iterables timeout chunksize buffersize",
        ),
        (
            aiointerpreters.InterpreterThreadPoolExecutor.prestart,
            "interpreters threads",
        ),
        (aiointerpreters.InterpreterThreadPoolExecutor.set_as_event_loop_default, "ctx"),
        (aiointerpreters.interpreter, "fn"),
        (runner.Runner, "workers"),
        (runner.Runner.run, "fn *args **kwargs"),
        (runner.Runner.run_module_function, "module_info *args **kwargs"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_each_argument_is_documented(documented, arguments):
    text = inspect.getdoc(documented)
    assert "Raises:" in text or "See `run`" in text
    for argument in arguments.split():
        assert f"    {argument}: " in text


def test_shareable():
    members = set(types.Shareable.__value__.__args__)
    assert {str, bytes, int, float, bool, type(None), memoryview} <= members
    if sys.version_info >= (3, 14):
        from concurrent.interpreters import Queue

        assert Queue in members
        assert types.Queue is Queue
    assert repr(types.Shareable) == "Shareable"


def test_submodules_are_importable():
    for name in (
        "_byvalue",
        "_cloud",
        "_errors",
        "_pickling",
        "_prestart",
        "_rebuild",
        "_worker",
        "runner",
        "types",
    ):
        assert importlib.import_module(f"aiointerpreters.{name}").__doc__
