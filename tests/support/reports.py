"""The reports of a run of pytest in a machine, as tests of the run that started it: one JSON object a line.

In the machine $PYRUNTIME_REPORTS names the file that they are written to (tests/conftest.py).
"""

import json
import os
from pathlib import Path

import pytest


def register(config):
    """Send what is reported in this run, where it is asked for: in this one, not in one that its tests start."""
    if path := os.environ.pop("PYRUNTIME_REPORTS", ""):
        config.pluginmanager.register(_Sender(config, Path(path).open("a", buffering=1)))


class _Sender:
    """Writes the reports of the run `config` to `file`, each as it comes."""

    def __init__(self, config, file):
        self.config = config
        self.file = file

    def _send(self, **data):
        self.file.write(json.dumps(data) + "\n")

    def pytest_runtest_logreport(self, report):
        self._send(report=self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_collectreport(self, report):
        if report.failed:
            self._send(broken=f"{report.nodeid}\n{report.longreprtext}")

    def pytest_sessionfinish(self, exitstatus):
        self._send(status=int(exitstatus))


def take(request, lines):
    """Report each test that `lines` tells of as a part of the test of `request`, which fails if a run did not end well.

    lines  what a _Sender has written, decoded
    """
    config, broken, statuses = request.config, [], []
    for data in lines:
        if "report" in data:
            report = config.hook.pytest_report_from_serializable(config=config, data=data["report"])
            report.nodeid = f"{request.node.nodeid}::{report.nodeid}"
            if isinstance(report.longrepr, list):  # of a skip, for which JSON has no tuple
                report.longrepr = tuple(report.longrepr)
            request.node.ihook.pytest_runtest_logreport(report=report)
        elif "broken" in data:
            broken.append(data["broken"])
        else:
            statuses.append(data["status"])
    assert not broken, "\n".join(broken)
    # Failed tests (1) have been reported one by one.
    assert statuses and {*statuses} <= {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}, statuses
