"""Removes a directory in a container's directory: the one of its notify socket (engine/caller/notify_socket.py)."""

from pyruntime.base import lean_os as os

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(name: str, parent: int) -> None:
    """Remove the directory `name` below the descriptor `parent` with all in it. Raises OSError.

    The container may have written there, so no link in it is followed. The tree may be too deep for a path or for the
    limit of descriptors: so each directory of the second level is moved to the first level, until there is none.
    """
    top = os.open(name, _FLAGS, dir_fd=parent)
    try:
        moved = 0
        while entries := os.listdir(top):
            for entry in entries:
                if _unlinked(entry, top):
                    continue
                below = os.open(entry, _FLAGS, dir_fd=top)
                try:
                    for inner in os.listdir(below):
                        if not _unlinked(inner, below):
                            moved += 1
                            os.rename(inner, _free(moved, top), src_dir_fd=below, dst_dir_fd=top)
                finally:
                    os.close(below)
                os.rmdir(entry, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _unlinked(name: str, directory: int) -> bool:
    """Remove the file `name`; return False if it is a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    return True


def _free(number: int, directory: int) -> str:
    """Return a name that is not in use: dots are added to `number` while the container has a file of that name."""
    name = f"{number}"
    while _is_there(name, directory):
        name += "."
    return name


def _is_there(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
