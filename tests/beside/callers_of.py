"""Who calls: what the process of a runtime has been given may reach the container, or must not."""

import resource
import signal

from variation import CREATE, EXEC, RUN, WAIT, Variation

from caller import ACTIONS, FIRST_ID
from changes import inherit, linux, mapped, namespace, process, user, without

SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, signal.SIGCHLD, 40]


def caller(name, verbs=("run", "create", "exec"), changes=(), **who):
    """Vary the caller of each of `verbs`."""
    who = {name if name in ACTIONS else name.replace("_", " "): value for name, value in who.items()}
    calls = {"run": RUN, "create": CREATE, "exec": EXEC}
    return [
        Variation(
            f"caller: {name}, {verb}",
            (*changes, process(args=WAIT)) if verb == "exec" else changes,
            calls[verb],
            who,
            before=verb == "exec",
        )
        for verb in verbs
    ]


# What a process inherits, and is not known to influence anything else; all at once.
ATTRIBUTES = {
    "nice": 5,
    "policy": 3,  # SCHED_BATCH
    "I/O priority": 3 << 13,  # IOPRIO_CLASS_IDLE
    "memory policy": 2,  # MPOL_BIND
    "oom_score_adj": 500,
    "coredump_filter": "0x7f",
    "timer slack": 12345,
    "personality": 0x0040000,  # ADDR_NO_RANDOMIZE
    "parent's death": 9,
    "huge pages disabled": 1,
    "machine check": 1,
    "speculation": 4,
    "groups": [5, 6, 7],
    "keyring": "of the caller",
    "bounding": 40,  # CAP_CHECKPOINT_RESTORE
    "group": True,
}

ORDINARY = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "XDG_RUNTIME_DIR": "FOLDER/state"}


def unprivileged(config):
    """What an ordinary user may have: no limits, no filesystems of the host's, no second group."""
    del config["linux"]["resources"], config["linux"]["cgroupsPath"]
    config["mounts"] = [entry for entry in config["mounts"] if entry["destination"] != "/sys/fs/cgroup"]
    for entry in config["mounts"]:
        entry["options"] = [one for one in entry.get("options", []) if one != "gid=5"]


def ordinary(name, *changes, **who):
    """An ordinary user as the caller of create and exec."""
    return [
        Variation(
            f"ordinary user: {name}, {verb}",
            (unprivileged, *changes, *((process(args=WAIT),) if verb == "exec" else ())),
            CREATE if verb == "create" else EXEC,
            {"environment": ORDINARY, **who},
            owner=FIRST_ID,
        )
        for verb in ("create", "exec")
    ]


CALLERS = [
    *ordinary("many ids", **{"user namespace": 65536}),
    *ordinary("many ids, uid 1000", user(uid=1000, gid=1000, additionalGids=[7]), **{"user namespace": 65536}),
    *ordinary("many ids, a namespace of them", mapped(0), **{"user namespace": 65536}),
    *ordinary("one id", **{"user namespace": 1}),
    *ordinary("one id, a namespace of it", mapped(0, 1), **{"user namespace": 1}),
    *ordinary("none", mapped(FIRST_ID, 1), user=FIRST_ID),
    *ordinary(
        "none, another in the container",
        namespace("user"),
        linux(**{f"{kind}Mappings": [{"containerID": 5, "hostID": FIRST_ID, "size": 1}] for kind in ("uid", "gid")}),
        user(uid=5, gid=5),
        user=FIRST_ID,
    ),
    *ordinary("none, no user namespace", user=FIRST_ID),
    *caller("attributes", **ATTRIBUTES),
    *caller("a cgroup of its own", verbs=("create",), changes=(inherit("cgroup"),), cgroup="/ID-caller"),
    *caller(
        "a cgroup of its own, cgroupsPath not there",
        verbs=("create",),
        changes=(inherit("cgroup"), without("linux/cgroupsPath")),
        cgroup="/ID-caller",
    ),
    *caller("umask 077", umask=0o077),
    *caller("umask 0", umask=0),
    *caller("one CPU", affinity=[0]),
    *caller(
        "small limits",
        limits={
            resource.RLIMIT_CORE: (0, 0),
            resource.RLIMIT_STACK: (1 << 22, 1 << 23),
            resource.RLIMIT_NPROC: (500, 600),
            resource.RLIMIT_MEMLOCK: (4096, 8192),
        },
    ),
    *caller("NOFILE 64", limits={resource.RLIMIT_NOFILE: (64, 128)}),
    *caller(
        "NOFILE 64, no limits in config.json",
        changes=(lambda config: config["process"].pop("rlimits"),),
        limits={resource.RLIMIT_NOFILE: (64, 128)},
    ),
    *caller("ignored signals", ignored=SIGNALS),
    *caller("ignored signals of the C library", ignored=[32, 33]),
    *caller("blocked signals", blocked=[signal.SIGTERM, *SIGNALS]),
    *caller("all signals blocked", blocked=range(1, 65)),
    *caller("deleted cwd", deleted_cwd=True),
    *caller("session of its own", session=True),
    *caller("no new privileges", no_new_privs=1),
    *caller("environment none", environment={}),
    *caller(
        "environment",
        environment={
            "PATH": "/usr/bin:/bin:/usr/sbin",
            "HOME": "/x",
            "LANG": "de_DE.UTF-8",
            "LISTEN_FDS": "x",
            "NOTIFY_SOCKET": "",
            "_X": "\udcff",
        },
    ),
    *caller(
        "environment for sockets",
        environment={"PATH": "/usr/bin:/bin:/usr/sbin", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"},
        descriptors=(3, 4, 5),
    ),
    *caller("pipes", stdio=("pipe", "pipe", "pipe")),
    *caller(
        "pipes, uid 1000",
        changes=(lambda config: config["process"]["user"].update(uid=1000, gid=1000),),
        stdio=("pipe", "pipe", "pipe"),
    ),
    *caller("sockets", stdio=("socket", "socket", "socket")),
    *caller(
        "sockets, uid 1000",
        changes=(lambda config: config["process"]["user"].update(uid=1000, gid=1000),),
        stdio=("socket", "socket", "socket"),
    ),
    *caller("files", stdio=("file", "appended", "appended")),
    *caller("null", stdio=("null", "null", "null")),
    *caller("a terminal", stdio=("tty", "tty", "tty")),
    *caller("a terminal that controls", stdio=("controlling tty", "controlling tty", "controlling tty")),
    *caller(
        "a terminal, uid 1000",
        changes=(lambda config: config["process"]["user"].update(uid=1000, gid=1000),),
        stdio=("tty", "tty", "tty"),
    ),
    *caller("streams closed", stdio=("closed", "closed", "closed")),
    *caller("stdin closed", stdio=("closed", "file", "file")),
    *caller("stdout closed", stdio=("null", "closed", "file")),
    *caller("stderr closed", stdio=("null", "file", "closed")),
]
