"""Functions and classes that the tests send to interpreters.

Importable by name, in a worker as here, and free of pytest: workers import this module.
"""

import contextvars
import functools
import operator
import os
import sys
import threading
import time

STATE = "untouched"
CALLS = []


# --- where a call runs ---------------------------------------------------------------------------


def interpreter_id() -> int:
    """The id of the interpreter that this runs in; the main one has 0."""
    import _interpreters

    current = _interpreters.get_current()
    return int(current[0] if isinstance(current, tuple) else current)


def where(*_arguments, **_keywords) -> tuple[int, int]:
    """The interpreter and the thread that this runs in, whatever it is called with."""
    return interpreter_id(), threading.get_ident()


def module_file() -> str:
    return __file__


def sys_path() -> list[str]:
    return list(sys.path)


def loaded(name: str) -> bool:
    """Whether a module of that name has been imported where this runs."""
    return name in sys.modules


CONTEXT = contextvars.ContextVar("CONTEXT", default="default")


def get_context(*_arguments) -> str:
    """What a context variable has where this runs."""
    return CONTEXT.get()


# --- values --------------------------------------------------------------------------------------


def identity(value):
    return value


def add(a, b=0):
    return a + b


def capture(*args, **kwargs):
    """The positional arguments, and the keyword arguments as sorted pairs."""
    return args, tuple(sorted(kwargs.items()))


def describe(value):
    """The type's name and the representation of `value`, seen where this runs."""
    return type(value).__name__, repr(value)


def same(first, second) -> bool:
    return first is second


def contains_itself(value) -> bool:
    return value[0] is value


def depth(value) -> int:
    """How many tuples of one are nested in each other."""
    levels = 0
    while isinstance(value, tuple) and value:
        value = value[0]
        levels += 1
    return levels


def nest(levels: int) -> tuple:
    value = ()
    for _ in range(levels):
        value = (value,)
    return value


def recurse(levels: int) -> int:
    return 0 if levels == 0 else 1 + recurse(levels - 1)


def cycle() -> list:
    value = []
    value.append(value)
    return value


class Text(str):
    pass


class Number(int):
    pass


class Pair(tuple):
    pass


class Bytes(bytes):
    pass


class Real(float):
    pass


class Point:
    """An ordinary object: sent by pickle."""

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __eq__(self, other):
        return type(other) is Point and (self.x, self.y) == (other.x, other.y)

    def __hash__(self):
        return hash((self.x, self.y))

    def total(self, extra=0):
        return self.x + self.y + extra

    @classmethod
    def of_class(cls, x):
        return cls(x, x)

    @staticmethod
    def of_nothing(x):
        return x * 3


def move(point, dx):
    point.x += dx
    return point


class Callable:
    """An object with __call__."""

    def __init__(self, base):
        self.base = base

    def __call__(self, *args):
        return self.base, args, interpreter_id()


class Unpicklable:
    """An object that refuses to be sent."""

    def __reduce__(self):
        raise TypeError("this object stays where it is")


class Unloadable:
    """An object that can be sent and fails on arrival."""

    def __init__(self, loading=False):
        if loading:
            raise RuntimeError("this object does not arrive")

    def __reduce__(self):
        return Unloadable, (True,)


def make_unpicklable():
    return Unpicklable()


def make_unloadable():
    return Unloadable()


def make_nested_unpicklable():
    return (1, (2, Unpicklable()))


# --- decorated functions -------------------------------------------------------------------------


def doubling(function):
    """A decorator with functools.wraps: the name leads to the wrapper."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs) * 2

    return wrapper


@doubling
def doubled(n):
    return n + 1


@functools.lru_cache
def cached(n):
    CALLS.append(n)
    return n, len(CALLS)


first_item = operator.itemgetter(0)
add_five = functools.partial(add, 5)


# --- errors --------------------------------------------------------------------------------------


class CustomError(Exception):
    """Takes two arguments, and carries attributes."""

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code
        self.text = text


class ForgetfulError(Exception):
    """Cannot be built again out of its `args`."""

    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class HoldingError(Exception):
    """Holds what cannot be sent."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def raise_value_error(text="no good"):
    raise ValueError(text)


def raise_custom():
    error = CustomError(7, "seven")
    error.extra = {"more": [1, 2]}
    error.add_note("first note")
    error.add_note("second note")
    raise error


def raise_forgetful():
    raise ForgetfulError("one", "two")


def raise_holding():
    raise HoldingError("with a lock")


def raise_from_cause():
    try:
        {}["missing"]
    except KeyError as error:
        raise RuntimeError("the outer one") from error


def raise_in_context():
    try:
        {}["missing"]
    except KeyError:
        raise RuntimeError("the outer one")  # noqa: B904


def raise_group():
    raise ExceptionGroup("several", [ValueError("v"), TypeError("t")])


def raise_os_error():
    open("/nonexistent/file")  # noqa: SIM115


def raise_local():
    class LocalError(Exception):
        pass

    raise LocalError("of a class without a name to import")


def raise_this(error):
    raise error


def raise_fresh(*_arguments):
    """Raise an error that no frame has a name for."""
    raise CustomError(1, "text")


def return_error():
    return ValueError("returned")


def exit_with(code):
    sys.exit(code)


def interrupt():
    raise KeyboardInterrupt("by the task")


def stop_iteration():
    raise StopIteration("ended")


def generator_exit():
    raise GeneratorExit("closed")


def cancelled():
    from concurrent.futures import CancelledError

    raise CancelledError("by the task")


def time_out():
    raise TimeoutError("by the task")


def recurse_forever():
    return recurse_forever()


def is_closed(view) -> bool:
    """Whether a memoryview was released."""
    try:
        len(view)
    except ValueError:
        return True
    return False


def odd_only(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(number)
    return number


# --- races: gates that work across interpreters --------------------------------------------------


def pass_gate(started: int, opened: int, value=None):
    """Write a byte to `started`, wait for one from `opened`; file descriptors of `Gate`."""
    os.write(started, b"S")
    os.read(opened, 1)
    os.write(started, b"E")
    return value if value is not None else interpreter_id()


def pass_gate_with(started: int, opened: int, *values):
    """As pass_gate, for any number of values; they come back."""
    return pass_gate(started, opened, values)


def pass_gate_and_raise(started: int, opened: int):
    os.write(started, b"S")
    os.read(opened, 1)
    raise ValueError("after the gate")


def read_byte(descriptor: int) -> bytes:
    return os.read(descriptor, 1)


def write_line(descriptor: int, text: str) -> None:
    os.write(descriptor, f"{text}\n".encode())


def flag_up_and_await(view, mine: int, other: int, seconds: float) -> bool:
    """Set flag `mine` in shared memory, wait for flag `other`; whether it came in time."""
    view[mine] = 1
    deadline = time.monotonic() + seconds
    while not view[other]:
        if time.monotonic() > deadline:
            return False
    return True


# --- memory --------------------------------------------------------------------------------------

KEPT = []


def fill(view, byte):
    """Write `byte` all over the view's memory."""
    for index in range(len(view)):
        view[index] = byte
    return len(view)


def fill_bytes(view, byte):
    view.cast("B")[:] = bytes([byte]) * view.nbytes
    return view.nbytes


def slice_of(view, start, stop):
    return view[start:stop]


def keep(view):
    """Hold the view beyond the task."""
    KEPT.append(view)
    return len(KEPT)


def kept_bytes(index=-1):
    return bytes(KEPT[index])


def drop_kept():
    count = len(KEPT)
    KEPT.clear()
    return count


def own_memory(size, byte):
    """A view of memory of the interpreter that this runs in."""
    return memoryview(bytearray([byte]) * size)


def view_facts(view):
    return (
        view.format,
        view.itemsize,
        view.ndim,
        view.shape,
        view.strides,
        view.readonly,
        view.nbytes,
        view.tobytes(),
        view.c_contiguous,
    )


def released_view():
    view = memoryview(bytearray(b"gone"))
    view.release()
    return view


# --- initializers --------------------------------------------------------------------------------


def set_state(value):
    global STATE
    STATE = value


def get_state():
    return STATE


def report_start(descriptor: int):
    """An initializer that says where it ran: one line of interpreter and thread."""
    write_line(descriptor, "{} {}".format(*where()))


def fail_to_start(text="error in initializer"):
    raise ValueError(text)


def create_file(path):
    """Make an empty file; FileExistsError when there is one."""
    with open(path, "x"):
        pass


def fail_in_interpreters(text="error in an interpreter"):
    """An initializer that works in threads and fails in interpreters."""
    if interpreter_id() != 0:
        raise ValueError(text)


def exit_at_start():
    sys.exit("the initializer leaves")


# --- queues --------------------------------------------------------------------------------------


def put_all(queue, items):
    for item in items:
        queue.put(item)


def get_some(queue, count):
    return tuple(queue.get(timeout=30) for _ in range(count))


def queue_facts(queue):
    return type(queue).__name__, queue.id


# --- stats and dump ------------------------------------------------------------------------------


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def call(function, *args):
    return function(*args)


def call_deep(levels: int, function, *args):
    return call_deep(levels - 1, function, *args) if levels else function(*args)


def spin_until_readable(started: int, opened: int) -> None:
    """As pass_gate, but in Python code all the time."""
    os.write(started, b"S")
    os.set_blocking(opened, False)
    while True:
        try:
            os.read(opened, 1)
        except BlockingIOError:
            continue
        break


def pass_gate_in_a_thread(*args) -> None:
    thread = threading.Thread(target=pass_gate, args=args)
    thread.start()
    thread.join()


def leave_a_thread(*args) -> None:
    """One that goes on when the task is over."""
    threading.Thread(target=pass_gate, args=args).start()


def partial_of(function):
    return functools.partial(function)


class Gateway:
    """A callable object, sent by value with the call."""

    def __call__(self, *args):
        return pass_gate(*args)
