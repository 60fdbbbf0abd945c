"""`exec`: one more process in a running container, in all its namespaces and its cgroup (runc's verb; no clause)."""

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.base.undo import Undo
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.engine.caller import threads
from pyruntime.engine.caller.exec_options import ExecOptions, from_options
from pyruntime.engine.child import launch
from pyruntime.engine.child.child import check_signals
from pyruntime.engine.child.host_files import HostFiles
from pyruntime.engine.child.request import Request
from pyruntime.engine.child.step_array import StepArrays
from pyruntime.engine.state_document import state_document
from pyruntime.engine.terminal import foreground
from pyruntime.host.facts import facts
from pyruntime.plan.cgroup.cgroup import UNIFIED, CgroupPlan, is_tight
from pyruntime.plan.context import Context
from pyruntime.plan.exec import compile_exec
from pyruntime.plan.facts import CgroupHost
from pyruntime.plan.namespaces import TYPES
from pyruntime.plan.process import opens_mapped_files
from pyruntime.plan.step import Step
from pyruntime.protocol import limits, messages
from pyruntime.spec import check_process, load_process
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.engine.child.child import Child
    from pyruntime.engine.seccomp.filter import Filter
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.json_types import Config, Linux, Process, StateFile, User
    from pyruntime.store.container import Container


_PROCESS = "/process"
_LOOK = 1.0  # seconds after which the wait for the lock looks for signals


def exec_process(root: str, container_id: str, options: ExecOptions) -> int:
    """Run a process in the container; return its exit status (128+n for a signal), or 0 at once with `detach`.

    root  directory of the states, absolute

    Raises Error when the container is not running or the process cannot be made, InvalidConfig for an invalid process.
    """
    threads.check_single()
    if options.preserve_fds:
        pyruntime.engine.caller.preserved_fds.check_preserved(options.preserve_fds)
    mask = foreground.hold_signals()
    try:
        with containers.open_container(root, container_id) as container, Undo() as undo:
            execution = _Execution(container, options, undo)
            child = execution.make()
            undo.keep()
        if options.detach:
            child.close()
            return 0
        return _accompany(child, execution)
    finally:
        foreground.release_signals(mask)


def _accompany(child: "Child", execution: "_Execution") -> int:
    """Wait for the process and be its terminal; return its exit status."""
    try:
        return foreground.follow(
            *(child.pidfd, child.pid, execution.master, execution.paths), leave=True, filtered=execution.filtered
        )
    finally:
        child.close()


class _Execution:
    """A process that is being made; the state that the parts of its making share."""

    def __init__(self, container: "Container", options: ExecOptions, undo: Undo) -> None:
        self.container = container
        self.options = options
        self.undo = undo
        self.host_files = HostFiles()
        self.terminal = -1  # socket over which the terminal's master arrives, in the foreground
        self.master = -1  # the terminal's master, after it has arrived
        self.paths: dict[str, str] = {}  # of the container's groups
        self.filtered = False  # the process gets a seccomp filter
        self.config: Config | None = None  # the container's configuration, with the process to run as `process`

    def make(self) -> "Child":
        """Make the process and wait until it executes its program. Raises Error."""
        self.undo.push(self.host_files.close)
        state = self._running()
        try:
            return self._make(state)
        except Error as error:
            # If the container has ended meanwhile, any step can have failed: then report that it has ended.
            self._check_going(state)
            error.show(self.config)
            self._place(error)
            raise

    def _place(self, error: Error) -> None:
        """Correct the place of an error about the process, which may not come from the container's config.json."""
        if isinstance(error, InvalidConfig):
            found = [(problem, problem.pointer) for problem in error.problems]  # in the process itself
        else:
            found = [(error, error.pointer[len(_PROCESS) :])] if error.pointer.startswith(f"{_PROCESS}/") else []
        for problem, pointer in found:
            if self.options.process_file:
                problem.place, problem.pointer = f"{self.options.process_file}: {pointer}", ""
            elif from_options(self.options, pointer):
                problem.pointer = ""

    def _check_going(self, state: "StateFile") -> None:
        """Raise Error if the container has ended or is ending: an exiting process has no root any more."""
        self.container.check_process(state)
        try:
            os.readlink(f"/proc/{state['pid']}/root")
        except FileNotFoundError:
            raise Error(f"container {self.container.container_id!r} has just ended") from None
        except OSError:
            pass  # the link exists, but an ordinary user may not read it

    def _make(self, state: "StateFile") -> "Child":
        self.config = config = self.container.read_config()
        own = config.get("process")
        config["process"] = process = self._process(config)
        if "user" in process and (config.get("linux") or {}).get("uidMappings"):
            _check_mapped(process["user"], config["linux"])
        if log.events is not None:
            log.events.done("read the container's state and configuration, check the process")
        plan = self._plan(config, state)
        if log.events is not None:
            log.events.done(f"compile the plan of {len([*plan.steps()])} steps")
        if plan.warnings:
            # `create` has already printed the warnings about the container's own process.
            said = self._plan({**config, "process": own}, state).warnings if own else []
            for warning in plan.warnings:
                if warning not in said:
                    log.warning(warning)
        arrays = StepArrays()
        self._join(plan, arrays, config, state)
        console = self._console(config["process"])
        seccomp = self._filter(plan, config)
        self.filtered = seccomp is not None
        group = cgroups.open(state["cgroup"])
        self.paths = group.paths
        for path in self.options.cgroups:
            group = group.below(path)
        if log.events is not None:
            log.events.done("open the container's namespaces and cgroups")
        if plan.affinity:
            pyruntime.engine.affinity.apply(plan.affinity)
        request = Request(
            plan,
            arrays,
            self.host_files,
            group,
            console=console,
            preserve=self.options.preserve_fds,
            seccomp=seccomp,
            beside=0 if self.options.cgroups else state["pid"],
            resctrl=state.get("intel_rdt"),
            copies=self._copies(state, config, process, own),
        )
        child = launch.spawn(request, self.undo)
        ready = launch.expect(child, plan, messages.READY)
        # `delete` kills init first, then the processes in the cgroup. This process is in the cgroup now. So if init is
        # alive here, a later `delete` kills this process too; if not, this raises.
        self.container.check_process(state)
        limits.apply(child.pid, limits.left(ready, plan.limits, limits.HOST_ALONE[1:]), self.options.preserve_fds)
        if self.options.pidfd_socket:
            pyruntime.engine.caller.pidfd_socket.send(
                self.options.pidfd_socket, child.pidfd, pyruntime.engine.caller.pidfd_socket.EXEC
            )
        if self.terminal >= 0:
            self._take_terminal()
        if self.options.pid_file:
            pyruntime.engine.caller.pid_file.write_pid_file(self.options.pid_file, child.pid, self.undo)
        messages.send(child.sync, messages.GO + str(child.pid).encode())
        if seccomp is not None:
            container = self.container.container_id
            seccomp.address(child.pid, state_document(container, "running", state["pid"], state["bundle"], config))
        launch.expect_execution(child, request, config)
        return child

    def _take_terminal(self) -> None:
        """Receive the terminal's master, and set it up before the program uses the terminal."""
        self.master = lib.pyr_recv_fd(self.terminal)
        if self.master < 0:
            raise Error("cannot take the terminal", errno=-self.master)
        self.undo.push(os.close, self.master)
        foreground.prepare(self.master)

    def _copies(self, state: "StateFile", config: "Config", process: "Process", own: "Process | None") -> bool:
        """Tell whether the process must have no file of the host mapped: docs/design.md says why.

        If only its own capabilities are the reason, that is recorded for later ones: it may still run then, or have
        left children with them.
        """
        if state.get("copies_files") or opens_mapped_files(config, own):
            return True
        if not opens_mapped_files(config, process):
            return False
        while not self.container.lock_within(_LOOK):
            check_signals()
        recorded = self.container.read() or state
        recorded["copies_files"] = True
        self.container.write(recorded)
        self.container.release()
        return True

    def _running(self) -> "StateFile":
        """Return the state of the container. Raises Error if no process can be made in it now."""
        state = self.container.read()
        status = self.container.status(state)
        allowed = ("created", "running", "paused") if self.options.ignore_paused else ("created", "running")
        if state is None or status not in allowed:
            raise Error(
                f"cannot exec in container {self.container.container_id!r}",
                f"it is {status}",
                advice="--ignore-paused starts the process once it is resumed" if status == "paused" else "",
            )
        if status == "created" and os.geteuid() != 0:
            # Init is not dumpable until it executes its program, so ordinary users cannot open its namespaces.
            raise Error(
                f"cannot exec in container {self.container.container_id!r}",
                "until it is started it is closed to an ordinary user",
                advice="start it first",
            )
        return state

    def _process(self, config: "Config") -> "Process":
        """Return the process to run, validated. Raises InvalidConfig."""
        options = self.options
        if options.process_file:
            process = load_process(options.process_file)
            if options.terminal:
                process["terminal"] = True
            # The container's restrictions apply to this process too, unless its file has its own; as with runc.
            own = config.get("process") or {}
            for name in ("capabilities", "apparmorProfile", "selinuxLabel", "rlimits"):
                if name in own and name not in process:
                    process[name] = own[name]
            return process
        wanted: Any = {"cwd": "/", **(config.get("process") or {})}
        wanted["args"] = options.args
        wanted["terminal"] = options.terminal
        wanted["env"] = [*(wanted.get("env") or ()), *options.env]
        wanted["user"] = user = dict(wanted.get("user") or {"uid": 0, "gid": 0})
        if options.cwd is not None:
            wanted["cwd"] = options.cwd
        if options.user is not None:
            uid, colon, gid = options.user.partition(":")
            user["uid"] = _number(uid, options.user)
            user["gid"] = _number(gid, options.user) if colon else user["gid"]
        if options.additional_gids:
            user["additionalGids"] = [*(user.get("additionalGids") or ()), *options.additional_gids]
        if options.apparmor is not None:
            wanted["apparmorProfile"] = options.apparmor
        if options.process_label is not None:
            wanted["selinuxLabel"] = options.process_label
        if options.no_new_privs is not None:
            wanted["noNewPrivileges"] = options.no_new_privs
        if options.capabilities:
            sets = dict(wanted.get("capabilities") or {})
            # Ambient capabilities need inheritable ones, which are not added; runc does the same.
            more = ("bounding", "effective", "permitted", *(("ambient",) if sets.get("inheritable") else ()))
            for name in more:
                sets[name] = [*(sets.get(name) or ()), *options.capabilities]
            wanted["capabilities"] = sets
        check_process(wanted, "the process to exec")
        checked: Process = wanted
        return checked

    def _plan(self, config: "Config", state: "StateFile") -> "Plan":
        # The container's session keyring is joined by name, not that of the caller of exec. The state of older
        # containers has only a boolean; their keyring has the default name of the plan.
        keyring = state.get("keyring", True)
        name = keyring if isinstance(keyring, str) else ""
        # The container's groups are in the state; the host's hierarchies are not needed.
        host = facts(CgroupHost("", {}))
        context = Context(
            config, host, state["bundle"], self.container.container_id, new_keyring=bool(keyring), keyring=name
        )
        group = CgroupPlan(host.cgroup.mode, "", {}, [], [], False)
        if is_tight((config.get("linux") or {}).get("resources") or {}):
            group.tight = "memory" if "memory" in state["cgroup"]["paths"] else UNIFIED, ""
        return compile_exec(context, group)

    def _join(self, plan: "Plan", arrays: StepArrays, config: "Config", state: "StateFile") -> None:
        """Open what setns(2) needs to join the namespaces of init: its pidfd joins all of them at once."""
        pid = state["pid"]
        pidfd = lib.pyr_pidfd_open(pid)
        if pidfd < 0:
            raise Error(f"cannot exec in container {self.container.container_id!r}", "it has just ended")
        self.host_files.own(pidfd)
        names = [entry["type"] for entry in (config.get("linux") or {}).get("namespaces") or ()]
        kinds = 0
        for name in names:
            kinds |= TYPES[name][0]
        ways = [(pidfd, kinds & ~lib.CLONE_NEWCGROUP)]
        if kinds & lib.CLONE_NEWCGROUP:
            # Joined later, from inside the other namespaces, where init's /proc may not be reachable.
            group = os.open(f"/proc/{pid}/ns/cgroup", os.O_RDONLY | os.O_CLOEXEC)
            ways.append((self.host_files.own(group), lib.CLONE_NEWCGROUP))
        for way, kind in ways:
            if kind:
                self.host_files.joins.append((way, kind))
                step = Step("setns", "/linux/namespaces", "config-linux.md#namespaces")
                step.args.update(namespace=", ".join(names), path=f"/proc/{pid}/ns")
                plan.namespaces.append(step)
        if "mount" not in names:
            # Without a mount namespace of its own the container has only its own root directory.
            directory = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            arrays.trees[id(plan.build[0])] = self.host_files.own(directory)
        # Checked after all is open, so that no file can be one of another process with the same pid.
        self.container.check_process(state)

    def _console(self, process: "Process") -> int:
        """Return the socket to which the terminal's master is sent, or -1. Raises Error."""
        options = self.options
        if not process.get("terminal"):
            return -1
        if options.console_socket:
            sock = pyruntime.engine.caller.console_socket.open_socket(options.console_socket)
            if sock < 0:
                raise Error(f"cannot connect to the console socket {options.console_socket}", errno=-sock)
            return self.host_files.own(sock)
        if options.detach:
            raise Error(
                "cannot make a terminal that nobody takes",
                "no console socket was given",
                advice="pass --console-socket, or leave out --detach",
            )
        pair = ffi.new("int[2]")
        error = lib.pyr_socketpair(pair)
        if error:
            raise Error("cannot make a socket pair", errno=-error)
        self.terminal = pair[0]
        self.undo.push(os.close, pair[0])
        return self.host_files.own(pair[1])

    def _filter(self, plan: "Plan", config: "Config") -> "Filter | None":
        if not plan.filter:
            return None
        seccomp = pyruntime.engine.seccomp.filter.open_filter(
            plan.filter[0], config, os.path.dirname(self.container.path), HostFiles()
        )
        if seccomp.listener >= 0:
            seccomp.relay()
            self.undo.push(seccomp.close)
        return seccomp


def _check_mapped(user: "User", linux: "Linux") -> None:
    """Raise InvalidConfig for a user or group that the container's user namespace does not map."""
    problems = list(pyruntime.spec.rules.users.unmapped(user, linux, "/user"))
    if problems:
        raise InvalidConfig("the process to exec is not valid", problems)


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**32 - 1):
        raise Error(f"--user {whole}", "it must be UID or UID:GID, in numbers")
    return int(text)
