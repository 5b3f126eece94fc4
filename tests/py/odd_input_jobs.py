"""What test_odd_input has interpreters call."""

import sys
import threading


class OddName(str):
    """A name that no dict finds again."""

    __slots__ = ()
    hashes = 0

    def __hash__(self):
        OddName.hashes += 1
        return hash("a") + OddName.hashes

    def __eq__(self, other):
        return self is other


def names(**keywords):
    return sorted(map(str, keywords))


def walk(name):
    return getattr(sys, name)()


def walk_here(name):
    """In a worker's interpreter."""
    found = walk(name)
    return list(found) == [threading.get_ident()]
