"""What the contestants run in. What has to be made is kept below .cache/ of the checkout."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = ROOT / ".cache" / "bench" / sysconfig.get_config_var("SOABI")
PREDECESSOR = "aiointerpreters==0.6.0"
PROGRAMS = ("echo", "load")  # in C, a process of their own


class Absent(Exception):
    """An environment cannot be made; the text says why."""


def run(command: list[str | Path], what: str) -> str:
    """What `command` printed; Absent, with the end of its messages, if it failed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no message"]
        raise Absent(f"{what}: {reason[0]}")
    return done.stdout


def pip() -> list[str | Path]:
    """The command that runs a pip: this Python's, or the wheel that tools/get-python has."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    wheel = run([sys.executable, ROOT / "tools" / "get-python", "--pip"], "no pip").strip()
    return [sys.executable, f"{wheel}/pip"]


def own() -> Path:
    """The Python that runs this, with a wheel of this project installed."""
    found = importlib.util.find_spec("aiointerpreters._core")
    if found is None:
        raise Absent("this project is not installed in this Python; `make bench` does it")
    if "editable" in type(found.loader).__module__:
        # Its import hooks would run, and be timed, in every new interpreter.
        raise Absent("this project is an editable install here; `make bench` measures a wheel")
    return Path(sys.executable)


def predecessor() -> Path:
    """The Python of an environment with the pure-Python aiointerpreters of the package index."""
    folder = CACHE / "predecessor"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=False, symlinks=True)
        install = [*pip(), "--python", python, "install", "--quiet", PREDECESSOR]
        run(install, f"{PREDECESSOR} could not be installed")
        done.touch()
    return python


def build() -> None:
    """Builds what is written in C, in CACHE, if that has not been done."""
    include = f"-I{sysconfig.get_path('include')}"
    compile_c(
        "floor.c", f"_floor{sysconfig.get_config_var('EXT_SUFFIX')}", "-fPIC", "-shared", include
    )
    for name in PROGRAMS:
        compile_c(f"{name}.c", name)


def compile_c(source: str, name: str, *flags: str) -> None:
    """Builds CACHE / `name` if it is not newer than `source`."""
    path, built = HERE / source, CACHE / name
    if built.exists() and built.stat().st_mtime >= path.stat().st_mtime:
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc").split()
    temporary = built.with_suffix(f".{os.getpid()}")
    command = [*compiler, "-std=c11", "-O2", "-pthread", *flags, path, "-o", temporary]
    run(command, f"{source} could not be built")
    temporary.replace(built)


def running() -> Path:
    """The Python that runs this, for what the standard library has."""
    return Path(sys.executable)


MAKERS = {"stdlib": running, "own": own, "0.6.0": predecessor}
