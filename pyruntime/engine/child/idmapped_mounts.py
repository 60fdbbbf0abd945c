"""A user namespace that exists only for the maps of an idmapped mount (mount_setattr(2), MOUNT_ATTR_IDMAP)."""

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.plan.namespaces import mapping_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step


def user_namespace(step: "Step") -> int:
    """Return a descriptor of a new user namespace with the step's `uid_mappings` and `gid_mappings`.

    The caller owns it. Raises Error when the kernel refuses the namespace or the maps.

    Upholds config.md#linux-mount-options/idmap-own-mappings.
    """
    pid = lib.pyr_user_namespace_process()
    if pid < 0:
        raise _refused(step, -pid, "clone")
    try:
        for name in ("uid", "gid"):
            fd = os.open(f"/proc/{pid}/{name}_map", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, mapping_text(step.args[f"{name}_mappings"]).encode())
            finally:
                os.close(fd)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(step, error.errno or 0, "write(/proc/PID/uid_map)") from None
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def apply(step: "Step", tree: int, maps: int) -> None:
    """Map the owners in the detached `tree` by the user namespace `maps`. Raises Error when the filesystem cannot.

    Upholds config.md#posix-platform-mounts/uid-mappings-by-setattr.
    """
    error = lib.pyr_idmap_tree(tree, maps, bool(step.args["flags"] & lib.STEP_IDMAP_RECURSIVE))
    if error:
        raise _refused(step, -error, "mount_setattr(MOUNT_ATTR_IDMAP)")


def _refused(step: "Step", error: int, call: str) -> Error:
    return Error(
        f"cannot map the owners of the mount at {step.args['path']}",
        pointer=step.pointer,
        clause="config.md#linux-mount-options",
        step=call,
        errno=error,
    )
