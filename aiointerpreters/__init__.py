"""A drop-in ThreadPoolExecutor in which tagged functions run in parallel, in interpreters.

    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    with InterpreterThreadPoolExecutor() as executor:
        executor.map(interpreter(cpu_bound), arguments)  # in parallel
        executor.map(io_bound, arguments)                # in ordinary threads

Names are imported when they are first asked for: a module with a tagged function is imported in
every worker's interpreter, and the tag alone needs neither `concurrent.futures` nor `asyncio`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aiointerpreters._awaiting import run
    from aiointerpreters._core import Interrupted, broadcast, interpreter
    from aiointerpreters._errors import (
        DeadlockError,
        InterpreterError,
        RemoteTraceback,
        RunnerError,
        SendError,
    )
    from aiointerpreters._stats import Stats, Times
    from aiointerpreters.executors.interpthread import InterpreterThreadPoolExecutor
    from aiointerpreters.runner import Runner
    from aiointerpreters.types import Shareable

__all__ = (
    "DeadlockError",
    "InterpreterError",
    "InterpreterThreadPoolExecutor",
    "Interrupted",
    "RemoteTraceback",
    "Runner",
    "RunnerError",
    "SendError",
    "Shareable",
    "Stats",
    "Times",
    "broadcast",
    "interpreter",
    "run",
)

_PLACES = {
    "DeadlockError": "aiointerpreters._errors",
    "InterpreterError": "aiointerpreters._errors",
    "InterpreterThreadPoolExecutor": "aiointerpreters.executors.interpthread",
    "Interrupted": "aiointerpreters._core",
    "RemoteTraceback": "aiointerpreters._errors",
    "Runner": "aiointerpreters.runner",
    "RunnerError": "aiointerpreters._errors",
    "SendError": "aiointerpreters._errors",
    "Shareable": "aiointerpreters.types",
    "Stats": "aiointerpreters._stats",
    "Times": "aiointerpreters._stats",
    "broadcast": "aiointerpreters._core",
    "interpreter": "aiointerpreters._core",
    "run": "aiointerpreters._awaiting",
}


def __getattr__(name: str) -> object:
    import sys

    try:
        place = _PLACES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    __import__(place)
    value = globals()[name] = getattr(sys.modules[place], name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
