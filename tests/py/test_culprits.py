"""A SendError says which part of a value cannot be sent, by a path; files are among these parts."""

import bz2
import collections
import dataclasses
import functools
import gzip
import io
import multiprocessing
import os
import socket
import sys
import tempfile
import threading

import jobs
import pytest
from harness import TIMEOUT

from aiointerpreters import SendError, broadcast
from aiointerpreters.executors import interpreter

LOCK = threading.Lock()


def failure(executor, function, /, *args, **kwargs) -> SendError:
    error = executor.submit(interpreter(function), *args, **kwargs).exception(TIMEOUT)
    assert type(error) is SendError, error
    return error


def take(rows, opts=None):
    return rows


class Row:
    def __init__(self, lock=None):
        self.number = 1
        self.lock = lock


@dataclasses.dataclass(slots=True)
class Slotted:
    first: object
    second: object = None


Pair = collections.namedtuple("Pair", "left right")


class Looped:
    def __init__(self):
        self.itself = self
        self.lock = LOCK


class Remade:
    def __reduce__(self):
        return Remade, (1, [LOCK])


VALUES = {
    "rows[3].lock": [Row(), Row(), Row(), Row(LOCK)],
    'rows["a"][1]': {"a": [1, LOCK]},
    "rows[(1, 2)][0]": {(1, 2): (LOCK,)},
    "rows.second": Slotted(1, LOCK),
    "rows.right[0]": Pair(1, [LOCK]),
    "rows.lock": Looped(),
    'rows["k"]': collections.defaultdict(list, k=LOCK),
    "rows[1]": collections.deque([1, LOCK]),
    "rows.func": functools.partial(Row(LOCK).__init__, 1),
    "rows.args[1]": functools.partial(take, 1, LOCK),
    'rows.keywords["opts"]': functools.partial(take, 1, opts=LOCK),
    "rows.args[0]": ValueError(LOCK),
    "rows, an element": {LOCK},
    "rows[0], what it is made from[1][0]": [Remade()],
    "rows[5000]": [*range(5000), LOCK, LOCK],
}


@pytest.mark.parametrize("path", VALUES)
def test_arguments(shared, path):
    value = VALUES[path]
    path = "rows.func.__self__.lock" if path == "rows.func" else path
    error = failure(shared, take, value)
    assert (error.role, error.position, error.path) == ("argument", 0, path)
    assert f"{path} is a '_thread.lock': cannot pickle '_thread.lock' object" in str(error)
    assert failure(shared, take, opts=[value]).path == path.replace("rows", "opts[0]", 1)
    assert failure(shared, len, value).path == path.replace("rows", "args[0]", 1)


def test_the_value_itself(shared):
    error = failure(shared, take, LOCK)
    assert (error.path, error.type_name) == (None, "_thread.lock")
    assert str(error).endswith("cannot pickle '_thread.lock' object")


def test_the_search_is_bounded(shared, monkeypatch):
    from aiointerpreters import _culprit

    monkeypatch.setattr(_culprit, "_MOST_SECONDS", -1)
    assert failure(shared, take, [LOCK]).path is None


def made(lines: str, name: str, **names):
    namespace = {"__name__": "__main__", "LOCK": LOCK, "Row": Row, **names}
    exec(lines, namespace)
    return namespace[name]


FUNCTIONS = {
    'global CONFIG["db"].conn': "def f(): return CONFIG['db'].conn",
    "global LOCK": "def f(): return [LOCK for _ in (1,)]",
    "global helper, global LOCK": "def helper(): return LOCK\ndef f(): return helper()",
    "closure variable kept[0]": (
        "def outer():\n kept = [LOCK]\n def inner(): return kept\n return inner\nf = outer()"
    ),
    "default b[0]": "def f(a, b=[LOCK]): pass",
    "default c": "def f(a, *, c=LOCK): pass",
    ".attribute": "def f(): pass\nf.attribute = LOCK",
    'global K.table["a"]': "class K:\n table = {'a': LOCK}\ndef f(): return K",
    "global K.method, global LOCK": ("class K:\n def method(self): return LOCK\ndef f(): return K"),
}


@pytest.mark.parametrize("path", FUNCTIONS)
def test_functions(shared, path):
    config = {"db": Row(), "other": 1}
    config["db"].conn = LOCK
    function = made(FUNCTIONS[path], "f", CONFIG=config)
    error = failure(shared, function)
    assert (error.role, error.path) == ("function", path)
    assert path in str(error)
    assert failure(shared, take, [function]).path == (
        f"rows[0]{path}" if path[0] == "." else f"rows[0], {path}"
    )


def test_methods(shared):
    error = failure(shared, Row(LOCK).__init__)
    assert error.path == "__init__.__self__.lock"


def test_results_and_exceptions(shared):
    def give():
        import threading

        return {"a": [1, threading.Lock()]}

    def fail():
        import threading

        error = ValueError("said", [threading.Lock()])
        raise error

    def fail_with_attribute():
        import threading

        error = ValueError("said")
        error.context = {"a": threading.Lock()}
        raise error

    error = failure(shared, give)
    assert (error.role, error.path) == ("result", 'result["a"][1]')
    assert failure(shared, fail).path == "exception.args[1][0]"
    error = failure(shared, fail_with_attribute)
    assert error.path == 'exception.context["a"]'
    assert str(error).endswith("It said: said")


def test_broadcasts():
    with pytest.raises(SendError) as caught:
        broadcast({"a": [LOCK]})
    assert caught.value.path == 'value["a"][0]'


# --- what cannot be imported in an interpreter ----------------------------------------------------


@pytest.mark.parametrize(
    ("make", "path", "what"),
    [
        (lambda np: np.float64(1), None, "numpy.float64"),
        (lambda np: [1, {"a": np.int32(1)}], 'rows[1]["a"]', "numpy.int32"),
        (lambda np: Row(np.bool(1)), "rows.lock", "numpy.bool"),
        (lambda np: [Slotted(1, {2: np.uint8(1)})], "rows[0].second[2]", "numpy.uint8"),
        (lambda np: [np.arange(3)], "rows[0]", "numpy.ndarray"),
        (lambda np: [np.dtype("f8")], "rows[0]", "numpy.dtype"),
    ],
)
def test_what_is_numpys(shared, make, path, what):
    np = pytest.importorskip("numpy", exc_type=ImportError)
    error = failure(shared, take, make(np))
    assert (error.position, error.path) == (0, path)
    assert f"is a {what}" in str(error)
    assert f"NumPy (numpy {np.__version__}) cannot be imported" in str(error)
    assert len(str(error)) < 300
    assert "\n" not in str(error)
    assert failure(shared, take, 1, opts=make(np)).position == "opts"


def test_what_the_worker_does_not_find(shared, tmp_path, monkeypatch):
    (tmp_path / "of_the_caller_alone.py").write_text("class Thing: pass")
    monkeypatch.syspath_prepend(tmp_path)
    import of_the_caller_alone

    thing = of_the_caller_alone.Thing()
    monkeypatch.undo()
    error = failure(shared, take, {"key": [thing]})
    assert (error.position, error.path) == (0, 'rows["key"][0]')
    assert "of_the_caller_alone.Thing" in str(error)


# --- files ----------------------------------------------------------------------------------------


def files(folder):
    path = folder / "file"
    path.write_bytes(b"contents")
    left, right = socket.socketpair()
    yield open(path)  # noqa: SIM115
    yield open(path, "rb")  # noqa: SIM115
    yield open(path, "rb", buffering=0)  # noqa: SIM115
    yield open(path, "r+b")  # noqa: SIM115
    yield io.TextIOWrapper(io.BytesIO(b"text"))
    yield io.BufferedReader(io.BytesIO(b"text"))
    yield tempfile.NamedTemporaryFile("w")  # noqa: SIM115
    yield tempfile.TemporaryFile()  # noqa: SIM115
    yield tempfile.SpooledTemporaryFile()  # noqa: SIM115
    yield gzip.open(folder / "packed", "wt")  # noqa: SIM115
    yield gzip.GzipFile(fileobj=io.BytesIO(), mode="wb")
    yield bz2.open(io.BytesIO(), "wb")  # noqa: SIM115
    yield from (left, right, left.makefile(), left.makefile("rb"))
    yield from multiprocessing.Pipe()
    yield os.fdopen(os.dup(0))
    yield from (sys.__stdout__, sys.__stderr__, sys.__stdout__.buffer)
    yield (iter(open(path)), map(len, open(path)))  # noqa: SIM115


def test_files_refuse(shared, tmp_path):
    for file in files(tmp_path):
        for value in (file, [file], {"a": (1, Row(file))}):
            assert failure(shared, take, value).position == 0
        if isinstance(file, gzip.GzipFile | bz2.BZ2File):
            file.close()


def test_files_of_a_worker_refuse(shared):
    error = failure(shared, open, __file__)
    assert error.role == "result"
    assert failure(shared, lambda path: [open(path)], __file__).path == "result[0]"  # noqa: SIM115
    function = made(f"file = open({__file__!r})\ndef f(): return file", "f")
    assert failure(shared, function).path == "global file"


def test_what_only_looks_like_a_file(shared):
    for file in (io.StringIO("text"), io.BytesIO(b"text")):
        assert shared.submit(interpreter(jobs.identity), file).result(TIMEOUT).read() in (
            "text",
            b"text",
        )


def test_a_function_has_the_workers_streams(shared, monkeypatch):
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    lines = "def f(n, file=stream):\n print(n, file=file)\n return n"
    function = made(lines, "f", stream=sys.stdout)
    assert shared.submit(interpreter(function), 3).result(TIMEOUT) == 3


def test_a_long_list_is_searched_by_halving(shared):
    assert failure(shared, take, [*range(100_000), LOCK]).path == "rows[100000]"
