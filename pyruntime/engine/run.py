"""`run`: create and start a container; in the foreground also wait for it, be its terminal, and delete it."""

from pyruntime import os
from pyruntime._stub import ffi, lib
from pyruntime.engine import foreground
from pyruntime.engine.create import make
from pyruntime.engine.delete import delete
from pyruntime.engine.options import CreateOptions
from pyruntime.engine.start import start_created
from pyruntime.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.create import Creation
    from pyruntime.spec.types import StateFile


def run(container_id: str, options: CreateOptions, *, detach: bool, keep: bool, subreaper: bool = True) -> int:
    """Run the container; return the exit status of its process (128+n for a signal), or 0 at once with `detach`.

    keep       leave the stopped container instead of deleting it
    subreaper  in the foreground, wait for processes that the container's own have left behind (prctl(2))

    Raises Error when it cannot be created or started; then nothing of it is left.
    """
    if detach:
        creation = make(container_id, options)
        creation.child.close()
        _start(creation, accompanied=False)
        return 0
    if options.console_socket:
        raise Error(
            "nobody would read the console socket",
            "in the foreground pyruntime itself is the terminal",
            advice="add --detach, or leave out --console-socket",
        )
    if subreaper:
        lib.pyr_prctl(lib.PR_SET_CHILD_SUBREAPER, 1, 0)
    mask = foreground.hold_signals()
    try:
        status, state = _run_in_foreground(container_id, options)
        if not keep:
            # By force, because without a pid namespace of its own it may have left processes behind.
            delete(options.root, container_id, True, state)
        return status
    finally:
        foreground.release_signals(mask)


def _run_in_foreground(container_id: str, options: CreateOptions) -> "tuple[int, StateFile]":
    """Create and start the container and wait for its end; return its exit status, and its state."""
    pair = ffi.new("int[2]")
    error = lib.pyr_socketpair(pair)
    if error:
        raise Error("cannot make a socket pair", errno=-error)
    ours, options.console_fd = pair
    try:
        creation = make(container_id, options)
        # Without a terminal nobody has the other end any more.
        master = lib.pyr_recv_fd(ours)
    finally:
        os.close(ours)
    child = creation.child
    try:
        if master >= 0:
            foreground.prepare(master)
        _start(creation, accompanied=True)
        if master < 0:
            return foreground.wait(child.pidfd, child.pid), creation.state
        return foreground.relay(master, child.pidfd, child.pid), creation.state
    finally:
        child.close()


def _start(creation: "Creation", *, accompanied: bool) -> None:
    """Start the container just created; delete it when that fails."""
    try:
        start_created(creation.container, creation.state, accompanied=accompanied)
    except Error:
        try:
            delete(creation.options.root, creation.container_id, True, creation.state)
        except Error as error:
            from pyruntime import log

            log.warning(str(error))
        raise
