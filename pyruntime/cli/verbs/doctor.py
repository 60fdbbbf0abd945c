"""`doctor`: print what this host can do and what it lacks, and change nothing."""

from pyruntime.base.jsonio import dumps
from pyruntime.base.printable import printable
from pyruntime.cli.output import write
from pyruntime.operations.doctor import FAULT, examine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine
    from pyruntime.operations.doctor import Finding


def main(line: "CommandLine") -> int:
    """Print what is found for the calling user; return 1 where something keeps containers from running."""
    found = examine()
    write(dumps([finding.members() for finding in found], indent=2) + "\n" if line.options["json"] else _table(found))
    return 1 if any(finding.status == FAULT for finding in found) else 0


def _table(found: "list[Finding]") -> str:
    """Return a line for each finding; below it what it means and what helps."""
    width = max(len(finding.subject) for finding in found)
    lines = []
    for one in found:
        lines.append(f"{one.status:<5}  {one.subject:<{width}}  {one.found}")
        lines += [
            f"{'':{width + 9}}{text}" for text in (one.consequence, one.remedy and f"remedy: {one.remedy}") if text
        ]
    return printable("\n".join(lines), "\n") + "\n"
