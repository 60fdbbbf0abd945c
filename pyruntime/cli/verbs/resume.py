"""`resume ID`: thaw the processes of a paused container."""

from pyruntime.cli.state_root import state_root
from pyruntime.operations.pause import resume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Thaw the container named by the argument."""
    resume(state_root(line.shared["root"]), line.arguments[0])
    return 0
