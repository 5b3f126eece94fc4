"""Annotations of what goes by value: their code goes along, and what it mentions stays packed.

An annotation is there for those that ask. A function must not fail to arrive, nor have its worker
import a library, for the sake of a type that nothing there looks at. So each value that only
annotations mention is pickled by itself, and loaded when an annotation is evaluated. One that
cannot be sent is a name that is not there: evaluating it is a NameError, as for a name that is
imported for type checkers only.

A record says what an annotation is made of: `(code, names, cells, values)`.

- code: of the function that evaluates it (PEP 649, PEP 695), or None.
- names: pairs of a global name and the index of its value.
- cells: of that function; each an index, None if it is empty, or pairs as in names for
  the namespace of a class.
- values: where there is no code, pairs of a parameter or attribute and the index of its annotation.
"""

from aiointerpreters._code import names_in, names_in_texts, texts_in
from aiointerpreters._rebuild import Evaluation, FunctionType


class Deferral:
    """What annotations of one message mention, each value once."""

    def __init__(self) -> None:
        self._values: list = []  # pickled, they may mention more
        self._indexes: dict[int, int] = {}  # by id; `_values` keeps them alive

    def of_function(self, function) -> tuple | None:
        """The record of a function's annotations; None if it has none."""
        return self._of_owner(function, function.__globals__)

    def of_class(self, cls: type) -> tuple | None:
        """The record of the annotations that a class itself has; None if it has none."""
        own = vars(cls)
        if "__annotations__" not in own and "__annotate_func__" not in own:
            return None
        module = _module_namespace(cls.__module__)
        return self._of_owner(cls, module)

    def of_evaluator(self, evaluate, value) -> tuple | None:
        """The record of what the compiler has evaluated lazily, such as the value of an alias.

        Args:
            evaluate: The function that does, or None where there is none (Python 3.13).
            value: A function that returns the value, for then.
        """
        evaluate = _real(evaluate)
        if type(evaluate) is FunctionType:
            return self._of_code(evaluate)
        try:
            return None, (), None, ((None, self._refer(value())),)
        except Exception as error:
            return None, (), None, ((None, self._refer_missing(error)),)

    def pickles(self) -> tuple:
        """All values, by their indexes; for one that cannot be sent, the reason as a text."""
        from aiointerpreters import _pickling

        done = []
        while len(done) < len(self._values):
            value = self._values[len(done)]
            try:
                done.append(_pickling.dumps_deferred(value, self))
            except Exception as error:
                done.append(f"{type(error).__name__}: {error}")
        return tuple(done)

    def _of_owner(self, owner, namespace: dict) -> tuple | None:
        annotate = _real(getattr(owner, "__annotate__", None))  # PEP 649, Python 3.14
        if type(annotate) is FunctionType:
            return self._of_code(annotate)
        try:
            annotations = owner.__annotations__
        except Exception:  # an __annotate__ of somebody else's
            return None
        if not annotations:
            return None
        texts = [text for value in annotations.values() for text in texts_in(value)]
        names = self._refer_names(names_in_texts(texts), namespace)
        return None, names, None, self._refer_items(annotations)

    def _of_code(self, function) -> tuple:
        code = function.__code__
        read, mentioned = names_in(code)
        read |= names_in_texts(texts_in(code))
        cells = function.__closure__ and tuple(
            self._refer_cell(name, cell, mentioned)
            for name, cell in zip(code.co_freevars, function.__closure__, strict=True)
        )
        return code, self._refer_names(read, function.__globals__), cells, ()

    def _refer_names(self, names, namespace: dict) -> tuple:
        return self._refer_items(
            {name: namespace[name] for name in sorted(names) if name in namespace}
        )

    def _refer_items(self, items: dict) -> tuple:
        return tuple((name, self._refer(value)) for name, value in items.items())

    def _refer_cell(self, name: str, cell, mentioned) -> int | tuple | None:
        try:
            value = cell.cell_contents
        except ValueError:
            return None
        if name == "__classdict__":
            return self._refer_items({key: value[key] for key in value if key in mentioned})
        return self._refer(value)

    def _refer(self, value: object) -> int:
        index = self._indexes.get(id(value))
        if index is None:
            index = self._indexes[id(value)] = len(self._values)
            self._values.append(value)
        return index

    def _refer_missing(self, error: Exception) -> int:
        self._values.append(_Missing(error))
        return len(self._values) - 1


class _Missing:
    """Takes the place of a value that cannot be had."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __reduce__(self):
        raise self._error


def _real(function):
    """The function that evaluates, where a message brought it here."""
    return function.function() if type(function) is Evaluation else function


def _module_namespace(name: str) -> dict:
    import sys

    module = sys.modules.get(name)
    return {} if module is None else vars(module)
