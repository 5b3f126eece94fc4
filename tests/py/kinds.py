"""Classes whose objects the tests send: kept out of `jobs`, which is to be quick to import."""

import collections
import dataclasses
import enum
import pickle


class Color(enum.IntEnum):
    RED = 1


class Flags(enum.IntFlag):
    ONE = 1
    TWO = 2


class Word(enum.StrEnum):
    YES = "yes"


Named = collections.namedtuple("Named", "x y")


@dataclasses.dataclass
class Record:
    name: str
    parts: list


class OutOfBand:
    """Gives its memory to pickle as a buffer of protocol 5 (PEP 574)."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return OutOfBand, (pickle.PickleBuffer(self.data),)

    def total(self):
        return sum(memoryview(self.data).cast("B"))
