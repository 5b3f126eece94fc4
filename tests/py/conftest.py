"""Fixtures: executors that are shut down, gates that are opened, nothing left running."""

import asyncio
import faulthandler
import gc
import signal
import sys
import threading
from pathlib import Path

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

# The folder of `jobs`, which workers import: their sys.path is the caller's.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import harness
import maps

from aiointerpreters.executors import InterpreterThreadPoolExecutor


@pytest.hookimpl(trylast=True)  # after the plugin that keeps the descriptor
def pytest_configure(config):
    """Print all stacks when the run is ended from outside because it takes too long."""
    faulthandler.register(
        signal.SIGTERM, file=config.stash[fault_handler_stderr_fd_key], chain=True
    )


@pytest.fixture(autouse=True, scope="module")
def nothing_left():
    """After each file no thread and no interpreter is left of its executors."""
    interpreters = harness.interpreters()
    threads = set(threading.enumerate())
    yield
    gc.collect()

    def left():
        new = [thread for thread in threading.enumerate() if thread not in threads]
        of_others = [
            thread
            for thread in new
            # pytest-timeout's, and trio's, which stay for some seconds.
            if isinstance(thread, threading.Timer) or thread.name.startswith("Trio thread")
        ]
        return set(new) - set(of_others) or harness.interpreters() - interpreters

    harness.wait_until(lambda: not left(), f"end of {left()}")


@pytest.fixture
def rack():
    """The gates of a test; their descriptors outlive its executors."""
    gates = []
    yield gates
    for gate in gates:
        gate.free()


@pytest.fixture
def pool(rack):
    """Make executors that are shut down when the test ends."""
    made = []

    def make(*args, of=InterpreterThreadPoolExecutor, **kwargs):
        executor = of(*args, **kwargs)
        made.append(executor)
        return executor

    yield make
    for executor in made:
        executor.shutdown(wait=True, cancel_futures=True)


@pytest.fixture
def executor(pool):
    """An executor of four workers."""
    return pool(max_workers=4)


@pytest.fixture(params=maps.KINDS)
def kind(request, pool):
    """What a map runs on; with `maps.only`, some of the kinds."""
    return maps.Kind(request.param, pool)


@pytest.fixture(params=[None, 2], ids=["eager", "buffered"])
def buffersize(request, kind):
    """The `buffersize` of a map, for what does not depend on it."""
    if request.param is not None:
        kind.need_buffersize()
    return {} if request.param is None else {"buffersize": request.param}


@pytest.fixture(scope="module")
def shared():
    """One executor for all tests of a file, for what does not depend on its state."""
    with InterpreterThreadPoolExecutor(max_workers=2) as executor:
        yield executor


@pytest.fixture
def gates(pool, rack):
    """Make gates; they open when the test ends, before executors are waited for."""

    def make():
        rack.append(harness.Gate())
        return rack[-1]

    yield make
    for gate in rack:
        gate.close()


@pytest.fixture
def gate(gates):
    return gates()


def new_uvloop():
    uvloop = pytest.importorskip("uvloop", reason="not installed for this Python")
    return uvloop.new_event_loop()


@pytest.fixture(params=[asyncio.new_event_loop, new_uvloop], ids=["asyncio", "uvloop"])
def factory(request):
    """What makes event loops."""
    return request.param


@pytest.fixture
def lines():
    pipe = harness.Lines()
    yield pipe
    pipe.close()
