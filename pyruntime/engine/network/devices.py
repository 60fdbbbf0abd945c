"""Moves network devices of the host into the container's network namespace (rtnetlink(7)).

pyroute2 implements netlink. It is loaded only if a configuration asks for devices. The program cannot load the
extension modules that it needs, so there `transfer` and `give_back` run in a process of the interpreter's own.
"""

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.base.undo import Undo
from pyruntime.plan.net_devices import CLAUSE, POINTER
from pyruntime.plan.step import Step
from pyruntime.spec.rules.network import is_template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.engine.child.host_files import HostFiles

_OWN = "/proc/self/ns/net"
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_RT_SCOPE_UNIVERSE = 0
_IFA_F_PERMANENT = 0x80
# The flags of IFA_FLAGS with which an address is made: nodad, homeaddress, managetempaddr, noprefixroute, mcautojoin.
# The others are the kernel's state of the address.
_IFA_FLAGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400

# Attribute of an address -> the library's name for it.
_ADDRESS = {
    "IFA_ADDRESS": "address",
    "IFA_LOCAL": "local",
    "IFA_BROADCAST": "broadcast",
    "IFA_ANYCAST": "anycast",
    "IFA_RT_PRIORITY": "priority",
}

# An address is there if these are the same.
_SAME = ("family", "prefixlen", "address")

_REASONS = {
    17: "a device there has this name, as its own or as an alternative one",  # EEXIST
    22: "the kernel does not let a device of this kind leave its namespace",  # EINVAL
    1: "it takes CAP_NET_ADMIN in both namespaces",  # EPERM
}


def joined(host_files: "HostFiles") -> int:
    """Return a copy of the descriptor of the network namespace that the container joins, -1 when it gets a new one."""
    for fd, kind in host_files.joins:
        if kind == lib.CLONE_NEWNET:
            return os.dup(fd)
    return -1


def move(steps: "list[Step]", namespace: int, undo: "Undo") -> None:
    """Move the devices of `steps` into the network namespace `namespace`, and set them up there.

    Each keeps its permanent addresses of global scope. Nothing is moved unless all can be; a device that was moved
    goes back through `undo`. Raises Error.

    Upholds config-linux.md#network-devices/available, config-linux.md#network-devices/move-checked,
    config-linux.md#namespace-lifecycle-and-container-termination/not-managed,
    config-linux.md#namespace-lifecycle-and-container-termination/not-moved-back.
    """
    _check_foreign(namespace, steps[0])
    moved = _call(transfer, [_parts(step) for step in steps], namespace)
    for step, attributes in zip(steps, moved, strict=True):
        undo.push(_call, give_back, _parts(step), attributes, namespace)
        if log.events is not None:
            log.events.done(step)


def _call(function: "Any", *arguments: "Any") -> "Any":
    """Call a function of this module, whose last argument is a descriptor, where pyroute2 can be loaded."""
    if not pyruntime.base.interpreter.is_apart():
        return function(*arguments)
    *others, namespace = arguments
    try:
        return pyruntime.base.interpreter.call(
            "engine.network.devices", function.__name__, *others, descriptor=namespace
        )
    except Error as error:
        error.pointer, error.clause = error.pointer or POINTER, error.clause or CLAUSE
        raise


def _parts(step: "Step") -> "list[Any]":
    """Return what Step makes the same step of, as far as it matters here."""
    return [step.op, step.pointer, step.clause, step.args]


def _step(parts: "list[Any]") -> "Step":
    *named, arguments = parts
    return Step(*named, **arguments)


def transfer(steps: "list[list[Any]]", namespace: int) -> "list[list[Any]]":
    """Move devices, all or none; return of each what `give_back` has to know.

    steps  what `_parts` returns of them
    Raises Error.
    """
    with _Socket() as host, _Socket(namespace) as inside, Undo() as undo:
        devices = [_Device.on_the_host(_step(step), host) for step in steps]
        for device in devices:
            device.check_name(inside)
        for device in devices:
            undo.push(device.give_back, namespace)
            device.move(host, inside, namespace)
        undo.keep()
    return [device.attributes() for device in devices]


def give_back(step: "list[Any]", attributes: "list[Any]", namespace: int) -> None:
    """Return a device to the host as it was, if it is in the container. Raises Error.

    step        what `_parts` returns of it
    attributes  what `transfer` has returned of it
    """
    _Device(_step(step), *attributes).give_back(namespace)


def _check_foreign(namespace: int, step: "Step") -> None:
    # Upholds config-linux.md#network-devices/move-checked.
    there, here = os.fstat(namespace), os.stat(_OWN)
    if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
        raise Error(
            f"cannot move the network device {step.args['device']} into the container",
            "the network namespace to join is the host's",
            pointer=POINTER,
            clause=CLAUSE,
            advice="give the container a network namespace of its own",
        )


class _Device:
    """A network device, and its attributes that the move does not keep."""

    __slots__ = ("_addresses", "_identity", "_index", "_up", "step")

    def __init__(
        self, step: "Step", index: int, identity: "tuple[object, ...]", up: bool, addresses: "list[dict[str, Any]]"
    ) -> None:
        self.step = step
        self._index = index
        self._identity = identity
        self._up = up
        self._addresses = addresses

    @classmethod
    def on_the_host(cls, step: "Step", host: "_Socket") -> "_Device":
        """Return the device that the step is about. Raises Error if there is none, or if it cannot move."""
        device = host.device(step.args["device"], step)
        index, flags = device["index"], device["flags"]
        if flags & _IFF_LOOPBACK:
            raise _refused(step, "the loopback device belongs to its namespace", 0)
        addresses = [
            _words(message)
            for message in host.call(step, lambda link: list(link.get_addr(index=index)))
            if message["scope"] == _RT_SCOPE_UNIVERSE and _flags(message) & _IFA_F_PERMANENT
        ]
        return cls(step, index, _identity(device), bool(flags & _IFF_UP), addresses)

    def attributes(self) -> "list[Any]":
        """Return what `__init__` takes beside the step."""
        return [self._index, self._identity, self._up, self._addresses]

    def check_name(self, inside: "_Socket") -> None:
        """Raise Error when a device in the container has the name already; a template gets a free number.

        Upholds config-linux.md#network-devices/move-checked, config-linux.md#network-devices/name-taken.
        """
        name = self.step.args["name"]
        if not is_template(name) and inside.has(name, self.step):
            raise self._refused(f"a device in its network namespace has the name {name}")

    def move(self, host: "_Socket", inside: "_Socket", namespace: int) -> None:
        """Move the device, give it its name and addresses back, and set it up.

        Upholds config-linux.md#network-devices/available, config-linux.md#network-devices/set-up,
        config-linux.md#namespace-lifecycle-and-container-termination/not-managed,
        config-linux.md#namespace-lifecycle-and-container-termination/not-moved-back.
        """
        step = self.step
        self._transfer(host, inside, namespace, step.args["name"])
        self._restore(inside, self._index)
        inside.call(step, lambda link: link.link("set", index=self._index, state="up"))

    def give_back(self, namespace: int) -> None:
        """Return the device to the host as it was, if it is in the container. Raises Error."""
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _Socket() as host, _Socket(namespace) as inside:
                if not host.has(self.step.args["device"], self.step):
                    self._index = self._find(inside, self.step.args["name"])
                    self._transfer(inside, host, own, self.step.args["device"])
                elif not self._addresses:
                    return
                self._restore(host, self._index)
                if self._up:
                    host.call(self.step, lambda link: link.link("set", index=self._index, state="up"))
        finally:
            os.close(own)

    def _transfer(self, origin: "_Socket", target: "_Socket", namespace: int, name: str) -> None:
        """Move the device to the other socket's namespace under `name`, and learn its index there.

        In two steps, with a temporary name that is unique: the index may change with the namespace, and the kernel
        chooses the name for a template.

        Upholds config-linux.md#network-devices/attributes-kept.
        """
        step = self.step
        passing = f"pyr{os.urandom(4).hex()}"
        origin.call(step, lambda link: link.link("set", index=self._index, net_ns_fd=namespace, ifname=passing))
        self._index = self._find(target, passing)
        target.call(step, lambda link: link.link("set", index=self._index, ifname=name))

    def _find(self, target: "_Socket", name: str) -> int:
        """Return the index of the device where it is now, as `name` if nobody has renamed it. Raises Error.

        A process of a joined namespace can rename it, and give its name or its index on the host to another device,
        which must not come to the host instead.
        """
        same = [message for message in target.links(self.step) if _identity(message) == self._identity]
        found = (
            [message for message in same if message.get_attr("IFLA_IFNAME") == name]
            or [message for message in same if message["index"] == self._index]
            or same
        )
        if len(found) != 1:
            raise self._refused("a process has changed it or moved it away meanwhile")
        index: int = found[0]["index"]
        return index

    def _restore(self, target: "_Socket", index: int) -> None:
        # Upholds config-linux.md#network-devices/attributes-kept.
        present = target.call(self.step, lambda link: list(link.get_addr(index=index)))
        there = {tuple(map(_words(message).get, _SAME)) for message in present}
        for words in self._addresses:
            if tuple(map(words.get, _SAME)) not in there:
                target.call(self.step, lambda link, words=words: link.addr("add", index=index, **words))

    def _refused(self, reason: str) -> Error:
        return _refused(self.step, reason, 0)


def _identity(message: "Any") -> "tuple[object, ...]":
    """Return attributes of a device that stay the same when it moves: its kind and its hardware addresses."""
    info = message.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info else None
    return kind, message.get_attr("IFLA_ADDRESS"), message.get_attr("IFLA_PERM_ADDRESS")


def _words(message: "Any") -> "dict[str, Any]":
    """Return an address as the library takes it to add it."""
    words = {word: message.get_attr(name) for name, word in _ADDRESS.items() if message.get_attr(name) is not None}
    flags = _flags(message) & _IFA_FLAGS
    if flags:
        words["flags"] = flags
    return {"family": message["family"], "prefixlen": message["prefixlen"], **words}


def _flags(message: "Any") -> int:
    """Return an address's flags: all of them, where the kernel sends more than the eight of its header."""
    flags: int = message.get_attr("IFA_FLAGS") or message["flags"]
    return flags


class _Socket:
    """A netlink socket in the network namespace of the descriptor, or in this process's own. Use as a context."""

    __slots__ = ("_link",)

    def __init__(self, namespace: int = -1) -> None:
        netns, iproute, _ = _library()
        if namespace < 0:
            self._link = iproute()
            return
        # A socket stays in the namespace in which it was made.
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            netns.setns(namespace)
            try:
                self._link = iproute()
            finally:
                netns.setns(own)
        except OSError as error:
            raise Error(
                "cannot enter the container's network namespace",
                pointer=POINTER,
                clause=CLAUSE,
                errno=error.errno or 0,
            ) from None
        finally:
            os.close(own)

    def __enter__(self) -> "_Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def call(self, step: "Step", request: "Any") -> "Any":
        """Return `request(library's object)`. Raises Error when the kernel refuses."""
        _, _, refusal = _library()
        try:
            return request(self._link)
        except refusal as error:
            raise _refused(step, _REASONS.get(error.code, ""), error.code) from None

    def links(self, step: "Step") -> "list[Any]":
        """Return what the kernel says of each device."""
        found: list[Any] = self.call(step, lambda link: list(link.get_links()))
        return found

    def device(self, name: str, step: "Step") -> "Any":
        """Return what the kernel says of the device `name`. Raises Error when there is none."""
        for message in self.links(step):
            if message.get_attr("IFLA_IFNAME") == name:
                return message
        raise _refused(step, "there is no such device", 19)

    def has(self, name: str, step: "Step") -> bool:
        """Tell whether there is a device `name`."""
        return any(message.get_attr("IFLA_IFNAME") == name for message in self.links(step))


def _library() -> "tuple[Any, Any, Any]":
    """Return pyroute2's namespace functions, its socket class, and the exception for what the kernel refuses."""
    try:
        from pyroute2 import IPRoute, netns  # late: it may be missing
        from pyroute2.netlink.exceptions import NetlinkError  # late: as above
    except ImportError:
        raise Error(
            "cannot move network devices",
            "the Python package pyroute2 is not installed",
            pointer=POINTER,
            clause=CLAUSE,
        ) from None
    return netns, IPRoute, NetlinkError


def _refused(step: "Step", reason: str, error: int) -> Error:
    return Error(
        f"cannot move the network device {step.args['device']} into the container",
        reason,
        pointer=step.pointer,
        clause=step.clause,
        step=step,
        errno=error,
    )
