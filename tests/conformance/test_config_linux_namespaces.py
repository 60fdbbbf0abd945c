"""Namespaces: new, joined by path, inherited, and what is refused (config-linux.md#namespaces)."""

import os
import subprocess
from pathlib import Path

import pytest
from containers import until

from changes import inherit, mapped, namespace, without

pytestmark = pytest.mark.clause("config-linux.md#namespaces")

# The spec's name of each type -> its file under /proc/PID/ns.
FILES = {
    "pid": "pid",
    "network": "net",
    "mount": "mnt",
    "ipc": "ipc",
    "uts": "uts",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}


def unhidden(config):
    """Leave out what needs a mount namespace of its own."""
    without("linux/maskedPaths", "linux/readonlyPaths")(config)
    config["root"]["readonly"] = False


def new(kind):
    return mapped() if kind == "user" else namespace(kind)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.clause("config-linux.md#namespaces/types-supported", "config-linux.md#namespaces/no-path-is-new")
def test_without_a_path_the_namespace_is_new(inside, kind):
    found = inside(f"readlink /proc/self/ns/{FILES[kind]}", new(kind))
    assert found.startswith(FILES[kind])
    assert found != os.readlink(f"/proc/self/ns/{FILES[kind]}")


@pytest.mark.parametrize("kind", set(FILES) - {"mount"})
@pytest.mark.clause("config-linux.md#namespaces/unlisted-inherited")
def test_a_type_that_is_not_listed_is_inherited(containers, kind):
    container = containers.start(inherit(kind))
    assert container.proc(f"ns/{FILES[kind]}").readlink() == Path(f"/proc/self/ns/{FILES[kind]}").readlink()


@pytest.mark.parametrize("kind", set(FILES) - {"mount", "user"})
@pytest.mark.clause("config-linux.md#namespaces/types-supported", "config-linux.md#namespaces/path-joined")
def test_with_a_path_the_namespace_is_joined(containers, inside, kind):
    holder = containers.start(new(kind))
    path = holder.proc(f"ns/{FILES[kind]}")
    container = containers.start(namespace(kind, path))
    assert container.proc(f"ns/{FILES[kind]}").readlink() == path.readlink()


@pytest.mark.clause("config-linux.md#namespaces/types-supported", "config-linux.md#namespaces/path-joined")
def test_a_joined_user_namespace_keeps_its_mappings(containers):
    holder = containers.start(mapped(first=200000, size=1000))
    path = holder.proc("ns/user")
    container = containers.start(namespace("user", path))
    assert container.proc("ns/user").readlink() == path.readlink()
    assert container.proc("uid_map").read_text().split() == ["0", "200000", "1000"]
    assert container.proc("status").stat().st_uid == 200000


@pytest.mark.clause("config-linux.md#namespaces/path-joined")
def test_all_namespaces_can_be_joined_at_once(containers):
    holder = containers.start(new("time"))
    joined = [kind for kind in FILES if kind not in ("mount", "user")]
    container = containers.start(*(namespace(kind, holder.proc(f"ns/{FILES[kind]}")) for kind in joined))
    for kind in joined:
        assert container.proc(f"ns/{FILES[kind]}").readlink() == holder.proc(f"ns/{FILES[kind]}").readlink()


@pytest.mark.clause("config-linux.md#namespaces/path-joined")
def test_a_namespace_held_by_a_mount_is_joined(containers, tmp_path):
    holder = containers.start()
    kept = tmp_path / "net"
    kept.touch()
    subprocess.run(["mount", "--bind", holder.proc("ns/net"), kept], check=True)
    try:
        expected = holder.proc("ns/net").readlink()
        holder.delete("--force")
        container = containers.start(namespace("network", kept))
        assert container.proc("ns/net").readlink() == expected
    finally:
        subprocess.run(["umount", kept], check=True)


def test_the_first_process_of_a_new_pid_namespace_is_pid_1(inside):
    assert inside("echo $$") == "1"


def test_a_container_in_a_joined_pid_namespace_sees_its_processes(containers, inside):
    holder = containers.start(script="exec sleep 4711")
    until(lambda: "4711" in holder.proc("cmdline").read_text().split("\0"), "the program")
    processes = inside("ps -o pid,args", namespace("pid", holder.proc("ns/pid")))
    assert "1 sleep 4711" in [" ".join(line.split()) for line in processes.splitlines()]


def test_the_loopback_interface_of_a_new_network_namespace_is_up(inside):
    assert "UP,LOOPBACK,RUNNING" in inside("ip link show lo; ifconfig lo | tr ' ' ,").replace(
        "UP,LOOPBACK,LOWER_UP", ""
    )
    assert inside("ls /sys/class/net") == "lo"


def test_a_new_network_namespace_has_nothing_else(inside):
    assert inside("ls /sys/class/net") == "lo"


def test_a_new_cgroup_namespace_has_the_containers_groups_as_roots(inside):
    assert {line.rpartition(":")[2] for line in inside("cat /proc/self/cgroup").splitlines()} == {"/"}


def test_with_an_inherited_cgroup_namespace_the_hosts_paths_show(containers):
    container = containers.start(inherit("cgroup"))
    assert containers.runtime.root.name  # the test has a --root of its own
    assert f"/pyruntime-{container.id}" in container.proc("cgroup").read_text()


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.clause("config-linux.md#namespaces/path-of-other-type")
def test_a_namespace_of_another_type_is_an_error(containers, kind):
    other = "uts" if kind == "cgroup" else "cgroup"
    said = containers.refused(unhidden, namespace(kind, f"/proc/self/ns/{other}"))
    assert f"a namespace of type {other}" in said
    assert "/linux/namespaces/" in said


@pytest.mark.clause("config-linux.md#namespaces/path-of-other-type")
def test_a_path_that_is_no_namespace_is_an_error(containers, tmp_path):
    (tmp_path / "file").touch()
    assert "not a namespace" in containers.refused(namespace("network", tmp_path / "file"))


@pytest.mark.clause("config-linux.md#namespaces/path-of-other-type")
def test_a_path_that_does_not_exist_is_an_error(containers):
    assert "no such file or directory" in containers.refused(namespace("network", "/no/such/namespace"))


@pytest.mark.clause("config-linux.md#namespaces/type-once")
def test_two_namespaces_of_one_type_are_an_error(containers):
    def twice(config):
        config["linux"]["namespaces"].append({"type": "uts"})

    assert "twice" in containers.refused(twice)


def test_an_unknown_type_is_an_error(containers):
    assert "/linux/namespaces/6/type" in containers.refused(
        lambda config: config["linux"]["namespaces"].append({"type": "soul"})
    )


@pytest.mark.clause("config-linux.md#namespaces/no-path-is-new")
def test_new_namespaces_of_one_container_are_not_those_of_another(containers):
    one, other = containers.start(namespace("time")), containers.start(namespace("time"))
    for kind in set(FILES) - {"user"}:
        assert one.proc(f"ns/{FILES[kind]}").readlink() != other.proc(f"ns/{FILES[kind]}").readlink()


@pytest.fixture
def other_mounts():
    """The path of a mount namespace like the host's."""
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE
    )
    holder.stdout.readline()  # it is in its namespace
    yield Path(f"/proc/{holder.pid}/ns/mnt")
    holder.kill()
    holder.wait()
    holder.stdout.close()


@pytest.mark.clause("config-linux.md#namespaces/types-supported", "config-linux.md#namespaces/path-joined")
def test_a_joined_mount_namespace_is_joined(containers, other_mounts):
    container = containers.start(unhidden, namespace("mount", other_mounts), own=True)
    assert container.proc("ns/mnt").readlink() == other_mounts.readlink()
    assert os.path.samestat(container.path("/").stat(), (container.bundle / "rootfs").stat())
    container.delete("--force")


@pytest.mark.clause("config-linux.md#namespaces/unlisted-inherited")
def test_an_inherited_mount_namespace_is_the_runtimes_and_left_as_it_was(containers, host_mounts):
    before = host_mounts()
    container = containers.start(unhidden, inherit("mount"), own=True)
    assert container.proc("ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    assert os.path.samestat(container.path("/").stat(), (container.bundle / "rootfs").stat())
    container.delete("--force")
    assert host_mounts() == before
