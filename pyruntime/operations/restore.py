"""`restore`: CRIU makes a container from the images of a checkpoint (runc's verb; no clause)."""

import subprocess

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.base.undo import Undo
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.engine.caller import console_socket
from pyruntime.engine.child.host_files import open_rootfs
from pyruntime.engine.criu import external, mountpoints, rpc, swrk
from pyruntime.engine.criu.options import make_directories
from pyruntime.engine.state_document import new_state, now, state_document
from pyruntime.engine.terminal import foreground
from pyruntime.host import programs
from pyruntime.operations.create import prepare
from pyruntime.operations.delete import delete_own
from pyruntime.protocol import run_hooks
from pyruntime.store import container as containers
from pyruntime.store.process import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.engine.caller.options import CreateOptions
    from pyruntime.engine.criu.options import CriuOptions
    from pyruntime.engine.criu.rpc import Message
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.json_types import Config, StateFile

_DOING = "cannot restore the container"
_KILL = 9
_ROOT = "criu-root"


def restore(
    container_id: str, options: "CreateOptions", images: "CriuOptions", *, detach: bool, subreaper: bool
) -> int:
    """Restore the container; return the exit status of its process (128+n for a signal), or 0 at once with `detach`.

    Raises Error when it cannot be restored, or when CRIU hangs and a signal asks this process to end; then nothing of
    it is left.
    """
    if detach:
        mask = foreground.hold_signals()
        try:
            restoration = _Restoration(container_id, options, images)
            restoration.make()
            restoration.container.close()
        finally:
            foreground.release_signals(mask)
        return 0
    foreground.check_console(options)
    return foreground.accompany(subreaper, lambda: _accompanied(container_id, options, images))


def _accompanied(container_id: str, options: "CreateOptions", images: "CriuOptions") -> int:
    restoration = _Restoration(container_id, options, images)
    pid, master = foreground.with_terminal(options, restoration.make)
    pidfd = os.pidfd_open(pid)
    try:
        if foreground.check_master(master):
            foreground.prepare(master)
        status = foreground.follow(pidfd, pid, master, restoration.state["cgroup"].get("paths") or {})
    except Error:
        delete_own(restoration.container, restoration.state)
        raise
    finally:
        os.close(pidfd)
    delete_own(restoration.container, restoration.state)
    return status


class _Restoration:
    """A container that is being restored."""

    def __init__(self, container_id: str, options: "CreateOptions", images: "CriuOptions") -> None:
        self.container_id = container_id
        self.options = options
        self.images = images
        self.config: Config
        self.config_text: bytes
        self.plan: Plan
        self.console = -1
        self.cgroup: Cgroup
        self.container: containers.Container
        self.state: StateFile

    def make(self) -> int:
        """Make `container` and return the pid of its init, a child of this process. Raises Error."""
        containers.check_id(self.container_id)
        self.options.check_bundle()
        self.config, self.plan, self.config_text = prepare(self.container_id, self.options)
        request = self.images.request(self.config.get("annotations") or {})
        for warning in self.plan.warnings:
            log.warning(warning)
        streams = external.streams(self.images)
        make_directories(self.images)
        if "lazy-pages" in self.images.flags:
            swrk.check(_DOING, "lazy_pages")
        else:
            swrk.check(_DOING)
        with Undo() as undo:
            self.console = console_socket.connect(self.config, self.options)
            try:
                pid = self._make(request, streams, undo)
            finally:
                if self.console >= 0:
                    os.close(self.console)
            undo.keep()
        self.container.release()
        return pid

    def _make(self, request: "Message", streams: "list[str]", undo: Undo) -> int:
        source: str = next(step.args["source"] for step in self.plan.build if step.op == "root")
        rootfs = open_rootfs(self.options.bundle, source)
        try:
            return self._made(rootfs, request, streams, undo)
        finally:
            os.close(rootfs)

    def _made(self, rootfs: int, request: "Message", streams: "list[str]", undo: Undo) -> int:
        self.undo = undo
        container = self.container = containers.create(self.options.root, self.container_id)
        undo.push(container.close)
        undo.push(container.remove)
        cgroup = self.cgroup = cgroups.prepare(self.plan.cgroup)
        self.state = state = new_state(self.container_id, self.config, self.options)
        state["rootfs"], state["cgroup"] = os.readlink(f"/proc/self/fd/{rootfs}"), cgroup.record
        container.begin(state)
        container.keep_config(self.config_text)
        cgroup.make()
        undo.push(cgroup.remove)
        cgroup.apply()
        mountpoints.make(rootfs, self.config, self.options.bundle)
        pid = self._run(container.path, rootfs, request, streams)
        undo.push(_end, pid)
        delegated = self.plan.cgroup.delegate
        if delegated is not None:
            # CRIU, which has just ended, was in the group above.
            pyruntime.cgroup.delegate.enable(cgroup, delegated)
        return pid

    def _record(self, pid: int) -> None:
        """Write the state before CRIU lets the processes continue, because callers may ask for it at once."""
        self.cgroup.settle()
        state = self.state
        state["status"], state["created"], state["cgroup"] = "created", now(), self.cgroup.record
        state["pid"], state["start_time"] = pid, start_time(pid)
        self._note_time_namespace(pid)
        self.container.write(state)
        if self.options.pid_file:
            pyruntime.engine.caller.pid_file.write_pid_file(self.options.pid_file, pid, self.undo)

    def _note_time_namespace(self, pid: int) -> None:
        """Add CRIU's time namespace to the stored configuration, so that processes of exec join it.

        CRIU makes one so that clocks continue from the checkpoint. No second checkpoint works with a process outside.
        """
        namespaces = (self.config.get("linux") or {}).get("namespaces") or []
        try:
            same = os.readlink(f"/proc/{pid}/ns/time") == os.readlink("/proc/self/ns/time")
        except OSError:
            return  # a kernel without time namespaces
        if not same and not any(entry["type"] == "time" for entry in namespaces):
            kept = self.container.read_config()
            kept.setdefault("linux", {})["namespaces"] = [*namespaces, {"type": "time"}]
            self.container.write_config(kept)

    def _run(self, directory: str, rootfs: int, request: "Message", streams: "list[str]") -> int:
        """Let CRIU make the processes; return the pid of the first one."""
        mountpoint = f"{directory}/{_ROOT}"
        masked = list((self.config.get("linux") or {}).get("maskedPaths") or ())
        request.update(
            evasive_devices=True,
            rst_sibling=True,
            root=os.path.realpath(mountpoint),
            ext_mnt=[
                external.pair(destination, os.path.join(self.options.bundle, source), _DOING)
                for destination, source in [
                    *external.external_mounts(self.config, masked),
                    *external.cgroup_binds(self.config, self.cgroup.paths),
                ]
            ],
            join_ns=external.namespaces_to_join(self.config),
            inherit_fd=[{"key": name, "fd": fd} for fd, name in enumerate(streams[:3]) if name.startswith("pipe:")],
        )
        namespaces: list[int] = []
        try:
            for name, path in external.external_namespaces(self.config):
                namespaces.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                request["inherit_fd"].append({"key": external.namespace_key(name), "fd": namespaces[-1]})
            # CRIU needs the root filesystem to be a mount, and no mount on top of its parent. `delete` unmounts it if
            # this process is killed.
            _bind(rootfs, mountpoint)
            if log.events is not None:
                log.events.begin("criu makes the processes")
            try:
                response = swrk.run(
                    rpc.RESTORE,
                    _DOING,
                    "restore.log",
                    self.images,
                    request,
                    self._notified,
                    descriptors=tuple(namespaces),
                    started=self._join_cgroup,
                )
            finally:
                if log.events is not None:
                    log.events.end()
                _unbind(mountpoint)
        except OSError as error:
            raise Error(_DOING, error.filename or "", errno=error.errno or 0) from None
        finally:
            for fd in namespaces:
                os.close(fd)
        pid = (response.get("restore") or {}).get("pid", 0)
        if pid <= 0:
            raise Error(_DOING, "criu does not say which process it is")
        return int(pid)

    def _join_cgroup(self, pid: int, request: "Message") -> None:
        """Move CRIU's process `pid` into the container's groups: there it makes the others, and the groups below."""
        self.cgroup.join(pid)
        with open(f"/proc/{pid}/cgroup") as file:
            rows = [line.rstrip("\n").split(":", 2) for line in file]
        request["cg_root"] = [{"ctrl": names, "path": path} for _, names, path in rows]

    def _notified(self, step: str, pid: int, descriptor: int) -> None:
        if step == "setup-namespaces":
            # The namespaces exist now, and the network is empty, as in `create`.
            document = state_document(self.container_id, "created", pid, self.options.bundle, self.config)
            run_hooks.run(self.plan.hooks["prestart"], document)
            run_hooks.run(self.plan.hooks["createRuntime"], document)
        elif step == "post-restore":
            self._record(pid)
        elif step == "orphan-pts-master" and descriptor >= 0:
            if self.console < 0:
                raise Error(
                    _DOING,
                    "its terminal comes with it, and config.json has none",
                    pointer="/process/terminal",
                    clause="config.md#process",
                )
            sent = lib.pyr_send_fd(self.console, descriptor, b"/dev/ptmx", 9)
            if sent < 0:
                raise Error("cannot send the terminal over the console socket", errno=-sent)


def _bind(source: int, target: str) -> None:
    """Mount the directory of the descriptor `source`, because its path may lead to another one now."""
    options = ["--no-canonicalize", "--rbind", "--make-rprivate"]
    words = [programs.need("mount"), *options, f"/proc/self/fd/{source}", target]
    programs.need("umount")  # for _unbind
    os.mkdir(target, 0o755)
    done = subprocess.run(words, stderr=subprocess.PIPE, check=False, pass_fds=[source])
    if done.returncode:
        os.rmdir(target)
        raise Error("cannot mount the root filesystem", done.stderr.decode(errors="replace").strip())


def _unbind(target: str) -> None:
    subprocess.run([programs.need("umount"), "--lazy", target], stderr=subprocess.DEVNULL, check=False)
    os.rmdir(target)


def _end(pid: int) -> None:
    try:
        os.kill(pid, _KILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
