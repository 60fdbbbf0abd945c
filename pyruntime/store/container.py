"""One container's directory: its state file, its lock, its start gate.

ROOT/ID/            locked with flock(2) by the process that changes the container
ROOT/ID/first.json  the state before anything was made: valid until there is a state.json, and used by
                    `delete --force` if that is damaged
ROOT/ID/state.json  the state since the container is created; replaced as a whole, never written in place
ROOT/ID/config.json the configuration at create
ROOT/ID/holder      the process that holds the lock while hooks run
ROOT/ID/start.sock  the start gate: init listens here from `created` until it executes the program, and only then.
                    `start` connects to let init continue. The container is `created` as long as init has executed no
                    program. The kernel shows that (store/process.py), so no stored status can be wrong after a crash.

One file, although it is long: every verb needs nearly all of it, and loading another module takes time.
"""

import errno
import fcntl
import time

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base import jsonio
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error, refused
from pyruntime.store import process, state_shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.spec.json_types import Config, StateFile

VERSION = 1
_STATE = "state.json"
_FIRST = "first.json"
_CONFIG = "config.json"
_GATE = "start.sock"
NOTIFY_DIRECTORY = "notify"  # of the notify socket; the container may write there
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_IDS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-."
_PAUSE = 0.01  # seconds between two attempts to take the lock
_ID_LIMIT = 1024
_NAME_LIMIT = 255
_USUAL = 4096  # bytes of a state file
_TEXT = ffi.typeof("char[]")
_FROZEN = lib.PYR_FROZEN
_MOST_OF_A_STRANGER = 1 << 20  # bytes


def _beside(name: str) -> str:
    return f".{name}.new"


def check_id(container_id: str) -> None:
    """Raise Error unless `container_id` can name a container: a plain file name without control characters.

    The spec does not define the form of ids (runtime.md#create); this is runc's set of characters.

    Upholds runtime.md#create/id-taken-or-invalid.
    """
    reason = ""
    size = len(os.fsencode(container_id))
    if not container_id:
        reason = "it is empty"
    elif size > _ID_LIMIT:
        reason = f"it has {size} bytes, more than {_ID_LIMIT}"
    elif size > _NAME_LIMIT:
        reason = f"it has {size} bytes, and a file name has at most {_NAME_LIMIT}"
    elif container_id in (".", ".."):
        reason = "it names a directory"
    elif container_id.strip(_OF_IDS):
        wrong = next(c for c in container_id if c not in _OF_IDS)
        reason = f"it contains {wrong!r}; letters, digits and _ + - . are allowed"
    if reason:
        raise Error(f"{container_id[:64]!r} is not a container id", reason, clause="runtime.md#create")


class Container:
    """The open directory of a container. Call `close` when done; this also releases the lock.

    owner        the user id of its owner
    of_stranger  whether the owner is neither the caller nor root, so that its files cannot be trusted
    """

    __slots__ = ("container_id", "fd", "noted", "of_stranger", "owner", "path")

    def __init__(self, path: str, container_id: str, fd: int) -> None:
        self.path = path
        self.container_id = container_id
        self.fd = fd
        self.noted = False
        self.owner = -1
        self.of_stranger = False

    def close(self) -> None:
        """Close the directory; this releases its lock."""
        if self.fd >= 0:
            self._forget()
            os.close(self.fd)
            self.fd = -1

    def release(self) -> None:
        """Release the lock; the directory stays open."""
        self._forget()
        os.call(fcntl.flock, self.fd, fcntl.LOCK_UN)

    def _forget(self) -> None:
        if self.noted:
            pyruntime.store.lock_holder.forget(self.fd)
            self.noted = False

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lock(self) -> None:
        """Take the lock; wait while another process has it. Raises Error if the container was deleted meanwhile."""
        os.call(fcntl.flock, self.fd, fcntl.LOCK_EX)
        if self.is_deleted():
            raise unknown(self.container_id)

    def lock_unless_creating(self) -> bool:
        """Do as `lock`, but return False, without the lock, while the container's `create` has it."""
        if not self.try_lock():
            state = self.read()
            if state is not None and state["status"] == "creating":
                return False
            os.call(fcntl.flock, self.fd, fcntl.LOCK_EX)
        if self.is_deleted():
            raise unknown(self.container_id)
        return True

    def hold(self) -> None:
        """Let `delete --force` kill this process, which has the lock, while it waits for hooks (lock_holder.py).

        Raises Error if the file that says so cannot be written.
        """
        self.noted = True
        try:
            pyruntime.store.lock_holder.note(self.fd)
        except OSError as error:
            raise _unwritable("write", f"{self.path}/{pyruntime.store.lock_holder.NOTE}", error) from None

    def is_deleted(self) -> bool:
        """Tell whether the directory has been removed, so that its lock protects nothing any more."""
        return os.fstat(self.fd).st_nlink == 0

    def try_lock(self) -> bool:
        """Take the lock if it is free; return whether it was."""
        try:
            os.call(fcntl.flock, self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def lock_within(self, seconds: float) -> bool:
        """Take the lock, waiting at most `seconds`; return False if another process still has it.

        If the container was deleted meanwhile, this returns as well.
        """
        deadline = time.monotonic() + seconds
        while not self.try_lock() and not self.is_deleted():
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True

    def write_file(self, name: str, content: bytes) -> None:
        """Write `content` to the file `name`, completely or not at all.

        The file is not synced to the disk: no container survives a reboot.
        """
        self._write_beside(name, content)
        self._rename_over(name)

    def _write_beside(self, name: str, content: bytes) -> None:
        self._write(_beside(name), content)

    def _write(self, name: str, content: bytes) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self.fd)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)

    def _rename_over(self, name: str) -> None:
        os.rename(_beside(name), name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def write(self, state: "StateFile") -> None:
        """Replace state.json. Raises Error when it cannot be written."""
        self.prepare(state)
        self.put()

    def prepare(self, state: "StateFile") -> None:
        """Write the file that `put` makes state.json. Raises Error when it cannot be written."""
        try:
            self._write_beside(_STATE, jsonio.line(state).encode())
        except OSError as error:
            raise _unwritable("write", f"{self.path}/{_STATE}", error) from None

    def put(self) -> None:
        """Replace state.json by the file that `prepare` wrote. Raises Error."""
        try:
            self._rename_over(_STATE)
        except OSError as error:
            raise _unwritable("write", f"{self.path}/{_STATE}", error) from None

    def begin(self, state: "StateFile") -> None:
        """Write the state of a container that is being created. Raises Error when it cannot be written.

        It is not a state.json that is replaced later, because many file systems write a file to the disk at once if it
        replaces another one by rename, and wait for the disk when it is removed.
        """
        try:
            self.write_file(_FIRST, jsonio.line(state).encode())
        except OSError as error:
            raise _unwritable("write", f"{self.path}/{_FIRST}", error) from None

    def read_first(self) -> "StateFile | None":
        """Return the state that `begin` wrote: all that may have been made, but no process. None if unreadable."""
        try:
            return self._read(_FIRST, of_any_version=True)
        except Error:
            return None

    def read(self) -> "StateFile | None":
        """Return the state; None while `create` has not written it yet. Raises Error when it is damaged."""
        state = self._read(_STATE)
        return self._read(_FIRST) if state is None else state

    def _read(self, name: str, of_any_version: bool = False) -> "StateFile | None":
        try:
            content = self._content(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Error(f"cannot read {self.path}/{name}", errno=error.errno or 0) from None
        return _parse_state(f"{self.path}/{name}", self.container_id, content, of_any_version)

    def _content(self, name: str) -> bytes:
        """Return the content of the file `name`. Raises OSError; Error if it is no file that this runtime writes."""
        room = _USUAL
        while True:
            text = ffi.new(_TEXT, room)
            size = lib.pyr_read_file(self.fd, name.encode(), text, room)
            if size == -errno.ENOTSUP:
                raise Error(f"cannot read {self.path}/{name}", "it is not a regular file")
            if size < 0:
                raise refused("open", name, OSError(-size, ""))
            if size <= room:
                content: bytes = ffi.unpack(text, size)
                return content
            if self.of_stranger and size > _MOST_OF_A_STRANGER:
                reason = f"it has {size} bytes; of another user's at most {_MOST_OF_A_STRANGER} are read"
                raise Error(f"cannot read {self.path}/{name}", reason)
            room = size

    def keep_config(self, document: bytes) -> None:
        """Store the configuration of create: later changes of the bundle have no effect (runtime.md#lifecycle).

        No verb reads it before state.json says that the container is created. Raises Error when it cannot be written.

        Upholds runtime.md#lifecycle/config-read-once.
        """
        try:
            self._write(_CONFIG, document)
        except OSError as error:
            raise _unwritable("write", f"{self.path}/{_CONFIG}", error) from None

    def write_config(self, config: "Config") -> None:
        """Replace the configuration. Raises Error when it cannot be written."""
        try:
            self.write_file(_CONFIG, jsonio.dumps(config).encode())
        except OSError as error:
            raise _unwritable("write", f"{self.path}/{_CONFIG}", error) from None

    def read_config(self) -> "Config":
        """Return the configuration that `create` stored. Raises Error when it is damaged."""
        try:
            return jsonio.loads(self._content(_CONFIG).decode())  # type: ignore[return-value]  # it was checked before it was stored
        except (OSError, ValueError) as error:
            raise Error(f"cannot read {self.path}/{_CONFIG}", str(error)) from None

    def gate(self) -> str:
        """Return a path of the start gate that fits into a socket's address, however long the path of the root is."""
        return f"/proc/self/fd/{self.fd}/{_GATE}"

    def listen(self) -> int:
        """Make the start gate; return the listening descriptor, which the caller owns. Raises Error."""
        sock = lib.pyr_listen(self.gate().encode())
        if sock < 0:
            raise _unwritable("make", f"{self.path}/{_GATE}", OSError(-sock, ""))
        return sock

    def connect(self) -> int:
        """Return a connection to the waiting init, which the caller owns, or -1 if no init waits. Raises Error."""
        sock = lib.pyr_connect(self.gate().encode())
        if sock < 0 and -sock not in (errno.ECONNREFUSED, errno.ENOENT):
            raise Error("cannot reach the container's init", errno=-sock)
        return max(sock, -1)

    def has_gate(self) -> bool:
        """Tell whether an init has listened at the gate: one that CRIU made has not."""
        return bool(os.access(_GATE, os.F_OK, dir_fd=self.fd, follow_symlinks=False))

    def status(self, state: "StateFile | None") -> str:
        """Return the status of the container with state file `state`, computed from the system (runtime.md#state).

        Upholds runtime.md#state/status, runtime.md#state/status-extra-values.
        """
        if state is None or state["status"] == "creating":
            # The creating process holds the lock until it exits.
            probe = os.open(".", _OPEN, dir_fd=self.fd)
            with Container(self.path, self.container_id, probe) as other:
                return "stopped" if other.try_lock() else "creating"
        flags = process.flags(state["pid"], state["start_time"])
        if flags < 0:
            return "stopped"
        # The groups are those that the state names.
        if not self.of_stranger and _paused(state, bool(flags & process.SLEEPS)):
            return "paused"
        if not flags & process.NEVER_EXECUTED:
            return "running"
        # An init that is killed while it waits exists for some time.
        if flags & process.ENDING:
            return "stopped"
        # Init listens at the gate until it executes the program. Processes that CRIU made have executed nothing either.
        return "created" if self.has_gate() else "running"

    def check_process(self, state: "StateFile") -> None:
        """Raise Error unless init is still the process of `state`; to be called after a pidfd of it is opened."""
        if not process.alive(state["pid"], state["start_time"]):
            raise Error(f"container {self.container_id!r} has just ended", clause="runtime.md#state")

    def remove(self) -> None:
        """Remove the directory with the files that pyruntime wrote into it; then the id is free.

        The files of the notify socket's directory are removed. In any other directory a killed `restore` has
        mounted the root filesystem: it is unmounted, and no file in it is removed. Raises Error.
        """
        try:
            self._remove()
        except OSError as error:
            raise _unwritable("remove", self.path, error) from None

    def _remove(self) -> None:
        # Most containers have no other files.
        for name in (_STATE, _GATE, _CONFIG, _FIRST):
            try:
                os.unlink(name, dir_fd=self.fd)
            except (FileNotFoundError, IsADirectoryError):
                pass
        try:
            os.rmdir(self.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self._remove_others()
            os.rmdir(self.path)

    def _remove_others(self) -> None:
        for name in os.listdir(self.fd):
            try:
                os.unlink(name, dir_fd=self.fd)
            except IsADirectoryError:
                if name != NOTIFY_DIRECTORY:
                    import subprocess  # late: only after a `restore` that was killed

                    words = [pyruntime.host.programs.need("umount"), "--lazy", f"{self.path}/{name}"]
                    subprocess.run(words, stderr=subprocess.DEVNULL, check=False)
                    os.rmdir(name, dir_fd=self.fd)
                    continue
                pyruntime.store.remove_tree.remove(name, self.fd)


def _paused(state: "StateFile", sleeps: bool) -> bool:
    """Tell whether init is frozen, by a group of the container or by a group that the container made below.

    sleeps  whether init has the state S: version 1's freezer gives what it freezes the state D
    """
    paths = state["cgroup"].get("paths")
    if not paths:
        return False
    unified, freezer = paths.get("", ""), "" if sleeps else paths.get("freezer", "")
    if not unified and not freezer:
        return False
    found = lib.pyr_freezers(os.fsencode(unified), os.fsencode(freezer))
    if found & _FROZEN:
        return True
    return bool(found) and pyruntime.cgroup.freezer.holds(paths, state["pid"])


def _parse_state(path: str, container_id: str, content: bytes, of_any_version: bool) -> "StateFile":
    doing = f"cannot read {path}"
    advice = f"pyruntime delete --force {container_id} removes the container"
    try:
        state = jsonio.loads(content.decode())
    except ValueError as error:
        raise Error(doing, f"it is damaged: {error}", advice=advice) from None
    if not isinstance(state, dict) or not isinstance(state.get("version"), int):
        raise Error(doing, "it is damaged: not a state of pyruntime", advice=advice)
    if state["version"] != VERSION and not of_any_version:
        raise Error(doing, f"it has version {state['version']}, this pyruntime reads {VERSION}", advice=advice)
    wrong = state_shape.misfit(state)
    if wrong:
        raise Error(doing, f"it is damaged: {wrong} is missing or wrong", advice=advice)
    return state  # type: ignore[return-value]


class Unknown(Error):
    """The container does not exist, or not any more."""


def _unwritable(doing: str, path: str, error: OSError) -> Error:
    return pyruntime.store.unwritable.unwritable(doing, path, error)


def unknown(container_id: str) -> Unknown:
    """Return the error for a container that does not exist, or not any more."""
    return Unknown(f"container {container_id!r} does not exist", clause="runtime.md#state")


def _make(root: str, path: str) -> None:
    """Make the directory `path` in `root`, and `root` if it is missing.

    Another user can use it at no moment: mkdir(2) itself sets owner and mode, of which a umask or a default ACL only
    takes away, and nothing changes them later.
    """
    try:
        os.mkdir(path, 0o700)
        return
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        os.makedirs(root, 0o711, exist_ok=True)
    except OSError as error:
        raise _unwritable("make the state root", root, error) from None
    os.mkdir(path, 0o700)


def create(root: str, container_id: str) -> Container:
    """Take `container_id` in the state root `root`: make its directory and lock it.

    Raises Error when the id is not valid or not free.
    """
    check_id(container_id)
    path = f"{root}/{container_id}"
    try:
        _make(root, path)
        try:
            fd = os.open(path, _OPEN)
        except OSError:
            os.rmdir(path)
            raise
    except FileExistsError:
        raise Error(f"container {container_id!r} exists already", clause="runtime.md#create") from None
    except OSError as error:
        failure = _unwritable("make", path, error)
        if error.errno == errno.EACCES:
            failure.advice = "choose a directory of your own with --root"
        raise failure from None
    container = Container(path, container_id, fd)
    try:
        container.lock()
        container.hold()
    except Error:
        # Not `remove`, which needs one more descriptor to list the directory.
        container.release()
        os.rmdir(path)
        container.close()
        raise
    return container


def open_container(root: str, container_id: str, *, to_read: bool = False) -> Container:
    """Open the directory of an existing container, without its lock. Raises Error when there is none.

    to_read  the caller only prints the state, and opens no path in it. Otherwise a directory of another user is
             refused, because its state file names processes to signal, files to write and hooks to run

    Upholds runtime.md#scope-of-a-container/creator-can-operate, runtime.md#query-state/unknown-container.
    """
    check_id(container_id)
    path = f"{root}/{container_id}"
    try:
        fd = os.open(path, _OPEN)
    except (FileNotFoundError, NotADirectoryError):
        raise unknown(container_id) from None
    except OSError as error:
        raise Error(f"cannot open {path}", errno=error.errno or 0) from None
    container = Container(path, container_id, fd)
    container.owner = owner = os.fstat(fd).st_uid
    if owner == os.geteuid():
        return container
    container.of_stranger = owner != 0
    if not to_read:
        container.close()
        raise Error(
            f"cannot use container {container_id!r}",
            f"{path} belongs to user {owner}, not to user {os.geteuid()} who calls",
            clause="runtime.md#scope-of-a-container",
            advice="call as that user",
        )
    return container
