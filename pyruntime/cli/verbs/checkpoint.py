"""`checkpoint ID`: write a container's processes into images."""

from pyruntime.base import lean_os as os
from pyruntime.cli.parse import UsageError
from pyruntime.cli.state_root import state_root
from pyruntime.engine.criu.options import FLAGS, CriuOptions
from pyruntime.operations.checkpoint import checkpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Checkpoint the container named by the argument."""
    before = line.options["pre-dump"]
    checkpoint(state_root(line.shared["root"]), line.arguments[0], criu_options(line), before=before)
    return 0


def criu_options(line: "CommandLine") -> CriuOptions:
    """Return the engine's options for `line`, with every path made absolute. Raises UsageError."""
    options = line.options
    parent = options.get("parent-path", "")
    if parent.startswith("/"):
        raise UsageError(f"--parent-path {parent}", "the value must be relative to --image-path")
    status_fd = options.get("status-fd", "")
    if status_fd and not (status_fd.removeprefix("-").isdecimal()):
        raise UsageError(f"--status-fd {status_fd}", "the value must be the number of a descriptor")
    return CriuOptions(
        os.path.abspath(options["image-path"] or "checkpoint"),
        os.path.abspath(options["work-path"]) if options["work-path"] else "",
        parent=parent,
        flags=tuple(name for name in FLAGS if options.get(name)),
        cgroups=options["manage-cgroups-mode"],
        empty=options["empty-ns"],
        page_server=options.get("page-server", ""),
        status_fd=int(status_fd or -1),
        network_lock=options["network-lock"],
        lsm_profile=options.get("lsm-profile", ""),
        lsm_context=options.get("lsm-mount-context", ""),
    )
