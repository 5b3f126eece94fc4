"""Objects of which a copy in another interpreter is known as a copy, and comes back as the object.

That is what goes by value and is compared by identity: classes, type variables, type aliases,
`NewType`s, sentinels. An interpreter numbers those that it sends. One that receives such a number
again has the object already, and one that sent it gets its own.
"""

import _interpreters
import itertools
import sys
import weakref
from _typing import ParamSpec, TypeVar, TypeVarTuple

from aiointerpreters import _modules

_HERE = int(_interpreters.get_current()[0])  # the id of this interpreter
_counter = itertools.count(1)


class _Table:
    """Objects by key and keys by object: weakly where an object allows that, else for good."""

    def __init__(self) -> None:
        self._objects: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
        self._keys: dict[int, object] = {}  # by id; an object that dies takes its entry along
        self._held: dict[object, object] = {}

    def object(self, key):
        found = self._objects.get(key)
        return self._held.get(key) if found is None else found

    def key(self, obj):
        return self._keys.get(id(obj))

    def add(self, obj, key, with_task=None):
        """Enter `obj`, unless another thread has; the key under which it stands then."""
        first = self._keys.setdefault(id(obj), key if with_task is None else (*key, with_task))
        try:
            weakref.finalize(obj, self._keys.pop, id(obj), None).atexit = False
            self._objects[key] = obj
        except TypeError:  # knows no weak references: an alias, a sentinel
            self._held[key] = obj
        return first


_sent = _Table()  # this interpreter's own, by number
# Those of other interpreters, by the id of the interpreter and the number there. The third part of
# their keys: whether it came with a task, which is to say from the caller of this worker.
_received = _Table()


def reduce(obj, is_result: bool, maker, args: tuple, state=None, fill=None) -> tuple:
    """How `obj` is pickled.

    Args:
        obj: What is to be known again.
        is_result: Whether it goes from a worker to its caller; what came from there is then a
            mere reference.
        maker: Makes a copy of it, in an interpreter that has none.
        args: The arguments of `maker`.
        state: What `fill` completes the copy with; None: nothing.
        fill: Called with the copy and `state`.
    """
    origin, number, is_callers = _received.key(obj) or (_HERE, _number(obj), False)
    if is_result and is_callers:
        return known, (origin, number, getattr(obj, "__qualname__", None) or repr(obj))
    receiving = (origin, number, not is_result, maker, *args)
    if state is None:
        return receive, receiving
    return receive, receiving, (fill, state), None, None, fill_received


def _number(obj) -> int:
    return _sent.key(obj) or _sent.add(obj, next(_counter))


def receive(origin: int, number: int, with_task: bool, maker, *args):
    """The object of that number; a new one, which `maker` makes, if there is none yet."""
    found = _sent.object(number) if origin == _HERE else _received.object((origin, number))
    if found is None:
        found = maker(*args)
        _received.add(found, (origin, number), with_task)
        if isinstance(found, type):
            _modules.received.add(found.__module__)
    return found


def fill_received(obj, filling: tuple) -> None:
    """Complete a copy; leave alone what is this interpreter's own, and came back."""
    fill, state = filling
    if _received.key(obj) is not None:
        fill(obj, state)


def known(origin: int, number: int, name: str):
    """The object that this interpreter once sent.

    Raises:
        LookupError: It is gone.
    """
    found = _sent.object(number) if origin == _HERE else None
    if found is None:
        raise LookupError(f"{name!r} is gone from the interpreter that sent it")
    return found


def was_received(obj) -> bool:
    """Whether `obj` is a copy that came by value."""
    return _received.key(obj) is not None


# Sentinels


def reduce_object(obj, is_result: bool):
    """How a plain `object()` is pickled: one that a module sent by value holds is a sentinel."""
    if _received.key(obj) is None and _sent.key(obj) is None and not _is_sentinel(obj):
        return obj.__reduce_ex__(5)
    return reduce(obj, is_result, object, ())


def _is_sentinel(obj) -> bool:
    for name in _modules.sent_by_value():
        module = sys.modules.get(name)
        for value in list(vars(module).values()) if module is not None else ():
            if value is obj:
                return True
            if isinstance(value, type) and value.__module__ == name:
                if any(attribute is obj for attribute in list(vars(value).values())):
                    return True
    return False


def make_sentinel(name: str, module: str, text: str):
    """A `sentinel` (Python 3.15) of that module."""
    made = sys.modules["builtins"].sentinel(name, **({} if text == name else {"repr": text}))
    made.__module__ = module
    return made


# Types that are no classes


def make_new_type(name: str, qualname: str, module: str, supertype):
    """A `typing.NewType`."""
    from typing import NewType

    made = NewType(name, supertype)
    made.__qualname__, made.__module__ = qualname, module
    return made


def make_variable(kind: type, name: str, module: str, constraints: tuple, options: dict):
    """A type variable as `TypeVar(...)`, `ParamSpec(...)` and `TypeVarTuple(...)` make it."""
    made = kind(name, *constraints, **options)
    made.__module__ = module
    return made


def make_parameter(kind: type, name: str, constraints: tuple, bound, default):
    """A type variable as a type parameter list makes it (PEP 695), evaluated when asked for.

    Args:
        kind: `TypeVar`, `ParamSpec` or `TypeVarTuple`.
        name: Its name.
        constraints: Its constraints.
        bound: An `_rebuild.Evaluation`, or None.
        default: The same, of its default.
    """
    stars = {TypeVar: "", TypeVarTuple: "*", ParamSpec: "**"}[kind]
    limit = ": constraints" if constraints else ": bound()" if bound is not None else ""
    if constraints:
        limit = f": ({''.join(f'constraints[{i}], ' for i in range(len(constraints)))})"
    default_text = " = default()" if default is not None else ""
    scope = {"constraints": constraints, "bound": bound, "default": default}
    exec(f"def f[{stars}{name}{limit}{default_text}](): pass", scope)
    return scope["f"].__type_params__[0]


def make_alias(name: str, module: str, parameters: tuple, value):
    """A type alias as a `type` statement makes it, whose value is evaluated when asked for.

    Args:
        name: Its name.
        module: Its module.
        parameters: Its type parameters.
        value: An `_rebuild.Evaluation`.
    """
    # A `type` statement is the one way to an alias that is evaluated late, and may name itself. It
    # has the name as a constant, and None as the constant for no parameters.
    import dis

    code = compile("type A = value()", "<type alias>", "exec")
    named = {"co_name": name, "co_qualname": name}
    constants = tuple(
        name if item == "A" else item.replace(**named) if hasattr(item, "co_name") else item
        for item in code.co_consts
    )
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("LOAD_") and instruction.argrepr == "None":
            units = bytearray(code.co_code)
            units[instruction.offset] = dis.opmap["LOAD_CONST"]
            units[instruction.offset + 1] = len(constants)
            constants = *constants, parameters or None
            code = code.replace(co_code=bytes(units))
            break
    scope = {"__name__": module, "value": value}
    exec(code.replace(co_consts=constants), scope)
    return scope["A"]
