"""`validate`: check config.json, and do nothing else."""

from pyruntime import SPEC_VERSION
from pyruntime.base import lean_os as os
from pyruntime.cli.output import write
from pyruntime.spec import load_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Load the bundle's config.json; InvalidConfig with every problem when it is not valid."""
    bundle = os.path.abspath(line.options["bundle"] or ".")
    load_config(bundle)
    write(f"{os.path.join(bundle, 'config.json')}: valid (runtime-spec {SPEC_VERSION})\n")
    return 0
