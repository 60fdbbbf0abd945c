"""The mount of the root filesystem if the container has no mount namespace of its own: it outlives the container.

Everything that /mounts asks for is mounted inside a copy of the root filesystem that is mounted over the original, so
that one unmount at delete takes it all away (config-linux.md#namespaces, runtime.md#delete).
"""

import errno

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.json_types import RootMount


def expect(path: str, plan: "Plan") -> "RootMount":
    """Return the record for `remove`; to be called before the root filesystem `path` is mounted over itself."""
    joined = next((s.args["path"] for s in plan.namespaces if s.op == "setns" and s.args["namespace"] == "mount"), "")
    inode = os.stat(joined).st_ino if joined else 0
    root = os.stat(path)
    return {
        "path": path,
        "namespace": joined,
        "inode": inode,
        "below": 0 if joined else _mount_id(path),
        "root": [root.st_dev, root.st_ino],
    }


def remove(record: "RootMount") -> None:
    """Unmount what was mounted over the root filesystem, and nothing else. Raises Error."""
    namespace = -1
    try:
        if record["namespace"]:
            namespace = os.open(record["namespace"], os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(namespace).st_ino != record["inode"]:
                return
        elif _mount_id(record["path"]) == record["below"]:
            return
        # The path may lead to another place now, so only the root filesystem itself is unmounted.
        device, root = record.get("root") or (0, 0)
        error = -lib.pyr_unmount(namespace, os.fsencode(record["path"]), device, root)
    except FileNotFoundError:
        return  # the namespace, or the root filesystem, is gone with everything in it
    finally:
        if namespace >= 0:
            os.close(namespace)
    if error in (errno.ENOTDIR, errno.ELOOP, errno.ESTALE):
        pyruntime.base.log.warning(f"the mount of the root filesystem is left: {record['path']} leads elsewhere by now")
    elif error not in (0, errno.EINVAL, errno.ENOENT):  # nothing is mounted there, or the namespace has no such place
        raise Error(f"cannot unmount the root filesystem {record['path']}", step="umount2", errno=error)


def _mount_id(path: str) -> int:
    """Return the id of the mount that `path` leads to (proc(5), /proc/PID/fdinfo)."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        info = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(info, 4096).partition(b"mnt_id:")[2].split()[0])
        finally:
            os.close(info)
    finally:
        os.close(fd)
