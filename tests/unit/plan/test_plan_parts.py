"""Namespaces, root, devices, hidden paths, names, process and hooks: each as data in, data out."""

import os

import pytest

from invented import NAMESPACES, V2, at, config, context, facts, only, plan
from pyruntime._stub import lib
from pyruntime.base.errors import Error
from pyruntime.plan.capabilities import NUMBERS
from pyruntime.plan.devices import DEFAULT_DEVICES
from pyruntime.plan.exec import compile_exec
from pyruntime.plan.namespaces import TYPES, mapping_text
from pyruntime.plan.process import RLIMITS
from pyruntime.plan.sysctl import sysctl_path

MAPPED = {
    "namespaces": [{"type": kind} for kind in (*NAMESPACES, "user")],
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 5000, "size": 9}],
    "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 10}],
}


# ---- Namespaces ----


def test_a_namespace_is_made_or_joined():
    found = plan(config(linux={"namespaces": [{"type": "mount"}, {"type": "network", "path": "/run/ns"}]})).namespaces
    assert [(step.op, step.args["namespace"], step.pointer) for step in found] == [
        ("clone", "mount", "/linux/namespaces/0"),
        ("setns", "network", "/linux/namespaces/1"),
    ]
    assert found[1].args["path"] == "/run/ns"


@pytest.mark.clause("config-linux.md#namespaces/types-supported")
def test_every_type_of_the_specification_is_known():
    assert set(TYPES) == {"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"}
    assert len({flag for flag, _ in TYPES.values()}) == 8


@pytest.mark.parametrize("kind", ["maskedPaths", "readonlyPaths"])
def test_nothing_of_the_process_itself_is_hidden_where_its_pid_namespace_is_joined(kind):
    joined = {"namespaces": [{"type": "mount"}, {"type": "pid", "path": "/run/ns"}], kind: ["/proc//self/./environ"]}
    with pytest.raises(Error, match="nothing is the container's own") as error:
        plan(config(linux=joined))
    assert error.value.pointer == f"/linux/{kind}/0"
    joined[kind] = ["/proc/selfish", "/proc/keys"]
    assert plan(config(linux=joined)).enter


def test_a_hook_in_a_pid_namespace_of_others_is_warned_of():
    hooks = {"createContainer": [{"path": "/bin/true"}]}
    joined = {"namespaces": [{"type": "mount"}, {"type": "pid", "path": "/run/ns"}]}
    (warning,) = plan(config(linux=joined, hooks=hooks)).warnings
    assert "createContainer" in warning
    assert plan(config(hooks=hooks)).warnings == []


def test_the_maps_are_as_the_kernel_reads_them():
    uid, gid = plan(config(linux=MAPPED)).maps
    assert (uid.op, uid.args["text"], uid.pointer) == ("uid_map", "0 1000 1\n1 5000 9\n", "/linux/uidMappings")
    assert (gid.op, gid.args["text"], gid.pointer) == ("gid_map", "0 2000 10\n", "/linux/gidMappings")
    assert mapping_text([]) == ""


def test_a_joined_user_namespace_gets_no_maps():
    joined = {**MAPPED, "namespaces": [{"type": "mount"}, {"type": "user", "path": "/run/ns"}]}
    assert plan(config(linux=joined)).maps == []


def test_offsets_of_the_clocks():
    offsets = {"monotonic": {"secs": 5}, "boottime": {"secs": -1, "nanosecs": 7}}
    (step,) = plan(
        config(
            namespaces=[*NAMESPACES, "time"],
            linux={"namespaces": [{"type": "mount"}, {"type": "time"}], "timeOffsets": offsets},
        )
    ).maps
    assert step.args["text"] == "monotonic 5 0\nboottime -1 7\n"
    assert (step.pointer, step.clause) == ("/linux/timeOffsets", "config-linux.md#offset-for-time-namespace")


# ---- Root ----


def test_the_root_is_cut_off_taken_and_entered():
    found = plan()
    assert [step.op for step in found.build[:2]] == ["propagation", "root"]
    assert found.build[0].args["rec_propagation"] == lib.MS_SLAVE
    assert found.build[1].args["source"] == "rootfs"
    assert found.enter[-1].op == "pivot_root"


def test_no_pivot_moves_the_root():
    assert plan(no_pivot=True).enter[-1].op == "move_root"


def test_without_a_mount_namespace_the_root_is_changed_and_nothing_cut_off():
    found = plan(config(namespaces=["pid"]))
    assert found.enter[-1].op == "chroot"
    assert not only(found.build, "propagation")


def test_a_read_only_root_is_so_after_everything_was_made_in_it():
    found = plan(
        config(
            root={"path": "rootfs", "readonly": True},
            process={"cwd": "/made"},
            linux={"readonlyPaths": ["/x"], "namespaces": [{"type": "mount"}]},
        )
    )
    order = [step.op for step in found.enter]
    (step,) = at(only(found.enter, "setattr"), "/")
    assert step.args["attr_set"] == lib.MOUNT_ATTR_RDONLY
    assert order.index("mkdir") < order.index("readonly") < order.index("setattr") < order.index("pivot_root")


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("shared", lib.MS_SHARED),
        ("slave", lib.MS_SLAVE),
        ("private", lib.MS_PRIVATE),
        ("unbindable", lib.MS_UNBINDABLE),
    ],
)
def test_the_propagation_of_the_root_comes_last(name, flag):
    linux = {"namespaces": [{"type": "mount"}]}
    last = plan(config(linux={**linux, "rootfsPropagation": name})).enter[-1]
    assert (last.op, last.args["propagation"]) == ("setattr", flag)
    recursive = plan(config(linux={**linux, "rootfsPropagation": f"r{name}"})).enter[-1]
    assert recursive.args["rec_propagation"] == flag


def test_nothing_reaches_the_host_while_the_root_is_built():
    for name in ("shared", "rshared", "private"):
        found = plan(config(linux={"namespaces": [{"type": "mount"}], "rootfsPropagation": name}))
        root = only(found.build, "root")[0]
        assert root.args["propagation"] == lib.MS_PRIVATE


# ---- Devices ----


def nodes(configuration=None, host=None):
    return {
        step.args["path"]: step
        for step in plan(configuration, host).build
        if step.op == "mknod" or step.args.get("flags", 0) & lib.STEP_DEVICE
    }


def test_default_devices():
    found = nodes()
    assert {path: step.args["dev"] for path, step in found.items()} == {
        path: os.makedev(*number) for path, number in DEFAULT_DEVICES.items()
    }
    assert all(step.args["mode"] == 0o20666 for step in found.values())


def test_a_configured_device():
    device = {"path": "/dev/x", "type": "b", "major": 7, "minor": 3, "fileMode": 0o640, "uid": 1, "gid": 2}
    step = nodes(config(linux={"devices": [device], "namespaces": [{"type": "mount"}]}))["/dev/x"]
    assert step.args == {"path": "/dev/x", "mode": 0o60640, "dev": os.makedev(7, 3), "uid": 1, "gid": 2}
    assert (step.pointer, step.clause) == ("/linux/devices/0", "config-linux.md#devices")


def test_a_fifo_has_no_number():
    step = nodes(config(linux={"devices": [{"path": "/fifo", "type": "p"}], "namespaces": [{"type": "mount"}]}))[
        "/fifo"
    ]
    assert (step.args["mode"], step.args["dev"]) == (0o10666, 0)


def test_a_configured_device_replaces_the_default_one():
    device = {"path": "/dev/./null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}
    found = plan(config(linux={"devices": [device], "namespaces": [{"type": "mount"}]})).build
    assert [step.args["mode"] for step in at(found, "/dev/null")] == [0o20600]


@pytest.mark.parametrize("host", [facts(lacking=["CAP_MKNOD"]), facts(in_user_namespace=True)])
def test_where_nodes_cannot_be_made_the_hosts_are_bound(host):
    found = nodes(host=host)
    assert {step.op for step in found.values()} == {"bind"}
    assert all(step.args["source"] == path for path, step in found.items())


def test_in_a_user_namespace_the_hosts_nodes_are_bound():
    assert {step.op for step in nodes(config(linux=MAPPED)).values()} == {"bind"}


def test_links_in_dev():
    links = {step.args["path"]: step.args["source"] for step in only(plan().build, "symlink")}
    assert links["/dev/fd"] == "/proc/self/fd"
    assert links["/dev/stdin"] == "/proc/self/fd/0"
    assert links["/dev/ptmx"].endswith("pts/ptmx")


def test_a_bound_dev_stays_as_it_is():
    found = plan(config(mounts=[{"destination": "/dev", "source": "/dev", "options": ["bind"]}])).build
    assert not only(found, "mknod")
    assert not only(found, "symlink")


def test_the_console_is_for_a_terminal():
    assert not only(plan().build, "console")
    (step,) = only(plan(config(process={"terminal": True, "user": {"uid": 7, "gid": 8}})).build, "console")
    assert (step.args["path"], step.args["uid"]) == ("/dev/console", 7)


# ---- Hidden paths ----


def test_read_only_paths_come_before_masks():
    found = plan(
        config(linux={"maskedPaths": ["/a"], "readonlyPaths": ["/b", "/c"], "namespaces": [{"type": "mount"}]})
    ).enter
    assert [(step.op, step.args["path"], step.pointer) for step in found[:3]] == [
        ("readonly", "/b", "/linux/readonlyPaths/0"),
        ("readonly", "/c", "/linux/readonlyPaths/1"),
        ("mask", "/a", "/linux/maskedPaths/0"),
    ]


# ---- Kernel parameters ----


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("kernel", "kernel"),
    ],
)
def test_both_separators_of_a_sysctl(key, path):
    assert sysctl_path(key) == path


def test_names_and_parameters():
    found = plan(
        config(
            hostname="h",
            domainname="d",
            linux={"sysctl": {"net/a~b": "1"}, "namespaces": [{"type": kind} for kind in NAMESPACES]},
        )
    ).build
    assert [step.args["data"] for step in only(found, "hostname")] == ["h"]
    assert [step.args["data"] for step in only(found, "domainname")] == ["d"]
    (step,) = only(found, "sysctl")
    assert (step.pointer, step.args["path"], step.args["data"]) == ("/linux/sysctl/net~1a~0b", "net/a~b", "1")


def test_only_a_new_network_namespace_gets_its_loopback_up():
    assert only(plan().build, "loopback")
    joined = {"namespaces": [{"type": "mount"}, {"type": "network", "path": "/run/ns"}]}
    assert not only(plan(config(linux=joined)).build, "loopback")


# ---- Process ----


def identity(host=None, linux=None, **process):
    return plan(config(process=process, linux=linux), host).process


def test_the_kernel_forces_this_order():
    found = [step.op for step in identity(terminal=True, user={"uid": 1, "gid": 2, "umask": 7}, noNewPrivileges=True)]
    for earlier, later in (
        ("terminal", "stdio"),
        ("terminal", "setsid"),
        ("bounding", "user"),
        ("umask", "capset"),
        ("user", "capset"),
        ("capset", "no_new_privs"),
    ):
        assert found.index(earlier) < found.index(later), (earlier, later)


def test_the_user():
    (step,) = only(identity(user={"uid": 1, "gid": 2, "additionalGids": [3, 4], "umask": 0o27}), "user")
    assert (step.args["uid"], step.args["gid"], step.args["groups"]) == (1, 2, [3, 4])


def test_umask_only_where_it_is_configured():
    assert not only(identity(), "umask")
    assert only(identity(user={"uid": 0, "gid": 0, "umask": 0}), "umask")[0].args["mask"] == 0


def capabilities(**sets):
    return {kind: [f"CAP_{name}" for name in names] for kind, names in sets.items()}


def bits(*names):
    return sum(1 << NUMBERS[f"CAP_{name}"] for name in names)


def test_the_five_sets():
    found = identity(
        capabilities=capabilities(
            bounding=["KILL", "CHOWN"],
            permitted=["KILL", "CHOWN"],
            effective=["KILL"],
            inheritable=["CHOWN"],
            ambient=["CHOWN"],
        )
    )
    assert only(found, "bounding")[0].args["keep"] == bits("KILL", "CHOWN")
    assert only(found, "capset")[0].args == {
        "permitted": bits("KILL", "CHOWN"),
        "effective": bits("KILL"),
        "inheritable": bits("CHOWN"),
        "ambient": bits("CHOWN"),
        "until_exec": 0,
    }


def test_without_capabilities_there_are_none():
    assert set(only(identity(), "capset")[0].args.values()) == {0}


@pytest.mark.parametrize("name", ["FLY", "SYS_TIME"])
@pytest.mark.clause("config.md#linux-process/capability-warning", "config.md#linux-process/capability-no-failure")
def test_what_cannot_be_granted_is_a_warning(name):
    found = plan(
        config(process={"capabilities": capabilities(permitted=[name, "KILL"])}), facts(lacking=["CAP_SYS_TIME"])
    )
    assert only(found.process, "capset")[0].args["permitted"] == bits("KILL")
    assert any(f"CAP_{name}" in warning for warning in found.warnings)


def test_a_new_user_namespace_has_every_capability_that_the_kernel_knows():
    found = identity(facts(lacking=["CAP_SYS_TIME"]), MAPPED, capabilities=capabilities(permitted=["SYS_TIME"]))
    assert only(found, "capset")[0].args["permitted"] == bits("SYS_TIME")


def test_a_set_never_gets_what_only_its_limit_has():
    sets = capabilities(bounding=["KILL"], permitted=["KILL", "SETUID"], effective=["KILL", "CHOWN", "SETGID"])
    found = plan(config(process={"capabilities": sets}))
    assert only(found.process, "capset")[0].args["effective"] == bits("KILL")
    (warning,) = found.warnings
    assert "not granted in the effective one: CAP_CHOWN, CAP_SETGID (" in warning


EVERY_SET = ("bounding", "permitted", "effective", "inheritable", "ambient")


@pytest.mark.parametrize(
    ("limit", "kinds"),
    [("permitted", {"effective", "ambient"}), ("inheritable", {"ambient"}), ("bounding", {"inheritable", "ambient"})],
)
@pytest.mark.clause("config.md#linux-process/capability-warning", "config.md#linux-process/capability-no-failure")
def test_what_another_set_rules_out_is_a_warning(limit, kinds):
    """The kernel refuses inheritable beyond bounding, effective beyond permitted, ambient beyond both (capset(2))."""
    sets = {kind: ["KILL"] if kind == limit else ["KILL", "CHOWN"] for kind in EVERY_SET}
    found = plan(config(process={"capabilities": capabilities(**sets)}))
    args = only(found.process, "capset")[0].args
    assert {kind for kind in EVERY_SET[1:] if args[kind] == bits("KILL")} == {limit, *kinds} - {"bounding"}
    assert len(found.warnings) == len(kinds)
    for kind in kinds:
        assert any("CAP_CHOWN" in warning and f"/process/capabilities/{kind}" in warning for warning in found.warnings)


def test_limits_name_the_resource():
    limits = [{"type": name, "soft": 1, "hard": 2} for name in RLIMITS]
    found = plan(config(process={"rlimits": limits, "oomScoreAdj": 5})).limits
    assert [step.args["resource"] for step in only(found, "prlimit")] == list(range(16))
    assert only(found, "prlimit")[3].pointer == "/process/rlimits/3"
    assert only(found, "oom_score_adj")[0].args["value"] == 5


def test_the_working_directory_is_made_before_the_root_is_entered():
    found = plan(config(process={"cwd": "/deep/down"})).enter
    assert [step.op for step in found] == ["mkdir", "pivot_root"]
    assert not only(plan().enter, "mkdir")


def test_the_program_comes_last():
    found = plan(config(process={"args": ["a", "b"], "env": ["X=1"]}))
    (step,) = found.execute
    assert (step.op, step.args["argv"], step.args["env"]) == ("execve", ["a", "b"], ["X=1"])
    assert list(found.steps())[-1] is step


def test_without_a_process_there_is_nothing_to_execute():
    configuration = config()
    del configuration["process"]
    found = plan(configuration)
    assert found.execute == found.process == found.limits == []


def test_a_session_keyring_unless_it_is_declined():
    assert only(plan().process, "keyring")[0].args["name"] == "_ses.c1"
    assert not only(plan(new_keyring=False).process, "keyring")


# ---- Hooks ----

KINDS = {
    "prestart": "host",
    "createRuntime": "host",
    "createContainer": "init",
    "startContainer": "init",
    "poststart": "host",
    "poststop": "host",
}


def test_hooks_have_their_place_in_the_lifecycle():
    hooks = {kind: [{"path": f"/{kind}1"}, {"path": f"/{kind}2"}] for kind in reversed(KINDS)}
    found = [
        (by, step.args["path"])
        for by, steps in plan(config(hooks=hooks)).phases()
        for step in steps
        if step.op == "hook"
    ]
    assert found == [(by, f"/{kind}{number}") for kind, by in KINDS.items() for number in (1, 2)]


def test_a_hook_keeps_what_is_configured():
    entry = {"path": "/h", "args": ["x", "y"], "env": ["A=1"], "timeout": 7}
    (step,) = plan(config(hooks={"poststop": [entry]})).hooks["poststop"]
    assert (step.args["argv"], step.args["env"], step.args["timeout"]) == (["x", "y"], ["A=1"], 7)
    assert (step.pointer, step.clause) == ("/hooks/poststop/0", "config.md#poststop")


def test_without_args_a_hook_is_called_by_its_path():
    assert plan(config(hooks={"prestart": [{"path": "/h"}]})).hooks["prestart"][0].args["argv"] == ["/h"]


def test_hooks_come_between_the_mounts_and_the_entering_of_the_root():
    found = [
        step.op
        for step in plan(
            config(
                hooks={"createContainer": [{"path": "/h"}]},
                linux={"maskedPaths": ["/x"], "namespaces": [{"type": "mount"}]},
            )
        ).steps()
    ]
    assert found.index("mknod") < found.index("hook") < found.index("mask") < found.index("pivot_root")


@pytest.mark.clause("config.md#linux-process/exec-affinity-final-kept")
@pytest.mark.parametrize(("final", "cpus"), [({}, []), ({"final": ""}, []), ({"final": "1"}, [[1]])])
def test_without_final_cpus_exec_sets_none_after_the_cgroup(final, cpus):
    configured = context(config(process={"execCPUAffinity": {"initial": "0", **final}}))
    found = compile_exec(configured, plan().cgroup)
    assert [step.args["cpus"] for step in found.affinity] == [[0]]
    assert [step.args["cpus"] for step in only(found.process, "sched_setaffinity")] == cpus


# ---- crun's annotation for a group of the container's own ----


@pytest.mark.parametrize("systemd", [False, True])
@pytest.mark.parametrize(("value", "path"), [("mine", "/mine"), ("/a//b/", "/a/b"), ("", None)])
def test_the_delegated_group_is_made_below_the_container_s(value, path, systemd):
    found = plan(config(annotations={"run.oci.delegate-cgroup": value}), facts(V2), systemd_cgroup=systemd).cgroup
    made = [step for step in found.explain() if step.op == "delegate_cgroup"]
    assert [step.args["path"] for step in made] == ([path] if path else [])
    assert found.required == (bool(path) or systemd)
    assert all(step.pointer == "/annotations/run.oci.delegate-cgroup" for step in made)


def test_it_goes_to_the_user_who_owns_the_container_s_group():
    """config-linux.md#cgroup-ownership gives that to the user of the process; otherwise it is for the root."""
    mounts = [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}]
    changed = config(annotations={"run.oci.delegate-cgroup": "mine"}, mounts=mounts)
    changed["process"]["user"] = {"uid": 7, "gid": 7}
    changed["linux"]["namespaces"].append({"type": "cgroup"})
    assert plan(changed, facts(V2)).cgroup.delegate.args["uid"] == 7
    changed["mounts"] = []
    assert plan(changed, facts(V2)).cgroup.delegate.args["uid"] == 0
