"""preload: what each interpreter imports as it is made, and what happens if that fails."""

import json
import logging
import sys
import traceback
import types
from concurrent.futures import wait
from concurrent.futures.thread import BrokenThreadPool

import jobs
import pytest
from harness import TIMEOUT, interpreters, wait_until

from aiointerpreters import RemoteTraceback
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Make modules that interpreters can import and that nobody has."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(name, source=""):
        path = tmp_path.joinpath(*name.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(source)
        made.append(name)
        return name

    yield make
    for name in made:
        sys.modules.pop(name, None)


def in_each(executor, gate, count):
    """The interpreters that run `count` tasks at once."""
    futures = [executor.submit(interpreter(jobs.pass_gate), *gate.args) for _ in range(count)]
    gate.wait_started(count)
    gate.open(count)
    return {future.result(TIMEOUT) for future in futures}


def test_is_imported_in_each_interpreter_and_not_here(pool, module, lines, gate):
    source = f"import jobs; jobs.write_line({lines.descriptor}, str(jobs.interpreter_id()))"
    name = module("preloaded_each", source)
    executor = pool(2, max_interpreters=2, preload=[name])
    assert lines.read() == []
    ran_in = in_each(executor, gate, 2)
    assert {int(line) for line in lines.read()} == ran_in
    assert len(lines.read()) == 2
    assert name not in sys.modules
    assert executor.submit(interpreter(jobs.loaded), name).result(TIMEOUT)


def test_names_and_modules_in_order_before_the_initializer(pool, module, lines):
    names = [
        module(f"preloaded_{n}", f"import os; os.write({lines.descriptor}, b'{n}\\n')")
        for n in (2, 1, 3)
    ]
    initializer = interpreter(jobs.write_line)
    here = types.ModuleType(names[1])
    executor = pool(
        1,
        preload=(name for name in [names[0], here, names[2]]),
        initializer=initializer,
        initargs=(lines.descriptor, "initializer"),
    )
    executor.submit(interpreter(jobs.add), 1).result(TIMEOUT)
    assert lines.read() == ["2", "1", "3", "initializer"]


def test_leaf_of_a_dotted_name(pool, module):
    module("preloaded_package.__init__")
    module("preloaded_package.leaf")
    executor = pool(1, preload=["preloaded_package.leaf"])
    assert executor.submit(interpreter(jobs.loaded), "preloaded_package.leaf").result(TIMEOUT)


def test_module_by_its_spec(pool):
    """A module may call itself something else."""
    alias = types.ModuleType("another_name")
    alias.__spec__ = json.decoder.__spec__
    executor = pool(1, preload=[alias])
    assert executor.submit(interpreter(jobs.loaded), "json.decoder").result(TIMEOUT)


def test_names_are_taken_when_the_executor_is_made(pool):
    preload = ["json"]
    executor = pool(1, preload=preload)
    preload[0] = "no_such_module"
    assert executor.submit(interpreter(jobs.loaded), "json").result(TIMEOUT)


@pytest.mark.parametrize("preload", [(), [], {}, iter(())])
def test_nothing(pool, preload):
    executor = pool(1, preload=preload)
    assert not executor.submit(interpreter(jobs.loaded), "json").result(TIMEOUT)


@pytest.mark.parametrize(
    ("preload", "error", "text"),
    [
        ("json", TypeError, "preload must be an iterable of modules, not one name: 'json'"),
        (b"json", TypeError, "not one name: b'json'"),
        (None, TypeError, "preload must be an iterable of modules, not 'NoneType'"),
        (json, TypeError, "preload must be an iterable of modules, not 'module'"),
        (["json", 3], TypeError, "names of modules, and modules: not 3"),
        ([b"json"], TypeError, "not b'json'"),
        ([None], TypeError, "not None"),
        (["json", ""], ValueError, "not an absolute name of a module: ''"),
        (["json", ".decoder"], ValueError, "not an absolute name of a module: '.decoder'"),
        (["json."], ValueError, "'json.'"),
        (["json..decoder"], ValueError, "'json..decoder'"),
        (["js\0on"], ValueError, "not a name of a module: 'js\\x00on'"),
        (["js\udc80on"], ValueError, "not a name of a module: 'js\\udc80on'"),
        (["__main__"], ValueError, "cannot import the main module: '__main__'"),
        ([sys.modules["__main__"]], ValueError, "cannot import the main module: <module"),
    ],
    ids=lambda value: repr(value) if isinstance(value, (str, list)) else None,
)
def test_what_cannot_be_preloaded(preload, error, text):
    with pytest.raises(error) as caught:
        InterpreterThreadPoolExecutor(preload=preload)
    assert text in str(caught.value)


def test_is_keyword_only():
    with pytest.raises(TypeError):
        InterpreterThreadPoolExecutor(1, "", None, (), ["json"])


# --- failing -------------------------------------------------------------------------------------


@pytest.fixture
def critical(caplog):
    with caplog.at_level(logging.CRITICAL, "concurrent.futures"):
        yield caplog


def assert_broken_by(error, name):
    assert isinstance(error, BrokenThreadPool)
    text = f"The preload of module '{name}' failed, the thread pool is not usable anymore"
    assert str(error) == text


def test_failing_breaks_the_pool(pool, critical):
    executor = pool(2, preload=["json", "no_such_module"])
    error = executor.submit(interpreter(jobs.add), 1).exception(TIMEOUT)
    assert_broken_by(error, "no_such_module")
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert error.__cause__.name == "no_such_module"
    assert isinstance(error.__cause__.__cause__, RemoteTraceback)
    for tag in (lambda function: function, interpreter):
        with pytest.raises(BrokenThreadPool) as caught:
            executor.submit(tag(jobs.add), 1)
        assert_broken_by(caught.value, "no_such_module")
    with pytest.raises(BrokenThreadPool):
        executor.prestart()
    assert executor._broken
    record = critical.records[0]
    assert (record.name, record.levelname) == ("concurrent.futures", "CRITICAL")
    assert "Exception in preload" in record.getMessage()
    assert "No module named 'no_such_module'" in critical.text


def test_whatever_the_module_raises(pool, module, critical):
    name = module("preloaded_failing", "def fail():\n    raise SystemExit('it leaves')\nfail()\n")
    executor = pool(1, preload=[name])
    error = executor.submit(interpreter(jobs.add), 1).exception(TIMEOUT)
    assert_broken_by(error, name)
    assert isinstance(error.__cause__, SystemExit)
    assert "in fail" in "".join(traceback.format_exception(error))


def test_module_that_refuses_interpreters(pool, critical):
    executor = pool(1, preload=["readline"])
    error = executor.submit(interpreter(jobs.add), 1).exception(TIMEOUT)
    assert_broken_by(error, "readline")
    assert isinstance(error.__cause__, ImportError)
    assert "does not support loading in subinterpreters" in str(error.__cause__)


def test_failing_ends_all_that_is_pending(pool, module, gate, critical):
    source = f"import jobs; jobs.pass_gate_and_raise{gate.args}"
    executor = pool(1, preload=[module("preloaded_late", source)])
    futures = [executor.submit(interpreter(jobs.add), n) for n in range(3)]
    futures += [executor.submit(jobs.add, n) for n in range(3)]
    gate.wait_started()
    gate.open()
    assert wait(futures, TIMEOUT).not_done == set()
    for future in futures:
        assert_broken_by(future.exception(), "preloaded_late")
    executor.shutdown(wait=True)
    wait_until(lambda: interpreters() == set(), "its interpreter ends")


def test_untagged_work_is_not_affected(pool):
    executor = pool(2, preload=["no_such_module"])
    assert [executor.submit(jobs.add, n).result(TIMEOUT) for n in range(5)] == list(range(5))
    assert interpreters() == set()


def test_initializer_does_not_run_after_a_failed_preload(pool, lines, critical):
    executor = pool(
        1,
        preload=["no_such_module"],
        initializer=interpreter(jobs.report_start),
        initargs=(lines.descriptor,),
    )
    assert_broken_by(executor.submit(interpreter(jobs.add), 1).exception(TIMEOUT), "no_such_module")
    assert lines.read() == []


def test_failing_initializer_after_a_preload_says_so(pool, critical):
    executor = pool(1, preload=["json"], initializer=interpreter(jobs.fail_to_start))
    error = executor.submit(interpreter(jobs.add), 1).exception(TIMEOUT)
    assert str(error) == "A thread initializer failed, the thread pool is not usable anymore"
    assert "Exception in initializer" in critical.text
