"""What each part of a configuration adds to the plan, to the last argument, pointer and clause: plans.txt tells it."""

import plans
import pytest


def test_each_part_of_a_configuration_changes_the_plan_as_in_the_file():
    told = plans.FILE.read_text().split("\n\n")
    found = "\n".join(plans.blocks()).split("\n\n")
    different = [now for before, now in zip(told, found, strict=False) if before != now]
    if different or len(told) != len(found):
        # Without pytest's comparison of long texts, which takes a minute for some.
        pytest.fail("run plans.py, and read what has changed:\n" + "\n\n".join(different[:3]))
