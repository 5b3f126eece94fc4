"""Runs one suite in this process, in which `replaced/sitecustomize.py` is active.

usage: suite.py SUITE SECONDS LOG RESULT [TEXT]      (started by run.py)

SECONDS is the time limit, LOG the file that sitecustomize writes, RESULT the file that gets the
counts as JSON. TEXT leaves only the tests whose id contains it.
"""

import faulthandler
import json
import sys
import unittest
from collections import Counter

from suites import EXCLUDED, SUITES


class Result(unittest.TextTestResult):
    """Keeps how each test ended. A test whose subtest fails has failed."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.outcome: dict[str, str] = {}

    def note(self, test, outcome: str) -> None:
        if self.outcome.get(test.id()) != "failed":
            self.outcome[test.id()] = outcome

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "passed")

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "failed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "failed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.note(test, "passed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "failed")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(test, "failed")


def tests_of(suite):
    """The tests of `suite`, flattened."""
    if isinstance(suite, unittest.TestSuite):
        for part in suite:
            yield from tests_of(part)
    else:
        yield suite


def is_failed_import(test) -> bool:
    """Whether unittest put `test` where a module could not be imported, to report that."""
    return type(test).__name__ == "_FailedTest"


def lines_of(log: str) -> list[str]:
    with open(log) as file:
        return file.read().splitlines()


def check_environment() -> None:
    """Fail if a test left threads or processes behind; the tests themselves only warn of them."""
    from test import support

    if support.environment_altered:
        raise AssertionError("a test left threads or processes behind (see the warnings above)")


def check_replacement(suite, log: str) -> None:
    """Fail unless the executors that the tests and their scripts made were ours."""
    import concurrent.futures.thread

    if concurrent.futures.ThreadPoolExecutor is concurrent.futures.thread.ThreadPoolExecutor:
        raise AssertionError("CPython's own executor is in place")
    strays = Counter(line for line in lines_of(log) if line.startswith("stray"))
    if strays:
        raise AssertionError(f"executors that are not ours: {dict(strays)}")
    if suite.makes and suite.makes not in lines_of(log):
        raise AssertionError(f"no {suite.makes} of ours was made")


def main() -> int:
    name, seconds, log, result_path, *text = sys.argv[1:]
    suite = next(suite for suite in SUITES if suite.name == name)
    faulthandler.enable()
    faulthandler.dump_traceback_later(float(seconds), exit=True)

    from test.support import script_helper

    # The scripts that tests start must see PYTHONPATH, where the replacement is: no -I, no -E.
    script_helper.__dict__["__cached_interp_requires_environment"] = True

    loaded = list(tests_of(unittest.defaultTestLoader.loadTestsFromName(suite.module)))
    selected = [test for test in loaded if is_failed_import(test) or suite.selects(test)]
    chosen = [
        test
        for test in selected
        if test.id() not in EXCLUDED and all(part in test.id() for part in text)
    ]
    runner = unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Result)
    outcome = runner.run(unittest.TestSuite(chosen)).outcome
    for check in (check_environment, lambda: check_replacement(suite, log)):
        try:
            check()
        except AssertionError as error:
            print(f"FAIL: {error}")
            outcome[f"{name}: {error}"] = "failed"
    counts = Counter(outcome.values())
    made = Counter(line.split()[0] for line in lines_of(log))
    with open(result_path, "w") as file:
        json.dump(
            {
                "passed": counts["passed"],
                "failed": counts["failed"],
                "skipped": counts["skipped"],
                "excluded": sum(test.id() in EXCLUDED for test in selected),
                "executors": made["executor"],
                "futures": made["future"],
                "scripts": made["replaced"] - 1,
                "failures": [test for test, how in outcome.items() if how == "failed"],
            },
            file,
        )
    faulthandler.cancel_dump_traceback_later()
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
