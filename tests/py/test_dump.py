"""`executor.dump()`: what each worker is at, and the stack of each task that runs."""

import asyncio
import io
import re
import sys
import threading
import time

import jobs
import pytest
import stopping_jobs
from harness import TIMEOUT, wait_until
from test_stopping import start_blocked

from aiointerpreters import interpreter

both = pytest.mark.parametrize("tag", [lambda f: f, interpreter], ids=["untagged", "tagged"])


def dump(executor) -> str:
    file = io.StringIO()
    executor.dump(file)
    return file.getvalue()


def parts(executor) -> dict[str, str]:
    """What is said of each thread, by its name; the first lines are ''."""
    first, *rest = dump(executor).split("\nThread ")
    found = {"": first}
    for part in rest:
        match = re.fullmatch(r'"([^"]+)" \(0x[0-9a-f]{16}\): (.*)', part, re.DOTALL)
        assert match, part
        found[match[1]] = match[2]
    return found


def line_of(function, text: str) -> str:
    """Where the line of the function is that holds `text`, as a stack shows it."""
    code = function.__code__
    with open(code.co_filename) as file:
        lines = file.read().splitlines()
    number = next(n for n in range(code.co_firstlineno, 10**6) if text in lines[n - 1])
    return f'  File "{code.co_filename}", line {number} in {code.co_qualname}\n'


def wait_for_line(executor, function, text: str) -> str:
    """Wait until the worker is in that line; what is said of it then."""
    line = line_of(function, text)
    wait_until(lambda: line in parts(executor)["name_0"], f"a thread in {line}")
    return parts(executor)["name_0"]


def test_nothing(pool):
    executor = pool(2, "name")
    assert dump(executor) == "name: 0 threads, 0 interpreters, 0 tasks running, 0 pending\n"


def test_idle(pool):
    executor = pool(2, "name")
    executor.submit(jobs.add, 1).result(TIMEOUT)
    wait_until(lambda: parts(executor).get("name_0") == "idle\n", "an idle worker")


@both
def test_a_task_that_waits_in_c(pool, gate, tag):
    executor = pool(2, "name")
    executor.submit(tag(jobs.pass_gate), *gate.args)
    gate.wait_started()
    executor.submit(tag(jobs.add), 1)
    said = parts(executor)
    number = "1" if tag is interpreter else "0"
    assert re.fullmatch(
        rf"name: \d threads, {number} interpreters, 1 tasks running, \d pending\n", said[""]
    )
    kind = "tagged task" if tag is interpreter else "task"
    where = r" in interpreter \d+" if tag is interpreter else ""
    assert re.match(
        rf"{kind} jobs\.pass_gate for \d+\.\d\d\d s{where} \(most recent call first\):\n",
        said["name_0"],
    )
    wait_for_line(executor, jobs.pass_gate, "os.read")
    gate.open()


@both
def test_a_task_that_computes(pool, gate, tag):
    executor = pool(1, "name")
    future = executor.submit(tag(jobs.spin_until_readable), *gate.args)
    gate.wait_started()
    said = parts(executor)["name_0"]
    assert " in spin_until_readable\n" in said
    assert not future.done()
    gate.open()
    future.result(TIMEOUT)


def test_nested_calls_come_innermost_first(pool, gate):
    executor = pool(1, "name")
    executor.submit(interpreter(jobs.call), jobs.pass_gate, *gate.args)
    gate.wait_started()
    stack = parts(executor)["name_0"].splitlines()[1:]
    assert [line.rpartition(" in ")[2] for line in stack] == ["pass_gate", "call"]
    gate.open()


def test_a_deep_stack_is_cut(pool, gate):
    executor = pool(1, "name")
    executor.submit(interpreter(jobs.call_deep), 300, jobs.pass_gate, *gate.args)
    gate.wait_started()
    stack = parts(executor)["name_0"].splitlines()[1:]
    assert len(stack) == 101
    assert stack[-1] == "  ..."
    gate.open()


def test_a_task_that_keeps_its_gil_is_written_without_a_stack(pool):
    executor = pool(1, "name")
    executor.prestart(1).result(TIMEOUT)
    stop = threading.Event()
    seen = []

    def look():
        wait_until(lambda: executor.stats().running == 1, "the task")
        began = time.monotonic()
        text = parts(executor)["name_0"]
        seen.append((text, time.monotonic() - began))
        stop.set()

    looker = threading.Thread(target=look)
    looker.start()
    while not stop.is_set():  # a C call that keeps the GIL for longer than the dump waits
        executor.submit(interpreter(sum), range(60_000_000)).result(TIMEOUT)
    looker.join(TIMEOUT)
    text, seconds = seen[0]
    assert text.startswith("tagged task builtins.sum for ")
    assert text.splitlines()[1:] == ["  no stack: in C code that keeps the interpreter's GIL"]
    assert seconds < TIMEOUT / 2


def test_threads_of_a_task(pool, gate):
    executor = pool(1, "name")
    executor.submit(interpreter(jobs.pass_gate_in_a_thread), *gate.args)
    gate.wait_started()
    said = wait_for_line(executor, jobs.pass_gate, "os.read")
    own, others = said.split("  Thread 0x")
    assert " in pass_gate_in_a_thread\n" in own
    assert re.match(r"[0-9a-f]{16} of the same interpreter:\n", others)
    assert line_of(jobs.pass_gate, "os.read") in others
    assert line_of(jobs.pass_gate, "os.read") not in own
    gate.open()


def test_several_at_once(pool, gate):
    executor = pool(5, "name", max_interpreters=2)
    for n, tag in enumerate([interpreter, interpreter, lambda f: f, lambda f: f], 1):
        executor.submit(tag(jobs.pass_gate), *gate.args)
        gate.wait_started(n)
    said = parts(executor)
    kinds = sorted(text.split(" jobs.")[0] for name, text in said.items() if name)
    assert kinds == ["tagged task", "tagged task", "task", "task"]
    assert all(
        "os.read" in text or " in pass_gate\n" in text for name, text in said.items() if name
    )
    gate.close()


class Callable:
    def __call__(self, *args):
        return jobs.pass_gate(*args)

    def method(self, *args):
        return jobs.pass_gate(*args)

    def __getattr__(self, name):
        raise AssertionError("a dump runs nothing of the task's")


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (Callable(), "a Callable"),
        (Callable().method, f"{__name__}.Callable.method"),
        (jobs.partial_of(Callable()), "a Callable"),
        (jobs.partial_of(jobs.pass_gate), "jobs.pass_gate"),
    ],
    ids=["instance", "method", "partial of an instance", "partial"],
)
def test_names_of_callables(pool, gate, function, name):
    executor = pool(1, "name")
    executor.submit(function, *gate.args)
    gate.wait_started()
    assert parts(executor)["name_0"].startswith(f"task {name} for ")
    gate.open()


def test_the_function_of_to_thread(pool, gate):
    executor = pool(1, "name")

    async def main():
        executor.set_as_event_loop_default()
        task = asyncio.ensure_future(asyncio.to_thread(jobs.pass_gate, *gate.args))
        await asyncio.sleep(0)
        gate.wait_started()
        text = parts(executor)["name_0"]
        gate.open()
        await task
        return text

    assert asyncio.run(main()).startswith("task jobs.pass_gate for ")


def test_a_task_without_a_name(pool, gate):
    executor = pool(1, "name")
    executor.submit(interpreter(jobs.Gateway()), *gate.args)
    gate.wait_started()
    assert parts(executor)["name_0"].startswith("tagged task (without a name) for ")
    gate.open()


def test_a_callback(pool, gate):
    executor = pool(1, "name")
    future = executor.submit(jobs.pass_gate, *gate.args)
    future.add_done_callback(lambda _: jobs.pass_gate(*gate.args))
    gate.wait_started()
    gate.open()
    gate.wait_started(2)
    said = wait_for_line(executor, jobs.pass_gate, "os.read")
    assert said.startswith("between tasks (most recent call first):\n")
    gate.open()


def test_a_worker_that_was_set_aside(pool, gate, gates):
    executor = pool(1, "name", grace=0)
    blocked = gates()
    assert start_blocked(executor, gate, blocked).cancel()
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    wait_until(lambda: parts(executor).get("name_1") == "idle\n", "the other worker")
    said = parts(executor)
    assert said[""] == "name: 1 threads, 1 interpreters, 0 tasks running, 0 pending\n"
    assert re.fullmatch(
        r"set aside, still in tagged task stopping_jobs\.read for \d+\.\d\d\d s\n",
        said["name_0"],
    )
    blocked.open()
    wait_until(lambda: set(parts(executor)) == {"", "name_1"}, "its end")


def test_an_interpreter_that_is_renewed_while_somebody_looks(pool, gate):
    executor = pool(1, "name", grace=TIMEOUT)
    stop = threading.Event()

    def look():
        while not stop.is_set():
            dump(executor)

    looker = threading.Thread(target=look)
    looker.start()
    for n in range(1, 6):
        future = executor.submit(interpreter(stopping_jobs.spin_in_library), gate.args[0])
        gate.wait_started(n)
        assert future.cancel()
    assert executor.submit(interpreter(jobs.add), 1).result(TIMEOUT) == 1
    stop.set()
    looker.join(TIMEOUT)
    assert executor.stats().interrupted == 5


def test_from_within_a_task(pool):
    executor = pool(1, "name")
    text = executor.submit(dump, executor).result(TIMEOUT)
    assert f"task {__name__}.dump for " in text
    assert " in dump\n" in text


def test_where_it_goes(executor, capsys, monkeypatch):
    executor.dump()
    assert capsys.readouterr().err.endswith("0 pending\n")
    monkeypatch.setattr(sys, "stderr", None)
    executor.dump()


def test_a_file_that_refuses(executor):
    class Refuses(io.StringIO):
        def write(self, text):
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        executor.dump(Refuses())
    assert executor.submit(jobs.add, 1).result(TIMEOUT) == 1


def test_while_workers_come_and_go(pool):
    stop = threading.Event()
    texts = []

    def look(executor):
        while not stop.is_set():
            texts.append(dump(executor))

    executor = pool(3, max_interpreters=2)
    lookers = [threading.Thread(target=look, args=[executor]) for _ in range(2)]
    for looker in lookers:
        looker.start()
    for n in range(300):
        executor.submit(interpreter(jobs.add), n)
        executor.submit(jobs.add, n)
        executor.submit(lambda n=n: n)
    executor.shutdown()  # the interpreters end while somebody looks
    stop.set()
    for looker in lookers:
        looker.join(TIMEOUT)
        assert not looker.is_alive()
    assert executor.stats().done == 900
    assert all(text.startswith("InterpreterThreadPoolExecutor-") for text in texts)
