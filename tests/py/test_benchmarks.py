"""The benchmark's own arithmetic: what a run's processes printed, its targets, its picture."""

import importlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import harness
import pytest
from rich.console import Console

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

# measure, figure, contestant, unit, more is better, what the processes gave
FIGURES = [
    ("submit", "rate", "interpreters", "tasks/s", True, [9e3, 10e3, 12e3]),
    ("submit", "rate", "threads", "tasks/s", True, [100e3]),
    ("submit", "rate", "tagged", "tasks/s", True, [500e3, 700e3, 900e3]),
    ("submit", "rate", "untagged", "tasks/s", True, [399e3]),
    ("run_in_executor", "rate", "interpreters", "tasks/s", True, [10e3]),
    ("to_thread", "rate", "tagged", "tasks/s", True, [50e3]),
    ("round_trip", "p50", "floor", "µs", False, [10.0]),
    ("round_trip", "p50", "tagged", "µs", False, [13.0]),
    ("round_trip", "p99", "floor", "µs", False, [100.0]),
    ("round_trip", "p99", "tagged", "µs", False, [131.0]),
    ("round_trip", "soon", "floor", "µs", False, [10.0]),
    ("round_trip", "soon", "tagged", "µs", False, [12.0]),
    ("bare_trip", "soon", "floor", "µs", False, [8.0]),
    ("round_trip", "p99", "threads", "µs", False, [20.0]),
    ("round_trip", "p99", "untagged", "µs", False, [20.0]),
    ("megabytes", "in", "floor", "ms", False, [0.487]),
    ("megabytes", "in", "tagged", "ms", False, [0.6]),
    ("megabytes", "new", "floor", "ms", False, [0.487]),
    ("megabytes", "new", "tagged", "ms", False, [0.65]),
    ("megabytes", "crossing", "floor", "ms", False, [0.5]),
    ("megabytes", "crossing", "tagged", "ms", False, [0.65]),
    ("megabytes", "out", "floor", "ms", False, [0.487]),
    ("megabytes", "out", "tagged", "ms", False, [0.601]),
    ("megabytes", "fresh", "floor", "ms", False, [0.5]),
    ("megabytes", "fresh", "tagged", "ms", False, [0.1]),
    ("views", "in", "tagged", "µs", False, [10.0]),
    ("views", "back", "tagged", "µs", False, [10.5]),
    ("views", "large", "tagged", "µs", False, [-0.5]),
    ("handed", "peak", "tagged", "sizes", False, [1.1]),
    ("efficiency", "10ms", "tagged", "of two cores", True, [0.99]),
    ("efficiency", "10ms", "floor", "of two cores", True, [1.0]),
    ("loop_lag", "idle_p99", "tagged", "ms", False, [0.5]),
    ("loop_lag", "busy_p99", "tagged", "ms", False, [4.6]),
    ("web", "rate", "threads", "requests/s", True, [40.0]),
    ("web", "rate", "tagged", "requests/s", True, [75.0]),
    ("web", "trivial_p99", "threads", "ms", False, [40.0]),
    ("web", "trivial_p99", "tagged", "ms", False, [4.0]),
    ("echo", "one_loop", "tagged", "lines/s", True, [10e3]),
    ("echo", "interpreters", "tagged", "lines/s", True, [18e3]),
    ("pending_memory", "few", "tagged", "bytes", False, [400.0]),
    ("pending_memory", "many", "tagged", "bytes", False, [359.0]),
    ("growth", "workers_1", "tagged", "tasks/s", True, [1000.0]),
    ("growth", "workers_64", "tagged", "tasks/s", True, [800.0]),
]

REACHED = {
    ("small tasks, submit: tagged", ">= 60 × interpreters"): (70, True),
    ("small tasks, submit: tagged", ">= 6 × threads"): (7, True),
    ("small tasks, submit: untagged", ">= 4 × threads"): (3.99, False),
    ("to_thread: tagged", ">= 5 × interpreters' run_in_executor"): (5, True),
    ("round trip, p50: tagged", "<= 1.3 × floor"): (1.3, True),
    ("round trip, p99: tagged", "<= 1.3 × floor"): (1.31, False),
    ("round trip after 0.2 ms, median: tagged", "<= 1.3 × floor"): (1.2, True),
    ("round trip after 0.2 ms, median: tagged", "<= 1.3 × a bare interpreter"): (1.5, False),
    ("round trip, p99: untagged", "< 1 × threads"): (1, False),
    ("8 MB of bytes in: tagged", "<= 1.2 × (floor + round trip)"): (1.2, True),
    ("8 MB of bytes in, new each time: tagged", "<= 1.2 × (floor + round trip)"): (
        1.3,
        False,
    ),
    (
        "8 MB of bytes in, new each time: tagged",
        "<= 1.2 × floor: a copy by another thread",
    ): (1.3, False),
    ("8 MB of bytes out: tagged", "<= 1.2 × (floor + round trip)"): (1.202, False),
    ("8 MB of bytes out, made by the task: tagged", "<= 0.2 × floor"): (0.2, True),
    ("8 MB view in: tagged", "<= 10 µs more than an empty trip"): (10, True),
    ("8 MB view in and back: tagged", "<= 10 µs more than an empty trip"): (10.5, False),
    ("256 MB view in: tagged", "<= 10 µs more than an empty trip"): (-0.5, True),
    ("100 MB result, peak of resident memory: tagged", "< 1.1 sizes"): (1.1, False),
    ("efficiency, tasks of 10 ms: tagged", ">= 0.98 of two cores"): (0.99, True),
    ("efficiency, tasks of 10 ms: tagged", ">= 0.98 × floor"): (0.99, True),
    ("event loop's lag, p99, busy less idle: tagged", "<= 4 ms"): (4.1, False),
    ("web service, the route that computes: tagged", ">= 1.9 × threads"): (1.875, False),
    ("web service, the trivial route, p99: tagged", "< 1 × threads"): (0.1, True),
    ("coroutines and an echo server: tagged", ">= 1.7 × one loop"): (1.8, True),
    ("memory of a pending task: tagged", "<= 400 bytes"): (400, True),
    ("the same, very many against few: tagged", "<= 0.1 apart"): (0.1025, False),
    ("rate with 64 workers: tagged", ">= 0.8 × with 1"): (0.8, True),
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Imports modules of benchmarks/ for one test."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    names = ("measure", "figure", "contestant", "unit", "more_is_better", "processes")
    results = [dict(zip(names, figure, strict=True)) for figure in FIGURES]
    machine = {"commit": "0123456789ab", "python": "3.14.8", "system": "Linux x86_64"}
    machine |= {"cpus": 2, "workers": 2, "processes": 3, "quick": True}
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"format": 1, "machine": machine, "results": results}))
    return path


def command(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return executed(sys.executable, BENCHMARKS / script, *arguments)


def executed(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_targets(load, result_file: Path) -> None:
    everything = load("results").load(result_file)
    targets = {(t.what, t.asked): t for t in load("targets").targets(everything)}
    for key, (reached, met) in REACHED.items():
        assert targets[key].reached == pytest.approx(reached, rel=1e-3), key
        assert targets[key].met is met, key
    without = [target for key, target in targets.items() if key not in REACHED]
    assert without
    assert all(target.met is None for target in without)


def test_targets_of_a_file(result_file: Path) -> None:
    done = command("targets.py", result_file)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "submit: untagged" in line]
    assert len(lines) == 1
    assert "3.99" in lines[0]
    assert "missed" in lines[0]
    assert "no figure" not in done.stdout  # a run of some measures shows those


def test_a_file_that_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    done = command("targets.py", tmp_path / "other.json")
    assert done.returncode == 2
    assert "is not a result file" in done.stderr


def test_a_failure_is_a_reason(load) -> None:
    results, measures = load("results"), load("measures")
    figures = {"few": measures.Figure("bytes"), "many": measures.Figure("bytes")}
    outcomes = [{"figures": {"few": [1.0, 3.0, 2.0], "many": "left out"}}, {"error": "OSError: no"}]
    few, many = results.collect("memory", "threads", figures, outcomes)
    assert (few.processes, few.missing) == ([2.0], "OSError: no")
    assert (many.processes, many.missing) == ([], "OSError: no")
    few, many = results.collect("memory", "threads", figures, outcomes[:1])
    assert (few.missing, many.missing) == ("", "left out")
    assert results.reasons([few, many]) == ["ThreadPoolExecutor (many): left out"]


def test_what_a_measure_raises_is_printed(load) -> None:
    child = load("child")
    measure = ModuleType("measure")

    def run(contestant: object, quick: bool) -> None:
        raise ValueError("at 0x7fc8")

    measure.run = run
    assert child.outcome(measure, "threads", True) == {"error": "ValueError: at 0x…"}
    measure.ABSENT = {"threads": "not here"}
    assert child.outcome(measure, "threads", True) == {"absent": "not here"}
    assert child.outcome(measure, "floor", True) == {"absent": ""}


def test_what_fails_the_benchmark(load) -> None:
    failed = load("run").failed
    assert not failed({("lease", "untagged"): [{"absent": "it is not leased"}]})
    assert not failed({("web", "threads"): [{"error": "no"}], ("web", "tagged"): [{"figures": {}}]})
    assert failed({("web", "tagged"): [{"figures": {}}, {"error": "no"}]})


@pytest.mark.parametrize("name", ["run_in_executor", "to_thread"])
def test_an_executor_that_runs_nothing(load, name: str) -> None:
    """The floor itself compares what was awaited."""
    assert min(load(f"measures.{name}").floor(True)["rate"]) > 0


def test_bytes_that_nobody_has_seen(load) -> None:
    megabytes = load("measures.megabytes")
    made = [megabytes.unseen(number) for number in range(3)]
    assert len(set(made)) == 3
    assert {len(each) for each in made} == {len(megabytes.MEGABYTES_8)}


def test_every_measure_is_complete(load) -> None:
    measures = load("measures")
    contestants = load("contestants").CONTESTANTS
    for name in measures.ALL:
        module = load(f"measures.{name}")
        assert module.TITLE, name
        assert module.FIGURES, name
        assert callable(module.run), name
        assert set(getattr(module, "ABSENT", {})) <= set(contestants), name
        assert 1 <= measures.processes(module, 7, False) <= 7, name
        assert 1 <= measures.processes(module, 3, True) <= 3, name


@pytest.fixture
def program(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Builds a C program of benchmarks/, and gives its path."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    environments = load("environments")
    monkeypatch.setattr(environments, "CACHE", tmp_path)

    def build(name: str) -> Path:
        assert name in environments.PROGRAMS
        environments.compile_c(f"{name}.c", name, "-Wall", "-Wextra", "-Werror")
        return tmp_path / name

    return build


class Pages(BaseHTTPRequestHandler):
    """Answers with what is asked for, "/missing" excepted."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web_server():
    """The port of a server on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_load_generator(program, web_server: int) -> None:
    # The one path as fast as it can be, the other each 20 ms: 10 times after the first 0.1 s.
    arguments = [web_server, 0.1, 0.2, "/fast", 2, 0, "/slow", 1, 20_000]
    done = executed(program("load"), *arguments)
    harness.assert_ok(done)
    fast, slow = (json.loads(line) for line in done.stdout.splitlines())
    assert len(fast) >= 2
    assert 1 <= len(slow) <= 16
    assert all(taken > 0 for taken in fast + slow)


@pytest.mark.parametrize(
    ("path", "reason"), [("/missing", "HTTP/1.1 404 Not Found"), ("/" * 300, "too long")]
)
def test_a_load_that_fails(program, web_server: int, path: str, reason: str) -> None:
    arguments = [web_server, 0, 0.1, path, 1, 0]
    done = executed(program("load"), *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"load: {reason} (")


@pytest.mark.skipif(importlib.util.find_spec("uvicorn") is None, reason="needs uvicorn")
@pytest.mark.parametrize("name", ["threads", "tagged"])
def test_the_web_service(load, program, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    web = load("measures.web")
    monkeypatch.setattr(web, "CACHE", program("load").parent)
    monkeypatch.setattr(web, "plan", lambda quick: (0, 1))
    figures = web.run(load("contestants").CONTESTANTS[name], True)
    assert set(figures) == set(web.FIGURES)
    assert all(values[0] > 0 for values in figures.values())


def test_a_service_that_does_not_start(load) -> None:
    web = load("measures.web")
    with pytest.raises(RuntimeError, match="the server did not start: exit 1"), web.service("no"):
        pass


def test_the_echo_server(load, program, monkeypatch: pytest.MonkeyPatch) -> None:
    echo, converse_many = load("measures.echo"), load("conversation").converse_many
    monkeypatch.setattr(echo, "CACHE", program("echo").parent)
    with echo.echo_server() as port:
        assert echo.rate(lambda count: converse_many(port, 3, count), 20, 3) > 0
        with pytest.raises(AssertionError, match="1 lines did not come back"):
            echo.rate(lambda count: converse_many(port, 2, count), 1, 3)


def test_an_echo_server_that_does_not_start(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = load("measures.echo")
    monkeypatch.setattr(echo, "CACHE", tmp_path)
    (tmp_path / "echo").symlink_to(shutil.which("false"))
    with pytest.raises(RuntimeError, match="the server did not start: exit 1"), echo.echo_server():
        pass


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib, of `make bench`"
)
def test_the_picture_is_the_same_each_time(result_file: Path, tmp_path: Path) -> None:
    content = json.loads(result_file.read_text())
    few = [r for r in content["results"] if r["measure"] in ("submit", "growth")]
    result_file.write_text(json.dumps(content | {"results": few}))
    done = command("plot.py", result_file)
    assert done.returncode == 0, done.stderr
    pictures = {ending: result_file.with_suffix(f".{ending}") for ending in ("svg", "png")}
    first = {ending: path.read_bytes() for ending, path in pictures.items()}
    text = first["svg"].decode()
    assert "InterpreterPoolExecutor" in text
    assert "more is better" in text
    assert "0123456789ab" in text
    done = command("plot.py", result_file, "--output", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    for ending, drawn in first.items():
        assert (tmp_path / f"again.{ending}").read_bytes() == drawn


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib, of `make bench`"
)
def test_no_picture_is_no_error(load, result_file: Path, tmp_path: Path) -> None:
    content = json.loads(result_file.read_text())
    few = [r for r in content["results"] if r["measure"] == "bare_trip"]
    result_file.write_text(json.dumps(content | {"results": few}))
    said = Console(file=io.StringIO())
    assert load("run").pictures(load("results").load(result_file), tmp_path / "a.json", said) == []
    assert "no picture: no figure to draw" in said.file.getvalue()
