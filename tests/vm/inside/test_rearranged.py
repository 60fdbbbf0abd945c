"""A container that may write to its groups of cgroup v2 arranges them as systemd, k3s and kind do, or as nobody does:
every verb still does what it is for.
"""

import json

import pytest
from containers import until

from changes import resources

MIB = 1 << 20
TOP = "/sys/fs/cgroup"
ALL = "for one in $(cat $top/cgroup.controllers); do echo +$one > $top/cgroup.subtree_control; done"
MOVE = "mkdir -p $top/a && echo 1 > $top/a/cgroup.procs"
# What init does -> where a process of exec is found then, as the container sees it.
ARRANGED = {
    "as it was": (":", "/"),
    "a group below": ("mkdir $top/a", "/"),
    "moved": (MOVE, "/"),
    "moved, all controllers": (f"{MOVE} && {ALL}", "/a"),
    "deep": (
        f"mkdir -p $top/a/b/c && echo 1 > $top/a/b/c/cgroup.procs && {ALL}"
        " && echo +pids > $top/a/cgroup.subtree_control && echo +pids > $top/a/b/cgroup.subtree_control",
        "/a/b/c",
    ),
    "moved, beside another": (
        f"mkdir -p $top/b && (echo 0 > $top/b/cgroup.procs; exec sleep 1000) &"
        f' until [ -n "$(cat $top/b/cgroup.procs)" ]; do sleep 0.05; done; {MOVE} && {ALL}',
        "/a",
    ),
    "limits": (f"{MOVE} && {ALL} && echo 30 > $top/a/pids.max && echo {64 * MIB} > $top/a/memory.max", "/a"),
    "threaded": ("mkdir $top/a && echo threaded > $top/a/cgroup.type && echo 1 > $top/a/cgroup.procs", "/"),
}


def writable(config):
    for mount in config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev", "rw"]
    config["root"]["readonly"] = False


def arranged(either, script, *changes):
    """Return a running container whose init has carried out `script`."""
    whole = f"top={TOP}; {script} && touch /tmp/arranged; sleep 1000"
    container = either.create(writable, *changes, script=whole, own=True)
    group = container.group
    container.start()
    until(lambda: container.path("/tmp/arranged").exists(), "the groups to be arranged")
    return container, group


def verb(container, *words, **options):
    return container.containers.runtime(*container.containers.driver, *words, **options)


def updated(container, limits, **options):
    file = container.bundle / "resources.json"
    file.write_text(json.dumps(limits))
    return verb(container, "update", "-r", file, container.id, **options)


@pytest.mark.parametrize("name", ARRANGED)
def test_every_verb_works_however_the_groups_are_arranged(either, name):
    script, place = ARRANGED[name]
    container, group = arranged(either, script)
    assert container.exec("cat", "/proc/self/cgroup").stdout == f"0::{place}\n"

    update = {"pids": {"limit": 50}, "memory": {"limit": 96 * MIB}}
    updated(container, update)
    assert (group / "pids.max").read_text() == "50\n"
    assert (group / "memory.max").read_text() == f"{96 * MIB}\n"

    assert container.pid in json.loads(verb(container, "ps", "--format", "json", container.id).stdout)
    stats = json.loads(verb(container, "events", "--stats", container.id).stdout)["data"]
    assert stats["pids"]["current"] >= 1
    assert stats["memory"]["usage"]["usage"] > 0

    verb(container, "pause", container.id)
    assert container.status == "paused"
    listed = json.loads(verb(container, "list", "--format", "json").stdout)
    assert [one["status"] for one in listed if one["id"] == container.id] == ["paused"]
    assert "paused" in container.exec("true", check=False).stderr
    verb(container, "resume", container.id)
    assert container.status == "running"
    container.exec("true")

    container.kill()
    container.delete()
    container.containers.nothing_left(container.id)
    assert not group.exists()


def test_one_that_freezes_its_own_group_below_is_paused_and_ends(either):
    script = f"{MOVE} && {ALL} && touch /tmp/arranged && echo 1 > $top/a/cgroup.freeze"
    container, _ = arranged(either, script)
    container.wait("paused")
    assert "paused" in container.exec("true", check=False).stderr
    verb(container, "update", "--pids-limit", "60", container.id)
    assert container.pid in json.loads(verb(container, "ps", "--format", "json", container.id).stdout)
    verb(container, "resume", container.id)
    container.wait("running")
    container.exec("true")
    container.kill()
    container.delete()
    container.containers.nothing_left(container.id)


def test_a_group_given_to_exec_is_taken_as_it_stands(either):
    """The container's own group takes no process: only without --cgroup is another one looked for."""
    container, _ = arranged(either, ARRANGED["moved, all controllers"][0])
    verb(container, "exec", "--cgroup", "/a", container.id, "true")
    refused = verb(container, "exec", "--cgroup", "/", container.id, "true", check=False)
    assert refused.returncode == 255
    assert "EBUSY" in refused.stderr


def test_exec_joins_a_small_memory_group_below(either):
    """With a small limit a process joins the group when it is ready, and not by clone3(2)."""
    container, _ = arranged(either, ARRANGED["moved, all controllers"][0], resources(memory={"limit": 4 * MIB}))
    assert container.exec("cat", "/proc/self/cgroup").stdout == "0::/a\n"


@pytest.mark.clause("config-linux.md#memory/check-before-update")
def test_a_limit_below_what_is_in_use_is_refused_before_anybody_is_told(either):
    """systemd would write it at once, and the kernel would kill the container."""
    script = f"dd if=/dev/zero of=/tmp/big bs=1M count=24 2>/dev/null; x=$(head -c {16 * MIB} /dev/zero | tr '\\0' x)"
    container, group = arranged(either, script, resources(memory={"limit": 96 * MIB, "swap": 96 * MIB}))
    kept = {name: (group / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max")}
    update = {"memory": {"limit": MIB, "checkBeforeUpdate": True}, "pids": {"limit": 11}}
    refused = updated(container, update, check=False)
    assert refused.returncode == 1
    assert "bytes are in use" in refused.stderr
    assert "/resources.json: /memory" in refused.stderr
    assert container.status == "running"
    assert {name: (group / name).read_text() for name in kept} == kept
    # systemd has kept the former limits, too: it writes them again with the next change of anything.
    verb(container, "update", "--cpu-share", "512", container.id)
    assert {name: (group / name).read_text() for name in kept} == kept
    assert container.status == "running"
