"""Which modules are sent by value: another interpreter has another module of that name, or none."""

import sys

MAIN_MODULES = ("__main__", "__mp_main__")

# Modules, in this interpreter, of which something was received by value.
received: set[str] = set()


def is_sent_by_value(name: object) -> bool:
    """Whether what a module of that name defines goes by value.

    That is the main module, and what `cloudpickle.register_pickle_by_value` was given, with all
    modules below it.
    """
    if name in MAIN_MODULES:
        return True
    registered = _registered()
    return bool(registered) and isinstance(name, str) and _is_below(name, registered)


def sent_by_value() -> list[str]:
    """The names of all such modules."""
    registered = _registered()
    if not registered:
        return [*MAIN_MODULES]
    return [*MAIN_MODULES, *(name for name in tuple(sys.modules) if _is_below(name, registered))]


def _registered() -> set[str]:
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    return getattr(cloudpickle, "_PICKLE_BY_VALUE_MODULES", None) or set()


def _is_below(name: str, packages: set[str]) -> bool:
    while name:
        if name in packages:
            return True
        name = name.rpartition(".")[0]
    return False
