"""Something comes between: a Ctrl-C, the end of the stack or of memory, another thread."""

import os
import signal
import threading
from concurrent.futures import CancelledError, as_completed, wait

import jobs
import odd_jobs
import pytest
from harness import TIMEOUT, assert_ok, await_sleep, run_script, wait_until

from aiointerpreters import SendError
from aiointerpreters.executors import interpreter


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def raiser(error):
    def raise_it():
        raise error

    return raise_it


# --- reading a result ----------------------------------------------------------------------------

disturbances = pytest.mark.parametrize(
    ("disturb", "error"),
    [
        (press_ctrl_c, KeyboardInterrupt),
        (raiser(KeyboardInterrupt), KeyboardInterrupt),
        (raiser(SystemExit), SystemExit),
        (raiser(RecursionError), RecursionError),
        (raiser(MemoryError), MemoryError),
    ],
    ids=["ctrl-c", "KeyboardInterrupt", "SystemExit", "RecursionError", "MemoryError"],
)


@pytest.fixture
def on_arrival():
    yield odd_jobs.ON_ARRIVAL
    odd_jobs.ON_ARRIVAL.clear()


def read_result(future):
    return future.result(0).value


def read_exception(future):
    assert future.exception(0) is None
    return future.result(0).value


def read_attribute(future):
    return future._result.value


def read_completed(future):
    (completed,) = as_completed([future], TIMEOUT)
    return completed.result(0).value


@disturbances
@pytest.mark.parametrize("read", [read_result, read_exception, read_attribute, read_completed])
def test_reading_a_result(shared, on_arrival, disturb, error, read):
    future = shared.submit(interpreter(odd_jobs.make_arriving), 5)
    wait([future], TIMEOUT)
    on_arrival += [disturb, disturb]
    for _ in range(2):
        with pytest.raises(error):
            read(future)
        assert future.done()
    assert on_arrival == []
    assert read(future) == 5
    assert future.result() is future.result()


@disturbances
@pytest.mark.parametrize("method", ["result", "exception"])
def test_reading_an_exception(shared, on_arrival, disturb, error, method):
    future = shared.submit(interpreter(odd_jobs.raise_arriving), 5)
    wait([future], TIMEOUT)
    on_arrival.append(disturb)
    with pytest.raises(error):
        getattr(future, method)(0)
    assert on_arrival == []
    caught = future.exception(0)
    assert type(caught) is ValueError
    assert caught.args[0].value == 5


def test_ordinary_error_on_arrival_is_the_outcome(shared, on_arrival):
    future = shared.submit(interpreter(odd_jobs.make_arriving), 5)
    wait([future], TIMEOUT)
    on_arrival.append(raiser(LookupError("not today")))
    with pytest.raises(SendError, match="not today"):
        future.result(0)
    assert isinstance(future.exception(0), SendError)


def test_reading_at_the_end_of_the_stack(shared):
    future = shared.submit(interpreter(odd_jobs.make_arriving), 5)
    wait([future], TIMEOUT)

    def descend():
        try:
            return descend()
        except RecursionError:
            try:
                return type(future.result(0))
            except RecursionError:
                seen.append(RecursionError)
                raise

    seen = []
    assert descend() is odd_jobs.Arriving
    assert seen  # it was too deep at first
    assert future.result(0).value == 5


def test_ctrl_c_while_result_waits_and_the_result_comes(tmp_path):
    source = """
    import os, signal, threading
    import jobs, odd_jobs
    from harness import Gate
    from aiointerpreters.executors import InterpreterThreadPoolExecutor

    gate = Gate()
    with InterpreterThreadPoolExecutor(1) as executor:
        future = executor.submit(jobs.pass_gate, *gate.args, "value")
        gate.wait_started()
        def interrupt():
            os.kill(os.getpid(), signal.SIGINT)
        try:
            threading.Thread(target=interrupt).start()
            future.result(30)
        except KeyboardInterrupt:
            print("interrupted")
        gate.open()
        print(future.result(30))
    """
    assert_ok(run_script(tmp_path, source), "interrupted", "value")


class Pressed(Exception):
    pass


@pytest.mark.parametrize(
    "wait",
    [
        lambda executor, future: future.result(),
        lambda executor, future: future.result(TIMEOUT),
        lambda executor, future: executor.submit(jobs.add, 1),
        lambda executor, future: executor.shutdown(),
    ],
    ids=["result", "result with a timeout", "room", "shutdown"],
)
def test_signal_that_another_thread_takes(pool, gate, wait):
    """It ends no system call of the main thread: nor does one that comes just before the call."""
    executor = pool(1, max_pending=1)

    def handler(*_):
        raise Pressed

    def press(main):
        await_sleep(main)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    def wait_and_be_pressed():
        thread.start()
        wait(executor, future)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=press, args=[threading.get_native_id()])
    late = threading.Timer(TIMEOUT, gate.close)
    late.start()
    try:
        future = executor.submit(interpreter(jobs.pass_gate), *gate.args, "value")
        gate.wait_started()
        pending = executor.submit(jobs.add, 1)
        with pytest.raises(Pressed):
            wait_and_be_pressed()
        assert late.is_alive(), "the signal was handled when the task had ended"
    finally:
        late.cancel()
        thread.join(TIMEOUT)
        signal.signal(signal.SIGUSR1, before)
    gate.open()
    assert future.result(TIMEOUT) == "value"
    assert pending.result(TIMEOUT) == 1


# --- sending arguments ---------------------------------------------------------------------------


class Disturbed:
    """An argument whose pickling is disturbed."""

    def __init__(self, disturb):
        self.disturb = disturb

    def __reduce__(self):
        self.disturb()
        return int, ()


@pytest.mark.parametrize(
    ("disturb", "error"),
    [
        (press_ctrl_c, KeyboardInterrupt),
        (raiser(KeyboardInterrupt), KeyboardInterrupt),
        (raiser(SystemExit), SystemExit),
        (raiser(GeneratorExit), GeneratorExit),
    ],
    ids=["ctrl-c", "KeyboardInterrupt", "SystemExit", "GeneratorExit"],
)
@pytest.mark.parametrize("nested", [False, True], ids=["bare", "nested"])
def test_submit_that_is_interrupted(shared, disturb, error, nested):
    """What is no Exception is the caller's, not the future's."""
    argument = Disturbed(disturb)
    with pytest.raises(error):
        shared.submit(interpreter(jobs.identity), [(argument,)] if nested else argument)
    assert shared.submit(interpreter(jobs.identity), [5]).result(TIMEOUT) == [5]


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_submit_that_lacks_memory_or_stack(shared, error):
    """The future says so, and the next call is not touched."""
    future = shared.submit(interpreter(jobs.identity), Disturbed(raiser(error)))
    raised = future.exception(TIMEOUT)
    assert isinstance(raised, error) or isinstance(raised.__cause__, error)
    assert shared.submit(interpreter(jobs.identity), [5]).result(TIMEOUT) == [5]


@pytest.mark.parametrize(
    ("interruption", "error"),
    [
        (press_ctrl_c, KeyboardInterrupt),
        (raiser(RecursionError), (RecursionError, SendError)),
    ],
    ids=["ctrl-c", "RecursionError"],
)
def test_initializer_whose_sending_is_interrupted(pool, interruption, error):
    """The first tagged submit sends the initializer; what hits the caller then breaks nothing."""
    disturb = interruption

    def disturb_once():
        nonlocal disturb
        once, disturb = disturb, lambda: None
        once()

    initargs = (Disturbed(disturb_once),)
    executor = pool(1, initializer=interpreter(jobs.identity), initargs=initargs)
    with pytest.raises(error):
        executor.submit(interpreter(jobs.add), 1, 2)
    assert executor.submit(interpreter(jobs.add), 1, 2).result(TIMEOUT) == 3


def test_callback_of_a_cancelled_future_that_is_interrupted(pool, gate):
    """Ctrl-C while shutdown() cancels: all are told, and the caller learns of it."""
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args, None)
    gate.wait_started()
    futures = [executor.submit(jobs.add, 1, 2) for _ in range(3)]
    futures[0].add_done_callback(lambda _: press_ctrl_c())

    def shut_down():
        executor.shutdown(wait=False, cancel_futures=True)
        threading.Event().wait(TIMEOUT)  # where it arrives, if not before

    with pytest.raises(KeyboardInterrupt):
        shut_down()
    assert len(wait(futures, TIMEOUT).done) == 3
    gate.open()


def test_cancel_whose_condition_cannot_be_taken(pool, gate):
    """A Ctrl-C while somebody else holds the future's condition: the future ends all the same."""
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args, None)
    gate.wait_started()
    future = executor.submit(jobs.add, 1, 2)
    condition = threading.Condition()
    take = condition.acquire

    def interrupted():
        condition.acquire = take
        raise KeyboardInterrupt

    condition.acquire = interrupted
    future._condition = condition

    def shut_down():
        executor.shutdown(wait=False, cancel_futures=True)
        threading.Event().wait(TIMEOUT)  # where it arrives, if not before

    with pytest.raises(KeyboardInterrupt):
        shut_down()
    with pytest.raises(CancelledError):
        future.result(TIMEOUT)
    gate.open()


def test_first_import_that_is_interrupted(tmp_path):
    """The next one prepares the process as if it were the first."""
    source = """
    import threading
    from aiointerpreters import _core

    register, registered = threading._register_atexit, []

    def interrupted(*args):
        raise KeyboardInterrupt

    threading._register_atexit = interrupted
    try:
        _core.executor_types()
    except KeyboardInterrupt:
        print("interrupted")

    def noted(function, *args):
        registered.append(function.__name__)
        register(function, *args)

    threading._register_atexit = noted

    from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

    print(registered.count("join_all"))
    executor = InterpreterThreadPoolExecutor(1)
    print(executor.submit(interpreter(abs), -3).result(30))
    """
    assert_ok(run_script(tmp_path, source), "interrupted", "1", "3")


@pytest.mark.parametrize("tagged", [False, True], ids=["untagged", "tagged"])
def test_map_that_is_interrupted(pool, gate, tagged):
    """As for one submit; what was submitted before is cancelled or done."""
    executor = pool(1)
    executor.submit(jobs.pass_gate, *gate.args)
    gate.wait_started()

    def arguments():
        yield 1
        if tagged:
            yield Disturbed(press_ctrl_c)
        press_ctrl_c()

    function = interpreter(jobs.identity) if tagged else jobs.identity
    with pytest.raises(KeyboardInterrupt):
        executor.map(function, arguments())
    gate.open()
    assert executor.submit(function, 5).result(TIMEOUT) == 5


# --- starting a worker ---------------------------------------------------------------------------

STARTING = """
import sys
import threading

import jobs
from harness import TIMEOUT, Gate, in_thread
from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

when, tagged, others = sys.argv[1:]
tag = interpreter if tagged == "tagged" else lambda function: function
start, run = threading.Thread.start, threading.Thread.run
released, running = threading.Event(), Gate()

def interrupted_start(self):
    if when != "before":
        start(self)
    if when == "running":
        running.wait_started()
    raise KeyboardInterrupt

def held_run(self):
    assert released.wait(TIMEOUT)
    run(self)

busy = Gate()
executor = InterpreterThreadPoolExecutor(2)
if others == "others":
    first = executor.submit(jobs.pass_gate, *busy.args, "first")
    busy.wait_started()
threading.Thread.start = interrupted_start
if when == "held":
    threading.Thread.run = held_run
running.open()
try:
    executor.submit(tag(jobs.pass_gate), *running.args)
except KeyboardInterrupt:
    print("interrupted")
threading.Thread.start, threading.Thread.run = start, run
released.set()
busy.open()
if others == "others":
    assert first.result(TIMEOUT) == "first"
running.open()
futures = [executor.submit(tag(jobs.add), n) for n in range(9)]
assert [future.result(TIMEOUT) for future in futures] == [*range(9)]
in_thread(executor.shutdown)
assert not any(thread.is_alive() for thread in executor._threads)
print("ended")
"""


@pytest.mark.parametrize("when", ["before", "held", "running"])
@pytest.mark.parametrize("tagged", ["untagged", "tagged"])
@pytest.mark.parametrize("others", ["alone", "others"])
def test_start_of_a_worker_that_is_interrupted(tmp_path, when, tagged, others):
    """start() raises: before there is a thread, before the thread is here, and when it runs."""
    done = run_script(tmp_path, STARTING, when, tagged, others)
    assert_ok(done, "interrupted", "ended")


# --- another thread ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2_000, 1_000_000])
def test_first_submits_of_two_threads(tmp_path, length):
    """Both encode the initializer's arguments. The second is the first to be done, and an
    interpreter is in the middle of reading what it wrote when the first one is done, too."""
    source = """
    import sys
    import threading
    import jobs
    from harness import TIMEOUT, Gate
    from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

    LONG = "x" * int(sys.argv[1])

    class Argument:
        def __reduce__(self):
            if not begun.is_set():
                begun.set()
                assert overtaken.wait(TIMEOUT)
            return jobs.pass_gate, (*gate.args, "passed")

    def submit():
        futures.append(executor.submit(interpreter(jobs.get_state)))

    for _ in range(5):
        gate, futures = Gate(), []
        begun, overtaken = threading.Event(), threading.Event()
        with InterpreterThreadPoolExecutor(
            2,
            initializer=interpreter(jobs.set_state),
            initargs=([Argument(), LONG],),
            max_interpreters=2,
        ) as executor:
            thread = threading.Thread(target=submit, daemon=True)
            thread.start()
            assert begun.wait(TIMEOUT)
            submit()
            gate.wait_started()
            overtaken.set()
            thread.join(TIMEOUT)
            gate.wait_started(2)
            gate.close()
            for future in futures:
                assert future.result(TIMEOUT) == ["passed", LONG]
            assert len(futures) == 2
        gate.free()
    print("done")
    """
    # Freed memory is overwritten, so that reading it does not go well by chance.
    assert_ok(run_script(tmp_path, source, length, MALLOC_PERTURB_="165"), "done")


def test_first_submit_within_the_first_submit(tmp_path):
    source = """
    import jobs
    from harness import TIMEOUT
    from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

    inner = []

    class Argument:
        def __reduce__(self):
            if not inner:
                inner.append(None)
                inner[0] = executor.submit(interpreter(jobs.get_state))
            return int, (7,)

    with InterpreterThreadPoolExecutor(
        2, initializer=interpreter(jobs.set_state), initargs=(Argument(),)
    ) as executor:
        outer = executor.submit(interpreter(jobs.get_state))
        print(inner[0].result(TIMEOUT), outer.result(TIMEOUT))
    """
    assert_ok(run_script(tmp_path, source), "7 7")


def test_result_read_by_several_threads(shared, on_arrival):
    """One thread is in the middle of reading while another reads; the first is interrupted."""
    reading, read = threading.Event(), threading.Event()

    def be_slow():
        reading.set()
        assert read.wait(TIMEOUT)
        raise KeyboardInterrupt

    future = shared.submit(interpreter(odd_jobs.make_arriving), 5)
    wait([future], TIMEOUT)
    on_arrival.append(be_slow)
    errors = []

    def slow():
        with pytest.raises(KeyboardInterrupt) as caught:
            future.result(0)
        errors.append(caught.value)

    thread = threading.Thread(target=slow, daemon=True)
    thread.start()
    assert reading.wait(TIMEOUT)
    first = future.result(0)
    read.set()
    thread.join(TIMEOUT)
    assert len(errors) == 1
    assert first.value == 5
    assert future.result(0) is first


@pytest.mark.parametrize("round", range(8))  # the signal may come before the wait
def test_signal_handler_that_waits_for_another_task(pool, gates, round):
    """Within a wait there can be another one, of the same thread."""
    executor = pool(2)
    outer, inner = gates(), gates()
    main = threading.get_native_id()
    answers = []

    def handler(*_):
        answers.append(executor.submit(jobs.pass_gate, *inner.args, "inner").result(TIMEOUT))

    def interrupt():
        outer.wait_started()
        await_sleep(main)
        os.kill(os.getpid(), signal.SIGUSR1)
        inner.wait_started()
        inner.open()
        wait_until(lambda: answers, "the handler's answer")
        outer.open()

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=interrupt)
    try:
        future = executor.submit(jobs.pass_gate, *outer.args, "outer")
        thread.start()
        assert future.result(TIMEOUT) == "outer"
    finally:
        thread.join(TIMEOUT)
        signal.signal(signal.SIGUSR1, before)
    assert answers == ["inner"]
