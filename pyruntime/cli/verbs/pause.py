"""`pause ID`: freeze every process in a container."""

from pyruntime.cli.state_root import state_root
from pyruntime.operations.pause import pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Freeze the container named by the argument."""
    pause(state_root(line.shared["root"]), line.arguments[0])
    return 0
