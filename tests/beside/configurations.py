"""The properties of config.json, each with good values and with those at its edges."""

from variation import CREATE, EXEC, WAIT, Variation

from changes import (
    LIMITS,
    bind,
    capable,
    inherit,
    linux,
    mapped,
    mount,
    namespace,
    process,
    resources,
    top,
    unmount,
    user,
    without,
)

NO_CAPABILITIES = {name: [] for name in ("bounding", "effective", "permitted", "inheritable", "ambient")}
MIB = 1 << 20


def config(name, *changes, **more):
    """A configuration under its property's name."""
    return Variation(name, changes, **more)


def caps(**sets):
    """Set the capabilities of some sets, and of no other."""
    return process(
        capabilities={**NO_CAPABILITIES, **{name: [f"CAP_{one}" for one in some] for name, some in sets.items()}}
    )


def limit(kind, soft, hard):
    return {"type": f"RLIMIT_{kind}", "soft": soft, "hard": hard}


def root(**values):
    return lambda config: config["root"].update(values)


def option(destination, *options):
    """Give the mount at `destination` these options alone."""

    def change(config):
        for entry in config["mounts"]:
            if entry["destination"] == destination:
                entry["options"] = list(options)

    return change


def seccomp(**values):
    return linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], **values})


def seccomp_rule(action, *names, **more):
    return {"names": list(names), "action": action, **more}


UNLIMITED = (1 << 64) - 1
OUT = bind("BUNDLE/rootfs/out", "/out")

TOP = [
    config("as it is"),
    config("as it is, created", calls=CREATE),
    config("hostname empty", top(hostname="")),
    config("hostname of 64 characters", top(hostname="h" * 64)),
    config("hostname of 65 characters", top(hostname="h" * 65)),
    config("hostname odd", top(hostname="a b.c")),
    config("domainname", top(domainname="example.org")),
    config("annotations", top(annotations={"a": "b", "org.example.x": ""})),
    config("ociVersion 1.0.0", top(ociVersion="1.0.0")),
    config("ociVersion 1.0.2-dev", top(ociVersion="1.0.2-dev")),
    config("root readonly", root(readonly=True), OUT),
    config("root absolute", root(path="BUNDLE/rootfs")),
    config("root through ..", root(path="./../bundle/rootfs")),
    config("root not there", root(path="missing")),
    config("root a file", root(path="config.json")),
]

PROCESS = [
    config("env twice", process(env=["A=1", "PATH=/bin", "B=2", "A=3", "TERM=x", "PATH=/usr/bin"])),
    config("env none", process(env=[])),
    config("env not there", without("process/env")),
    config("env HOME twice", process(env=["HOME=/a", "HOME=/b"])),
    config("env HOME empty", process(env=["HOME="])),
    config("env empty value", process(env=["A=", "B= x ", "C=\n"])),
    config("env without =", process(env=["A"])),
    config("env without name", process(env=["=1"])),
    config("args in PATH", process(args=["linked", "--to", "/out/process"], env=["PATH=/sbin:/bin"])),
    config("args in the empty PATH", process(args=["linked", "--to", "/out/process"], env=["PATH="], cwd="/bin")),
    config("args without PATH", process(args=["linked", "--to", "/out/process"], env=[])),
    config("args below cwd", process(args=["./probe", "--to", "/out/process"])),
    config("args below cwd with a folder", process(args=["bin/linked", "--to", "/out/process"])),
    config("args empty word", process(args=["/probe", "--to", "/out/process", "", " ", "\t\n"])),
    config("args not there", process(args=["/missing"])),
    config("args not in PATH", process(args=["missing"])),
    config("args a directory", process(args=["/etc"])),
    config("args not executable", process(args=["/etc/passwd"])),
    config("args of the empty string", process(args=[""])),
    config("cwd", process(cwd="/tmp")),
    config("cwd that is not there", process(cwd="/is/not/there")),
    config("cwd that is not there, uid 1000", process(cwd="/is/not/there"), user(uid=1000, gid=1000)),
    config("cwd through a link", process(cwd="/link/given")),
    config("cwd with .. and //", process(cwd="/opt/..//etc/.")),
    config("cwd that is a file", process(cwd="/etc/passwd")),
    config("cwd of another user", process(cwd="/home/closed"), user(uid=1000, gid=1000)),
    config("cwd of the user alone", process(cwd="/home/u"), user(uid=1000, gid=1000)),
    config("cwd below procfs", process(cwd="/proc/sys/net")),
    config("uid 1000", user(uid=1000, gid=1000)),
    config("uid 1000, no new privileges not set", user(uid=1000, gid=1000), process(noNewPrivileges=False)),
    config("uid without a name", user(uid=4242, gid=4243)),
    config("uid 4294967294", user(uid=4294967294, gid=4294967294)),
    config("gid alone", user(uid=0, gid=7)),
    config("additional groups", user(additionalGids=[5, 3, 4, 3])),
    config("additional groups, the user's own", user(uid=1000, gid=1000, additionalGids=[1000, 0])),
    config("umask 0", user(umask=0)),
    config("umask 0o777", user(umask=0o777)),
    config("capabilities not there", without("process/capabilities")),
    config("capabilities none", caps()),
    config("capabilities of four sets", capable("SYS_ADMIN", "CHOWN", "KILL")),
    config("capabilities bounding alone", caps(bounding=["KILL"])),
    config("capabilities ambient", caps(**dict.fromkeys(NO_CAPABILITIES, ["NET_RAW", "KILL"]))),
    config(
        "capabilities ambient, uid 1000", caps(**dict.fromkeys(NO_CAPABILITIES, ["NET_RAW"])), user(uid=1000, gid=1000)
    ),
    config("capabilities of four sets, uid 1000", capable("SYS_ADMIN", "CHOWN"), user(uid=1000, gid=1000)),
    config("capabilities inheritable not in permitted", caps(bounding=["KILL"], inheritable=["KILL"])),
    config("capabilities ambient not inheritable", caps(bounding=["KILL"], permitted=["KILL"], ambient=["KILL"])),
    config("capabilities effective not in permitted", caps(bounding=["KILL"], effective=["KILL"])),
    config("capabilities unknown", caps(bounding=["KILL", "NO_SUCH"])),
    config("no new privileges", process(noNewPrivileges=True)),
    config("new privileges", process(noNewPrivileges=False)),
    config("OOM score -1000", process(oomScoreAdj=-1000)),
    config("OOM score 1000", process(oomScoreAdj=1000)),
    config("OOM score 1001", process(oomScoreAdj=1001)),
    config("OOM score 0", process(oomScoreAdj=0)),
    config(
        "all limits",
        process(
            rlimits=[
                limit(kind, 1 << 30 if kind in ("AS", "DATA", "STACK") else 7, 1 << 30)
                for kind in LIMITS
                if kind not in ("NICE", "RTPRIO")
            ]
        ),
    ),
    config(
        "limits unlimited",
        process(rlimits=[limit(kind, UNLIMITED, UNLIMITED) for kind in ("CORE", "MEMLOCK", "CPU", "STACK")]),
    ),
    config("limits none", process(rlimits=[])),
    config("limits not there", without("process/rlimits")),
    config("limits soft above hard", process(rlimits=[limit("CORE", 2, 1)])),
    config("limits NOFILE above the host's", process(rlimits=[limit("NOFILE", 1 << 40, 1 << 40)])),
    config("limits NOFILE 4", process(rlimits=[limit("NOFILE", 4, 4)])),
    config("limits NPROC 1", process(rlimits=[limit("NPROC", 1, 1)]), user(uid=47110, gid=47110)),
    config("limits RTPRIO and NICE", process(rlimits=[limit("RTPRIO", 5, 6), limit("NICE", 20, 30)])),
    config("limits FSIZE 0", process(rlimits=[limit("FSIZE", 1 << 16, 1 << 16)])),
    config("terminal without a console", process(terminal=True), calls=(("create", "-b", "BUNDLE", "ID"),)),
    config(
        "terminal",
        process(terminal=True),
        calls=(("create", "-b", "BUNDLE", "--console-socket", "console.sock", "ID"), *CREATE[1:]),
    ),
    config(
        "terminal, uid 1000",
        process(terminal=True),
        user(uid=1000, gid=1000),
        calls=(("create", "-b", "BUNDLE", "--console-socket", "console.sock", "ID"), *CREATE[1:]),
    ),
    config(
        "terminal, size",
        process(terminal=True, consoleSize={"height": 12, "width": 34}),
        calls=(("create", "-b", "BUNDLE", "--console-socket", "console.sock", "ID"), *CREATE[1:]),
    ),
    config(
        "terminal, user namespace",
        process(terminal=True),
        mapped(),
        calls=(("create", "-b", "BUNDLE", "--console-socket", "console.sock", "ID"), *CREATE[1:]),
    ),
    config(
        "terminal, detached",
        process(terminal=True),
        calls=(("run", "-d", "-b", "BUNDLE", "--console-socket", "console.sock", "ID"), ("wait",)),
    ),
    config("terminal of the caller", process(terminal=True), caller={"stdio": ("controlling tty",) * 3}),
    config(
        "terminal not asked for",
        process(terminal=False),
        calls=(("create", "-b", "BUNDLE", "--console-socket", "console.sock", "ID"),),
    ),
    config("console size without terminal", process(consoleSize={"height": 12, "width": 34})),
    config("apparmorProfile on a host without", process(apparmorProfile="unconfined")),
    config("apparmorProfile unknown on a host without", process(apparmorProfile="no-such")),
    config("selinuxLabel on a host without", process(selinuxLabel="system_u:system_r:container_t:s0")),
    config("mountLabel on a host without", linux(mountLabel="system_u:object_r:container_file_t:s0")),
    config("apparmorProfile empty", process(apparmorProfile="", selinuxLabel="")),
    config("scheduler batch", process(scheduler={"policy": "SCHED_BATCH", "nice": 3})),
    config("scheduler fifo", process(scheduler={"policy": "SCHED_FIFO", "priority": 3})),
    config("I/O priority", process(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 6})),
    config(
        "no process",
        without("process"),
        calls=(("create", "-b", "BUNDLE", "ID"), ("start", "ID"), ("delete", "-f", "ID")),
    ),
]

ALL_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")

NAMESPACES = [
    *(config(f"namespace {kind} of the caller", inherit(kind)) for kind in ALL_NAMESPACES if kind != "mount"),
    *(
        config(
            f"namespace {kind} joined",
            namespace(kind, f"/proc/WORKER/ns/{name}"),
            without("hostname") if kind == "uts" else namespace(kind, f"/proc/WORKER/ns/{name}"),
        )
        for kind, name in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"), ("pid", "pid"))
    ),
    config("namespace path not there", namespace("network", "/missing")),
    config("namespace of another type", namespace("network", "/proc/WORKER/ns/uts")),
    config("no namespaces but mount", linux(namespaces=[{"type": "mount"}]), without("hostname")),
    config("namespace twice", lambda config: config["linux"]["namespaces"].append({"type": "pid"})),
    config("user namespace", mapped()),
    config("user namespace, uid 1000", mapped(), user(uid=1000, gid=1000)),
    config("user namespace, uid 1000 and groups", mapped(), user(uid=1000, gid=1000, additionalGids=[1, 2])),
    config("user namespace, created", mapped(), calls=CREATE),
    config("user namespace, network of the caller", mapped(), inherit("network")),
    config("user namespace, ids not mapped", mapped(size=10), user(uid=1000, gid=1000)),
    config("user namespace of one id", mapped(size=1), option("/dev/pts", "newinstance", "ptmxmode=0666", "mode=0620")),
    config("user namespace without mappings", namespace("user")),
    config(
        "user namespace, several mappings",
        namespace("user"),
        linux(
            **{
                f"{kind}Mappings": [
                    {"containerID": 0, "hostID": 5000, "size": 10},
                    {"containerID": 1000, "hostID": 0, "size": 1},
                    {"containerID": 10, "hostID": 7000, "size": 50},
                ]
                for kind in ("uid", "gid")
            }
        ),
    ),
    config("user namespace, terminal of nobody", mapped(), option("/dev/pts", "newinstance", "mode=0620")),
    config("user namespace, sysfs bound", mapped(), unmount("/sys/fs/cgroup"), inherit("network")),
    config(
        "time namespace",
        namespace("time"),
        linux(timeOffsets={"monotonic": {"secs": 100, "nanosecs": 5}, "boottime": {"secs": 200}}),
    ),
]

MOUNTS = [
    config("no mounts", top(mounts=[])),
    config("procfs alone", top(mounts=[{"destination": "/proc", "type": "proc", "source": "proc"}])),
    config("tmpfs", mount("/tmp", "tmpfs", "tmpfs")),
    config(
        "tmpfs with options",
        mount(
            "/new/tmp",
            "tmpfs",
            "tmpfs",
            "mode=0700",
            "uid=5",
            "gid=6",
            "size=1m",
            "nr_inodes=100",
            "noexec",
            "nosuid",
            "nodev",
            "ro",
        ),
    ),
    config("tmpfs where nothing is", mount("/new/tmp", "tmpfs", "tmpfs")),
    config("tmpfs on a directory of 0700", mount("/home/closed", "tmpfs", "tmpfs")),
    config("tmpfs with a copy", mount("/opt/given", "tmpfs", "tmpfs", "tmpcopyup")),
    config("tmpfs with an unknown option", mount("/tmp", "tmpfs", "tmpfs", "nosuchoption")),
    config("tmpfs without a source", mount("/tmp", "tmpfs")),
    config("tmpfs without atime", mount("/tmp", "tmpfs", "tmpfs", "noatime")),
    config("tmpfs strictatime nodiratime", mount("/tmp", "tmpfs", "tmpfs", "strictatime", "nodiratime")),
    config("tmpfs sync dirsync", mount("/tmp", "tmpfs", "tmpfs", "sync", "dirsync", "mand")),
    config("bind", bind("BUNDLE/given", "/opt/given")),
    config("bind, options", bind("BUNDLE/given", "/opt/given", "ro", "nosuid", "nodev", "noexec")),
    config("bind where nothing is", bind("BUNDLE/given", "/new/deep/given")),
    config("bind of a file", bind("BUNDLE/given/file", "/opt/given/file")),
    config("bind of a file where nothing is", bind("BUNDLE/given/file", "/new/file")),
    config("bind of a file on a directory", bind("BUNDLE/given/file", "/opt/given")),
    config("bind of a directory on a file", bind("BUNDLE/given", "/opt/given/file")),
    config("bind of nothing", bind("BUNDLE/missing", "/opt/given")),
    config("bind through a link", bind("BUNDLE/given", "/link/given")),
    config("bind through a link that leads out", bind("BUNDLE/given", "/out-link/x")),
    config("bind of a link", bind("BUNDLE/given/link", "/opt/given")),
    config("bind with a type", mount("/opt/given", "bind", "BUNDLE/given", "rbind", "rw")),
    config("bind with type none", mount("/opt/given", "none", "BUNDLE/given", "bind")),
    config("bind with a type alone", mount("/opt/given", "bind", "BUNDLE/given")),
    config("bind, relative source", bind("given", "/opt/given")),
    config("bind of a read-only mount", bind("BUNDLE/mounted", "/opt/given")),
    config("bind of a read-only mount, rw", bind("BUNDLE/mounted", "/opt/given", "rw")),
    config("bind of a read-only mount, recursive", bind("BUNDLE/mounted", "/opt/given", kind="rbind")),
    config("bind of a read-only mount, nosuid", bind("BUNDLE/mounted", "/opt/given", "nosuid")),
    config("bind, recursive ro", bind("BUNDLE/mounted", "/opt/given", "ro", kind="rbind")),
    config("bind, rro", bind("BUNDLE/mounted", "/opt/given", "rro", kind="rbind")),
    config("bind, user namespace", mapped(), bind("BUNDLE/mounted", "/opt/given", "ro")),
    *(
        config(f"bind, {word}", bind("BUNDLE/given", "/opt/given", word))
        for word in ("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable")
    ),
    config("bind, an unknown option", bind("BUNDLE/given", "/opt/given", "nosuchoption")),
    config("bind of devices", bind("/dev/full", "/dev/own")),
    config("bind over procfs", bind("BUNDLE/given", "/proc")),
    config("bind inside procfs", bind("BUNDLE/given/file", "/proc/version")),
    config("bind of the null device inside procfs", bind("/dev/null", "/proc/uptime")),
    config("tmpfs inside procfs", mount("/proc/tty", "tmpfs", "tmpfs")),
    config("procfs elsewhere", mount("/opt/given", "proc", "proc")),
    config("procfs, hidepid", option("/proc", "hidepid=2", "nosuid")),
    config("procfs, read-only", option("/proc", "ro")),
    config("procfs, subset", option("/proc", "subset=pid")),
    config("sysfs writable", option("/sys", "rw", "nosuid", "noexec", "nodev")),
    config("sysfs without options", option("/sys")),
    config("devpts without options", option("/dev/pts")),
    config("devpts without newinstance", option("/dev/pts", "ptmxmode=0600", "mode=0600")),
    config("mqueue without options", option("/dev/mqueue")),
    config("cgroup writable", option("/sys/fs/cgroup", "rw", "nosuid")),
    config("cgroup without options", option("/sys/fs/cgroup")),
    config("cgroup elsewhere", mount("/opt/given", "cgroup", "cgroup", "ro")),
    config("no /dev", unmount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")),
    config("no /dev/pts", unmount("/dev/pts")),
    config("no /dev/shm and mqueue", unmount("/dev/shm", "/dev/mqueue")),
    config("no /sys", unmount("/sys", "/sys/fs/cgroup")),
    config(
        "/dev of the caller", unmount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"), bind("/dev", "/dev", kind="rbind")
    ),
    config("/dev read-only", option("/dev", "ro", "nosuid", "mode=755")),
    config("relative destination", mount("tmp", "tmpfs", "tmpfs")),
    config("destination with ..", mount("/opt/../tmp", "tmpfs", "tmpfs")),
    config("destination that is the root", mount("/", "tmpfs", "tmpfs")),
    config(
        "mount on a mount",
        mount("/tmp", "tmpfs", "tmpfs"),
        mount("/tmp/below", "tmpfs", "tmpfs"),
        bind("BUNDLE/given", "/tmp/below/given"),
    ),
    config("mount twice", mount("/tmp", "tmpfs", "tmpfs", "size=1m"), mount("/tmp", "tmpfs", "tmpfs", "size=2m")),
    config("mount under a later mount", mount("/opt/given/x", "tmpfs", "tmpfs"), mount("/opt", "tmpfs", "tmpfs")),
    config("remount", mount("/tmp", "tmpfs", "tmpfs"), mount("/tmp", "tmpfs", "tmpfs", "remount", "ro")),
    config("overlay", mount("/opt/given", "overlay", "overlay", "lowerdir=BUNDLE/given:BUNDLE/mounted")),
    config("unknown filesystem", mount("/tmp", "nosuchfs", "x")),
    config(
        "mount with mappings",
        lambda config: config["mounts"].append(
            {
                "destination": "/opt/given",
                "source": "BUNDLE/given",
                "options": ["bind"],
                "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
                "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
            }
        ),
    ),
    *(
        config(f"propagation of the root {word}", linux(rootfsPropagation=word))
        for word in ("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate")
    ),
    config("propagation of the root unknown", linux(rootfsPropagation="no-such")),
    config("masked paths none", linux(maskedPaths=[], readonlyPaths=[])),
    config("masked paths not there", without("linux/maskedPaths", "linux/readonlyPaths")),
    config(
        "masked paths",
        linux(maskedPaths=["/opt/given", "/etc/passwd", "/missing", "/link", "/proc/kcore", "/opt/given"]),
    ),
    config(
        "read-only paths", linux(readonlyPaths=["/opt", "/etc/passwd", "/missing", "/link", "/proc/sys", "/opt/given"])
    ),
    config("read-only paths above a mount", mount("/opt/given", "tmpfs", "tmpfs"), linux(readonlyPaths=["/opt"])),
    config("masked above a mount", mount("/opt/given", "tmpfs", "tmpfs"), linux(maskedPaths=["/opt"])),
]


def device(path, kind="c", major=1, minor=3, **more):
    return {"path": path, "type": kind, "major": major, "minor": minor, **more}


def devices(*some):
    return linux(devices=list(some))


DEVICES = [
    config(
        "devices",
        devices(
            device("/dev/one"),
            device("/dev/block", "b", 7, 200, fileMode=0o640, uid=3, gid=4),
            device("/dev/deep/pipe", "p", fileMode=0o600),
        ),
    ),
    config(
        "devices, odd modes",
        devices(device("/dev/one", fileMode=0), device("/dev/two", fileMode=0o777), device("/dev/u", "u", 1, 5)),
    ),
    config("devices, a mode with its type", devices(device("/dev/one", fileMode=0o20666))),
    config(
        "devices, those of every container",
        devices(device("/dev/null", fileMode=0o600, uid=5), device("/dev/full", "c", 1, 7)),
    ),
    config("devices, another in their place", devices(device("/dev/null", "c", 1, 5))),
    config("devices, twice", devices(device("/dev/one"), device("/dev/one", "c", 1, 5))),
    config("devices outside of /dev", devices(device("/opt/given/null"))),
    config("devices, user namespace", mapped(), devices(device("/dev/full", "c", 1, 7, fileMode=0o600, uid=7, gid=8))),
    config("devices, unknown type", devices(device("/dev/one", "x"))),
    config("device rules none", lambda config: config["linux"]["resources"].pop("devices")),
    config("device rules allow", resources(devices=[{"allow": True, "access": "rwm"}])),
    config(
        "device rules",
        resources(
            devices=[
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                {"allow": True, "type": "b", "access": "r"},
                {"allow": True, "type": "c", "major": 5, "access": "m"},
            ]
        ),
    ),
]

RESOURCES = [
    config("cgroupsPath not there", inherit("cgroup"), without("linux/cgroupsPath")),
    config("cgroupsPath relative", inherit("cgroup"), linux(cgroupsPath="ID")),
    config("cgroupsPath deep", inherit("cgroup"), linux(cgroupsPath="/ID/a/b")),
    config("no resources", without("linux/resources")),
    config(
        "memory", resources(memory={"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 128 * MIB, "swappiness": 7})
    ),
    config("memory unlimited", resources(memory={"limit": -1, "swap": -1})),
    config("memory swap alone", resources(memory={"swap": 128 * MIB})),
    config("memory swap below the limit", resources(memory={"limit": 64 * MIB, "swap": 32 * MIB})),
    config("memory unlimited with swap", resources(memory={"limit": -1, "swap": 32 * MIB})),
    config("memory 0", resources(memory={"limit": 0})),
    config("memory of one page", resources(memory={"limit": 4096})),
    config("memory not of pages", resources(memory={"limit": 64 * MIB + 1})),
    config("memory, kernel", resources(memory={"limit": 64 * MIB, "kernel": 32 * MIB, "kernelTCP": 16 * MIB})),
    config("memory, OOM killer off", resources(memory={"limit": 64 * MIB, "disableOOMKiller": True})),
    config("memory, hierarchy", resources(memory={"useHierarchy": True, "limit": 64 * MIB})),
    config("memory, swappiness 101", resources(memory={"swappiness": 101})),
    config("cpu", resources(cpu={"shares": 512, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0"})),
    config("cpu shares 1", resources(cpu={"shares": 1})),
    config("cpu shares 300000", resources(cpu={"shares": 300000})),
    config("cpu shares 0", resources(cpu={"shares": 0})),
    config("cpu quota -1", resources(cpu={"quota": -1, "period": 100000})),
    config("cpu quota 0", resources(cpu={"quota": 0, "period": 0})),
    config("cpu quota too small", resources(cpu={"quota": 10})),
    config("cpu period alone", resources(cpu={"period": 20000})),
    config("cpu burst", resources(cpu={"quota": 20000, "burst": 10000})),
    config("cpus that the host lacks", resources(cpu={"cpus": "4000"})),
    config("cpus in words", resources(cpu={"cpus": "0-1,0"})),
    config("real time", resources(cpu={"realtimeRuntime": 0, "realtimePeriod": 500000})),
    *(config(f"pids {number}", resources(pids={"limit": number})) for number in (0, -1, 1, 10, 1 << 40)),
    config("block I/O weight", resources(blockIO={"weight": 300})),
    config(
        "block I/O throttle",
        resources(
            blockIO={
                "throttleReadBpsDevice": [{"major": 254, "minor": 0, "rate": 1000}],
                "throttleWriteIOPSDevice": [{"major": 254, "minor": 0, "rate": 50}],
            }
        ),
    ),
    config("huge pages", resources(hugepageLimits=[{"pageSize": "2MB", "limit": 4 * MIB}])),
    config("huge pages of an unknown size", resources(hugepageLimits=[{"pageSize": "3MB", "limit": 4 * MIB}])),
    config("network class", resources(network={"classID": 7})),
    config("rdma", resources(rdma={"mlx5_1": {"hcaHandles": 3}})),
    config("unified", resources(unified={"memory.max": "1000000"})),
    config(
        "sysctl",
        linux(
            sysctl={
                "net.ipv4.ip_forward": "1",
                "kernel.msgmax": "4096",
                "net.ipv4.ping_group_range": "0 10",
                "fs.mqueue.msg_max": "20",
                "kernel.shmmax": "10000",
            }
        ),
    ),
    config("sysctl with slashes", linux(sysctl={"net/ipv4/ip_unprivileged_port_start": "0"})),
    config("sysctl unknown", linux(sysctl={"net.ipv4.no_such": "1"})),
    config("sysctl of the host name", linux(sysctl={"kernel.domainname": "example.org"})),
    config("sysctl with another namespace", inherit("network"), linux(sysctl={"net.ipv4.ip_forward": "1"})),
    config("sysctl value refused", linux(sysctl={"kernel.msgmax": "x"})),
    config("personality 32 bit", linux(personality={"domain": "LINUX32"})),
    config("personality", linux(personality={"domain": "LINUX"})),
    config("intelRdt on a host without", linux(intelRdt={"closID": "x"})),
]

SECCOMP = [
    config("seccomp", seccomp(syscalls=[seccomp_rule("SCMP_ACT_ERRNO", "acct", errnoRet=7)])),
    config(
        "seccomp, uid 1000 with new privileges",
        seccomp(syscalls=[seccomp_rule("SCMP_ACT_ERRNO", "acct")]),
        user(uid=1000, gid=1000),
        process(noNewPrivileges=False),
    ),
    config(
        "seccomp, flags", seccomp(flags=["SECCOMP_FILTER_FLAG_LOG"], syscalls=[seccomp_rule("SCMP_ACT_ERRNO", "acct")])
    ),
    config("seccomp, no rules", seccomp()),
    config("seccomp, execve refused", seccomp(syscalls=[seccomp_rule("SCMP_ACT_ERRNO", "execve")])),
    config(
        "seccomp, what the probe asks is refused",
        seccomp(
            syscalls=[
                seccomp_rule("SCMP_ACT_ERRNO", "sched_getaffinity", "getcwd", errnoRet=1),
                seccomp_rule("SCMP_ACT_ERRNO", "umask", args=[{"index": 0, "value": 0o777, "op": "SCMP_CMP_EQ"}]),
            ]
        ),
    ),
    config("seccomp, unknown call", seccomp(syscalls=[seccomp_rule("SCMP_ACT_ERRNO", "no_such_call", "acct")])),
    config(
        "seccomp, several architectures",
        seccomp(
            architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            syscalls=[seccomp_rule("SCMP_ACT_ERRNO", "acct")],
        ),
    ),
    config(
        "seccomp, no architectures",
        linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [seccomp_rule("SCMP_ACT_ERRNO", "acct")]}),
    ),
    config(
        "seccomp, default errno",
        linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 38,
                "syscalls": [seccomp_rule("SCMP_ACT_ALLOW", "execve", "exit_group")],
            }
        ),
    ),
    config("seccomp, kill", seccomp(syscalls=[seccomp_rule("SCMP_ACT_KILL_PROCESS", "umask")])),
    config("seccomp, log", seccomp(syscalls=[seccomp_rule("SCMP_ACT_LOG", "umask")])),
    config(
        "seccomp, agent not there",
        seccomp(listenerPath="BUNDLE/missing.sock", syscalls=[seccomp_rule("SCMP_ACT_NOTIFY", "acct")]),
    ),
    config(
        "seccomp, a number of arguments",
        seccomp(
            syscalls=[
                seccomp_rule(
                    "SCMP_ACT_ERRNO",
                    "socket",
                    args=[{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
                )
            ]
        ),
    ),
]

# What is ignored, what is for other systems, and what came into the specification lately.
OTHERS = [
    config("for Windows", process(commandLine="probe"), user(username="x")),
    *(config(f"for {name}", top(**{name: {}})) for name in ("freebsd", "solaris", "vm", "windows", "zos")),
    config(
        "scheduler deadline",
        process(
            scheduler={
                "policy": "SCHED_DEADLINE",
                "flags": ["SCHED_FLAG_RECLAIM"],
                "runtime": 10_000_000,
                "deadline": 100_000_000,
                "period": 100_000_000,
            }
        ),
    ),
    config("affinity of exec", process(args=WAIT, execCPUAffinity={"initial": "0", "final": "1"}), calls=EXEC),
    config("a network device that is not there", linux(netDevices={"nosuch0": {"name": "eth0"}})),
    config("memory policy", linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]})),
    config("memory, check before update", resources(memory={"limit": 64 * MIB, "checkBeforeUpdate": True})),
    config("cpu not idle", resources(cpu={"idle": 0})),
    config(
        "block I/O weights of devices",
        resources(
            blockIO={"leafWeight": 100, "weightDevice": [{"major": 254, "minor": 0, "weight": 100, "leafWeight": 200}]}
        ),
    ),
    config(
        "block I/O, the other throttles",
        resources(
            blockIO={
                name: [{"major": 254, "minor": 0, "rate": 4096}]
                for name in ("throttleWriteBpsDevice", "throttleReadIOPSDevice")
            }
        ),
    ),
    config("network priorities", resources(network={"priorities": [{"name": "lo", "priority": 3}]})),
    config("rdma objects", resources(rdma={"mlx5_1": {"hcaObjects": 3}})),
    config(
        "intelRdt, all of it",
        linux(
            intelRdt={
                "l3CacheSchema": "L3:0=f",
                "memBwSchema": "MB:0=20",
                "schemata": ["L3:0=f"],
                "enableMonitoring": True,
            }
        ),
    ),
    config(
        "seccomp, what an agent is told",
        seccomp(listenerMetadata="x", syscalls=[seccomp_rule("SCMP_ACT_ERRNO", "acct")]),
    ),
    config(
        "seccomp, a value under a mask",
        seccomp(
            syscalls=[
                seccomp_rule(
                    "SCMP_ACT_ERRNO",
                    "umask",
                    args=[{"index": 0, "value": 0o7, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
                )
            ]
        ),
    ),
    config("personality with flags", linux(personality={"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})),
]

CONFIGURATIONS = [*OTHERS, *TOP, *PROCESS, *NAMESPACES, *MOUNTS, *DEVICES, *RESOURCES, *SECCOMP]
