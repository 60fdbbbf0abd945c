"""What each part of a configuration adds to the plan, to the last argument, pointer and clause: plans.txt tells it."""

import plans


def test_each_part_of_a_configuration_changes_the_plan_as_in_the_file():
    told = plans.FILE.read_text().split("\n\n")
    found = "\n".join(plans.blocks()).split("\n\n")
    different = [(before, now) for before, now in zip(told, found, strict=False) if before != now]
    assert not different[:3], "run plans.py, and read what has changed"
    assert len(told) == len(found)
