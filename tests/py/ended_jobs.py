"""What tests/py/test_ended_interpreters.py has done in workers."""

import contextvars
import sys

variable = contextvars.ContextVar("variable", default="nothing")


def see():
    return variable.get()


def import_all(names):
    for name in names:
        __import__(name)
    return len(names)


def filter_here(how):
    import re
    import warnings

    class OwnWarning(Warning):
        pass

    if how == "registry":
        warnings.onceregistry[OwnWarning("text")] = 1
    elif how == "replaced":
        warnings.filters = list(warnings.filters)
        warnings.filterwarnings("ignore", message="another.*")
    elif how == "catch_warnings":
        global never_left
        warnings.simplefilter("once", OwnWarning)
        never_left = warnings.catch_warnings(record=True)
        never_left.__enter__()
        warnings.filterwarnings("ignore", message="another.*")
    else:
        import _warnings

        warnings.filterwarnings("ignore", message="another.*")
        _warnings.filters.append(re.compile("what is no filter"))
        for name in ("warnings", "_warnings"):
            del sys.modules[name]


def collect_here(how):
    import gc

    class Own:
        def __call__(self, *_):
            pass

    if how == "frozen":
        gc.freeze()
    elif how == "callbacks":
        gc.callbacks.append(Own())
    elif how == "garbage":
        gc.garbage.append(Own())
    else:
        gc.set_debug(gc.DEBUG_SAVEALL)


def raise_a_cycle():
    error = ValueError("text")
    error.itself = [error]
    raise error
