"""Tasks of dask's in interpreters: a real cluster of two workers, and the executor by itself."""

import asyncio
import copyreg
import json
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jobs
import pytest
import stopping_jobs
from harness import TIMEOUT, assert_ok, environment, run_python, run_script, wait_until

from aiointerpreters import interpreter

distributed = pytest.importorskip("distributed", reason="not installed for this Python")

import click  # noqa: E402
from dask._task_spec import Alias, DataNode, Dict, List, Task, TaskRef  # noqa: E402

from aiointerpreters.dask import InterpreterExecutor, Interpreters, dask_setup  # noqa: E402

# distributed has tblib pickle all exceptions there are, in its way, which loses the code of a
# SystemExit and the like. The other tests of this process are about ours.
for kind, reducer in list(copyreg.dispatch_table.items()):
    if reducer.__module__ == "tblib.pickling_support":
        del copyreg.dispatch_table[kind]

HOLDS = (
    "in interpreters of two workers",
    "a function of __main__",
    "lambdas and closures",
    "a class of __main__",
    "a tagged function",
    "a graph",
    "an error",
    "a result that cannot be sent",
    "a time limit",
    "cancelled",
    "in a thread",
    "in a leased interpreter",
    "ended",
)

# --- clusters over loopback ----------------------------------------------------------------------


def run_client(folder: Path, where: object) -> None:
    script = Path(__file__).parent / "dask_client.py"
    done = run_python(script, folder, where, cwd=folder, timeout=100)
    said = f"{done.stdout}\n--- stderr\n{done.stderr}"
    assert (done.returncode, done.stdout.splitlines()) == (0, list(HOLDS)), said


@contextmanager
def dask_command(folder: Path, name: str, *arguments: object):
    """A `dask` command that runs while the body does, and ends by itself then, or is ended."""
    log = folder / f"{name}.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=environment(),
            process_group=0,  # a worker is a child of its nanny
        )
    try:
        yield process
        assert process.wait(TIMEOUT) == 0, log.read_text()
    except BaseException:
        print(f"--- {name}\n{log.read_text()}")
        raise
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.timeout(300)  # more than the limits within
def test_a_local_cluster(tmp_path):
    run_client(tmp_path, "local")


def scheduler_address(file: Path) -> str | None:
    """What the scheduler has written, if it has."""
    try:
        return json.loads(file.read_text())["address"]
    except (FileNotFoundError, ValueError):
        return None


@pytest.mark.timeout(300)
def test_the_command_line(tmp_path):
    file = tmp_path / "scheduler.json"
    quiet = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    preload = ["--preload", "aiointerpreters.dask", "--interpreters", "1", "--import", "json"]
    command = partial(dask_command, tmp_path)
    with command("scheduler", "scheduler", *quiet, "--port", "0", "--scheduler-file", file):
        wait_until(lambda: scheduler_address(file), "the start of the scheduler")
        worker = ["worker", scheduler_address(file), *quiet, "--nthreads", "1"]
        with (
            command("nanny", *worker, *preload),
            command("alone", *worker, "--no-nanny", *preload),
        ):
            run_client(tmp_path, file)


@pytest.mark.parametrize("plugin", [False, True], ids=["executor", "pool"])
def test_executors_of_a_worker(tmp_path, plugin):
    """As arguments of Worker: an InterpreterExecutor, or a pool that the plugin finds."""
    script = """
    import sys
    import dask
    import jobs
    from distributed import Client, LocalCluster
    from aiointerpreters import InterpreterThreadPoolExecutor
    from aiointerpreters.dask import InterpreterExecutor, Interpreters

    plugin = sys.argv[1] == "True"
    pool = InterpreterThreadPoolExecutor(2)
    executor = {"interpreters": pool if plugin else InterpreterExecutor(pool)}
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1"}
    options |= {"n_workers": 1, "dashboard_address": "127.0.0.1:0", "executor": executor}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        if plugin:
            client.register_plugin(Interpreters())
        with dask.annotate(executor="interpreters"):
            print(client.submit(jobs.interpreter_id, pure=False).result(50) != 0)
        print(client.submit(jobs.interpreter_id, pure=False).result(50))
        print(pool.stats().done)
    try:
        pool.submit(int)
    except RuntimeError:
        print("shut down")
    """
    done = run_script(tmp_path, script, plugin)
    assert (done.returncode, done.stdout.split("\n")) == (
        0,
        ["True", "0", "1", "shut down", ""],
    ), done.stderr


# --- the executor --------------------------------------------------------------------------------


@pytest.fixture
def executor(pool):
    """One with two interpreters and two threads."""
    return pool(pool(2, max_interpreters=2), of=InterpreterExecutor)


def run_task(task, data):
    """What a worker calls, for an executor that may be one of processes."""
    return task(data)


def result(executor, task, **data):
    return executor.submit(run_task, task, data).result(TIMEOUT)


def test_a_worker_takes_it_for_one_without_shared_memory():
    assert "ThreadPoolExecutor" not in str(InterpreterExecutor)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Task("k", jobs.add, 1, 2), 3),
        (Task("k", jobs.add, 1, b=5), 6),
        (Task("k", jobs.add, TaskRef("x"), b=TaskRef("y")), 30),
        (Task("k", jobs.add, Task(None, jobs.add, 1, 2), Task(None, jobs.add, 3, 4)), 10),
        (Task("k", sum, List(1, TaskRef("x"), Task(None, jobs.add, 1, 2))), 14),
        (Task("k", dict.get, Dict({"a": TaskRef("x")}), "a"), 10),
        (List(Task(None, jobs.add, 1, 2), TaskRef("y")), [3, 20]),
        (Alias("k", "x"), 10),
        (DataNode("k", 7), 7),
        (
            Task.fuse(Task("i", jobs.add, TaskRef("x"), 1), Task("k", jobs.add, TaskRef("i"), 2)),
            13,
        ),
    ],
    ids=[
        "plain",
        "keyword",
        "data",
        "nested",
        "list",
        "dict",
        "of lists",
        "alias",
        "value",
        "fused",
    ],
)
def test_tasks(executor, task, expected):
    data = {"x": 10, "y": 20}
    assert result(executor, task, **data) == expected
    assert task(data) == expected


@pytest.mark.parametrize("function", [jobs.interpreter_id, interpreter(jobs.interpreter_id)])
def test_every_function_is_called_in_an_interpreter(executor, function):
    inner = Task("i", function)
    fused = Task.fuse(inner, Task("k", jobs.capture, TaskRef("i"), Task(None, function)))
    (first, second), _ = result(executor, fused)
    assert 0 not in (first, second)
    assert function() == 0
    assert inner({}) == 0  # the caller's task is as it was


def test_what_is_no_task_runs_in_a_thread(executor):
    assert executor.submit(jobs.interpreter_id).result(TIMEOUT) == 0
    assert executor.submit(jobs.add, 1, b=2).result(TIMEOUT) == 3


def test_errors(executor):
    with pytest.raises(ValueError, match="no good"):
        result(executor, Task("k", jobs.raise_value_error))
    with pytest.raises(CancelledError):
        result(executor, Task("k", jobs.cancelled))


def test_interrupting_a_task(executor, gate):
    running = executor.submit(run_task, Task("r", stopping_jobs.spin, gate.args[0]), {})
    gate.wait_started()
    assert executor.interrupt("r")
    with pytest.raises(distributed.Reschedule):
        running.result(TIMEOUT)
    assert not executor.interrupt("another")
    assert result(executor, Task("r", jobs.add, 1, 2)) == 3
    assert not executor.interrupt("r")


def test_interrupting_a_task_that_has_not_started(pool, gate, lines):
    executor = pool(pool(1), of=InterpreterExecutor)
    first = executor.submit(run_task, Task("1", jobs.pass_gate, *gate.args), {})
    gate.wait_started()
    second = Task("2", jobs.write_line, lines.descriptor, "ran")
    pending = executor.submit(run_task, second, {})
    assert executor.interrupt("2")
    gate.open()
    first.result(TIMEOUT)
    with pytest.raises(distributed.Reschedule):
        pending.result(TIMEOUT)
    assert lines.read() == []


def test_shutting_down(pool, gate):
    executor = pool(pool(1), 2, of=InterpreterExecutor)
    running = executor.submit(run_task, Task("1", jobs.pass_gate, *gate.args, 5), {})
    gate.wait_started()
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError):
        executor.submit(run_task, Task("2", jobs.add, 1), {})
    gate.open()
    assert running.result(TIMEOUT) == 5
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.pool.submit(jobs.add, 1)


def test_shutting_down_what_does_not_end(pool, gate):
    executor = pool(pool(1), of=InterpreterExecutor)
    running = executor.submit(run_task, Task("1", stopping_jobs.spin, gate.args[0]), {})
    gate.wait_started()
    pending = executor.submit(run_task, Task("2", jobs.add, 1), {})
    executor.shutdown(interrupt=True)
    with pytest.raises(distributed.Reschedule):
        running.result(TIMEOUT)
    assert pending.cancelled()


# --- the plugin and the preload ------------------------------------------------------------------


def fake_worker(**executors):
    return SimpleNamespace(name="w", executors=executors, state=SimpleNamespace(nthreads=2))


def run_plugin(plugin, worker, *steps):
    """Set the plugin up, take the steps, and tear it down."""

    async def run():
        await plugin.setup(worker)
        for step in steps:
            step(worker.executors["interpreters"])
        await plugin.teardown(worker)

    asyncio.run(run())


def test_the_plugin_makes_an_executor():
    def check(executor):
        assert executor.pool._max_interpreters == 2
        assert result(executor, Task("k", jobs.loaded, "json")) is True
        assert executor.pool.stats().interpreters == 1

    worker = fake_worker(default=None)
    plugin = pickle.loads(pickle.dumps(Interpreters(preload=["json"])))
    run_plugin(plugin, worker, check)
    assert worker.executors == {"default": None}


def test_the_plugin_takes_the_pool_that_is_there(pool):
    own = pool(3, max_interpreters=1)
    worker = fake_worker(interpreters=own)

    def check(executor):
        assert executor.pool is own

    run_plugin(Interpreters(5), worker, check)
    assert worker.executors == {}


def test_the_plugin_stops_what_is_called_off(gate):
    plugin = Interpreters(1)

    def check(executor):
        task = Task("k", stopping_jobs.spin, gate.args[0])
        running = executor.submit(run_task, task, {})
        gate.wait_started()
        plugin.transition("k", "ready", "executing")
        plugin.transition("other", "executing", "released")
        assert not running.done()
        plugin.transition("k", "executing", "released", stimulus_id="s")
        with pytest.raises(distributed.Reschedule):
            running.result(TIMEOUT)

    run_plugin(plugin, fake_worker(), check)
    plugin.transition("k", "executing", "released")


def test_a_plugin_that_cannot_be_set_up():
    plugin, worker = Interpreters(grace=-1), fake_worker()
    with pytest.raises(ValueError, match="grace"):
        asyncio.run(plugin.setup(worker))
    plugin.transition("k", "executing", "released")
    asyncio.run(plugin.teardown(worker))
    assert worker.executors == {}


def test_the_options_of_the_preload():
    added = []

    class Worker:
        async def plugin_add(self, plugin, catch_errors=True):
            added.append((plugin, catch_errors))

    arguments = ["--interpreters", "3", "--import", "json", "--import", "re"]
    context = dask_setup.make_context("dask_setup", arguments)
    asyncio.run(dask_setup.callback(Worker(), **context.params))
    [(plugin, catch_errors)] = added
    assert not catch_errors
    assert (plugin._max_interpreters, plugin._options) == (3, {"preload": ["json", "re"]})
    with pytest.raises(click.UsageError, match="0 is not in the range"):
        dask_setup.make_context("dask_setup", ["--interpreters", "0"])


def test_the_package_does_without_dask(tmp_path):
    script = """
    import sys
    sys.modules["distributed"] = None
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
    with InterpreterThreadPoolExecutor(1) as executor:
        print(executor.submit(interpreter(len), "abc").result())
    try:
        import aiointerpreters.dask
    except ImportError as error:
        print(type(error).__name__)
    """
    assert_ok(run_script(tmp_path, script), "3", "ModuleNotFoundError")
