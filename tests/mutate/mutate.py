"""mutmut with tests that are collected once: what `make mutate` runs.

mutmut starts pytest anew for each mutant, which takes a second before the first test. Here the process that forks the
mutants holds the collected tests, and each child runs those that call its function until one fails: first those that
have killed most for the time that they take, then the quickest.
"""

import importlib
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import _pytest.config
import mutmut.__main__ as mutmut
import pytest
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import mangled_name_from_mutant_name
from mutmut.workers.isolation import ForkRunner, run_in_fork_with_result

# Below mutants/: the test that killed each mutant so far, a line each.
_KILLERS = Path("killers.txt")


class CollectedOnce(PytestRunner):
    """Runs the tests of a mutant in the child that was forked for it, out of a session of the parent."""

    session: pytest.Session
    items: dict[str, pytest.Item]
    at_import: set[str]

    def collect(self) -> None:
        """Collect all tests; after this, `run_tests` of a mutant is of use."""
        with change_cwd("mutants"):
            arguments = ["--rootdir=.", "--tb=native", "-q", "-s", *self._pytest_add_cli_args]
            config = _pytest.config._prepareconfig([*arguments, *self._pytest_add_cli_args_test_selection])
            config._do_configure()
            self.session = pytest.Session.from_config(config)
            config.hook.pytest_sessionstart(session=self.session)
            config.hook.pytest_collection(session=self.session)
            # The children share one directory for what tests write.
            config._tmp_path_factory.getbasetemp()
            config.pluginmanager.unregister(name="terminalreporter")
        self.items = {item.nodeid: item for item in self.session.items}
        self.at_import = run_in_fork_with_result(_called_at_import)

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """Return 0 if the mutant survives, as pytest's exit status would be."""
        if mutant_name is None:
            return super().run_tests(mutant_name=mutant_name, tests=tests)
        with change_cwd("mutants"):
            kills = Counter(_KILLERS.read_text().splitlines() if _KILLERS.exists() else ())
            function = mangled_name_from_mutant_name(mutant_name)
            if function in self.at_import:
                # What it made is in the module already: make it anew, with the mutant.
                module = function.rpartition(".")[0]
                try:
                    importlib.reload(sys.modules[module])
                except Exception:
                    return 1
                known = state().tests_by_mangled_function_name
                tests = set().union(*(known[name] for name in known if name.startswith(f"{module}.x")))
            seconds = state().duration_by_test
            # Those that are likely to kill it for the time that they take.
            order = sorted(tests, key=lambda name: (-kills[name] / (seconds[name] + 0.005), seconds[name]))
            items = [self.items[name] for name in order]
            self.session.config.pluginmanager.register(_EndsAtFirstFailure())
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return 0


def _called_at_import() -> set[str]:
    """Return the functions that modules call while they are imported: imports what is loaded already once more."""
    set_mutant_under_test("stats")
    for name in sorted(sys.modules):
        if name.startswith(("pyruntime.plan.", "pyruntime.spec.")):
            importlib.reload(sys.modules[name])
    return set(state()._stats)


class _EndsAtFirstFailure:
    """Ends the child as soon as a test or a subtest fails: the other subtests would tell nothing more."""

    @staticmethod
    def pytest_runtest_logreport(report: pytest.TestReport) -> None:
        if report.failed:
            with _KILLERS.open("a") as file:
                file.write(f"{report.nodeid}\n")
            os._exit(1)


class OutOfOneSession(ForkRunner):
    """mutmut's worker, of which the parent holds the tests."""

    test_runner: CollectedOnce

    def startup(self) -> None:
        self.test_runner.collect()
        super().startup()


def _runner(max_workers: int = 1) -> Any:
    return OutOfOneSession(max_workers=max_workers, test_runner=CollectedOnce())


if __name__ == "__main__":
    mutmut.get_mutant_runner = _runner
    sys.exit(mutmut.cli())
