"""What the probe has printed, without what is another value each time; and in what documents differ."""

import json
import os
import re

# Of /proc/self/status: the rest is asked for by itself, or is about memory that the program uses.
STATUS = (
    "Seccomp", "Seccomp_filters", "Speculation_Store_Bypass", "SpeculationIndirectBranch", "Mems_allowed_list",
    "CoreDumping",
)  # fmt: skip
ACCESS = {os.O_RDONLY: "reading", os.O_WRONLY: "writing", os.O_RDWR: "both", 3: "neither"}
# Not O_LARGEFILE, which every descriptor of a 64-bit program may have.
FLAGS = {
    name: getattr(os, name) for name in ("O_APPEND", "O_NONBLOCK", "O_NOFOLLOW", "O_PATH", "O_SYNC", "O_DIRECTORY")
}
NOTHING = "-"
RUNTIMES = ("pyruntime", "runc:[2:INIT]", "crun")
# The members of a document that describe things which may not be there; each that is there has a type.
GROUPS = ("mounts", "mount points", "descriptors", "dev", "root", "hidden")
# What is about the whole container, and in no document: the exit status of each call, what the runtime has left in the
# root filesystem, which processes have run.
OF_ALL = ("status", "left", "runs")
# Messages are shown to the reader, and not compared.
SAYS = "says"


def normalised(document, place):
    """Return the probe's document as {path of a value: value}, the paths in plain words.

    place  what is another name for each run: "names": text -> what stands for it; "namespaces": the caller's;
           "keyring": the serial of the caller's session keyring
    """
    document = {**document, **document["files"]}
    del document["files"]
    mountinfo = document.pop("/proc/self/mountinfo")
    document["mounts"] = _mounts(mountinfo) if " - " in mountinfo else mountinfo
    status = dict(re.findall(r"^(\w+):\s*(.*)$", document.pop("/proc/self/status"), re.M))
    document["status"] = {name: status.get(name, NOTHING) for name in STATUS}
    document["/proc/self/autogroup"] = re.sub(r"-\d+", "", document["/proc/self/autogroup"])
    document["namespaces"] = {
        name: "inherited" if place["namespaces"].get(name) == link else "own" if link.startswith(name) else link
        for name, link in document["namespaces"].items()
    }
    session = document["session"]
    for name in ("pid", "parent"):
        session[name] = session[name] if session[name] in (0, 1) else "another"
    if document["/proc/1/comm"].strip() in RUNTIMES:
        document["/proc/1/comm"] = "the runtime"
    if "told" in document:
        document["told"] = _state(document["told"])
    serial = document.pop("keyring serial", None)
    if serial:
        document["keyring"] = re.sub(r"\.[0-9a-f]{32}$", ".RANDOM", document["keyring"])
        document["session keyring"] = "inherited" if serial == place["keyring"] else "own"
    for entry in document["descriptors"].values():
        entry["link"] = re.sub(r":\[\d+\]", "", entry["link"])
        flags = entry.pop("flags")
        entry["access"] = ACCESS[flags & 3]
        entry["flags"] = [name for name, bit in FLAGS.items() if flags & bit == bit]
    for group in GROUPS:
        if isinstance(document[group], dict):
            for name, entry in document[group].items():
                if isinstance(entry, str):
                    document[group][name] = {"type": entry}
    limits = document["cgroup limits"]
    limits["devices/devices.list"] = dict.fromkeys(limits["devices/devices.list"].splitlines(), "yes")
    return {path: _plain(value, place["names"]) for path, value in _flat(document, "")}


def _state(text):
    """Return the state that a hook was told, without the number of a process."""
    state = json.loads(text)
    if state.get("pid", 0) > 1:
        state["pid"] = "another"
    return state


def _flat(value, path):
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _flat(child, f"{path}: {name}" if path else name)
    else:
        yield path, value


def _plain(value, names):
    if isinstance(value, list):
        return [_plain(one, names) for one in value]
    if isinstance(value, str):
        for text, word in names.items():
            value = value.replace(text, word)
        return value.strip()
    return value


def _mounts(text):
    """Return the mounts, each under its mount point, the second at one place with a number."""
    lines = [line.partition(" - ") for line in text.splitlines()]
    points = {head.split()[0]: head.split()[4] for head, _, _ in lines}
    found = {}
    for head, _, tail in lines:
        _, parent, _, root, point, options, *propagation = head.split()
        kind, source, more = tail.split(" ")
        name, count = point, 1
        while name in found:
            count += 1
            name = f"{point} ({count})"
        found[name] = {
            "type": kind,
            "below": points.get(parent, "what is outside"),
            "root": "the host's device" if root.endswith("/dev/null") else re.sub(r":\[\d+\]", "", root),
            "source": source,
            "option": dict.fromkeys(options.split(","), "yes"),
            "propagation": sorted(re.sub(r":\d+", "", word) for word in propagation),
            "filesystem's option": dict.fromkeys(more.split(","), "yes"),
        }
    return found


def differences(by, plain):
    """Return what differs between our runtime, the first, and its peers: {path: [ours, a peer's, ...]}.

    There is a difference where no peer has our value. Of what is not there at all, only that is said: its members are
    compared with the peers that have it. If that is one, what differs from that one in every container is no difference
    as long as another peer does as we do there.

    by     {runtime: {path: value}} of a variation
    plain  the same of the plainest variation
    """
    ours, *theirs = by.values()
    found = {}
    for path in dict.fromkeys(path for one in by.values() for path in one):
        document, _, rest = path.partition(": ")
        if document == SAYS or not _has(ours, path):
            continue
        values = [one.get(path, NOTHING) for one in by.values()]
        comparable = [number for number, one in enumerate(theirs, 1) if _has(one, path)]
        if not comparable or values[0] in [values[number] for number in comparable]:
            continue
        if len(comparable) < len(theirs) and document not in OF_ALL:
            usual = [one.get(f"process: {rest}", NOTHING) for one in plain.values()]
            if values[0] == usual[0] and values[comparable[0]] == usual[comparable[0]] and usual[0] in usual[1:]:
                continue
        found[path] = values
    return found


def _has(values, path):
    """Tell whether everything is there of which `path` is a member: the document, and in it the file or the mount."""
    document, *way = path.split(": ")
    if document in OF_ALL:
        return True
    if f"runs: {document}" not in values:
        return False
    kind = f"{document}: {': '.join(way[:2])}: type"
    return way[0] not in GROUPS or len(way) < 3 or kind == path or kind in values
