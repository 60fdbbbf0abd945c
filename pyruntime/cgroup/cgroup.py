"""The container's control groups on this host: made, joined, watched and removed (config-linux.md#control-groups).

The life of one: prepare(plan) looks, without changing anything, which directories are missing; `record` goes into the
state file, so that a runtime that dies leaves a trail; make() makes them; apply() writes the limits; the new process
joins; later open(record) finds them again, kill_all(), wait_empty() and remove() end them.
"""

import errno

from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import (
    CLAUSE,
    SIGKILL,
    UNIFIED,
    in_user_namespace,
    make_directory,
    missing_directories,
    write_file,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.plan.cgroup.cgroup import CgroupPlan


class Cgroup:
    """The groups of one container, one in each hierarchy.

    paths  controller -> directory, several controllers may share one; "" is the unified hierarchy
    made   directories that are made for this container and go with it, parents before children
    plan   what is to be written, or None for a group found again
    unit   the systemd unit that the group belongs to: {"name": str, "user": bool}, or None
    """

    __slots__ = ("_fd", "keeper", "made", "paths", "plan", "unit")

    def __init__(self, paths: dict[str, str], made: list[str], plan: "CgroupPlan | None" = None, fd: int = -1) -> None:
        self.unit: dict[str, Any] | None = None
        if plan is not None and plan.unit is not None:
            self.unit = {"name": plan.unit.name, "user": plan.unit.user}
        self.keeper = (0, -1)  # of a systemd unit: see cgroup/systemd.py
        self.paths = paths
        self.made = made
        self.plan = plan
        self._fd = fd

    @property
    def record(self) -> "dict[str, object]":
        """What open() needs to find the groups again: plain JSON for the state file."""
        record: dict[str, object] = {"paths": self.paths, "made": self.made}
        if self.unit is not None:
            record["unit"] = self.unit
        return record

    @property
    def directories(self) -> list[str]:
        """Each group's directory once."""
        return list(dict.fromkeys(self.paths.values()))

    @property
    def unified(self) -> str:
        """Directory of the group in the unified hierarchy, or ""."""
        return self.paths.get(UNIFIED, "")

    @property
    def fd(self) -> int:
        """Descriptor (O_PATH) of the unified group for clone3's CLONE_INTO_CGROUP, or -1; owned by this object."""
        if self._fd < 0 and self.unified:
            try:
                self._fd = os.open(self.unified, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise self._failed("cannot join the container's cgroup", error) from error
        return self._fd

    def close(self) -> None:
        """Close the descriptor that `fd` opened; the groups stay."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def make(self) -> None:
        """Make the missing directories, and ready them: cpuset on v1, controllers on v2.

        On failure exactly what was made is removed again. An ordinary user to whom nothing is delegated, and who asks
        for no path and no limit, gets no groups: `paths` is empty then. Raises Error where a group that existed before
        has processes or is frozen (config-linux.md#control-groups lets a runtime refuse it), or the kernel refuses.
        """
        if self.unit is not None:
            from pyruntime.cgroup import systemd

            systemd.start(self)
            if log.events is not None and self.plan is not None:
                log.events.done(self.plan.explain()[0])
            return
        made: list[str] = []
        try:
            for directory in self.made:
                if make_directory(directory):
                    made.append(directory)  # noqa: PERF401, a failure half way needs to know
                    if log.events is not None:
                        steps = self.plan.explain() if self.plan is not None else []
                        path = f"mkdir {directory}"
                        log.events.done(next((s for s in steps if s.args.get("path") == directory), path))
            known = set(made)
            for directory in self.directories:
                if directory not in known:
                    self._check_fit(directory)
            self.made = made
            if "cpuset" in self.paths:
                from pyruntime.cgroup import v1

                v1.inherit_cpuset(self.paths["cpuset"], self._mountpoint("cpuset"))
            if self.unified and self.plan is not None:
                self._enable_controllers()
        except BaseException as error:
            self.made = made
            try:
                self.remove()
            except Error:
                pass  # why it could not be made says more than why it could not be removed
            if not isinstance(error, OSError):
                raise
            if not self._goes_without(error):
                raise self._failed("cannot make the container's cgroup", error) from error

    def _goes_without(self, error: OSError) -> bool:
        """Whether the container runs in the caller's own groups: asked for nothing, and not allowed to make any.

        As with runc, an ordinary user to whom nothing is delegated can run a container, only not limit it.
        """
        assert self.plan is not None
        if self.plan.required or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not in_user_namespace():
            return False
        self.paths, self.made = {}, []
        return True

    def _mountpoint(self, controller: str) -> str:
        """Where the hierarchy starts: no parent above it is touched."""
        return self.plan.groups[controller][0] if self.plan is not None else self.paths[controller]

    def _enable_controllers(self) -> None:
        plan = self.plan
        assert plan is not None
        if plan.mode == "v2" or plan.enable:
            from pyruntime.cgroup import v2

            # Where v2 does all the work the container gets all there is, for its statistics and its own children; on a
            # hybrid host the unified hierarchy is only for what was asked of it.
            mountpoint, path = plan.groups[UNIFIED]
            v2.enable_controllers(mountpoint, path, plan.enable, plan.steps, everything=plan.mode == "v2")

    def _check_fit(self, directory: str) -> None:
        """Raise Error where a group that existed before is in use: its processes would become part of the container.

        Upholds config-linux.md#control-groups/unfit-cgroup.
        """
        reason = ""
        if self._pids_below([directory]):
            reason = "the group has processes"
        elif self.frozen:
            reason = "the group is frozen"
        if reason:
            raise Error(
                "cannot make the container's cgroup",
                f"{directory} exists and {reason}",
                pointer=self.plan.pointer if self.plan is not None else "",
                clause=CLAUSE,
                advice="remove the group, or choose another linux.cgroupsPath",
            )

    def apply(self) -> None:
        """Carry out the plan's steps: limits and device rules.

        Does nothing where the container runs in the caller's own groups: see make(). Raises Error that names the file,
        the value and the property for a write that the kernel refuses.
        """
        assert self.plan is not None
        if self.paths:
            from pyruntime.cgroup import write

            if self.unit is not None:
                from pyruntime.cgroup import systemd

                # systemd writes the limits itself: what must be refused is refused before it is told.
                write.check(self.plan.steps, self.paths)
                systemd.tell(self)
            write.carry_out(self.plan.steps, self.paths, self.made)
            if self.keeper[0]:
                systemd.make_room(self)

    def settle(self) -> None:
        """Say that the container's first process is in its groups: nothing else keeps them from now on.

        Only a systemd unit needs it. Raises Error.
        """
        if self.keeper[0]:
            from pyruntime.cgroup import systemd

            systemd.settle(self)

    def task_fds(self, but: str | None = None) -> list[int]:
        """Open the v1 groups' `tasks` files for the new process; the caller owns the descriptors.

        but  controller whose group is left out

        The new process itself writes "0" to each, while it has one thread and before it unshares its cgroup namespace.
        Then the kernel moves "the current thread" without the lock that keeps all other processes from forking: ten
        hierarchies take 0.1 ms; any other way to move a process takes 6 to 10 ms here. The kernel checks the rights of
        who opened the file, so the process needs none (cgroup-v1/cgroups.rst; kernel/cgroup/cgroup-v1.c).
        """
        fds: list[int] = []
        skipped = ("", self.unified) if but is None else (self.paths.get(but), self.unified)
        try:
            for directory in self.directories:
                if directory not in skipped:
                    fds.append(  # noqa: PERF401, a failure half way needs to know
                        os.open(directory + "/tasks", os.O_WRONLY | os.O_CLOEXEC)
                    )
        except OSError as error:
            for fd in fds:
                os.close(fd)
            raise self._failed("cannot join the container's cgroup", error) from error
        return fds

    def entry_fd(self, controller: str) -> int:
        """Open the file of one group that a process joins it by writing "0" to; the caller owns the descriptor."""
        path = f"{self.paths[controller]}/{'tasks' if controller != UNIFIED else 'cgroup.procs'}"
        try:
            return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._failed("cannot join the container's cgroup", error) from error

    def join(self, pid: int, *, unified: bool = True) -> None:
        """Move the process `pid` (0: this one) with all its threads into every group; slow, see task_fds().

        unified  also the group of the unified hierarchy; False for a process that clone3 put there
        """
        for directory in self.directories:
            if directory != self.unified or unified:
                path = directory + "/cgroup.procs"
                try:
                    write_file(path, str(pid))
                except OSError as error:
                    raise self._failed("cannot join the container's cgroup", error, path) from error

    def below(self, text: str) -> "Cgroup":
        """Return these groups, but existing ones below them where `text` says so: "PATH", or "CONTROLLER,…:PATH".

        For a process that joins a group which the container made. Raises Error where there is no such group.
        """
        names, colon, path = text.partition(":")
        if not colon:
            names, path = "", text
        parts = [part for part in path.split("/") if part not in ("", ".")]
        chosen = names.split(",") if colon else list(self.paths)
        if ".." in parts or any(name not in self.paths for name in chosen):
            raise Error(f"cannot use the cgroup {text}", "it is not below the container's", clause=CLAUSE)
        paths = {**self.paths, **{name: "/".join([self.paths[name], *parts]) for name in chosen}}
        missing = [paths[name] for name in chosen if not os.path.isdir(paths[name])]
        if missing:
            raise Error(f"cannot use the cgroup {text}", f"{missing[0]} does not exist", clause=CLAUSE)
        return Cgroup(paths, [])

    def pids(self, *, recursive: bool = True) -> list[int]:
        """Processes in the container's group and in the groups that it made below; [] when it is gone."""
        # Whoever is in any of the groups is in the first, or, put there by clone3 and not further yet, in the last one.
        return self._pids_below(self.directories[:1] + self.directories[1:][-1:], recursive=recursive)

    @staticmethod
    def _pids_below(directories: list[str], *, recursive: bool = True) -> list[int]:
        from pyruntime.cgroup import walk as tree

        found: dict[int, None] = {}
        for directory in directories:
            found.update(dict.fromkeys(tree.pids(directory, recursive=recursive)))
        return list(found)

    def kill_all(self, signal: int = SIGKILL) -> None:
        """Send a signal to every process in the groups at one moment: none escapes by forking.

        A frozen container dies of SIGKILL, thawed where v1 needs that; a signal that it handles waits for the thaw.
        Does not wait for the processes to end: see wait_empty(). Raises OSError where the kernel refuses.
        """
        from pyruntime.cgroup import kill as processes

        processes.kill_all(self, signal)

    def wait_empty(self, timeout: float) -> bool:
        """Wait until no process is left, at most `timeout` seconds; False when that was not enough."""
        from pyruntime.cgroup import kill as processes

        return processes.wait_empty(self, timeout)

    @property
    def frozen(self) -> bool:
        """Whether the processes are frozen, by this runtime or by somebody else, in either version's freezer."""
        from pyruntime.cgroup import freezer

        return freezer.frozen(self.paths)

    def freeze(self) -> None:
        """Freeze every process and wait until the last one is. Raises Error where some cannot be frozen in 10 s."""
        from pyruntime.cgroup import freezer

        freezer.freeze(self.paths)

    def thaw(self, pid: int = 0) -> None:
        """Undo freeze(), whichever freezer it was, and what the container did itself to hold process `pid`."""
        from pyruntime.cgroup import freezer

        freezer.thaw(self.paths)
        if pid:
            freezer.thaw_for(self.paths, pid)

    def let_die(self) -> bool:
        """Thaw what v1's freezer holds at any depth, so that SIGKILL can end it; tell whether there was any."""
        if "freezer" not in self.paths:
            return False
        from pyruntime.cgroup import freezer

        return freezer.let_die(self.paths)

    def fetch(self, pid: int) -> None:
        """Move process `pid` into the container's own group of v1's freezer, which thaws what another one holds."""
        if "freezer" in self.paths:
            try:
                write_file(self.paths["freezer"] + "/cgroup.procs", str(pid))
            except OSError:
                pass  # it has just ended; or it is out of reach, and does not end

    def remove_empty(self) -> bool:
        """Remove the groups that show who is in the container, as far as nobody is; tell whether they are gone.

        The cheapest way to know that nobody has to be killed before remove(). On v1 the first group goes first, which
        everybody joins before the others: killing gets on without it, though not without the freezer.
        """
        if self.unit is not None or not self.paths:
            return False
        for directory in dict.fromkeys((self.directories[0], self.directories[-1])):
            if directory not in self.made or directory == self.paths.get("freezer"):
                return False
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    def remove(self, timeout: float = 10.0) -> None:
        """Remove what make() made, and what the container made below it; nothing else.

        Waits up to `timeout` seconds for processes that are about to end. A parent that others use by now stays.
        Raises Error where a group of the container cannot be removed.
        """
        self.close()
        if self.unit is not None:
            from pyruntime.cgroup import systemd

            systemd.stop(self)
        from pyruntime.cgroup import remove as removal

        removal.remove(self, timeout)

    def _failed(self, doing: str, error: OSError, path: str = "") -> Error:
        return Error(
            doing,
            error.filename if isinstance(error.filename, str) else path,
            pointer=self.plan.pointer if self.plan is not None else "",
            clause=CLAUSE,
            errno=error.errno or 0,
        )


def prepare(plan: "CgroupPlan") -> Cgroup:
    """Return the groups of a plan and find out which of their directories are missing; changes nothing."""
    paths = {controller: mountpoint + path for controller, (mountpoint, path) in plan.groups.items()}
    made: list[str] = []
    for mountpoint, path in dict.fromkeys(plan.groups.values()):
        # Slices are systemd's to make and remove.
        made += missing_directories(mountpoint, path) if plan.unit is None else [mountpoint + path]
    return Cgroup(paths, list(dict.fromkeys(made)), plan)


def create(plan: "CgroupPlan") -> Cgroup:
    """prepare() and make() in one. Raises Error as make() does."""
    cgroup = prepare(plan)
    cgroup.make()
    return cgroup


def open(record: "dict[str, Any]") -> Cgroup:
    """Return the groups that `record` (a former Cgroup.record) names; they need not exist any more."""
    cgroup = Cgroup(dict(record["paths"]), list(record["made"]))
    cgroup.unit = record.get("unit")
    return cgroup
