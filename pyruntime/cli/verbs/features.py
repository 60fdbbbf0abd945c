"""`features`: print what this build of pyruntime supports (features.md)."""

from pyruntime.base.jsonio import dumps
from pyruntime.cli.output import write
from pyruntime.operations.features import features

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Print the features structure as JSON."""
    write(dumps(features(), indent=4) + "\n")
    return 0
