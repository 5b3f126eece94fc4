"""What crosses between interpreters arrives as it was: type, value, and which parts are one."""

import array
import collections
import datetime
import decimal
import fractions
import math
import pathlib
import struct
import uuid

import jobs
import kinds
import pytest
from harness import TIMEOUT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiointerpreters.executors import interpreter


def identical(a, b) -> bool:
    """Whether two values are the same in type and to the last bit, tuples item by item."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    return a == b


def send(executor, function, /, *args, **kwargs):
    return executor.submit(interpreter(function), *args, **kwargs).result(TIMEOUT)


# A surrogate is a character of a str like any other: it must neither fail nor change.
characters = st.characters(exclude_categories=())
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**64), max_value=2**64),
    st.integers(min_value=-(2**400), max_value=2**400),
    st.floats(),
    st.text(),
    st.text(characters),
    st.binary(),
)
shareables = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=6).map(tuple), max_leaves=30
)
pickled = st.recursive(
    scalars.filter(lambda value: value == value),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.frozensets(st.integers(), max_size=4),
        st.sets(st.text(max_size=3), max_size=4),
    ),
    max_leaves=20,
)
lenient = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300
)


@lenient
@given(value=shareables)
def test_shareable_values_come_back_identical(shared, value):
    assert identical(send(shared, jobs.identity, value), value)


@lenient
@given(value=shareables)
def test_shareable_values_arrive_identical(shared, value):
    """Both directions could be wrong alike: so compare what the worker sees."""
    assert send(shared, jobs.describe, value) == jobs.describe(value)


@lenient
@given(values=st.lists(shareables, max_size=8), names=st.dictionaries(st.text(), shareables))
def test_arguments_and_keywords(shared, values, names):
    args, pairs = send(shared, jobs.capture, *values, **names)
    assert identical(args, tuple(values))
    assert identical(pairs, tuple(sorted(names.items(), key=lambda pair: pair[0])))


@lenient
@given(value=pickled)
def test_other_values_come_back_equal(shared, value):
    result = send(shared, jobs.identity, value)
    assert type(result) is type(value)
    assert result == value


@lenient
@given(value=st.complex_numbers(allow_nan=False))
def test_complex_numbers(shared, value):
    assert repr(send(shared, jobs.identity, value)) == repr(value)


# --- numbers -------------------------------------------------------------------------------------

EDGES = [0, 1, -1]
for bits in (7, 8, 15, 16, 30, 31, 32, 60, 62, 63, 64, 65, 127, 128, 1000):
    EDGES += [sign * (2**bits + off) for sign in (1, -1) for off in (-1, 0, 1)]


def test_integers_at_the_edges_of_machine_words(shared):
    assert identical(send(shared, jobs.identity, tuple(EDGES)), tuple(EDGES))
    assert send(shared, jobs.describe, tuple(EDGES)) == ("tuple", repr(tuple(EDGES)))


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_of_ten_thousand_digits(shared, sign):
    value = sign * (10**10_000 - 7)
    assert send(shared, jobs.identity, value) == value
    assert send(shared, jobs.add, value, 7 * sign) == sign * 10**10_000


def test_integers_of_a_million_digits(shared):
    value = 3 << 3_300_000
    assert send(shared, jobs.identity, value) == value


@pytest.mark.parametrize(
    "value",
    [0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan, 5e-324, 1.7976931348623157e308, 0.1],
    ids=repr,
)
def test_floats(shared, value):
    assert identical(send(shared, jobs.identity, value), value)
    assert identical(send(shared, jobs.identity, (value, (value,))), (value, (value,)))


def test_nan_keeps_its_payload(shared):
    value = struct.unpack("d", struct.pack("Q", 0x7FF8_0000_DEAD_BEEF))[0]
    assert identical(send(shared, jobs.identity, value), value)


def test_bool_against_int(shared):
    values = (True, False, 1, 0, 1.0, 0.0, -0.0)
    result = send(shared, jobs.identity, values)
    assert identical(result, values)
    assert result[0] is True
    assert result[1] is False
    assert [send(shared, jobs.describe, value) for value in values] == [
        jobs.describe(value) for value in values
    ]


# --- text and bytes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "\0",
        "a\0b",
        "\x7f\x80\xff",
        "ÿĀ",
        "\uffff\U00010000\U0010ffff",
        "naïve ☃ 🎉",
        "\ud800",
        "\udfff",  # noqa: PT014
        "a\udc80b",
        "\ud83c\udf89",
        "\ud800\U0001f389",
        "e\u0301",
        "\ufeffbom",
    ],
    ids=ascii,
)
def test_text(shared, text):
    assert identical(send(shared, jobs.identity, text), text)
    assert send(shared, jobs.describe, text) == ("str", repr(text))
    assert send(shared, len, text) == len(text)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 255, 256, 65535, 65536, 10_000_000])
@pytest.mark.parametrize("unit", ["a", "é", "☃", "🎉", "\udc80"], ids=ascii)
def test_text_of_any_size(shared, unit, size):
    text = unit * size
    assert send(shared, len, text) == size
    assert send(shared, jobs.identity, text) == text


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 255, 256, 65535, 65536, 10_000_000])
def test_bytes_of_any_size(shared, size):
    value = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    assert identical(send(shared, jobs.identity, value), value)


def test_text_as_keyword_names(shared):
    names = {"": 1, "a b": 2, "é": 3, "🎉": 4, "class": 5, "\udc80": 6}
    assert dict(send(shared, jobs.capture, **names)[1]) == names


# --- tuples --------------------------------------------------------------------------------------


def test_empty_everything(shared):
    values = ((), "", b"", 0, 0.0, None, False, ((),), ((), ((), ())))
    assert identical(send(shared, jobs.identity, values), values)
    others = [[], {}, set(), frozenset(), bytearray(), range(0), ""]
    assert send(shared, jobs.identity, others) == others


def test_hundred_levels_of_tuples(shared):
    assert send(shared, jobs.depth, jobs.nest(100)) == 100
    assert identical(send(shared, jobs.nest, 100), jobs.nest(100))
    assert identical(send(shared, jobs.identity, jobs.nest(100)), jobs.nest(100))


def assert_about_depth(error):
    text = f"{type(error).__name__}: {error}".lower()
    assert "recursion" in text or "deep" in text or "nest" in text


@pytest.mark.parametrize("levels", [1000, 10_000, 200_000])
@pytest.mark.parametrize("direction", ["argument", "result"])
def test_many_levels_of_tuples_are_right_or_an_error(shared, levels, direction):
    if direction == "argument":
        future = shared.submit(interpreter(jobs.depth), jobs.nest(levels))
    else:
        future = shared.submit(interpreter(jobs.nest), levels)
    try:
        result = future.result(TIMEOUT)
    except Exception as error:
        assert_about_depth(error)
    else:
        assert (result if direction == "argument" else jobs.depth(result)) == levels
    assert send(shared, jobs.add, 1, 1) == 2


@pytest.mark.parametrize("levels", [1000, 100_000])
def test_many_levels_of_lists_are_right_or_an_error(shared, levels):
    value = []
    for _ in range(levels):
        value = [value]
    try:
        result = send(shared, jobs.identity, value)
    except Exception as error:
        assert_about_depth(error)
    else:
        for _ in range(levels):
            (result,) = result
        assert result == []
    assert send(shared, jobs.add, 1, 1) == 2


def test_wide_tuples(shared):
    value = tuple(range(200_000))
    assert send(shared, jobs.identity, value) == value
    value = tuple((n, str(n), float(n)) for n in range(20_000))
    assert send(shared, jobs.identity, value) == value


def test_deep_recursion_in_the_worker(shared):
    """A worker has the stack for the recursion that the default limit allows."""
    assert send(shared, jobs.recurse, 900) == 900
    error = shared.submit(interpreter(jobs.recurse_forever)).exception(TIMEOUT)
    assert isinstance(error, RecursionError)
    assert send(shared, jobs.add, 1, 1) == 2


# --- subclasses keep their type ------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        jobs.Text("text"),
        jobs.Number(5),
        jobs.Number(2**100),
        jobs.Pair((1, 2)),
        jobs.Bytes(b"bytes"),
        jobs.Real(1.5),
        jobs.Text(""),
        jobs.Number(0),
        jobs.Pair(),
        jobs.Bytes(b""),
    ],
    ids=lambda value: f"{type(value).__name__}({value!r})",
)
def test_subclasses(shared, value):
    result = send(shared, jobs.identity, value)
    assert type(result) is type(value)
    assert result == value
    assert send(shared, jobs.describe, value) == (type(value).__name__, repr(value))
    nested = send(shared, jobs.identity, (1, (value, "x")))
    assert type(nested[1][0]) is type(value)


def test_subclass_with_attributes(shared):
    value = jobs.Text("text")
    value.extra = (1, 2)
    assert send(shared, jobs.identity, value).extra == (1, 2)


def test_enums_and_named_tuples(shared):
    for value in (
        kinds.Color.RED,
        kinds.Flags.ONE | kinds.Flags.TWO,
        kinds.Word.YES,
        kinds.Named(1, (2, 3)),
    ):
        result = send(shared, jobs.identity, value)
        assert type(result) is type(value)
        assert result == value


# --- anything else, by pickle --------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        [1, [2, [3]]],
        {"a": {"b": (1, [2])}, 3: None},
        {1, 2},
        frozenset({(1,), (2,)}),
        [bytearray(b"abc")],
        1 + 2j,
        range(5, 1, -2),
        slice(1, 2),
        ...,
        NotImplemented,
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        decimal.Decimal("1.10"),
        fractions.Fraction(1, 3),
        uuid.UUID(int=5),
        pathlib.PurePosixPath("/a/b"),
        [array.array("d", [1.0, 2.0])],
        collections.OrderedDict(a=1),
        collections.deque([1, 2], maxlen=5),
        collections.Counter("aab"),
        jobs.Point(1, 2),
        int,
        len,
        jobs.add,
        jobs.Point,
    ],
    ids=repr,
)
def test_objects(shared, value):
    result = send(shared, jobs.identity, value)
    assert type(result) is type(value)
    assert result == value


def test_data_class(shared):
    record = kinds.Record("name", [1, 2])
    assert send(shared, jobs.identity, record) == record


def test_what_the_worker_changes_stays_there(shared):
    point = jobs.Point(1, 2)
    assert send(shared, jobs.move, point, 10) == jobs.Point(11, 2)
    assert point == jobs.Point(1, 2)


def test_errors_as_values(shared):
    error = send(shared, jobs.return_error)
    assert type(error) is ValueError
    assert error.args == ("returned",)


@pytest.mark.parametrize("size", [0, 1, 1000, 1_000_000])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_buffers_of_pickle_protocol_5(shared, kind, size):
    value = kinds.OutOfBand(kind(b"\x01" * size))
    assert send(shared, kinds.OutOfBand.total, value) == size
    result = send(shared, jobs.identity, value)
    assert result.total() == size


def test_buffer_of_pickle_protocol_5_in_a_result(shared):
    view = memoryview(send(shared, kinds.OutOfBand, bytearray(b"\x02" * 1000)).data)
    assert view.tobytes() == b"\x02" * 1000


# --- which parts are one -------------------------------------------------------------------------


def test_list_that_contains_itself(shared):
    assert send(shared, jobs.contains_itself, jobs.cycle())
    result = send(shared, jobs.cycle)
    assert result[0] is result


def test_cycle_through_a_tuple(shared):
    value = ([],)
    value[0].append(value)
    result = send(shared, jobs.identity, value)
    assert result[0][0] is result


def test_one_object_in_two_arguments(shared):
    value = [1, 2]
    assert send(shared, jobs.same, value, value)
    assert send(shared, jobs.same, first=value, second=value)
    assert send(shared, jobs.same, value, second=value)
    assert not send(shared, jobs.same, value, [1, 2])


def test_one_object_twice_in_a_result(shared):
    first, second = send(shared, jobs.identity, (value := [1], value))
    assert first is second
    first, (second, third) = send(shared, lambda: ((value := [1]), (value, [1])))
    assert first is second
    assert first is not third


def test_one_object_inside_another(shared):
    point = jobs.Point(1, 2)
    first, holder = send(shared, jobs.identity, (point, [point]))
    assert holder[0] is first
