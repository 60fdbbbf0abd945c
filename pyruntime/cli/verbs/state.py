"""`state ID`: print the state of a container (runtime.md#query-state)."""

from pyruntime.base.jsonio import dumps
from pyruntime.cli.output import write
from pyruntime.cli.state_root import state_root
from pyruntime.operations.state import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Print the state of the container named by the argument."""
    write(dumps(state(state_root(line.shared["root"]), line.arguments[0]), indent=2) + "\n")
    return 0
