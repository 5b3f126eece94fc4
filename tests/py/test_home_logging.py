"""Records that tasks log reach the caller's handlers, at the caller's levels."""

import contextvars
import logging
import logging.handlers
import os
import queue
import sys
import threading

import home_jobs
import jobs
import pytest
import tagged_jobs
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters import interpreter


class Keeper(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def messages(self):
        return [record.getMessage() for record in self.records]


@pytest.fixture
def keeper():
    """A handler of the root logger."""
    handler = Keeper()
    level = logging.root.level
    logging.root.addHandler(handler)
    yield handler
    logging.root.removeHandler(handler)
    logging.root.setLevel(level)
    for name in ("home", "home.child"):
        logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger(name).disabled = False
    logging.disable(logging.NOTSET)


@pytest.fixture
def executor(pool):
    """One of one interpreter."""
    return pool(max_workers=1, thread_name_prefix="home")


def run(executor, function, *args, **kwargs):
    return executor.submit(interpreter(function), *args, **kwargs).result(TIMEOUT)


def log(executor, name="home", level=logging.WARNING, text="text", *arguments, **options):
    return run(executor, home_jobs.log, name, level, text, *arguments, **options)


# --- what arrives --------------------------------------------------------------------------------


def test_record_reaches_the_handlers_before_the_task_ends(executor, keeper):
    log(executor, "home.child", logging.ERROR, "%s and %d", "one", 2)
    (record,) = keeper.records
    assert record.getMessage() == "one and 2"
    assert (record.name, record.levelname, record.levelno) == ("home.child", "ERROR", 40)
    assert record.threadName == "home_0"
    assert record.interpreter != 0
    assert isinstance(record.interpreter, int)
    assert record.process == os.getpid()
    assert record.funcName == "log"
    assert record.pathname == home_jobs.__file__
    assert record.created > 0
    assert record.args is None or record.args == ()


def test_handlers_of_named_loggers_and_filters(executor, keeper):
    logger, own = logging.getLogger("home.child"), Keeper()
    logger.addHandler(own)
    logger.addFilter(refuse := lambda record: record.msg != "refused")
    try:
        log(executor, "home.child", text="refused")
        log(executor, "home.child", text="passed")
        logger.propagate = False
        log(executor, "home.child", text="not above")
    finally:
        logger.propagate = True
        logger.removeHandler(own)
        logger.removeFilter(refuse)
    assert own.messages == ["passed", "not above"]
    assert keeper.messages == ["passed"]


def test_exception_and_stack_as_text(executor, keeper):
    run(executor, home_jobs.log_error, "it failed")
    log(executor, stack_info=True)
    error, stack = keeper.records
    assert error.exc_info is None
    assert error.exc_text.endswith("LookupError: of the task")
    assert "home_jobs.py" in logging.Formatter().format(error)
    assert "in log" in stack.stack_info


def test_extra_attributes(executor, keeper):
    extra = {"number": 3, "nested": {"a": [1, (2,)]}, "point": jobs.Point(1, 2)}
    log(executor, extra=extra)
    (record,) = keeper.records
    assert {name: getattr(record, name) for name in extra} == extra


def log_refusing():
    import logging

    logging.getLogger("home").warning("%s", home_jobs.Refuses(), extra={"it": home_jobs.Refuses()})


def test_extra_attribute_that_cannot_be_sent_arrives_as_its_repr(executor, keeper):
    run(executor, log_refusing)
    assert keeper.messages == ["<refuses>"]
    assert keeper.records[0].it == "<refuses>"


def test_from_a_thread_of_the_task(executor, keeper):
    run(executor, home_jobs.log_from_a_thread, "from the thread")
    assert keeper.messages == ["from the thread"]
    assert keeper.records[0].threadName == "of the task"


def test_from_an_initializer(pool, keeper):
    executor = pool(
        max_workers=1,
        initializer=interpreter(home_jobs.log),
        initargs=("home", logging.WARNING, "initializing"),
    )
    assert run(executor, jobs.add, 1, 2) == 3
    assert keeper.messages == ["initializing"]


def test_from_several_workers_at_once(pool, keeper):
    executor = pool(max_workers=2, thread_name_prefix="many")
    futures = [executor.submit(interpreter(home_jobs.log_many), "home", 50) for _ in range(4)]
    for future in futures:
        future.result(TIMEOUT)
    assert sorted(keeper.messages) == sorted([str(n) for n in range(50)] * 4)


def test_queue_handler(executor, keeper):
    records = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(records)
    logging.getLogger("home").addHandler(handler)
    try:
        log(executor, text="queued")
    finally:
        logging.getLogger("home").removeHandler(handler)
    assert records.get_nowait().getMessage() == "queued"


@pytest.mark.parametrize("error", [ValueError("of the handler"), SystemExit(3)], ids=repr)
def test_handler_that_raises(executor, keeper, capsys, error, monkeypatch):
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)

    def emit(record):
        raise error

    keeper.emit = emit
    log(executor)
    assert run(executor, jobs.add, 1, 2) == 3
    if isinstance(error, Exception):
        assert "ValueError: of the handler" in capsys.readouterr().err
    else:
        assert ignored[0].exc_value is error


def test_arguments_that_do_not_fit(executor, keeper):
    log(executor, "home", logging.WARNING, "%d", "no number")
    log(executor)
    assert keeper.messages == ["text"]


def test_nothing_is_imported_for_it(executor):
    names = ["logging", "threading", "aiointerpreters._home"]
    loaded_by_filters = {"aiointerpreters._home"}
    assert set(run(executor, home_jobs.imported, *names)) <= loaded_by_filters


def test_handler_that_submits_to_the_same_executor(pool, keeper):
    executor = pool(max_workers=2, max_interpreters=2)
    results = []
    keeper.emit = lambda record: results.append(run(executor, jobs.add, 1, 2))
    log(executor)
    assert results == [3]


# --- levels --------------------------------------------------------------------------------------


def test_levels_follow_the_callers(executor, keeper):
    logging.root.setLevel(logging.ERROR)
    log(executor, text="below")
    logging.root.setLevel(logging.DEBUG)
    log(executor, level=logging.DEBUG, text="debug")
    logging.getLogger("home").setLevel(logging.ERROR)
    log(executor, "home.child", text="below again")
    logging.getLogger("home.child").setLevel(logging.INFO)
    log(executor, "home.child", logging.INFO, "info")
    logging.getLogger("home.child").setLevel(logging.NOTSET)
    log(executor, "home.child", logging.INFO, "not any more")
    assert keeper.messages == ["debug", "info"]
    assert run(executor, home_jobs.is_enabled, "", "home", "home.child") == ([10, 40, 40], 0)


def test_disabling_follows_the_callers(executor, keeper):
    log(executor, text="first")
    logging.disable(logging.ERROR)
    log(executor, level=logging.ERROR, text="disabled")
    assert run(executor, home_jobs.is_enabled)[1] == logging.ERROR
    logging.disable(logging.NOTSET)
    log(executor, text="enabled")
    logging.getLogger("home").disabled = True
    log(executor, text="of a disabled logger")
    assert keeper.messages == ["first", "enabled"]


def test_level_that_a_task_has_set_stays_until_the_callers_changes(executor, keeper):
    logging.root.setLevel(logging.WARNING)
    run(executor, home_jobs.set_level, "home", logging.DEBUG)
    log(executor, level=logging.DEBUG, text="debug")
    logging.getLogger("home.child").setLevel(logging.INFO)
    log(executor, level=logging.DEBUG, text="still")
    logging.getLogger("home").setLevel(logging.ERROR)
    log(executor, text="no more")
    assert keeper.messages == ["debug", "still"]


def test_level_that_a_worker_made_later_begins_with(pool, keeper):
    logging.root.setLevel(logging.INFO)
    executor = pool(max_workers=1)
    log(executor, level=logging.INFO, text="info")
    assert keeper.messages == ["info"]


# --- logging that tasks configure ----------------------------------------------------------------


def test_a_task_that_configures_logging_has_it_for_itself(executor, keeper):
    assert run(executor, home_jobs.configured_here, "text") == "INFO text\nWARNING text\n"
    assert keeper.messages == []


# --- life ----------------------------------------------------------------------------------------

SCRIPT = """
import atexit
import contextvars
import logging
import os
import sys

from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

logging.basicConfig(stream=sys.stdout, format="%(threadName)s: %(message)s")


def log(text):
    import logging

    logging.warning(text)


def log_at_exit():
    import atexit
    import logging

    atexit.register(lambda: logging.warning("the interpreter ends"))


"""


def test_at_shutdown_and_at_exit(tmp_path):
    done = run_script(
        tmp_path,
        SCRIPT
        + """
executor = InterpreterThreadPoolExecutor(1, "worker")
executor.submit(interpreter(log_at_exit)).result()
executor.submit(interpreter(log), "last")
""",
    )
    assert_ok(done, "worker_0: last", "worker_0: the interpreter ends")


def test_in_a_forked_child(tmp_path):
    done = run_script(
        tmp_path,
        SCRIPT
        + """
executor = InterpreterThreadPoolExecutor(1, "worker")
executor.submit(interpreter(log), "parent").result()
sys.stdout.flush()
child = os.fork()
if child == 0:
    executor.submit(interpreter(log), "child").result()
    executor.shutdown()
    sys.stdout.flush()
    os._exit(0)
print(os.waitpid(child, 0)[1])
""",
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["worker_0: parent", "worker_1: child", "0"]


def test_while_the_caller_holds_the_handlers_lock(pool, keeper):
    """The record waits for the lock, and nobody else for the record."""
    executor = pool(max_workers=2, max_interpreters=2)
    with keeper.lock:
        waiting = executor.submit(interpreter(home_jobs.log), "home", logging.WARNING, "text")
        assert run(executor, jobs.add, 1, 2) == 3
        assert not waiting.done()
        assert keeper.messages == []
    waiting.result(TIMEOUT)
    assert keeper.messages == ["text"]


def test_no_thread_is_left_over(executor, keeper):
    before = threading.active_count()
    run(executor, home_jobs.log_from_a_thread, "text")
    assert threading.active_count() <= before + 1


def test_after_a_task_has_removed_this_package_from_its_modules(executor, keeper):
    run(executor, home_jobs.forget_this_package)
    log(executor)
    assert keeper.messages == ["text"]
    assert run(executor, home_jobs.thread_name)[1] == "home_0"


def test_task_that_is_cancelled_while_its_record_is_handled(executor, keeper):
    entered, leave = threading.Event(), threading.Event()

    def emit(record):
        entered.set()
        assert leave.wait(TIMEOUT)

    keeper.emit = emit
    future = executor.submit(interpreter(home_jobs.log_many), "home", 10**9)
    assert entered.wait(TIMEOUT)
    assert future.cancel()
    leave.set()
    assert run(executor, jobs.add, 1, 2) == 3


# --- context variables ---------------------------------------------------------------------------


def log_in_context(text, value):
    import logging

    import tagged_jobs

    logging.getLogger("home").warning(text)
    tagged_jobs.request_id.set(value)
    logging.getLogger("home").warning(text)


def test_a_filter_reads_the_context_of_the_task(pool, keeper):
    request_id, tenant = tagged_jobs.request_id, tagged_jobs.tenant
    seen = []

    def note(record):
        seen.append((request_id.get(None), tenant.get()))
        return True

    keeper.addFilter(note)
    executor = pool(1, context_vars=[request_id])
    context = contextvars.Context()
    for value in ("plain", jobs.Point(1, 2)):
        context.run(request_id.set, value)
        context.run(tenant.set, "not named")
        executor.submit(
            interpreter(log_in_context), "text", value=["changed"], context=context
        ).result(TIMEOUT)
    default = tenant.get()
    values = ["plain", ["changed"], jobs.Point(1, 2), ["changed"]]
    assert seen == [(value, default) for value in values]
    seen.clear()
    executor.submit(interpreter(home_jobs.log), "home", 40, "text").result(TIMEOUT)
    pool(1).submit(interpreter(home_jobs.log), "home", 40, "text").result(TIMEOUT)
    assert seen == [(None, default)] * 2
    assert request_id.get(None) is None


def log_with_a_lock_for_a_value():
    import logging
    import threading

    import tagged_jobs

    tagged_jobs.request_id.set(threading.Lock())
    logging.getLogger("home").warning("text")


def test_a_value_that_cannot_go_back_is_left_out(pool, keeper):
    seen = []
    keeper.addFilter(lambda record: seen.append(tagged_jobs.request_id.get("unset")) or True)
    executor = pool(1, context_vars=[tagged_jobs.request_id])
    context = contextvars.Context()
    context.run(tagged_jobs.request_id.set, 1)
    executor.submit(interpreter(log_with_a_lock_for_a_value), context=context).result(TIMEOUT)
    assert seen == ["unset"]
    assert keeper.messages == ["text"]
