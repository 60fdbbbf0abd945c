"""CRIU, the program that writes a container's processes into images and makes them again (criu(8)), as runc uses it."""

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.engine.criu import rpc as criu_rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.engine.criu.rpc import Message
    from pyruntime.spec.json_types import Config

    # Called with the name of each step that CRIU announces, a pid or 0, and a descriptor that came with it or -1.
    Notified = Callable[[str, int, int], None]

# The options of runc's and crun's verbs that are CRIU's own, in CRIU's words.
FLAGS = {
    "leave-running": "leave_running",
    "tcp-established": "tcp_established",
    "tcp-skip-in-flight": "tcp_skip_in_flight",
    "link-remap": "link_remap",
    "ext-unix-sk": "ext_unix_sk",
    "shell-job": "shell_job",
    "file-locks": "file_locks",
    "lazy-pages": "lazy_pages",
    "auto-dedup": "auto_dedup",
    "tcp-close": "tcp_close",
}
_OLDEST = 31600  # 3.16: external pid namespaces, and labels that change
_CONFIG_ANNOTATION = "org.criu.config"
_CONFIG_FILE = "/etc/criu/runc.conf"  # whoever had runc has it there
_CLONE_NEWNET = 0x40000000
_LOG_LEVEL = 4
_CGROUP = ("cgroup", "cgroup2")
_STREAMS = "descriptors.json"
_LONGEST = 1 << 16  # bytes of a message


class CriuOptions:
    """What the caller decides about images.

    images      directory of the images, absolute
    work        directory of CRIU's log and other files, absolute; that of the images by default
    parent      directory of the images before, relative to `images`, or ""
    flags       which of FLAGS are given
    cgroups     how CRIU treats cgroups: soft, full, strict, ignore; "" for CRIU's choice
    empty       namespaces to leave empty: "network", which is always left so
    network_lock   how the network is kept still: iptables, nftables, skip; "" for the first
    page_server, lsm_profile, lsm_context   as CRIU takes them; "" for none
    status_fd   descriptor to tell on when lazy pages are ready, or -1
    """

    def __init__(
        self,
        images: str,
        work: str = "",
        *,
        parent: str = "",
        flags: "tuple[str, ...]" = (),
        cgroups: str = "",
        empty: "tuple[str, ...]" = (),
        page_server: str = "",
        status_fd: int = -1,
        lsm_profile: str = "",
        lsm_context: str = "",
        network_lock: str = "",
    ) -> None:
        self.images = images
        self.work = work or images
        self.parent = parent
        self.flags = flags
        self.cgroups = cgroups
        self.empty = empty
        self.page_server = page_server
        self.status_fd = status_fd
        self.lsm_profile = lsm_profile
        self.lsm_context = lsm_context
        self.network_lock = network_lock

    def request(self, annotations: "dict[str, str]") -> "Message":
        """Return the part of the request that dump and restore have in common. Raises Error."""
        if self.cgroups not in criu_rpc.CGROUP_MODES:
            known = ", ".join(filter(None, criu_rpc.CGROUP_MODES))
            raise Error(f"--manage-cgroups-mode {self.cgroups}", f"the value must be one of {known}")
        for name in self.empty:
            if name != "network":
                raise Error(f"--empty-ns {name}", "CRIU can leave only the network namespace empty")
        options: Message = {
            "log_level": _LOG_LEVEL,
            "notify_scripts": True,
            "orphan_pts_master": True,
            "manage_cgroups": True,
            "manage_cgroups_mode": criu_rpc.CGROUP_MODES[self.cgroups],
            # Network devices are whoever's that made them: hooks make them again.
            "empty_ns": _CLONE_NEWNET,
            **{FLAGS[name]: True for name in self.flags},
        }
        if self.parent:
            parent = os.path.normpath(f"{self.images}/{self.parent}")  # that of the images may still have to be made
            if not os.path.isdir(parent):
                raise Error(f"--parent-path {self.parent}", f"{parent} is no directory")
            options.update(parent_img=self.parent, track_mem=True)
        if self.page_server:
            address, colon, port = self.page_server.rpartition(":")
            if not (colon and address and port.isdecimal() and int(port) < 1 << 16):
                raise Error(f"--page-server {self.page_server}", "the value must be ADDRESS:PORT")
            options["ps"] = {"address": address.removeprefix("[").removesuffix("]"), "port": int(port)}
        if self.lsm_profile:
            options["lsm_profile"] = self.lsm_profile
        if self.lsm_context:
            options["lsm_mount_context"] = self.lsm_context
        if self.network_lock:
            options["network_lock"] = criu_rpc.NETWORK_LOCKS[self.network_lock]
        config = annotations.get(_CONFIG_ANNOTATION, _CONFIG_FILE)
        if config:
            options["config_file"] = config
        return options


def external_mounts(config: "Config", masked_files: "list[str]") -> "list[tuple[str, str]]":
    """Return the mounts whose content is not the container's: (destination, source), as CRIU has to find them again.

    masked_files  masked paths over which the host's null device lies
    """
    mounts = [
        (mount["destination"], mount.get("source") or "")
        for mount in config.get("mounts") or ()
        if mount.get("type") == "bind" or {"bind", "rbind"} & set(mount.get("options") or ())
    ]
    return mounts + [(path, "/dev/null") for path in masked_files] + [(path, path) for path in _bound_devices(config)]


def cgroup_binds(config: "Config", paths: "dict[str, str]") -> "list[tuple[str, str]]":
    """Return the hierarchies that a mount of type cgroup shows by bind mounts: (place, directory on the host).

    paths  the container's groups: controller -> directory
    Without a cgroup namespace they are the host's own mounts; within one CRIU mounts them anew.
    """
    entries = [(index, mount) for index, mount in enumerate(config.get("mounts") or ()) if mount.get("type") in _CGROUP]
    if not entries:
        return []
    from pyruntime.host import cgroups
    from pyruntime.plan.cgroup.cgroup import CgroupPlan
    from pyruntime.plan.cgroup.mounts import expand
    from pyruntime.plan.mounts import is_bind

    host = cgroups.detect()
    roots = {**host.mounts, "": host.unified}
    groups = {name: (roots[name], paths[name].removeprefix(roots[name])) for name in roots if name in paths}
    # Where the container runs in the caller's groups there is none of its own to show.
    groups = {name: groups.get(name, (root, "")) for name, root in roots.items() if root}
    plan = CgroupPlan(host.mode, "", groups, [], [], False)
    return [
        (step.args["path"], step.args["source"])
        for index, mount in entries
        if not is_bind(mount)
        for step in expand(index, mount, config, host, plan)
        if step.op == "bind"
    ]


def _bound_devices(config: "Config") -> "list[str]":
    """Return the devices that are the host's own, mounted: in a user namespace none can be made."""
    linux = config.get("linux") or {}
    if not any(entry["type"] == "user" for entry in linux.get("namespaces") or ()):
        return []
    from pyruntime.plan.devices import DEFAULT_DEVICES

    return [*dict.fromkeys([*DEFAULT_DEVICES, *(device["path"] for device in linux.get("devices") or ())])]


def external_namespaces(config: "Config") -> "list[tuple[str, str]]":
    """Return the namespaces that the container only joined, which CRIU can leave to others: (name, path)."""
    return [(name, path) for name, path in _joined(config) if name in ("net", "pid")]


def namespaces_to_join(config: "Config") -> "list[dict[str, str]]":
    """Return the other namespaces that a restored container joins, as CRIU takes them. Raises Error."""
    found = []
    for name, path in _joined(config):
        if name == "cgroup":
            raise Error("cannot restore the container", "CRIU cannot join a cgroup namespace")
        if name not in ("net", "pid"):
            found.append({"ns": name, "ns_file": path})
    return found


def _joined(config: "Config") -> "list[tuple[str, str]]":
    names = {"network": "net", "mount": "mnt"}
    return [
        (names.get(entry["type"], entry["type"]), entry["path"])
        for entry in (config.get("linux") or {}).get("namespaces") or ()
        if entry.get("path")
    ]


def namespace_key(name: str) -> str:
    """Return what an external namespace is called in the images; runc calls it so, too."""
    return f"extRoot{name.capitalize()}NS"


def make_directories(options: CriuOptions) -> None:
    """Make the directories of images and work where they are missing. Raises Error."""
    for path in (options.images, options.work):
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError as error:
            raise Error(f"cannot make {path}", errno=error.errno or 0) from None


class Service:
    """`criu swrk`: one request, in a process of its own. Use as a context.

    doing  for errors: "cannot checkpoint the container"
    """

    def __init__(self, doing: str, descriptors: "tuple[int, ...]" = ()) -> None:
        """Start CRIU, which inherits `descriptors` beside stdin, stdout and stderr. Raises Error where it is missing.

        Its own output, if it has any, is not the container's.
        """
        import socket

        self.doing = doing
        # CRIU asks the socket who we are, and finds our descriptors in /proc.
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lib.pyr_close_range(3, 0xFFFFFFFF, 1)
        with theirs:
            try:
                self.pid = os.posix_spawnp(
                    "criu",
                    ["criu", "swrk", str(theirs.fileno())],
                    os.environ,
                    file_actions=[(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (theirs.fileno(), *descriptors)],
                    setsigmask=[],
                    setsigdef=range(1, 32),
                )
            except OSError as error:
                self.socket.close()
                raise Error(
                    doing, "criu", errno=error.errno or 0, advice="install CRIU, or put it into $PATH"
                ) from None
        self._ended = False

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self._wait()

    def _wait(self) -> int:
        """Hang up and wait for its end; return its exit status, negative for a signal."""
        self.socket.close()
        if self._ended:
            return 0
        self._ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def ask(self, kind: int, notified: "Notified | None" = None, **parts: "Message") -> "Message":
        """Make a request of type `kind` and return the response; `notified` is called for each step on the way.

        Raises Error when CRIU fails or goes away, and what `notified` raises; CRIU then gives up.
        """
        self._send({"type": kind, **parts})
        while True:
            response, descriptor = self._receive()
            if response.get("type") != criu_rpc.NOTIFY:
                break
            step = response.get("notify") or {}
            log.debug(f"criu: {step.get('script', '')}")
            try:
                if notified is not None:
                    notified(step.get("script", ""), step.get("pid", 0), descriptor)
            except BaseException:
                self._send({"type": criu_rpc.NOTIFY, "notify_success": False})
                raise
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
            self._send({"type": criu_rpc.NOTIFY, "notify_success": True})
        if not response.get("success"):
            number = response.get("cr_errno", 0)
            raise Error(
                self.doing,
                f"criu failed{': ' if response.get('cr_errmsg') else ''}{response.get('cr_errmsg', '')}",
                errno=abs(number),
            )
        return response

    def _send(self, request: "Message") -> None:
        try:
            self.socket.send(criu_rpc.encode(request, criu_rpc.REQUEST))
        except OSError as error:
            raise Error(self.doing, "criu does not listen", errno=error.errno or 0) from None

    def _receive(self) -> "tuple[Message, int]":
        """Return the next response, and the descriptor that came with it or -1. Raises Error."""
        import socket

        try:
            wire, fds, flags, _ = socket.recv_fds(self.socket, _LONGEST, 4, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise Error(self.doing, "criu does not answer", errno=error.errno or 0) from None
        for fd in fds[1:]:
            os.close(fd)
        try:
            if not wire or flags & socket.MSG_TRUNC:
                raise ValueError
            return criu_rpc.decode(wire, criu_rpc.RESPONSE), fds[0] if fds else -1
        except ValueError:
            for fd in fds[:1]:
                os.close(fd)
        # It has ended, or is about to: nothing else closes the socket.
        status = self._wait()
        raise Error(self.doing, f"criu {'was killed by signal' if status < 0 else 'ended with status'} {abs(status)}")


def check(doing: str, *features: str) -> None:
    """Raise Error unless CRIU is there, new enough, and has `features`: "mem_track", "lazy_pages"."""
    with Service(doing) as service:
        version = service.ask(criu_rpc.VERSION).get("version") or {}
    number = version.get("major_number", 0) * 10000 + version.get("minor_number", 0) * 100 + version.get("sublevel", 0)
    if number < _OLDEST:
        raise Error(doing, f"CRIU has version {number}, and at least {_OLDEST} is needed")
    if features:
        with Service(doing) as service:
            wanted = dict.fromkeys(features, True)
            found = service.ask(criu_rpc.FEATURE_CHECK, features=wanted).get("features") or {}
        missing = [name for name in features if not found.get(name)]
        if missing:
            raise Error(doing, f"CRIU cannot do {', '.join(missing)} on this kernel")


def run(
    kind: int,
    doing: str,
    log_file: str,
    options: CriuOptions,
    request: "Message",
    notified: "Notified",
    *,
    descriptors: "tuple[int, ...]" = (),
    started: "Callable[[int, Message], None] | None" = None,
) -> "Message":
    """Have CRIU carry out `request`, its log going to `log_file` in the work directory; return its response.

    descriptors  what it inherits beside stdin, stdout and stderr
    started      called with CRIU's pid and the request before that is made

    Raises Error when CRIU is missing or fails, with where the log is and what it says.
    """
    path = f"{options.work}/{log_file}"
    opened: list[int] = []
    try:
        for name, directory in (("images_dir_fd", options.images), ("work_dir_fd", options.work)):
            opened.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            request[name] = opened[-1]
        request["log_file"] = log_file
        with Service(doing, descriptors) as service:
            if started is not None:
                started(service.pid, request)
            try:
                return service.ask(kind, notified, opts=request)
            except Error as error:
                if error.doing == doing:
                    error.reason = f"{error.reason}, log file {path}"
                    error.log, error.log_of = _errors(path), "criu's log"
                raise
    except OSError as error:
        raise Error(doing, error.filename or "", errno=error.errno or 0) from None
    finally:
        for fd in opened:
            os.close(fd)


def _errors(path: str) -> str:
    """Return the lines of CRIU's log that say what went wrong."""
    try:
        with open(path, errors="replace") as file:
            lines = [line.strip() for line in file if "Error" in line]
    except OSError:
        return ""
    return "\n".join(lines[-5:])


def save_streams(options: CriuOptions, pid: int) -> None:
    """Note beside the images what process `pid` has for stdin, stdout and stderr, as runc does. Raises Error."""
    from pyruntime.base.jsonio import dumps

    try:
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(f"{options.images}/{_STREAMS}", flags, 0o644), "w") as file:
            file.write(dumps(names))
    except OSError as error:
        raise Error(f"cannot write {options.images}/{_STREAMS}", errno=error.errno or 0) from None


def streams(options: CriuOptions) -> "list[str]":
    """Return what `save_streams` noted. Raises Error where there is no such note: then there are no images either."""
    from pyruntime.base.jsonio import loads

    path = f"{options.images}/{_STREAMS}"
    try:
        with open(path) as file:
            names: Any = loads(file.read())
    except (OSError, ValueError) as error:
        raise Error(f"cannot read {path}", str(error), advice="is --image-path what checkpoint was given?") from None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
