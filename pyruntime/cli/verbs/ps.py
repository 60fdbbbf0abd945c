"""`ps ID [PS-OPTION...]`: the processes in a container, as the host's ps shows them."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.base.jsonio import dumps
from pyruntime.cli.output import write
from pyruntime.cli.state_root import state_root
from pyruntime.host import programs
from pyruntime.operations.ps import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine

# Signals that the launcher ignores, and a program does not expect to: SIGPIPE, SIGXFSZ.
_IGNORED = (13, 25)


def main(line: "CommandLine") -> int:
    """Print the table, or the ids as JSON."""
    container_id, *options = line.arguments
    pids = processes(state_root(line.shared["root"]), container_id)
    if line.options["format"] == "json":
        write(dumps(pids, compact=True) + "\n")
    else:
        write(_chosen(_ps(options or ["-ef"]), pids))
    return 0


def _ps(options: "list[str]") -> str:
    """Return what ps prints. Raises Error when it fails, with what it says."""
    path = programs.need("ps")
    # subprocess would do it in a line, and start the rest of the interpreter for that (embedded.py).
    reader, writer = os.pipe()
    streams = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, writer, 2)]
    try:
        pid = os.posix_spawn(path, ["ps", *options], os.environ, file_actions=streams, setsigdef=_IGNORED)
    except OSError as error:
        os.close(reader)
        raise Error("cannot run ps", errno=error.errno or 0) from None
    finally:
        os.close(writer)
    pieces = []
    while piece := os.read(reader, 1 << 16):
        pieces.append(piece)
    os.close(reader)
    output = b"".join(pieces).decode("utf-8", "surrogateescape")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise Error(f"ps {' '.join(options)} failed", f"exit status {status}", log=output.strip())
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
