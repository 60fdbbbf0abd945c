"""Lets systemd make the groups: a transient scope for each container, over D-Bus (org.freedesktop.systemd1(5)).

A scope must have a process from its start, but the container's process is made later, inside the group, by clone3. So a
keeper, a forked process that does nothing, keeps the scope until settle().
"""

import socket
import time
from collections import deque

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import CLAUSE, SIGKILL, UNIFIED, make_directory, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pyruntime.plan.cgroup.cgroup import CgroupPlan
    from pyruntime.plan.cgroup.systemd import Property

    class Groups(Protocol):
        """The part of a container's groups (cgroup.py) that this module needs."""

        paths: dict[str, str]
        made: list[str]
        plan: CgroupPlan | None
        unit: dict[str, Any] | None
        keeper: tuple[int, int]

        @property
        def unified(self) -> str: ...


_SECONDS = 30.0  # how long systemd may take for one job, as with runc
_SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
_NAME = "org.freedesktop.systemd1"
_MANAGER = f"{_NAME}.Manager"
_PATH = "/org/freedesktop/systemd1"
_UNIT_EXISTS = f"{_NAME}.UnitExists"
_NO_SUCH_UNIT = f"{_NAME}.NoSuchUnit"


def start(cgroup: "Groups") -> None:
    """Let systemd make the scope of `cgroup.plan`; `cgroup.paths` then has the directory that systemd chose.

    Raises Error if there is no bus, or if systemd refuses; then nothing is left.
    """
    plan = cgroup.plan
    assert plan is not None and plan.unit is not None
    unit = plan.unit
    mountpoint = plan.groups[UNIFIED][0]
    bus = _Bus(unit.user, plan.pointer)
    try:
        cgroup.keeper = _keeper()
        started = False
        try:
            properties = [*unit.properties, ("PIDs", "au", [cgroup.keeper[0]])]
            bus.start_scope(unit.name, properties)
            started = True
            path = bus.property(unit.name, "Scope", "ControlGroup")
            cgroup.made = unit.directories(mountpoint + path + unit.subgroup)
            cgroup.paths = {UNIFIED: cgroup.made[-1]}
            # systemd enables the controllers that it supports; hugetlb, rdma and misc are enabled here, as with runc.
            pyruntime.cgroup.v2.enable_controllers(mountpoint, path, plan.enable, plan.steps, everything=False)
            if unit.subgroup:
                for directory in cgroup.made[1:]:
                    make_directory(directory)
                # A group with processes gives no controllers to those below it.
                write_file(f"{cgroup.unified}/cgroup.procs", str(cgroup.keeper[0]))
                pyruntime.cgroup.v2.enable_controllers(
                    mountpoint + path, unit.subgroup, plan.enable, plan.steps, everything=True
                )
        except BaseException:
            _dismiss(cgroup)
            if started:  # a unit that existed before must not be stopped
                bus.stop(unit.name)
            raise
    except OSError as error:
        raise bus.error(f"cannot make {unit.name}", error.filename or "", error.errno or 0) from error
    finally:
        bus.close()


def _keeper() -> tuple[int, int]:
    """Fork a process that does nothing until all copies of the descriptor are closed; return (pid, descriptor)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(write)
            os.read(read, 1)
        finally:
            os._exit(0)
    os.close(read)
    return pid, write


def _dismiss(cgroup: "Groups") -> None:
    pid, write = cgroup.keeper
    if pid:
        cgroup.keeper = (0, -1)
        os.close(write)
        # The container's first process has a copy of the descriptor, so closing it here is not enough.
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)


def make_room(cgroup: "Groups") -> None:
    """Raise pids.max by one while the keeper is counted in it."""
    if cgroup.keeper[0]:
        _allow(cgroup, 1)


def settle(cgroup: "Groups") -> None:
    """End the keeper, because the container's process is in the scope now. Raises Error."""
    _dismiss(cgroup)
    _allow(cgroup, 0)


def _allow(cgroup: "Groups", more: int) -> None:
    assert cgroup.plan is not None
    limits = [step for step in cgroup.plan.steps if step.args.get("file") == "pids.max"]
    if limits and limits[-1].args["value"] != "max":
        # The scope has the limit as well as the container's own group, where that is below it.
        for directory in dict.fromkeys((cgroup.made[0], cgroup.unified)):
            path = f"{directory}/pids.max"
            try:
                write_file(path, str(int(limits[-1].args["value"]) + more))
            except OSError as error:
                step = limits[-1]
                raise Error(
                    f"cannot write {path}", pointer=step.pointer, clause=step.clause, step=step, errno=error.errno or 0
                ) from error


def tell(cgroup: "Groups") -> None:
    """Set the limits of another plan on the running unit. Raises Error."""
    plan, unit = cgroup.plan, cgroup.unit
    assert plan is not None and unit is not None
    properties = pyruntime.plan.cgroup.systemd.limit_properties(plan.steps)
    if plan.unit is not None or not properties:
        return
    bus = _Bus(unit["user"], "")
    try:
        bus.call("SetUnitProperties", "sba(sv)", (unit["name"], True, _variants(properties)))
    finally:
        bus.close()


def attach(cgroup: "Groups", pid: int, beside: int = 0) -> None:
    """Let systemd move the process `pid`, of the caller's own user, into the container's group. Raises Error.

    beside  a process of the container: where the container has enabled controllers for groups of its own, so that the
            kernel lets no process into the group above them, `pid` goes to the one that has this process
    """
    assert cgroup.unit is not None
    unit, scope = cgroup.unit, cgroup.made[0]
    bus = _Bus(unit["user"], "")

    def move(directory: str) -> None:
        bus.call("AttachProcessesToUnit", "ssau", (unit["name"], directory[len(scope) :], [pid]))

    try:
        try:
            move(cgroup.unified)
        except Error:
            fd = pyruntime.cgroup.walk.find(cgroup.unified, beside) if beside else -1
            if fd < 0:
                raise
            try:
                move(os.readlink(f"/proc/self/fd/{fd}"))
            finally:
                os.close(fd)
    finally:
        bus.close()


def stop(cgroup: "Groups") -> None:
    """Stop the unit with its remaining processes; do nothing if it does not exist.

    systemd kills them as the unit's properties say. Raises Error if systemd cannot be reached or does not stop it.
    """
    assert cgroup.unit is not None
    _dismiss(cgroup)
    bus = _Bus(cgroup.unit["user"], "")
    try:
        bus.stop(cgroup.unit["name"])
    finally:
        bus.close()


def _variants(properties: "list[Property]") -> "list[tuple[str, tuple[str, Any]]]":
    return [(name, (signature, value)) for name, signature, value in properties]


class _Bus:
    """A connection to the D-Bus daemon that systemd's manager uses."""

    def __init__(self, user: bool, pointer: str) -> None:
        self.pointer = pointer
        self._subscribed = False
        try:
            import jeepney  # type: ignore[import-untyped]  # late: it may be missing
            from jeepney.io.blocking import DBusConnection  # type: ignore[import-untyped]  # late: as above
        except ImportError as error:
            raise self.error("cannot reach systemd", "the Python package jeepney is not installed") from error
        self._jeepney = jeepney
        address = _address(user)
        if not address:
            raise self.error(
                "cannot reach the user's systemd", "neither $DBUS_SESSION_BUS_ADDRESS nor $XDG_RUNTIME_DIR/bus"
            )
        try:
            self._connection = DBusConnection(_connect(address))
        except OSError as error:
            raise self.error(f"cannot connect to the bus at {address}", "", error.errno or 0) from error
        except RuntimeError as error:
            raise self.error(f"cannot connect to the bus at {address}", str(error)) from error

    def error(self, doing: str, reason: str, number: int = 0) -> Error:
        return Error(doing, reason, pointer=self.pointer, clause=CLAUSE, errno=number)

    def close(self) -> None:
        self._connection.close()

    def call(
        self, method: str, signature: str, body: "tuple[Any, ...]", path: str = _PATH, interface: str = _MANAGER
    ) -> "Any":
        """Call a method of systemd and return its answer; raises Error with D-Bus's own error name and text."""
        jeepney = self._jeepney
        address = jeepney.DBusAddress(path, bus_name=_NAME, interface=interface)
        message = jeepney.new_method_call(address, method, signature or None, body)
        try:
            answer = self._connection.send_and_get_reply(message, timeout=_SECONDS)
        except TimeoutError as error:
            raise self.error(f"cannot call systemd's {method}", f"no answer in {_SECONDS:.0f} s") from error
        except OSError as error:
            raise self.error(f"cannot call systemd's {method}", "", error.errno or 0) from error
        if answer.header.message_type is jeepney.MessageType.error:
            name = answer.header.fields.get(jeepney.HeaderFields.error_name, "")
            text = answer.body[0] if answer.body else ""
            refused = self.error(f"cannot call systemd's {method}", text)
            refused.log = name
            raise refused
        return answer.body

    def property(self, unit: str, kind: str, name: str) -> "Any":
        """A property of a loaded unit: property("a.scope", "Scope", "ControlGroup")."""
        (path,) = self.call("GetUnit", "s", (unit,))
        interface = "org.freedesktop.DBus.Properties"
        ((_, value),) = self.call("Get", "ss", (f"{_NAME}.{kind}", name), path, interface)
        return value

    def start_scope(self, name: str, properties: "list[Property]") -> None:
        """Start a transient scope, and wait until systemd has made it; a failed unit of the same name is reset."""
        auxiliary: list[Any] = []
        body = (name, "fail", _variants(properties), auxiliary)
        try:
            self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        except Error as error:
            if error.log != _UNIT_EXISTS or self.property(name, "Unit", "ActiveState") not in ("failed", "inactive"):
                raise
            self.call("ResetFailedUnit", "s", (name,))
            self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", body)

    def stop(self, name: str) -> None:
        """Stop a unit and wait until it does not exist; a failed unit is reset."""
        try:
            self._job("StopUnit", "ss", (name, "replace"))
        except Error as error:
            if error.log != _NO_SUCH_UNIT:
                raise
        try:
            self.call("ResetFailedUnit", "s", (name,))
        except Error as error:
            if error.log != _NO_SUCH_UNIT:  # the usual case: it did not fail, so it does not exist any more
                raise

    def _job(self, method: str, signature: str, body: "tuple[Any, ...]") -> None:
        """Call a method that queues a job, and wait for the signal with its result."""
        jeepney = self._jeepney
        connection = self._connection
        rule = jeepney.MatchRule(type="signal", interface=_MANAGER, member="JobRemoved", path=_PATH)
        if not self._subscribed:
            name = "org.freedesktop.DBus"
            daemon = jeepney.DBusAddress("/org/freedesktop/DBus", bus_name=name, interface=name)
            match = jeepney.new_method_call(daemon, "AddMatch", "s", (rule.serialise(),))
            connection.send_and_get_reply(match, timeout=_SECONDS)
            self.call("Subscribe", "", ())
            self._subscribed = True
        deadline = time.monotonic() + _SECONDS
        with connection.filter(rule, queue=deque()) as removed:
            (job,) = self.call(method, signature, body)
            while True:
                try:
                    message = connection.recv_until_filtered(removed, timeout=max(0.0, deadline - time.monotonic()))
                except TimeoutError as error:
                    raise self.error(f"systemd's {method} of {body[0]}", f"not done in {_SECONDS:.0f} s") from error
                _, path, _, result = message.body
                if path == job:
                    break
        if result != "done":
            if method == "StartTransientUnit":
                self.stop(body[0])
            raise self.error(f"systemd's {method} of {body[0]}", f"the job ended with {result!r}")


def _address(user: bool) -> str:
    """Return the address of the bus; "" if a user's bus cannot be found."""
    if not user:
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    if address:
        return address
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return f"unix:path={runtime}/bus" if runtime and os.path.exists(f"{runtime}/bus") else ""


def _connect(address: str) -> "Any":
    """Return a socket that has passed D-Bus's authentication. Raises OSError, RuntimeError.

    No user id is sent: the daemon takes it from the kernel, because in a user namespace this process has another one.
    """
    from jeepney.bus import get_connectable_addresses  # type: ignore[import-untyped]  # late: as above

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(_SECONDS)
        connection.connect(next(get_connectable_addresses(address)))
        connection.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
        answer = b""
        while answer.count(b"\r\n") < 2:
            chunk = connection.recv(4096)
            if not chunk or b"REJECTED" in chunk:
                raise RuntimeError("the bus does not accept this user")
            answer += chunk
        connection.sendall(b"BEGIN\r\n")
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection
