"""What each part of a configuration adds to the plan, to the last argument, pointer and clause: plans.txt tells it."""

import plans
import pytest

TOLD = {part.split("\n", 1)[0]: part for part in f"\n{plans.FILE.read_text()}".split("\n# ")[1:]}


@pytest.mark.parametrize("name", plans.PARTS)
def test_the_configuration_changes_the_plan_as_in_the_file(name):
    told, found = TOLD[name].rstrip("\n").split("\n\n"), plans.part(name)[2:].rstrip("\n").split("\n\n")
    different = [now for before, now in zip(told, found, strict=False) if before != now]
    if different or len(told) != len(found):
        # Without pytest's comparison of long texts, which takes a minute for some.
        pytest.fail("run plans.py, and read what has changed:\n" + "\n\n".join(different[:3]))


def test_the_file_has_no_other_parts():
    assert list(TOLD) == list(plans.PARTS)
