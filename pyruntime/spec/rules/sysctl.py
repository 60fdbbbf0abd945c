"""Kernel parameters (config-linux.md#sysctl): only those that a namespace of the container has for itself."""

from pyruntime.base.errors import Error
from pyruntime.base.json_pointer import join
from pyruntime.spec.rules.namespaces import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config

CLAUSE = "config-linux.md#sysctl"

# Parameter, or prefix of parameters -> the type of namespace that has its own value: ipc_namespaces(7),
# network_namespaces(7), uts_namespaces(7), user_namespaces(7).
NAMESPACED = {
    "kernel.auto_msgmni": "ipc",
    "kernel.msg_next_id": "ipc",
    "kernel.msgmax": "ipc",
    "kernel.msgmnb": "ipc",
    "kernel.msgmni": "ipc",
    "kernel.sem": "ipc",
    "kernel.sem_next_id": "ipc",
    "kernel.shm_next_id": "ipc",
    "kernel.shm_rmid_forced": "ipc",
    "kernel.shmall": "ipc",
    "kernel.shmmax": "ipc",
    "kernel.shmmni": "ipc",
    "kernel.domainname": "uts",
}
PREFIXES = {"fs.mqueue.": "ipc", "net.": "network", "user.": "user"}

_DOMAINNAME = 64  # __NEW_UTS_LEN of linux/utsname.h


def dotted(name: str) -> str:
    """Return a parameter's name with dots as separators, as sysctl.d(5) reads it.

    The first separator decides: after a slash, slashes separate and dots are letters of a name
    ("net/ipv4/conf/eth0.1/forwarding" is "net.ipv4.conf.eth0/1.forwarding").
    """
    slash, dot = name.find("/"), name.find(".")
    if slash < 0 or 0 <= dot < slash:
        return name
    return name.translate({ord("/"): ".", ord("."): "/"})


def namespace_of(name: str) -> str:
    """Return the type of namespace that has the parameter `name` (dotted) for itself, "" where none does."""
    exact = NAMESPACED.get(name, "")
    return exact or next((kind for prefix, kind in PREFIXES.items() if name.startswith(prefix)), "")


def sysctl(config: "Config") -> "Iterator[Error]":
    """Each parameter belongs to a namespace that the container does not share with the runtime; its value is a line.

    The kernel drops the text after a newline, or reads it as more numbers of a list. A newline at the end is allowed,
    because shells write one.
    """
    for key, value in config["linux"]["sysctl"].items():
        name = dotted(key)
        kind = namespace_of(name)
        parts = name.split(".")
        # In the dotted form a slash stands for a dot in a name, so "//" is "..".
        if "" in parts or "/" in parts or "//" in parts or key.split() != [key]:
            reason = "expected a parameter's name, without empty parts and white space"
        elif name == "kernel.hostname":
            reason = "expected the property hostname instead"
        elif not kind:
            reason = "expected a parameter that a namespace has for itself; this one is the whole host's"
        elif kind not in types(config):
            reason = f'expected a namespace of type "{kind}" in linux.namespaces: without one it is the host\'s'
        elif name == "kernel.domainname" and "domainname" in config:
            reason = "expected it only where there is no property domainname, which sets the same"
        elif "\n" in value[:-1]:
            reason = "expected a value of one line"
        elif name == "kernel.domainname" and len(value.rstrip("\n").encode("utf-8", "surrogatepass")) > _DOMAINNAME:
            reason = f"expected at most {_DOMAINNAME} bytes: the kernel drops the rest"
        elif not value:
            reason = "expected a value: an empty one changes nothing"
        else:
            continue
        place = join("/linux/sysctl", key)
        yield Error(f'linux.sysctl has "{key[:60]}"', reason, pointer=place, value=value, clause=CLAUSE)
