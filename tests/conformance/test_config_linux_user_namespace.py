"""User namespace mappings and clock offsets (config-linux.md#user-namespace-mappings, #offset-for-time-namespace)."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
from containers import until

from changes import bind, capable, inherit, linux, mapped, namespace, user, writable

MAPPINGS = pytest.mark.clause("config-linux.md#user-namespace-mappings")
OFFSETS = pytest.mark.clause("config-linux.md#offset-for-time-namespace")


def entry(container, host, size):
    return {"containerID": container, "hostID": host, "size": size}


def maps(uid, gid):
    def change(config):
        namespace("user")(config)
        config["linux"].update(uidMappings=uid, gidMappings=gid)

    return change


@MAPPINGS
def test_the_mappings_are_those_of_the_configuration(inside):
    uid = [entry(0, 100000, 10), entry(10, 300000, 5)]
    gid = [entry(0, 200000, 20)]
    found = inside("cat /proc/self/uid_map; echo; cat /proc/self/gid_map", maps(uid, gid))
    uids, gids = found.split("\n\n")
    assert [line.split() for line in uids.splitlines()] == [["0", "100000", "10"], ["10", "300000", "5"]]
    assert [line.split() for line in gids.splitlines()] == [["0", "200000", "20"]]


@MAPPINGS
def test_the_process_is_the_mapped_user_on_the_host(containers):
    container = containers.start(mapped(first=100000), user(uid=33, gid=44))
    status = container.proc("status").read_text()
    assert "Uid:\t100033\t100033\t100033\t100033" in status
    assert "Gid:\t100044\t100044\t100044\t100044" in status


@MAPPINGS
def test_the_process_sees_its_own_ids(inside):
    assert inside("id -u; id -g", mapped(), user(uid=33, gid=44)).split() == ["33", "44"]


@MAPPINGS
def test_files_made_inside_belong_to_the_mapped_user(inside, tmp_path):
    tmp_path.joinpath("data").mkdir()
    tmp_path.joinpath("data").chmod(0o777)
    inside("touch /home/file", mapped(first=100000), bind(tmp_path / "data", "/home"))
    assert tmp_path.joinpath("data/file").stat().st_uid == 100000


@MAPPINGS
@pytest.mark.clause("config-linux.md#user-namespace-mappings/ownership-untouched")
def test_the_owners_of_the_root_filesystem_are_not_changed(inside):
    # The runtime SHOULD NOT modify the ownership of referenced filesystems to realize the mapping.
    assert inside("stat -c %u /bin/busybox", mapped()) == "65534"


@MAPPINGS
def test_a_user_without_mapping_is_an_error(containers):
    assert "/process/user" in containers.refused(mapped(size=10), user(uid=1000))


@MAPPINGS
def test_mappings_without_a_user_namespace_are_an_error(containers):
    said = containers.refused(linux(uidMappings=[entry(0, 100000, 1)]))
    assert "/linux/uidMappings" in said


@MAPPINGS
def test_a_user_namespace_without_mappings_is_an_error(containers):
    assert "/linux/uidMappings" in containers.refused(namespace("user"))


@MAPPINGS
def test_capabilities_hold_inside_only(inside, tmp_path):
    script = """
    hostname changed && hostname
    dd if=/proc/sys/kernel/hostname of=/home/file 2>/dev/null || echo forbidden
    """
    (tmp_path / "root").mkdir(mode=0o700)
    found = inside(script, mapped(), capable("SYS_ADMIN", "DAC_OVERRIDE"), bind(tmp_path / "root", "/home"))
    assert found.split() == ["changed", "forbidden"]


@MAPPINGS
def test_every_other_namespace_belongs_to_the_user_namespace(inside):
    script = "mount -t tmpfs none /home && ifconfig lo 127.0.0.2 && hostname other && echo all"
    assert inside(script, mapped(), capable("SYS_ADMIN", "NET_ADMIN")) == "all"


@MAPPINGS
def test_default_devices_are_there_in_a_user_namespace(inside):
    # The kernel allows device nodes to be made in the initial user namespace only.
    script = (
        "for name in null zero full random urandom tty; do test -c /dev/$name && echo $name; done; echo x > /dev/null"
    )
    assert inside(script, mapped()).split() == ["null", "zero", "full", "random", "urandom", "tty"]


@MAPPINGS
def test_sharing_the_network_with_the_host_works_in_a_user_namespace(inside):
    def host_sys(config):
        for mount in config["mounts"]:
            if mount["type"] == "sysfs":
                mount.update(type="none", source="/sys", options=["rbind", "ro"])

    assert "lo" in inside("ls /sys/class/net", mapped(), inherit("network"), host_sys)


@MAPPINGS
def test_a_terminal_of_a_mapped_user_is_its_own(containers):
    container = containers.run(
        "stat -c %u /dev/pts/0 /dev/console", mapped(), user(uid=5), lambda c: c["process"].update(terminal=True)
    )
    assert container.stdout.split() == ["5", "5"]


def clock(text):
    """Return seconds since boot or start of the clock from a line that ends with them."""
    return float(text.split()[0])


@pytest.mark.parametrize(
    ("uids", "gids", "kind"), [((1, 0), (0, 0), "user"), ((0, 0), (1, 0), "group"), ((1, 0), (1, 0), "group")]
)
@pytest.mark.clause("config-linux.md#namespaces")
def test_a_joined_namespace_that_does_not_map_id_0_is_an_error_at_its_place(containers, uids, gids, kind):
    """The container cannot be built in it: the kernel returns EINVAL."""
    with user_namespace(*([entry(first, 100000 + first, 10)] for first, _ in (uids, gids))) as path:
        said = containers.refused(namespace("user", path))
    assert "/linux/namespaces/" in said
    assert f"does not map the {kind} id 0" in said


@pytest.mark.parametrize(("name", "number"), [("uid", 77), ("gid", 78)])
@pytest.mark.clause("config.md#posix-platform-user")
def test_a_joined_namespace_that_does_not_map_the_processs_id_is_an_error_at_that(containers, name, number):
    with user_namespace([entry(0, 100000, 10)], [entry(0, 100000, 10)]) as path:
        said = containers.refused(namespace("user", path), user(**{name: number}))
    assert f"/process/user/{name}" in said
    assert "not mapped" in said


@contextlib.contextmanager
def user_namespace(uids, gids):
    """A user namespace with these mappings: the path of its file, for as long as the context lasts."""
    holder = subprocess.Popen(["unshare", "--user", "sleep", "1000"])
    try:
        own = os.readlink("/proc/self/ns/user")
        until(lambda: os.readlink(f"/proc/{holder.pid}/ns/user") != own, "the user namespace")
        for name, entries in (("uid_map", uids), ("gid_map", gids)):
            text = "".join(f"{one['containerID']} {one['hostID']} {one['size']}\n" for one in entries)
            Path(f"/proc/{holder.pid}/{name}").write_text(text)
        yield f"/proc/{holder.pid}/ns/user"
    finally:
        holder.kill()
        holder.wait()


@OFFSETS
def test_boottime_is_offset(inside):
    offset = 7 * 24 * 3600
    found = clock(inside("cat /proc/uptime", namespace("time"), linux(timeOffsets={"boottime": {"secs": offset}})))
    assert found - time.clock_gettime(time.CLOCK_BOOTTIME) == pytest.approx(offset, abs=60)


@OFFSETS
def test_both_clocks_are_offset_in_seconds_and_nanoseconds(inside):
    offsets = {"monotonic": {"secs": 86400, "nanosecs": 5}, "boottime": {"secs": -100, "nanosecs": 999999999}}
    found = inside("cat /proc/self/timens_offsets", namespace("time"), linux(timeOffsets=offsets))
    assert [line.split() for line in found.splitlines()] == [
        ["monotonic", "86400", "5"],
        ["boottime", "-100", "999999999"],
    ]


@OFFSETS
def test_offsets_with_a_user_namespace(inside):
    offsets = linux(timeOffsets={"boottime": {"secs": 1000000}})
    assert clock(inside("cat /proc/uptime", mapped(), namespace("time"), offsets)) > 1000000


@OFFSETS
def test_without_offsets_the_clocks_are_the_hosts(inside):
    found = clock(inside("cat /proc/uptime", namespace("time")))
    assert found == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=60)


@OFFSETS
def test_offsets_without_a_time_namespace_are_an_error(containers):
    assert "/linux/timeOffsets" in containers.refused(linux(timeOffsets={"boottime": {"secs": 1}}))


@OFFSETS
def test_offsets_of_a_joined_time_namespace_are_an_error(containers):
    holder = containers.start(namespace("time"))
    joined = namespace("time", holder.proc("ns/time"))
    assert "/linux/timeOffsets" in containers.refused(joined, linux(timeOffsets={"boottime": {"secs": 1}}))


@OFFSETS
def test_an_unknown_clock_is_an_error(containers):
    assert "/linux/timeOffsets" in containers.refused(namespace("time"), linux(timeOffsets={"realtime": {"secs": 1}}))


@OFFSETS
def test_an_offset_that_the_kernel_refuses_is_an_error(containers):
    # The offset would make the clock negative.
    said = containers.refused(namespace("time"), linux(timeOffsets={"monotonic": {"secs": -(10**10)}}))
    assert "/linux/timeOffsets" in said


@MAPPINGS
def test_a_root_filesystem_of_the_mapped_user_can_be_written(containers):
    import os

    def owned(config):
        root = config["root"]["path"]
        assert root == "rootfs"

    done = containers.run("touch /file && stat -c %u /file", mapped(), writable, owned, own=True, check=False)
    # The root filesystem belongs to the host's root: without a mapping the kernel must refuse.
    assert done.returncode != 0
    assert os.geteuid() == 0
