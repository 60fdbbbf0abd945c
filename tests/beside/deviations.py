"""Every difference that stays, with its reason: docs/deviations.md has them as a table."""

import fnmatch
from dataclasses import dataclass

import seen


@dataclass(frozen=True)
class Line:
    """One way in which what a process sees is unlike under runc and under crun.

    what   in words
    paths  of the values, as seen.py calls them; * is any text
    why    the reason
    where  names of variations, in which alone it may be seen; * is any text
    """

    what: str
    paths: tuple
    why: str
    where: tuple = ("*",)

    def covers(self, variation, path):
        """Tell whether this is about a difference at `path` in `variation`."""
        return any(fnmatch.fnmatchcase(variation, one) for one in self.where) and any(
            fnmatch.fnmatchcase(path, one) for one in self.paths
        )


LINES = (
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
        ("*: mount points: /sys/fs/cgroup: mode", "*: root: sys: mode"),
        "0755, as systemd mounts it on a host; runc and crun differ from each other",
    ),
    Line(
        "what hides a directory",
        ("*: mounts: *: filesystem's option: nr_inodes=1", "*: mounts: *: filesystem's option: size=4k"),
        "the empty filesystem has no room, so that a process that may remount it writable cannot fill memory with it",
    ),
    Line(
        "what hides a file",
        ("*: mounts: /proc/*: root", "*: mounts: /proc/*: source", "*: mounts: /proc/*: option: relatime"),
        "the null device of the host, as with crun; runc takes the container's own, which an image may have replaced",
        ("caller: streams closed*",),
    ),
    Line(
        "/dev/console may be used by its number",
        ("*: cgroup limits: devices/devices.list: c 5:1 rwm",),
        "as with crun: config-linux.md#default-devices lists it",
        ("caller: streams closed*",),
    ),
    Line(
        "`ro` among the options of a cgroup v1 mount",
        ("*: mounts: /sys/fs/cgroup: option: r[ow]",),
        "the directory that holds the hierarchies is read-only, too, as the option says",
    ),
    Line(
        "umask without `process.user.umask`",
        ("*: umask",),
        "config.md#posix-platform-user/umask: without the property the umask of the caller is kept. Containers that"
        ' want 0022 say so: `"umask": 18`',
        ("caller: umask*",),
    ),
    Line(
        "CPU affinity of the caller",
        ("*: affinity",),
        "the container has all CPUs of its cpuset, whatever the caller is bound to (newer versions of runc do so, too)",
        ("caller: one CPU*",),
    ),
    Line(
        "where a name stands that is twice in the environment",
        ("*: environment",),
        "at the place of the last, whose value it has, as in newer versions of runc",
        ("env twice", "exec"),
    ),
    Line(
        "the owner of files and devices among the standard streams",
        ("*: descriptors: [012]: [ug]id",),
        "only pipes, sockets and a terminal made for the container get the user as owner; a file or a device of the"
        " host keeps its owner whoever uses it here",
        ("uid 1000", "exec", "user namespace"),
    ),
    Line(
        "a caller whose standard streams are closed",
        ("*: descriptors: [012]: *",),
        "they are /dev/null; runc lets its own pipes and directories of the host take their numbers, crun fails",
        ("caller: streams closed*",),
    ),
    Line(
        "`mounts` is empty",
        ("*",),
        "config-linux.md#default-filesystems/available: what is not listed is there all the same",
        ("no mounts",),
    ),
)


# With which peers, on which host, the lines were seen; elsewhere some of them need not be.
SEEN_WITH = {"runc": "1.1.5", "crun": "1.8.1", "cgroups": "v1"}


def unlisted(variation, found):
    """Return those differences {path: values} of `variation` that have no line."""
    return {path: values for path, values in found.items() if not any(line.covers(variation, path) for line in LINES)}


def examples(measured):
    """Return what shows each line: [(line, variation, path, values)], without those that nothing shows.

    measured  {variation: {runtime: {path: value}}}
    """
    shown = []
    for line in LINES:
        for variation, (ours, *theirs) in ((name, by.values()) for name, by in measured.items()):
            found = seen.differences(ours, *theirs)
            path = next((path for path in found if line.covers(variation, path)), None)
            if path:
                shown.append((line, variation, path, found[path]))
                break
    return shown


def table(measured):
    """Return the lines of the table of docs/deviations.md."""
    rows = ["| difference | seen, for example, in | runc | crun | pyruntime | why |", "|---|---|---|---|---|---|"]
    for line, variation, path, (ours, *theirs) in examples(measured):
        cells = [f"`{_short(value)}`" for value in (*theirs, ours)]
        rows.append(f"| {line.what} | {variation}: {path} | {' | '.join(cells)} | {line.why} |")
    return rows


def _short(value):
    text = str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) < 100 else f"{text[:97]}..."
