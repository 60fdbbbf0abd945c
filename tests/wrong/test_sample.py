"""A few of the wrong runtimes of `make wrong`, each with the test that must catch it."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import wrong

wrong.WORK = wrong.WORK.with_name("wrong-sample")  # `make wrong` may be running
CGROUPS = "tests/conformance/test_config_linux_cgroups.py"
HOOKS = "tests/conformance/test_config_hooks.py"
LIFECYCLE = "tests/conformance/test_runtime_lifecycle.py"
PROCESS = "tests/conformance/test_config_process.py"
CAUGHT = {
    "limits-not-written": f"{CGROUPS}::test_limits_are_there_before_the_program_starts",
    "program-runs-at-create": f"{LIFECYCLE}::test_create_does_not_run_the_program",
    "hooks-reversed": f"{HOOKS}::test_hooks_run_in_the_order_of_the_lifecycle_and_of_the_list",
    "always-forced": f"{LIFECYCLE}::test_a_running_container_cannot_be_deleted",
    "create/umask": f"{PROCESS}::test_umask",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("variation", CAUGHT)
def test_a_wrong_runtime_is_caught(variation):
    caught, _ = wrong.catch(variation, [CAUGHT[variation]])
    assert caught.startswith(CAUGHT[variation]), caught
