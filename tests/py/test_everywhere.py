"""interpreter(f, everywhere=True): a direct call runs in an interpreter, on the calling thread."""

import asyncio
import copy
import functools
import logging
import os
import pickle
import queue
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import everywhere_jobs
import jobs
import pytest
from everywhere_jobs import add, everywhere, pass_gate, where
from harness import HERE, TIMEOUT, assert_ok, in_thread, interpreters, run_script, wait_until
from test_fork import run_forking

from aiointerpreters import SendError, _everywhere, interpreter

MAIN = 0


@pytest.fixture(autouse=True)
def cpus(monkeypatch):
    """Say how many CPUs there are, before the first call; two by default."""

    def set_to(count):
        monkeypatch.setattr(os, "process_cpu_count", lambda: count)

    _everywhere.forget()  # of what has run before
    set_to(2)
    yield set_to
    _everywhere.forget()


@pytest.fixture
def call(gates):
    """Call in a thread of its own: what gives the outcome, a value or an exception."""
    threads = []

    def begin(function, *args, **kwargs):
        outcomes = queue.SimpleQueue()

        def run():
            try:
                outcomes.put(function(*args, **kwargs))
            except BaseException as error:
                outcomes.put(error)

        thread = threading.Thread(target=run)
        threads.append(thread)
        thread.start()
        return lambda: outcomes.get(timeout=TIMEOUT)

    yield begin
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def waiting():
    return _everywhere.executor()._waiting()


def wait_for_waiting(count):
    wait_until(lambda: waiting() == count, f"{count} calls that wait for an interpreter")


# --- where it runs -------------------------------------------------------------------------------


def test_a_coroutine_function_gives_its_coroutine():
    """For the event loop of whoever awaits it; executors run it in an interpreter."""

    @interpreter(everywhere=True)
    async def double(n):
        return 2 * n

    assert asyncio.run(double(2)) == 4
    assert _everywhere._HOMES._executor is None


def test_in_an_interpreter_on_the_calling_thread(call):
    ident = threading.get_ident()
    found = in_thread(lambda: (where(), threading.get_ident()))
    assert found[0][0] != MAIN
    assert found[0][1] == found[1] != ident


def test_two_are_inside_at_the_same_time_and_others_go_on(call, gate):
    outcomes = [call(pass_gate, *gate.args) for _ in range(2)]
    gate.wait_started(2)  # while this thread has the main GIL whenever it wants
    gate.open(2)
    first, second = (outcome() for outcome in outcomes)
    assert {first, second} & {MAIN} == set()
    assert first != second


def test_no_more_at_a_time_than_cpus(call, gate):
    outcomes = [call(pass_gate, *gate.args, n + 1) for n in range(7)]
    gate.wait_started(2)
    wait_for_waiting(5)
    gate.close()
    assert [outcome() for outcome in outcomes] == [*range(1, 8)]
    assert gate.most_at_once() == 2
    assert len(interpreters()) == 2


def test_an_interpreter_is_made_only_when_none_is_idle(call, gate):
    for _ in range(3):
        assert call(add, 1, 2)() == 3
    assert len(interpreters()) == 1
    outcome = call(pass_gate, *gate.args)
    gate.wait_started()
    assert call(add, 1, 2)() == 3
    assert len(interpreters()) == 2
    gate.open()
    assert outcome() in interpreters()


def test_they_are_served_in_order(call, gates, cpus):
    cpus(1)
    first, log = gates(), gates()
    log.close()
    outcome = call(pass_gate, *first.args)
    first.wait_started()
    order = []
    saying = everywhere(lambda saying, letter: os.write(saying, letter))
    outcomes = []
    for number in range(6):
        letter = b"%d" % number
        order.append(letter.decode())
        outcomes.append(call(saying, log.args[0], letter))
        wait_for_waiting(number + 1)
    first.open()
    outcome()
    assert [outcome() for outcome in outcomes] == [1] * 6
    assert log.listen() == "".join(order)


def test_the_main_thread_stands_in_the_same_line(call, gates, cpus):
    cpus(1)
    first, log = gates(), gates()
    outcome = call(pass_gate, *first.args)
    first.wait_started()
    saying = everywhere(lambda saying, letter: os.write(saying, letter))
    before = call(saying, log.args[0], b"1")
    wait_for_waiting(1)
    afterwards = []

    def follow():
        try:
            work_queue = _everywhere.executor()._work_queue
            wait_until(lambda: work_queue.qsize() == 1, "the call of the main thread")
            afterwards.append(call(saying, log.args[0], b"3"))
            wait_for_waiting(2)
        finally:
            first.open()

    opener = call(follow)
    assert saying(log.args[0], b"2") == 1
    outcome()
    before()
    assert opener() is None
    assert afterwards[0]() == 1
    assert log.listen() == "123"


def test_in_the_main_thread_a_worker_runs_it():
    interpreter_id, ident = where()
    assert interpreter_id != MAIN
    assert ident != threading.get_ident()
    assert ident in [thread.ident for thread in _everywhere.executor()._threads]


def test_nested_calls_are_ordinary_ones(call):
    value, interpreter_id = call(everywhere_jobs.factorial, 6)()
    assert value == 720
    assert interpreter_id != MAIN


def test_what_a_leased_call_has_the_main_interpreter_do_leases_nothing(call, cpus):
    """A handler of log records runs in the calling thread while that has the only interpreter."""
    cpus(1)
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append((where()[0], record.getMessage(), record.threadName))

    logger = logging.getLogger("everywhere")
    handler = Handler()
    logger.addHandler(handler)
    try:
        assert call(everywhere_jobs.log, "from a lease")() != MAIN
        assert everywhere_jobs.log("from a worker") != MAIN
    finally:
        logger.removeHandler(handler)
    assert [entry[:2] for entry in seen] == [(MAIN, "from a lease"), (MAIN, "from a worker")]
    assert seen[0][2].startswith("Thread-")


def test_name_of_the_thread(call):
    thread = threading.Thread(target=lambda: names.append(everywhere_jobs.thread_name()))
    names = []
    for name in ("first", "second"):
        thread = threading.Thread(
            target=lambda: names.append(everywhere_jobs.thread_name()), name=name
        )
        thread.start()
        thread.join(TIMEOUT)
    assert names == ["first", "second"]


# --- what calls it -------------------------------------------------------------------------------


def test_thread_pool_executor(gate):
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(pass_gate, *gate.args) for _ in range(2)]
        gate.wait_started(2)
        gate.open(2)
        assert MAIN not in {future.result(TIMEOUT) for future in futures}
        assert list(pool.map(add, range(20), range(20))) == [*range(0, 40, 2)]


def test_to_thread():
    async def main():
        return await asyncio.gather(*(asyncio.to_thread(add, n, 1) for n in range(10)))

    assert asyncio.run(main()) == [*range(1, 11)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(backend):
    anyio = pytest.importorskip("anyio")
    if backend == "trio":
        pytest.importorskip("trio")

    async def main():
        interpreter_id, ident = await anyio.to_thread.run_sync(where)
        assert interpreter_id != MAIN
        assert ident != threading.get_ident()

    anyio.run(main, backend=backend)


def test_joblib():
    joblib = pytest.importorskip("joblib")
    parallel = joblib.Parallel(n_jobs=2, backend="threading")
    assert parallel(joblib.delayed(add)(n, n) for n in range(10)) == [*range(0, 20, 2)]


def test_starlette():
    """A `def` route runs in a thread of anyio's."""
    pytest.importorskip("starlette")
    pytest.importorskip("httpx")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route
        from starlette.testclient import TestClient

    def route(request):
        return JSONResponse({"where": where()[0]})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with TestClient(Starlette(routes=[Route("/", route)])) as client:
            assert client.get("/").json()["where"] != MAIN


def test_thread_that_python_did_not_start(call):
    import _thread

    outcomes = queue.SimpleQueue()
    _thread.start_new_thread(lambda: outcomes.put(where()), ())
    interpreter_id, ident = outcomes.get(timeout=TIMEOUT)
    assert interpreter_id != MAIN
    assert ident != threading.get_ident()


def test_executor_takes_it_like_any_tag(executor):
    tagged = executor.submit(where).result(TIMEOUT)
    assert tagged[0] != MAIN
    assert tagged[1] in [thread.ident for thread in executor._threads]
    assert list(executor.map(add, range(3), range(3))) == [0, 2, 4]
    assert executor.submit(everywhere_jobs.factorial, 5).result(TIMEOUT)[0] == 120
    untagged = executor.submit(lambda: where()).result(TIMEOUT)  # an ordinary task that calls it
    assert untagged[0] != MAIN
    assert untagged[1] in [thread.ident for thread in executor._threads]


# --- event loops ---------------------------------------------------------------------------------


def test_in_the_thread_of_an_event_loop_it_says_to_await_it(factory):
    async def main():
        with pytest.raises(RuntimeError) as caught:
            add(1, 2)
        return str(caught.value)

    with asyncio.Runner(loop_factory=factory) as runner:
        text = runner.run(main())
    assert text.startswith("everywhere_jobs.add was called in the thread of a running event loop")
    assert "await it instead" in text
    assert "asyncio.to_thread(f, ...)" in text
    assert add(1, 2) == 3


def test_in_a_loop_of_another_thread():
    async def main():
        with pytest.raises(RuntimeError, match="running event loop"):
            add(1, 2)
        return await asyncio.to_thread(add, 1, 2)

    assert in_thread(lambda: asyncio.run(main())) == 3


def test_in_trio():
    trio = pytest.importorskip("trio")

    async def main():
        with pytest.raises(RuntimeError, match=r"trio\.to_thread\.run_sync\(f, \.\.\.\)"):
            add(1, 2)
        return await trio.to_thread.run_sync(add, 1, 2)

    assert trio.run(main) == 3
    assert add(1, 2) == 3


# --- what it is made of --------------------------------------------------------------------------


def test_methods(call):
    counter = everywhere_jobs.Counter(3)
    for outcome, value in (
        (call(counter.plus, 4), 7),
        (call(everywhere_jobs.Counter.plus, counter, 5), 8),
        (call(counter.double, 4), 8),
        (call(everywhere_jobs.Counter.double, n=5), 10),
        (call(counter.name), "Counter"),
    ):
        found, interpreter_id = outcome()
        assert found == value
        assert interpreter_id != MAIN


def test_by_value_partials_and_keywords(call):
    base = 10

    @everywhere
    def closure(n, *, scale=1):
        return (base + n) * scale, jobs.interpreter_id()

    assert call(closure, 2)()[0] == 12
    value, interpreter_id = call(closure, 2, scale=3)()
    assert (value, interpreter_id != MAIN) == (36, True)
    value, interpreter_id = call(functools.partial(closure, 2), scale=2)()
    assert (value, interpreter_id != MAIN) == (24, True)
    value, interpreter_id = call(everywhere(functools.partial(closure.fn, 5), everywhere=True))()
    assert (value, interpreter_id != MAIN) == (15, True)
    assert call(everywhere(len), "abc")() == 3


def test_an_argument_called_context_is_the_functions(call):
    assert call(everywhere(lambda context: context), context=3)() == 3


def test_options_of_the_tag():
    assert interpreter(jobs.add, everywhere=True) == everywhere(jobs.add) != interpreter(jobs.add)
    assert interpreter(jobs.add, everywhere=False) == interpreter(jobs.add)
    assert interpreter(everywhere(jobs.add), everywhere=False) == interpreter(jobs.add)
    assert repr(everywhere(jobs.add)) == f"interpreter({jobs.add!r}, everywhere=True)"
    again = interpreter(everywhere(jobs.add), timeout=2)
    assert again == interpreter(jobs.add, everywhere=True, timeout=2)


def through_pickle(tag):
    return pickle.loads(pickle.dumps(tag))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, through_pickle])
def test_copies(call, again):
    tag = again(everywhere(jobs.interpreter_id))
    assert tag == everywhere(jobs.interpreter_id)
    assert call(tag)() != MAIN
    assert again(where) is where


def test_context_variables(call):
    def run(name):
        everywhere_jobs.user.set(name)
        return everywhere_jobs.who()

    assert call(run, "ann")() == "ann"
    assert call(run, "bob")() == "bob"
    assert call(everywhere_jobs.who)() == "nobody"
    token = everywhere_jobs.user.set("main")
    assert everywhere_jobs.who() == "main"
    everywhere_jobs.user.reset(token)


def test_memory_is_lent(call):
    data = bytearray(100)
    assert call(everywhere_jobs.fill, memoryview(data), 7)() != MAIN
    assert data == b"\7" * 100
    data.append(1)  # nobody has it any more


# --- what goes wrong -----------------------------------------------------------------------------


def test_exceptions(call):
    for error in (call(everywhere_jobs.raise_error, "no good")(), raised_here("no good")):
        assert (type(error), error.args) == (ValueError, ("no good",))
        assert "raise ValueError(text)" in str(error.__cause__)
    error = call(everywhere_jobs.exit_with, 3)()
    assert (type(error), error.code) == (SystemExit, 3)


def raised_here(text):
    with pytest.raises(ValueError, match=text) as caught:
        everywhere_jobs.raise_error(text)
    return caught.value


def test_what_cannot_be_sent(call):
    error = call(add, threading.Lock())()
    assert type(error) is SendError
    assert (error.role, error.position) == ("argument", 0)
    error = call(everywhere_jobs.return_lock)()
    assert type(error) is SendError
    assert error.role == "result"
    with pytest.raises(SendError):
        add(threading.Lock())
    assert call(add, 1, 2)() == 3


def test_timeout(call):
    for _ in range(3):
        error = call(everywhere_jobs.spin_for_a_while)()
        assert type(error) is TimeoutError
        assert "spin_for_a_while took longer than its timeout of 0.05 seconds" in str(error)
        assert call(add, 1, 2)() == 3
    assert len(interpreters()) == 1
    with pytest.raises(TimeoutError):
        everywhere_jobs.spin_for_a_while()


def test_interpreter_that_was_interrupted_in_shared_code_is_not_used_again(call, cpus):
    cpus(1)
    (before,) = {call(where)()[0]}
    assert type(call(everywhere_jobs.spin_in_library)()) is TimeoutError
    after = call(where)()[0]
    assert after not in (before, MAIN)
    wait_until(lambda: interpreters() == {after}, "end of the interpreter")


def test_those_that_wait_get_another_interpreter_when_one_is_condemned(call, cpus):
    cpus(1)
    outcome = call(everywhere_jobs.spin_in_library)
    others = [call(where) for _ in range(4)]
    assert type(outcome()) is TimeoutError
    assert MAIN not in {other()[0] for other in others}


def test_no_thread_can_be_started(call, monkeypatch):
    _everywhere.executor()
    outcomes = queue.SimpleQueue()
    begin = threading.Semaphore(0)

    def run():
        begin.acquire()
        try:
            outcomes.put(add(1, 2))
        except BaseException as error:
            outcomes.put(error)
        begin.acquire()
        outcomes.put(add(1, 2))

    thread = threading.Thread(target=run)
    thread.start()

    def fail(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        begin.release()
        error = outcomes.get(timeout=TIMEOUT)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            add(1, 2)
    assert type(error) is RuntimeError
    assert "can't start new thread" in str(error)
    begin.release()
    assert outcomes.get(timeout=TIMEOUT) == 3
    thread.join(TIMEOUT)


def test_a_call_in_the_middle_of_starting_a_worker(call, cpus):
    """As by a destructor: it must not wait for the interpreter that is meant for the first call."""
    cpus(1)
    nested = []

    def call_nested(frame, event, arg):
        if event == "call" and frame.f_code is threading.Thread.start.__code__:
            sys.setprofile(None)
            nested.append(where()[0])

    def outer():
        _everywhere.executor()
        sys.setprofile(call_nested)
        try:
            return where()[0]
        finally:
            sys.setprofile(None)

    assert call(outer)() != MAIN
    assert nested == [MAIN]


def test_interpreters_that_cannot_be_made(tmp_path):
    """Everybody who waits is told; then it works."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif 'REFUSE' in os.environ:\n    raise SystemExit('refused')\n"
    )
    source = """
    import os
    from concurrent.futures import ThreadPoolExecutor
    from everywhere_jobs import add

    def attempt(n):
        try:
            return add(n)
        except RuntimeError as error:
            assert "an interpreter could not be created: " in str(error), error
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        os.environ["REFUSE"] = "yes"
        print(set(pool.map(attempt, range(6))), attempt(1))
        del os.environ["REFUSE"]
        print(list(pool.map(attempt, range(6))), attempt(1))
    """
    path = os.pathsep.join([str(tmp_path), str(HERE)])
    done = run_script(tmp_path, source, PYTHONPATH=path)
    said = "{'refused'} refused\n[0, 1, 2, 3, 4, 5] 1\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr  # which CPython writes to


# --- signals, in the main thread -----------------------------------------------------------------


def test_ctrl_c_interrupts_the_main_threads_call(tmp_path):
    source = """
    import os
    import signal
    import threading
    from everywhere_jobs import add, spin

    read, write = os.pipe()

    def press():
        assert os.read(read, 1) == b"S"
        os.kill(os.getpid(), signal.SIGINT)

    assert add(1, 2) == 3
    thread = threading.Thread(target=press)
    thread.start()
    try:
        spin(write)
    except KeyboardInterrupt:
        print("interrupted")
    thread.join()
    print(add(1, 2))
    """
    assert_ok(run_script(tmp_path, source), "interrupted", "3")


def test_handlers_of_signals_run_during_the_main_threads_call(tmp_path):
    source = """
    import os
    import signal
    import threading
    from everywhere_jobs import add, pass_gate

    said, saying = os.pipe()
    listening, telling = os.pipe()

    def handle(*_):
        print("handled", add(1, 2))  # nested: it waits for another interpreter, or its turn
        os.write(telling, b"x")

    signal.signal(signal.SIGUSR1, handle)

    def press():
        assert os.read(said, 1) == b"S"
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=press)
    thread.start()
    print(pass_gate(saying, listening, "value"))
    thread.join()
    """
    assert_ok(
        run_script(tmp_path, "import os\nos.process_cpu_count = lambda: 2\n" + _dedent(source)),
        "handled 3",
        "value",
    )


def _dedent(source):
    import textwrap

    return textwrap.dedent(source)


def test_signal_that_a_waiting_thread_gets(call, gate, cpus):
    """The system gives it to any thread; the main one handles it, and the call waits on."""
    cpus(1)
    holder = call(pass_gate, *gate.args)
    gate.wait_started()
    outcomes, handled = queue.SimpleQueue(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(threading.current_thread()))
    try:
        thread = threading.Thread(target=lambda: outcomes.put(add(1, 2)))
        thread.start()
        wait_for_waiting(1)
        signal.pthread_kill(thread.ident, signal.SIGUSR1)
        wait_until(lambda: handled, "the handler")
        assert waiting() == 1
        gate.open()
        assert outcomes.get(timeout=TIMEOUT) == 3
        thread.join(TIMEOUT)
        holder()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled == [threading.main_thread()]


# --- fork and exit -------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("from_main", [True, False])
def test_fork_amid_leases(tmp_path, from_main):
    source = """
    from everywhere_jobs import add, pass_gate, where
    os.process_cpu_count = lambda: 2
    gate = Gate()

    def use():
        assert in_thread(add, 1, 2) == 3
        assert in_thread(where)[0] != 0
        assert add(1, 2) == 3

    threads = [threading.Thread(target=pass_gate, args=gate.args) for _ in range(3)]
    for thread in threads:
        thread.start()
    gate.wait_started(2)
    print(FORK)
    gate.close()
    for thread in threads:
        thread.join()
    use()
    """
    source = source.replace("FORK", "fork(use)" if from_main else "in_thread(fork, use, os._exit)")
    assert_ok(run_forking(tmp_path, source), "0")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_fork_by_what_a_leased_call_has_the_main_interpreter_do(tmp_path):
    """The call returns in both processes; the child has an executor of its own."""
    source = """
    import logging
    from everywhere_jobs import add, log

    pids = []

    def look(record):
        pids.append(os.fork())
        if pids[0] == 0:
            signal.alarm(TIMEOUT)

    logging.getLogger("everywhere").addFilter(look)

    def run():
        assert log("text") != 0
        if pids[0] == 0:
            code = 1
            try:
                assert add(1, 2) == 3  # in what is the main thread now
                assert in_thread(add, 1, 2) == 3
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        return 0

    print(in_thread(run), exit_code(pids[0]))
    assert in_thread(add, 1, 2) == 3
    """
    assert_ok(run_forking(tmp_path, source), "0 0")


def test_daemon_threads_do_not_keep_the_process(tmp_path):
    source = """
    import os
    import threading
    from everywhere_jobs import spin

    os.process_cpu_count = lambda: 2
    read, write = os.pipe()
    for _ in range(4):
        threading.Thread(target=spin, args=(write,), daemon=True).start()
    assert len(os.read(read, 1) + os.read(read, 1)) == 2
    print("done")
    """
    assert_ok(run_script(tmp_path, source), "done")


def test_a_daemon_thread_that_is_stopped_at_exit_stops_no_other(tmp_path):
    """The other one, which the exit waits for, gets the same interpreter next."""
    source = """
        import os
        os.process_cpu_count = lambda: 1
        import threading
        import everywhere_jobs
        from aiointerpreters import _everywhere

        saying, listening = os.pipe()
        threading.Thread(target=everywhere_jobs.spin, args=(listening,), daemon=True).start()
        os.read(saying, 1)
        work = lambda: print(everywhere_jobs.count_for_a_while())
        threading.Thread(target=work).start()
        while _everywhere.executor()._waiting() == 0:
            pass
    """
    assert_ok(run_script(tmp_path, source), "untouched")


def test_the_exit_waits_for_calls_of_other_threads(tmp_path):
    """For those under way, and those that wait; what comes later is an ordinary call."""
    source = """
    import os
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from everywhere_jobs import add, pass_gate

    os.process_cpu_count = lambda: 2
    said, saying = os.pipe()
    listening, telling = os.pipe()
    pool = ThreadPoolExecutor(5)
    for n in range(20):
        pool.submit(pass_gate, saying, listening).add_done_callback(
            lambda future: os.write(1, b"wrong\\n" if future.exception() else b"right\\n")
        )
    assert len(os.read(said, 2)) > 0
    threading._register_atexit(os.close, telling)
    """
    assert_ok(run_script(tmp_path, source), *["right"] * 20)


def test_at_exit_in_the_main_thread(tmp_path):
    source = """
    import atexit
    from everywhere_jobs import where

    atexit.register(lambda: print(where()[0]))
    print(where()[0] != 0)
    """
    assert_ok(run_script(tmp_path, source), "True", "0")


def test_ctrl_c_at_the_end_stops_what_other_threads_call(tmp_path):
    source = """
    import os
    import threading
    from everywhere_jobs import spin

    os.process_cpu_count = lambda: 2
    read, write = os.pipe()
    for _ in range(4):
        threading.Thread(target=spin, args=(write,)).start()
    assert len(os.read(read, 1) + os.read(read, 1)) == 2
    raise KeyboardInterrupt
    """
    done = run_script(tmp_path, source)
    assert done.returncode in (-2, 130)
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.endswith("KeyboardInterrupt\n")
