"""context_vars=: what tagged tasks see of the caller's context variables, and what they do not."""

import asyncio
import contextvars
import decimal
import functools
import importlib
import sys
import threading

import jobs
import pytest
import tagged_jobs
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters import InterpreterThreadPoolExecutor, SendError, interpreter

request_id, tenant = tagged_jobs.request_id, tagged_jobs.tenant
seen = interpreter(tagged_jobs.seen)


@pytest.fixture(autouse=True)
def in_a_context_of_its_own():
    tokens = request_id.set("of the test"), tenant.set("of the test, too")
    yield
    request_id.reset(tokens[0])
    tenant.reset(tokens[1])


@pytest.fixture
def aware(pool):
    """An executor of one interpreter whose tasks see the request's id."""
    return pool(max_workers=1, context_vars=[request_id])


def result(future):
    return future.result(TIMEOUT)


def context_with(variable, value):
    context = contextvars.Context()
    context.run(variable.set, value)
    return context


# --- which values --------------------------------------------------------------------------------


def test_of_the_executor(aware):
    assert result(aware.submit(seen))[1:] == ("of the test", "nobody")
    request_id.set("another")
    assert result(aware.submit(seen))[1:] == ("another", "nobody")


def test_of_the_tag(shared):
    assert result(shared.submit(seen))[1:] == (None, "nobody")
    assert result(shared.submit(tagged_jobs.sees_request, 1))[1:] == ("of the test", "nobody", 1)
    handler = tagged_jobs.Handler()
    assert result(shared.submit(handler.method, 2))[1:] == ("of the test", "of the test, too", 2)


def test_of_both(aware):
    tagged = interpreter(seen, context_vars=[tenant, request_id])
    assert result(aware.submit(tagged))[1:] == ("of the test", "of the test, too")


def test_of_a_tag_below_a_partial(shared):
    tagged = interpreter(functools.partial(tagged_jobs.sees_request, 1))
    assert result(shared.submit(tagged, 2))[1:] == ("of the test", "nobody", 1, 2)


def test_unset_variables_stay_unset(pool):
    variable = tagged_jobs.Handler.variable
    executor = pool(max_workers=1, context_vars=[variable, request_id, tenant])
    empty = contextvars.Context()
    assert result(executor.submit(seen, context=empty))[1:] == (None, "nobody")
    assert result(empty.run(executor.submit, seen))[1:] == (None, "nobody")


def test_to_thread_has_the_values_of_its_own_context(aware):
    async def main():
        aware.set_as_event_loop_default()
        request_id.set("of the task")
        waiting = [asyncio.to_thread(seen)]
        request_id.set("later")
        waiting.append(asyncio.to_thread(seen))
        loop = asyncio.get_running_loop()
        waiting.append(loop.run_in_executor(None, seen))
        return [value for _, value, _ in await asyncio.gather(*waiting)]

    # to_thread() copies the context when its coroutine begins, which is when it is awaited.
    assert asyncio.run(main()) == ["later", "later", "later"]


def test_what_to_thread_submits(aware):
    context = context_with(request_id, "of the partial")
    call = functools.partial(context.run, tagged_jobs.sees_request, 1)
    assert result(aware.submit(call, 2))[1:] == ("of the partial", "nobody", 1, 2)
    other = context_with(request_id, "of the argument")
    assert result(aware.submit(call, 2, context=other))[1:] == ("of the argument", "nobody", 1, 2)


def test_context_argument(aware):
    context = context_with(request_id, "of the argument")
    assert result(aware.submit(seen, context=context))[1] == "of the argument"
    assert result(context.run(aware.submit, seen, context=contextvars.Context()))[1] is None
    with_keywords = aware.submit(interpreter(jobs.capture), 1, a=2, context=context, b=3)
    assert result(with_keywords) == ((1,), (("a", 2), ("b", 3)))
    # One that the caller is in can be read like any other.
    assert result(context.run(aware.submit, seen, context=context))[1] == "of the argument"


@pytest.mark.parametrize("value", [5, None, "text"])
def test_a_context_argument_that_is_none_stays_an_argument(aware, value):
    call = aware.submit(interpreter(jobs.capture), context=value)
    assert result(call) == ((), (("context", value),))


def test_context_argument_of_an_untagged_function_is_its_own(aware):
    context = contextvars.copy_context()
    assert result(aware.submit(lambda **given: given, context=context)) == {"context": context}


@pytest.mark.parametrize("buffersize", [None, 1])
def test_map_takes_the_values_at_its_call(aware, buffersize):
    results = aware.map(tagged_jobs.sees_request, range(5), buffersize=buffersize)
    request_id.set("later")
    assert [(value, n) for _, value, _, n in results] == [("of the test", n) for n in range(5)]


def test_untagged_tasks_see_the_worker_threads_own(aware):
    assert result(aware.submit(request_id.get, "none")) == "none"


# --- which not -----------------------------------------------------------------------------------


def set_them(value):
    before = tagged_jobs.seen()
    request_id.set(value)
    tenant.set(value)
    return before[1:], tagged_jobs.seen()[1:]


def test_what_a_task_sets_is_not_seen_by_the_next(pool, aware):
    for executor in (aware, pool(max_workers=1)):
        inherited = "of the test" if executor is aware else None
        for value in ("first", "second"):
            before, after = result(executor.submit(interpreter(set_them), value))
            assert before == (inherited, "nobody")
            assert after == (value, value)
    assert (request_id.get(), tenant.get()) == ("of the test", "of the test, too")


def raise_after_setting():
    request_id.set("of the one that raised")
    raise jobs.CustomError(1, "text")


def test_what_a_failed_task_set_is_not_seen_by_the_next(pool):
    executor = pool(max_workers=1)
    with pytest.raises(jobs.CustomError):
        result(executor.submit(interpreter(raise_after_setting)))
    assert result(executor.submit(seen))[1:] == (None, "nobody")


def keep_a_token():
    jobs.KEPT_TOKEN = tenant.set("kept")
    return tenant.get()


def reset_by_token():
    try:
        tenant.reset(jobs.KEPT_TOKEN)
    except ValueError as error:
        return tenant.get(), "different Context" in str(error)


def test_a_token_of_another_task_does_not_fit(pool):
    executor = pool(max_workers=1)
    assert result(executor.submit(interpreter(keep_a_token))) == "kept"
    assert result(executor.submit(interpreter(reset_by_token))) == ("nobody", True)


def set_tenant(value):
    tenant.set(value)


def test_what_the_initializer_sets_is_seen_by_all(pool):
    executor = pool(
        max_workers=1,
        initializer=interpreter(set_tenant),
        initargs=("of the initializer",),
        context_vars=[request_id],
    )
    for value in ("first", "second"):
        before, _ = result(executor.submit(interpreter(set_them), value))
        assert before == ("of the test", "of the initializer")


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, ..., {"trace": ["a", 1]}, jobs.Point(1, 2), b"x" * 100_000], ids=repr
)
def test_any_value_that_can_be_sent(aware, value):
    request_id.set(value)
    assert result(aware.submit(seen))[1] == value
    assert result(aware.submit(tagged_jobs.sees_request, jobs.Point(3, 4)))[3] == jobs.Point(3, 4)


@pytest.mark.parametrize("argument", [1, jobs.Point(1, 2)], ids=["native", "pickled"])
def test_a_value_that_cannot_be_sent(aware, argument):
    request_id.set(threading.Lock())
    with pytest.raises(SendError, match=r"context variable tagged_jobs\.request_id") as caught:
        result(aware.submit(tagged_jobs.sees_request, argument))
    error = caught.value
    assert (error.role, error.type_name) == ("context variable", "_thread.lock")
    assert error.position == "tagged_jobs.request_id"
    assert error.function == "tagged_jobs.sees_request"
    request_id.set("can be sent")
    assert result(aware.submit(seen))[1] == "can be sent"


def test_a_bad_argument_is_named_rather_than_the_context(aware):
    with pytest.raises(SendError) as caught:
        result(aware.submit(tagged_jobs.sees_request, threading.Lock()))
    assert (caught.value.role, caught.value.position) == ("argument", 0)


def test_a_variable_that_a_worker_does_not_find(pool, monkeypatch):
    monkeypatch.setattr(jobs, "only_here", contextvars.ContextVar("only_here"), raising=False)
    executor = pool(max_workers=1, context_vars=[jobs.only_here, request_id])
    jobs.only_here.set(1)
    for _ in range(2):
        assert result(executor.submit(seen))[1] == "of the test"
    with pytest.raises(AttributeError, match="only_here"):
        result(executor.submit(interpreter(tagged_jobs.find), "jobs", "only_here"))


def test_a_variable_of_a_module_that_refuses(pool):
    import coroutine_jobs
    import refusing_inner  # not for workers, which import this file

    executor = pool(max_workers=1, context_vars=[refusing_inner.variable, request_id])
    refusing_inner.variable.set("of the test")
    assert result(executor.submit(seen))[1] == "of the test"

    async def add():
        return await executor.run(interpreter(coroutine_jobs.add), 1)

    assert asyncio.run(add()) == 3
    reader = interpreter(tagged_jobs.find)
    with pytest.raises(ImportError, match="_tracemalloc does not support"):
        result(executor.submit(reader, "refusing_inner", "variable"))
    executor = pool(max_workers=1, context_vars=[request_id])
    tag = interpreter(tagged_jobs.seen, context_vars=[refusing_inner.variable])
    assert result(executor.submit(tag))[1] == "of the test"


def test_its_import_is_tried_once_and_it_is_found_later(pool, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "sometimes_there.py"
    module.write_text("import contextvars\nvariable = contextvars.ContextVar('variable')\n")
    variable = importlib.import_module("sometimes_there").variable
    works = module.read_text()
    tries = tmp_path / "tries"
    module.write_text(f"open({str(tries)!r}, 'a').write('x')\nraise SystemExit\n# of another size")
    executor = pool(max_workers=1, context_vars=[variable])
    variable.set("of the test")
    for _ in range(3):
        result(executor.submit(seen))
    assert tries.read_text() == "x"
    module.write_text(works)
    find = interpreter(tagged_jobs.find)
    result(executor.submit(find, "sometimes_there", "variable"))  # which imports it
    assert result(executor.submit(find, "sometimes_there", "variable")) == "of the test"
    del sys.modules["sometimes_there"]


def test_executor_checks_its_variables():
    for value, error in [
        (3, TypeError),
        ([3], TypeError),
        ([contextvars.ContextVar("x")], ValueError),
    ]:
        with pytest.raises(error, match="context_vars"):
            InterpreterThreadPoolExecutor(context_vars=value)


# --- decimal -------------------------------------------------------------------------------------


def precision():
    import decimal

    context = decimal.getcontext()
    before = context.prec, context.rounding, context.traps[decimal.Inexact]
    context.prec = 3
    return before


def test_the_decimal_context_comes_along(aware):
    with decimal.localcontext(prec=50, rounding=decimal.ROUND_UP) as context:
        context.traps[decimal.Inexact] = True
        assert result(aware.submit(interpreter(precision))) == (50, decimal.ROUND_UP, True)
        there = contextvars.copy_context()
    standard = decimal.DefaultContext.prec, decimal.DefaultContext.rounding, False
    assert result(aware.submit(interpreter(precision))) == standard
    assert result(aware.submit(interpreter(precision), context=there)) == (
        50,
        decimal.ROUND_UP,
        True,
    )


def test_without_context_vars_there_is_no_decimal_context(shared):
    with decimal.localcontext(prec=50):
        assert result(shared.submit(interpreter(precision)))[0] == decimal.DefaultContext.prec


# --- __main__ ------------------------------------------------------------------------------------


def test_variables_of_main(tmp_path):
    done = run_script(
        tmp_path,
        """
        import contextvars

        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        number = contextvars.ContextVar("number", default=7)
        name = contextvars.ContextVar("a name")

        class Holder:
            inner = contextvars.ContextVar("inner", default=[1])

        def read():
            return number.get(), name.get("unset"), number.name, name.name

        def inner():
            return Holder.inner.get()

        def given(variable):
            return variable is number, variable.get()

        @interpreter(context_vars=[number, name])
        def decorated():
            return read()

        with InterpreterThreadPoolExecutor(max_workers=1) as executor:
            print(*executor.submit(interpreter(read)).result())
            print(*executor.submit(decorated).result())
            number.set(8)
            name.set("me")
            print(*executor.submit(decorated).result())
            print(*executor.submit(interpreter(read)).result())
            print(*executor.submit(interpreter(given), number).result())
            print(*executor.submit(interpreter(given, context_vars=[number]), number).result())
            print(executor.submit(interpreter(lambda: number)).result() is number)
            Holder.inner.set([2])
            print(*executor.submit(interpreter(inner)).result())
            print(*executor.submit(interpreter(inner, context_vars=[Holder.inner])).result())
        """,
    )
    assert_ok(
        done,
        "7 unset number a name",
        "7 unset number a name",
        "8 me number a name",
        "7 unset number a name",
        "True 7",
        "True 8",
        "True",
        "1",
        "2",
    )
