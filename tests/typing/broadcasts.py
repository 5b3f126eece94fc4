"""Checked by mypy, never run: a handle knows the type of its value.

`type: ignore` stands where an error is wanted; mypy reports those that ignore nothing.
"""

from typing import assert_type

from aiointerpreters import InterpreterThreadPoolExecutor, broadcast

grid = ((True, False), (False, True))
handle = broadcast(grid)
assert_type(handle, broadcast[tuple[tuple[bool, bool], tuple[bool, bool]]])
assert_type(handle.value[0][1], bool)
again: broadcast[tuple[tuple[bool, bool], tuple[bool, bool]]] = broadcast(handle)
numbers: broadcast[list[int]] = broadcast([1])
handle.value = grid  # type: ignore[misc]
broadcast(value=1)  # type: ignore[call-arg]
broadcast()  # type: ignore[call-arg]
InterpreterThreadPoolExecutor(argument_cache_bytes=0)
InterpreterThreadPoolExecutor(argument_cache_bytes=None)  # type: ignore[arg-type]
