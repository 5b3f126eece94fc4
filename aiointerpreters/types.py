"""Types for annotations."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sys

    if sys.version_info >= (3, 14):
        from concurrent.interpreters import Queue
    else:
        from typing import Never as Queue

__all__ = ("Shareable",)

if TYPE_CHECKING:
    type Shareable = (
        str | bytes | int | float | bool | None | tuple[Shareable, ...] | Queue | memoryview
    )
    """Values that cross between interpreters without pickle.

    Python 3.13 has no `concurrent.interpreters.Queue`; `Shareable` lacks it there.
    """
else:
    # The value of the alias is made when someone asks for it.
    type Shareable = (
        str | bytes | int | float | bool | None | tuple[Shareable, ...] | _queue() | memoryview
    )


def _queue() -> object:
    import sys

    if sys.version_info >= (3, 14):
        from concurrent.interpreters import Queue

        return Queue
    from typing import Never

    return Never


def __getattr__(name: str) -> object:
    if name == "Queue":
        return _queue()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
