"""`start ID`: let the process of a created container run."""

from pyruntime.cli.state_root import state_root
from pyruntime.operations.start import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Start the container named by the argument."""
    start(state_root(line.shared["root"]), line.arguments[0])
    return 0
