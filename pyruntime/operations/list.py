"""The containers below a state root, each with its state."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.operations.state import state_of
from pyruntime.store import container as stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FIELDS = 6  # of a line of passwd(5), beside the name
_PART = 1 << 16  # bytes


def containers(root: str, must_exist: bool, complain: "Callable[[str, Error], None]") -> "list[dict[str, object]]":
    """Return the state of each container below `root`, by id; `owner` is the name of the owner of its directory.

    must_exist  if True, a missing directory is an error; otherwise it means that there are no containers
    complain    called with the id and the error for each state that cannot be read; the others are listed

    Raises Error when the directory cannot be read.
    """
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError as error:
        if not must_exist:
            return []
        raise Error(f"cannot read {root}", errno=error.errno or 0) from None
    except OSError as error:
        raise Error(f"cannot read {root}", errno=error.errno or 0) from None
    found = []
    owners: dict[int, str] = {}
    for name in names:
        path = f"{root}/{name}"
        # No id contains "~": such a directory is the runtime's own.
        if name.startswith("~"):
            continue
        try:
            with stored.open_container(root, name, to_read=True) as container:
                document = state_of(container)
            if container.owner not in owners:
                owners[container.owner] = _user(container.owner)
            document["owner"] = owners[container.owner]
        except FileNotFoundError:
            continue  # deleted meanwhile
        except Error as error:
            # Otherwise it is no container, or has been deleted meanwhile.
            if os.path.isdir(path):
                complain(name, error)
            continue
        found.append(document)
    return found


def _user(uid: int) -> str:
    """Return the name that passwd(5) has for user `uid`, or "#UID" if it has none or cannot be read.

    The name services of nsswitch.conf(5) are not asked: they are shared objects, which the program cannot load.
    """
    for line in _passwd().split(b"\n"):
        name, *fields = line.split(b":")
        if len(fields) == _FIELDS and fields[1] == b"%d" % uid and name:
            return os.fsdecode(name)
    return f"#{uid}"


def _passwd() -> bytes:
    text = b""
    try:
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while part := os.read(fd, _PART):
                text += part
        finally:
            os.close(fd)
    except OSError:
        pass
    return text
