"""CRIU, the program that writes a container's processes into images and makes them again (criu(8))."""

import os

from pyruntime.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.spec.types import Config

# The options of runc's verbs that are CRIU's own, by another name at most.
FLAGS = {
    "leave-running": "--leave-running",
    "tcp-established": "--tcp-established",
    "tcp-skip-in-flight": "--skip-in-flight",
    "link-remap": "--link-remap",
    "ext-unix-sk": "--ext-unix-sk",
    "shell-job": "--shell-job",
    "file-locks": "--file-locks",
    "lazy-pages": "--lazy-pages",
    "auto-dedup": "--auto-dedup",
}
_CGROUP_MODES = ("soft", "full", "strict", "ignore")
_STREAMS = "descriptors.json"


class CriuOptions:
    """What the caller decides about images.

    images      directory of the images, absolute
    work        directory of CRIU's log and other files, absolute; that of the images by default
    parent      directory of the images before, relative to `images`, or ""
    flags       which of FLAGS are given
    cgroups     how CRIU treats cgroups: soft, full, strict, ignore
    empty       namespaces to leave empty: "network"
    page_server, status_fd, lsm_profile, lsm_context   as CRIU takes them; "" or -1 for none
    """

    def __init__(
        self,
        images: str,
        work: str = "",
        *,
        parent: str = "",
        flags: "tuple[str, ...]" = (),
        cgroups: str = "",
        empty: "tuple[str, ...]" = (),
        page_server: str = "",
        status_fd: int = -1,
        lsm_profile: str = "",
        lsm_context: str = "",
    ) -> None:
        self.images = images
        self.work = work or images
        self.parent = parent
        self.flags = flags
        self.cgroups = cgroups or "soft"
        self.empty = empty
        self.page_server = page_server
        self.status_fd = status_fd
        self.lsm_profile = lsm_profile
        self.lsm_context = lsm_context

    def arguments(self) -> "list[str]":
        """Return the arguments that dump and restore have in common. Raises Error."""
        if self.cgroups not in _CGROUP_MODES:
            raise Error(f"--manage-cgroups-mode {self.cgroups}", f"the value must be one of {', '.join(_CGROUP_MODES)}")
        words = ["--images-dir", self.images, "--work-dir", self.work, "-v4", f"--manage-cgroups={self.cgroups}"]
        words += [FLAGS[name] for name in self.flags]
        for name in self.empty:
            if name != "network":
                raise Error(f"--empty-ns {name}", "CRIU can leave only the network namespace empty")
            words += ["--empty-ns", "net"]
        if self.parent:
            words += ["--prev-images-dir", self.parent, "--track-mem"]
        if self.page_server:
            address, colon, port = self.page_server.rpartition(":")
            if not colon or not port.isdecimal():
                raise Error(f"--page-server {self.page_server}", "the value must be ADDRESS:PORT")
            words += ["--page-server", "--address", address, "--port", port]
        if self.status_fd >= 0:
            words += ["--status-fd", str(self.status_fd)]
        if self.lsm_profile:
            words += ["--lsm-profile", self.lsm_profile]
        if self.lsm_context:
            words += ["--lsm-mount-context", self.lsm_context]
        return words


def external_mounts(config: "Config", masked_files: "list[str]") -> "list[tuple[str, str]]":
    """Return the mounts whose content is not the container's: (destination, source), as CRIU has to find them again."""
    mounts = [
        (mount["destination"], mount.get("source") or "")
        for mount in config.get("mounts") or ()
        if mount.get("type") == "bind" or {"bind", "rbind"} & set(mount.get("options") or ())
    ]
    return mounts + [(path, "/dev/null") for path in masked_files]


def external_namespaces(config: "Config") -> "list[tuple[str, str]]":
    """Return the namespaces that the container only joined, which CRIU can leave to others: (name, path)."""
    names = {"network": "net", "pid": "pid"}
    return [
        (names[entry["type"]], entry["path"])
        for entry in (config.get("linux") or {}).get("namespaces") or ()
        if entry.get("path") and entry["type"] in names
    ]


def namespace_key(name: str) -> str:
    """Return what an external namespace is called in the images; runc calls it so, too."""
    return f"extRoot{name.capitalize()}NS"


def make_directories(options: CriuOptions) -> None:
    """Make the directories of images and work where they are missing. Raises Error."""
    for path in (options.images, options.work):
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError as error:
            raise Error(f"cannot make {path}", errno=error.errno or 0) from None


def run(verb: str, log: str, options: CriuOptions, words: "list[str]", descriptors: "tuple[int, ...]" = ()) -> None:
    """Run CRIU with `words`, its log going to the file `log` in the work directory.

    descriptors  what it inherits beside stdin, stdout and stderr

    Raises Error when it is missing or fails, with where the log is and what it says.
    """
    path = f"{options.work}/{log}"
    doing = f"cannot {'restore' if verb == 'restore' else 'checkpoint'} the container"
    import subprocess

    try:
        done = subprocess.run(
            ["criu", verb, *options.arguments(), "--log-file", log, *words],
            pass_fds=descriptors,
            stderr=subprocess.PIPE,
            check=False,
        )
    except OSError as error:
        raise Error(doing, "criu", errno=error.errno or 0, advice="install CRIU, or put it into $PATH") from None
    if done.returncode:
        said = _errors(path) or done.stderr.decode(errors="replace").strip()
        raise Error(
            doing, f"criu failed: exit status {done.returncode}, log file {path}", log=said, log_of="criu's log"
        )


def _errors(path: str) -> str:
    """Return the lines of CRIU's log that say what went wrong."""
    try:
        with open(path, errors="replace") as file:
            lines = [line.strip() for line in file if "Error" in line]
    except OSError:
        return ""
    return "\n".join(lines[-5:])


def save_streams(options: CriuOptions, pid: int) -> None:
    """Note beside the images what process `pid` has for stdin, stdout and stderr, as runc does. Raises Error."""
    from pyruntime.jsonio import dumps

    try:
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)]
        with open(f"{options.images}/{_STREAMS}", "w") as file:
            file.write(dumps(names))
    except OSError as error:
        raise Error(f"cannot write {options.images}/{_STREAMS}", errno=error.errno or 0) from None


def streams(options: CriuOptions) -> "list[str]":
    """Return what `save_streams` noted. Raises Error where there is no such note: then there are no images either."""
    from pyruntime.jsonio import loads

    path = f"{options.images}/{_STREAMS}"
    try:
        with open(path) as file:
            names = loads(file.read())
    except (OSError, ValueError) as error:
        raise Error(f"cannot read {path}", str(error), advice="is --image-path what checkpoint was given?") from None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
