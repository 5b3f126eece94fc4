"""What several test files need: gates, interpreters counted, scripts run in a fresh Python."""

import os
import select
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

TIMEOUT = 30  # seconds that anything may take that is expected to happen at once
HERE = Path(__file__).resolve().parent


def interpreters() -> set[int]:
    """The ids of all interpreters of this process but the main one."""
    import _interpreters

    listed = (entry[0] if isinstance(entry, tuple) else entry for entry in _interpreters.list_all())
    return {int(entry) for entry in listed} - {0}


def wait_until(condition, what: str, seconds: float = TIMEOUT) -> None:
    """Wait for a change that no event announces (the end of a thread, a collected object)."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s: {what}"
        time.sleep(0.001)


def await_sleep(native_id: int) -> None:
    """Wait until the thread sleeps: for more than the GIL, which each look lets go of."""
    stat = Path(f"/proc/self/task/{native_id}/stat")
    for _ in range(3):
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S", "a wait")


class Gate:
    """Shows a test that tasks have started and lets the test decide when they go on.

    Works for tasks in interpreters too: what crosses is a pair of file descriptors, `args`, for
    jobs.pass_gate. Each task writes S as it starts and E as it ends; `log` has them in order.
    """

    def __init__(self):
        self._said, saying = os.pipe()
        listening, self._telling = os.pipe()
        self.args = (saying, listening)
        self.log = ""

    def wait_for(self, letters: str) -> None:
        """Wait until the log has at least as many of each of the letters."""
        deadline = time.monotonic() + TIMEOUT
        while any(self.log.count(letter) < letters.count(letter) for letter in letters):
            left = deadline - time.monotonic()
            assert left > 0, f"tasks said {self.log!r}, not {letters!r}, in {TIMEOUT} s"
            self._listen(left)

    def wait_started(self, count: int = 1) -> None:
        self.wait_for("S" * count)

    def listen(self) -> str:
        """The log, with all that has been said until now."""
        while self._listen(0):
            pass
        return self.log

    def _listen(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._said], [], [], seconds)
        if readable:
            self.log += os.read(self._said, 4096).decode()
        return bool(readable)

    def most_at_once(self) -> int:
        """The most tasks that were between S and E at the same time."""
        running = most = 0
        for letter in self.listen():
            running += 1 if letter == "S" else -1
            most = max(most, running)
        return most

    def open(self, count: int = 1) -> None:
        """Let `count` tasks go on."""
        os.write(self._telling, b"x" * count)

    def close(self) -> None:
        """Let all tasks go on, those that come later too."""
        if self._telling is not None:
            os.close(self._telling)
            self._telling = None

    def free(self) -> None:
        """Close the descriptors; only once no task uses them."""
        self.close()
        for descriptor in (self._said, *self.args):
            os.close(descriptor)


class Lines:
    """A pipe whose writing end, `descriptor`, tasks write lines to."""

    def __init__(self):
        self._reading, self.descriptor = os.pipe()
        os.set_blocking(self._reading, False)
        self._text = b""

    def read(self) -> list[str]:
        """All the lines written until now."""
        try:
            while part := os.read(self._reading, 65536):
                self._text += part
        except BlockingIOError:
            pass
        return self._text.decode().splitlines()

    def close(self) -> None:
        os.close(self._reading)
        os.close(self.descriptor)


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with the folder of `jobs` on the path."""
    path = [str(HERE), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)} | changes


def run_python(
    *arguments, input=None, cwd=None, timeout=60, **changes
) -> subprocess.CompletedProcess:
    """Run the Python of this process, in text mode, with stacks printed if it crashes or hangs."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *map(str, arguments)],
        input=input,
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


WATCHDOG = "import faulthandler; faulthandler.dump_traceback_later(50, exit=True)\n"


def run_script(folder: Path, source: str, *arguments, **options) -> subprocess.CompletedProcess:
    """Run `source` as a script file of its own; it ends itself with all stacks if it hangs."""
    script = folder / "script.py"
    script.write_text(WATCHDOG + textwrap.dedent(source))
    return run_python(script, *arguments, **options)


def assert_ok(done: subprocess.CompletedProcess, *lines: str, code: int = 0) -> None:
    """Assert the exit code, an empty stderr, and the lines of stdout if any are given."""
    said = f"exit code {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    assert done.returncode == code, said
    assert done.stderr == "", said
    if lines:
        assert done.stdout.splitlines() == list(lines), said


def in_thread(function, *args):
    """Call `function` in a fresh thread and wait for it; what it returned."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive(), "the call in the other thread does not return"
    return results[0]
