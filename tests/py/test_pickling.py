"""What the native encoding leaves to pickle: views, queues, and what only cloudpickle can send."""

import array
import collections
import copyreg
import decimal
import gc
import pickle
import sys
import types
import weakref

import harness
import jobs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interp import interpreter, script

from aiointerpreters import _pickling


def round_trip(value):
    data, buffers, _ = _pickling.dumps(value)
    return _pickling.loads(data, buffers)


@pytest.fixture(scope="module")
def worker():
    with interpreter() as made:
        yield made


# --- plain values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        jobs.Point(1, [2]),
        jobs.Text("text"),
        jobs.Pair((1, 2)),
        collections.OrderedDict(a=1),
        decimal.Decimal("1.5"),
        array.array("d", [1, 2]),
        bytearray(b"abc"),
        pickle.PickleBuffer(bytearray(b"abc")),
        range(3),
        ValueError("v", 1),
        "__main__",
        {"__main__": ["__mp_main__"]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_round_trip(value):
    arrived = round_trip(value)
    if type(value) is pickle.PickleBuffer:
        assert arrived == bytearray(b"abc")
    elif isinstance(value, BaseException):
        assert (type(arrived), arrived.args) == (type(value), value.args)
    else:
        assert arrived == value
        assert type(arrived) is type(value)


def test_what_is_kept():
    shared = [1]
    first, second, cycle = round_trip((shared, shared, loop := [jobs.Point(1, 2)]))
    assert first is second
    loop.append(loop)
    cycle = round_trip(loop)
    assert cycle[1] is cycle


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    )
)
def test_same_as_pickle(value):
    data, buffers, keepalive = _pickling.dumps(value)
    assert buffers == keepalive == []
    assert repr(_pickling.loads(data, ())) == repr(pickle.loads(pickle.dumps(value)))
    assert repr(_pickling.loads(memoryview(data), ())) == repr(value)


def test_registered_reducers_are_used():
    class Registered:
        pass

    copyreg.pickle(Registered, lambda obj: (str, ("reduced",)))
    try:
        assert round_trip(Registered()) == "reduced"
        # and where cloudpickle does it
        assert round_trip([Registered(), lambda: 1])[0] == "reduced"
    finally:
        del copyreg.dispatch_table[Registered]


def test_a_fresh_interpreter_does_not_import_pickle():
    with interpreter() as fresh:
        answer = fresh.run(
            """
            import sys
            from aiointerpreters import _pickling
            value = _pickling.loads(data, ())
            result, _, _ = _pickling.dumps_result([value, memoryview(b"x")])
            answer = repr([value.total(), {"pickle", "cloudpickle"} & sys.modules.keys()]).encode()
            """,
            data=_pickling.dumps(jobs.Point(1, 2))[0],
        )
    assert eval(answer) == [3, set()]


# --- views ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [None, lambda: 1], ids=["pickle", "cloudpickle"])
def test_view_is_lent(extra):
    memory = bytearray(b"abc")
    view = memoryview(memory)
    data, buffers, _ = _pickling.dumps([view, view, view[1:], extra])
    assert len(buffers) == 2
    assert buffers[0] is view
    first, second, rest, _ = _pickling.loads(data, buffers)
    assert first is second
    first[1] = ord("X")
    assert memory == b"aXc"
    assert rest.tobytes() == b"Xc"


@pytest.mark.parametrize(
    "view",
    [
        memoryview(b"read-only"),
        memoryview(bytearray(b"writable")),
        memoryview(array.array("d", [1.5, 2.5])),
        memoryview(bytearray(24)).cast("i", (2, 3)),
        memoryview(bytearray(range(10)))[::2],
        memoryview(bytearray(range(10)))[::-1],
        memoryview(b""),
        memoryview(bytearray(8)).cast("@q", ()),
    ],
    ids=lambda view: f"{view.format}{view.shape}{view.strides}",
)
def test_view_keeps_its_shape(view):
    data, buffers, _ = _pickling.dumps({"view": view})
    arrived = _pickling.loads(data, buffers)["view"]
    assert arrived == view
    for name in ("format", "shape", "strides", "readonly", "itemsize", "nbytes"):
        assert getattr(arrived, name) == getattr(view, name)


def test_view_in_band():
    for source in (b"abcdefgh", bytearray(b"abcdefgh"), memoryview(b"abcdefgh").cast("i")):
        view = memoryview(source)
        arrived = _pickling.loads(_pickling.dumps_whole([view]))[0]
        assert arrived == view
        assert (arrived.readonly, arrived.format) == (view.readonly, view.format)
        assert arrived.obj is not view.obj


def test_released_view():
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(ValueError, match="released"):
        _pickling.dumps([view])
    with pytest.raises(ValueError, match="released"):
        _pickling.dumps_whole([view])


def test_other_buffers_stay_what_they_are():
    class Memory(bytearray):
        def __reduce_ex__(self, protocol):
            return bytes, (pickle.PickleBuffer(self),)

    data, buffers, _ = _pickling.dumps([Memory(b"abc"), memoryview(b"view")])
    assert buffers == [b"view"]
    first, view = _pickling.loads(data, buffers)
    assert (type(first), first) == (bytes, b"abc")
    assert view == b"view"


# --- queues --------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 14), reason="queues came with 3.14")
@pytest.mark.parametrize("extra", [None, lambda: 1], ids=["pickle", "cloudpickle"])
def test_queue(worker, extra):
    from concurrent import interpreters

    queue = interpreters.create_queue()
    data, buffers, keepalive = _pickling.dumps([queue, queue, extra])
    assert keepalive == [queue]
    assert buffers == []
    assert _pickling.loads(data, ())[0] is queue
    worker.run(
        """
        from aiointerpreters import _pickling
        queue, same, _ = _pickling.loads(data, ())
        assert queue is same
        queue.put("from there")
        """,
        data=data,
    )
    assert queue.get(timeout=harness.TIMEOUT) == "from there"


# --- by value ------------------------------------------------------------------------------------

CLASSES = """
import dataclasses, enum, collections
class Point:
    made = 0
    def __init__(self, x):
        self.x = x
        Point.made += 1
    def __eq__(self, other): return type(self) is type(other) and self.x == other.x
    __hash__ = None
    def where(self): return MARK
MARK = "here"
class Color(enum.Enum):
    RED = 1
    BLUE = 2
@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    x: int
    y: tuple = ()
Named = collections.namedtuple("Named", "a b")
class Meta(type): pass
class WithMeta(metaclass=Meta): pass
class Error(Exception): pass
"""

ECHO = """
    from aiointerpreters import _pickling
    value = _pickling.loads(data, ())
    answer, _, _ = _pickling.{dumps}(value)
"""


@pytest.fixture(params=["dumps", "dumps_result"])
def echo(worker, request):
    """Send a value to a real interpreter and take it back from there."""

    def echo(value):
        data, _, _ = _pickling.dumps(value)
        answer = worker.run(ECHO.format(dumps=request.param), data=data)
        return _pickling.loads(answer, ())

    return echo


@pytest.mark.parametrize(
    "expression",
    [
        "Point(3)",
        "[Point(1), {'k': Point(2)}]",
        "Color.RED",
        "{Color.BLUE: 1}",
        "Data(1, (2,))",
        "Named(1, 2)",
        "Point",
        "Color",
        "WithMeta",
        "Meta",
        "(Point, Point(1), Color.RED, Data)",
    ],
)
def test_class_comes_back_as_itself(echo, expression):
    namespace = script(CLASSES)
    value = eval(expression, namespace)
    for _ in range(2):
        assert echo(value) == value


def test_class_is_not_written_over(echo):
    # cloudpickle by itself puts copies of the methods into the class when it comes back.
    namespace = script(CLASSES)
    method = namespace["Point"].where
    echo(namespace["Point"](1))
    namespace["MARK"] = "changed"
    assert namespace["Point"].where is method
    assert echo(namespace["Point"](1)).where() == "changed"
    assert namespace["Point"].made == 2


def test_class_made_in_the_worker(worker):
    for dumps in ("dumps", "dumps_result"):
        answer = worker.run(f"""
            from aiointerpreters import _pickling
            class Local:
                def get(self): return "got"
            answer, _, _ = _pickling.{dumps}([Local(), Local])
        """)
        instance, cls = _pickling.loads(answer, ())
        assert type(instance) is cls
        assert instance.get() == "got"
        # and to and fro
        data, _, _ = _pickling.dumps(instance)
        answer = worker.run(
            f"""
            from aiointerpreters import _pickling
            instance = _pickling.loads(data, ())
            assert type(instance) is Local
            answer, _, _ = _pickling.{dumps}(instance)
            """,
            data=data,
        )
        assert type(_pickling.loads(answer, ())) is cls


def test_class_passed_on_to_another_interpreter(worker):
    # A worker that has workers of its own: the class that comes all the way back is the first.
    namespace = script(CLASSES)
    value = namespace["Point"](1)
    with interpreter() as other:
        first = worker.run(ECHO.format(dumps="dumps"), data=_pickling.dumps(value)[0])
        second = other.run(ECHO.format(dumps="dumps"), data=first)
        third = worker.run(ECHO.format(dumps="dumps"), data=second)
    assert type(_pickling.loads(third, ())) is namespace["Point"]


def test_class_changed_since_it_was_sent(worker):
    namespace = script(CLASSES)
    answers = []
    for step in (1, 2):
        namespace["Point"].step = step
        answers.append(
            worker.run(
                """
                from aiointerpreters import _pickling
                answer = str(_pickling.loads(data, ()).step).encode()
                """,
                data=_pickling.dumps(namespace["Point"](1))[0],
            )
        )
    assert answers == [b"1", b"2"]


def test_class_that_is_gone():
    from aiointerpreters import _identity

    for origin in (_identity._HERE, 10**9):
        with pytest.raises(LookupError, match="'Gone' is gone from the interpreter"):
            _identity.known(origin, 10**9, "Gone")


def test_class_is_not_kept_alive(worker):
    namespace = script("class Passing: pass")
    worker.run(
        "from aiointerpreters import _pickling; _pickling.loads(data, ())",
        data=_pickling.dumps(namespace["Passing"]())[0],
    )
    reference = weakref.ref(namespace.pop("Passing"))
    gc.collect()
    assert reference() is None


def test_main_of_a_spawned_process(worker, monkeypatch):
    # multiprocessing's name for the main module of a child, which workers do not have.
    module = types.ModuleType("__mp_main__")
    exec("class Point: x = 1\ndef f(): return Point().x", vars(module))
    monkeypatch.setitem(sys.modules, "__mp_main__", module)
    answer = worker.run(
        """
        from aiointerpreters import _pickling
        point, f = _pickling.loads(data, ())
        assert f() == 1
        answer, _, _ = _pickling.dumps_result(point)
        """,
        data=_pickling.dumps([module.Point(), module.f])[0],
    )
    assert type(_pickling.loads(answer, ())) is module.Point


def test_functions_by_value():
    namespace = script("def f(): return LIMIT\nLIMIT = 3\ng = lambda: f() + 1")
    f, g = round_trip([namespace["f"], namespace["g"]])
    assert (f(), g()) == (3, 4)
    assert f.__globals__ is g.__globals__


def test_functions_by_name_stay_themselves():
    functions = [jobs.doubled, jobs.doubled.__wrapped__, jobs.cached, jobs.cached.__wrapped__, len]
    arrived = round_trip([*functions, lambda: 1])[:-1]
    assert all(a is b for a, b in zip(arrived, functions, strict=True))


def test_main_script(tmp_path):
    """Classes of a real main script, to a real interpreter and back."""
    source = """
        import sys
        sys.path.insert(0, {here!r})
        from interp import interpreter
        from aiointerpreters import _pickling

        class Point:
            def __init__(self, x): self.x = x
            def double(self): return Point(self.x * 2)

        with interpreter() as worker:
            answer = worker.run('''
                from aiointerpreters import _pickling
                point = _pickling.loads(data, ())
                assert type(point).__module__ == "__main__"
                answer, _, _ = _pickling.dumps_result([point.double(), type(point)])
            ''', data=_pickling.dumps(Point(2))[0])
        point, cls = _pickling.loads(answer, ())
        print(point.x, isinstance(point, Point), cls is Point)
    """
    done = harness.run_script(tmp_path, source.format(here=str(harness.HERE)))
    harness.assert_ok(done, "4 True True")


# --- what cannot be sent -------------------------------------------------------------------------


def test_the_most_telling_error():
    lock = __import__("threading").Lock()
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
        _pickling.dumps([lock])
    with pytest.raises(TypeError, match="this object stays where it is") as caught:
        _pickling.dumps(jobs.Unpicklable())
    assert str(caught.value.__context__) == "this object stays where it is"
    with pytest.raises(Exception, match="generator"):
        _pickling.dumps(x for x in ())


def test_without_cloudpickle(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    monkeypatch.delitem(sys.modules, "aiointerpreters._cloud", raising=False)
    import aiointerpreters

    monkeypatch.delattr(aiointerpreters, "_cloud", raising=False)
    with pytest.raises(TypeError, match=r"_thread\.lock"):
        _pickling.dumps(__import__("threading").Lock())


class Nonsense:
    def __init__(self, reduction):
        self.reduction = reduction

    def __reduce__(self):
        if isinstance(self.reduction, BaseException):
            raise self.reduction
        return self.reduction


class Endless:
    def __reduce__(self):
        return Endless, (Endless(),)


@pytest.mark.parametrize(
    "value",
    [
        Nonsense(3),
        Nonsense((1, 2, 3)),
        Nonsense((len,)),
        Nonsense("no_such_name"),
        Nonsense(KeyError("own")),
        Nonsense(RecursionError("own")),
        Endless(),
        sys._getframe(),
        sys.modules["__main__"].__dict__.get("no_such", (x for x in ())),
    ],
    ids=repr,
)
def test_bad_reductions_are_errors(value):
    with pytest.raises(Exception):  # noqa: B017, PT011 (any, as long as it is one)
        _pickling.dumps([value])


def test_deep_recursion():
    value = [jobs.Point(1, 2)]
    for _ in range(200_000):
        value = [value]
    with pytest.raises(RecursionError) as caught:
        _pickling.dumps(value)
    assert len(getattr(caught.value, "__notes__", ())) <= 10
    deep = [jobs.nest(100), jobs.Point(1, 2)]
    assert round_trip(deep) == deep
    while value:  # taken apart here, not by one deep deallocation
        value = value[0] if isinstance(value, list) else None


def test_bad_data():
    for data in (b"", b"nonsense", b"\x80\x05K"):
        with pytest.raises(Exception):  # noqa: B017, PT011
            _pickling.loads(data, ())
