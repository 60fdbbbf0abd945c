"""Every difference that stays, with its reason: docs/deviations.md has them as a table."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path

import seen

ON_V2 = not Path("/sys/fs/cgroup/memory").is_dir()


@dataclass(frozen=True)
class Line:
    """One way in which what a process sees is unlike under runc and under crun.

    what     in words
    paths    of the values, as seen.py calls them; * is any text
    why      the reason
    where    names of variations, in which alone it may be seen; * is any text
    certain  whether it is seen each time
    shown    variation, path, and the values of runc, crun and pyruntime: of a line that only cgroup v2 alone shows, to
             tests/vm
    """

    what: str
    paths: tuple
    why: str
    where: tuple = ("*",)
    certain: bool = True
    shown: tuple = ()

    def covers(self, variation, path):
        """Tell whether this is about a difference at `path` in `variation`."""
        if self.shown and not ON_V2:
            return False
        return any(fnmatch.fnmatchcase(variation, one) for one in self.where) and any(
            fnmatch.fnmatchcase(path, one) for one in self.paths
        )


LINES = (
    # ---- Every container ----
    Line(
        "stdin is /dev/null: flags of the descriptor",
        ("*: descriptors: [012]: flags",),
        "a container's /dev/null may be a link when it is opened; O_NOFOLLOW, which refuses that, stays visible in"
        " F_GETFL and has no further effect",
    ),
    Line(
        "the name of the session keyring",
        ("*: keyring",),
        "a name that cannot be guessed: another user could have made a keyring of the container's name before"
        " (keyctl_join_session_keyring(3))",
    ),
    Line(
        "mode of /sys/fs/cgroup on cgroup v1",
        ("*: mount points: *sys/fs/cgroup: mode",),
        "0755, as systemd mounts it on a host; runc and crun differ from each other",
    ),
    Line(
        "what hides a directory",
        ("*: mounts: *: filesystem's option: nr_inodes=1", "*: mounts: *: filesystem's option: size=4k"),
        "the empty filesystem has no room, so that a process that may remount it writable cannot fill memory with it",
    ),
    Line(
        "`ro` among the options of a cgroup v1 mount",
        ("*: mounts: *sys/fs/cgroup: option: r[ow]",),
        "the directory that holds the hierarchies is read-only, too, as the option says",
    ),
    Line(
        "the same at another place",
        ("*: mounts: /opt/given: option: r[ow]",),
        "as above",
        ("cgroup elsewhere",),
    ),
    # ---- The process ----
    Line(
        "where a name stands that is twice in the environment",
        ("*: environment",),
        "at the place of the last, whose value it has, as in newer versions of runc",
        ("env twice", "exec"),
    ),
    Line(
        "HOME of a user who is in no list",
        ("process: environment",),
        "`/`, as with runc (which takes neither of these configurations)",
        ("uid 4294967294", "ordinary user: none, another in the container, create"),
    ),
    Line(
        "devices of the host that are bound in a user namespace",
        ("process: mounts: /dev/*: option: no*",),
        "without `nosuid` and `noexec`, as with runc (which takes neither of these configurations)",
        ("bind, user namespace", "ordinary user: none, another in the container, create"),
    ),
    Line(
        "the owner of files and devices among the standard streams",
        (
            "*: descriptors: [012]: [ug]id",
            "process: dev: null: [ug]id",
            "process: mount points: */*: [ug]id",
            "process: hidden: *: [ug]id",
        ),
        "only pipes, sockets and a terminal made for the container get the user as owner; a file or a device of the"
        " host, `/dev/null` among them, keeps its owner whoever uses it here",
        (
            "cwd *",
            "uid *",
            "additional groups*",
            "capabilities *",
            "limits NPROC*",
            "seccomp*",
            "exec*",
            "user namespace*",
            "devices, *",
            "bind, user namespace",
        ),
    ),
    Line(
        "umask without `process.user.umask`",
        ("*: umask",),
        "config.md#posix-platform-user/umask: without the property the umask of the caller is kept. Containers that"
        ' want 0022 say so: `"umask": 18`',
        ("caller: umask*",),
    ),
    Line(
        "umask of a process of `exec`",
        ("*: umask",),
        "`process.user.umask` of config.json holds for it as the rest of `process` does",
        ("exec of a configuration with everything",),
    ),
    Line(
        "limits of a process of `exec --process` whose document has none",
        ("*: limits",),
        "`process.rlimits` of config.json, so that a container's limit holds for all of its processes; with `rlimits`"
        " in the document that",
        ("exec --process",),
    ),
    Line(
        "`oomScoreAdj` in the document of `exec --process`",
        ("score: /proc/self/oom_score_adj",),
        "it is set: config.md#linux-process/oom-score-set",
        ("exec --process",),
    ),
    Line(
        "`exec` into a user namespace without id 0",
        ("status: 2. exec*", "runs: exec"),
        "it works: the process has the capabilities for what is to be done as whoever it is",
        ("ordinary user: none, another in the container, exec",),
    ),
    Line(
        "`exec --process` with `terminal` where no standard stream is a terminal",
        (
            "status: *terminal.json*",
            "runs: terminal",
            "terminal: descriptors: [012]: *",
            "terminal: limits",
            "terminal: session keyring",
        ),
        "the process gets a terminal, and its output goes to standard output; runc fails, and crun after the process"
        " has run",
        ("exec --process",),
    ),
    Line(
        "size of the terminal when the program starts",
        ("*: descriptors: [012]: rows", "*: descriptors: [012]: columns"),
        "it has that of the caller's from the first instruction on; with runc and crun it comes a moment later",
        ("terminal of the caller",),
        certain=False,
    ),
    Line(
        "`scheduler`, `ioPriority`, `execCPUAffinity`, `memoryPolicy`, `netDevices`, time namespaces, `burst`",
        (
            "status: *",
            "runs: *",
            "process: scheduling: *",
            "process: I/O priority",
            "process: cgroup limits: *burst*",
            "process: timer slack",
            "process: memory *",
            "exec: affinity",
        ),
        "they came into the specification, or into runc and crun, after these versions",
        (
            "scheduler *",
            "I/O priority",
            "time namespace",
            "cpu burst",
            "affinity of exec",
            "memory policy",
            "a network device that is not there",
        ),
    ),
    Line(
        "parts for other platforms",
        ("status: *", "runs: *"),
        "an error: config.md#platform-specific-configuration",
        ("for *",),
    ),
    Line(
        "`listenerMetadata` without `listenerPath`, `personality.flags`",
        ("status: *", "runs: *"),
        "an error: config-linux.md#seccomp has the one for the other; of personality no flag is supported",
        ("seccomp, what an agent is told", "personality with flags"),
    ),
    Line(
        "`create` without `process`",
        ("status: 1. create*",),
        "config.md#process: it is required only when start is called",
        ("no process",),
    ),
    Line(
        "RLIMIT_NOFILE so small that the runtime itself could not live with it",
        ("status: *", "runs: *"),
        "it is set last",
        ("limits NOFILE 4",),
    ),
    Line(
        "a capability that is effective, and not permitted",
        ("status: *", "runs: *"),
        "config.md#linux-process/capability-no-failure: a warning, and the process runs without",
        ("capabilities effective not in permitted",),
    ),
    # ---- The root filesystem and mounts ----
    Line(
        "a relative `root.path` that leads out of the bundle",
        ("status: *", "runs: *"),
        "an error: a link in a bundle may not choose another directory of the host. An absolute path may be anywhere",
        ("root through ..",),
    ),
    Line(
        "`mounts` without the default filesystems",
        ("*",),
        "config-linux.md#default-filesystems/available: what is not listed is there all the same",
        ("no mounts", "procfs alone", "no /*"),
    ),
    Line(
        "a tmpfs without `mode=`",
        ("*: mounts: *: filesystem's option: mode=*",),
        "the mode of the directory below is an option of the mount; runc and crun change the mode afterwards",
    ),
    Line(
        "what the source of a bind mount forbids",
        ("process: mounts: /opt/given: *"),
        "`nosuid`, `nodev`, `noexec` and `ro` of the source stay unless an option takes them away: who mounted it may"
        " have had a reason",
        ("bind of a read-only mount*", "bind, recursive ro", "bind, user namespace"),
    ),
    Line(
        "an option that a bind mount cannot have",
        ("status: *", "runs: *"),
        "an error, as in newer versions of runc: a typing error of `ro` would leave a volume writable",
        ("bind, an unknown option",),
    ),
    Line(
        "`bind` as the type alone",
        ("status: *", "runs: *"),
        "a bind mount, which is what it says",
        ("bind with a type alone",),
    ),
    Line(
        "a mount inside of /proc",
        ("status: *", "runs: *"),
        "an error but for the files that others may serve: mounts.md",
        ("tmpfs inside procfs",),
    ),
    Line(
        "`remount` with `ro`",
        ("process: mounts: /tmp: filesystem's option: r[ow]",),
        "the filesystem is read-only, too, as mount(8) does it",
        ("remount",),
    ),
    Line(
        "mode of the file that is made for a bind mount",
        ("left: /new/file",),
        "0644, as of any new file; runc and crun differ from each other",
        ("bind of a file where nothing is",),
    ),
    Line(
        "devices of the host in a user namespace that has the host's root",
        ("process: mounts: /dev/*: option: r[ow]",),
        "the container's root owns them on the host, too, and could change their mode and owner",
        ("user namespace, several mappings",),
    ),
    # ---- Devices, limits ----
    Line(
        "name of the cgroup where `cgroupsPath` is not there",
        ("process: /proc/self/cgroup", "process: mounts: /sys/fs/cgroup/*: root"),
        "`pyruntime-ID`, in the caller's own cgroup as with runc: the prefix keeps an id like `tasks` from being a file"
        " there",
        ("*cgroupsPath not there*",),
    ),
    Line(
        "one path for two different devices",
        ("status: *", "runs: *"),
        "an error: config-linux.md#devices; of two that agree one is made",
        ("devices, twice",),
    ),
    Line(
        "owner and mode of `linux.devices` in a user namespace",
        ("process: dev: full: *", "process: mount points: /dev/full: *", "process: mounts: /dev/full: *"),
        "they are those of config.json, as with newer versions of crun; what is bound is a node of its own, not the"
        " host's",
        ("devices, user namespace",),
    ),
    Line(
        "rules for devices that are not there",
        ("*: cgroup limits: devices/devices.list: c 5:1 rwm",),
        "/dev/console is among the default devices: config-linux.md#default-devices",
        ("device rules none", "no resources"),
    ),
    Line(
        "`memory.kernel`",
        ("status: *", "runs: *"),
        "an error on a kernel that has no such limit: a container that asks for one would run without. Leave it out",
        ("memory, kernel",),
    ),
    Line(
        "`intelRdt` on a host without",
        ("status: *", "runs: *"),
        "config-linux.md#intelrdt/no-resctrl: an error",
        ("intelRdt on a host without",),
    ),
    # ---- Hooks ----
    Line(
        "standard streams of hooks",
        ("*: descriptors: *",),
        "files in memory in place of pipes: a hook that does not read, or leaves a daemon, holds up nobody; what it"
        " says is part of the error when it fails. Annotations choose other files",
        ("hooks*",),
    ),
    Line(
        "the process group of hooks",
        ("*: session: leads a group",),
        "a group of its own, so that a timeout ends the hook's children, too",
        ("hooks*",),
    ),
    Line(
        "signals 32 and 33 in hooks",
        ("*: signals: ignored",),
        "the C library ignores them in whatever posix_spawn(3) starts: they are its own",
        ("hooks*",),
    ),
    Line(
        "signals 32 and 33 that the caller ignores",
        ("*: signals: ignored",),
        "a program begins with the default action of every signal. Who starts the runtime by posix_spawn(3), as make"
        " does, ignores these two without meaning it",
        ("caller: ignored signals of the C library*",),
    ),
    Line(
        "the state that hooks are told",
        ("*: told: *",),
        "runtime.md#state: `created` once the container's namespaces are made, the version of the specification, and"
        " `pid` and `annotations` always",
        ("hooks*",),
    ),
    Line(
        "the working directory of hooks",
        ("prestart: cwd", "createRuntime: cwd", "poststart: cwd"),
        "the caller's, since the specification names none; the state that they are told has `bundle`",
        ("hooks of a caller elsewhere",),
    ),
    Line(
        "what createContainer hooks meet",
        ("createContainer: *",),
        "the container is whole but for the root, which is bound twice until it is entered: its host name is set; its"
        " keyring and its OOM score are for the program",
        ("hooks*",),
    ),
    # ---- On cgroup v2 alone ----
    Line(
        "`cpu.weight` of `cpu.shares`, on cgroup v2",
        ("*: cgroup limits: cpu.weight",),
        "the conversion of newer versions of runc and crun, in which 1024 shares are the default weight of 100",
        ("cpu", "updated", "updated from a file"),
        shown=("cpu", "process: cgroup limits: cpu.weight", ("20", "20", "59")),
    ),
    Line(
        "`cpu.shares` below 2 or above 262144, on cgroup v2",
        ("status: 1. run *", "runs: process"),
        "the nearest weight that there is, as the kernel does with shares on cgroup v1",
        ("cpu shares 1", "cpu shares 300000"),
        shown=("cpu shares 1", "status: 1. run -b BUNDLE ID", (1, 1, 0)),
    ),
    Line(
        "options of the mount in a container without a cgroup namespace, on cgroup v2",
        ("*: mounts: /sys/fs/cgroup: filesystem's option: *",),
        "those of the host's: a mount without `nsdelegate` takes it from the whole host",
        shown=(
            "namespace cgroup of the caller",
            "process: mounts: /sys/fs/cgroup: filesystem's option: nsdelegate",
            ("-", "-", "yes"),
        ),
    ),
    Line(
        "/dev/core, seen on cgroup v2",
        ("*: dev: core: type",),
        "runtime-linux.md#dev-symbolic-links does not name it, and callers mask /proc/kcore, to which it leads",
        shown=("as it is", "process: dev: core: type", ("link", "link", "-")),
    ),
    Line(
        "limits of hooks, seen on cgroup v2",
        ("*: limits",),
        "the caller's: runc has lifted its own limit of locked memory, crun has set the container's",
        ("hooks*",),
        shown=("hooks, run", "createRuntime: limits", ("other limits", "other limits", "the caller's")),
    ),
    Line(
        "files of hugetlb, which systemd does not know, with its driver on cgroup v2",
        ("*: cgroup limits: hugetlb.*",),
        "a container has hugetlb if a limit needs it; runc and crun turn it on in systemd's slices",
        certain=False,
    ),
    # ---- The caller ----
    Line(
        "CPU affinity of the caller",
        ("*: affinity",),
        "the container has all CPUs of its cpuset, whatever the caller is bound to (newer versions of runc do so, too)",
        ("caller: one CPU*",),
    ),
    Line(
        "a caller whose standard streams are closed",
        ("*: descriptors: [012]: *",),
        "they are /dev/null; runc lets its own pipes and directories of the host take their numbers, crun fails",
        ("caller: std* closed*", "caller: streams closed*"),
    ),
)

# With which peers, on which host, the lines were seen; elsewhere some of them need not be.
SEEN_WITH = {"runc": "1.1.5", "crun": "1.8.1", "cgroups": "v1"}
# The same for the lines that have `shown`.
SEEN_WITH_V2 = {"runc": "1.1.15", "crun": "1.21", "cgroups": "v2"}


def differing(measured, variation):
    """Return the differences {path: values} that `variation` shows.

    measured  {variation: {runtime: {path: value}}}
    """
    return seen.differences(measured[variation], measured["as it is"])


def unlisted(measured, variation):
    """Return those of the differences that have no line."""
    found = differing(measured, variation).items()
    return {path: values for path, values in found if not any(line.covers(variation, path) for line in LINES)}


def assert_listed(measured, variation):
    """Fail the test if a difference has no line; the message has what the runtimes say."""
    found = unlisted(measured, variation)
    lines = [", ".join(measured[variation]), *(f"{path}: {values}" for path, values in found.items())]
    for runtime, values in measured[variation].items():
        lines += [f"{runtime} {path} {value}" for path, value in values.items() if path.startswith("says: ") and value]
    assert not found, "\n".join(lines)


def examples(measured):
    """Return what shows each line: [(line, variation, path, values)], without those that nothing shows."""
    shown = []
    differences = {name: differing(measured, name) for name in measured}
    for line in LINES:
        for variation, found in differences.items():
            path = next((path for path in found if line.covers(variation, path)), None)
            if path:
                shown.append((line, variation, path, found[path]))
                break
    return shown


def table(measured):
    """Return the lines of the table of docs/deviations.md."""
    rows = ["| difference | seen, for example, in | runc | crun | pyruntime | why |", "|---|---|---|---|---|---|"]
    found = {line: example for line, *example in examples(measured) if line.certain and not line.shown}
    found |= {
        line: (line.shown[0], line.shown[1], (line.shown[2][2], *line.shown[2][:2])) for line in LINES if line.shown
    }
    for line in LINES:
        variation, path, (ours, *theirs) = found.get(line, (line.where[0], "not each time", ["", "", ""]))
        cells = [f"`{_short(value)}`" if value != "" else "" for value in (*theirs, ours)]
        rows.append(f"| {line.what} | {variation}: {path} | {' | '.join(cells)} | {line.why} |")
    return rows


def _short(value):
    text = str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) < 100 else f"{text[:97]}..."
