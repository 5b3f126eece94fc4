"""Options of interpreter(f, ...): kept by all that is made of a tag, checked when given."""

import contextvars
import copy
import functools
import inspect
import pickle

import jobs
import pytest
import tagged_jobs
from harness import TIMEOUT

from aiointerpreters import interpreter

VARIABLES = [tagged_jobs.request_id, tagged_jobs.tenant]


def with_options(**options):
    return interpreter(jobs.add, **options)


@pytest.fixture
def tagged():
    return with_options(context_vars=VARIABLES)


def test_decorator_with_options(shared):
    assert tagged_jobs.sees_request == interpreter(
        tagged_jobs.sees_request.fn, context_vars=[tagged_jobs.request_id]
    )
    assert type(tagged_jobs.sees_request) is interpreter
    assert shared.submit(tagged_jobs.sees_request, 4).result(TIMEOUT)[3:] == (4,)
    assert tagged_jobs.sees_request(4) == (0, None, "nobody", 4)


def test_decorator_is_usable_again_and_again():
    decorator = interpreter(context_vars=VARIABLES)
    assert decorator(jobs.add) == decorator(jobs.add) == with_options(context_vars=VARIABLES)
    assert decorator(jobs.add) != decorator(jobs.where)
    with pytest.raises(TypeError, match="marks a callable"):
        decorator(3)


def test_signature_and_name_are_the_functions(tagged):
    assert tagged.__name__ == "add"
    assert inspect.signature(tagged) == inspect.signature(jobs.add)


def test_repr_says_the_options(tagged):
    assert repr(tagged).startswith(f"interpreter({jobs.add!r}, context_vars=(<ContextVar name='req")


def test_equal_means_equal_options(tagged):
    plain = with_options()
    assert tagged == with_options(context_vars=iter(VARIABLES))
    assert hash(tagged) == hash(with_options(context_vars=VARIABLES))
    assert tagged != plain
    assert plain != tagged
    assert tagged != with_options(context_vars=VARIABLES[:1])
    assert with_options(context_vars=[]) == plain == with_options()


def test_tagging_again_adds_options_and_replaces_those_given(tagged):
    assert interpreter(tagged) is tagged
    assert interpreter(with_options(), context_vars=VARIABLES) == tagged
    again = interpreter(tagged, context_vars=VARIABLES[:1])
    assert again == with_options(context_vars=VARIABLES[:1])
    assert again.fn is jobs.add
    assert interpreter(tagged, context_vars=()) == with_options()


def test_binding_keeps_options():
    handler = tagged_jobs.Handler()
    bound = handler.method
    assert bound == interpreter(bound.fn, context_vars=[tagged_jobs.tenant, tagged_jobs.request_id])
    assert bound != interpreter(bound.fn)
    assert "context_vars=" in repr(tagged_jobs.Handler.method)
    assert "context_vars=" in repr(tagged_jobs.Handler().static)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tag: functools.partial(tag, 1),
        lambda tag: functools.partial(functools.partial(tag, 1), 2),
        lambda tag: staticmethod(tag),
        lambda tag: classmethod(tag),
        lambda tag: classmethod(tag).__get__(None, int),
        lambda tag: functools.partial(staticmethod(tag), 1),
    ],
    ids=["partial", "partials", "static", "class", "bound", "partial of static"],
)
def test_a_tag_around_what_holds_a_tag_keeps_its_options(wrap, tagged):
    outer = interpreter(wrap(tagged))
    plain = interpreter(wrap(with_options()))
    assert repr(outer).endswith(repr(tagged)[len(repr(jobs.add)) + len("interpreter(") :])
    assert "context_vars" not in repr(plain)


@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        *(
            functools.partial(lambda protocol, tag: pickle.loads(pickle.dumps(tag, protocol)), n)
            for n in range(2, pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
    ids=["copy", "deepcopy", *(f"pickle {n}" for n in range(2, pickle.HIGHEST_PROTOCOL + 1))],
)
def test_copies_have_the_options(again, tagged):
    assert again(tagged) == tagged
    assert again(tagged_jobs.sees_request) is tagged_jobs.sees_request


def of_tag(tag):
    return jobs.interpreter_id(), repr(tag).count("context_vars"), tag


def test_sent_and_back(shared, tagged):
    ran_in, counted, back = shared.submit(interpreter(of_tag), tagged).result(TIMEOUT)
    assert ran_in != 0
    assert counted == 1
    assert back == tagged


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (3, TypeError, "context_vars must be an iterable of contextvars.ContextVar, not 'int'"),
        (None, TypeError, "context_vars must be an iterable .* not 'NoneType'"),
        ("text", TypeError, "context_vars takes contextvars.ContextVar objects, not 't'"),
        ([[]], TypeError, "context_vars"),
        (tagged_jobs.tenant, TypeError, "must be an iterable of variables, not one: <ContextVar"),
        ([contextvars.ContextVar("of nobody")], ValueError, "context_vars: .*name='of nobody'"),
    ],
    ids=["int", "None", "str", "list", "one", "without a name"],
)
def test_wrong_context_vars(value, error, text):
    with pytest.raises(error, match=text):
        with_options(context_vars=value)
    with pytest.raises(error, match=text):  # not only once it decorates something
        interpreter(context_vars=value)


def test_what_iterating_raises_is_raised():
    def broken():
        yield VARIABLES[0]
        raise jobs.CustomError("of the iterable", 1)

    with pytest.raises(jobs.CustomError):
        with_options(context_vars=broken())


def test_variable_of_a_class_has_a_name():
    assert with_options(context_vars=[tagged_jobs.Handler.variable]) != with_options()


def test_unknown_option():
    with pytest.raises(TypeError, match="unexpected keyword argument 'context_var'"):
        interpreter(jobs.add, context_var=VARIABLES)
    with pytest.raises(TypeError, match="unexpected keyword argument 'context_var'"):
        interpreter(context_var=VARIABLES)
