"""Handles in calls that run in this interpreter: their values take their place."""

import functools

from aiointerpreters._core import broadcast

_SEQUENCES = (tuple, list, set, frozenset)


def replaced(function, args: tuple, kwargs: dict | None) -> tuple:
    """Put values in the place of handles: in the arguments, and in those of a `functools.partial`.

    Exact tuples, lists, dicts and sets that hold a handle, at whatever depth, are copied; one that
    is met twice, or inside itself, is one object in the copy too. All else stays the very object.

    Returns:
        The function, args and kwargs to call.
    """
    call = [function, args, kwargs]
    if type(function) is functools.partial:
        call += [function.args, function.keywords]
    holders = _holders(call)
    copies: dict[int, object] = {}
    _, args, kwargs, *partial = (_copy(part, holders, copies) for part in call)
    if partial and (partial[0] is not function.args or partial[1] is not function.keywords):
        function = functools.partial(function.func, *partial[0], **partial[1])
    return function, args, kwargs


def _items(container) -> list:
    if type(container) is dict:
        return [*container, *container.values()]
    return list(container) if type(container) in _SEQUENCES else []


def _holders(root: list) -> set[int]:
    """The addresses of containers, and of handles, that lead to a handle."""
    around: dict[int, list[int]] = {}  # an object's address to those of what holds it
    handles = []
    pending = [(root, 0)]
    while pending:
        value, parent = pending.pop()
        known = around.get(id(value))
        if known is not None:
            known.append(parent)
        elif type(value) is broadcast:
            around[id(value)] = [parent]
            handles.append(id(value))
            if value._holds_handles:
                pending.append((value.value, id(value)))
        elif type(value) in _SEQUENCES or type(value) is dict:
            around[id(value)] = [parent]
            pending.extend((item, id(value)) for item in _items(value))
    holders = set()
    while handles:
        address = handles.pop()
        if address not in holders:
            holders.add(address)
            handles.extend(around.get(address, ()))
    return holders


def _copy(value, holders: set[int], copies: dict[int, object]):
    kind = type(value)
    if kind is broadcast:
        return _copy(value.value, holders, copies) if value._holds_handles else value.value
    if id(value) not in holders or not (kind in _SEQUENCES or kind is dict):
        return value
    if id(value) in copies:
        return copies[id(value)]
    if kind is list:
        copy = copies[id(value)] = []
        copy.extend(_copy(item, holders, copies) for item in value)
        return copy
    if kind is dict:
        copy = copies[id(value)] = {}
        for key, item in value.items():
            copy[_copy(key, holders, copies)] = _copy(item, holders, copies)
        return copy
    items = [_copy(item, holders, copies) for item in value]
    # A tuple that is inside itself has been made meanwhile, by the list in between.
    return copies.setdefault(id(value), kind(items))
