"""Interpreters that end leave no memory behind, whatever has been done in them.

CPython keeps all memory of an interpreter (1.4 MB and more) if a single object of it is left when
it has ended, so growth that is measured in megabytes is exact enough to find one forgotten object.
"""

import asyncio
import decimal
import gc
import logging
import os
import sys
import warnings

import coroutine_jobs
import ended_jobs
import home_jobs
import jobs
import odd_warnings
import pytest
import tagged_jobs
from harness import TIMEOUT

from aiointerpreters import InterpreterThreadPoolExecutor, broadcast, interpreter

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="CPython 3.13 leaks 1.4 MB and more with each interpreter"
)

MODULES = """
    abc argparse array ast asyncio atexit base64 binascii bisect builtins bz2 calendar cmath
    codecs collections collections.abc concurrent.futures configparser contextlib
    contextvars copy copyreg csv ctypes dataclasses datetime decimal difflib dis email
    email.message encodings.idna enum errno fileinput fnmatch fractions functools gc getpass
    gettext glob graphlib gzip hashlib heapq hmac html html.parser http http.client
    http.cookies http.server importlib importlib.metadata importlib.resources inspect io
    ipaddress itertools json keyword linecache locale logging logging.config
    logging.handlers lzma marshal math mimetypes mmap multiprocessing numbers operator os
    pathlib pdb pickle pkgutil platform pprint queue random re reprlib sched secrets select
    selectors shelve shlex shutil signal smtplib socket socketserver sqlite3 ssl stat
    statistics string struct subprocess symtable sys sysconfig tarfile tempfile textwrap
    threading time timeit token tokenize traceback types typing unicodedata unittest
    unittest.mock urllib.error urllib.parse urllib.request uuid warnings weakref
    xml.dom.minidom xml.etree.ElementTree xml.sax zipfile zlib zoneinfo
"""


def resident() -> int:
    """Bytes of memory that the process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def growth(work, count: int) -> float:
    """Bytes left by each of so many interpreters that have done `work(executor)` and ended."""

    def end_interpreters(count):
        for _ in range(count):
            with InterpreterThreadPoolExecutor(1, context_vars=[ended_jobs.variable]) as executor:
                work(executor)
        gc.collect()

    end_interpreters(1)
    before = resident()
    end_interpreters(count)
    return (resident() - before) / count


def assert_flat(work, count: int = 5) -> None:
    # Whatever the process needs once may come late: it does not come thrice.
    left = [growth(work, count)]
    while left[-1] > 600_000 and len(left) < 3:
        left.append(growth(work, count))
    assert left[-1] < 600_000, f"bytes left by each interpreter: {left}"


def run(executor, function, *args):
    return executor.submit(interpreter(function), *args).result(TIMEOUT)


# --- modules -------------------------------------------------------------------------------------


def test_of_imports():
    names = MODULES.split()
    assert len(names) >= 100
    assert_flat(lambda executor: run(executor, ended_jobs.import_all, names), count=2)


# --- what an interpreter takes over from its caller ----------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda: warnings.filterwarnings("ignore", message="a pattern.*"),
        lambda: warnings.filterwarnings("ignore", module="a pattern.*"),
        lambda: warnings.simplefilter("once", odd_warnings.OddWarning),
        lambda: warnings.simplefilter("once"),
    ],
    ids=["message", "module", "category", "once"],
)
def test_of_filters_of_warnings(change):
    with warnings.catch_warnings():
        change()
        assert_flat(lambda executor: run(executor, home_jobs.own_warning, "text"))


def test_of_what_else_is_taken_over():
    ended_jobs.variable.set({"a": ["value"]})
    with decimal.localcontext() as context:
        context.prec = 7

        def work(executor):
            logging.getLogger("aiointerpreters.ended").setLevel(logging.INFO)
            run(executor, home_jobs.log, "aiointerpreters.ended", logging.INFO, "%s", "text")
            run(executor, home_jobs.log_error, "text")
            run(executor, home_jobs.thread_name)
            run(executor, home_jobs.decimal_precision)
            assert run(executor, ended_jobs.see) == {"a": ["value"]}

        assert_flat(work)


# --- what tasks do -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["registry", "replaced", "catch_warnings", "modules forgotten"])
def test_of_filters_that_a_task_makes(how):
    assert_flat(lambda executor: run(executor, ended_jobs.filter_here, how))


@pytest.mark.parametrize("how", ["frozen", "callbacks", "garbage", "everything saved"])
def test_of_a_garbage_collector_that_a_task_has_changed(how):
    assert_flat(lambda executor: run(executor, ended_jobs.collect_here, how))


def test_of_errors():
    def work(executor):
        for function in (ended_jobs.raise_a_cycle, jobs.raise_value_error):
            assert executor.submit(interpreter(function)).exception(TIMEOUT)
        assert executor.submit(interpreter(ended_jobs.import_all), ["no module"]).exception(TIMEOUT)

    assert_flat(work)


def test_of_coroutines():
    async def work(executor):
        add = interpreter(coroutine_jobs.add)
        assert sum(await asyncio.gather(*(executor.run(add, 1, n) for n in range(9)))) == 45

    assert_flat(lambda executor: asyncio.run(work(executor)))


def test_of_broadcasts():
    value = broadcast({"numbers": list(range(1000)), "of": tagged_jobs.Handler})

    def work(executor):
        assert run(executor, jobs.identity, value)["numbers"][-1] == 999

    assert_flat(work)


def test_of_functions_by_value():
    kept = []

    def closure(n):
        class Local:
            def __init__(self):
                self.itself = self

        kept.append(Local())
        return n + len(kept)

    assert_flat(lambda executor: run(executor, closure, 1))


# --- interpreters of somebody else ---------------------------------------------------------------


def test_of_an_import_of_the_package():
    import _interpreters

    def work(_executor):
        for _ in range(4):
            other = _interpreters.create("isolated")
            assert _interpreters.exec(other, "from aiointerpreters import interpreter") is None
            _interpreters.destroy(other)

    assert_flat(work)
