"""The far end of a chain of imports that leads to a module which refuses interpreters."""

import refusing_inner


def call():
    return refusing_inner.call()
