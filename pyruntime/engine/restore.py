"""`restore`: a container made from the images of a checkpoint, by CRIU (runc's verb; no clause)."""

import os

from pyruntime import cgroup as cgroups
from pyruntime import log
from pyruntime._stub import lib
from pyruntime.engine import criu, foreground
from pyruntime.engine.create import new_state, prepare
from pyruntime.engine.delete import delete
from pyruntime.engine.record import now, write_pid_file
from pyruntime.engine.undo import Undo
from pyruntime.errors import Error
from pyruntime.store import container as containers
from pyruntime.store.process import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.criu import CriuOptions
    from pyruntime.engine.options import CreateOptions
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.types import Config

_KILL = 9
_ROOT = "criu-root"
_PID = "criu.pid"


def restore(
    container_id: str, options: "CreateOptions", images: "CriuOptions", *, detach: bool, subreaper: bool
) -> int:
    """Restore the container; return the exit status of its process (128+n for a signal), or 0 at once with `detach`.

    Raises Error when it cannot be restored; then nothing of it is left.
    """
    if detach:
        _restore(container_id, options, images)
        return 0
    if subreaper:
        lib.pyr_prctl(lib.PR_SET_CHILD_SUBREAPER, 1, 0)
    mask = foreground.hold_signals()
    try:
        pid = _restore(container_id, options, images)
        pidfd = os.pidfd_open(pid)
        try:
            status = foreground.wait(pidfd, pid)
        finally:
            os.close(pidfd)
        delete(options.root, container_id, True)
        return status
    finally:
        foreground.release_signals(mask)


def _restore(container_id: str, options: "CreateOptions", images: "CriuOptions") -> int:
    """Make the container and return the pid of its init, a child of this process. Raises Error."""
    containers.check_id(container_id)
    config, plan = prepare(container_id, options)
    if (config.get("process") or {}).get("terminal"):
        raise Error(
            "cannot restore the container",
            "CRIU's command line cannot give it a terminal",
            pointer="/process/terminal",
            advice="containers without a terminal can be restored",
        )
    for warning in plan.warnings:
        log.warning(warning)
    streams = criu.streams(images)
    with Undo() as undo:
        container = containers.create(options.root, container_id)
        undo.push(container.close)
        undo.push(container.remove)
        rootfs = os.path.join(options.bundle, next(step.args["source"] for step in plan.build if step.op == "root"))
        cgroup = cgroups.prepare(plan.cgroup)
        state = new_state(container_id, config, options)
        state["rootfs"], state["cgroup"] = rootfs, cgroup.record
        container.begin(state)
        container.write_config(config)
        cgroup.make()
        undo.push(cgroup.remove)
        cgroup.apply()
        pid = _run(container.path, rootfs, config, plan, images, streams)
        undo.push(_end, pid)
        cgroup.settle()
        state["status"], state["created"], state["cgroup"] = "created", now(), cgroup.record
        state["pid"], state["start_time"] = pid, start_time(pid)
        container.write(state)
        if options.pid_file:
            write_pid_file(options.pid_file, pid)
        undo.keep()
    container.close()
    return pid


def _run(
    directory: str, rootfs: str, config: "Config", plan: "Plan", images: "CriuOptions", streams: "list[str]"
) -> int:
    """Let CRIU make the processes; return the pid of the first."""
    mountpoint, pid_file = f"{directory}/{_ROOT}", f"{directory}/{_PID}"
    words = ["--restore-detached", "--restore-sibling", "--evasive-devices", "--pidfile", pid_file]
    words += ["--root", mountpoint]
    masked = list((config.get("linux") or {}).get("maskedPaths") or ())
    for destination, source in criu.external_mounts(config, masked):
        words += ["--external", f"mnt[{destination}]:{source}"]
    for controller, (_, path) in plan.cgroup.groups.items():
        if controller or plan.cgroup.mode == "v2":
            words += ["--cgroup-root", f"{controller}:{path}" if controller else path]
    inherited: list[int] = []
    try:
        for fd, name in enumerate(streams[:3]):
            if name.startswith("pipe:"):
                inherited.append(os.dup(fd))
                words += ["--inherit-fd", f"fd[{inherited[-1]}]:{name}"]
        for name, path in criu.external_namespaces(config):
            inherited.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            words += ["--inherit-fd", f"fd[{inherited[-1]}]:{criu.namespace_key(name)}"]
        # CRIU wants the root filesystem to be a mount, and nothing over its parent.
        _bind(rootfs, mountpoint)
        try:
            criu.run("restore", "restore.log", images, words, tuple(inherited))
        finally:
            _unbind(mountpoint)
        with open(pid_file) as file:
            return int(file.read())
    except (OSError, ValueError) as error:
        raise Error("cannot restore the container", str(error)) from None
    finally:
        for fd in inherited:
            os.close(fd)


def _bind(source: str, target: str) -> None:
    import subprocess

    os.mkdir(target, 0o700)
    done = subprocess.run(["mount", "--rbind", "--make-rprivate", source, target], stderr=subprocess.PIPE, check=False)
    if done.returncode:
        os.rmdir(target)
        raise Error(f"cannot mount {source}", done.stderr.decode(errors="replace").strip())


def _unbind(target: str) -> None:
    import subprocess

    subprocess.run(["umount", "--lazy", target], stderr=subprocess.DEVNULL, check=False)
    os.rmdir(target)


def _end(pid: int) -> None:
    try:
        os.kill(pid, _KILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
