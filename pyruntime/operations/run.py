"""`run`: create and start a container; in the foreground also wait for it, relay its terminal, and delete it."""

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.engine.caller.options import CreateOptions
from pyruntime.engine.terminal import foreground
from pyruntime.operations.create import begin, make
from pyruntime.operations.delete import delete_own
from pyruntime.operations.start import start_created
from pyruntime.store.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.operations.create import Creation
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.json_types import Config, StateFile


def run(container_id: str, options: CreateOptions, *, detach: bool, keep: bool, subreaper: bool = True) -> int:
    """Run the container; return the exit status of its process (128+n for a signal), or 0 at once with `detach`.

    detach     return when the program runs
    keep       leave the stopped container instead of deleting it
    subreaper  in the foreground, wait for orphaned descendants of the container's process (prctl(2))

    Raises Error when it cannot be created or started; then nothing of it is left.
    """
    if options.report_fd >= 0:
        return pyruntime.engine.caller.report.reported(
            options.report_fd, lambda: _accompanied(container_id, options, keep, subreaper)
        )
    if detach:
        creation = make(container_id, options, begin(container_id, options), at_once=True)
        try:
            start_created(creation.container, creation.state, creation.child.take_sync(), accompanied=False)
        except BaseException:
            _give_up(creation)
            raise
        creation.child.close()
        creation.container.close()
        return 0
    return _accompanied(container_id, options, keep, subreaper)


def _accompanied(container_id: str, options: CreateOptions, keep: bool, subreaper: bool) -> int:
    foreground.check_console(options)
    prepared = begin(container_id, options)
    return foreground.accompany(subreaper, lambda: _run_in_foreground(container_id, options, prepared, keep))


# Keeps the last creation: freeing it would only take time and copy pages, because this process exits anyway.
_made: "list[Creation]" = []


def _run_in_foreground(
    container_id: str, options: CreateOptions, prepared: "tuple[Config, Plan, bytes]", keep: bool
) -> int:
    """Create and start the container, wait for its end, and delete it unless `keep`; return its exit status."""
    creation, master = foreground.with_terminal(options, lambda: make(container_id, options, prepared, at_once=True))
    _made[:] = [creation]
    child = creation.child
    try:
        if foreground.check_master(master):
            foreground.prepare(master)
        start_created(creation.container, creation.state, creation.child.take_sync(), accompanied=True)
        if options.report_fd >= 0:
            pyruntime.engine.caller.report.started(options.report_fd, child, cgroups.open(creation.state["cgroup"]))
        paths = creation.state["cgroup"].get("paths") or {}
        leave = None if options.report_fd >= 0 else keep
        status = foreground.follow(
            *(child.pidfd, child.pid, master, paths, creation.container.fd),
            leave=leave,
            filtered=bool(creation.plan.filter),
        )
    except BaseException:
        _give_up(creation)
        raise
    finally:
        child.close()
    used = {}
    if options.report_fd >= 0:
        used = pyruntime.engine.caller.report.usage(cgroups.open(creation.state["cgroup"]))
    if not keep:
        _delete(creation.container, creation.state)
    if options.report_fd >= 0:
        pyruntime.engine.caller.report.ended(options.report_fd, status, used)
    return status


def finish(container_id: str, ended: foreground.Ended, *, keep: bool) -> int:
    """Do what is left of `run` in a process that was executed when the container's process had ended; return the exit
    status. Raises Error when the container cannot be deleted.
    """
    if not keep:
        # Not the path that the options tell: it may depend on a working directory that is gone by now.
        path = os.readlink(f"/proc/self/fd/{ended.directory}")
        container = Container(path, container_id, ended.directory)
        _delete(container, container.read())
    return ended.status


def _delete(container: Container, state: "StateFile | None") -> None:
    """Delete the container by force, because processes may be left if it has no pid namespace of its own."""
    try:
        delete_own(container, state)
    except Error as error:
        error.advice = error.advice or f"pyruntime delete --force {container.container_id} removes what is left"
        raise


def _give_up(creation: "Creation") -> None:
    """Delete a container that cannot be started or waited for."""
    if creation.options.pid_file:
        pyruntime.engine.caller.pid_file.remove_pid_file(creation.options.pid_file)
    try:
        delete_own(creation.container, creation.state)
    except Error as error:
        log.warning(str(error))
