"""The caller's options for a container, beside its bundle."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error


class CreateOptions:
    """The caller's options for a container, beside its bundle.

    root            state root, absolute
    bundle          the bundle's directory, absolute
    console_socket  path of the socket that receives the terminal's master, or None
    console_fd      instead of it: a connected socket, taken over, or -1
    pidfd_socket    path of the socket that receives a pidfd of init, or None
    pid_file        where to write init's pid, or None
    no_pivot        change the root without pivot_root(2)
    no_new_keyring  stay in the caller's session keyring
    keyring         name of the session keyring, "" for none; made by create
    preserve_fds    how many descriptors from 3 on the container's process inherits
    systemd_cgroup  let systemd make the cgroup
    notify          the container tells the service manager when it is ready (notify_socket.py); set by create
    report_fd       socket on which `run` sends start, end and resource usage (engine/caller/report.py), or -1
    rootless        "true", "false", "auto" or None; accepted because callers of runc pass it, and without effect
    """

    __slots__ = (
        "bundle",
        "console_fd",
        "console_socket",
        "keyring",
        "no_new_keyring",
        "no_pivot",
        "notify",
        "pid_file",
        "pidfd_socket",
        "preserve_fds",
        "report_fd",
        "root",
        "rootless",
        "systemd_cgroup",
    )

    def __init__(
        self,
        root: str,
        bundle: str,
        *,
        console_socket: str | None = None,
        console_fd: int = -1,
        pid_file: str | None = None,
        pidfd_socket: str | None = None,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        preserve_fds: int = 0,
        report_fd: int = -1,
        systemd_cgroup: bool = False,
        rootless: str | None = None,
    ) -> None:
        self.root = root
        self.bundle = bundle
        self.console_socket = console_socket
        self.console_fd = console_fd
        self.pid_file = pid_file
        self.pidfd_socket = pidfd_socket
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.keyring = ""
        self.preserve_fds = preserve_fds
        self.report_fd = report_fd
        self.systemd_cgroup = systemd_cgroup
        self.rootless = rootless
        self.notify = False

    def check_bundle(self) -> None:
        """Raise Error if the state, which is JSON, cannot have the bundle's path: it must be UTF-8 (RFC 8259, 8.1)."""
        try:
            self.bundle.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(self.bundle).decode(errors="backslashreplace")
            raise Error(f"the bundle's path {shown} is not UTF-8", clause="runtime.md#state") from None
