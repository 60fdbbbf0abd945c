"""The containers below a state root, each with its state."""

from _stat import S_ISDIR

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.operations.state import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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
            status = os.stat(path)
            if not S_ISDIR(status.st_mode):
                continue
            document = state(root, name)
            if status.st_uid not in owners:
                owners[status.st_uid] = _user(status.st_uid)
            document["owner"] = owners[status.st_uid]
        except FileNotFoundError:
            continue  # deleted meanwhile
        except Error as error:
            if os.path.lexists(path):
                complain(name, error)
            continue
        found.append(document)
    return found


def _user(uid: int) -> str:
    """Return the name of user `uid`, or "#UID" if it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
