"""interpreter(f): as a function and as a decorator, on everything that can be called."""

import asyncio
import contextvars
import copy
import functools
import gc
import inspect
import itertools
import math
import operator
import pickle
import threading
import weakref

import counting
import jobs
import pytest
import tagged_jobs
from harness import TIMEOUT, interpreters

from aiointerpreters.executors import interpreter

Work = tagged_jobs.Work


def run(executor, function, /, *args, **kwargs):
    return executor.submit(function, *args, **kwargs).result(TIMEOUT)


# --- as a decorator ------------------------------------------------------------------------------


def test_decorated_function(shared):
    ran_in, result = run(shared, tagged_jobs.plain, 2, extra=3)
    assert ran_in != 0
    assert result == 5


def test_decorated_over_wraps(shared):
    first, n, again, n_again = run(shared, tagged_jobs.tag_outside, 4)
    assert first == again != 0
    assert n == n_again == 4


def test_decorated_over_two_wraps(shared):
    result = run(shared, tagged_jobs.tag_over_two, 4)
    assert len(result) == 8
    assert result[0] != 0


def test_decorated_under_wraps(shared):
    """The tag below `functools.wraps` is seen: the outer decorator runs there, too."""
    for function in tagged_jobs.tag_inside, interpreter(tagged_jobs.tag_inside):
        ran_in, *rest = run(shared, function, 4)
        assert ran_in != 0
        assert rest == [4, ran_in, 4]
    assert tagged_jobs.tag_inside(4) == (0, 4, 0, 4)


def test_decorated_over_a_cache(shared):
    ran_in, n = run(shared, tagged_jobs.over_cache, 4)
    assert ran_in != 0
    assert n == 4


def test_tagged_twice(shared):
    ran_in, n = run(shared, tagged_jobs.twice, 4)
    assert ran_in != 0
    assert n == 4
    ran_in, n = run(shared, interpreter(tagged_jobs.plain), 4)
    assert ran_in != 0
    assert n == 4


@pytest.mark.parametrize("name", ["static_outside", "static_inside"])
@pytest.mark.parametrize("of", [Work, Work(), tagged_jobs.Child], ids=["class", "object", "child"])
def test_static_method(shared, of, name):
    ran_in, n = run(shared, getattr(of, name), 3)
    assert ran_in != 0
    assert n == 3
    assert getattr(of, name)(3) == (0, 3)


@pytest.mark.parametrize("name", ["class_outside", "class_inside"])
@pytest.mark.parametrize("of", [Work, Work(), tagged_jobs.Child], ids=["class", "object", "child"])
def test_class_method(shared, of, name):
    cls = of if isinstance(of, type) else type(of)
    assert getattr(of, name)(3) == (0, cls.__name__, 3)
    # classmethod(tagged) makes a bound method of the tag.
    ran_in, owner, n = run(shared, getattr(of, name), 3)
    assert ran_in != 0
    assert (owner, n) == (cls.__name__, 3)
    ran_in, owner, n = run(shared, interpreter(getattr(of, name)), 3)
    assert ran_in != 0
    assert (owner, n) == (cls.__name__, 3)


def test_method(shared):
    work = Work(40)
    assert work.method(2) == (0, 42)
    ran_in, n = run(shared, work.method, 2)
    assert ran_in != 0
    assert n == 42


def test_method_of_the_class(shared):
    ran_in, n = run(shared, Work.method, Work(40), 2)
    assert ran_in != 0
    assert n == 42


def test_decorated_method(shared):
    first, n, again, n_again = run(shared, Work(40).decorated_method, 2)
    assert first == again != 0
    assert n == n_again == 42


def test_nested_class(shared):
    ran_in, n = run(shared, Work.Inner.deep, 2)
    assert ran_in != 0
    assert n == 2


def test_function_that_calls_itself_by_its_tagged_name(shared):
    assert run(shared, tagged_jobs.factorial, 20) == math.factorial(20)


def test_tagged_function_that_calls_another(shared):
    ran_in, other_ran_in, n = run(shared, tagged_jobs.calls_another, 7)
    assert ran_in == other_ran_in != 0
    assert n == 7


# --- on what can be called -----------------------------------------------------------------------

CALLABLES = {
    "function": (jobs.add, (1, 2), 3),
    "wrapped function": (jobs.doubled, (4,), 10),
    "cached function": (math.comb, (5, 2), 10),
    "builtin": (len, ("four",), 4),
    "builtin of a module": (math.sqrt, (16.0,), 4.0),
    "builtin of a private module": (operator.add, (1, 2), 3),
    "method of a str": ("text".upper, (), "TEXT"),
    "method of a type": (str.upper, ("text",), "TEXT"),
    "class method of a type": (dict.fromkeys, (("a",), 1), {"a": 1}),
    "class method of a type, from bytes": (int.from_bytes, (b"\x01\x00", "big"), 256),
    "type": (int, ("12",), 12),
    "type with its own __new__": (complex, (1, 2), 1 + 2j),
    "class": (jobs.Point, (1, 2), jobs.Point(1, 2)),
    "bound method": (jobs.Point(1, 2).total, (10,), 13),
    "method of a class": (jobs.Point.total, (jobs.Point(1, 2), 10), 13),
    "class method": (jobs.Point.of_class, (5,), jobs.Point(5, 5)),
    "static method": (jobs.Point.of_nothing, (5,), 15),
    "partial": (functools.partial(jobs.add, 1), (2,), 3),
    "partial with keywords": (functools.partial(jobs.add, b=5), (2,), 7),
    "partial of a partial": (functools.partial(functools.partial(pow, 2), 5), (), 32),
    "partial of a builtin": (functools.partial(max, 3), (5,), 5),
    "partial in a module": (jobs.add_five, (2,), 7),
    "itemgetter": (operator.itemgetter(1), ("abc",), "b"),
    "itemgetter in a module": (jobs.first_item, ("abc",), "a"),
    "attrgetter": (operator.attrgetter("x"), (jobs.Point(1, 2),), 1),
    "methodcaller": (operator.methodcaller("upper"), ("abc",), "ABC"),
    "type of a module": (itertools.count, (), None),
    "lambda": (lambda n: n + 1, (1,), 2),
}


@pytest.mark.parametrize("name", [name for name in CALLABLES if name != "type of a module"])
def test_callable(shared, name):
    function, arguments, expected = CALLABLES[name]
    tagged = interpreter(function)
    assert run(shared, tagged, *arguments) == expected
    assert tagged(*arguments) == expected
    assert run(shared, function, *arguments) == expected


def test_callable_object(shared):
    base, arguments, ran_in = run(shared, interpreter(jobs.Callable(3)), "a", "b")
    assert (base, arguments) == (3, ("a", "b"))
    assert ran_in != 0


def test_lru_cache_lives_in_the_interpreter(pool):
    executor = pool(max_workers=1)
    assert run(executor, interpreter(jobs.cached), 1) == (1, 1)
    assert run(executor, interpreter(jobs.cached), 1) == (1, 1)
    assert run(executor, interpreter(jobs.cached), 2) == (2, 2)
    assert jobs.CALLS == []


def test_closure(shared):
    def outer(a):
        def inner(b):
            return a + b, jobs.interpreter_id()

        return inner

    total, ran_in = run(shared, interpreter(outer(40)), 2)
    assert total == 42
    assert ran_in != 0


def test_two_closures_of_one_function(shared):
    def outer(a):
        return lambda: a

    tagged = [interpreter(outer(n)) for n in range(20)]
    assert [run(shared, function) for function in tagged * 3] == [*range(20)] * 3


def test_nested_function_that_calls_itself(shared):
    def countdown(n):
        return (n, *countdown(n - 1)) if n else (0,)

    assert run(shared, interpreter(countdown), 5) == (5, 4, 3, 2, 1, 0)


def test_generator_expression_and_comprehension_in_a_lambda(shared):
    function = interpreter(lambda n: sum(x * x for x in range(n)) + len([*range(n)]))
    assert run(shared, function, 10) == 295


def test_many_lambdas_of_one_call_each(shared):
    """Functions come and go: an address that is used again never stands for an old one."""
    for n in range(300):
        assert run(shared, interpreter(eval(f"lambda: {n}"))) == n


def test_looked_up_once_in_a_worker_and_never_here(pool):
    """Per call there is no look-up by name and no pickling of the function."""
    executor = pool(max_workers=1)
    tagged = interpreter(counting.counted)
    assert run(executor, tagged, 1, b=2) == 3
    before = counting.lookups()
    for n in range(50):
        assert run(executor, tagged, n) == n
    assert counting.lookups() == before
    assert run(executor, interpreter(counting.lookups)) == 1


def test_class_that_is_no_function_is_looked_up_once_too(pool):
    executor = pool(max_workers=1)
    tagged = interpreter(jobs.Point)
    for n in range(20):
        assert run(executor, tagged, n, 0) == jobs.Point(n, 0)


def test_one_function_tagged_again_and_again(shared):
    for n in range(300):
        assert run(shared, interpreter(jobs.add), n, 1) == n + 1


@pytest.mark.parametrize("value", [None, 3, "jobs.add", ("a", "b")])
def test_what_cannot_be_called_cannot_be_tagged(value):
    with pytest.raises(TypeError, match="callable"):
        interpreter(value)


def test_interpreter_needs_exactly_one_function():
    with pytest.raises(TypeError):
        interpreter()
    with pytest.raises(TypeError):
        interpreter(jobs.add, jobs.add)


# --- partial: asyncio.to_thread's, and others ----------------------------------------------------


def test_what_to_thread_sends(shared):
    context = contextvars.copy_context()
    call = functools.partial(context.run, interpreter(jobs.where))
    assert run(shared, call)[0] != 0
    call = functools.partial(context.run, interpreter(jobs.capture), 1, "b", key=2)
    assert run(shared, call) == ((1, "b"), (("key", 2),))


def test_what_to_thread_sends_with_more_arguments_at_submit(shared):
    call = functools.partial(contextvars.copy_context().run, interpreter(jobs.capture), 1, key=2)
    assert run(shared, call, 3, other=4) == ((1, 3), (("key", 2), ("other", 4)))


def test_what_to_thread_sends_untagged(shared):
    variable = contextvars.ContextVar("variable")
    variable.set("of the caller")
    call = functools.partial(contextvars.copy_context().run, variable.get)
    assert run(shared, call) == "of the caller"


def test_partial_of_another_function_with_a_tagged_argument(shared):
    def other(function, x):
        return "other", function(x), jobs.interpreter_id()

    call = functools.partial(other, interpreter(jobs.identity), 5)
    assert run(shared, call) == ("other", 5, 0)


def test_partial_of_a_run_method_that_is_not_of_a_context(shared):
    class Lookalike:
        def run(self, function, *args):
            return "lookalike", function(*args)

    call = functools.partial(Lookalike().run, interpreter(jobs.where), 5)
    name, (ran_in, _) = run(shared, call)
    assert name == "lookalike"
    assert ran_in == 0


def test_partial_of_another_method_of_a_context(shared):
    variable = contextvars.ContextVar("variable")
    call = functools.partial(contextvars.copy_context().get, variable, interpreter(jobs.where))
    assert callable(run(shared, call))


def test_partial_of_run_with_the_tagged_function_as_a_later_argument(shared):
    call = functools.partial(
        contextvars.copy_context().run, lambda function, x: function(x)[0], interpreter(jobs.where)
    )
    assert run(shared, call, 1) == 0


def test_tagged_function_as_an_argument(shared):
    """A tag is a value like another: it can be sent, and called there."""

    def call(function, n):
        return function(n), jobs.interpreter_id()

    (there, n), ran_in = run(shared, interpreter(call), tagged_jobs.plain, 4)
    assert there == ran_in != 0
    assert n == 4


# --- the tag itself ------------------------------------------------------------------------------


def test_direct_call_is_an_ordinary_call_in_the_calling_thread():
    before = interpreters()
    assert interpreter(jobs.where)() == (0, threading.get_ident())
    assert tagged_jobs.plain(1, extra=2) == (0, 3)
    thing = object()
    assert interpreter(jobs.identity)(thing) is thing
    assert interpreters() == before


def test_direct_call_raises_what_the_function_raises():
    with pytest.raises(jobs.CustomError) as caught:
        interpreter(jobs.raise_custom)()
    assert caught.value.__cause__ is None


def test_direct_call_of_a_coroutine_function():
    async def answer():
        return 42

    assert asyncio.run(interpreter(answer)()) == 42


def test_name_doc_and_signature():
    tagged = tagged_jobs.plain
    assert tagged.__name__ == "plain"
    assert tagged.__qualname__ == "plain"
    assert tagged.__module__ == "tagged_jobs"
    assert tagged.__doc__ == "Says where it runs."
    assert str(inspect.signature(tagged)) == "(n: int, *, extra: int = 0) -> tuple[int, int]"
    assert inspect.unwrap(tagged).__name__ == "plain"
    assert inspect.unwrap(tagged) is not tagged
    assert inspect.signature(interpreter(jobs.doubled)) == inspect.signature(jobs.doubled)


def test_repr_names_the_function():
    assert "interpreter" in repr(interpreter(jobs.add))
    assert "jobs.add" in repr(interpreter(jobs.add)) or repr(jobs.add) in repr(
        interpreter(jobs.add)
    )


@pytest.mark.parametrize(
    "tagged",
    [interpreter(jobs.add), interpreter(operator.add), interpreter(functools.partial(jobs.add))],
    ids=["function", "builtin", "partial"],
)
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy]
    + [
        functools.partial(lambda protocol, tag: pickle.loads(pickle.dumps(tag, protocol)), n)
        for n in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ],
    ids=["copy", "deepcopy", *(f"pickle {n}" for n in range(2, pickle.HIGHEST_PROTOCOL + 1))],
)
def test_copies_of_a_tag_are_tags(shared, tagged, again):
    copied = again(tagged)
    assert type(copied) is type(tagged)
    assert copied(1, 2) == 3
    assert run(shared, copied, 1, 2) == 3


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_a_decorated_function(shared, protocol):
    copied = pickle.loads(pickle.dumps(tagged_jobs.plain, protocol))
    ran_in, n = run(shared, copied, 4)
    assert ran_in != 0
    assert n == 4


def test_weak_references_to_a_tag_and_to_its_function():
    def function():
        pass

    tagged = interpreter(function)
    reference, inner = weakref.ref(tagged), weakref.ref(function)
    del tagged, function
    gc.collect()
    assert reference() is None
    assert inner() is None


def test_a_function_that_refers_to_its_tag_is_collected():
    def outer():
        def function(n):
            return 1 if n <= 1 else n * tagged(n - 1)

        tagged = interpreter(function)
        assert tagged(5) == 120
        return weakref.ref(function)

    reference = outer()
    gc.collect()
    assert reference() is None


def test_tags_can_be_keys():
    tagged = interpreter(jobs.add)
    assert {tagged: 1}[tagged] == 1


def test_isinstance_callable():
    assert callable(interpreter(jobs.add))
    assert isinstance(interpreter(jobs.add), interpreter)
