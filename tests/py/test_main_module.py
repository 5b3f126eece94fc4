"""Functions and classes of __main__, however Python was started; the script runs once only."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest
from harness import TIMEOUT, WATCHDOG, assert_ok, environment, run_python

# A script as a beginner writes it: everything at the top level, no __name__ guard.
SCRIPT = WATCHDOG + textwrap.dedent(
    """
    import dataclasses
    import enum
    import functools
    import math
    import os

    import jobs
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    os.write(1, b"the script runs\\n")

    FACTOR = 3
    COUNTS = {"calls": 0}


    class Point:
        def __init__(self, x, y):
            self.x, self.y = x, y

        def total(self):
            return self.x + self.y

        @staticmethod
        @interpreter
        def static(n):
            return n, jobs.interpreter_id() != 0

        @interpreter
        def tagged(self, n):
            return self.x + n, jobs.interpreter_id() != 0


    class Child(Point):
        def total(self):
            return super().total() * 10


    class Level(enum.IntEnum):
        LOW = 1


    @dataclasses.dataclass
    class Record:
        name: str
        point: Point


    class Failure(Exception):
        def __init__(self, code, text):
            super().__init__(code, text)
            self.code = code


    def plain(n):
        return n + 1, jobs.interpreter_id() != 0


    def with_global(n):
        return n * FACTOR


    def with_defaults(a, b=2, *, c=FACTOR, **rest):
        return a, b, c, rest


    def recursive(n):
        return 1 if n <= 1 else n * recursive(n - 1)


    def even(n):
        return n == 0 or odd(n - 1)


    def odd(n):
        return n != 0 and even(n - 1)


    def with_module(n):
        return math.sqrt(n)


    def make_point(n):
        return Point(n, n + 1)


    def take_point(point):
        return point.total(), isinstance(point, Point), type(point).__name__


    def give_back(value):
        return value


    def fail(code):
        raise Failure(code, "of the script")


    def adder(n):
        def add(m):
            return n + m

        return add


    def wrap(function):
        @functools.wraps(function)
        def wrapper(*args):
            return "wrapped", function(*args)

        return wrapper


    @interpreter
    @wrap
    def decorated(n):
        return n, jobs.interpreter_id() != 0


    def count():
        COUNTS["calls"] += 1
        return COUNTS["calls"]


    def name_of_module():
        return __name__


    with InterpreterThreadPoolExecutor(1) as executor:

        def run(function, *args, **kwargs):
            return executor.submit(interpreter(function), *args, **kwargs).result(30)

        assert run(plain, 1) == (2, True)
        assert not run(jobs.loaded, "cloudpickle"), "a plain function made its worker import it"
        assert [run(plain, n)[0] for n in range(100)] == list(range(1, 101))
        assert run(with_global, 5) == 15
        assert run(with_defaults, 1, d=4) == (1, 2, 3, {"d": 4})
        assert run(recursive, 10) == 3628800
        assert run(even, 10) and not run(even, 11)
        assert run(with_module, 16) == 4.0
        assert run(adder(40), 2) == 42
        assert run(lambda n: n * FACTOR, 4) == 12
        assert run(lambda: [adder(n)(1) for n in range(3)]) == [1, 2, 3]
        assert executor.submit(decorated, 5).result(30) == ("wrapped", (5, True))
        assert decorated(5) == ("wrapped", (5, False))
        assert run(name_of_module) == "__main__"
        assert [run(count) for _ in range(3)] == [1, 2, 3], "the function is kept in its worker"
        assert COUNTS["calls"] == 0

        point = run(make_point, 1)
        assert type(point) is Point and point.total() == 3
        assert run(take_point, Point(3, 4)) == (7, True, "Point")
        assert run(take_point, Child(3, 4)) == (70, True, "Child")
        assert type(run(give_back, Child(1, 2))) is Child
        assert run(give_back, Level.LOW) is Level.LOW
        record = run(give_back, Record("name", Point(5, 6)))
        assert type(record) is Record and type(record.point) is Point
        assert run(Point, 1, 2).total() == 3
        assert run(Point(1, 2).total) == 3
        assert run(give_back, Point) is Point
        assert run(give_back, [make_point])[0](1).total() == 3
        assert executor.submit(Point.static, 5).result(30) == (5, True)
        assert executor.submit(Point(1, 2).tagged, 5).result(30) == (6, True)

        error = executor.submit(interpreter(fail), 7).exception(30)
        assert type(error) is Failure and error.code == 7, repr(error)
        assert "in fail" in str(error.__cause__), error.__cause__
        try:
            run(fail, 8)
        except Failure as caught:
            assert caught.code == 8

        assert list(executor.map(interpreter(plain), range(3))) == [(n, True) for n in (1, 2, 3)]

        # A global that is bound anew is seen by the next call, as in a thread.
        tagged = interpreter(with_global)
        assert executor.submit(tagged, 5).result(30) == 15
        FACTOR = 4
        assert executor.submit(tagged, 5).result(30) == 20

    os.write(1, b"all right\\n")
    """
)


def assert_ran_once(done):
    assert_ok(done, "the script runs", "all right")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own, which is the current one: -c and standard input import from there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- ways of starting ----------------------------------------------------------------------------


def test_script(folder):
    (folder / "script.py").write_text(SCRIPT)
    assert_ran_once(run_python("script.py"))


def test_script_by_its_whole_path(folder, tmp_path_factory):
    script = tmp_path_factory.mktemp("elsewhere") / "with a space.py"
    script.write_text(SCRIPT)
    assert_ran_once(run_python(script))


def test_script_without_a_suffix(folder):
    (folder / "script").write_text(SCRIPT)
    assert_ran_once(run_python("script"))


def test_script_with_a_guard(folder):
    head, _, body = SCRIPT.partition("with InterpreterThreadPoolExecutor")
    body = textwrap.indent(f"with InterpreterThreadPoolExecutor{body}", "    ")
    body = body.replace("FACTOR = 4", "globals()['FACTOR'] = 4")
    guard = '\ndef main():\n{}\n\nif __name__ == "__main__":\n    main()\n'
    (folder / "script.py").write_text(head + guard.format(body))
    assert_ran_once(run_python("script.py"))


def test_script_that_is_gone(folder):
    """The file is not read again."""
    (folder / "script.py").write_text("import os\nos.remove(__file__)\n" + SCRIPT)
    assert_ran_once(run_python("script.py"))


def test_command(folder):
    assert_ran_once(run_python("-c", SCRIPT))


def test_module(folder):
    (folder / "mainmodule.py").write_text(SCRIPT)
    assert_ran_once(run_python("-m", "mainmodule"))


def test_module_in_a_package(folder):
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "helper.py").write_text("def help(n):\n    return n + 1\n")
    (folder / "package" / "tool.py").write_text(
        SCRIPT.replace("import jobs\n", "import jobs\nfrom .helper import help\n").replace(
            "    assert run(name_of_module)",
            "    assert run(lambda n: help(n), 1) == 2\n    assert run(name_of_module)",
        )
    )
    assert_ran_once(run_python("-m", "package.tool"))


def test_package(folder):
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "__main__.py").write_text(SCRIPT)
    assert_ran_once(run_python("-m", "package"))


def test_directory(folder):
    (folder / "application").mkdir()
    (folder / "application" / "__main__.py").write_text(SCRIPT)
    assert_ran_once(run_python("application"))


def test_zip_file(folder):
    with zipfile.ZipFile("application.zip", "w") as archive:
        archive.writestr("__main__.py", SCRIPT)
    assert_ran_once(run_python("application.zip"))


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_standard_input(folder, arguments):
    assert_ran_once(run_python(*arguments, input=SCRIPT))


def test_byte_code(folder):
    import py_compile

    (folder / "script.py").write_text(SCRIPT)
    py_compile.compile("script.py", "compiled.pyc")
    assert_ran_once(run_python("compiled.pyc"))


@pytest.mark.parametrize("flags", [("-O",), ("-I",), ("-P",), ("-X", "dev"), ("-W", "error")])
def test_options(folder, flags):
    if "-I" in flags:  # which ignores PYTHONPATH
        script = f"import sys\nsys.path.insert(0, {os.path.dirname(__file__)!r})\n" + SCRIPT
    else:
        script = SCRIPT
    (folder / "script.py").write_text(script)
    assert_ran_once(run_python(*flags, "script.py"))


def test_script_run_by_another(folder):
    (folder / "script.py").write_text(SCRIPT)
    (folder / "outer.py").write_text(
        "import runpy\nrunpy.run_path('script.py', run_name='__main__')\n"
    )
    assert_ran_once(run_python("outer.py"))


def test_function_of_a_module_that_was_started_and_imported(folder):
    """Started with -m and imported by another: two modules, and each function goes as its own."""
    (folder / "twice.py").write_text(
        textwrap.dedent(
            """
            import jobs
            from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

            def name():
                return __name__

            if __name__ == "__main__":
                import twice

                with InterpreterThreadPoolExecutor(1) as executor:
                    for function in (name, twice.name):
                        print(executor.submit(interpreter(function)).result(30))
            """
        )
    )
    assert_ok(run_python("-m", "twice"), "__main__", "twice")


def test_names_that_a_script_does_not_have(folder):
    source = """
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        def uses_unknown():
            return unknown_name

        with InterpreterThreadPoolExecutor(1) as executor:
            error = executor.submit(interpreter(uses_unknown)).exception(30)
            print(type(error).__name__, error.name)
        """
    done = run_python("-c", WATCHDOG + textwrap.dedent(source))
    assert_ok(done, "NameError unknown_name")


def test_global_that_cannot_be_sent_is_named(folder):
    source = """
        import threading
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        lock = threading.Lock()

        def uses_lock():
            with lock:
                return 1

        def does_not():
            return 2

        with InterpreterThreadPoolExecutor(1) as executor:
            error = executor.submit(interpreter(uses_lock)).exception(30)
            print("uses_lock" in str(error), "lock" in str(error))
            print(executor.submit(interpreter(does_not)).result(30))
        """
    done = run_python("-c", WATCHDOG + textwrap.dedent(source))
    assert_ok(done, "True True", "2")


# --- at the prompt -------------------------------------------------------------------------------


class Prompt:
    """A Python prompt on a terminal of its own."""

    def __init__(self, *arguments, **changes):
        self._master, slave = pty.openpty()
        self._text = ""
        self._process = subprocess.Popen(
            [sys.executable, "-q", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(NO_COLOR="1", PYTHON_HISTORY=os.devnull, **changes),
            start_new_session=True,
        )
        os.close(slave)

    def read_to(self, expected):
        """Read until `expected` is there; what came before it."""
        deadline = time.monotonic() + TIMEOUT
        while expected not in self._text:
            left = deadline - time.monotonic()
            assert left > 0, f"no {expected!r} in {self._text!r}"
            if select.select([self._master], [], [], left)[0]:
                self._text += os.read(self._master, 4096).decode(errors="replace")
        before, _, self._text = self._text.partition(expected)
        return before

    def enter(self, *lines):
        """Enter lines at the prompt; what was printed until the next one."""
        for line in lines:
            os.write(self._master, line.encode() + b"\r")
        # What is typed is echoed; the marker is not typed as it is printed.
        os.write(self._master, b"print('mark' + 'er')\r")
        return self.read_to("marker\r\n")

    def close(self):
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)


@pytest.fixture(params=["basic", "with line editing"])
def prompt(request, folder):
    if request.param == "basic":
        prompt = Prompt(TERM="dumb", PYTHON_BASIC_REPL="1")
    else:
        prompt = Prompt(TERM="xterm", LINES="50", COLUMNS="500")
    prompt.read_to(">>> ")
    yield prompt
    prompt.close()


def test_prompt(prompt):
    prompt.enter("import jobs")
    prompt.enter("from aiointerpreters import InterpreterThreadPoolExecutor, interpreter")
    prompt.enter("executor = InterpreterThreadPoolExecutor(1)")
    prompt.enter("def ask(f, *a): return executor.submit(interpreter(f), *a).result(30)", "")
    prompt.enter("def plain(n): return 'answer', n + 1, jobs.interpreter_id() != 0", "")
    assert "('answer', 42, True)" in prompt.enter("ask(plain, 41)")
    prompt.enter("def plain(n): return 'changed', n", "")
    assert "('changed', 41)" in prompt.enter("ask(plain, 41)")
    prompt.enter("class P: x = 5", "")
    assert "True, 'as P'" in prompt.enter("isinstance(ask(lambda: P()), P), 'as' + ' P'")
    assert "'five', 5" in prompt.enter("'fi' + 've', ask(lambda p: p.x, P())")
    assert "ZeroDivisionError" in prompt.enter("ask(lambda: 1 / 0)")
    assert "in <lambda>" in prompt.enter("ask(lambda: 1 / 0)")
    assert "'still', 1" in prompt.enter("'st' + 'ill', ask(lambda: 1)")
    os.write(prompt._master, b"exit()\r")
    assert prompt._process.wait(TIMEOUT) == 0


# The main thread waits once this says so, and not before.
TELL = (
    "import os, threading, jobs, stopping_jobs; from harness import await_sleep",
    "from aiointerpreters import InterpreterThreadPoolExecutor, interpreter",
    "executor = InterpreterThreadPoolExecutor(1); said, saying = os.pipe(); pid = os.getpid()",
    "def tell(): os.read(said, 1); await_sleep(pid); os.write(1, b'wait' + b'ing')",
    "",
)
ENDLESS = "threading.Thread(target=tell).start(); executor.submit(spin, saying).result()"


def test_ctrl_c_at_the_prompt(prompt):
    """The pool can be used afterwards, and exit() waits for nothing."""
    prompt.enter(*TELL)
    prompt.enter("spin = interpreter(stopping_jobs.spin)")
    for _ in range(2):
        os.write(prompt._master, ENDLESS.encode() + b"\r")
        prompt.read_to("waiting")
        os.kill(prompt._process.pid, signal.SIGINT)
        prompt.read_to("KeyboardInterrupt")
        prompt.read_to(">>> ")
    call = "'us' + 'able', executor.submit(interpreter(jobs.add), 1, 2).result(30)"
    assert "'usable', 3" in prompt.enter(call)
    os.write(prompt._master, b"exit()\r")
    # The basic prompt ends by SIGINT once there was one, also without this package.
    assert prompt._process.wait(TIMEOUT) in (0, -signal.SIGINT)


def test_interactive_after_a_script(folder):
    (folder / "script.py").write_text(
        "print('the script' + ' runs')\n"
        "from aiointerpreters import InterpreterThreadPoolExecutor, interpreter\n"
        "def plain(n): return n + 1\n"
        "executor = InterpreterThreadPoolExecutor(1)\n"
        "print(executor.submit(interpreter(plain), 1).result(30))\n"
    )
    done = run_python(
        "-i",
        "-q",
        "script.py",
        input="print(executor.submit(interpreter(lambda n: plain(n) * 2), 20).result(30))\n",
        PYTHON_BASIC_REPL="1",
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["the script runs", "2", "42"]


# --- IPython and Jupyter -------------------------------------------------------------------------

CELLS = [
    """
    import asyncio
    import jobs
    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
    executor = InterpreterThreadPoolExecutor(1)

    def run(function, *args):
        return executor.submit(interpreter(function), *args).result(30)
    """,
    """
    class Point:
        def __init__(self, x):
            self.x = x

    class Failure(Exception):
        pass

    SCALE = 10

    def plain(n):
        return n * SCALE, jobs.interpreter_id() != 0

    def move(point, dx):
        return Point(point.x + dx)

    def fail():
        raise Failure("in a cell")
    """,
    """
    assert run(plain, 4) == (40, True)
    assert type(run(move, Point(1), 2)) is Point
    assert run(move, Point(1), 2).x == 3
    assert run(lambda n: plain(n)[0] + 1, 4) == 41
    error = executor.submit(interpreter(fail)).exception(30)
    assert type(error) is Failure
    assert "in fail" in str(error.__cause__)
    """,
    """
    def plain(n):
        return "redefined", n

    SCALE = 100
    """,
    """
    assert run(plain, 4) == ("redefined", 4)
    assert run(lambda n: n * SCALE, 4) == 400
    """,
]


def test_ipython(folder):
    pytest.importorskip("IPython", reason="not installed")
    cells = [textwrap.dedent(cell) for cell in CELLS]
    (folder / "script.py").write_text(
        WATCHDOG
        + textwrap.dedent(
            f"""
            import os
            os.environ["IPYTHONDIR"] = {str(folder)!r}
            from IPython.core.interactiveshell import InteractiveShell

            shell = InteractiveShell.instance()
            for cell in {cells!r}:
                result = shell.run_cell(cell)
                result.raise_error()
            print("all right")
            """
        )
    )
    assert_ok(run_python("script.py"), "all right")


AWAITED = """
executor.set_as_event_loop_default()
assert await asyncio.to_thread(interpreter(plain), 5) == ("redefined", 5)
async with asyncio.TaskGroup() as group:
    tasks = [group.create_task(asyncio.to_thread(interpreter(jobs.add), n)) for n in range(5)]
assert [task.result() for task in tasks] == [0, 1, 2, 3, 4]
print("all right")
"""


@pytest.fixture
def jupyter(folder, monkeypatch):
    """The name of a kernel with this Python."""
    pytest.importorskip("nbclient", reason="not installed")
    pytest.importorskip("ipykernel", reason="not installed")
    kernel = folder / "kernels" / "this"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "this Python",
                "language": "python",
                "env": {"PYTHONPATH": environment()["PYTHONPATH"], "IPYTHONDIR": str(folder)},
            }
        )
    )
    monkeypatch.setenv("JUPYTER_PATH", str(folder))
    return "this"


def test_jupyter(jupyter):
    import nbclient
    import nbformat

    sources = [textwrap.dedent(cell) for cell in CELLS] + [AWAITED]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name=jupyter).execute()
    assert notebook.cells[-1].outputs[0].text == "all right\n"


class Cells:
    """A kernel that runs one cell after the other."""

    def __init__(self, kernel):
        from jupyter_client.manager import start_new_kernel

        self.manager, self._client = start_new_kernel(kernel_name=kernel, startup_timeout=60)

    def run(self, source, interrupt=False):
        """What the cell has printed, and the name of what it has raised."""
        request = self._client.execute(source)
        text = error = ""
        while True:
            message = self._client.get_iopub_msg(timeout=TIMEOUT)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            text += content.get("text", "")
            error = content.get("ename", error)
            if interrupt and "waiting" in text:
                self.manager.interrupt_kernel()
                interrupt = False
            if content.get("execution_state") == "idle":
                return text, error

    def close(self):
        self._client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def test_an_interrupted_cell(jupyter):
    """As often as there are interpreters: the next cells have them."""
    cells = Cells(jupyter)
    try:
        assert cells.run("\n".join((*TELL, "spin = interpreter(stopping_jobs.spin)"))) == ("", "")
        said = "def tell(): os.read(said, 1); await_sleep(pid); print('waiting', flush=True)"
        assert cells.run(said) == ("", "")
        usable = "print(executor.submit(interpreter(jobs.add), 1, 2).result(30))"
        assert cells.run(ENDLESS, interrupt=True)[1] == "KeyboardInterrupt"
        assert cells.run(usable) == ("3\n", "")
        assert cells.run(ENDLESS, interrupt=True)[1] == "KeyboardInterrupt"
        assert cells.run(usable) == ("3\n", "")
    finally:
        cells.close()
