"""What each part of a configuration adds to the plan, or is refused with: this writes plans.txt, for eyes and a test.

Each case is a host, and what a small configuration gets besides. plans.txt tells what becomes of the plan: steps that
are there now (+), the kinds of those that are gone (-), warnings (~), or the error (!).
"""

import json
from collections import Counter
from functools import cache, partial
from pathlib import Path

from invented import NAMESPACES, config, context, facts
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.plan.cgroup.cgroup import compile_update
from pyruntime.plan.create import compile_plan
from pyruntime.plan.exec import compile_exec
from pyruntime.plan.facts import CgroupHost
from pyruntime.spec import check_config, check_process
from pyruntime.spec.rules.landlock import ANNOTATION as LANDLOCK
from pyruntime.spec.rules.landlock import HANDLED

FILE = Path(__file__).with_suffix(".txt")
GOOD = Path(__file__).parents[3] / "spec-fixtures/config/good"

_V1 = {name: f"/cg/{name}" for name in ("cpuset", "memory", "devices", "pids", "blkio", "hugetlb", "rdma", "net_prio")}
_V1 |= {"cpu": "/cg/cpu,cpuacct", "cpuacct": "/cg/cpu,cpuacct", "net_cls": "/cg/net_cls", "name=systemd": "/cg/systemd"}
_OWN = {"": "/user.slice/user-1000.slice/session-1.scope", "memory": "/own", "cpu": "/"}
_HOST = CgroupHost("v1", _V1, own=_OWN)
_V2 = frozenset(["cpu", "cpuset", "memory", "pids", "io", "hugetlb", "rdma"])

# Name -> facts of the host, options of create.
HOSTS = {
    "v1": (facts(_HOST), {}),
    "v2": (facts(CgroupHost("v2", {}, "/cg", _OWN, _V2)), {}),
    "hybrid": (facts(CgroupHost("hybrid", {"cpu": "/cg/cpu", "memory": "/cg/memory"}, "/u", _OWN, _V2 - {"cpu"})), {}),
    "v1-bare": (facts(CgroupHost("v1", {"devices": "/cg/devices"})), {}),
    "v2-bare": (facts(CgroupHost("v2", {}, "/cg", _OWN)), {}),
    "hybrid-bare": (facts(CgroupHost("hybrid", {"devices": "/cg/devices"}, "/u")), {}),
    "none": (facts(CgroupHost("v1", {})), {}),
    "no-devices": (facts(CgroupHost("v1", {"memory": "/cg/memory"})), {}),
    "systemd": (facts(CgroupHost("v2", {}, "/cg", _OWN, _V2)), {"systemd_cgroup": True}),
    "systemd-user": (facts(CgroupHost("v2", {}, "/cg", _OWN, _V2), euid=1000), {"systemd_cgroup": True}),
    "systemd-v1": (facts(CgroupHost("v1", _V1)), {"systemd_cgroup": True}),
    "no-pivot": (facts(_HOST), {"no_pivot": True}),
    "no-keyring": (facts(_HOST, selinux=True), {"new_keyring": False}),
    "lsm": (facts(_HOST, apparmor=True, selinux=True), {}),
    "old": (facts(_HOST, mount_setattr=False), {}),
    "userns": (facts(_HOST, in_user_namespace=True), {}),
    "few": (facts(_HOST, lacking=["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SETGID"]), {}),
    **{f"landlock-{version}": (facts(_HOST, landlock=version), {}) for version in range(8)},
}
USER = [*({"type": kind} for kind in NAMESPACES), {"type": "user"}]
MAP = [{"containerID": 0, "hostID": 1000, "size": 10}, {"containerID": 20, "hostID": 5000, "size": 5}]
USERNS = {"namespaces": USER, "uidMappings": MAP, "gidMappings": MAP}
JOINED = {"namespaces": [{"type": "mount"}, {"type": "user", "path": "/ns/user"}]}
# What a plan says of the cgroup beside its steps.
CGROUP = ("mode", "path", "groups", "enable", "required", "tight")
BOTH, ALL3 = ("v1", "v2"), ("v1", "v2", "hybrid")


def limits(hosts, *resources):
    """Yield a case for each of `resources` on each of `hosts`."""
    for entry in resources:
        for host in (hosts,) if isinstance(hosts, str) else hosts:
            yield host, {"linux": {"resources": entry}}


def entries(host, *entries, linux=None, **top):
    """Yield a case for each mount."""
    for entry in entries:
        yield host, {"mounts": [{"destination": "/m", **entry}], "linux": linux, **top}


def processes(host, *processes, **top):
    """Yield a case for each process."""
    for entry in processes:
        yield host, {"process": entry, **top}


def linuxes(host, *linuxes, **top):
    """Yield a case for each value of `linux`."""
    for entry in linuxes:
        yield host, {"linux": entry, **top}


def units(*annotations):
    """Yield a case for each property of a systemd unit."""
    for name, text in annotations:
        yield "systemd", {"annotations": {f"org.systemd.property.{name}": text}}


def hooked(**entry):
    """Return a hook of each kind."""
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    return {kind: [{"path": "/first"}, {"path": f"/{kind}", **entry}] for kind in kinds}


def memory():
    """Yield the cases of memory limits."""
    yield from limits(
        BOTH,
        *(
            {"memory": {name: value}}
            for name in ("limit", "reservation", "kernel", "kernelTCP")
            for value in (0, -1, 1, 7)
        ),
        *({"memory": {"limit": 8, "swap": value}} for value in (-1, 0, 8, 9)),
        *({"memory": {"limit": -1, "swap": value}} for value in (-1, 0)),
        *({"memory": {"swap": value}} for value in (-1, 0)),
        *({"memory": {"swappiness": value}} for value in (0, 60)),
        *({"memory": {name: value}} for name in ("disableOOMKiller", "useHierarchy") for value in (False, True)),
        *({"memory": {"checkBeforeUpdate": True, **more}} for more in ({}, {"limit": 9}, {"limit": 9, "swap": -1})),
        {"memory": {"checkBeforeUpdate": True, "limit": 8, "swap": 9}},
        {"memory": {"checkBeforeUpdate": True, "limit": -1}},
        {"memory": {"checkBeforeUpdate": True, "limit": 1, "swap": 1}},
        {"memory": {"checkBeforeUpdate": True, "limit": 1}},
        {"memory": {"checkBeforeUpdate": False, "limit": 8}},
        {"memory": {"limit": 8, "reservation": 4, "swap": 16, "kernel": -1, "swappiness": 3}},
        *({"memory": {"limit": value}} for value in (4 << 20, (4 << 20) - 1)),
    )
    yield from limits(
        ("v1-bare", "v2-bare", "hybrid-bare"),
        *({"memory": {"limit": value}} for value in (0, -1, 7)),
        *({"memory": {name: value}} for name in ("disableOOMKiller", "useHierarchy") for value in (False, True)),
        {"memory": {"swappiness": 0}},
        {"memory": {"checkBeforeUpdate": True}},
        {"memory": {"reservation": 0, "kernel": 5}},
        {"memory": {"reservation": 1}},
        {"memory": {"kernelTCP": 1}},
        {"memory": {"reservation": -1, "swap": -1, "kernel": -1, "kernelTCP": -1}},
    )
    yield from limits("hybrid", {"memory": {"limit": 8}}, {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]})
    copied = {"mounts": [{"destination": "/m", "type": "tmpfs", "options": ["tmpcopyup"]}]}
    yield "v2", {"linux": {"resources": {"memory": {"limit": 8}}}, **copied}
    yield from limits("v2", *({"unified": {"memory.max": text}} for text in ("8", "max", "0", "4194304", "4194303")))
    yield from limits("v2", {"unified": {"memory.max": "8"}, "memory": {"limit": 1 << 30}})


def processors():
    """Yield the cases of limits on CPUs."""
    yield from limits(
        BOTH,
        *({"cpu": {"shares": value}} for value in (0, 1, 2, 3, 1024, 2000, 262143, 262144, 262145)),
        *({"cpu": {"quota": value}} for value in (0, -1, -2, 1, 50000)),
        {"cpu": {"period": 5}},
        {"cpu": {"period": 0}},
        {"cpu": {"quota": 7, "period": 5}},
        {"cpu": {"quota": -1, "period": 5}},
        *({"cpu": {"burst": value}} for value in (0, 9)),
        *({"cpu": {"burst": value, "quota": 8}} for value in (0, 8)),
        {"cpu": {"burst": 9, "quota": -1}},
        *({"cpu": {"idle": value}} for value in (0, 1)),
        {"cpu": {"idle": 1, "shares": 5}},
        {"cpu": {"idle": 0, "shares": 5}},
        *({"cpu": {"realtimePeriod": value}} for value in (0, 5)),
        *({"cpu": {"realtimeRuntime": value}} for value in (0, 4)),
        {"cpu": {"realtimeRuntime": 4, "realtimePeriod": 5, "shares": 6, "quota": 7, "period": 8, "burst": 3}},
        *({"cpu": {name: text}} for name in ("cpus", "mems") for text in ("", "0-3,7")),
    )
    yield from limits(
        ("v1-bare", "v2-bare", "hybrid-bare"),
        {"cpu": {"shares": 0, "quota": 0}},
        {"cpu": {"shares": 0, "quota": 5}},
        {"cpu": {"burst": 0}},
        {"cpu": {"cpus": "0"}},
        {"cpu": {"mems": "0"}},
    )


def others():
    """Yield the cases of the other limits."""
    device = {"major": 8, "minor": 16}
    throttles = [f"throttle{way}{what}Device" for way in ("Read", "Write") for what in ("Bps", "IOPS")]
    yield from limits(
        BOTH,
        *({"pids": {"limit": value}} for value in (-1, 0, 7)),
        {"pids": {}},
        *({"blockIO": {"weight": value}} for value in (0, 9, 10, 11, 500, 1000, 1001)),
        *({"blockIO": {"leafWeight": value}} for value in (0, 10)),
        *({"blockIO": {"weightDevice": [{**device, **more}]}} for more in ({"weight": 0}, {"weight": 1000})),
        *({"blockIO": {"weightDevice": [{**device, "leafWeight": value}]}} for value in (0, 10)),
        {"blockIO": {"weightDevice": [{**device, "weight": 10}, {**device, "weight": 1001}]}},
        *({"blockIO": {name: [{**device, "rate": value} for value in (0, 7)]}} for name in throttles),
        {"blockIO": {"weight": 0, throttles[0]: [], "leafWeight": 0}},
        *({"hugepageLimits": [{"pageSize": text, "limit": 7}]} for text in ("2MB", "1GB", "64KB")),
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 7}]},
        {"network": {"classID": 0}},
        {"network": {"classID": 5}},
        {"network": {"priorities": [{"name": "eth0", "priority": 0}, {"name": "eth1", "priority": 7}]}},
        *({"rdma": {"a~/b": entry}} for entry in ({"hcaHandles": 0}, {"hcaObjects": 5})),
        {"rdma": {"mlx": {"hcaHandles": 3, "hcaObjects": 5}}},
    )
    yield from limits(
        ("v2", "hybrid", "v1"),
        {"unified": {"memory.max": "5", "pids.max": "7", "cgroup.max.depth": "0", "irq.pressure": "x"}},
        {"unified": {"io.max": "8:0 rbps=1\n8:16 rbps=2\n"}},
        *({"unified": {"memory.low": text}} for text in ("", "\n", " \n ", "a\n\nb", "X\nX")),
        *({"unified": {name: "1"}} for name in ("foo.bar", "foo~.bar", "cpu.max")),
    )
    yield from limits(
        ("v1-bare", "v2-bare", "hybrid-bare"),
        {"pids": {"limit": -1}},
        {"pids": {"limit": 0}},
        {"blockIO": {"weight": 10}},
        {"blockIO": {"weight": 0, "leafWeight": 10}},
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 7}]},
        {"network": {"classID": 5}},
        {"network": {"priorities": [{"name": "eth0", "priority": 0}]}},
        {"rdma": {"mlx": {"hcaHandles": 3}}},
    )
    yield from limits(("none", "no-devices"), {}, {"devices": [{"allow": True}]})
    everything = json.loads((GOOD / "every-property.json").read_bytes())["linux"]["resources"]
    yield from limits("v1", {name: value for name, value in everything.items() if name != "unified"})


def groups():
    """Yield the cases of where the cgroup is, and whose."""
    for host in ALL3:
        yield from linuxes(host, *({"cgroupsPath": path} for path in ("/a//./b/", "a/b", "./x")))
    cgroup = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
    namespaces = [{"type": "mount"}, {"type": "cgroup"}]
    user = {"user": {"uid": 5, "gid": 6}}
    for more in ({}, {"options": ["ro"]}, {"destination": "/other"}, {"source": "other"}):
        for types in (namespaces, namespaces[:1], [namespaces[0], {"type": "cgroup", "path": "/ns/cgroup"}]):
            yield "v2", {"mounts": [{**cgroup, **more}], "process": user, "linux": {"namespaces": types}}
    for uid in (0, 9, 20, 24):
        linux = {**USERNS, "namespaces": [*USER, {"type": "cgroup"}]}
        yield "v2", {"mounts": [cgroup], "process": {"user": {"uid": uid, "gid": 0}}, "linux": linux}
    joined = [*JOINED["namespaces"], {"type": "cgroup"}]
    yield "v2", {"mounts": [cgroup], "process": user, "linux": {"namespaces": joined}}
    yield "v1", {"mounts": [cgroup], "process": user, "linux": {"namespaces": namespaces}}
    yield "v2", {"mounts": [cgroup], "process": None, "linux": {"namespaces": namespaces}}


def systemd():
    """Yield the cases of systemd's units."""
    for host in ("systemd", "systemd-user"):
        paths = ("", "a-b.slice:docker:3f", ":cri:3f", "-:cri:3f", "a:b", "a.slice:b:", "a.slice:b:c.slice")
        yield from linuxes(host, *({"cgroupsPath": path} for path in paths))
    paths = ("a--b.slice:b:c", "-a.slice:b:c", "a.slice:b:c d", "a:b:c", "a/b.slice:b:c", f"a.slice:b:{'c' * 247}")
    yield from linuxes("systemd", *({"cgroupsPath": path} for path in (*paths, f"a.slice:b:{'c' * 248}")))
    yield from linuxes("systemd-v1", {}, {"cgroupsPath": "a.slice:b:c"})
    yield from limits(
        "systemd",
        {"memory": {"limit": 100, "swap": 300, "reservation": 5}},
        *({"pids": {"limit": value}} for value in (-1, 0, 7)),
        *({"cpu": {"idle": value, "shares": 1024}} for value in (0, 1)),
        {"cpu": {"idle": 1}},
        {"cpu": {"quota": 50000, "period": 200000}},
        {"cpu": {"quota": 12345}},
        {"cpu": {"quota": -1}},
        *({"cpu": {"cpus": text}} for text in ("0,2-3,9", "8-15", "0-65535", "0-65536")),
        {"cpu": {"mems": "1"}},
        *({"unified": {"memory.high": text}} for text in ("max", "3", "0", "+3", "1_0", "-1", "much", "٣", " 5 ")),
        *({"unified": {"memory.min": text}} for text in (f"{2**64 - 1}", f"{2**64}", "9" * 300)),
        *(
            {"unified": {"cpu.max": text}}
            for text in ("max", "max 5", "7", "7 0", "7 x", "x 7", f"{2**64 - 1} 1", "100000000")
        ),
        *({"unified": {"cpuset.cpus": text}} for text in ("", "3-1", "0-99999999999", "x", "1-1")),
        {"unified": {"cpu.idle": "1", "cpu.weight": "5", "pids.max": "0", "io.max": "x"}},
        {"unified": {"cpu.idle": "0", "cpu.weight": "5"}},
        {"pids": {"limit": 7}, "unified": {"pids.max": "8"}},
    )
    yield from units(
        ("CollectMode", "'inactive-or-failed'"),
        ("TimeoutStopSec", "5"),
        ("TimeoutStopSec", "double 1.5"),
        ("TimeoutStopSec", "0"),
        ("TimeoutStopSec", "-1"),
        ("TimeoutStopSec", "'5'"),
        ("TimeoutStopSec", "18446744073709"),
        ("TimeoutStopSec", "uint64 18446744073709"),
        ("TimeoutStopSec", "uint64 18446744073710"),
        ("TimeoutStopUSec", "5"),
        ("XSEC", "5"),
        ("Sec", "5"),
        ("aSec", "5"),
        ("XaSec", "5"),
        ("Bad-Name/~", "1"),
        ("é", "1"),
        ("", "1"),
        ("X", "nonsense"),
        ("X", r"'a\nb'"),
        ("X", r"['\n', 'a']"),
        ("X", r"['a', 'a\nb']"),
    )
    yield "systemd", {"annotations": {"other": "1", "org.systemd.property.A": "1", "org.systemd.property.B": "2"}}


def mounts():
    """Yield the cases of mounts."""
    tmpfs, bind = {"type": "tmpfs"}, {"source": "/s", "options": ["bind"]}
    mapped = {"uidMappings": MAP[:1], "gidMappings": MAP[1:]}
    yield from entries(
        "v1",
        tmpfs,
        {**tmpfs, "source": "name"},
        *(
            {**tmpfs, "options": [option]}
            for option in ("ro", "size=1k", "tmpcopyup", "sync", "noexec", "rro", "shared")
        ),
        {**tmpfs, "options": ["rslave", "rnosuid", "x-a", "ro", "rw"]},
        {"type": "proc", "source": "proc", "options": ["ro", "nosuid"]},
        {"type": "proc", "options": ["remount", "ro", "sync", "hidepid=2"]},
        {"type": "", "options": ["remount", "bind", "ro", "sync"]},
        {"type": "none", "options": ["remount"]},
        bind,
        {"source": "relative", "type": "bind"},
        {"source": "/s", "options": ["rbind", "rprivate", "sync"]},
        {"source": "/s", "options": ["bind", "nosuid", "rro"]},
        {"source": "/s", "options": ["bind", "copy-symlink"]},
        {"source": "/s", "options": ["bind", "src-nofollow", "dest-nofollow"]},
        {"source": "/s", "options": ["bind", "ridmap=uids=0-1-2#9-9-1;gids=0-1-1"]},
        {"source": "/s", "options": ["rbind", "shared"]},
        {**bind, **mapped},
        {"source": "/s", "options": ["rbind", "ridmap"], **mapped},
        {**tmpfs, **mapped},
        {**tmpfs, "options": ["tmpcopyup", "ridmap"], **mapped},
        {"destination": "/m/../a/./b/", **tmpfs},
        {"destination": "a", **tmpfs},
        *({"destination": path, **tmpfs} for path in ("/procfs", "/sys", "/dev/pts", "/dev/shm", "/dev")),
        *({"destination": path, **bind} for path in ("/proc", "/sys", "/dev", "/dev/pts")),
        {"destination": "/proc/uptime", **bind},
        {"destination": "/dev", "type": "devtmpfs", "options": ["ro", "sync"]},
        {"destination": "/dev", "type": "tmpfs", "options": ["ro"]},
    )
    for linux in (USERNS, JOINED, {"rootfsPropagation": "rshared"}, {"rootfsPropagation": "rslave"}):
        yield from entries(
            "v1",
            tmpfs,
            bind,
            {"source": "/s", "options": ["bind", "shared"]},
            {"source": "/s", "options": ["bind", "rshared"]},
            {"source": "/s", "options": ["bind", "ridmap"], **mapped},
            linux=linux,
        )
    for linux in (USERNS, JOINED):
        idmapped = {"source": "/s", "options": ["bind", "idmap"]}
        yield from entries("v1", idmapped, {**tmpfs, "options": ["idmap"]}, linux=linux)
    yield from entries(
        "old",
        bind,
        {**bind, **mapped},
        {**tmpfs, "options": ["rro"]},
        {**tmpfs, "options": ["rrw"]},
        {**tmpfs, "options": ["ro", "noatime"]},
    )
    shared = [{"type": kind} for kind in ("mount", "user")]
    yield from linuxes("v1", {**USERNS, "namespaces": shared}, {"namespaces": [{"type": "mount"}]}, {"namespaces": []})
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    for host in ("lsm", "v1"):
        yield from entries(
            host,
            tmpfs,
            {"type": "mqueue"},
            {"type": "sysfs"},
            *({**tmpfs, "options": [f"{name}context=x"]} for name in ("", "fs", "def", "root", "no")),
            linux={"mountLabel": label, "maskedPaths": ["/a"]},
        )
    annotations = {"run.oci.mount_context_type": "rootcontext"}
    yield from entries("lsm", tmpfs, linux={"mountLabel": label}, annotations=annotations)


def cgroup_mounts():
    """Yield the cases of mounts of type cgroup."""
    namespaces = [{"type": "mount"}, {"type": "cgroup"}]
    userns = [*namespaces, {"type": "user"}]
    joined = [{"type": "mount"}, {"type": "cgroup", "path": "/ns/cgroup"}]
    for host in ("v1", "v2", "hybrid"):
        for types in ([{"type": "mount"}], namespaces, userns, joined, [*joined, {"type": "user"}]):
            linux = {"namespaces": types}
            if {"type": "user"} in types:
                linux.update(uidMappings=MAP, gidMappings=MAP)
            kinds = ({"type": "cgroup"}, {"type": "cgroup2"}) if host == "hybrid" else ({"type": "cgroup"},)
            yield from entries(host, *kinds, linux=linux)
        linux = {"namespaces": namespaces}
        yield from entries(
            host,
            {"type": "cgroup", "options": ["ro", "nosuid"]},
            {"type": "cgroup", "source": "s", "options": ["rw", "relatime", "rshared"]},
            {"type": "cgroup", "options": ["nsdelegate", "x"]},
            linux=linux,
        )
        yield from entries(
            host, {"type": "cgroup", "options": ["noatime", "private"]}, linux={"namespaces": namespaces[:1]}
        )
    yield from entries("v1", {"type": "cgroup2"}, {"type": "cgroup", "options": ["a" * 150, "b" * 150]})


def roots():
    """Yield the cases of the root filesystem, namespaces, devices and parameters."""
    propagations = ("shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable")
    for host in ("v1", "no-pivot"):
        yield from linuxes(
            host, {"rootfsPropagation": "shared"}, {"namespaces": []}, root={"path": "r", "readonly": True}
        )
    yield from linuxes("v1", *({"rootfsPropagation": name} for name in propagations))
    yield from linuxes("v1", {"rootfsPropagation": "shared", "namespaces": [{"type": "mount", "path": "/ns/mnt"}]})
    yield from linuxes(
        "v1",
        {"namespaces": [{"type": "mount"}, {"type": "network", "path": "/ns/net"}, {"type": "time"}]},
        USERNS,
        JOINED,
    )
    clocks = {"monotonic": {"secs": 5}, "boottime": {"nanosecs": 7}}
    yield from linuxes("v1", {"namespaces": [{"type": "mount"}, {"type": "time"}], "timeOffsets": clocks})
    yield from linuxes("v1", {"namespaces": [{"type": "time"}], "timeOffsets": {}})
    yield from linuxes("v1", {"sysctl": {"net.ipv4.conf.eth0/1.x": "1", "net/ipv4.a/b~": "2"}})
    yield "v1", {"hostname": "h", "domainname": "d"}
    yield from linuxes("v1", {"netDevices": {"eth0": {}, "a~b": {"name": "c"}}}, {"netDevices": {}})
    yield from linuxes("v1", {"maskedPaths": ["/a", "/b"], "readonlyPaths": ["/c", "/d"]})
    kinds = [{"path": f"/dev/{kind}", "type": kind, "major": 7, "minor": 9} for kind in "cub"]
    devices = [
        *kinds,
        {"path": "/fifo", "type": "p", "major": 7, "minor": 9},
        {"path": "/dev/./null", "type": "c", "major": 1, "minor": 3},
        {"path": "/full", "type": "b", "major": 1, "minor": 2, "fileMode": 0o104640, "uid": 5, "gid": 6},
    ]
    for host in ("v1", "userns", "few"):
        yield from linuxes(host, {"devices": devices})
    yield from linuxes("v1", {**USERNS, "devices": devices[:4]}, {**JOINED, "devices": devices[:1]})


def processing():
    """Yield the cases of the process."""
    yield from processes(
        "v1",
        {"terminal": True},
        {"terminal": True, "user": {"uid": 5, "gid": 6}, "consoleSize": {"height": 7, "width": 8}},
        {"consoleSize": {"height": 7, "width": 8}},
        {"terminal": False, "cwd": "/deep", "args": ["a b", ""], "env": ["A=b"]},
        {"user": {"uid": 5, "gid": 6, "umask": 0o27, "additionalGids": [7, 8]}},
        {"user": {"uid": 0, "gid": 0, "umask": 0, "additionalGids": []}},
        {"oomScoreAdj": 0},
        {"oomScoreAdj": -5, "rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}]},
        {"noNewPrivileges": True},
        {"noNewPrivileges": False},
        {"capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"]}},
        {"capabilities": {"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL", "CAP_X"], "ambient": ["CAP_KILL"]}},
        {"capabilities": {}},
        {"scheduler": {"policy": "SCHED_OTHER"}},
        {"scheduler": {"policy": "SCHED_FIFO", "priority": 5, "nice": -3}},
        {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}},
        {"scheduler": {"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_UTIL_CLAMP_MAX"]}},
        {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}},
        {"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}},
    )
    yield "v1", {"process": None}
    for host in ("lsm", "no-keyring", "v1"):
        yield from processes(
            host, {"apparmorProfile": "p"}, {"selinuxLabel": "l"}, {"apparmorProfile": "", "selinuxLabel": ""}
        )
    caps = {"capabilities": {"permitted": ["CAP_MKNOD", "CAP_KILL", "CAP_MKNOD"], "effective": ["CAP_MKNOD"]}}
    groups = {"user": {"uid": 5, "gid": 6, "additionalGids": [7]}}
    for linux in (None, USERNS, JOINED):
        yield from processes("few", caps, groups, linux=linux)
    keep = "run.oci.keep_original_groups"
    for text in ("1", "0", ""):
        yield from processes("v1", groups, {"user": {"uid": 5, "gid": 6}}, annotations={keep: text})
    yield "v1", {"annotations": {"run.oci.handler": "x", "run.oci.systemd.subgroup": "y", "other": "z"}}
    for host in ("v1", "v2"):
        yield host, {"annotations": {"run.oci.delegate-cgroup": "/of/its own"}}
    yield "v2", {"annotations": {"run.oci.delegate-cgroup": "own"}, "linux": USERNS}
    policies = [
        {"mode": "MPOL_DEFAULT"},
        {"mode": "MPOL_BIND", "nodes": "0-2,7"},
        {"mode": "MPOL_PREFERRED", "nodes": "", "flags": ["MPOL_F_STATIC_NODES"]},
        {"mode": "MPOL_INTERLEAVE", "nodes": "1023", "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES"]},
        {"mode": "MPOL_BIND", "nodes": "0-1024"},
        {"mode": "MPOL_BIND", "nodes": "1024"},
    ]
    yield from linuxes("v1", *({"memoryPolicy": policy} for policy in policies))
    yield from linuxes("v1", *({"personality": {"domain": name}} for name in ("LINUX", "LINUX32")))
    rdt = [
        {},
        {"closID": "g"},
        {"closID": "/"},
        {"closID": "g", "l3CacheSchema": "L3:0=f;1=f0\n\nMB:0=10", "memBwSchema": "MB:0=20"},
        {"memBwSchema": "MB:0=20", "schemata": ["L2:0=f", " "], "enableMonitoring": True},
        {"closID": "/", "l3CacheSchema": "L3:0=f", "enableMonitoring": True},
        {"closID": "g", "schemata": ["L2:0=f"], "enableMonitoring": False},
        {"closID": "X", "enableMonitoring": True},
    ]
    yield from linuxes("v1", *({"intelRdt": entry} for entry in rdt))
    for more in ({}, {"args": ["a", "b"], "env": ["X=1"], "timeout": 9}, {"args": [], "env": []}):
        yield "v1", {"hooks": hooked(**more), "process": {"env": ["P=1"]}}
    yield "v1", {"hooks": hooked(), "process": None}
    call = {"names": ["read", "write"], "action": "SCMP_ACT_ERRNO"}
    listener = {"listenerPath": "/agent", "syscalls": [call, {"names": ["open"], "action": "SCMP_ACT_NOTIFY"}]}
    for host in ("v1", "few"):
        for profile in ({}, listener, {"flags": [], "architectures": ["SCMP_ARCH_X86"], "syscalls": [call, call]}):
            for more in ({}, {"noNewPrivileges": True}):
                seccomp = {"defaultAction": "SCMP_ACT_ALLOW", **profile}
                yield host, {"linux": {"seccomp": seccomp}, "process": more}


def landlocks():
    """Yield rulesets of Landlock on kernels of several versions."""
    everything = {
        "ruleset": {kind: list(table) for kind, table in HANDLED.items()},
        "rules": {
            "pathBeneath": [
                {"allowedAccess": ["execute", "read_file"], "paths": ["/usr", "/bin"]},
                {"allowedAccess": ["truncate"], "paths": ["/tmp"]},
            ],
            "netPort": [{"allowedAccess": ["connect_tcp"], "ports": [80, 443]}],
        },
    }
    for version in (0, 1, 2, 3, 4, 5, 6, 7):
        yield f"landlock-{version}", {"annotations": {LANDLOCK: json.dumps(everything)}}
    for host in ("landlock-0", "landlock-3"):
        yield host, {"annotations": {LANDLOCK: json.dumps({**everything, "disableBestEffort": True})}}
    alone = json.dumps({"ruleset": {"scoped": ["signal"]}})
    for new in (False, True):
        for host in ("landlock-7", "few", "userns"):
            yield host, {"process": {"noNewPrivileges": new}, "annotations": {LANDLOCK: alone}}


# What `exec` adds to a running container: a process, and the annotations of the container.
EXEC = [
    {"process": {"terminal": True, "user": {"uid": 5, "gid": 6}, "consoleSize": {"height": 7, "width": 8}}},
    {"process": {"cwd": "/x", "env": ["A=b"], "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}]}},
    {"process": {"execCPUAffinity": {"initial": "0-2,7", "final": "1"}}},
    {"process": {"execCPUAffinity": {"initial": "8192"}}},
    {"process": {"execCPUAffinity": {"final": "5-8192"}}},
    {"process": {"execCPUAffinity": {"final": "8191"}}},
    {"process": {"selinuxLabel": "l", "apparmorProfile": "p"}},
    {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}},
    {"annotations": {"run.oci.handler": "x", "run.oci.keep_original_groups": "1"}},
    {"annotations": {LANDLOCK: '{"ruleset": {"scoped": ["signal"]}}'}},
    {"process": None},
]

# What `update` gives a running container.
UPDATES = [
    {"memory": {"limit": 8, "swap": 9}},
    {"memory": {"limit": -1}, "cpu": {"shares": 5}},
    {"cpu": {"burst": 9, "period": 5}},
    {"cpu": {"burst": 2, "quota": 1}},
    {"memory": {"swap": 9}},
    {"memory": {"swap": 1, "checkBeforeUpdate": True}},
    {"memory": {"swap": 9, "limit": -1}},
    {"devices": [{"allow": True, "type": "c", "major": 7, "access": "r"}]},
    {"devices": []},
]


def shown(value):
    """Return a value in one line; bytes in hexadecimal."""
    return json.dumps(value, default=bytes.hex)


def told(error):
    """Return an error in one line."""
    return f"! {error} {json.dumps(error.value)} {error.advice}".rstrip()


def steps(plan, warnings=()):
    """Return all of a plan, a line for each step."""
    lines = [
        f"{by} {step.op} {shown(step.args)} {'-' if step.pointer == '' else step.pointer} {step.clause}"
        for by, found in plan.phases()
        for step in found
    ]
    group = plan.cgroup
    lines += [f"cgroup {name} {shown(getattr(group, name))}" for name in CGROUP]
    if group.unit is not None:
        lines.append(f"unit {group.unit.name} {group.unit.slice} {group.unit.user}")
    return lines + [f"~ {warning}" for warning in warnings or plan.warnings]


def changed(lines, before):
    """Return the lines that are not in `before`, and how many of each kind are gone."""
    added, gone = list(lines), Counter()
    for line in before:
        if line in added:
            added.remove(line)
        else:
            gone[" ".join(line.split(" ")[:2])] += 1
    lost = ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in gone.items())
    return [line if line.startswith("~") else f"+ {line}" for line in added] + ([f"- {lost}"] if lost else [])


def created(host, change):
    """Return the lines of the plan for the small configuration with `change`."""
    host_facts, options = HOSTS[host]
    given = {name: value for name, value in change.items() if value is not None or name == "process"}
    made = config(**given)
    if "process" in change and change["process"] is None:
        del made["process"]
    check_config(made)
    return steps(compile_plan(context(made, host_facts, **options)))


def executed(change):
    """Return the lines of the plan of exec in a container on the host `lsm`."""
    made = config(**change)
    if "process" in change and change["process"] is None:
        del made["process"]
    if "process" in made:
        check_process(made["process"])
    given = context(made, HOSTS["lsm"][0])
    return steps(compile_exec(given, compile_plan(context(config(), HOSTS["lsm"][0])).cgroup))


def updated(host, resources):
    """Return the lines of an update of a container on `host`."""
    paths = {"memory": "/cg/memory/c", "cpu": "/cg/cpu/c"} if host == "v1" else {"": "/cg/c"}
    plan = compile_update(resources, HOSTS[host][0].cgroup, paths)
    lines = [f"{step.op} {shown(step.args)} {step.pointer} {step.clause}" for step in plan.steps]
    return [*lines, *(f"cgroup {name} {shown(getattr(plan, name))}" for name in CGROUP)]


def block(title, make, before=()):
    """Return the lines that `make` returns, without those of `before`, or the error that it raises, under a title."""
    try:
        lines = changed(make(), before) if before else make()
    except InvalidConfig:
        raise  # says nothing of the planner
    except Error as error:
        lines = [told(error)]
    return [f"== {title}", *lines]


@cache
def plain(host):
    """Return the block of the small configuration itself."""
    return block(host, partial(created, host, {}))


def hosts():
    """Yield what differs between the hosts, which are held against the first."""
    first, *others = (block(host, partial(created, host, {})) for host in HOSTS)
    yield first
    for title, *lines in others:
        yield [title, *changed(lines, first[1:])]


def execs():
    """Yield the blocks of `exec`."""
    container = block("exec", partial(executed, {}))
    yield container
    for change in EXEC:
        yield block(f"exec {shown(change)}", partial(executed, change), container[1:])


def updates():
    """Yield the blocks of `update`."""
    for host in BOTH:
        for change in UPDATES:
            yield block(f"update {host} {shown(change)}", partial(updated, host, change))


def creates(cases):
    """Yield the blocks of `cases` of `create`."""
    for host, change in cases():
        yield block(f"{host} {shown(change)}", partial(created, host, change), plain(host)[1:])


# Name -> what yields the blocks of that part of plans.txt, in its order.
PARTS = {
    "hosts": hosts,
    **{
        cases.__name__: partial(creates, cases)
        for cases in (memory, processors, others, groups, systemd, mounts, cgroup_mounts, roots, processing, landlocks)
    },
    "exec": execs,
    "update": updates,
}


def part(name):
    """Return a part of plans.txt."""
    text = "\n".join("".join(f"{line}\n" for line in lines) for lines in PARTS[name]())
    return f"# {name}\n\n{text}"


if __name__ == "__main__":
    FILE.write_text("\n".join(map(part, PARTS)))
