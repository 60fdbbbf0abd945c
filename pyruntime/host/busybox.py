"""A root filesystem made of one static busybox: enough to try a configuration."""

import shutil
import subprocess

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

_PLACES = ("/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static")
_DIRECTORIES = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var")
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
_GROUP = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"


def find(wanted: str = "busybox") -> str:
    """Return the path of a statically linked busybox: `wanted` itself, or one of this host by that name.

    Raises Error where there is none.
    """
    places: list[str | None] = [shutil.which(wanted), *(_PLACES if wanted == "busybox" else ())]
    for place in places:
        if place and os.path.isfile(place) and _is_static(place):
            return os.path.realpath(place)
    raise Error(f"there is no statically linked {wanted}", advice="apt-get install busybox-static")


def _is_static(path: str) -> bool:
    # A dynamic program names its loader near its beginning.
    with open(path, "rb") as file:
        return b"/ld-" not in file.read(4096)


def make_rootfs(path: str, program: str) -> None:
    """Make a root filesystem in the new directory `path`: busybox with a link for each of its applets.

    program  path of a static busybox

    Raises Error where the directory exists or cannot be made, and where the program is no busybox.
    """
    try:
        applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError) as error:
        raise Error(f"{program} is no busybox", str(error)) from None
    try:
        os.makedirs(path)
        for name in _DIRECTORIES:
            os.mkdir(f"{path}/{name}")
        os.chmod(f"{path}/tmp", 0o1777)
        for name in ("sbin", "usr/bin", "usr/sbin"):
            os.symlink("/bin", f"{path}/{name}")
        shutil.copy(program, f"{path}/bin/busybox")
        os.chmod(f"{path}/bin/busybox", 0o755)
        for applet in applets:
            if applet != "busybox" and "/" not in applet:
                os.symlink("busybox", f"{path}/bin/{applet}")
        for name, text in (("passwd", _PASSWD), ("group", _GROUP)):
            with open(f"{path}/etc/{name}", "w", encoding="ascii") as file:
                file.write(text)
    except OSError as error:
        raise Error(f"cannot make the root filesystem {path}", errno=error.errno or 0) from None
