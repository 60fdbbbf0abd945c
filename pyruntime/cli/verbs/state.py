"""`state ID`: print the state of a container (runtime.md#query-state)."""

from pyruntime.cli.output import write
from pyruntime.cli.root import state_root
from pyruntime.engine.state import state
from pyruntime.jsonio import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Print the state of the container named by the argument."""
    write(dumps(state(state_root(line.shared["root"]), line.arguments[0]), indent=2) + "\n")
    return 0
