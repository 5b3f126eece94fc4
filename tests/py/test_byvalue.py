"""Functions by name and by value: what is found, what arrives, what is noticed when it changes."""

import functools
import importlib.util
import json
import os.path
import random
import re
import sys
import types
from collections import OrderedDict

import jobs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interp import interpreter, script

from aiointerpreters import _byvalue, _rebuild
from aiointerpreters import interpreter as tagged


@pytest.fixture(scope="module")
def worker():
    """A real interpreter, with a function `call(payload, *args)` that answers with a repr."""
    with interpreter() as made:
        made.run("""
            from aiointerpreters import _rebuild
            def call(payload, *args):
                return repr(_rebuild.load(payload)(*args)).encode()
        """)
        yield made


def call(worker, function, *args) -> object:
    """Send `function`, call it there; what it returned, by its repr."""
    payload, _ = _byvalue.dump(function)
    answer = worker.run(f"answer = call(payload, {', '.join(map(repr, args))})", payload=payload)
    return eval(answer.decode())


def changed(dependencies) -> bool:
    """Whether a dependency differs from what is there now: what the C code asks at each submit."""
    for kind, container, key, value in dependencies:
        if kind == _byvalue.ENTRY:
            now = container.get(key, _byvalue.MISSING)
        elif kind == _byvalue.CELL:
            try:
                now = container.cell_contents
            except ValueError:
                now = _byvalue.MISSING
        elif kind == _byvalue.SIZE:
            now = len(container)
        else:
            assert kind == _byvalue.ATTRIBUTE
            now = getattr(container, key)
        if now is not value:
            return True
    return False


# --- by name -------------------------------------------------------------------------------------


class Base:
    @classmethod
    def make(cls):
        return cls

    def method(self):
        return self


class Derived(Base):
    pass


def plain():
    return 1


plain_too = plain


@functools.wraps(plain)
def hides_plain():
    return 2


@tagged
def tagged_function():
    return 3


@jobs.doubling
@jobs.doubling
def decorated_twice():
    return 4


@functools.lru_cache
def cached():
    return 5


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (json.dumps, ("json", "dumps")),
        (os.path.join, ("posixpath", "join")),
        (len, ("builtins", "len")),
        (int, ("builtins", "int")),
        (dict.fromkeys, ("builtins", "dict.fromkeys")),
        (OrderedDict, ("collections", "OrderedDict")),
        (random.randint, ("random", "randint")),
        (random.random, ("random", "random")),
        (jobs.Point, ("jobs", "Point")),
        (jobs.Point.total, ("jobs", "Point.total")),
        (jobs.Point.of_class, ("jobs", "Point.of_class")),
        (jobs.Point.of_nothing, ("jobs", "Point.of_nothing")),
        (jobs.doubled, ("jobs", "doubled")),
        (jobs.cached, ("jobs", "cached")),
        (jobs.cached.__wrapped__, ("jobs", "cached.__wrapped__")),
        (jobs.doubled.__wrapped__, ("jobs", "doubled.__wrapped__")),
        (Derived.make, (__name__, "Derived.make")),
        (Base.make, (__name__, "Base.make")),
        (Base.method, (__name__, "Base.method")),
        (tagged_function, (__name__, "tagged_function")),
        (tagged_function.fn, (__name__, "tagged_function")),
        (tagged(json.dumps), ("json", "dumps")),
        (
            decorated_twice.__wrapped__.__wrapped__,
            (__name__, "decorated_twice.__wrapped__.__wrapped__"),
        ),
    ],
)
def test_importable(obj, expected):
    assert _byvalue.importable(obj) == expected
    bare = obj.fn if isinstance(obj, tagged) else obj
    assert _rebuild.find_function(*expected) == bare


def nested():
    def inner():
        return 1

    class Inner:
        def method(self):
            return self

    return inner, Inner, Inner.method


@pytest.mark.parametrize(
    "obj",
    [
        lambda: 1,
        *nested(),
        Base().method,
        functools.partial(plain),
        re.compile("x"),
        [].append,
        hides_plain,  # its name leads to another function
        script("def f(): return 1")["f"],
        script("class C: pass")["C"],
        3,
        None,
    ],
    ids=repr,
)
def test_not_importable(obj):
    assert _byvalue.importable(obj) is None


def test_module_made_at_run_time_is_not_importable():
    module = types.ModuleType("made_at_run_time")
    exec("def f(): return 1", vars(module))
    sys.modules[module.__name__] = module
    try:
        assert _byvalue.importable(module.f) is None
    finally:
        del sys.modules[module.__name__]


def test_module_loaded_under_another_name_is_not_importable(tmp_path):
    file = tmp_path / "some_file.py"
    file.write_text("def f(): return 1\n")
    spec = importlib.util.spec_from_file_location("name_of_no_file", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["name_of_no_file"] = module
    try:
        spec.loader.exec_module(module)
        assert _byvalue.importable(module.f) is None
        function = _rebuild.load(_byvalue.dump(module.f)[0])
        assert function is not module.f
        assert function() == 1
    finally:
        del sys.modules["name_of_no_file"]


def test_module_that_hides_another_is_not_importable(tmp_path):
    # The worker would import the real one.
    module = types.ModuleType("json")
    exec("def hidden(): return 1", vars(module))
    module.__spec__ = importlib.util.spec_from_file_location("json", tmp_path / "json.py")
    real, sys.modules["json"] = sys.modules["json"], module
    try:
        assert _byvalue.importable(module.hidden) is None
    finally:
        sys.modules["json"] = real


def test_module_with_an_attribute_that_raises():
    module = types.ModuleType("raising")

    class Raising:
        @property
        def f(self):
            raise RuntimeError

    def f():
        return 1

    f.__module__, f.__qualname__ = "jobs", "Point.no.such.thing"
    assert _byvalue.importable(f) is None
    module.thing = Raising()
    assert _byvalue.importable(module.thing) is None


def test_a_name_that_the_worker_lacks():
    with pytest.raises(AttributeError, match="no_such_function") as caught:
        _rebuild.find_function("jobs", "no_such_function")
    assert "jobs.no_such_function was found by the caller" in caught.value.__notes__[0]
    with pytest.raises(ModuleNotFoundError):
        _rebuild.find_function("no_such_module_at_all", "f")


# --- by value, light -----------------------------------------------------------------------------

LIGHT_SCRIPT = """
import json
import os.path
import xml.dom.minidom
from random import randint

LIMIT = 5
TABLE = {"a": [1, 2.5], "b": (True, None, b"x", 1j)}
SHARED = []
SAME = [SHARED, SHARED]
counter = 0

def helper(x): return x + LIMIT
def uses_helper(x): return helper(x) * 2
def constants(): return LIMIT, TABLE, [type(v) for v in TABLE["b"]].__len__()
def aliasing(): return SAME[0] is SAME[1], SAME[0] is SHARED
def modules(): return json.dumps([1]), os.path.join("a", "b")
def submodule(): return xml.dom.minidom.Document.__name__
def imported(): return randint(3, 3)
def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def many(a, /, b=2, *args, c, d=[4], **kwargs): return a, b, args, c, d, kwargs
def call_many(): return many(1), many.__kwdefaults__
many.__kwdefaults__["c"] = 3
def named(): return helper.__name__, helper.__qualname__, helper.__module__, documented.__doc__
def documented():
    "It has a docstring."
def attributes(): return helper.mark, helper.other()
helper.mark = {"k": 1}
helper.other = documented
def count():
    global counter
    counter += 1
    return bump(), counter
def bump():
    global counter
    counter += 10
    return counter
def class_inside(x):
    class Local:
        limit = LIMIT
        def get(self): return helper(x)
    return Local().get(), Local.limit, Local.__module__, Local.__qualname__
def comprehension(): return [helper(i) for i in range(3)], {k: LIMIT for k in "ab"}
def imports_inside():
    from collections import OrderedDict
    import base64 as b
    return OrderedDict(a=1) == {"a": 1}, b.b64encode(b"x")
def generator(): return list(generate(3))
def generate(n):
    for i in range(n): yield helper(i)
async def coroutine(): return LIMIT
def run_coroutine():
    try: coroutine().send(None)
    except StopIteration as stop: return stop.value
def scope(): return __name__, sorted(n for n in globals() if n == "counter" or n == "LIMIT")
def global_lambda(): return (lambda x: x + LIMIT)(1), square(4)
square = lambda x: x ** 2
naïve = 3
def unicode_name(): return naïve
def wide(a0=0):
    x = 0
    for i in (1,): x = x if a0 else LIMIT
    return x
def annotated(a: int, b: "str" = "") -> None: return a, b
def walrus(): return (y := LIMIT) + y
def match(value):
    match value:
        case {"k": v}: return v, LIMIT
        case _: return None
def catch():
    try: raise KeyError(LIMIT)
    except KeyError as e: return e.args
def closure(n):
    def inner(x):
        def innermost(): return n + x + LIMIT
        return innermost()
    return inner
adder = closure(100)
def self_reference():
    def fact(n): return 1 if n < 2 else n * fact(n - 1)
    return fact
factorial = self_reference()
def cells_shared():
    value = [0]
    def put(x): nonlocal value; value = [x]
    def get(): return value
    def both(x): put(x); return get()
    return both
both = cells_shared()
def empty():
    def f():
        try: return later
        except NameError as e: return str(e)
    if False: later = 1
    return f
empty_cell = empty()
def decorate(f):
    import functools
    @functools.wraps(f)
    def wrapper(*args): return ("wrapped", f(*args), wrapper.__wrapped__.__name__)
    return wrapper
@decorate
def decorated(x): return helper(x)
"""


@pytest.fixture(scope="module")
def main():
    return script(LIGHT_SCRIPT)


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("uses_helper", (1,), 12),
        ("constants", (), (5, {"a": [1, 2.5], "b": (True, None, b"x", 1j)}, 4)),
        ("aliasing", (), (True, True)),
        ("modules", (), ("[1]", os.path.join("a", "b"))),
        ("submodule", (), "Document"),
        ("imported", (), 3),
        ("even", (10,), True),
        ("fib", (10,), 55),
        ("call_many", (), ((1, 2, (), 3, [4], {}), {"d": [4], "c": 3})),
        ("named", (), ("helper", "helper", "__main__", "It has a docstring.")),
        ("attributes", (), ({"k": 1}, None)),
        ("count", (), (11, 11)),
        ("class_inside", (1,), (6, 5, "__main__", "class_inside.<locals>.Local")),
        ("comprehension", (), ([5, 6, 7], {"a": 5, "b": 5})),
        ("imports_inside", (), (True, b"eA==")),
        ("generator", (), [5, 6, 7]),
        ("run_coroutine", (), 5),
        ("scope", (), ("__main__", [])),
        ("global_lambda", (), (6, 16)),
        ("square", (3,), 9),
        ("unicode_name", (), 3),
        ("wide", (), 5),
        ("annotated", (1,), (1, "")),
        ("walrus", (), 10),
        ("match", ({"k": 1},), (1, 5)),
        ("catch", (), (5,)),
        ("adder", (1,), 106),
        ("factorial", (5,), 120),
        ("both", (7,), [7]),
        ("decorated", (1,), ("wrapped", 6, "decorated")),
    ],
)
def test_light(worker, main, name, args, expected):
    assert _byvalue.dump(main[name])[0][:1] == _rebuild.LIGHT
    assert call(worker, main[name], *args) == expected


def test_empty_cell_stays_empty(worker, main):
    assert "later" in call(worker, main["empty_cell"])


def test_light_needs_no_import(main):
    with interpreter() as fresh:
        answer = fresh.run(
            """
            import sys
            before = set(sys.modules)
            from aiointerpreters import _rebuild
            _rebuild.load(payload)(1)
            answer = repr(sorted(set(sys.modules) - before)).encode()
            """,
            payload=_byvalue.dump(main["uses_helper"])[0],
        )
    assert set(eval(answer)) <= {"aiointerpreters", "aiointerpreters._rebuild", "marshal"}


def test_more_than_256_names(worker):
    names = [f"name_{i}" for i in range(600)]
    source = "\n".join(f"{name} = {i}" for i, name in enumerate(names))
    source += f"\ndef total(): return {' + '.join(names)}\n"
    function = script(source)["total"]
    assert call(worker, function) == sum(range(600))


def test_only_names_that_are_read_are_taken():
    namespace = script("""
        import threading
        lock = threading.Lock()
        class attr: pass
        def f(obj): return obj.lock, obj.attr
        def g(): lock = 1; return lock
    """)
    for name in "fg":
        payload, dependencies = _byvalue.dump(namespace[name])
        assert payload[:1] == _rebuild.LIGHT
        assert not [key for kind, _, key, _ in dependencies if key in ("lock", "attr")]


def test_missing_name_stays_missing(worker):
    function = script("def f():\n try: return missing\n except NameError as e: return str(e)")["f"]
    assert call(worker, function) == "name 'missing' is not defined"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytearray(b'x')", "bytearray"),
        ("memoryview(b'x')", "memoryview"),
        ("__import__('array').array('i', [1])", "array"),
        ("True", "bool"),
        ("__import__('jobs').Number(3)", "Number"),
        ("__import__('jobs').Text('t')", "Text"),
        ("__import__('jobs').Pair((1, 2))", "Pair"),
        ("[__import__('jobs').Bytes(b'b')]", "list"),
        ("__import__('collections').OrderedDict(a=1)", "OrderedDict"),
        ("frozenset({1, 2})", "frozenset"),
        ("__import__('decimal').Decimal(3)", "Decimal"),
        ("__import__('re').compile('x')", "Pattern"),
        ("...", "ellipsis"),
        ("int", "type"),
        ("list[int]", "GenericAlias"),
        ("NotImplemented", "NotImplementedType"),
        ("float('nan')", "float"),
        ("slice(1, 2)", "slice"),
    ],
)
def test_types_are_kept(worker, value, expected):
    namespace = script(f"value = {value}\ndef f(): return type(value).__name__, repr(value)")
    name, text = call(worker, namespace["f"])
    assert name == expected
    if expected != "memoryview":
        assert text == repr(namespace["value"])
    assert _byvalue.dump(namespace["f"])[0][:1] == _rebuild.LIGHT


def test_self_containing_list(worker):
    namespace = script("value = [1]\nvalue.append(value)\ndef f(): return value[1] is value")
    assert call(worker, namespace["f"]) is True


def test_deep_nesting_takes_cloudpickle_or_fails_clearly():
    namespace = script("value = ()\nfor _ in range(100_000): value = (value,)\ndef f(): value")
    with pytest.raises(Exception, match="recursion"):
        _byvalue.dump(namespace["f"])


def test_tags_are_taken_off(worker):
    namespace = script(
        "@tag\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)\n"
        "def g(n): return f(n)\n"
        "def h(n): return f.fn is not f, f(n)\n",
        tag=tagged,
    )
    for name in "fg":
        payload, _ = _byvalue.dump(namespace[name])
        assert payload[:1] == _rebuild.LIGHT
        assert call(worker, namespace[name], 10) == 55
    assert call(worker, namespace["h"], 10) == (True, 55)


def test_annotations_do_not_make_a_worker_import(worker):
    namespace = script("""
        import fractions, threading
        lock = threading.Lock()
        def f(x: fractions.Fraction, y: lock = None) -> "whatever": return x
    """)
    payload, dependencies = _byvalue.dump(namespace["f"])
    assert payload[:1] == _rebuild.LIGHT
    assert not [key for _, _, key, _ in dependencies if key in ("fractions", "lock")]
    answer = worker.run(
        """
        import sys
        from aiointerpreters import _rebuild
        f = _rebuild.load(payload)
        loaded = ["fractions" in sys.modules]
        try:
            loaded.append(list(f.__annotations__))
        except NameError as error:
            loaded.append(error.name)
        loaded.append("fractions" in sys.modules)
        answer = repr(loaded).encode()
        """,
        payload=payload,
    )
    there = "lock" if sys.version_info >= (3, 14) else ["x", "return"]
    assert eval(answer) == [False, there, True]


def test_functions_of_one_dump_share_their_globals():
    namespace = script("def f(): return g\ndef g(): return f")
    f = _rebuild.load(_byvalue.dump(namespace["f"])[0])
    assert f().__globals__ is f.__globals__
    assert f()() is f
    assert f.__globals__ is not namespace
    assert f.__globals__["__builtins__"] is sys.modules["builtins"]


def test_globals_of_an_importable_module_that_are_no_constants(worker, tmp_path, monkeypatch):
    # A worker has such a module's own locks and caches; functions without a name use them too.
    (tmp_path / "has_globals.py").write_text(
        "import threading\n"
        "LOCK = threading.Lock()\n"
        "SEEN = []\n"
        "LIMIT = 1\n"
        "def remember(x): SEEN.append(x)\n"
        "def make():\n"
        "    def inner(x):\n"
        "        with LOCK:\n"
        "            remember(x)\n"
        "            return SEEN, LIMIT, Class is Class()\n"
        "    class Local: pass\n"
        "    def with_class(x): return isinstance(Local(), Local), inner(x)\n"
        "    global Class\n"
        "    class Class:\n"
        "        def __new__(cls): return SEEN and Class\n"
        "    return inner, with_class\n"
        "inner, with_class = make()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import has_globals

    has_globals.LIMIT = 2
    has_globals.SEEN.append("not there")
    worker.run("sys.path.insert(0, path)", path=str(tmp_path))
    try:
        assert _byvalue.dump(has_globals.inner)[0][:1] == _rebuild.LIGHT
        assert call(worker, has_globals.inner, 1) == ([1], 2, True)
        assert call(worker, has_globals.inner, 2) == ([1, 2], 2, True)
        assert _byvalue.dump(has_globals.with_class)[0][:1] == _rebuild.CLOUD
        assert call(worker, has_globals.with_class, 3) == (True, ([1, 2, 3], 2, True))
        # What only says that it is of that module has globals of its own.
        copied = types.FunctionType(has_globals.inner.__code__, dict(vars(has_globals)))
        with pytest.raises(TypeError, match=r"_thread\.lock"):
            _byvalue.dump(copied)
    finally:
        worker.run("sys.path.remove(path)", path=str(tmp_path))


CACHED_SCRIPT = """
import functools
@functools.cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def user(n): return fib(n), fib.cache_info().maxsize, fib.mark
fib.mark = 7
@functools.lru_cache(maxsize=3, typed=True)
def typed(x): return type(x).__name__
class C: pass
@functools.lru_cache(maxsize=4)
def with_class(x): return isinstance(C(), C) and with_class(x - 1) if x else 0
"""


@pytest.mark.parametrize(
    ("name", "argument", "expected", "form"),
    [
        ("fib", 60, 1548008755920, _rebuild.LIGHT),
        ("user", 60, (1548008755920, None, 7), _rebuild.LIGHT),
        ("typed", 1.5, "float", _rebuild.LIGHT),
        ("with_class", 3, 0, _rebuild.CLOUD),
    ],
)
def test_cached_functions(worker, name, argument, expected, form):
    function = script(CACHED_SCRIPT)[name]
    payload, dependencies = _byvalue.dump(function)
    assert payload[:1] == form
    assert not changed(dependencies)
    assert call(worker, function, argument) == expected
    if name != "user":
        loaded = _rebuild.load(payload)
        assert loaded.cache_parameters() == function.cache_parameters()
        assert loaded.cache_info().currsize == 0


# --- by value, through cloudpickle ---------------------------------------------------------------

CLOUD_SCRIPT = """
import enum, dataclasses
class Point:
    made = 0
    def __init__(self, x): self.x = x
    def double(self): return Point(self.x * 2)
class Child(Point):
    def double(self): return super().double().x + 1
class Color(enum.Enum):
    RED = 1
@dataclasses.dataclass
class Data:
    x: int
    y: list = dataclasses.field(default_factory=list)
def point(x): return Point(x).double().x
def child(x): return Child(x).double()
def color(): return Color.RED.value, Color(1) is Color.RED
def data(): return Data(1) == Data(1, [])
TABLE = {"point": point}
def table(x): return TABLE["point"](x)
"""


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("point", (2,), 4),
        ("child", (2,), 5),
        ("color", (), (1, True)),
        ("data", (), True),
        ("table", (2,), 4),
    ],
)
def test_cloud(worker, name, args, expected):
    function = script(CLOUD_SCRIPT)[name]
    assert _byvalue.dump(function)[0][:1] == _rebuild.CLOUD
    assert call(worker, function, *args) == expected


@pytest.mark.parametrize(
    ("obj", "args", "expected"),
    [
        (jobs.Point(1, 2).total, (3,), 6),
        (functools.partial(jobs.add, 5), (1,), 6),
        (functools.partial(lambda x, y: x + y, 5), (1,), 6),
        (jobs.Callable(5), (), None),
        (jobs.first_item, ([3],), 3),
    ],
    ids=str,
)
def test_callables_with_state_are_dumped_anew_each_time(worker, obj, args, expected):
    payload, dependencies = _byvalue.dump(obj)
    assert dependencies is None
    assert payload[:1] == _rebuild.CLOUD
    if expected is not None:
        assert call(worker, obj, *args) == expected


def test_what_cannot_be_sent():
    namespace = script("""
        import threading
        lock = threading.Lock()
        def f(): return lock
        def g(x=lock): return x
        def h():
            own = threading.Lock()
            return lambda: own
        h = h()
    """)
    for name in "fgh":
        with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
            _byvalue.dump(namespace[name])


# --- dependencies --------------------------------------------------------------------------------

CHANGES = """
import json
LIMIT = 5
def leaf(): return LIMIT
def root(a=1, *, k=2): return leaf(), len("x"), not_yet, json
def outer():
    cell = 1
    later = None
    del later
    def get(): return cell, later
    def put(x): nonlocal cell; cell = x
    def fill(): nonlocal later; later = 1
    return get, put, fill
get, put, fill = outer()
def user(): return get()
class Base:
    def method(self): return LIMIT
class Class(Base):
    @property
    def value(self): return OTHER
    @staticmethod
    def static(): return leaf()
OTHER = 1
def uses_class(): return Class().method()
instance = Class()
def uses_instance(): return instance.method()
"""


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("root", "LIMIT = 6"),
        ("root", "LIMIT = 5.0"),
        ("root", "del LIMIT"),
        ("root", "not_yet = 1"),
        ("root", "len = 1"),
        ("root", "json = 1"),
        ("root", "def leaf(): return 1"),
        ("root", "root.__defaults__ = (2,)"),
        ("root", "root.__kwdefaults__ = {'k': 3}"),
        ("root", "leaf.__code__ = (lambda: 1).__code__"),
        ("leaf", "LIMIT = 6"),
        ("get", "put(2)"),
        ("get", "fill()"),
        ("user", "put(2)"),
        ("user", "fill()"),
        ("uses_class", "LIMIT = 6"),
        ("uses_class", "OTHER = 2"),
        ("uses_class", "leaf.__defaults__ = (1,)"),
        ("uses_class", "class Class: pass"),
        ("uses_instance", "LIMIT = 6"),
        ("uses_instance", "instance = Class()"),
    ],
)
def test_change_is_noticed(name, change):
    namespace = script(CHANGES)
    _, dependencies = _byvalue.dump(namespace[name])
    assert not changed(dependencies)
    exec(change, namespace)
    assert changed(dependencies)


@pytest.mark.parametrize("change", ["OTHER = 2", "LIMIT = LIMIT", "user = 1", "leaf.mark = 1"])
def test_other_changes_are_not(change):
    namespace = script(CHANGES)
    _, dependencies = _byvalue.dump(namespace["leaf"])
    exec(change, namespace)
    assert not changed(dependencies)


def test_each_dependency_is_there_once():
    namespace = script(
        "def f(): return g(), LIMIT, len\ndef g(): return f(), LIMIT, len\nLIMIT = 1"
    )
    _, dependencies = _byvalue.dump(namespace["f"])
    places = [(id(container), key) for _, container, key, _ in dependencies]
    assert len(places) == len(set(places)) == 4 + 2 * 3


def test_changed_attribute_is_noticed():
    namespace = script("def f(): return f.mark\nf.mark = 1")
    _, dependencies = _byvalue.dump(namespace["f"])
    namespace["f"].mark = 2
    assert changed(dependencies)


def test_what_the_c_code_keeps_on_functions_stays():
    namespace = script("def f(): return 1")
    vars(namespace["f"])["__aiointerpreters_definition__"] = object()
    payload, dependencies = _byvalue.dump(namespace["f"])
    assert payload[:1] == _rebuild.LIGHT
    assert vars(_rebuild.load(payload)) == {}
    del vars(namespace["f"])["__aiointerpreters_definition__"]
    assert not changed(dependencies)


def test_importable_functions_are_not_followed():
    namespace = script("import json\nfrom json import dumps\ndef f(): return dumps, json.loads")
    _, dependencies = _byvalue.dump(namespace["f"])
    assert {key for kind, _, key, _ in dependencies if kind == _byvalue.ENTRY} == {"json", "dumps"}
    assert sum(kind == _byvalue.ATTRIBUTE for kind, *_ in dependencies) == 3


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports (PEP 810)")
def test_lazy_import(worker, tmp_path, monkeypatch):
    for name in ("xml", "xml.sax", "xml.sax.saxutils", "filecmp"):
        monkeypatch.delitem(sys.modules, name, raising=False)  # or it would be bound at once
    (tmp_path / "lazily.py").write_text(
        "lazy import xml.sax.saxutils\nlazy from filecmp import clear_cache\n"
        "def f(): return xml.sax.saxutils.escape('<'), clear_cache()\n"
    )
    spec = importlib.util.spec_from_file_location("__main__", tmp_path / "lazily.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert type(vars(module)["clear_cache"]).__name__ == "lazy_import"
    assert _byvalue.dump(module.f)[0][:1] == _rebuild.LIGHT
    assert call(worker, module.f) == ("&lt;", None)


# --- any literals, any graph of functions --------------------------------------------------------

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
)
hashables = st.recursive(
    atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
literals = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=10,
)


def shape(value):
    """The value with all its types, in a form that tells 1 from True and 0.0 from -0.0."""
    if isinstance(value, dict):
        return dict, [(shape(k), shape(v)) for k, v in value.items()]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, map(shape, value)))
    if isinstance(value, list | tuple):
        return type(value), [shape(item) for item in value]
    return type(value), repr(value)


@settings(max_examples=200, deadline=None)
@given(literals, literals, literals, literals)
def test_any_literals(of_global, of_cell, default, keyword_default):
    namespace = script(
        "def make(cell):\n"
        " def f(a=default, *, b=keyword_default): return VALUE, cell, a, b\n"
        " return f\n",
        VALUE=of_global,
        default=default,
        keyword_default=keyword_default,
    )
    function = namespace["make"](of_cell)
    payload, dependencies = _byvalue.dump(function)
    assert payload[:1] == _rebuild.LIGHT
    assert shape(_rebuild.load(payload)()) == shape(function())
    assert not changed(dependencies)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5)), min_size=6, max_size=6), st.data())
def test_any_graph_of_functions(edges, data):
    """Functions that call each other at random, some tagged, some through cells."""
    lines = []
    for i, callees in enumerate(edges):
        sum_of = " + ".join(f"f{j}(depth - 1)" for j in sorted(callees)) or "0"
        lines += [f"def f{i}(depth): return 1 if depth == 0 else {i} + {sum_of}"]
        if data.draw(st.booleans()):
            lines += [f"f{i} = tag(f{i})"]
        elif data.draw(st.booleans()):
            lines += [
                "def hold(g):\n def held(depth): return g(depth)\n return held",
                f"f{i} = hold(f{i})",
            ]
    namespace = script("\n".join(lines), tag=tagged)
    for i in range(6):
        payload, _ = _byvalue.dump(namespace[f"f{i}"])
        assert payload[:1] == _rebuild.LIGHT
        assert _rebuild.load(payload)(2) == namespace[f"f{i}"](2)
