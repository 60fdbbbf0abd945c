"""`restore ID`: make a container from the images of a checkpoint."""

from pyruntime.base import lean_os as os
from pyruntime.cli.state_root import state_root
from pyruntime.cli.verbs.checkpoint import criu_options
from pyruntime.engine.caller.options import CreateOptions
from pyruntime.operations.restore import restore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Restore the container named by the argument; return its exit status, 0 with --detach."""
    options = line.options
    create = CreateOptions(
        root=state_root(line.shared["root"]),
        bundle=os.path.abspath(options["bundle"] or "."),
        console_socket=os.path.abspath(options["console-socket"]) if options["console-socket"] else None,
        pid_file=os.path.abspath(options["pid-file"]) if options["pid-file"] else None,
        no_pivot=options["no-pivot"],
        no_new_keyring=True,
        systemd_cgroup=line.shared["systemd-cgroup"],
    )
    images = criu_options(line)
    subreaper = not options["no-subreaper"]
    return restore(line.arguments[0], create, images, detach=options["detach"], subreaper=subreaper)
