"""The delete operation (runtime.md#delete): it removes what create made."""

import select

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.store import container as containers
from pyruntime.store import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.spec.json_types import StateFile
    from pyruntime.store.container import Container

_CLAUSE = "runtime.md#delete"
_KILL = 9
_PATIENCE = 10.0  # seconds for killed processes to end
_MOMENT = 0.1  # seconds in which a killed process may appear neither killed nor ended
_USUALLY = 0.5  # seconds in which a killed process ends, unless something holds it


def delete(root: str, container_id: str, force: bool) -> None:
    """Delete a stopped container; with `force` also kill and delete a running one, or one with a damaged state.

    With `force`, a create or start that still runs, for example because a hook hangs, is killed first.

    root  directory of the states, absolute

    Raises Error when the container is not stopped; with `force` a container that does not exist is no error, as with
    runc.

    Upholds runtime.md#delete/not-stopped.
    """
    try:
        container = containers.open_container(root, container_id)
    except containers.Unknown:
        if force and not os.path.lexists(f"{root}/{container_id}"):
            return
        raise
    with container:
        if not force:
            if not container.try_lock():
                # Its create or start runs, and may wait for a hook: the answer need not.
                state = container.read()
                _refuse_unless_stopped(container_id, state, container.status(state))
                container.lock()
            elif container.is_deleted():
                raise containers.unknown(container_id)
        elif not _lock_by_force(container):
            return
        try:
            state = container.read()
        except Error as damaged:
            if not force:
                raise
            _destroy_damaged(container, damaged)
            return
        status = container.status(state) if state is not None else "stopped"
        if log.events is not None:
            log.events.done(f"lock {container.path} and read the state: {status}")
        if status == "creating":
            # This process holds the lock, so the creating process has exited.
            status = "stopped"
        if not force:
            _refuse_unless_stopped(container_id, state, status)
        destroy(container, state)


def _refuse_unless_stopped(container_id: str, state: "StateFile | None", status: str) -> None:
    """Raise Error unless the container of this status has ended, or is killed and ends now."""
    if status == "stopped":
        return
    if state is not None and status in ("created", "running", "paused") and _is_ending(state, status == "paused"):
        return
    raise Error(f"cannot delete container {container_id!r}", f"it is {status}, not stopped", clause=_CLAUSE)


def _is_ending(state: "StateFile", paused: bool) -> bool:
    """Tell whether init has been killed; if so, wait for its end, which may take long on a busy machine.

    paused  it is frozen: in the freezer of v2 it ends all the same, in that of v1 only when it is thawed

    Between the signal and the end it may look alive, and after it has closed its descriptors it may look started.
    """
    pidfd = lib.pyr_pidfd_open(state["pid"])
    if pidfd < 0:
        return True
    try:
        if not process.alive(state["pid"], state["start_time"]):
            return True
        if process.is_killed(state["pid"]):
            return _has_ended(pidfd, _USUALLY if paused else _PATIENCE)
        return not paused and _has_ended(pidfd, _MOMENT)
    finally:
        os.close(pidfd)


def delete_own(container: "Container", state: "StateFile | None") -> None:
    """Delete by force the container that this process has made; closes its directory, which was kept open.

    If another container has got the id since, it has another directory and is not changed. Raises Error.
    """
    with container:
        if _lock_by_force(container):
            destroy(container, state)


def _lock_by_force(container: "Container") -> bool:
    """Take the lock, and kill the verb that has it; return False if the container was deleted meanwhile. Raises Error.

    Init has the lock, too, until it is complete. If its creator is killed it ends, unless it is stopped or frozen.
    """
    if not container.try_lock():
        pyruntime.store.lock_holder.evict(container.fd)
        if not container.lock_within(_USUALLY):
            first = container.read_first()
            if first is not None and first["cgroup"]:
                cgroups.open(first["cgroup"]).kill_all(_KILL)
            if not container.lock_within(_PATIENCE):
                raise Error(
                    f"cannot delete container {container.container_id!r}",
                    "a process that has its lock does not end",
                    clause=_CLAUSE,
                )
    return not container.is_deleted()


def _destroy_damaged(container: "Container", damaged: Error) -> None:
    """Remove a container whose state.json cannot be read, by the state that was written before it was made."""
    first = container.read_first()
    if first is None:
        log.warning(f"{damaged}: its cgroup and processes, if any, are left")
        container.remove()
    else:
        log.warning(f"{damaged}: going by what was written before the container was made")
        # This state has no pid of init, but the cgroup that init is in.
        destroy(container, first)


def destroy(container: "Container", state: "StateFile | None") -> None:
    """Kill the container's processes, remove its cgroup and state, run its poststop hooks. The caller has the lock.

    Upholds runtime.md#lifecycle/destroyed, runtime.md#delete/resources-deleted,
    runtime.md#delete/foreign-resources-kept, config.md#poststop/when.
    """
    if state is not None:
        cgroup = cgroups.open(state["cgroup"]) if state["cgroup"] else None
        _end_init(state, cgroup)
        if cgroup is not None:
            # Somebody else made these groups, and they stay.
            others = {*cgroup.paths.values()} - {*cgroup.made} if cgroup.unit is None else set()
            if not cgroup.remove_empty() and cgroup.pids():
                cgroup.kill_all(_KILL)
                cgroup.wait_empty(_PATIENCE)
            cgroup.remove()
            if others and cgroup.frozen:
                # Frozen, they would refuse the next container.
                cgroup.thaw()
        mounted = state.get("root_mount")
        if mounted:
            pyruntime.engine.root_mount.remove(mounted)
        if state.get("intel_rdt"):
            pyruntime.engine.intel_rdt.remove(state["intel_rdt"])
    container.remove()
    if log.events is not None:
        log.events.done(f"remove {container.path}")
    if state is not None and state["hooks"].get("poststop"):
        _poststop(state)


def _end_init(state: "StateFile", cgroup: "Cgroup | None") -> None:
    """Kill init if it is alive and wait until it has ended; the kernel kills the rest of its pid namespace."""
    pid = state["pid"]
    if pid <= 0:
        return
    pidfd = lib.pyr_pidfd_open(pid)
    if pidfd < 0:
        return
    try:
        if process.alive(pid, state["start_time"]):
            lib.pyr_pidfd_send_signal(pidfd, _KILL)
            if log.events is not None:
                log.events.done(f"send SIGKILL to init, process {pid}")
            if cgroup is not None and cgroup.let_die():
                cgroup.kill_all(_KILL)
            if not _has_ended(pidfd, _USUALLY):
                if cgroup is not None:
                    # It is frozen again, or in a group that is not the container's, by itself or by another process.
                    cgroup.kill_all(_KILL)
                    cgroup.fetch(pid)
                if not _has_ended(pidfd, _PATIENCE):
                    raise Error(
                        f"cannot delete container {state['id']!r}", f"process {pid} does not end", clause=_CLAUSE
                    )
    finally:
        os.close(pidfd)


def _has_ended(pidfd: int, seconds: float) -> bool:
    """Wait at most `seconds` for the end of the process; return whether it has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if log.events is not None:
        log.events.begin("wait for the end of init", "kernel")
    ended = bool(os.call(poll.poll, seconds * 1000))
    if log.events is not None:
        log.events.end()
    return ended


def _poststop(state: "StateFile") -> None:
    """Run the poststop hooks; one that fails is a warning (runtime.md#lifecycle, step 13).

    Upholds runtime.md#lifecycle/poststop, runtime.md#lifecycle/poststop-fails,
    config.md#posix-platform-hooks/poststop-namespace.
    """
    for step in pyruntime.plan.hooks.hooks({"hooks": state["hooks"]}, "poststop"):
        try:
            pyruntime.protocol.run_hooks.run_one(step, pyruntime.operations.state.spec_state(state, "stopped"))
        except Error as error:
            log.warning(str(error))
