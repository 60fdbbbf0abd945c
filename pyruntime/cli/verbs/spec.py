"""`spec`: write a config.json to start from."""

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.base.jsonio import dumps
from pyruntime.host import cgroups
from pyruntime.spec.default_config import default_config, for_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.cli.parse import CommandLine


def main(line: "CommandLine") -> int:
    """Write config.json into the bundle, and make its root filesystem where asked; Error when one is there already."""
    config = default_config(cgroup_namespace=cgroups.detect().mode == "v2")
    if line.options["rootless"]:
        config = for_user(config, os.geteuid(), os.getegid())
    bundle = line.options["bundle"] or "."
    path = os.path.join(bundle, "config.json")
    program = ""
    if line.options["rootfs-from"]:
        program = pyruntime.host.busybox.find(line.options["rootfs-from"])
        rootfs = os.path.join(bundle, config["root"]["path"])
        if os.path.lexists(rootfs):
            raise Error(f"cannot make {rootfs}", "it is there already", advice="remove it, or leave out --rootfs-from")
    _write_new(path, dumps(config, indent="\t") + "\n")
    if program:
        try:
            pyruntime.host.busybox.make_rootfs(rootfs, program)
        except Error:
            os.unlink(path)
            raise
    return 0


def _write_new(path: str, text: str) -> None:
    """Write `text` to `path`, which must not be there: not even as a dangling link (O_EXCL)."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError as error:
        raise Error(f"cannot write {path}", errno=error.errno or 0, advice="remove it first") from None
    except (OSError, ValueError) as error:
        raise Error(f"cannot write {path!r}", errno=getattr(error, "errno", 0) or 0) from None
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        # Half a configuration would be in the way of the next attempt.
        os.unlink(path)
        raise Error(f"cannot write {path}", errno=error.errno or 0) from None
