"""generate/defaults.json, what `explain` calls the default of a property: it is one, and it is what the plan does."""

import copy
import json
from pathlib import Path

import pytest

from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.plan.facts import CgroupHost, Facts
from pyruntime.spec import check_config
from pyruntime.spec.clauses import properties

PROJECT = Path(__file__).parents[2]
DEFAULTS = json.loads((PROJECT / "generate/defaults.json").read_text())
EVERY = json.loads((PROJECT / "spec-fixtures/config/good/every-property.json").read_text())
# Where each of them may be at its default beside the others.
EVERY["process"]["scheduler"] = {"policy": "SCHED_OTHER"}
EVERY["linux"]["resources"] = {"memory": {"limit": 1 << 20}}
HOST = Facts(
    CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/"}, frozenset(["memory"])),
    euid=0,
    capabilities=(1 << 41) - 1,
    known_capabilities=(1 << 41) - 1,
    in_user_namespace=False,
    apparmor=True,
    selinux=True,
)
SCHEMA = json.loads((PROJECT / "spec-fixtures/schema/config.json").read_text())


def resolved(node):
    while "$ref" in node:
        node = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
    return node


def holder(template):
    """Return the schema of what holds the property `template`."""
    node = SCHEMA
    for part in template.split("/")[1:-1]:
        node = resolved(node)
        node = node.get("properties", {}).get(part) or node.get("items") or node["additionalProperties"]
    return resolved(node)


def test_each_is_a_property_that_may_be_left_out():
    assert set(DEFAULTS) <= set(properties())
    required = {
        template for template in DEFAULTS if template.rpartition("/")[2] in holder(template).get("required", ())
    }
    assert not required


def literal(text):
    """Return the JSON value that a default is, None where it is said in words."""
    return json.loads(text) if text in ("true", "false") or text.isdecimal() else None


LITERALS = {template: literal(text) for template, text in DEFAULTS.items() if literal(text) is not None}


def places(config, template):
    """Yield (holder, key) for each place of `template` in a configuration."""
    found = [config]
    *way, last = template.split("/")[1:]
    for part in way:
        found = [
            inner
            for value in found
            for inner in (
                (value if isinstance(value, list) else value.values())
                if part == "*"
                else [value[part]]
                if isinstance(value, dict) and part in value
                else []
            )
        ]
    return [(value, last) for value in found if isinstance(value, dict)]


def steps(config):
    check_config(config)
    context = Context(config, HOST, "/bundle", "c1")
    return [(step.op, step.args) for step in compile_plan(context).steps()]


@pytest.mark.parametrize(("template", "value"), LITERALS.items(), ids=LITERALS)
def test_leaving_it_out_is_the_same_as_writing_the_default(template, value):
    found = places(EVERY, template)
    assert found, "the configuration with every property has no place for it"
    absent, present = copy.deepcopy(EVERY), copy.deepcopy(EVERY)
    for (without, key), (with_it, _) in zip(places(absent, template), places(present, template), strict=True):
        without.pop(key, None)
        with_it[key] = value
    assert steps(absent) == steps(present)
