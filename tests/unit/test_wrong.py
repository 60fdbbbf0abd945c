"""Every step that the planner yields has wrong variations in tests/wrong, or a reason; every action is still there."""

import ast
import importlib.util
from pathlib import Path

import pytest

from pyruntime.plan.step import Step

PROJECT = Path(__file__).parents[2]


def load(name):
    """Return a module of tests/wrong, which is no package and not on the path."""
    spec = importlib.util.spec_from_file_location(f"wrong_{name}", PROJECT / f"tests/wrong/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def steps():
    return load("steps")


def operations(node):
    """Yield the operations that the first argument of Step(…) can be."""
    if isinstance(node, ast.Constant):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from operations(node.body)
        yield from operations(node.orelse)
    elif isinstance(node, ast.JoinedStr):  # f"{name}_map"
        (ending,) = [part.value for part in node.values if isinstance(part, ast.Constant)]
        yield from (f"{name}{ending}" for name in ("uid", "gid"))


def planned():
    """Yield (operation, names of arguments) for each step that the sources of the planner make."""
    for path in sorted((PROJECT / "pyruntime/plan").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Step":
                names = [keyword.arg for keyword in node.keywords if keyword.arg]
                yield from ((op, names) for op in operations(node.args[0]))


def test_each_operation_of_the_planner_has_variations_or_a_reason(steps):
    found = {op for op, _ in planned()}
    assert len(found) > 40
    assert found == set(steps.STEPS) | (set(steps.NOT_VARIED) & found)
    assert all(steps.NOT_VARIED.values())


def test_each_argument_of_a_step_has_variations_or_a_reason(steps):
    missing = [
        f"{op}.{name}"
        for op, names in planned()
        for name in names
        if op not in steps.NOT_VARIED and name not in steps.STEPS[op].split() and f"{op}.{name}" not in steps.NOT_VARIED
    ]
    assert not missing


def test_a_variation_changes_its_step_and_no_other(steps):
    def plan():
        return [
            Step("mount", "/mounts/0", "config.md#mounts", path="/a", fstype="proc", source="p", data=["x"]),
            Step("mkdir", "/process/cwd", "config.md#process", path="/b"),
        ]

    assert steps.varied("create", plan(), "") == plan()
    assert [step.op for step in steps.varied("create", plan(), "create/mkdir")] == ["mount"]
    assert steps.varied("create", plan(), "exec/mkdir") == plan()
    changed = steps.varied("create", plan(), "create/mount.data=none")
    assert changed[0].args["data"] == []
    assert changed[1] == plan()[1]
    names = [name for step in plan() for name in steps.names("create", step)]
    assert len(names) == len(set(names)) == 7
    assert all(steps.varied("create", plan(), name) != plan() for name in names)


def test_what_no_test_has_a_place_for_is_reported(steps):
    missing = steps.without_place(["create/mkdir", "create/hook[prestart]", "exec/umask.mask=other"])
    assert not {"mkdir", "hook", "umask.mask"} & set(missing)
    assert missing["umask"] == missing["mkdir.path"] == ""
    assert missing["label.text"] == steps.ELSEWHERE["label"]


def test_each_action_that_is_made_wrong_is_there():
    actions = load("actions")
    for target, _, sections in actions.ACTIONS.values():
        owner, name = actions._owner(target)
        assert name in vars(owner), target
        assert sections
