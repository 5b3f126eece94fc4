"""Tagged functions below other things, for test_tag_found."""

import functools

import jobs

from aiointerpreters import interpreter


def where(n, key=0):
    return jobs.interpreter_id()


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def logged_async(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        return await function(*args, **kwargs)

    return wrapper


@interpreter
def tagged(n, key=0):
    return jobs.interpreter_id()


@logged
@interpreter
def decorated(n, key=0):
    return jobs.interpreter_id()


@logged
@logged
@interpreter
@logged
def decorated_twice(n, key=0):
    return jobs.interpreter_id()


@interpreter
async def coroutine(n):
    return n


@interpreter
async def items(n):
    for i in range(n):
        yield i


def spin():
    while True:
        pass


class Work:
    @logged
    @interpreter
    def decorated_method(self, n, key=0):
        return jobs.interpreter_id()

    @classmethod
    @interpreter
    def of_class(cls, n, key=0):
        assert cls is Work
        return jobs.interpreter_id()

    @interpreter
    def method(self, key, n):
        return jobs.interpreter_id()

    partial_method = functools.partialmethod(method, 5)


def what_submit_says():
    from aiointerpreters import InterpreterThreadPoolExecutor

    with InterpreterThreadPoolExecutor(1) as executor:
        try:
            executor.submit(int)
        except RuntimeError as error:
            return str(error)
