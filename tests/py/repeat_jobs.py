"""What the tests of recognised arguments send to interpreters; free of pytest."""

KEPT: list = [None, None]


class Other:
    """Has a call pickled."""

    def __eq__(self, other):
        return type(other) is Other

    __hash__ = None


class Counter:
    """Can be changed, and be in a set."""

    def __init__(self, count=0):
        self.count = count


def keep(*values, **keywords) -> None:
    """Keep the arguments until the next call, so that no other object has their addresses."""
    KEPT[:] = values, keywords


def is_kept(*values, **keywords) -> list[bool]:
    """Whether each argument is the very object that is kept, positional ones first."""
    kept, kept_keywords = KEPT
    pairs = [*zip(values, kept, strict=True)]
    pairs += [(value, kept_keywords[name]) for name, value in keywords.items()]
    return [value is old for value, old in pairs]


def members_are_kept(value) -> list[bool]:
    """The same for the members of one argument, of which keep() has seen the like."""
    return [member is old for member, old in zip(value, KEPT[0][0], strict=True)]


def drop() -> None:
    KEPT[:] = None, None


def same(first, second) -> bool:
    return first is second


def first_of(value, number: int) -> tuple:
    return value[0], number


class Callable:
    """Goes with each call, pickled."""

    def __call__(self, *values):
        return keep(*values)


def contains(outer, value) -> bool:
    """Whether the last item, or the last of the last, is the very object."""
    last = outer[-1]
    return last is value or last[-1] is value


def count_of_points(value, _other) -> int:
    """What the counter in a value says, or 0."""
    return sum(item.count for item in value if isinstance(item, Counter))


def shown(*values) -> str:
    """Describe values by their contents; sets in an order of their own."""

    def show(value) -> str:
        match value:
            case list() | tuple():
                parts = [*map(show, value)]
            case dict():
                parts = [f"{show(key)}: {show(part)}" for key, part in value.items()]
            case set() | frozenset():
                parts = sorted(map(show, value))
            case Counter():
                parts = [show(value.count)]
            case memoryview():
                parts = [repr(bytes(value))]
            case _:
                parts = [repr(value)]
        return f"{type(value).__name__}({', '.join(parts)})"

    return show(values)
