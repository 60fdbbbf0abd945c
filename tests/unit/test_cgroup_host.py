"""How the host's cgroup hierarchies are read (cgroups(7), proc(5))."""

import pytest

from pyruntime.host import cgroups


def parse(mountinfo, membership):
    return cgroups.parse(mountinfo.split("\n"), membership)


HYBRID = """\
25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 25 0:28 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""
HYBRID_SELF = """\
3:cpu,cpuacct:/user.slice
2:memory:/user.slice/session-1.scope
1:name=systemd:/user.slice/session-1.scope
0::/user.slice/session-1.scope
"""


def test_hybrid_host_has_v1_controllers_and_the_unified_hierarchy():
    host = parse(HYBRID, HYBRID_SELF)
    assert host.mode == "hybrid"
    assert host.unified == "/sys/fs/cgroup/unified"
    assert host.mounts == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }
    assert host.own["cpuacct"] == "/user.slice"
    assert host.own[""] == "/user.slice/session-1.scope"


def test_v1_host_has_no_unified_hierarchy():
    lines = HYBRID.splitlines(keepends=True)
    host = parse("".join(line for line in lines if "cgroup2" not in line), HYBRID_SELF)
    assert (host.mode, host.unified) == ("v1", "")


def test_unified_host_with_only_a_named_v1_hierarchy_is_v2():
    lines = [line for line in HYBRID.splitlines(keepends=True) if "cpu" not in line and "memory" not in line]
    assert parse("".join(lines), HYBRID_SELF).mode == "v2"


def test_unified_host():
    host = parse("31 25 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n", "0::/init.scope\n")
    assert (host.mode, host.unified, host.mounts, host.own) == ("v2", "/sys/fs/cgroup", {}, {"": "/init.scope"})


def test_mount_of_a_container_on_the_same_host_does_not_hide_the_customary_one():
    foreign = "99 25 0:30 /docker/x /var/lib/x/merged/sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert parse(foreign + HYBRID, HYBRID_SELF).mounts["memory"] == "/sys/fs/cgroup/memory"
    assert parse(HYBRID + foreign, HYBRID_SELF).mounts["memory"] == "/sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("root", "own", "expected"),
    [
        ("/", "/a/b", "/a/b"),
        ("/docker/x", "/docker/x", "/"),
        ("/docker/x", "/docker/x/sub", "/sub"),
        ("/docker/x", "/docker/xy", "/"),
        ("/", "/../other", "/"),
    ],
)
def test_own_group_is_a_path_below_the_mount(root, own, expected):
    mountinfo = f"33 31 0:30 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    host = parse(mountinfo, f"2:memory:{own}\n")
    assert host.own == {"memory": expected}


def test_mount_point_with_escapes_is_unescaped():
    host = parse("33 31 0:30 / /mnt/a\\040b\\134 rw - cgroup cgroup rw,memory\n", "2:memory:/\n")
    assert host.mounts == {"memory": "/mnt/a b\\"}


def test_path_of_a_group_may_contain_colons():
    host = parse("33 31 0:30 / /c rw - cgroup cgroup rw,memory\n", "2:memory:/a:b:c\n")
    assert host.own == {"memory": "/a:b:c"}


def test_host_without_cgroups():
    host = parse("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "0::/\n")
    assert (host.mounts, host.unified) == ({}, "")


def test_mounts_behind_those_of_the_host_are_not_read():
    def lines():
        yield from HYBRID.splitlines()
        pytest.fail("the file was read on")

    assert cgroups.parse(lines(), HYBRID_SELF).mode == "hybrid"


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_line_is_whole_although_it_is_read_in_pieces(tmp_path, monkeypatch, end):
    read = cgroups.os.read
    monkeypatch.setattr(cgroups.os, "read", lambda fd, _: read(fd, 7))
    (tmp_path / "file").write_text(f"a line that is longer\n\nshort{end}")
    assert list(cgroups._lines(str(tmp_path / "file"))) == ["a line that is longer", "", "short"]
