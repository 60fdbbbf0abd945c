"""Removing a directory that lies in a container's directory: the one of its notify socket (engine/notify.py)."""

from pyruntime import os


def remove(name: str, parent: int) -> None:
    """Remove the directory `name` below the descriptor `parent` with the files in it. Raises OSError.

    The container may have written there, so nothing in it is followed, and no directory is expected.
    """
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        for file in os.listdir(fd):
            os.unlink(file, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)
