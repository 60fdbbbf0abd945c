"""From /mounts to steps, and the filesystems that are there by default (config.md#mounts, config-linux.md)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invented import NAMESPACES, V2, at, config, context, facts, only, plan
from pyruntime._stub import lib
from pyruntime.base.errors import Error
from pyruntime.plan.mounts import mounts
from pyruntime.spec.rules.mounts import container_path


def steps(*entries, **options):
    """Return the steps of configured mounts alone."""
    return [step for step in plan(config(mounts=list(entries), **options)).build if step.pointer.startswith("/mounts")]


def tmpfs(path, *options):
    return {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


# ---- Paths ----


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/b/c/../d", "/a/b/d"),
        ("/a", "/a"),
        ("a/b", "/a/b"),
        ("/a//b/./c/", "/a/b/c"),
        ("/a/../b", "/b"),
        ("../../x", "/x"),
        ("/..", "/"),
        ("", "/"),
    ],
)
@pytest.mark.clause("config.md#mounts/destination-relative")
def test_container_path(path, expected):
    assert container_path(path) == expected


@settings(deadline=None)
@given(st.text(alphabet="ab./ \n\0é", max_size=30))
def test_container_path_is_idempotent_and_never_escapes(path):
    found = container_path(path)
    assert container_path(found) == found
    assert found.startswith("/")
    assert not {"..", "."} & set(found.split("/"))
    assert "//" not in found


# ---- Kinds of mounts ----


def test_a_bind_mount():
    (step,) = steps({"destination": "/data", "source": "/srv", "options": ["bind", "ro"]})
    assert step.op == "bind"
    assert step.args["path"] == "/data"
    assert step.args["source"] == "/srv"
    assert step.args["attr_set"] == lib.MOUNT_ATTR_RDONLY
    assert not step.args.get("flags", 0) & lib.STEP_RECURSIVE
    assert (step.pointer, step.clause) == ("/mounts/0", "config.md#mounts")


def test_rbind_is_recursive():
    (step,) = steps({"destination": "/data", "source": "/srv", "options": ["rbind"]})
    assert step.args["flags"] & lib.STEP_RECURSIVE


def test_a_relative_source_is_below_the_bundle():
    assert steps({"destination": "/data", "source": "srv", "options": ["bind"]})[0].args["source"] == "/bundle/srv"


def test_a_bind_mount_is_a_slave_unless_told_otherwise():
    plain, private = steps(
        {"destination": "/a", "source": "/a", "options": ["bind"]},
        {"destination": "/b", "source": "/b", "options": ["bind", "rprivate"]},
    )
    assert plain.args["rec_propagation"] == lib.MS_SLAVE
    assert private.args["rec_propagation"] == lib.MS_PRIVATE


def test_a_new_filesystem():
    (step,) = steps(
        {"destination": "/data", "type": "tmpfs", "source": "name", "options": ["nosuid", "size=1k", "sync"]}
    )
    assert step.op == "mount"
    assert (step.args["fstype"], step.args["source"], step.args["data"]) == ("tmpfs", "name", ["size=1k"])
    assert step.args["attr_set"] == lib.MOUNT_ATTR_NOSUID
    assert step.args["sb_flags"] == lib.MS_SYNCHRONOUS


def test_the_source_of_a_new_filesystem_is_its_type_by_default():
    assert steps({"destination": "/data", "type": "proc"})[0].args["source"] == "proc"


def test_tmpcopyup():
    assert steps(tmpfs("/etc", "tmpcopyup"))[0].args["flags"] & lib.STEP_COPY_UP


def test_a_read_only_tmpfs_becomes_so_at_the_end():
    found = plan(config(mounts=[tmpfs("/data", "ro"), tmpfs("/data/sub")]))
    early = at(only(found.build, "mount"), "/data")[0]
    assert not early.args.get("attr_set", 0) & lib.MOUNT_ATTR_RDONLY
    (late,) = at(only(found.enter, "setattr"), "/data")
    assert late.args["attr_set"] == lib.MOUNT_ATTR_RDONLY


def test_remount():
    (step,) = steps({"destination": "/proc", "options": ["remount", "bind", "ro"]})
    assert step.op == "remount"
    assert step.args["sb_flags"] & lib.MS_BIND


@pytest.mark.clause("config.md#mounts/listed-order")
def test_the_order_is_that_of_the_configuration():
    paths = [f"/{name}" for name in "dacb"]
    assert [step.args["path"] for step in steps(*(tmpfs(path) for path in paths))] == paths


def test_options_of_the_superblock_on_a_bind_mount_are_a_warning():
    found = plan(config(mounts=[{"destination": "/a", "source": "/a", "options": ["bind", "silent", "sync"]}]))
    assert any("sync (/mounts/0/options" in warning for warning in found.warnings)


# ---- Default filesystems ----


def defaults(**options):
    found = mounts(context(config(**options)))
    return {step.args["path"]: step for step in found if step.clause == "config-linux.md#default-filesystems"}


@pytest.mark.clause("config-linux.md#default-filesystems/available")
def test_default_filesystems_where_nothing_is_mounted():
    found = defaults()
    assert {path: step.args["fstype"] for path, step in found.items()} == {
        "/proc": "proc",
        "/sys": "sysfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
    }
    assert all(step.args["flags"] & lib.STEP_OPTIONAL for step in found.values())


@pytest.mark.parametrize("path", ["/proc", "/sys", "/dev/pts", "/dev/shm", "proc", "//dev//shm/"])
def test_what_is_configured_is_not_mounted_by_default(path):
    found = defaults(mounts=[{"destination": path, "type": "tmpfs"}])
    assert set(found) == {"/proc", "/sys", "/dev/pts", "/dev/shm"} - {container_path(path)}


@pytest.mark.parametrize(
    "paths",
    [
        ["/sys/fs/cgroup"],
        ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/kernel/tracing"],
        ["/proc/meminfo"],
        ["/proc/sys/../stat"],
        ["/dev/shm/a"],
        ["/system", "/process"],
    ],
)
@pytest.mark.clause("config-linux.md#default-filesystems/available")
def test_a_default_filesystem_lies_below_what_is_mounted_in_it(paths):
    found = plan(config(mounts=[{"destination": path, "type": "tmpfs"} for path in paths])).build
    order = [step.args["path"] for step in found if step.op == "mount"]
    assert len(order) == 4 + len(paths)
    for path in map(container_path, paths):
        for default in ("/proc", "/sys", "/dev/pts", "/dev/shm"):
            assert not path.startswith(f"{default}/") or order.index(default) < order.index(path)


@pytest.mark.parametrize(
    ("paths", "default"),
    [
        (["/sys/fs/other"], "/sys"),
        (["/sys/fs/cgroup/memory"], "/sys"),
        (["/sys/fs/cgroup/memory", "/sys/fs/cgroup"], "/sys"),
        (["/sys/fs/cgroup", "/sys/a"], "/sys"),
        (["/dev/pts/a"], "/dev/pts"),
    ],
)
def test_a_default_filesystem_without_the_place_for_what_is_configured_gives_way(paths, default):
    found = defaults(mounts=[{"destination": path, "type": "tmpfs"} for path in paths])
    assert set(found) == {"/proc", "/sys", "/dev/pts", "/dev/shm"} - {default}


def test_a_bound_directory_is_left_alone():
    found = defaults(mounts=[{"destination": "/dev", "source": "/dev", "options": ["rbind"]}])
    assert set(found) == {"/proc", "/sys"}


def test_without_a_mount_namespace_there_are_no_default_filesystems():
    assert defaults(namespaces=["pid"]) == {}


def test_in_a_user_namespace_the_kernel_decides_who_gets_proc_and_sysfs():
    maps = {
        "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
    }
    assert set(
        defaults(namespaces=["user", "mount"], linux=maps | {"namespaces": [{"type": "user"}, {"type": "mount"}]})
    ) == {"/dev/pts", "/dev/shm"}
    everything = [{"type": kind} for kind in (*NAMESPACES, "user")]
    assert len(defaults(linux=maps | {"namespaces": everything})) == 4
    for kind, path in ("pid", "/proc"), ("network", "/sys"):
        others = [entry for entry in everything if entry["type"] != kind]
        assert set(defaults(linux=maps | {"namespaces": others})) == {"/proc", "/sys", "/dev/pts", "/dev/shm"} - {path}


def test_the_default_proc_comes_first_and_the_default_pts_after_dev():
    found = plan(config(mounts=[tmpfs("/dev")])).build
    paths = [step.args["path"] for step in found if step.op == "mount"]
    assert paths.index("/proc") < paths.index("/dev") < paths.index("/dev/pts")


def test_cgroup_mounts_are_those_of_the_host():
    entry = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
    assert [step.args["fstype"] for step in steps(entry, namespaces=[*NAMESPACES, "cgroup"])][:2] == ["tmpfs", "cgroup"]
    found = plan(config(namespaces=[*NAMESPACES, "cgroup"], mounts=[entry]), facts(V2)).build
    assert [step.args["fstype"] for step in at(found, "/sys/fs/cgroup")] == ["cgroup2"]


# ---- What the kernel lacks ----


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"options": ["rbind", "rro"]}, "/mounts/0/options"),
        ({"options": ["rbind", "rrw"]}, "/mounts/0/options"),
        ({"options": ["remount", "bind", "rnosymfollow"]}, "/mounts/0/options"),
        ({"options": ["bind", "idmap"]}, "/mounts/0/options"),
        ({"options": ["bind"], "uidMappings": [], "gidMappings": []}, ""),
        ({"options": ["rbind", "ro", "rprivate", "nosymfollow"]}, ""),
        (
            {
                "options": ["bind"],
                "uidMappings": [{"containerID": 0, "hostID": 5, "size": 1}],
                "gidMappings": [{"containerID": 0, "hostID": 5, "size": 1}],
            },
            "/mounts/0/uidMappings",
        ),
    ],
)
def test_what_needs_mount_setattr_is_refused_where_it_is_not(more, pointer):
    wanted = config(mounts=[{"destination": "/data", "source": "/srv", **more}])
    if not pointer:
        assert plan(wanted, facts(mount_setattr=False)).build
        return
    with pytest.raises(Error, match=r"needs Linux 5\.12") as raised:
        plan(wanted, facts(mount_setattr=False))
    assert raised.value.pointer == pointer
