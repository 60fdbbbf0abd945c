"""What a program of the validation suite says in TAP, and whether that is a pass."""

import re
from dataclasses import dataclass, field

_TEST = re.compile(r"^(not )?ok\b(?: (\d+))?(?: - (.*))?$")
_PLAN = re.compile(r"^1\.\.(\d+)")
_DIRECTIVE = re.compile(r"# *(todo|skip)\b", re.IGNORECASE)


@dataclass
class Report:
    """The outcome of one program.

    passed    tests that are ok, skipped ones among them
    failures  names of those that are not, each with the diagnostic lines that follow it
    planned   number of tests in the plans, None where a program that tests something printed no plan
    remarks   lines with an "error" in programs that report one without failing a test
    """

    passed: int = 0
    failures: list[tuple[str, list[str]]] = field(default_factory=list)
    planned: int | None = None
    remarks: list[str] = field(default_factory=list)


def parse(output: str) -> Report:
    """Return what `output`, TAP version 13, says. One program may hold several TAP documents in a row."""
    report = Report()
    diagnostics = None
    for line in output.splitlines():
        if plan := _PLAN.match(line):
            report.planned = (report.planned or 0) + int(plan[1])
        elif test := _TEST.match(line):
            name = test[3] or test[2] or "(without a name)"
            diagnostics = None
            if test[1] and not _DIRECTIVE.search(name):
                diagnostics = []
                report.failures.append((name, diagnostics))
            else:
                report.passed += 1
        elif line.strip() and diagnostics is not None:
            diagnostics.append(line.strip())
        elif not report.passed and line.strip().startswith('"error"'):
            report.remarks.append(line.strip())
    return report


def passes(report: Report, status: int) -> bool:
    """Whether the program passed, as the suite's own harness counts: it exited with 0 and no test is "not ok".

    Several programs test by their exit status alone, and the hook programs report what they find as a remark without
    failing: neither print a test, so a plan of none is no failure.
    """
    return status == 0 and not report.failures
