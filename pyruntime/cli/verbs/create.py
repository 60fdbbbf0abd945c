"""`create ID`: create a container whose process waits for `start`."""

from pyruntime.cli.create_options import create_options
from pyruntime.operations.create import create

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Create the container named by the argument."""
    create(line.arguments[0], create_options(line))
    return 0
