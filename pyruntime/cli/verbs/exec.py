"""`exec ID COMMAND`: run one more process in a container."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cli.parse import UsageError
from pyruntime.cli.state_root import state_root
from pyruntime.engine.caller.exec_options import ExecOptions
from pyruntime.engine.terminal import foreground
from pyruntime.operations.exec import exec_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine

_FAILED = 255  # as runc: lower numbers are the process's own


def main(line: "CommandLine") -> int:
    """Run the process; return its exit status, 0 with --detach."""
    container_id, *args = line.arguments
    ended = foreground.ended()
    if ended is not None:
        return ended.status
    try:
        return exec_process(state_root(line.shared["root"]), container_id, _options(line, args))
    except Error as error:
        error.status = _FAILED
        raise


def _options(line: "CommandLine", args: "list[str]") -> ExecOptions:
    options = line.options
    if bool(args) == bool(options["process"]):
        raise UsageError("exec takes a command, or --process", advice="see `pyruntime exec --help`")
    groups = options["additional-gids"]
    wrong = [group for group in groups if not (group.isascii() and group.isdigit() and int(group) < 2**32 - 1)]
    if wrong:
        raise UsageError(f"--additional-gids {wrong[0]}", "the value must be the number of a group")
    return ExecOptions(
        args,
        process_file=_absolute(options["process"]),
        cwd=options["cwd"] or None,
        user=options["user"] or None,
        apparmor=options["apparmor"] or None,
        process_label=options["process-label"] or None,
        env=options["env"],
        additional_gids=tuple(int(group) for group in groups),
        capabilities=options["cap"],
        no_new_privs=True if options["no-new-privs"] else None,
        terminal=options["tty"],
        detach=options["detach"],
        console_socket=_absolute(options["console-socket"]),
        pid_file=_absolute(options["pid-file"]),
        pidfd_socket=_absolute(options["pidfd-socket"]),
        preserve_fds=options["preserve-fds"],
        cgroups=options["cgroup"],
        ignore_paused=options["ignore-paused"],
    )


def _absolute(path: str) -> str | None:
    return os.path.abspath(path) if path else None
