"""What a task raises, and what cannot be sent: it reaches that task's future, and no other."""

import builtins
import logging
import socket
import sys
import threading
import traceback
from concurrent.futures import CancelledError

import jobs
import pytest
import refusing_outer
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters.executors import interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


def error_of(executor, function, /, *args, **kwargs):
    return executor.submit(function, *args, **kwargs).exception(TIMEOUT)


def shown(error) -> str:
    """What a person sees who lets the error escape."""
    return "".join(traceback.format_exception(error))


@pytest.fixture(autouse=True)
def worker_lives_on(shared):
    """After each of these tests the same worker does its work as before."""
    before = shared.submit(interpreter(jobs.where)).result(TIMEOUT)
    yield
    assert shared.submit(interpreter(jobs.where)).result(TIMEOUT) == before
    assert shared.submit(jobs.add, 1, 1).result(TIMEOUT) == 2


@pytest.fixture(scope="module")
def shared():
    """One worker for all tests of this file."""
    from aiointerpreters.executors import InterpreterThreadPoolExecutor

    with InterpreterThreadPoolExecutor(max_workers=1) as executor:
        yield executor


# --- the same error ------------------------------------------------------------------------------


@both
def test_type_and_arguments(shared, tag):
    error = error_of(shared, tag(jobs.raise_value_error), "wrong")
    assert type(error) is ValueError
    assert error.args == ("wrong",)


@both
def test_attributes_and_notes_of_a_custom_error(shared, tag):
    error = error_of(shared, tag(jobs.raise_custom))
    assert type(error) is jobs.CustomError
    assert error.args == (7, "seven")
    assert (error.code, error.text) == (7, "seven")
    assert error.extra == {"more": [1, 2]}
    assert error.__notes__ == ["first note", "second note"]


@both
def test_class_that_cannot_be_built_from_its_args(shared, tag):
    error = error_of(shared, tag(jobs.raise_forgetful))
    assert type(error) is jobs.ForgetfulError
    assert error.args == ("one",)
    assert error.second == "two"


@both
def test_operating_system_error(shared, tag):
    error = error_of(shared, tag(jobs.raise_os_error))
    assert type(error) is FileNotFoundError
    assert error.filename == "/nonexistent/file"
    assert error.errno == 2
    assert error.strerror


@both
def test_group(shared, tag):
    error = error_of(shared, tag(jobs.raise_group))
    assert type(error) is ExceptionGroup
    assert error.message == "several"
    assert [type(inner) for inner in error.exceptions] == [ValueError, TypeError]
    assert error.exceptions[0].args == ("v",)


def test_class_without_an_importable_name(shared):
    error = error_of(shared, interpreter(jobs.raise_local))
    assert type(error).__name__ == "LocalError"
    assert isinstance(error, Exception)
    assert str(error) == "of a class without a name to import"


def test_class_of_the_test_itself_keeps_its_identity(shared):
    class Mine(Exception):
        pass

    def fail():
        raise Mine("mine")

    error = error_of(shared, interpreter(fail))
    assert type(error) is Mine
    assert error.args == ("mine",)


BUILTIN_ERRORS = sorted(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
ARGUMENTS = {
    "BaseExceptionGroup": ("m", [ValueError(1)]),
    "ExceptionGroup": ("m", [ValueError(1)]),
    **dict.fromkeys(
        ("SyntaxError", "IndentationError", "TabError", "_IncompleteInputError"),
        ("text", ("file", 1, 2, "line", 3, 4)),
    ),
    "UnicodeDecodeError": ("utf-8", b"x", 0, 1, "reason"),
    "UnicodeEncodeError": ("utf-8", "x", 0, 1, "reason"),
    "UnicodeTranslateError": ("x", 0, 1, "reason"),
}


@both
@pytest.mark.parametrize("name", BUILTIN_ERRORS)
def test_every_builtin_error(shared, tag, name):
    error = getattr(builtins, name)(*ARGUMENTS.get(name, ("text", 2)))
    result = error_of(shared, tag(jobs.raise_this), error)
    assert type(result) is type(error)
    assert str(result) == str(error)
    if not isinstance(error, BaseExceptionGroup):
        assert result.args == error.args


@both
def test_error_given_and_returned_is_a_value(shared, tag):
    error = shared.submit(tag(jobs.return_error)).result(TIMEOUT)
    assert type(error) is ValueError


def test_result_raises_it(shared):
    future = shared.submit(interpreter(jobs.raise_custom))
    with pytest.raises(jobs.CustomError) as caught:
        future.result(TIMEOUT)
    assert caught.value is future.exception()


def test_each_future_has_its_own_error(shared):
    futures = [shared.submit(interpreter(jobs.raise_value_error), str(n)) for n in range(20)]
    errors = [future.exception(TIMEOUT) for future in futures]
    assert [str(error) for error in errors] == [str(n) for n in range(20)]
    assert len(set(map(id, errors))) == 20


# --- the worker's traceback ----------------------------------------------------------------------


def test_traceback_of_the_worker_is_the_cause(shared):
    error = error_of(shared, interpreter(jobs.raise_custom))
    assert error.__cause__ is not None
    text = str(error.__cause__)
    assert text.strip().startswith('"""\nTraceback (most recent call last):')
    assert "jobs.py" in text
    assert "in raise_custom" in text
    assert "raise error" in text
    assert "CustomError: (7, 'seven')" in text
    assert "first note" in text


def test_traceback_is_shown(shared):
    text = shown(error_of(shared, interpreter(jobs.raise_value_error), "wrong"))
    assert "in raise_value_error" in text
    assert "The above exception was the direct cause of the following exception" in text
    assert text.rstrip().endswith("ValueError: wrong")


def test_traceback_shows_the_users_frames_only(shared):
    text = str(error_of(shared, interpreter(jobs.raise_value_error)).__cause__)
    assert text.count('File "') == 1


def test_causes_within_the_worker_are_shown(shared):
    error = error_of(shared, interpreter(jobs.raise_from_cause))
    assert type(error) is RuntimeError
    assert "KeyError: 'missing'" in shown(error)
    assert "direct cause" in str(error.__cause__)
    error = error_of(shared, interpreter(jobs.raise_in_context))
    assert "KeyError: 'missing'" in shown(error)
    assert "During handling of the above exception" in str(error.__cause__)


def test_untagged_error_has_its_own_traceback(shared):
    error = error_of(shared, jobs.raise_value_error)
    assert error.__cause__ is None
    assert "in raise_value_error" in shown(error)


# --- errors that are not Exceptions --------------------------------------------------------------


@both
@pytest.mark.parametrize("code", [None, 0, 3, "a text"])
def test_system_exit(shared, tag, code):
    future = shared.submit(tag(jobs.exit_with), code)
    error = future.exception(TIMEOUT)
    assert type(error) is SystemExit
    assert error.code == code
    with pytest.raises(SystemExit):
        future.result()


@both
def test_keyboard_interrupt(shared, tag):
    future = shared.submit(tag(jobs.interrupt))
    error = future.exception(TIMEOUT)
    assert type(error) is KeyboardInterrupt
    assert error.args == ("by the task",)
    with pytest.raises(KeyboardInterrupt):
        future.result()


@both
@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (jobs.stop_iteration, StopIteration),
        (jobs.generator_exit, GeneratorExit),
        (jobs.cancelled, CancelledError),
        (jobs.time_out, TimeoutError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_errors_with_a_meaning_of_their_own(shared, tag, function, kind):
    future = shared.submit(tag(function))
    assert type(future.exception(TIMEOUT)) is kind
    assert future.done()
    assert not future.cancelled()


def test_process_ends_as_usual_after_a_keyboard_interrupt_in_a_task(tmp_path):
    """An interrupt that CPython saw in an interpreter may end the process with SIGINT at exit."""
    assert_ok(
        run_script(
            tmp_path,
            """
            import jobs
            from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

            with InterpreterThreadPoolExecutor() as executor:
                for tag in (interpreter, lambda function: function):
                    error = executor.submit(tag(jobs.interrupt)).exception(30)
                    print(type(error).__name__)
                    error = executor.submit(tag(jobs.exit_with), 3).exception(30)
                    print(type(error).__name__, error.code)
            """,
        ),
        *["KeyboardInterrupt", "SystemExit 3"] * 2,
    )


# --- what cannot be sent -------------------------------------------------------------------------


def assert_names(error, *parts):
    """The error is about sending, and its text has all that helps to find the value."""
    assert error is not None
    assert isinstance(error, Exception)
    for part in parts:
        assert str(part) in str(error), f"{part!r} is not in {error}"


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        (threading.Lock(), "lock"),
        (sys.stdout, "TextIO"),
        ((n for n in ()), "generator"),
        (jobs.Unpicklable(), "Unpicklable"),
        (sys._getframe(), "frame"),
        (socket.socket(), "socket"),
    ],
    ids=["lock", "file", "generator", "refusing", "frame", "socket"],
)
def test_argument(shared, value, type_name):
    if type_name == "TextIO":
        type_name = type(value).__name__
    future = shared.submit(interpreter(jobs.capture), 1, value)
    assert_names(future.exception(TIMEOUT), type_name, "capture", "1")
    error = error_of(shared, interpreter(jobs.capture), 1, key=2, other=value)
    assert_names(error, type_name, "capture", "other")


def test_argument_positions(shared):
    for position in range(4):
        arguments = [0] * 4
        arguments[position] = jobs.Unpicklable()
        error = error_of(shared, interpreter(jobs.capture), *arguments)
        assert_names(error, "Unpicklable", "capture")
        assert error.position == position


def test_argument_inside_others(shared):
    for value in ((1, (2, jobs.Unpicklable())), [{"key": jobs.Unpicklable()}]):
        error = error_of(shared, interpreter(jobs.capture), 0, value)
        assert_names(error, "argument 1", "capture", type(value).__name__)
        assert "this object stays where it is" in str(error)


def test_why_an_argument_cannot_be_sent(shared):
    error = error_of(shared, interpreter(jobs.capture), jobs.Unpicklable())
    assert "this object stays where it is" in shown(error)


def test_argument_that_does_not_arrive(shared):
    error = error_of(shared, interpreter(jobs.capture), 1, jobs.Unloadable())
    assert error is not None
    assert "this object does not arrive" in shown(error)
    assert "capture" in shown(error)


def test_submit_itself_does_not_raise(shared):
    called = []
    future = shared.submit(interpreter(jobs.capture), threading.Lock())
    future.add_done_callback(called.append)
    assert future.done()
    assert called == [future]
    assert not future.cancel()


def test_result(shared):
    error = error_of(shared, interpreter(jobs.make_unpicklable))
    assert_names(error, "Unpicklable", "make_unpicklable", "result")
    error = error_of(shared, interpreter(jobs.make_nested_unpicklable))
    assert_names(error, "tuple", "make_nested_unpicklable", "result")
    assert "this object stays where it is" in str(error)
    assert_names(error_of(shared, interpreter(threading.Lock)), "lock", "result")


def test_result_that_does_not_arrive(shared):
    future = shared.submit(interpreter(jobs.make_unloadable))
    for _ in range(2):
        error = future.exception(TIMEOUT)
        assert error is not None
        assert "this object does not arrive" in shown(error)
        assert "make_unloadable" in shown(error)
        with pytest.raises(type(error)):
            future.result(TIMEOUT)


def test_exception(shared):
    error = error_of(shared, interpreter(jobs.raise_holding))
    assert_names(error, "HoldingError", "raise_holding", "with a lock")
    assert "in raise_holding" in shown(error)


def test_function(shared):
    lock = threading.Lock()

    def holds_a_lock():
        return lock.locked()

    error = error_of(shared, interpreter(holds_a_lock))
    assert_names(error, "holds_a_lock", "lock")


def test_bound_method_of_an_unsendable_object(shared):
    error = error_of(shared, interpreter(threading.Lock().acquire))
    assert_names(error, "lock")


def test_function_whose_module_is_not_found_there(shared):
    import types

    module = types.ModuleType("made_up_module")
    exec("def function(): return 1", module.__dict__)
    sys.modules["made_up_module"] = module
    try:
        future = shared.submit(interpreter(module.function))
        error = future.exception(TIMEOUT)
        if error is None:  # sent by value
            assert future.result() == 1
        else:
            assert_names(error, "made_up_module")
    finally:
        del sys.modules["made_up_module"]


def test_only_that_future_ends(shared):
    futures = []
    for n in range(20):
        futures.append(shared.submit(interpreter(jobs.identity), n))
        futures.append(shared.submit(interpreter(jobs.identity), jobs.Unpicklable()))
        futures.append(shared.submit(interpreter(jobs.make_unpicklable)))
    results = [future.exception(TIMEOUT) for future in futures]
    assert results[::3] == [None] * 20
    assert None not in results[1::3]
    assert None not in results[2::3]
    assert [future.result() for future in futures[::3]] == list(range(20))


def test_untagged_sends_nothing(shared):
    lock = threading.Lock()
    assert shared.submit(jobs.identity, lock).result(TIMEOUT) is lock


def test_nothing_is_logged(shared, caplog):
    with caplog.at_level(logging.DEBUG):
        error_of(shared, interpreter(jobs.raise_custom))
        error_of(shared, interpreter(jobs.make_unpicklable))
        error_of(shared, interpreter(jobs.identity), threading.Lock())
    assert caplog.records == []


# --- modules that refuse to load in an interpreter -----------------------------------------------


def assert_explains(error, *names):
    assert isinstance(error, ImportError)
    text = "".join(traceback.format_exception_only(error))
    for name in names:
        assert name in text, f"{name!r} is not in {text}"


def test_module_that_refuses_named_by_the_function(shared):
    assert_explains(
        error_of(shared, interpreter(refusing_outer.call)),
        "_tracemalloc",
        "tracemalloc",
        "refusing_inner",
        "refusing_outer",
    )


def test_module_that_refuses_imported_by_the_function(shared):
    def call():
        import refusing_outer

        return refusing_outer.call()

    assert_explains(
        error_of(shared, interpreter(call)),
        "_tracemalloc",
        "tracemalloc",
        "refusing_inner",
        "refusing_outer",
    )


@pytest.mark.parametrize("name", ["readline", "_curses", "faulthandler", "_tracemalloc"])
def test_modules_of_the_standard_library_that_refuse(shared, name):
    pytest.importorskip(name)
    assert_explains(error_of(shared, interpreter(__import__), name), name)


def test_module_that_refuses_can_be_used_untagged(shared):
    assert shared.submit(refusing_outer.call).result(TIMEOUT) in (True, False)


def test_module_that_is_not_there(shared):
    error = error_of(shared, interpreter(__import__), "no_such_module_anywhere")
    assert type(error) is ModuleNotFoundError
    assert error.name == "no_such_module_anywhere"
