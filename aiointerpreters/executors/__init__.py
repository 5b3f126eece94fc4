"""Executors of this package, imported when they are first asked for."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiointerpreters._core import interpreter
    from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor

__all__ = ("InterpreterThreadPoolExecutor", "interpreter")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import aiointerpreters

    value = globals()[name] = getattr(aiointerpreters, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
