"""Removing a directory in a container's directory: the one of its notify socket (engine/caller/notify_socket.py)."""

from pyruntime.base import lean_os as os

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(name: str, parent: int) -> None:
    """Remove the directory `name` below the descriptor `parent` with all in it. Raises OSError.

    The container may have written there, so nothing in it is followed. A tree may be deeper than a path is long, and
    than there are descriptors: a directory below one of the first level is moved to that level, until there is none.
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
    """Remove what is not a directory; False where it is one."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    return True


def _free(number: int, directory: int) -> str:
    """Return a name that nothing has: one that the container has chosen is longer by a dot each time."""
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
