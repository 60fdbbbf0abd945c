"""What the container's program has reported of itself (probe.c), made comparable with the report of another run."""

import os
import re

# Of /proc/PID/status: what a configuration decides. The others are numbers of pages, switches and the like.
STATUS = {
    *("Uid", "Gid", "Groups", "Umask", "Seccomp", "Seccomp_filters", "NoNewPrivs"),
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk", "SigIgn"),
    *("Cpus_allowed_list", "Mems_allowed_list", "THP_enabled"),
}
_OUR_NAMESPACES = {os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}


def is_complete(text: str) -> bool:
    """Tell whether the program came to the end of its report."""
    return text.endswith("\nend\n")


def comparable(text: str, container: str) -> list[str]:
    """Return the lines of a report that are the same whenever the same configuration is run.

    container  the id, which is another one each time
    """
    return [line for line in map(_comparable, text.replace(container, "ID").splitlines()) if line]


def _comparable(line: str) -> str:
    name, _, value = line.partition(": ")
    if name == "/proc/self/status":
        return line if value.partition(":")[0] in STATUS else ""
    if name == "/proc/self/mountinfo":
        return f"mount {_mount(value)}"
    if name.startswith("/proc/self/ns/"):
        return f"{name}: {'of the host' if value in _OUR_NAMESPACES else 'its own'}"
    if name == "session keyring":
        return re.sub(r"keyring;\d+;\d+;", "", re.sub(r"[0-9a-f]{16,}", "N", line))
    return line


def _mount(entry: str) -> str:
    """Return an entry of mountinfo without the ids, devices and peer groups, of which there are new ones each time."""
    fields = entry.split()
    separator = fields.index("-")
    propagation = [word.partition(":")[0] for word in fields[6:separator]]
    return " ".join([*fields[3:6], *propagation, *fields[separator + 1 :]])


def difference(expected: list[str], found: list[str]) -> list[str]:
    """Return the lines that are missing in `found`, after "-", and those that are new there, after "+"."""
    return [f"-{line}" for line in expected if line not in found] + [
        f"+{line}" for line in found if line not in expected
    ]
