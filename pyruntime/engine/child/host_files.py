"""Files of the host that the child needs, opened by the host: root filesystem, bind sources, namespaces."""

import errno
import fcntl

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.plan.namespaces import TYPES
from pyruntime.protocol import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.engine.child.step_array import StepArrays
    from pyruntime.plan.facts import Facts
    from pyruntime.plan.plan import Plan
    from pyruntime.plan.step import Step

_CLAUSE = "config.md#root"
_NS_GET_USERNS = 0xB701


def open_rootfs(bundle: str, path: str) -> int:
    """Return an O_PATH descriptor of the root filesystem of `bundle`; `path` is root.path.

    A relative path must stay inside the bundle, symlinks included: a bundle is a unit (bundle.md). An absolute one may
    lead anywhere. Raises Error if there is no such directory.

    Upholds config.md#root/path-is-directory.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    if path.startswith("/"):
        fd = lib.pyr_openat2(-100, os.fsencode(path), flags, 0, 0)
    else:
        folder = os.open(bundle, flags)
        fd = lib.pyr_openat2(folder, os.fsencode(path), flags, 0, lib.RESOLVE_BENEATH | lib.RESOLVE_NO_MAGICLINKS)
        os.close(folder)
    if fd < 0:
        outside = "it leads out of the bundle" if -fd == errno.EXDEV else ""
        raise Error(
            f"cannot use the root filesystem {path}",
            outside,
            pointer="/root/path",
            value=path,
            clause=_CLAUSE,
            errno=-fd,
            advice="an absolute root.path may be anywhere"
            if outside
            else ("" if path.startswith("/") else f"a relative root.path begins in the bundle, {bundle}"),
        )
    return fd


def _groups(plan: "Plan") -> "dict[str, str]":
    """Return the directories of the container's cgroups, each with the controller or one of them."""
    groups = plan.cgroup.groups if plan.cgroup else {}
    return {mountpoint + path: controller for controller, (mountpoint, path) in groups.items()}


def _clones_mounts(facts: "Facts") -> bool:
    """Tell whether this process may clone the mounts that it sees (open_tree(2)).

    That needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace. This is another one than its own if
    only its user namespace is new, as with `unshare --user` (ioctl_nsfs(2)).
    """
    if not facts.in_user_namespace or not facts.holds("CAP_SYS_ADMIN"):
        return facts.holds("CAP_SYS_ADMIN")
    mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.close(os.call(fcntl.ioctl, mounts, _NS_GET_USERNS))
    except OSError:
        return False
    finally:
        os.close(mounts)
    return True


class HostFiles:
    """The descriptors that the host opened for the child; `close` when the child has them."""

    __slots__ = ("_fds", "_pinned", "_root", "_root_names", "_user_namespaces", "joins")

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._pinned: list[object] = []
        self._user_namespaces: dict[str, int] = {}
        self._root = -1
        self._root_names: set[str] = set()  # paths that lead to it
        self.joins: list[tuple[int, int]] = []  # (descriptor, CLONE_NEW*)

    def own(self, fd: int) -> int:
        """Take over `fd`; it is closed with the rest."""
        self._fds.append(fd)
        return fd

    def pin(self, memory: "Any") -> "Any":
        """Keep C memory alive as long as this object, and return it."""
        self._pinned.append(memory)
        return memory

    def close(self) -> None:
        """Close everything: descriptors whose numbers follow each other with one call (close_range(2))."""
        fds = sorted(self._fds)
        self._fds.clear()
        while fds:
            last = first = fds.pop()
            while fds and fds[-1] == first - 1:
                first = fds.pop()
            if first == last:
                os.close(first)
            else:
                lib.pyr_close_range(first, last, 0)

    def open(self, plan: "Plan", arrays: "StepArrays", facts: "Facts", bundle: str) -> None:
        """Open what the steps of `plan` name, into `arrays`.

        Trees that the child cannot reach, or that must stay peers of the host's mounts ("host_tree"), are cloned here
        (open_tree(2)) if this process may do that. The child clones the others, each at its step, so that they are in
        the listed order in the container's mount table; here their paths are only checked. Raises Error for a source
        that does not exist.
        """
        privileged = _clones_mounts(facts)
        groups = _groups(plan)
        for step in plan.namespaces:
            if step.op == "setns":
                self.joins.append((self._namespace(step), TYPES[step.args["namespace"]][0]))
                _check_foreign(self.joins[-1][0], step, plan)
        for step in plan.build:
            if step.op == "root":
                step.args["source"] = self._rootfs(step, arrays, bundle, privileged)
            elif step.op == "bind" and step.args["source"] not in groups:
                self._bind(step, arrays, privileged)
            if "uid_mappings" in step.args:
                maps = self._maps(step)
                if id(step) in arrays.trees:
                    pyruntime.engine.child.idmapped_mounts.apply(step, arrays.trees[id(step)], maps)
                else:
                    arrays.maps[id(step)] = maps

    def open_cgroups(self, plan: "Plan", arrays: "StepArrays", facts: "Facts", made: bool) -> None:
        """Open the container's own cgroups, now that they exist, for the steps that bind them. Raises Error.

        made  False if the container stays in the groups of its caller: then those are bound
        """
        groups = _groups(plan)
        for step in plan.build:
            if step.op == "bind" and step.args["source"] in groups:
                if not made:
                    controller = groups[step.args["source"]]
                    mountpoint = plan.cgroup.groups[controller][0]
                    step.args["source"] = mountpoint + facts.cgroup.own.get(controller, "").rstrip("/")
                self._bind(step, arrays, _clones_mounts(facts))

    def _maps(self, step: "Step") -> int:
        """Return a user namespace with the owners' maps of an idmapped mount: one for all mounts with the same maps."""
        maps = repr((step.args["uid_mappings"], step.args["gid_mappings"]))
        if maps not in self._user_namespaces:
            joined = next((fd for fd, kind in self.joins if kind == lib.CLONE_NEWUSER), -1)
            implied = not step.args["uid_mappings"]
            self._user_namespaces[maps] = (
                joined if implied else self.own(pyruntime.engine.child.idmapped_mounts.user_namespace(step))
            )
        return self._user_namespaces[maps]

    def _rootfs(self, step: "Step", arrays: "StepArrays", bundle: str, privileged: bool) -> str:
        configured = step.args["source"]
        fd = self.own(open_rootfs(bundle, configured))
        path = os.readlink(f"/proc/self/fd/{fd}")
        if privileged:
            tree = lib.pyr_clone_tree(fd, b"", lib.STEP_RECURSIVE)
            if tree < 0:
                raise messages.step_error(step, -tree, "open_tree", "")
            arrays.trees[id(step)] = self.own(tree)
        self._root, self._root_names = fd, {path, os.path.join(bundle, configured)}
        return path

    def _bind(self, step: "Step", arrays: "StepArrays", privileged: bool) -> None:
        """Open or check the source.

        With copy-symlink, a link becomes another step, which makes that link (crun(1)). A source in the root filesystem
        is bound by the child from the container's root, because an earlier step may have mounted it.
        """
        source, flags = step.args["source"], step.args.get("flags", 0)
        if flags & lib.STEP_MADE:
            tree = lib.pyr_device_filesystem(*(step.args[name] for name in ("mode", "dev", "uid", "gid")))
            if tree < 0:
                raise messages.step_error(step, -tree, "mknodat", "")
            arrays.trees[id(step)] = self.own(tree)
        elif flags & lib.STEP_COPY_SYMLINK and os.path.islink(source):
            step.op, step.args = "symlink", {"path": step.args["path"], "source": os.readlink(source), "flags": flags}
        elif any(source.startswith(f"{name}/") for name in self._root_names) and self._from_root(step, source):
            pass
        elif privileged and step.args.get("host_tree"):
            tree = lib.pyr_clone_tree(-100, os.fsencode(source), flags)
            if tree >= 0:
                arrays.trees[id(step)] = self.own(tree)
            elif tree != -errno.ENOENT or not self._from_root(step, source):
                raise messages.step_error(step, -tree, "open_tree", "")
        else:
            try:
                os.stat(source, follow_symlinks=not flags & lib.STEP_SOURCE_NOFOLLOW)
            except OSError as error:
                if error.errno != errno.ENOENT or not self._from_root(step, source):
                    raise messages.step_error(step, error.errno or 0, "stat", "") from None

    def _from_root(self, step: "Step", source: str) -> bool:
        """Make `step` a bind mount of the container's own path `source`; return False if that is not in its root."""
        root = os.fstat(self._root)
        above, rest = source.rstrip("/"), ""
        while above and not rest.startswith("/../"):
            try:
                status = os.stat(above)
            except OSError:
                pass
            else:
                if (status.st_dev, status.st_ino) == (root.st_dev, root.st_ino):
                    step.op, step.args = "bind_inside", {**step.args, "source": rest.rstrip("/") or "/"}
                    return True
            above, _, name = above.rpartition("/")
            rest = f"/{name}{rest or '/'}"
        return False

    def _namespace(self, step: "Step") -> int:
        # Upholds config-linux.md#namespaces/path-of-other-type.
        kind, path = step.args["namespace"], step.args["path"]
        try:
            fd = self.own(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError as error:
            raise Error(
                f"cannot join the {kind} namespace {path}",
                pointer=f"{step.pointer}/path",
                value=path,
                clause=step.clause,
                errno=error.errno or 0,
            ) from None
        found = lib.pyr_namespace_type(fd)
        if found != TYPES[kind][0]:
            actual = next((name for name, (flag, _) in TYPES.items() if flag == found), "")
            raise Error(
                f"cannot join the {kind} namespace {path}",
                f"it is a namespace of type {actual}" if actual else "it is not a namespace",
                pointer=f"{step.pointer}/path",
                value=path,
                clause=step.clause,
            )
        return fd


def _check_foreign(fd: int, step: "Step", plan: "Plan") -> None:
    """Raise Error if a joined namespace is the runtime's own and the plan would change it: that changes the host."""
    kind = step.args["namespace"]
    changes = [change for change in plan.build if _changes(change, kind)]
    if not changes:
        return
    joined, own = os.fstat(fd), os.stat(f"/proc/self/ns/{TYPES[kind][1]}")
    if (joined.st_dev, joined.st_ino) == (own.st_dev, own.st_ino):
        raise Error(
            messages.describe(changes[0]),
            f"the {kind} namespace to join, {step.args['path']}, is the host's",
            pointer=changes[0].pointer,
            clause=changes[0].clause,
            advice="give the container a namespace of its own",
        )


def _changes(step: "Step", kind: str) -> bool:
    """Tell whether `step` sets something in the namespace of type `kind`."""
    if step.op != "sysctl":
        return kind == "uts" and step.op in ("hostname", "domainname")
    return pyruntime.spec.rules.sysctl.namespace_of(step.args["path"].replace("/", ".")) == kind
