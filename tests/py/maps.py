"""What the tests of map have in common: the executors that it runs on, the calls that it makes."""

import functools
import sys
from concurrent.futures import ThreadPoolExecutor

import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

KINDS = ("standard", "untagged", "tagged")
OURS = ("untagged", "tagged")
THREADS = ("standard", "untagged")


def only(*kinds):
    """For a property that not every kind has."""
    return pytest.mark.parametrize("kind", kinds, indirect=True)


class Kind:
    """Where a map runs: CPython's own executor, which is the reference, or ours, tagged or not."""

    def __init__(self, name, pool):
        self.tagged = name == "tagged"
        self.standard = name == "standard"
        self.type = ThreadPoolExecutor if self.standard else InterpreterThreadPoolExecutor
        self._pool = pool

    def executor(self, workers=1, **options):
        """An executor that is shut down when the test ends."""
        if not self.standard:
            options.setdefault("max_interpreters", workers)
        return self._pool(workers, of=self.type, **options)

    def mark(self, function):
        return interpreter(function) if self.tagged else function

    def mark_to_run_on(self, function):
        """As mark(), for what goes on where nobody wants its result any more."""
        return interpreter(function, interruptible=False) if self.tagged else function

    def need_buffersize(self, *, submit_is_ours=True):
        """Skip the test if this executor's map has no `buffersize`.

        Ours is the standard map where `submit` is somebody else's.
        """
        if (self.standard or not submit_is_ours) and sys.version_info < (3, 14):
            pytest.skip("there is no buffersize before 3.14")


def columns(gates, values=None):
    """The iterables for a map of jobs.pass_gate, one gate a call; the values are counted from 1."""
    values = range(1, len(gates) + 1) if values is None else values
    return [gate.args[0] for gate in gates], [gate.args[1] for gate in gates], values


def through(gate, *value):
    """An item for a map of operator.call: pass the gate, and return the value, if one is given."""
    return functools.partial(jobs.pass_gate, *gate.args, *value)


def taking(gate):
    """A function for map that passes the gate and returns its arguments."""
    return functools.partial(jobs.pass_gate_with, *gate.args)


def giving(value):
    """An item for a map of operator.call: return the value."""
    return functools.partial(jobs.identity, value)


def raising(error):
    """An item for a map of operator.call: raise the error."""
    return functools.partial(jobs.raise_this, error)


def writing(lines, text):
    """An item for a map of operator.call: say that it ran."""
    return functools.partial(jobs.write_line, lines.descriptor, text)


def assert_ended(results):
    """Assert that the iterator gives nothing, however often it is asked."""
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(results)


def finish(executor):
    """Wait until all that was accepted has run."""
    executor.shutdown(wait=True)


def settle(kind, executor):
    """Wait until all that an executor of one worker was given until now has been done."""
    executor.submit(kind.mark(jobs.add), 1).result(TIMEOUT)
