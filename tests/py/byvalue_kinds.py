"""A main script for test_byvalue_kinds.py: kinds of things of __main__, here and in a task.

Each function whose name begins with `check_` gives the same in a task as here.
"""

# ruff: noqa: PIE796, PT018, UP046

import abc
import contextvars
import dataclasses
import enum
import functools
import inspect
import sys
import threading
import typing
import weakref
from typing import TYPE_CHECKING

from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

if TYPE_CHECKING:
    from nowhere import Nothing
import fractions

type Pair = tuple[int, int]
type Tree[T] = T | list[Tree[T]]
type Json = dict[str, Json] | list[Json] | int
type Unknown = NoSuchName  # noqa: F821
UserId = typing.NewType("UserId", int)
PS = typing.ParamSpec("PS")
TT = typing.TypeVarTuple("TT")
Bounded = typing.TypeVar("Bounded", bound="Base")
Constrained = typing.TypeVar("Constrained", int, str)
Defaulted = typing.TypeVar("Defaulted", default=int)
MISSING = object()
LOCK = threading.Lock()
if sys.version_info >= (3, 15):
    SENTINEL = sentinel("SENTINEL")  # noqa: F821
    SHOWN = sentinel("SHOWN", repr="<shown>")  # noqa: F821


class Holder:
    NONE = object()


class Base(abc.ABC):
    @abc.abstractmethod
    def run(self): ...


class Impl(Base):
    def run(self):
        return 1


@Base.register
class Virtual:
    pass


class Box[T: Base = Impl]:
    x: T

    def __init__(self, value):
        self.value = value

    def get[U](self, y: T, z: U) -> Pair:
        return self.value


class Recursive[T: Recursive]:
    pass


class Meta(type):
    made = []

    def __new__(cls, name, bases, namespace, *, key):
        cls.made.append(name)
        return super().__new__(cls, name, bases, {**namespace, "key": key})

    def __init__(cls, name, bases, namespace, *, key):
        super().__init__(name, bases, namespace)

    def __setattr__(cls, name, value):
        raise AttributeError("it is complete")

    @property
    def shout(cls):
        return cls.__name__.upper()


class WithMeta(metaclass=Meta, key=3):
    pass


class Descriptor:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        return self if instance is None else self.name


class Plugin:
    by_name = {}
    weak_set = weakref.WeakSet()
    weak_values = weakref.WeakValueDictionary()
    weak_keys = weakref.WeakKeyDictionary()
    references = []
    described = Descriptor()

    def __init_subclass__(cls, /, name):
        cls.name = name
        Plugin.by_name[name] = cls
        Plugin.weak_set.add(cls)
        Plugin.weak_values[name] = cls
        Plugin.weak_keys[cls] = name
        Plugin.references.append(weakref.ref(cls))


class PluginA(Plugin, name="a"):
    pass


class Slots:
    __slots__ = ("__private", "__weakref__", "public")

    def __init__(self):
        self.__private = 3

    def get(self):
        return self.__private


class OneSlot:
    __slots__ = "only"


@dataclasses.dataclass(slots=True, frozen=True)
class Data:
    x: int
    y: list = dataclasses.field(default_factory=list)
    z: Pair = (1, 2)


@dataclasses.dataclass(kw_only=True)
class Keywords(Virtual):
    a: int
    b: "UserId" = 3
    c: "list[Keywords] | None" = None


@functools.total_ordering
class Ordered:
    def __init__(self, x):
        self.x = x

    def __lt__(self, other):
        return self.x < other.x

    def __eq__(self, other):
        return self.x == other.x


class Color(enum.Enum):
    RED = 1
    BLUE = 2
    CRIMSON = 1

    def lower(self):
        return self.name.lower()


class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


class Text(enum.StrEnum):
    A = enum.auto()


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Initialised(enum.Enum):
    A = (1, 2)
    B = (3, 4)

    def __init__(self, first, second):
        self.second = second


class Made(enum.Enum):
    A = ("label", 1)

    def __new__(cls, label, code):
        made = object.__new__(cls)
        made._value_ = code
        made.label = label
        return made


class Named(typing.NamedTuple):
    a: int
    b: Pair = (1, 2)

    def first(self):
        return self.a


class Typed(typing.TypedDict, total=False):
    a: int
    b: typing.Required[str]


@typing.runtime_checkable
class Runs(typing.Protocol):
    def run(self) -> int: ...


class Failure(Exception):
    def __init__(self, code, *, text):
        super().__init__(f"{code} {text}")
        self.code = code


class Outer:
    class Inner:
        def around(self):
            return Outer, Outer.Inner


class Methods:
    @functools.singledispatchmethod
    def kind(self, x):
        return "object"

    @kind.register
    def _(self, x: int):
        return "int"

    @functools.cached_property
    def once(self):
        return 42

    @functools.lru_cache  # noqa: B019
    def cached(self):
        return 43

    def two(self, a, b):
        return a, b

    partial = functools.partialmethod(two, 1)

    @property
    def value(self):
        return 7

    @classmethod
    def of_class(cls):
        return cls

    @staticmethod
    def of_nothing():
        return MISSING


@functools.singledispatch
def show(x):
    return "object"


@show.register
def _(x: int):
    return "int, " + show("")


@show.register(Base)
def _of_base(x):
    return "base"


class OfTuple(typing.Generic[*TT]):
    pass


class OfBounded(typing.Generic[Bounded]):
    pass


class OfParameters(typing.Generic[PS]):
    pass


class Parent:
    def child(self):
        return Child()


class Child(Parent):
    def parent(self):
        return Parent()


VARIABLE = contextvars.ContextVar("VARIABLE", default=MISSING)


def annotated(p: Keywords, q: Pair, r: UserId, s: fractions.Fraction, t: "list[Data]") -> Box[Impl]:
    return p


def for_checkers_only(p: "Data") -> "Nothing":
    return 1


def with_lock(p: LOCK, x: int) -> Holder:
    return x


@functools.wraps(annotated)
def wrapper(*args):
    return annotated(*args)


def factory(kind):
    def inner(x: kind) -> kind:
        return x

    return inner


inner = factory(Keywords)


def check_alias():
    parameter = Tree.__type_params__[0]
    members = Tree.__value__.__args__
    texts = [repr(item) for item in (Pair, Pair.__value__, Json.__value__, Tree.__value__)]
    return texts, repr(Tree[int]), members[0] is parameter, Json.__value__.__args__[1] == list[Json]


def check_unknown_alias():
    try:
        return Unknown.__value__
    except NameError:
        return "a name that is not there"


def check_new_type():
    return UserId(5), UserId.__supertype__, repr(UserId), UserId.__name__, UserId.__module__


def check_variables():
    every = (PS, TT, Bounded, Constrained, Defaulted)
    assert Bounded.__bound__.__forward_arg__ == "Base"
    return (
        [(repr(item), item.__module__) for item in every],
        Constrained.__constraints__,
        Defaulted.__default__,
    )


def check_generic():
    parameter = Box.__type_params__[0]
    return (
        parameter.__bound__ is Base,
        parameter.__default__ is Impl,
        Recursive.__type_params__[0].__bound__ is Recursive,
        Box.__parameters__[0] is parameter,
        repr(Box[Impl]),
        Box(3).get(1, 2),
        [item.__name__ for item in (OfTuple, OfBounded, OfParameters)],
        repr(OfTuple[int, str]),
    )


def check_abstract():
    try:
        Base()
    except TypeError as error:
        refused = str(error)
    instances = [isinstance(made, Base) for made in (Virtual(), Impl(), 3)]
    return refused, instances, Impl().run(), isinstance(Impl(), Runs), isinstance(3, Runs)


def check_metaclass():
    return WithMeta.key, WithMeta.shout, type(WithMeta) is Meta, Meta.made


def check_plugins():
    alive = [reference() for reference in Plugin.references]
    return (
        Plugin.by_name == {"a": PluginA} == dict(Plugin.weak_values),
        list(Plugin.weak_set) == [PluginA] == alive,
        dict(Plugin.weak_keys) == {PluginA: "a"},
        PluginA.name,
        PluginA().described,
    )


def check_new_plugin():
    class PluginB(Plugin, name="b"):
        pass

    try:
        return PluginB.name, sorted(Plugin.by_name)
    finally:
        del Plugin.by_name["b"]


def check_slots():
    return [hasattr(made, "__dict__") for made in (Slots(), OneSlot())], Slots().get()


def check_dataclass():
    @dataclasses.dataclass
    class Local(Keywords):
        d: int = 3

    data = Data(1)
    defaults = [item.default is dataclasses.MISSING for item in dataclasses.fields(Data)]
    text = repr(Local(a=1))[-30:]
    return dataclasses.replace(data, x=5), dataclasses.asdict(data), defaults, text


def check_ordered():
    return Ordered(1) >= Ordered(0), sorted([Ordered(3), Ordered(2)])[0].x


def check_enums():
    return (
        [Color.RED.lower(), Color["CRIMSON"] is Color.RED, list(Color), Color(2)],
        [Rights(3) is Rights.BOTH, Rights.READ | Rights.WRITE, list(Rights)],
        [Text.A, Bits.A | Bits.B, Initialised.B.second, Made.A.label, Made(1) is Made.A],
    )


def check_named():
    return Named(1), Named(1).first(), Named._fields, Named._field_defaults


def check_typed():
    return Typed(a=1), sorted(Typed.__required_keys__), sorted(Typed.__optional_keys__)


def check_failure():
    try:
        raise Failure(1, text="t")
    except Failure as failure:
        return failure.code, str(failure)


def check_mutual_classes():
    return Outer.Inner().around() == (Outer, Outer.Inner), type(Child().parent().child()) is Child


def check_methods():
    made = Methods()
    return (
        [made.kind(1), made.kind(""), made.once, made.cached(), made.partial(2), made.value],
        Methods.of_class() is Methods,
        Methods.of_nothing() is MISSING,
    )


def check_single_dispatch():
    return show(1), show(""), show(Impl()), show(Virtual()), show.__name__


def check_missing(x=MISSING):
    return x is MISSING, VARIABLE.get() is MISSING, Holder.NONE is not MISSING


def check_hints():
    return [typing.get_type_hints(item) for item in (annotated, Data, Keywords, Named, Typed)]


def check_generic_hints():
    return typing.get_type_hints(Box), typing.get_type_hints(Box.get)


def check_signatures():
    every = (annotated, wrapper, inner, Data, Box.get)
    return [str(inspect.signature(item)) for item in every], inspect.get_annotations(annotated)


def check_annotations():
    of_inner = {"x": Keywords, "return": Keywords}
    return dict(annotated.__annotations__), inner.__annotations__ == of_inner


def check_hints_for_checkers_only():
    try:
        return typing.get_type_hints(for_checkers_only)
    except NameError as error:
        return error.name


def check_formats():
    if sys.version_info < (3, 14):
        return None
    import annotationlib

    form = annotationlib.Format.STRING
    return [annotationlib.get_annotations(item, format=form) for item in (annotated, Keywords)]


def check_annotated_with_a_lock():
    return with_lock(1, 2)


def check_source():
    return inspect.getsource(check_source), inspect.getsource(annotated)


def hints(item):
    return typing.get_type_hints(item)


def itself(value):
    return value


def is_missing(value):
    return value is MISSING


def holding(value):
    """Functions that give `value`: from a cell, a default, an attribute, and a class."""

    def of_attribute():
        return of_attribute.value

    def of_class():
        class Local:
            attribute = value

        return Local.attribute

    of_attribute.value = value
    return [lambda: value, lambda value=value: value, of_attribute, of_class]


THINGS = [
    *(Pair, Tree, Tree.__type_params__[0], Json, Unknown, UserId, PS, TT, Bounded, Constrained),
    *(Defaulted, MISSING, Holder.NONE, Base, Impl, Box, Box.__type_params__[0], Recursive),
    *(WithMeta,),
    *(Meta, Plugin, PluginA, Slots, Data, Keywords, Color, Color.RED, Rights.BOTH, Text.A, Made.A),
    *(Initialised.A, Named, Typed, Runs, Failure, Outer.Inner, Methods, OfTuple, OfBounded, Child),
]
if sys.version_info >= (3, 15):
    THINGS += [SENTINEL, SHOWN]
EQUAL = [
    *(Box[Impl], list[Pair], Tree[int], OfTuple[int, str], typing.Annotated[int, UserId]),
    *(typing.Optional["Box"], UserId | None, Named(1), Data(1), Keywords(a=1), Bits.A | Bits.B),
    *(Rights.READ | Rights.WRITE, {MISSING: 1}),
]


def main():
    with InterpreterThreadPoolExecutor(1) as executor:

        def run(function, *args):
            return executor.submit(interpreter(function), *args).result(60)

        for name, function in list(globals().items()):
            if name.startswith("check_"):
                here, there = function(), run(function)
                assert here == there, f"{name}:\n{here}\n{there}"
        for thing in THINGS:
            assert run(itself, thing) is thing, thing
            assert run(itself, [thing, {"k": thing}]) == [thing, {"k": thing}], thing
            for function in holding(thing):
                assert run(function) is thing, (thing, function)
        for thing in EQUAL:
            back = run(itself, thing)
            assert back == thing and type(back) is type(thing), thing
        assert run(is_missing, MISSING) and not run(is_missing, Holder.NONE)
        assert run(hints, annotated) == hints(annotated)
        there_and_back = run(lambda: annotated)
        assert hints(there_and_back) == hints(annotated) == run(hints, there_and_back)
        error = executor.submit(interpreter(raise_failure)).exception(60)
        assert type(error) is Failure and error.code == 2
        assert run(show, 1) == "int, object"
        show.register(str, lambda x: "str")
        assert run(show, 1) == "int, str"
    print("all right")


def raise_failure():
    raise Failure(2, text="u")


main()
