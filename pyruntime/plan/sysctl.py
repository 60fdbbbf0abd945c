"""Kernel parameters of the new namespaces: sysctl, hostname, domainname, the loopback interface."""

from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context


def sysctl_path(key: str) -> str:
    """Return the path below /proc/sys of a sysctl key.

    sysctl(8) takes both separators; whichever comes first is the separator and the other is part of a name
    ("net.ipv4.conf.eth0/100.forwarding" is eth0.100, "net/ipv4/conf/eth0.100/forwarding" too).
    """
    dot, slash = key.find("."), key.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        return key.translate({ord("."): "/", ord("/"): "."})
    return key


def parameters(context: "Context") -> "Iterator[Step]":
    """Yield what is set in the new network, uts and ipc namespaces."""
    config = context.config
    if context.new_namespace("network"):
        yield Step("loopback", "/linux/namespaces", "config-linux.md#namespaces")
    if config.get("hostname"):
        yield Step("hostname", "/hostname", "config.md#hostname", data=config["hostname"])
    if config.get("domainname"):
        yield Step("domainname", "/domainname", "config.md#domainname", data=config["domainname"])
    linux = config.get("linux") or {}
    for key, value in (linux.get("sysctl") or {}).items():
        pointer = "/linux/sysctl/" + key.replace("~", "~0").replace("/", "~1")
        yield Step("sysctl", pointer, "config-linux.md#sysctl", path=sysctl_path(key), data=value)
