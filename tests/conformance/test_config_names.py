"""Host name, domain name, kernel parameters and annotations (config.md#hostname … config-linux.md#sysctl)."""

import os
from pathlib import Path

import pytest

from changes import inherit, linux, mapped, namespace, top, without

HOSTNAME = pytest.mark.clause("config.md#hostname")
DOMAINNAME = pytest.mark.clause("config.md#domainname")
SYSCTL = pytest.mark.clause("config-linux.md#sysctl")
ANNOTATIONS = pytest.mark.clause("config.md#annotations")
EXTENSIBILITY = pytest.mark.clause("config.md#extensibility")


def sysctl(**values):
    return linux(sysctl={name.replace("__", "."): value for name, value in values.items()})


@HOSTNAME
def test_the_host_name(inside):
    assert inside("hostname", top(hostname="some-host.example")) == "some-host.example"


@HOSTNAME
def test_the_host_keeps_its_name(inside):
    before = os.uname().nodename
    inside("true", top(hostname="some-host"))
    assert os.uname().nodename == before


@HOSTNAME
def test_without_a_host_name_the_hosts_is_kept(inside):
    assert inside("hostname", without("hostname")) == os.uname().nodename


@HOSTNAME
def test_a_host_name_in_a_user_namespace(inside):
    assert inside("hostname", mapped(), top(hostname="mapped")) == "mapped"


@HOSTNAME
def test_a_host_name_without_uts_namespace_is_an_error(containers):
    assert "/hostname" in containers.refused(inherit("uts"), top(hostname="name"))


@HOSTNAME
def test_a_host_name_that_is_too_long_is_an_error(containers):
    assert "/hostname" in containers.refused(top(hostname="n" * 65))


@HOSTNAME
def test_a_joined_uts_namespace_is_renamed(containers, inside):
    holder = containers.start(top(hostname="first"))
    assert inside("hostname", namespace("uts", holder.proc("ns/uts")), top(hostname="second")) == "second"


@DOMAINNAME
def test_the_domain_name(inside):
    assert inside("cat /proc/sys/kernel/domainname", top(domainname="example.org")) == "example.org"


@DOMAINNAME
def test_the_host_keeps_its_domain_name(inside):
    before = Path("/proc/sys/kernel/domainname").read_text()
    inside("true", top(domainname="example.org"))
    assert Path("/proc/sys/kernel/domainname").read_text() == before


@DOMAINNAME
def test_a_domain_name_without_uts_namespace_is_an_error(containers):
    assert "/domainname" in containers.refused(inherit("uts"), top(domainname="name"))


@SYSCTL
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv4.ping_group_range", "0\t7"),
        ("kernel.shmmni", "1234"),
        ("kernel.msgmax", "4321"),
        ("fs.mqueue.queues_max", "99"),
        ("net/ipv4/ip_default_ttl", "33"),
        ("net.ipv4.conf.lo.forwarding", "1"),
    ],
)
def test_a_namespaced_parameter_is_set_inside_only(inside, key, value):
    path = "/proc/sys/" + key.replace(".", "/")
    before = Path(path).read_text()
    assert inside(f"cat {path}", linux(sysctl={key: value})) == value
    assert Path(path).read_text() == before


@SYSCTL
def test_parameters_in_a_user_namespace(inside):
    assert (
        inside("cat /proc/sys/net/ipv4/ip_default_ttl", mapped(), linux(sysctl={"net.ipv4.ip_default_ttl": "33"}))
        == "33"
    )


@SYSCTL
@pytest.mark.parametrize(
    "key", ["kernel.panic", "vm.swappiness", "fs.file-max", "kernel.core_pattern", "kernel.hostname"]
)
def test_a_parameter_of_the_whole_host_is_an_error(containers, key):
    path = Path("/proc/sys", *key.split("."))
    before = path.read_text()
    assert "/linux/sysctl" in containers.refused(linux(sysctl={key: "1"}))
    assert path.read_text() == before


@SYSCTL
@pytest.mark.parametrize(
    ("key", "kind"), [("net.ipv4.ip_forward", "network"), ("kernel.shmmni", "ipc"), ("fs.mqueue.queues_max", "ipc")]
)
def test_a_parameter_without_its_namespace_is_an_error(containers, key, kind):
    assert "/linux/sysctl" in containers.refused(inherit(kind), linux(sysctl={key: "1"}))


@SYSCTL
@pytest.mark.parametrize("key", ["net.ipv4.no_such_parameter", "net/../kernel/panic", "net.ipv4..", "net"])
def test_a_parameter_that_does_not_exist_is_an_error(containers, key):
    assert "/linux/sysctl" in containers.refused(linux(sysctl={key: "1"}))


@SYSCTL
@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("net.core.somaxconn", "7 9", 'no more of the value than "7 "'),
        ("kernel.sem", "1 2 3 4 5", "no more of the value than"),
        ("net.core.somaxconn", "", "an empty one changes nothing"),
        ("kernel.domainname", "a" * 65, "at most 64 bytes"),
    ],
)
def test_a_value_of_which_the_kernel_takes_a_part_is_an_error(containers, key, value, reason):
    said = containers.refused(linux(sysctl={key: value}))
    assert f"/linux/sysctl/{key}" in said
    assert reason in said


@SYSCTL
def test_white_space_around_a_value_is_no_part_of_it(inside):
    assert inside("cat /proc/sys/net/core/somaxconn", linux(sysctl={"net.core.somaxconn": " 7 \n"})) == "7"


@SYSCTL
def test_a_value_that_the_kernel_refuses_is_an_error(containers):
    said = containers.refused(linux(sysctl={"net.ipv4.ip_default_ttl": "many"}))
    assert "/linux/sysctl/net.ipv4.ip_default_ttl" in said
    assert "EINVAL" in said


@ANNOTATIONS
@pytest.mark.clause("config.md#annotations/unknown-keys")
def test_annotations_are_in_the_state(containers):
    container = containers.create(top(annotations={"com.example.key": "value", "empty": "", "ünï": '♥ \\ " \n'}))
    assert container.state()["annotations"] == {"com.example.key": "value", "empty": "", "ünï": '♥ \\ " \n'}


@ANNOTATIONS
@pytest.mark.clause("config.md#annotations/unknown-keys")
def test_unknown_annotations_are_ignored(inside):
    unknown = {"unknown": "", "org.opencontainers.unheard-of": "x", "run.oci.pyruntime.unheard-of": "y"}
    assert inside("echo runs", top(annotations=unknown)) == "runs"


@ANNOTATIONS
@pytest.mark.clause("config.md#annotations/values-are-strings")
def test_annotations_that_are_no_strings_are_an_error(containers):
    assert "/annotations/key" in containers.refused(top(annotations={"key": 1}))


@EXTENSIBILITY
@pytest.mark.clause("config.md#extensibility/unknown-ignored")
def test_unknown_properties_are_ignored(inside):
    assert inside("echo ok", top(unheard={"of": 1}), linux(neither=[])) == "ok"
