"""Functions tagged where they are defined, for the tests of `interpreter` as a decorator."""

import contextvars
import functools

import jobs

from aiointerpreters.executors import interpreter


@interpreter
def plain(n: int, *, extra: int = 0) -> tuple[int, int]:
    """Says where it runs."""
    return jobs.interpreter_id(), n + extra


@interpreter
@jobs.doubling
def tag_outside(n):
    return (jobs.interpreter_id(), n)


@jobs.doubling
@interpreter
def tag_inside(n):
    return (jobs.interpreter_id(), n)


@interpreter
@jobs.doubling
@jobs.doubling
def tag_over_two(n):
    return (jobs.interpreter_id(), n)


@interpreter
@functools.lru_cache
def over_cache(n):
    return jobs.interpreter_id(), n


@interpreter
@interpreter
def twice(n):
    return jobs.interpreter_id(), n


class Work:
    def __init__(self, base=10):
        self.base = base

    @staticmethod
    @interpreter
    def static_outside(n):
        return jobs.interpreter_id(), n

    @interpreter
    @staticmethod
    def static_inside(n):
        return jobs.interpreter_id(), n

    @classmethod
    @interpreter
    def class_outside(cls, n):
        return jobs.interpreter_id(), cls.__name__, n

    @interpreter
    @classmethod
    def class_inside(cls, n):
        return jobs.interpreter_id(), cls.__name__, n

    @interpreter
    def method(self, n):
        return jobs.interpreter_id(), self.base + n

    @interpreter
    @jobs.doubling
    def decorated_method(self, n):
        return jobs.interpreter_id(), self.base + n

    def untagged(self, n):
        return jobs.interpreter_id(), self.base + n

    class Inner:
        @staticmethod
        @interpreter
        def deep(n):
            return jobs.interpreter_id(), n


class Child(Work):
    pass


@interpreter
def factorial(n):
    """Calls itself by its tagged name: an ordinary call where it runs."""
    return 1 if n <= 1 else n * factorial(n - 1)


@interpreter
def calls_another(n):
    return (jobs.interpreter_id(), *plain(n))


request_id = contextvars.ContextVar("request_id")
tenant = contextvars.ContextVar("tenant", default="nobody")


def seen():
    """The values of the context variables here."""
    return jobs.interpreter_id(), request_id.get(None), tenant.get()


@interpreter(context_vars=[request_id])
def sees_request(*arguments):
    return (*seen(), *arguments)


class Handler:
    variable = contextvars.ContextVar("variable")

    @interpreter(context_vars=[tenant, request_id])
    def method(self, n):
        return (*seen(), n)

    @staticmethod
    @interpreter(context_vars=[tenant])
    def static(n):
        return (*seen(), n)


def find(module, name):
    """The value of the variable of that name, or None."""
    import importlib

    return getattr(importlib.import_module(module), name).get(None)
