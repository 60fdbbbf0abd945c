"""`delete ID`: remove a container and all that was made for it (runtime.md#delete)."""

from pyruntime.cli.state_root import state_root
from pyruntime.operations.delete import delete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Delete the container named by the argument."""
    delete(state_root(line.shared["root"]), line.arguments[0], line.options["force"])
    return 0
