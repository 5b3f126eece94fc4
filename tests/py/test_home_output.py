"""print() in tasks: whole lines, written at once; what is left of a line when its task ends."""

import os
import subprocess
import sys
import textwrap

import pytest
from harness import assert_ok, environment, run_python, run_script

BEGIN = """
import os
import sys

from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

executor = InterpreterThreadPoolExecutor(max_workers=2)

def run(function, *args):
    return executor.submit(interpreter(function), *args).result()

"""


def script(source):
    return BEGIN + textwrap.dedent(source)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_is_there_as_soon_as_it_is_printed(tmp_path, stream):
    """os._exit() in the end: nothing that was left in a buffer would be written."""
    done = run_script(
        tmp_path,
        script(f"""
        def work():
            import os
            import sys

            print("a line", 1, file=sys.{stream})
            os._exit(0)

        run(work)
        """),
    )
    assert done.returncode == 0
    assert getattr(done, stream) == "a line 1\n"


@pytest.mark.parametrize("ending", ["return 1", "raise ValueError", "import os; os.abort"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_partial_line_is_there_when_its_task_has_ended(tmp_path, stream, ending):
    done = run_script(
        tmp_path,
        script(f"""
        def work():
            import sys

            print("begun", end="", file=sys.{stream})
            {ending}

        executor.submit(interpreter(work)).exception()
        os._exit(0)
        """),
    )
    assert done.returncode == 0
    assert getattr(done, stream) == "begun"


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_lines_of_several_workers_do_not_mix(tmp_path, unbuffered):
    done = run_script(
        tmp_path,
        script("""
        def work(letter):
            for n in range(200):
                print(letter * (20 * n + 95), end="\\n")

        list(executor.map(interpreter(work), "abcd"))
        """),
        PYTHONUNBUFFERED=unbuffered,
    )
    assert_ok(done)
    lines = done.stdout.splitlines()
    assert len(lines) == 800
    assert all(len(set(line)) == 1 for line in lines)
    for letter in "abcd":
        sizes = [len(line) for line in lines if line[0] == letter]
        assert sizes == [20 * n + 95 for n in range(200)]


@pytest.mark.parametrize("closed", ["<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_do_no_harm(tmp_path, closed):
    code = script("""
    def work(n):
        import sys

        print("to nobody")
        print("to nobody", end="", file=sys.stderr)
        return n

    os.write(int(sys.argv[1]), str(run(work, 3)).encode())
    """)
    (tmp_path / "script.py").write_text(code)
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" script.py {writing} {closed}', sys.executable],
        cwd=tmp_path,
        env=environment(),
        pass_fds=[writing],
        timeout=60,
    )
    os.close(writing)
    said = os.read(reading, 100)
    os.close(reading)
    assert done.returncode == 0
    assert said == b"3"


def test_a_reader_that_is_gone_is_the_tasks_error_alone(tmp_path):
    code = script("""
    def work(text):
        print(text)

    def partial(text):
        print(text, end="")
        return text

    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.close(reading)
    sys.stderr.write(type(executor.submit(interpreter(work), "x").exception()).__name__ + "\\n")
    sys.stderr.write(run(partial, "goes on") + "\\n")
    sys.stderr.flush()
    os._exit(0)
    """)
    (tmp_path / "script.py").write_text(code)
    done = run_python(tmp_path / "script.py")
    assert done.stderr.splitlines() == ["BrokenPipeError", "goes on"]


def test_a_stream_that_a_task_puts_in_place(tmp_path):
    done = run_script(
        tmp_path,
        script("""
        def work():
            import contextlib
            import io

            with contextlib.redirect_stdout(io.StringIO()) as text:
                print("caught", end="")
            print("not caught", end="")
            return text.getvalue()

        caught = run(work)
        print(f" {caught}", flush=True)
        """),
    )
    assert_ok(done, "not caught caught")


def test_what_was_written_before_the_interpreter_ends(tmp_path):
    done = run_script(
        tmp_path,
        script("""
        def work():
            import atexit
            import sys

            sys.stdout.buffer.write(b"bytes ")
            atexit.register(print, "the end", end="")

        run(work)
        """),
    )
    assert_ok(done, "bytes the end")
