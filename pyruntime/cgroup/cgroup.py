"""Makes, joins, watches and removes the container's control groups on this host (config-linux.md#control-groups).

The order of calls: prepare(plan) finds the missing directories and changes nothing; `record` is written to the state
file, so that the groups of a killed runtime can be found; make() makes the directories; apply() writes the limits; the
new process joins; later open(record) finds the groups again, and kill_all(), wait_empty() and remove() remove them.
"""

import errno

import pyruntime
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
    made   directories that are made for this container and not removed yet, parents before children
    plan   what is to be written, or None for groups that open() returned
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
        """Return what open() needs to find the groups again, as JSON values for the state file."""
        record: dict[str, object] = {"paths": self.paths, "made": self.made}
        if self.unit is not None:
            record["unit"] = self.unit
        return record

    @property
    def directories(self) -> list[str]:
        """Return the directory of each group, without repetition."""
        return list(dict.fromkeys(self.paths.values()))

    @property
    def unified(self) -> str:
        """Return the directory of the group in the unified hierarchy, or ""."""
        return self.paths.get(UNIFIED, "")

    @property
    def fd(self) -> int:
        """Return a descriptor (O_PATH) of the unified group for CLONE_INTO_CGROUP, or -1; this object owns it."""
        if self._fd < 0 and self.unified:
            try:
                self._fd = os.open(self.unified, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise self._failed("cannot join the container's cgroup", error) from error
        return self._fd

    def close(self) -> None:
        """Close the descriptor that `fd` opened; the groups are not removed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def make(self) -> None:
        """Make the missing directories and prepare them: cpuset on v1, controllers on v2.

        After a failure exactly the made directories are removed. If an ordinary user has no delegated group, and asks
        for no path and no limit, there are no groups: `paths` is empty. Raises Error where a group that existed before
        has processes or is frozen (config-linux.md#control-groups lets a runtime refuse it), or the kernel refuses.
        """
        if self.unit is not None:
            pyruntime.cgroup.systemd.start(self)
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
                pyruntime.cgroup.v1.inherit_cpuset(self.paths["cpuset"], self._mountpoint("cpuset"))
            if self.unified and self.plan is not None:
                self._enable_controllers()
        except BaseException as error:
            self.made = made
            try:
                self.remove()
            except Error:
                pass  # the error of making the group is more useful than that of removing it
            if not isinstance(error, OSError):
                raise
            if not self._goes_without(error):
                raise self._failed("cannot make the container's cgroup", error) from error

    def _goes_without(self, error: OSError) -> bool:
        """Tell whether the container runs in the caller's own groups: none is asked for, and none may be made.

        As with runc, an ordinary user without a delegated group can run a container, but not limit it.
        """
        assert self.plan is not None
        if self.plan.required or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not in_user_namespace():
            return False
        self.paths, self.made = {}, []
        return True

    def _mountpoint(self, controller: str) -> str:
        """Return the root of the hierarchy: no directory above it is changed."""
        return self.plan.groups[controller][0] if self.plan is not None else self.paths[controller]

    def _enable_controllers(self) -> None:
        plan = self.plan
        assert plan is not None
        if plan.mode == "v2" or plan.enable:
            # On a v2 host the container gets all controllers, for its statistics and for its own groups. On a
            # hybrid host the unified hierarchy gets only the controllers that are asked for.
            mountpoint, path = plan.groups[UNIFIED]
            pyruntime.cgroup.v2.enable_controllers(
                mountpoint, path, plan.enable, plan.steps, everything=plan.mode == "v2"
            )

    def _check_fit(self, directory: str) -> None:
        """Raise Error if a group that existed before is in use: its processes would become part of the container.

        Upholds config-linux.md#control-groups/unfit-cgroup.
        """
        reason = ""
        if self._pids_below([directory]):
            reason = "the group has processes"
        elif where := self.frozen:
            directory, reason = where, "the group is frozen"
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

        Does nothing if the container runs in the caller's own groups: see make(). Raises Error with the
        file, the value and the property if the kernel refuses a write.
        """
        assert self.plan is not None
        if self.paths:
            if self.unit is not None:
                # systemd writes the limits itself, so values that must be refused are refused before systemd is called.
                pyruntime.cgroup.write.check(self.plan.steps, self.paths)
                pyruntime.cgroup.systemd.tell(self)
            pyruntime.cgroup.write.carry_out(self.plan.steps, self.paths, self.made)
            if self.keeper[0]:
                pyruntime.cgroup.systemd.make_room(self)

    def settle(self) -> None:
        """Release what keeps the groups alive, after the container's first process has joined them.

        Only a systemd unit needs this. Raises Error.
        """
        if self.keeper[0]:
            pyruntime.cgroup.systemd.settle(self)

    def task_fds(self, but: str | None = None) -> list[int]:
        """Open the v1 groups' `tasks` files for the new process; the caller owns the descriptors.

        but  the controller whose group is left out

        The new process itself writes "0" to each, while it has one thread and before it unshares its cgroup namespace.
        Then the kernel moves "the current thread" without the lock that blocks all forks: ten hierarchies take 0.1 ms;
        any other way to move a process takes 6 to 10 ms here. The kernel checks the rights of the process that opened
        the file, so the new process needs none (cgroup-v1/cgroups.rst; kernel/cgroup/cgroup-v1.c).
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
        """Open the file of one group to which a process writes "0" to join it; the caller owns the descriptor."""
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
        """Return the pids in the container's group and in those that it made below; [] if the group does not exist."""
        # A process in any group is in the first one, or, if clone3 has made it and it has not joined yet, in the last.
        return self._pids_below(self.directories[:1] + self.directories[1:][-1:], recursive=recursive)

    @staticmethod
    def _pids_below(directories: list[str], *, recursive: bool = True) -> list[int]:
        found: dict[int, None] = {}
        for directory in directories:
            found.update(dict.fromkeys(pyruntime.cgroup.walk.pids(directory, recursive=recursive)))
        return list(found)

    def kill_all(self, signal: int = SIGKILL) -> None:
        """Send a signal to every process in the groups at one moment: none can escape by forking.

        SIGKILL also ends a frozen container, which is thawed if v1 needs that; other signals take effect after a thaw.
        Does not wait for the processes to end: see wait_empty(). Raises OSError if the kernel refuses.
        """
        pyruntime.cgroup.kill.kill_all(self, signal)

    def wait_empty(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until no process is left; return False if some are left."""
        return pyruntime.cgroup.kill.wait_empty(self, timeout)

    @property
    def frozen(self) -> str:
        """Return the group that is frozen, by any process and in the freezer of either version; "" for none."""
        return pyruntime.cgroup.freezer.frozen(self.paths)

    def freeze(self) -> None:
        """Freeze every process and wait until the last one is. Raises Error where some cannot be frozen in 10 s."""
        pyruntime.cgroup.freezer.freeze(self.paths)

    def thaw(self, pid: int = 0) -> None:
        """Undo freeze() in either freezer, and thaw the groups in which the container has frozen process `pid`."""
        pyruntime.cgroup.freezer.thaw(self.paths)
        if pid:
            pyruntime.cgroup.freezer.thaw_for(self.paths, pid)

    def let_die(self) -> bool:
        """Thaw v1's freezer at any depth, so that SIGKILL can take effect; return whether anything was frozen."""
        if "freezer" not in self.paths:
            return False
        return pyruntime.cgroup.freezer.let_die(self.paths)

    def fetch(self, pid: int) -> None:
        """Move process `pid` to the container's own group of v1's freezer; this thaws it if another one froze it."""
        if "freezer" in self.paths:
            try:
                write_file(self.paths["freezer"] + "/cgroup.procs", str(pid))
            except OSError:
                pass  # it has just ended, or it cannot be moved and does not end

    def remove_empty(self) -> bool:
        """Remove the groups that list the container's processes, if they are empty; return whether they are removed.

        This is the cheapest way to see that no process must be killed before remove(). On v1 the first group is removed
        first: processes join it before the others, and kill_all() works without it, but not without the freezer.
        """
        if self.unit is not None or not self.paths:
            return False
        for directory in dict.fromkeys((self.directories[0], self.directories[-1])):
            if directory not in self.made or directory == self.paths.get("freezer"):
                return False
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                return False
            self.made.remove(directory)
            if log.events is not None:
                log.events.done(f"rmdir {directory}")
        return True

    def remove(self, timeout: float = 10.0) -> None:
        """Remove the directories that make() made, and those that the container made below; nothing else.

        Waits up to `timeout` seconds for processes that are ending. A parent that others use now is not removed.
        Raises Error if a group of the container cannot be removed.
        """
        self.close()
        if self.unit is not None:
            pyruntime.cgroup.systemd.stop(self)
        pyruntime.cgroup.remove.remove(self, timeout)

    def _failed(self, doing: str, error: OSError, path: str = "") -> Error:
        return Error(
            doing,
            error.filename if isinstance(error.filename, str) else path,
            pointer=self.plan.asked_by if self.plan is not None else "",
            clause=CLAUSE,
            errno=error.errno or 0,
        )


def prepare(plan: "CgroupPlan") -> Cgroup:
    """Return the groups of a plan, with the list of their missing directories; changes nothing."""
    paths = {controller: mountpoint + path for controller, (mountpoint, path) in plan.groups.items()}
    made: list[str] = []
    for mountpoint, path in dict.fromkeys(plan.groups.values()):
        # systemd makes and removes slices.
        made += missing_directories(mountpoint, path) if plan.unit is None else plan.unit.directories(mountpoint + path)
    return Cgroup(paths, list(dict.fromkeys(made)), plan)


def create(plan: "CgroupPlan") -> Cgroup:
    """Call prepare() and make(). Raises Error as make() does."""
    cgroup = prepare(plan)
    cgroup.make()
    return cgroup


def open(record: "dict[str, Any]") -> Cgroup:
    """Return the groups that `record` (a former Cgroup.record) names; they need not exist any more."""
    cgroup = Cgroup(dict(record["paths"]), list(record["made"]))
    cgroup.unit = record.get("unit")
    return cgroup
