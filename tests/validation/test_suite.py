"""Each program of the runtime-tools validation suite passes, but for those in expected-failures.txt."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import suite

EXPECTED = suite.expected_failures()


def pytest_generate_tests(metafunc):
    """One test a program. Getting the suite belongs to collecting, because it says which programs there are."""
    if "program" in metafunc.fixturenames:
        names = suite.programs(suite.get())
        unknown = sorted(set(EXPECTED) - set(names))
        assert not unknown, f"expected-failures.txt names programs that the suite does not have: {unknown}"
        metafunc.parametrize("program", [pytest.param(name, marks=_marks(name)) for name in names])


def _marks(name):
    if name not in EXPECTED:
        return ()
    reason = EXPECTED[name]
    return pytest.mark.xfail(reason=reason, strict=not reason.startswith(suite.SOMETIMES))


@pytest.fixture(scope="session")
def outcomes(pyruntime):
    """Run the whole suite once: its programs mostly wait, so they wait together."""
    results = suite.run_all(str(pyruntime))
    suite.TOTALS.append(suite.total(results))
    return results


def test_program(program, outcomes):
    assert outcomes[program].passed, f"{program}\n{outcomes[program].explain()}"
