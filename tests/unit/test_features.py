"""`features` prints what is recognized, in the form of the specification, and nothing that is refused (features.md)."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from pyruntime import SPEC_VERSION
from pyruntime.base.errors import InvalidConfig
from pyruntime.cli.main import main
from pyruntime.operations.features import features
from pyruntime.plan import capabilities, mount_flags
from pyruntime.spec import check_config
from pyruntime.spec.default_config import default_config

SCHEMAS = Path(__file__).parents[2] / "spec-fixtures" / "schema"
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@pytest.fixture(scope="module")
def found():
    return features()


def test_the_verb_prints_the_structure_as_json(capfd, found):
    assert main(["features"]) == 0
    assert json.loads(capfd.readouterr().out) == found


@pytest.mark.clause(
    "features.md#specification-version/min-required",
    "features.md#specification-version/max-required",
    "features.md#specification-version/no-other-properties",
    "features.md#annotations/map",
)
def test_the_structure_agrees_with_the_schema_and_leaves_nothing_of_it_out(found):
    schema = json.loads((SCHEMAS / "features.json").read_text())
    jsonschema.validate(found, schema)
    assert set(found) == set(schema["properties"])
    assert set(found["linux"]) == set(schema["properties"]["linux"]["properties"])
    for name, part in schema["properties"]["linux"]["properties"].items():
        if "properties" in part:
            assert set(part["properties"]) == set(found["linux"][name])


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


# List -> the clause that demands that it is recognized.
LISTS = {
    "namespaces": "namespaces/recognized",
    "actions": "seccomp/actions",
    "operators": "seccomp/operators",
    "archs": "seccomp/architectures",
    "knownFlags": "seccomp/known-flags",
    "modes": "memorypolicy/modes",
    "flags": "memorypolicy/flags",
}


@pytest.mark.parametrize(
    "names",
    [pytest.param(name, marks=pytest.mark.clause(f"features-linux.md#{clause}")) for name, clause in LISTS.items()],
)
def test_a_list_holds_exactly_the_values_that_config_json_may_have(found, names):
    linux = found["linux"]
    listed = {**linux, **linux["seccomp"], **linux["memoryPolicy"]}[names]
    assert len(listed) == len(set(listed))
    allowed = [
        values for values in enumerations(json.loads((SCHEMAS / "config.json").read_text())) if values & set(listed)
    ]
    # libseccomp may lack an architecture that the specification has.
    assert any(set(listed) <= values if names == "archs" else set(listed) == values for values in allowed)


@pytest.mark.parametrize(
    "version",
    [
        pytest.param("ociVersionMin", marks=pytest.mark.clause("features.md#specification-version/min-accepted")),
        pytest.param("ociVersionMax", marks=pytest.mark.clause("features.md#specification-version/max-accepted")),
    ],
)
def test_the_versions_are_accepted(found, version):
    config = default_config()
    config["ociVersion"] = found[version]
    check_config(config)


def test_the_newest_version_is_the_one_that_is_written(found):
    assert found["ociVersionMax"] == SPEC_VERSION == default_config()["ociVersion"]


@pytest.mark.clause("features.md#hooks/supported")
def test_every_hook_that_is_named_is_accepted(found):
    config = default_config()
    config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in found["hooks"]}
    check_config(config)
    # A kind that is not known would be ignored, and so would what is wrong in it.
    config["hooks"] = {kind: [{"path": "relative"}] for kind in found["hooks"]}
    with pytest.raises(InvalidConfig) as raised:
        check_config(config)
    assert {problem.pointer for problem in raised.value.problems} == {f"/hooks/{kind}/0/path" for kind in KINDS}


@pytest.mark.clause("features.md#mount-options/recognized", "features.md#mount-options/no-filesystem-options")
def test_mount_options_are_those_that_are_not_passed_on_as_data(found):
    assert mount_flags.MountOptions(found["mountOptions"]).data == []
    assert mount_flags.MountOptions(["size=1k", "unheard-of"]).data == ["size=1k", "unheard-of"]
    assert found["mountOptions"] == sorted(set(found["mountOptions"]))


@pytest.mark.clause("features-linux.md#seccomp/supported-flags")
def test_supported_flags_are_known_flags(found):
    seccomp = found["linux"]["seccomp"]
    assert set(seccomp["supportedFlags"]) <= set(seccomp["knownFlags"])
    assert "SECCOMP_FILTER_FLAG_LOG" in seccomp["supportedFlags"]


def test_annotations_that_change_the_behaviour_are_confessed(found):
    assert "org.systemd.property." in found["potentiallyUnsafeConfigAnnotations"]
    assert "run.oci.seccomp_fail_unknown_syscall" in found["potentiallyUnsafeConfigAnnotations"]


@pytest.mark.clause("features.md#specification-version/max-not-below-min")
def test_the_newest_version_is_not_older_than_the_oldest(found):
    oldest, newest = (tuple(map(int, found[f"ociVersion{end}"].split("."))) for end in ("Min", "Max"))
    assert oldest <= newest


@pytest.mark.clause("features.md#annotations/map")
def test_annotations_are_strings_with_keys(found):
    assert found["annotations"]
    for name, value in found["annotations"].items():
        assert name
        assert isinstance(value, str)


@pytest.mark.clause("features-linux.md#mountextensions/idmap")
def test_mappings_of_mounts_are_announced(found):
    assert found["linux"]["mountExtensions"]["idmap"]["enabled"] is True


@pytest.mark.clause("features-linux.md#capabilities/recognized")
def test_every_capability_that_is_named_is_recognized(found):
    names = found["linux"]["capabilities"]
    assert len(names) == len(set(names)) > 40
    unknown = []
    assert capabilities.mask(names, capabilities.ALL, unknown) == capabilities.ALL
    assert not unknown


@pytest.mark.clause("features.md#features-structure/compile-time")
def test_the_structure_does_not_depend_on_the_host(found, monkeypatch):
    """The host's files are out of reach, and only what is named after the host's support may change."""

    def refuse(path, *_, **__):
        raise FileNotFoundError(2, "no such file", path)

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("os.open", refuse)
    monkeypatch.setattr("os.path.exists", lambda _: False)
    before, again = copy.deepcopy(found), features()
    for one in (before, again):
        del one["linux"]["seccomp"]["supportedFlags"]
    assert again == before
