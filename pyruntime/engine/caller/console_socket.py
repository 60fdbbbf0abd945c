"""The socket over which the master of a container's terminal is sent (config.md#process, `terminal`)."""

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.caller.options import CreateOptions
    from pyruntime.spec.json_types import Config


def connect(config: "Config", options: "CreateOptions") -> int:
    """Return a socket connected to --console-socket, or -1 without terminal. Raises Error."""
    if not (config.get("process") or {}).get("terminal"):
        if options.console_fd >= 0:
            os.close(options.console_fd)
        if options.console_socket:
            raise Error(
                "cannot send a terminal to the console socket",
                "the container has none",
                pointer="/process/terminal",
                clause="config.md#process",
                advice="leave out --console-socket, or set process.terminal to true",
            )
        return -1
    if options.console_fd >= 0:
        return options.console_fd
    if not options.console_socket:
        raise Error(
            "cannot make a terminal that nobody takes",
            "no console socket was given",
            pointer="/process/terminal",
            clause="config.md#process",
            advice="pass --console-socket, or set process.terminal to false",
        )
    sock = open_socket(options.console_socket)
    if sock < 0:
        raise Error(f"cannot connect to the console socket {options.console_socket}", errno=-sock)
    return sock


def open_socket(path: str) -> int:
    """Return a connection to the Unix socket at `path`, or -errno."""
    folder, name = os.path.split(path)
    directory = -1
    try:
        # By descriptor, because a socket's address holds only 107 bytes of path.
        directory = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return lib.pyr_connect(os.fsencode(f"/proc/self/fd/{directory}/{name}"))
    except OSError as error:
        return -(error.errno or 1)
    finally:
        if directory >= 0:
            os.close(directory)
