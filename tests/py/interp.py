"""Real interpreters, without the executor: for tests of what the Python modules do on both sides.

`script` makes functions as a main script has them; their classes and names exist nowhere else.
"""

import _interpreters
import builtins
import contextlib
import os
import sys
import tempfile
import textwrap


def script(source: str, **names) -> dict:
    """Run `source` as a main script would be run, and return its globals."""
    namespace = {"__name__": "__main__", "__builtins__": builtins, **names}
    exec(compile(textwrap.dedent(source), "script.py", "exec"), namespace)
    return namespace


class Interpreter:
    """An isolated interpreter with the caller's `sys.path`."""

    def __init__(self):
        self._id = _interpreters.create("isolated")
        self.run("import sys; sys.path[:] = path", path=tuple(sys.path))

    def run(self, source: str, **values) -> bytes:
        """Run `source` there with `values` (bytes, str, int, tuples) as globals; its `answer`."""
        with tempfile.TemporaryFile() as file:
            _interpreters.set___main___attrs(self._id, {"answer": b"", **values})
            ending = f"\nimport os\nos.write({file.fileno()}, answer)\n"
            failure = _interpreters.exec(self._id, textwrap.dedent(source) + ending)
            if failure is not None:
                raise AssertionError(f"in the interpreter: {failure.errdisplay}")
            size = os.fstat(file.fileno()).st_size
            return os.pread(file.fileno(), size, 0)

    def close(self) -> None:
        _interpreters.destroy(self._id)


@contextlib.contextmanager
def interpreter():
    made = Interpreter()
    try:
        yield made
    finally:
        made.close()
