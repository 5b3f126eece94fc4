"""A module that counts how often its functions are looked up."""

LOOKUPS = []


def _counted(a, b=0):
    return a + b


_counted.__name__ = _counted.__qualname__ = "counted"


def __getattr__(name):
    if name == "counted":
        LOOKUPS.append(name)
        return _counted
    raise AttributeError(name)


def lookups():
    return len(LOOKUPS)
