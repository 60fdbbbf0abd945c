"""The engine's options for the command lines of create and run."""

from pyruntime.base import lean_os as os
from pyruntime.cli.state_root import state_root
from pyruntime.engine.caller.options import CreateOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def create_options(line: "CommandLine") -> CreateOptions:
    """Return the engine's options for `line`, with every path made absolute: nothing later depends on where we are."""
    options, shared = line.options, line.shared
    return CreateOptions(
        root=state_root(shared["root"]),
        bundle=os.path.abspath(options["bundle"] or "."),
        console_socket=_absolute(options["console-socket"]),
        pid_file=_absolute(options["pid-file"]),
        pidfd_socket=_absolute(options["pidfd-socket"]),
        no_pivot=options["no-pivot"],
        no_new_keyring=options["no-new-keyring"],
        preserve_fds=options["preserve-fds"],
        systemd_cgroup=shared["systemd-cgroup"],
        rootless=shared["rootless"],
    )


def _absolute(path: str) -> str | None:
    return os.path.abspath(path) if path else None
