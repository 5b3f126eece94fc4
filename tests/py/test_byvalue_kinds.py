"""Functions by value that reach things of every kind: tests of byvalue_kinds.py, and of modules."""

import sys
import textwrap

import pytest
from harness import HERE, WATCHDOG, assert_ok, run_python
from test_main_module import Prompt


def run_script(folder, source, **changes):
    head, source = "", textwrap.dedent(source)
    if source.lstrip().startswith("from __future__"):
        head, _, source = source.lstrip().partition("\n")
    (folder / "main_script.py").write_text(f"{head}\n{WATCHDOG}{source}")
    return run_python(folder / "main_script.py", **changes)


def test_kinds():
    """Equal in a task and here; and what is known by its identity comes back as itself."""
    assert_ok(run_python(HERE / "byvalue_kinds.py"), "all right")


def test_kinds_without_a_script(tmp_path, monkeypatch):
    """The same for `-c`, whose module has no file."""
    monkeypatch.chdir(tmp_path)  # from where -c imports
    source = (HERE / "byvalue_kinds.py").read_text()
    assert_ok(run_python("-c", source), "all right")


MODULES = {
    "registered.py": """
        import threading
        LIMIT = 5
        LOCK = threading.Lock()
        MISSING = object()
        class Thing:
            def __init__(self, x): self.x = x
            def more(self): return Thing(self.x + LIMIT)
        def helper(x): return Thing(x)
        def function(x, default=MISSING): return helper(x).more(), default is MISSING
        def make():
            def inner(thing): return isinstance(thing, Thing)
            return inner
    """,
    "package/__init__.py": "from package.below import Below",
    "package/below.py": """
        class Below:
            def own(self): return Below
        def make(): return Below()
    """,
}


def test_registered_modules(tmp_path):
    """What `cloudpickle.register_pickle_by_value` was given is imported in no interpreter."""
    (tmp_path / "package").mkdir()
    for name, source in MODULES.items():
        (tmp_path / name).write_text(textwrap.dedent(source))
    done = run_script(
        tmp_path,
        """
        import sys
        import cloudpickle, package.below, registered
        from registered import Thing
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        cloudpickle.register_pickle_by_value(registered)
        cloudpickle.register_pickle_by_value(package)

        def itself(x): return x
        def uses_class(x): return Thing(x)
        def loaded(): return {"registered", "package", "package.below"} & sys.modules.keys()

        with InterpreterThreadPoolExecutor(1) as executor:
            def run(function, *args):
                return executor.submit(interpreter(function), *args).result(60)

            thing, is_missing = run(registered.function, 1)
            assert type(thing) is Thing and thing.x == 6 and is_missing
            assert run(registered.function, 1, registered.MISSING)[1]
            assert run(itself, registered.MISSING) is registered.MISSING
            assert type(run(itself, Thing(3))) is Thing
            assert type(run(uses_class, 3)) is Thing
            assert run(itself, Thing) is Thing
            assert run(registered.make(), Thing(1))
            assert type(run(package.below.make)) is package.Below
            assert run(package.Below().own) is package.Below
            assert run(loaded) == set()
        print("all right")
        """,
    )
    assert_ok(done, "all right")


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports (PEP 810)")
def test_lazy_imports(tmp_path):
    done = run_script(
        tmp_path,
        """
        import sys
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter
        lazy import no_such_module
        lazy import wave
        lazy import colorsys as colors
        lazy import xml.dom.minidom
        lazy import xml.sax.saxutils
        lazy from tabnanny import tabnanny, check as checked
        lazy from filecmp import clear_cache

        class Holder:
            def unused(self): return no_such_module.a, wave.open
            def used(self): return colors.rgb_to_hsv(0, 0, 0)

        def unused(x): return no_such_module.a if x else 0
        def annotated(x: wave.Wave_read) -> no_such_module.A: return 1
        def method(): return Holder().used(), loaded()
        def submodules():
            return xml.dom.minidom.Document.__name__, xml.sax.saxutils.escape("<"), loaded()
        def names(): return clear_cache.__name__, checked.__name__, loaded()
        def missing():
            try: return no_such_module.a
            except ImportError as error: return error.name
        def loaded():
            wanted = {"wave", "colorsys", "xml.dom.minidom", "xml.sax.saxutils", "filecmp"}
            return sorted(wanted & sys.modules.keys())

        with InterpreterThreadPoolExecutor(1) as executor:
            def run(function, *args):
                return executor.submit(interpreter(function), *args).result(60)

            assert run(unused, 0) == 0
            assert run(annotated, 0) == 1
            assert type(run(lambda holder: holder, Holder())) is Holder
            assert run(loaded) == []
            assert run(method) == ((0.0, 0.0, 0), ["colorsys"])
            assert run(submodules)[:2] == ("Document", "&lt;")
            assert run(names)[:2] == ("clear_cache", "check")
            assert run(missing) == "no_such_module"
            assert "wave" not in run(loaded)
            assert loaded() == []
        print("all right")
        """,
    )
    assert_ok(done, "all right")


def test_annotations_as_strings(tmp_path):
    done = run_script(
        tmp_path,
        """
        from __future__ import annotations
        import sys, typing
        from dataclasses import dataclass
        import fractions
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        @dataclass
        class Point:
            x: int
            next: Point | None = None

        def annotated(p: Point, q: fractions.Fraction) -> list[Point]: return [p]
        def loaded(): return "fractions" in sys.modules
        def hints(): return loaded(), typing.get_type_hints(annotated), typing.get_type_hints(Point)

        with InterpreterThreadPoolExecutor(1) as executor:
            assert not executor.submit(interpreter(loaded)).result(60)
            executor.submit(interpreter(annotated), Point(1), 2).result(60)
            assert not executor.submit(interpreter(loaded)).result(60)
            there = executor.submit(interpreter(hints)).result(60)
            assert there[1:] == hints()[1:] and not there[0]
        print("all right")
        """,
    )
    assert_ok(done, "all right")


def test_source_in_a_script(tmp_path):
    """The file name and the line, whatever the function mentions; in warnings, too."""
    done = run_script(
        tmp_path,
        """
        import inspect, warnings
        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        class Point:
            def __init__(self, x): self.x = x

        def mentions(n): return Point(1 / n)
        def warns():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                warnings.warn("w"); Point(1)
            return caught[0].filename
        def source(): return Point and inspect.getsource(mentions)

        with InterpreterThreadPoolExecutor(1) as executor:
            error = executor.submit(interpreter(mentions), 0).exception(60)
            print("main_script.py" in str(error.__cause__))
            print("def mentions(n): return Point(1 / n)" in str(error.__cause__))
            print(executor.submit(interpreter(warns)).result(60) == __file__)
            print(executor.submit(interpreter(source)).result(60) == inspect.getsource(mentions))
        """,
    )
    assert_ok(done, "True", "True", "True", "True")


@pytest.mark.parametrize("kind", ["basic", "with line editing"])
def test_source_at_the_prompt(kind, tmp_path, monkeypatch):
    """Of each function its own lines, although all may have the same file name."""
    monkeypatch.chdir(tmp_path)
    if kind == "basic":
        prompt = Prompt(TERM="dumb", PYTHON_BASIC_REPL="1")
    else:
        prompt = Prompt(TERM="xterm", LINES="50", COLUMNS="500")
    try:
        prompt.read_to(">>> ")
        prompt.enter("from aiointerpreters import InterpreterThreadPoolExecutor, interpreter")
        prompt.enter("executor = InterpreterThreadPoolExecutor(1)")
        prompt.enter("class Point: pass", "")
        prompt.enter("def first(n): return 1 / n, 'fir' 'st'", "")
        prompt.enter("def second(n): return Point, 2 / n, 'sec' 'ond'", "")
        prompt.enter("def error(f): return executor.submit(interpreter(f), 0).exception(30)", "")
        prompt.enter("def text(f): return str(error(f).__cause__)", "")
        for _ in range(2):
            assert "True" in prompt.enter("""print("return 1 / n, 'fir' 'st'" in text(first))""")
            assert "True" in prompt.enter("""print("Point, 2 / n, 'sec' 'ond'" in text(second))""")
    finally:
        prompt.close()


def test_source_in_a_notebook(tmp_path):
    pytest.importorskip("IPython", reason="not installed")
    done = run_script(
        tmp_path,
        f"""
        import os
        os.environ["IPYTHONDIR"] = {str(tmp_path)!r}
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance()
        for cell in (
            "from aiointerpreters import InterpreterThreadPoolExecutor, interpreter\\n"
            "class Point: pass",
            "def fails(n):\\n    return Point, 1 / n  # in a cell",
            "with InterpreterThreadPoolExecutor(1) as executor:\\n"
            "    text = str(executor.submit(interpreter(fails), 0).exception(60).__cause__)",
            "print('return Point, 1 / n  # in a cell' in text)",
        ):
            shell.run_cell(cell).raise_error()
        """,
    )
    assert_ok(done, "True")
