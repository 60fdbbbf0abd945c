"""`python3 tests/validation [--runtime PROGRAM] [PROGRAM_OF_THE_SUITE ...]`: run the suite against any runtime."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import suite


def main() -> int:
    """Run, print each failure and the total; compare with the list where the runtime is ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", default=".venv/bin/pyruntime", help="the program to test (default: %(default)s)")
    parser.add_argument("--any", action="store_true", help="do not compare with expected-failures.txt")
    parser.add_argument("programs", nargs="*", help="run only these programs of the suite")
    options = parser.parse_args()
    try:
        expected = {} if options.any else suite.expected_failures()
        outcomes = suite.run_all(options.runtime, tuple(options.programs))
    except (suite.SuiteError, suite.golang.GoError) as error:
        print(f"validation: {error}", file=sys.stderr)
        return 2
    surprises = 0
    for outcome in outcomes.values():
        reason = expected.get(outcome.name, "")
        if outcome.passed and outcome.report.remarks:
            print(f"{outcome.name}: passes, but remarks\n{outcome.explain()}")
        elif not outcome.passed:
            known = f"fails as expected: {reason}" if reason else "FAILS"
            print(f"{outcome.name}: {known}\n{outcome.explain()}")
        if not options.any and outcome.passed == bool(reason) and not reason.startswith(suite.SOMETIMES):
            surprises += 1
            if outcome.passed:
                print(f"{outcome.name}: PASSES, though expected-failures.txt names it")
    print(suite.total(outcomes))
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
