"""The near end: tracemalloc imports _tracemalloc, which refuses interpreters."""

import contextvars
import tracemalloc

variable = contextvars.ContextVar("variable", default="nothing")


def call():
    return tracemalloc.is_tracing()
