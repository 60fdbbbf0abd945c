"""Sends each report of pytest, as it comes, through the machine's second port: one JSON object a line.

Loaded in the machine by `-p port`; tests/vm/test_vm.py reads the lines and makes them reports of its own run.
"""

import json
from pathlib import Path

import pytest

PORT = Path("/dev/virtio-ports/reports")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Open the port for as long as pytest runs."""
    config.pluginmanager.register(Sender(config, PORT.open("w", buffering=1)))


class Sender:
    """Writes the reports to `port`."""

    def __init__(self, config, port):
        self.config = config
        self.port = port

    def _send(self, **data):
        self.port.write(json.dumps(data) + "\n")

    def pytest_runtest_logreport(self, report):
        self._send(report=self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_collectreport(self, report):
        if report.failed:
            self._send(broken=f"{report.nodeid}\n{report.longreprtext}")

    def pytest_sessionfinish(self, exitstatus):
        self._send(status=int(exitstatus))
