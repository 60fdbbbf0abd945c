"""`kill ID [SIGNAL]`: send a signal to a container (runtime.md#kill)."""

from pyruntime.base import signals
from pyruntime.cli.state_root import state_root
from pyruntime.operations.kill import kill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Send the signal to the container; SIGTERM when none is named."""
    container_id, *rest = line.arguments
    signal = signals.parse(rest[0]) if rest and rest[0] else signals.NUMBERS["TERM"]
    kill(state_root(line.shared["root"]), container_id, signal, line.options["all"])
    return 0
