"""`features` prints what is recognized, in the form of the specification, and nothing that is refused (features.md)."""

import json
from pathlib import Path

import jsonschema
import pytest

from pyruntime import SPEC_VERSION
from pyruntime.cli.main import main
from pyruntime.host.features import features
from pyruntime.plan import mount_options
from pyruntime.spec import check_config
from pyruntime.spec.template import default_config

SCHEMAS = Path(__file__).parents[2] / "spec-fixtures" / "schema"


@pytest.fixture(scope="module")
def found():
    return features()


def test_the_verb_prints_the_structure_as_json(capfd, found):
    assert main(["features"]) == 0
    assert json.loads(capfd.readouterr().out) == found


def test_the_structure_agrees_with_the_schema_and_leaves_nothing_of_it_out(found):
    schema = json.loads((SCHEMAS / "features.json").read_text())
    jsonschema.validate(found, schema)
    assert set(found) == set(schema["properties"])
    assert set(found["linux"]) == set(schema["properties"]["linux"]["properties"])
    for name, part in schema["properties"]["linux"]["properties"].items():
        assert set(part.get("properties", ())) <= set(found["linux"][name])


def enumerations(part):
    """Yield every list of allowed values in a schema."""
    if isinstance(part, dict):
        if "enum" in part:
            yield set(part["enum"])
        for value in part.values():
            yield from enumerations(value)
    elif isinstance(part, list):
        for value in part:
            yield from enumerations(value)


@pytest.mark.parametrize("names", ["namespaces", "actions", "operators", "archs", "knownFlags", "modes", "flags"])
def test_a_list_holds_exactly_the_values_that_config_json_may_have(found, names):
    linux = found["linux"]
    listed = {**linux, **linux["seccomp"], **linux["memoryPolicy"]}[names]
    assert len(listed) == len(set(listed))
    allowed = [
        values for values in enumerations(json.loads((SCHEMAS / "config.json").read_text())) if values & set(listed)
    ]
    # libseccomp may lack an architecture that the specification has.
    assert any(set(listed) <= values if names == "archs" else set(listed) == values for values in allowed)


@pytest.mark.parametrize("version", ["ociVersionMin", "ociVersionMax"])
def test_the_versions_are_accepted(found, version):
    config = default_config()
    config["ociVersion"] = found[version]
    check_config(config)


def test_the_newest_version_is_the_one_that_is_written(found):
    assert found["ociVersionMax"] == SPEC_VERSION == default_config()["ociVersion"]


def test_every_hook_that_is_named_is_accepted(found):
    config = default_config()
    config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in found["hooks"]}
    check_config(config)
    assert len(found["hooks"]) == 6


def test_mount_options_are_those_that_are_not_passed_on_as_data(found):
    assert mount_options.MountOptions(found["mountOptions"]).data == []
    assert mount_options.MountOptions(["size=1k", "unheard-of"]).data == ["size=1k", "unheard-of"]
    assert found["mountOptions"] == sorted(set(found["mountOptions"]))


def test_supported_flags_are_known_flags(found):
    seccomp = found["linux"]["seccomp"]
    assert set(seccomp["supportedFlags"]) <= set(seccomp["knownFlags"])
    assert "SECCOMP_FILTER_FLAG_LOG" in seccomp["supportedFlags"]


def test_annotations_that_change_the_behaviour_are_confessed(found):
    assert "org.systemd.property." in found["potentiallyUnsafeConfigAnnotations"]
    assert "run.oci.seccomp_fail_unknown_syscall" in found["potentiallyUnsafeConfigAnnotations"]
