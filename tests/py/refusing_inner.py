"""The near end: tracemalloc imports _tracemalloc, which refuses interpreters."""

import tracemalloc


def call():
    return tracemalloc.is_tracing()
