"""Prints the suite's total in pytest's summary."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import suite


def pytest_terminal_summary(terminalreporter):
    for total in suite.TOTALS:
        terminalreporter.write_line(f"runtime-tools validation: {total}")
