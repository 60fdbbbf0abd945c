"""`--version`: lines that callers of runc parse.

dockerd takes the words around "version" on any line and what follows "commit:"; go-runc what follows "spec: ".
So the word "version" stands on the first line only.
"""

import sys

from pyruntime import SPEC_VERSION, __version__
from pyruntime.base._build import WHY_NO_SNAPSHOT
from pyruntime.cli.output import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Print the versions of pyruntime, of the runtime-spec and of Python, and how this build starts."""
    start = f"interpreter ({WHY_NO_SNAPSHOT})" if WHY_NO_SNAPSHOT else "snapshot"
    python = ".".join(str(part) for part in sys.version_info[:3])
    write(f"pyruntime version {__version__}\nspec: {SPEC_VERSION}\npython: {python}\nstart: {start}\n")
    return 0
