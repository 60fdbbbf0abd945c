"""Documents that are parts of a configuration, and the helpers that rules share."""

import json
import os
import sys
from pathlib import Path

import pytest

from pyruntime import spec
from pyruntime.base import json_pointer as pointer
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.spec import default_config
from pyruntime.spec.rules import lists, network, sysctl, version

PROCESS = {"cwd": "/", "args": ["sh"]}


def findings(check, value):
    with pytest.raises(InvalidConfig) as caught:
        check(value)
    return [(problem.pointer, problem.clause) for problem in caught.value.problems]


def test_a_good_process_is_accepted():
    spec.check_process(PROCESS)


def test_pointers_into_a_process_are_relative_to_it():
    limit = {"type": "RLIMIT_AS", "soft": 2, "hard": 1}
    assert findings(spec.check_process, {**PROCESS, "rlimits": [limit]}) == [
        ("/rlimits/0/soft", "config.md#posix-process")
    ]
    assert findings(spec.check_process, {"args": ["sh"]}) == [("/cwd", "config.md#process")]


def test_a_process_that_breaks_schema_and_rules_shows_both():
    limit = {"type": "RLIMIT_AS", "soft": 2, "hard": 1}
    assert findings(spec.check_process, {"args": [], "cwd": "/", "rlimits": [limit]}) == [
        ("/args", "config.md#process"),
        ("/rlimits/0/soft", "config.md#posix-process"),
    ]


def test_a_process_document_is_loaded_from_its_file(tmp_path):
    path = tmp_path / "process.json"
    path.write_text(json.dumps(PROCESS))
    assert spec.load_process(str(path)) == PROCESS
    path.write_text("{}")
    with pytest.raises(InvalidConfig, match=r"process\.json is not valid: 2 errors"):
        spec.load_process(str(path))


def test_resources_are_checked_alone():
    spec.check_resources({"pids": {"limit": 0}})
    assert findings(spec.check_resources, {"memory": {"limit": 2, "swap": 1}}) == [
        ("/memory/swap", "config-linux.md#memory")
    ]
    assert findings(spec.check_resources, {"pids": {"limit": "x"}}) == [("/pids/limit", "config-linux.md#pids")]


def test_the_configurations_that_the_spec_verb_writes_are_valid():
    spec.check_config(default_config.default_config())
    spec.check_config(default_config.for_user(default_config.default_config(), 1000, 1000))


def test_the_configurations_that_the_spec_verb_writes_are_those_of_the_file():
    written = {
        "root": default_config.default_config(),
        "user": default_config.for_user(default_config.default_config(), 1000, 1001),
    }
    assert written == json.loads(Path(__file__).with_name("template.json").read_text())


def test_a_users_configuration_gets_a_user_namespace_once_and_mounts_without_ids():
    config = default_config.default_config()
    config["linux"]["namespaces"] = [{"type": "user", "path": "/ns"}, {"type": "network"}, {"type": "pid"}]
    options = ["uid=1", "gid=2", "nogid=3", "mode=755"]
    config["mounts"] = [{"destination": "/m", "type": "tmpfs", "source": "s", "options": options}]
    changed = default_config.for_user(config, 1, 2)
    assert changed["linux"]["namespaces"] == [{"type": "pid"}, {"type": "user"}]
    assert changed["mounts"] == [
        {"destination": "/m", "type": "tmpfs", "source": "s", "options": ["nogid=3", "mode=755"]}
    ]


def test_what_is_refused_is_named_as_what_it_is(tmp_path):
    for check, value, name in (
        (spec.check_config, {}, "config.json"),
        (spec.check_process, {}, "process"),
        (spec.check_resources, {"pids": 1}, "resources"),
        (spec.load_state, b"{}", "state.json"),
        (lambda _: spec.check_resources({"pids": 1}, "these"), None, "these"),
    ):
        with pytest.raises(InvalidConfig) as caught:
            check(value)
        assert str(caught.value).startswith(f"{name} is not valid: ")
    path = tmp_path / "process.json"
    path.write_text("x")
    with pytest.raises(Error, match=f"{path} is not JSON"):
        spec.load_process(str(path))
    with pytest.raises(Error, match=r"^state\.json is not JSON"):
        spec.load_state(b"x")


def test_a_bundle_is_named_without_its_last_slashes_and_a_descriptor_is_not(tmp_path):
    (tmp_path / "config.json").write_text("x")
    descriptor = os.open(tmp_path, os.O_PATH)
    try:
        for fd in (None, descriptor):
            with pytest.raises(Error) as caught:
                spec.load_config(f"{tmp_path}//", fd=fd)
            assert caught.value.doing == f"{tmp_path}/config.json is not JSON"
        (tmp_path / "config.json").unlink()
        with pytest.raises(Error) as caught:
            spec.load_config(f"{tmp_path}/", fd=descriptor)
        assert caught.value.doing == f"cannot read {tmp_path}/config.json"
    finally:
        os.close(descriptor)


def test_without_jsonschema_it_is_said_that_the_schema_is_broken_and_what_would_tell_more(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    monkeypatch.delitem(sys.modules, "pyruntime.spec.schema_errors", raising=False)
    monkeypatch.delattr(spec, "schema_errors", raising=False)
    with pytest.raises(InvalidConfig) as caught:
        spec.check_config({})
    (problem,) = caught.value.problems
    assert str(caught.value).startswith(
        "config.json is not valid: 1 error\n  it breaks the schema: the details need jsonschema"
    )
    assert problem.advice == "install jsonschema: with it, every finding is listed"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("", {"a": [1, {"b/~": 2}]}),
        ("/a/0", 1),
        ("/a/1/b~1~0", 2),
        ("/a/2", None),
        ("/a/x", None),
        ("/a/-1", None),
        ("/a/0/x", None),
        ("/b", None),
        ("/b/c", None),
    ],
)
def test_the_element_at_a_pointer(place, value):
    assert pointer.element({"a": [1, {"b/~": 2}]}, place) == value


class Text(str):
    """A string that is not exactly of the type that JSON gives."""

    __slots__ = ()


def test_values_of_a_subclass_of_their_type_are_accepted():
    spec.check_process({"cwd": Text("/"), "args": [Text("sh")]})


VERSIONS = """
    0.0.4 1.2.3 10.20.30 1.1.2-prerelease+meta 1.0.0-alpha-a.b-c-x.y 1.0.0-0A.is.legal
    1.0.0+0.build.1-rc.10000aaa-kk-0.1 2.0.0-rc.1+build.123 1.0.0--.- 1.0.0+001
"""

NO_VERSIONS = """
    1 1.2 1.2.3.4 01.1.1 1.01.1 1.1.01 1.2.3- 1.2.3-a..b 1.2.3-01 1.2.3+ 1.2.3+a..b 1.2.3+a+b +1.2.3 -1.0.0
    v1.0.0 1.0.0-é 1_0.0.0 1.0.0-a_b 9999999999.0.0 1.0.\u0661
"""


@pytest.mark.parametrize("text", VERSIONS.split())
def test_semantic_versions(text):
    assert version.semver(text) == tuple(int(part) for part in text.partition("-")[0].partition("+")[0].split("."))


@pytest.mark.parametrize("text", ["", "1.0.0 ", "1.0.0\n", *NO_VERSIONS.split()])
def test_what_looks_like_a_semantic_version(text):
    assert version.semver(text) is None


@pytest.mark.parametrize("text", ["", "0", "0-3,7", "7,0-3", "3-3", "000"])
def test_lists_of_cpus(text):
    assert lists.is_list(text)


@pytest.mark.parametrize("text", [",", "0,", "-1", "1-", "3-1", "0-1-2", "a", "0 1", "0\n", "٣", "0x1", "9999999999"])
def test_what_is_no_list_of_cpus(text):
    assert not lists.is_list(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net.ipv4.ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net.ipv4.conf.eth0/1.forwarding"),
        ("x", "x"),
        (".net/ipv4", ".net/ipv4"),
        ("/net.ipv4", ".net/ipv4"),
    ],
)
def test_the_first_separator_of_a_parameter_decides(name, expected):
    assert sysctl.dotted(name) == expected


def test_a_parameter_of_the_whole_host_has_no_namespace():
    assert sysctl.namespace_of("vm.swappiness") == ""
    assert sysctl.namespace_of("kernel.shmmni") == "ipc"
    assert sysctl.namespace_of("net.core.somaxconn") == "network"


def test_all_that_is_wrong_is_found_behind_what_is_right():
    namespaces = [{"type": kind} for kind in ("mount", "network", "user")]
    linux = {
        "namespaces": namespaces,
        "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
        "sysctl": {"net.a": "1", "kernel.sem": "1"},
    }
    process = {**PROCESS, "user": {"uid": 5, "gid": 6, "additionalGids": [0, 7]}}
    annotations = {"run.oci.hooks.stderr": "/a", "run.oci.hooks.stdout": "/a\0", "run.oci.pidfd_receiver": "a"}
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "r"},
        "linux": linux,
        "process": process,
        "annotations": annotations,
    }
    assert findings(spec.check_config, config) == [
        ("/linux/uidMappings", "config-linux.md#user-namespace-mappings"),
        ("/process/user/gid", "config.md#posix-platform-user"),
        ("/process/user/additionalGids/1", "config.md#posix-platform-user"),
        ("/linux/sysctl/kernel.sem", "config-linux.md#sysctl"),
        ("/annotations/run.oci.hooks.stdout", "config.md#annotations"),
        ("/annotations/run.oci.pidfd_receiver", "config.md#annotations"),
    ]


@pytest.mark.parametrize("name", ["eth0", "X", "a" * 15, "...", "lan%d", "é"])
def test_names_of_network_devices(name):
    assert network.is_interface(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a" * 16, "é" * 8, "a/b", "a:b", "a b", "a\n"])
def test_what_is_no_name_of_a_network_device(name):
    assert not network.is_interface(name)


def test_a_pointer_escapes_what_rfc_6901_says():
    place = pointer.join("/annotations", "a/b~c", 3)
    assert place == "/annotations/a~1b~0c/3"
    assert pointer.dotted(place) == "annotations.a/b~c[3]"
    assert pointer.dotted("/linux/sysctl/net.core.somaxconn") == 'linux.sysctl["net.core.somaxconn"]'
