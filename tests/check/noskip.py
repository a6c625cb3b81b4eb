"""pytest plugin: in CI a skipped test is a failed run, since CI has root and all packages."""

import os

import pytest

skipped = []


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    if os.environ.get("CI") and skipped and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nCI: skipped, and nothing may be:", *skipped, sep="\n  ")
