"""`run`: create and start a container; in the foreground also wait for it, relay its terminal, and delete it."""

from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.engine.caller.options import CreateOptions
from pyruntime.engine.terminal import foreground
from pyruntime.operations.create import make
from pyruntime.operations.delete import delete_own
from pyruntime.operations.start import start_created

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.operations.create import Creation


def run(container_id: str, options: CreateOptions, *, detach: bool, keep: bool, subreaper: bool = True) -> int:
    """Run the container; return the exit status of its process (128+n for a signal), or 0 at once with `detach`.

    keep       leave the stopped container instead of deleting it
    subreaper  in the foreground, wait for orphaned descendants of the container's process (prctl(2))

    Raises Error when it cannot be created or started; then nothing of it is left.
    """
    if options.report_fd >= 0:
        from pyruntime.engine.caller import report

        return report.reported(options.report_fd, lambda: _accompanied(container_id, options, keep, subreaper))
    if detach:
        creation = make(container_id, options, at_once=True)
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
    return foreground.accompany(options, subreaper, lambda: _run_in_foreground(container_id, options, keep))


# Keeps the last creation: freeing it would only take time and copy pages, because this process exits anyway.
_made: "list[Creation]" = []


def _run_in_foreground(container_id: str, options: CreateOptions, keep: bool) -> int:
    """Create and start the container, wait for its end, and delete it unless `keep`; return its exit status."""
    if options.report_fd >= 0:
        from pyruntime.engine.caller import report
    creation, master = foreground.with_terminal(options, lambda: make(container_id, options, at_once=True))
    _made[:] = [creation]
    child = creation.child
    try:
        if master >= 0:
            foreground.prepare(master)
        start_created(creation.container, creation.state, creation.child.take_sync(), accompanied=True)
        if options.report_fd >= 0:
            report.started(options.report_fd, child, cgroups.open(creation.state["cgroup"]))
        paths = creation.state["cgroup"].get("paths") or {}
        status = foreground.follow(child.pidfd, child.pid, master, paths)
    except BaseException:
        _give_up(creation)
        raise
    finally:
        child.close()
    used = report.usage(cgroups.open(creation.state["cgroup"])) if options.report_fd >= 0 else {}
    if not keep:
        try:
            # By force, because processes may be left if the container has no pid namespace of its own.
            delete_own(creation.container, creation.state)
        except Error as error:
            error.advice = error.advice or f"pyruntime delete --force {container_id} removes what is left"
            raise
    if options.report_fd >= 0:
        report.ended(options.report_fd, status, used)
    return status


def _give_up(creation: "Creation") -> None:
    """Delete a container that cannot be started or waited for."""
    try:
        delete_own(creation.container, creation.state)
    except Error as error:
        log.warning(str(error))
