"""The house (docs/design.md): imports lead down, none goes in a circle, and a folder is a chapter."""

import runpy
import sys
from pathlib import Path

import pytest

import pyruntime

PROJECT = Path(__file__).parents[2]
FEW = 10  # files that a folder of engine/ may have
LONG = 400  # lines


@pytest.fixture(scope="module")
def house():
    """The names of generate/house.py."""
    return runpy.run_path(str(PROJECT / "generate/house.py"))


def test_each_module_is_on_a_floor(house):
    assert {house["room"](name) for name in house["modules"]() if name} == {*house["RANK"]}


def test_imports_are_found_wherever_they_stand(house):
    found = {*house["imports"]()}
    assert len(found) > 500
    assert ("operations.run", "operations.create") in found  # at the top of a module
    assert ("base.errors", "base.json_pointer") in found  # by its full name, in a function
    assert ("plan.context", "plan.facts") in found  # for type checkers
    assert ("spec", "spec.rules") in found  # a module of a package


def test_no_import_leads_up_or_sideways(house):
    assert house["wrong_arrows"]() == []


def test_nothing_goes_round_in_a_circle(house):
    assert house["circles"]() == []


def test_no_call_in_c_leads_up_or_sideways(house):
    found = {*house["calls"]()}
    assert ("stub/spawn", "stub/init") in found
    assert ("stub/steps", "stub/capabilities") in found
    assert {*house["C_ROOM"]} == {f"{path.parent.name}/{path.stem}" for path in (PROJECT / "csrc").rglob("*.c")}
    assert house["wrong_calls"]() == []


def test_what_is_loaded_late_is_late_for_something(house):
    """It saves nothing where the module is loaded already."""
    assert house["late_for_nothing"]() == []


def test_each_import_in_a_function_has_its_reason(house):
    """What is the package's own needs none: it is called by its full name, and loaded when that is first used."""
    found = [*house["late_imports"]()]
    assert found
    assert [place for place, comment in found if not comment.startswith("late: ")] == []


def test_each_folder_loads_its_modules_when_they_are_first_used():
    for path in (PROJECT / "pyruntime").rglob("*/__init__.py"):
        assert "\npyruntime.load_lazily(__name__)\n" in path.read_text() or path.parent.name == "pyruntime", path


def test_type_checkers_are_told_of_what_is_called_by_its_full_name(house):
    """They follow imports alone, and would take anything for the type of what they have not read."""
    lines = (PROJECT / "pyruntime/__init__.pyi").read_text().splitlines()
    told = [line.removeprefix("import ") for line in lines if line.startswith("import ")]
    assert told == house["by_full_name"]()


def test_long_files_say_why(house):
    for path in [*house["modules"]().values(), *(PROJECT / "csrc").rglob("*.[ch]")]:
        lines = path.read_text().splitlines()
        assert len(lines) <= LONG or any("One file" in line for line in lines[:15]), path


def test_within_the_package_its_public_names_are_not_used(house):
    """They are loaded from the floors above: whoever imports one from the package itself would hide an arrow."""
    for name, path in house["modules"]().items():
        for line in path.read_text().splitlines():
            if line.strip().startswith("from pyruntime import "):
                names = {word.partition(" ")[0] for word in line.partition(" import ")[2].split(", ")}
                assert names <= {"SPEC_VERSION", "__version__", "_constants", "spec"}, (name, line)
    for name, full in house["full_names"]():
        assert full.split(".")[1] not in pyruntime._PUBLIC, (name, full)


def test_no_module_is_called_like_one_of_the_standard_library(house):
    names = {name.rpartition(".")[2] for name in house["modules"]()} - {"__main__"}
    assert not names & sys.stdlib_module_names


def test_a_folder_of_the_engine_has_few_files():
    for folder in (PROJECT / "pyruntime/engine").glob("*/"):
        assert len([*folder.glob("*.py")]) <= FEW + 1, folder  # and its __init__.py
