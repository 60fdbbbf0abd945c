"""The caller's options for checkpoint and restore, and the options of a request to CRIU for them (criu(8))."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.engine.criu import rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.criu.rpc import Message

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
_CONFIG_ANNOTATION = "org.criu.config"
_CONFIG_FILE = "/etc/criu/runc.conf"  # runc's directory
_CLONE_NEWNET = 0x40000000
_LOG_LEVEL = 4


class CriuOptions:
    """The caller's options for images.

    images      directory of the images, absolute
    work        directory of CRIU's log and other files, absolute; that of the images by default
    parent      directory of the images before, relative to `images`, or ""
    flags       which of FLAGS are given
    cgroups     how CRIU treats cgroups: soft, full, strict, ignore; "" for CRIU's choice
    empty       namespaces to leave empty: "network", which is always left so
    network_lock   how the network is locked: iptables, nftables, skip; "" for the first
    page_server, lsm_profile, lsm_context   as CRIU takes them; "" for none
    status_fd   descriptor to which a byte is written when lazy pages are ready, or -1
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
        if self.cgroups not in rpc.CGROUP_MODES:
            known = ", ".join(filter(None, rpc.CGROUP_MODES))
            raise Error(f"--manage-cgroups-mode {self.cgroups}", f"the value must be one of {known}")
        for name in self.empty:
            if name != "network":
                raise Error(f"--empty-ns {name}", "CRIU can leave only the network namespace empty")
        options: Message = {
            "log_level": _LOG_LEVEL,
            "notify_scripts": True,
            "orphan_pts_master": True,
            "manage_cgroups": True,
            "manage_cgroups_mode": rpc.CGROUP_MODES[self.cgroups],
            # Network devices are not saved: hooks make them again.
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
            options["network_lock"] = rpc.NETWORK_LOCKS[self.network_lock]
        config = annotations.get(_CONFIG_ANNOTATION, _CONFIG_FILE)
        if config:
            options["config_file"] = config
        return options


def make_directories(options: CriuOptions) -> None:
    """Make the directories of images and work where they are missing. Raises Error."""
    for path in (options.images, options.work):
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError as error:
            raise Error(f"cannot make {path}", errno=error.errno or 0) from None
