"""What an interpreter takes over from the caller: argv, warnings, names, decimal, locale."""

import decimal
import locale
import sys
import threading
import warnings

import home_jobs
import jobs
import odd_warnings
import pytest
from harness import TIMEOUT, assert_ok, run_script

from aiointerpreters import interpreter


@pytest.fixture
def executor(pool):
    """One of one interpreter."""
    return pool(max_workers=1)


def run(executor, function, *args):
    return executor.submit(interpreter(function), *args).result(TIMEOUT)


# --- sys.argv ------------------------------------------------------------------------------------


def test_argv_follows_the_callers(executor, monkeypatch):
    assert run(executor, home_jobs.argv) == sys.argv
    monkeypatch.setattr(sys, "argv", ["another", "--option"])
    assert run(executor, home_jobs.argv) == ["another", "--option"]
    sys.argv.append("added")
    assert run(executor, home_jobs.argv) == ["another", "--option", "added"]
    sys.argv[0] = "changed"
    assert run(executor, home_jobs.argv) == ["changed", "--option", "added"]


@pytest.mark.parametrize("value", [None, 3, ()])
def test_argv_that_is_no_list_changes_nothing(executor, monkeypatch, value):
    before = list(sys.argv)
    assert run(executor, home_jobs.argv) == before
    monkeypatch.setattr(sys, "argv", value)
    assert run(executor, home_jobs.argv) == before
    monkeypatch.delattr(sys, "argv")
    assert run(executor, home_jobs.argv) == before


def test_argv_without_what_is_no_str(executor, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["name", 3, b"bytes", "last"])
    assert run(executor, home_jobs.argv) == ["name", "last"]


def len_of_argv():
    return [len(item) for item in sys.argv]


def test_argv_of_unusual_strings(executor, monkeypatch):
    unusual = ["x" * 1_000_000, "\udcff", "\u20ac" * 300_000, "", "\0"]
    monkeypatch.setattr(sys, "argv", unusual)
    assert run(executor, len_of_argv) == [len(item) for item in unusual]
    monkeypatch.setattr(sys, "argv", unusual[1:2])
    assert run(executor, len_of_argv) == [1]


# --- warnings ------------------------------------------------------------------------------------


def test_filters_follow_the_callers(executor):
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("error", UserWarning)
        assert run(executor, home_jobs.filters) == [("error", "UserWarning", 0)]
        assert run(executor, home_jobs.outcome_of_warning, "text") == "raised"
        warnings.simplefilter("ignore", UserWarning)
        assert run(executor, home_jobs.outcome_of_warning, "text") == "went on"
        warnings.filterwarnings("error", message="TEXT.*more", category=UserWarning)
        assert run(executor, home_jobs.outcome_of_warning, "text") == "went on"
        assert run(executor, home_jobs.outcome_of_warning, "text and more") == "raised"
    expected = [(item[0], item[2].__name__, item[4]) for item in warnings.filters]
    assert run(executor, home_jobs.filters) == expected


def test_filters_that_are_as_python_makes_them_import_nothing(tmp_path):
    done = run_script(
        tmp_path,
        """
        import home_jobs

        from aiointerpreters import InterpreterThreadPoolExecutor, interpreter

        names = ["warnings", "aiointerpreters._home", "threading", "logging", "decimal", "re"]
        with InterpreterThreadPoolExecutor() as executor:
            print(executor.submit(interpreter(home_jobs.imported), *names).result())
        """,
    )
    assert_ok(done, "[]")


def test_filter_of_a_category_that_is_imported_later(executor):
    with warnings.catch_warnings():
        warnings.simplefilter("error", odd_warnings.OddWarning)
        assert run(executor, home_jobs.imported, "odd_warnings") == []
        assert run(executor, home_jobs.own_warning, "text") == "raised"


def test_filter_of_a_category_that_no_worker_finds(executor):
    class Local(Warning):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error", Local)
        warnings.simplefilter("error", UserWarning)
        assert run(executor, home_jobs.outcome_of_warning, "text") == "raised"


@pytest.mark.parametrize("filters", [None, [3], [("error",)], [(1, 2, 3, 4, 5)]], ids=repr)
def test_filters_of_a_strange_kind_do_no_harm(executor, monkeypatch, filters):
    assert run(executor, jobs.add, 1, 2) == 3
    monkeypatch.setattr(warnings, "filters", filters)
    assert run(executor, jobs.add, 1, 2) == 3


# --- names of threads ----------------------------------------------------------------------------


def test_current_thread_has_the_workers_name(pool):
    executor = pool(max_workers=1, thread_name_prefix="a prefix")
    imported_before, name = run(executor, home_jobs.thread_name)
    assert not imported_before
    assert name == "a prefix_0"
    assert name == executor.submit(lambda: threading.current_thread().name).result(TIMEOUT)


def test_guests_have_their_own_names(pool, gates):
    """Two workers take turns in one interpreter."""
    executor = pool(max_workers=2, max_interpreters=1, thread_name_prefix="guest")
    names = set()
    gate = gates()
    for _ in range(2):
        # The worker whose interpreter it is gets busy with something plain; the other one enters.
        busy = executor.submit(jobs.pass_gate, *gate.args)
        gate.wait_started()
        names.add(run(executor, home_jobs.thread_name)[1])
        gate.open()
        busy.result(TIMEOUT)
    assert names <= {"guest_0", "guest_1"}


def name_of_own_thread():
    import threading

    names = []
    thread = threading.Thread(target=lambda: names.append(threading.current_thread().name))
    thread.start()
    thread.join()
    return names[0] == thread.name


def test_threads_of_a_task_keep_their_names(executor):
    assert run(executor, name_of_own_thread)


# --- decimal, locale -----------------------------------------------------------------------------


def test_decimal_begins_as_in_a_new_thread_of_the_caller(pool, monkeypatch):
    standard = decimal.DefaultContext
    before = standard.prec, standard.traps[decimal.FloatOperation]
    try:
        standard.prec = 77
        standard.traps[decimal.FloatOperation] = True
        assert run(pool(max_workers=1), home_jobs.decimal_precision) == (77, True)
    finally:
        standard.prec, standard.traps[decimal.FloatOperation] = before
    assert run(pool(max_workers=1), home_jobs.decimal_precision) == before


def test_locale_is_that_of_the_process(executor):
    assert run(executor, home_jobs.number_format) == (
        locale.setlocale(locale.LC_NUMERIC),
        locale.localeconv()["decimal_point"],
    )
