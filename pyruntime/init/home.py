"""HOME for a process whose environment has none, as every caller of runc expects it (no clause).

The spec says nothing of it (config.md#process); Docker, containerd and Kubernetes leave it to the runtime.
"""

import _stat as stat

from pyruntime.base import lean_os as os

_PASSWD = "/etc/passwd"
_DEFAULT = b"/"
_HOME = 5  # passwd(5): name, password, uid, gid, comment, home, shell
_LIMIT = 1 << 20  # bytes: more is no list of users


def with_home(env: "list[str]", uid: int) -> "list[str]":
    """Return `env`, with the home directory of user `uid` where HOME is missing or empty.

    To be called inside the container, as its user: the file that tells is the container's own.
    """
    entries = [entry for entry in env if entry.startswith("HOME=")]
    if entries and entries[-1] != "HOME=":
        return env
    return [*(entry for entry in env if entry not in entries), "HOME=" + os.fsdecode(_home(uid))]


def _home(uid: int) -> bytes:
    wanted = str(uid).encode()
    for line in _read().split(b"\n"):
        fields = line.split(b":")
        if len(fields) > _HOME and fields[2] == wanted:
            # It goes into an environment, where a NUL would end it.
            return fields[_HOME].partition(b"\0")[0]
    return _DEFAULT


def _read() -> bytes:
    """Return the list of users; nothing where it cannot be read, or is a file that could keep us waiting."""
    try:
        if not stat.S_ISREG(os.stat(_PASSWD).st_mode):
            return b""
        fd = os.open(_PASSWD, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        status = os.fstat(fd)
        # No more than there is: for the whole limit there would have to be memory first.
        return os.read(fd, min(status.st_size, _LIMIT)) if stat.S_ISREG(status.st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)
