"""`ps ID [PS-OPTION...]`: the processes in a container, as the host's ps shows them."""

from pyruntime.cli.output import write
from pyruntime.cli.root import state_root
from pyruntime.engine.processes import processes
from pyruntime.errors import Error
from pyruntime.jsonio import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Print the table, or the ids as JSON."""
    container_id, *options = line.arguments
    pids = processes(state_root(line.shared["root"]), container_id)
    if line.options["format"] == "json":
        write(dumps(pids) + "\n")
    else:
        write(_chosen(_ps(options or ["-ef"]), pids))
    return 0


def _ps(options: "list[str]") -> str:
    """Return what ps prints. Raises Error when it fails, with what it says."""
    import subprocess

    try:
        done = subprocess.run(["ps", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        raise Error("cannot run ps", errno=error.errno or 0) from None
    output = done.stdout.decode("utf-8", "surrogateescape")
    if done.returncode:
        raise Error(f"ps {' '.join(options)} failed", f"exit status {done.returncode}", log=output.strip())
    return output


def _chosen(table: str, pids: "list[int]") -> str:
    """Return the title of the table and its lines about `pids`. Raises Error where it does not tell pids."""
    title, *lines = table.split("\n")
    titles = title.split()
    if "PID" not in titles:
        raise Error("cannot choose the container's processes", "couldn't find PID field in ps output")
    place = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    # A column before may hold words of its own: then the line says something else there.
    kept = [line for line in lines if len(words := line.split()) > place and words[place] in wanted]
    return "".join(f"{line}\n" for line in [title, *kept])
