"""Errors: what cannot be sent, what comes back from a worker, and what its text says."""

import copy
import pickle
import sys
import threading
import traceback

import jobs
import pytest
from harness import TIMEOUT, assert_ok, run_script
from interp import interpreter, script

import aiointerpreters
from aiointerpreters import RemoteTraceback, SendError, _errors, _pickling, _worker
from aiointerpreters.executors import interpreter as tag


def travel(error: BaseException, function: str | None = "myapp.crunch") -> BaseException:
    """What the caller gets of an error: the two halves that C puts together."""
    data, text = _worker.encode_error(error, function)
    assert type(data) is bytes
    assert type(text) is str
    return _errors.attach_remote_traceback(_pickling.loads(data, ()), text)


def raised(function, *args) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        function(*args)
    return caught.value


# --- SendError -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "position", "message"),
    [
        ("function", None, "function myapp.crunch (a 'T') cannot be sent to an interpreter: why"),
        ("argument", 0, "argument 0 of myapp.crunch (a 'T') cannot be sent to an interpreter: why"),
        (
            "argument",
            "key",
            "argument 'key' of myapp.crunch (a 'T') cannot be sent to an interpreter: why",
        ),
        (
            "argument",
            None,
            "an argument of myapp.crunch (a 'T') cannot be sent to an interpreter: why",
        ),
        (
            "result",
            None,
            "the result of myapp.crunch (a 'T') cannot be sent from its interpreter: why",
        ),
        (
            "exception",
            None,
            "the exception raised by myapp.crunch (a 'T') cannot be sent from its interpreter: why",
        ),
    ],
)
def test_send_error(role, position, message):
    cause = TypeError("why")
    error = _errors.send_error(role, "myapp.crunch", position, "T", cause)
    assert str(error) == message
    assert error.__cause__ is cause
    assert isinstance(error, pickle.PicklingError)
    assert isinstance(error, TypeError)
    attributes = {
        "role": role,
        "position": position,
        "function": "myapp.crunch",
        "type_name": "T",
        "path": None,
    }
    assert vars(error) == attributes
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error), travel(error)):
        assert type(copied) is SendError
        assert str(copied) == message
        assert vars(copied) == attributes


def test_send_error_knowing_little():
    assert str(_errors.send_error("function", None, None, None, None)) == (
        "the function cannot be sent to an interpreter"
    )
    assert str(_errors.send_error("argument", "f", 1, "", ValueError())) == (
        "argument 1 of f cannot be sent to an interpreter: ValueError"
    )
    assert str(_errors.send_error("result", "f", None, "T", "text")).endswith(": text")

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert str(_errors.send_error("result", "f", None, "T", Mute())).endswith(": Mute")


def test_public_names():
    for name in ("SendError", "RemoteTraceback", "InterpreterError", "RunnerError"):
        assert getattr(aiointerpreters, name) is getattr(_errors, name)
        assert getattr(_errors, name).__module__ == "aiointerpreters"
    shown = traceback.format_exception_only(SendError("x"))
    assert shown == ["aiointerpreters.SendError: x\n"]


# --- RemoteTraceback -----------------------------------------------------------------------------


def test_remote_traceback_is_shown():
    error = _errors.attach_remote_traceback(ValueError("v"), "Traceback …\n  there\n")
    assert isinstance(error.__cause__, RemoteTraceback)
    assert str(error.__cause__) == '\n"""\nTraceback …\n  there\n"""'
    assert str(pickle.loads(pickle.dumps(error.__cause__))) == str(error.__cause__)
    assert "there" in "".join(traceback.format_exception(error))
    assert _errors.attach_remote_traceback(ValueError(), "").__cause__ is None


def test_exception_that_takes_no_cause():
    class Stubborn(Exception):
        def __setattr__(self, name, value):
            raise RuntimeError(name)

    error = Stubborn()
    assert _errors.attach_remote_traceback(error, "text") is error


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (jobs.raise_value_error, ()),
        (jobs.raise_custom, ()),
        (jobs.raise_forgetful, ()),
        (jobs.raise_from_cause, ()),
        (jobs.raise_os_error, ()),
        (jobs.exit_with, (3,)),
        (jobs.exit_with, ("text",)),
        (jobs.interrupt, ()),
        (jobs.stop_iteration, ()),
        (jobs.generator_exit, ()),
        (jobs.cancelled, ()),
        (jobs.time_out, ()),
        (jobs.recurse_forever, ()),
        (b"\xff".decode, ("utf-8",)),
        ("\ud800".encode, ("utf-8",)),
        (compile, ("1 +", "file", "eval")),
        (__import__, ("no_such_module",)),
        (getattr, (3, "no_such_attribute")),
        (eval, ("no_such_name",)),
        (int, ("x",)),
        ({}.__getitem__, ("key",)),
    ],
    ids=str,
)
def test_builtin_and_custom_exceptions(function, args):
    error = raised(function, *args)
    arrived = travel(error)
    assert type(arrived) is type(error)
    assert arrived.args == error.args
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    for name in ("errno", "filename", "code", "value", "reason", "object", "lineno", "name"):
        if hasattr(error, name):
            assert getattr(arrived, name) == getattr(error, name)
    assert type(error).__name__ in str(arrived.__cause__)


def test_notes():
    assert travel(raised(jobs.raise_custom)).__notes__ == ["first note", "second note"]


def test_group():
    error = ExceptionGroup("several", [jobs.ForgetfulError(1, 2), jobs.CustomError(3, "x")])
    arrived = travel(raised(jobs.raise_this, error))
    assert type(arrived) is ExceptionGroup
    assert arrived.message == "several"
    first, second = arrived.exceptions
    assert (type(first), first.args, first.second) == (jobs.ForgetfulError, (1,), 2)
    assert (second.code, second.text) == (3, "x")


class CustomNew(Exception):
    def __new__(cls, first, second):
        return super().__new__(cls, first)

    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class CustomOSError(OSError):
    def __init__(self, path):
        super().__init__(2, "gone", path)
        self.path = path


class CustomDecodeError(UnicodeDecodeError):
    def __init__(self):
        super().__init__("utf-8", b"\xff", 0, 1, "because")


class CustomExit(SystemExit):
    def __init__(self, *, code):
        super().__init__(code)


class CustomGroup(ExceptionGroup):
    def __new__(cls, errors, mark):
        return super().__new__(cls, "grouped", errors)

    def __init__(self, errors, mark):
        self.mark = mark

    def derive(self, errors):
        return CustomGroup(errors, self.mark)


class ReducesWell(Exception):
    def __init__(self, first, *, second):
        super().__init__(first)
        self.second = second

    def __reduce__(self):
        return _reduces_well, (self.args[0], self.second)


def _reduces_well(first, second):
    return ReducesWell(first, second=second)


class ReducesBadly(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second

    def __reduce__(self):
        return type(self), self.args


class KeywordState(Exception):
    def __init__(self, first):
        super().__init__(first)
        self.first = first

    def __getstate__(self):
        return {"first": "from state"}


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (CustomNew(1, 2), {"second": 2}),
        (CustomOSError("/some/path"), {"errno": 2, "filename": "/some/path", "path": "/some/path"}),
        (CustomDecodeError(), {"reason": "because", "object": b"\xff"}),
        (CustomExit(code=7), {"code": 7}),
        (CustomGroup([ValueError(1)], "m"), {"message": "grouped", "mark": "m"}),
        (ReducesWell(1, second=2), {"second": 2}),
        (ReducesBadly(1, 2), {"second": 2}),
        (KeywordState(1), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_unusual_exceptions(error, attributes):
    arrived = travel(error)
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    for name, value in attributes.items():
        assert getattr(arrived, name) == value


def test_exception_class_by_value():
    arrived = travel(raised(jobs.raise_local))
    assert type(arrived).__name__ == "LocalError"
    assert arrived.args == ("of a class without a name to import",)


def test_exception_class_of_main_comes_back_as_itself():
    namespace = script("""
        class Error(Exception):
            def __init__(self, a, b):
                super().__init__(a)
                self.b = b
        def f(): raise Error(1, 2)
    """)
    from aiointerpreters import _byvalue

    with interpreter() as worker:
        answer = worker.run(
            """
            from aiointerpreters import _rebuild, _worker
            try:
                _rebuild.load(payload)()
            except Exception as error:
                answer, text = _worker.encode_error(error, "f")
            """,
            payload=_byvalue.dump(namespace["f"])[0],
        )
    arrived = _pickling.loads(answer, ())
    assert type(arrived) is namespace["Error"]
    assert (arrived.args, arrived.b) == ((1,), 2)


def test_exception_that_holds_what_cannot_be_sent():
    arrived = travel(raised(jobs.raise_holding), "jobs.raise_holding")
    assert type(arrived) is SendError
    assert str(arrived) == (
        "the exception raised by jobs.raise_holding (a 'jobs.HoldingError') cannot be sent from "
        "its interpreter: exception.lock is a '_thread.lock': cannot pickle '_thread.lock' object "
        "(have the task make its own, or leave it out). It said: with a lock"
    )
    assert (arrived.role, arrived.function) == ("exception", "jobs.raise_holding")
    assert "HoldingError: with a lock" in str(arrived.__cause__)


class Hostile(Exception):
    def __str__(self):
        raise KeyboardInterrupt("from __str__")

    def __reduce__(self):
        raise SystemExit("from __reduce__")


@pytest.mark.parametrize("function", ["f", None, 3])
def test_hostile_exception(function):
    arrived = travel(Hostile(), function)
    assert type(arrived) is SendError
    assert "Hostile" in str(arrived)


def test_unreadable_error():
    text = "Traceback (most recent call last):\nValueError: what it said\n"
    for reason, expected in (
        (ImportError("no module"), "no module. It said: ValueError: what it said"),
        (3, "it arrived as a 'int'. It said: ValueError: what it said"),
    ):
        error = _errors.unreadable_error(reason, text)
        assert type(error) is SendError
        assert str(error).endswith(expected)
        assert error.role == "exception"
        assert error.__cause__.text == text


# --- the text ------------------------------------------------------------------------------------


def test_text_is_the_tracebacks():
    error = raised(jobs.raise_from_cause)
    error.__traceback__ = error.__traceback__.tb_next
    expected = "".join(traceback.format_exception(error))
    assert _worker.encode_error(error)[1] == expected
    assert "KeyError: 'missing'" in expected
    assert "direct cause" in expected


def test_own_frames_are_left_out():
    error = raised(_worker.run_entry_point, "module", "jobs", "raise_value_error", (), {})
    error.__traceback__ = error.__traceback__.tb_next  # what called it here
    text = _worker.encode_error(error)[1]
    assert "run_entry_point" not in text
    assert "raise_value_error" in text
    error = raised(_worker.find_function, "no_such_module", "f")
    error.__traceback__ = error.__traceback__.tb_next
    assert "_byvalue" not in _worker.encode_error(error)[1]


def test_long_texts_are_cut():
    error = ValueError("v")
    for _ in range(10_000):
        error.add_note("x" * 100)
    assert len(_worker.encode_error(error)[1]) < 110_000


# --- modules that refuse -------------------------------------------------------------------------

REFUSAL = "module _tracemalloc does not support loading in subinterpreters"


def in_interpreter(source: str, tmp_path=None) -> BaseException:
    with interpreter() as worker:
        answer = worker.run(
            f"""
            import sys
            from aiointerpreters import _worker
            sys.path.insert(0, path)
            try:
                {source}
            except Exception as error:
                answer, text = _worker.encode_error(error, "f")
                answer = str(len(answer)).encode() + b" " + answer + text.encode()
            """,
            path=str(tmp_path),
        )
    size, _, rest = answer.partition(b" ")
    text = rest[int(size) :].decode()
    return _errors.attach_remote_traceback(_pickling.loads(rest[: int(size)], ()), text)


def test_refusing_module_is_named_with_the_chain():
    error = in_interpreter("_worker.find_function('refusing_outer', 'call')")
    assert type(error) is ImportError
    assert str(error) == (
        f"{REFUSAL} (imported by: __main__ → refusing_outer → refusing_inner → tracemalloc)"
    )
    assert error.name == "_tracemalloc"
    assert "refusing_inner" in str(error.__cause__)


def test_refusal_behind_other_errors(tmp_path):
    (tmp_path / "wraps.py").write_text(
        "try:\n    import refusing_outer\n"
        "except ImportError as error:\n"
        "    raise ImportError('IMPORTANT: PLEASE READ THIS FOR ADVICE') from error\n"
    )
    (tmp_path / "translates.py").write_text(
        "try:\n    import wraps\nexcept ImportError:\n    raise RuntimeError('sorry')\n"
    )
    error = in_interpreter("import wraps", tmp_path)
    assert type(error) is ImportError
    chain = "__main__ → wraps → refusing_outer → refusing_inner → tracemalloc"
    assert str(error) == f"{REFUSAL} (imported by: {chain})"
    assert "PLEASE READ THIS" in str(error.__cause__)
    error = in_interpreter("import translates", tmp_path)
    assert type(error) is RuntimeError
    assert str(error) == "sorry"
    chain = chain.replace("wraps", "translates → wraps")
    assert error.__notes__ == [f"{REFUSAL} (imported by: {chain})"]


def test_other_import_errors_are_left_alone():
    error = in_interpreter("import no_such_module")
    assert type(error) is ModuleNotFoundError
    assert str(error) == "No module named 'no_such_module'"
    error = raised(__import__, "no_such_module")
    error.__cause__ = error  # a cycle of causes
    _worker.explain_refusal(error)


# --- calls by path -------------------------------------------------------------------------------


def test_run_entry_point(tmp_path):
    file = tmp_path / "script.py"
    file.write_text("import sys\ncalls = []\ndef f(x, *, y):\n calls.append(x)\n return calls, y\n")
    assert _worker.run_entry_point("module", "jobs", "add", (1,), {"b": 2}) == 3
    assert _worker.run_entry_point("path", str(file), "f", (1,), {"y": 2}) == ([1], 2)
    assert _worker.run_entry_point("path", str(file), "f", (2,), {"y": 2}) == ([1, 2], 2)
    with pytest.raises(ValueError, match="not 'place'"):
        _worker.run_entry_point("place", "jobs", "add", (), {})
    with pytest.raises(FileNotFoundError):
        _worker.run_entry_point("path", str(tmp_path / "none.py"), "f", (), {})
    assert not [name for name in sys.modules if name.endswith("_1") and "entry" in name]
    assert threading.active_count() >= 1


# --- want of stack or memory ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("RecursionError", RecursionError, "text"),
        ("jobs.HoldingError", jobs.HoldingError, "text"),
        ("test_errors.CustomExit", CustomExit, "text"),
        ("ExceptionGroup", RuntimeError, "ExceptionGroup: text"),
        ("UnicodeDecodeError", RuntimeError, "UnicodeDecodeError: text"),
        ("int", RuntimeError, "int: text"),
        ("nowhere.Error", RuntimeError, "nowhere.Error: text"),
        ("jobs.made.<locals>.Error", RuntimeError, "jobs.made.<locals>.Error: text"),
    ],
)
def test_rebuild_bare(name, kind, text):
    error = _errors.rebuild_bare(name, "text")
    assert type(error) is kind
    assert error.args == (text,)


def break_errors():
    from aiointerpreters import _worker

    def fail(*_):
        raise MemoryError

    _worker.encode_error = fail


def test_types_stay_when_a_worker_cannot_send_more(pool):
    with pool(1) as executor:
        executor.submit(tag(break_errors)).result(TIMEOUT)
        error = executor.submit(tag(jobs.raise_value_error)).exception(TIMEOUT)
        assert type(error) is ValueError
        error = executor.submit(tag(jobs.raise_holding)).exception(TIMEOUT)
        assert (type(error), str(error)) == (jobs.HoldingError, "with a lock")


STACKS = """
import sys, threading
threading.stack_size(int(sys.argv[1]))
import jobs
from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

deep = []
for _ in range(100_000):
    deep = [deep]
with InterpreterThreadPoolExecutor(1) as executor:
    for function, *args in (
        (jobs.recurse, 10**6), (jobs.raise_value_error,), (jobs.nest, 100_000), (len, deep),
        (jobs.add, 1, 2),
    ):
        print(type(executor.submit(interpreter(function), *args).exception(30)).__name__)
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="CPython 3.13 does not measure stacks")
@pytest.mark.parametrize("size", [131_072, 262_144])
def test_small_stacks(tmp_path, size):
    done = run_script(tmp_path, STACKS, str(size))
    assert_ok(done)
    kinds = ["RecursionError", "ValueError", "SendError", "SendError", "NoneType"]
    assert done.stdout.split() == kinds
