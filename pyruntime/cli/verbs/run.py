"""`run ID`: create, start, and without --detach wait for a container and delete it."""

from pyruntime.cli.create_options import create_options
from pyruntime.engine.terminal import foreground
from pyruntime.operations.run import finish, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Run the container named by the argument; return its exit status, 0 with --detach."""
    options = line.options
    ended = foreground.ended()
    if ended is not None:
        return finish(line.arguments[0], ended, keep=options["keep"])
    wanted = create_options(line)
    wanted.report_fd = options["report-fd"] or -1
    return run(
        line.arguments[0],
        wanted,
        detach=options["detach"],
        keep=options["keep"],
        subreaper=not options["no-subreaper"],
    )
