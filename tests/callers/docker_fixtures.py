"""Docker Engine with directories and a socket of its own, in three ways; conftest.py hands the fixtures on."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from calling import PATH, Caller, Daemon, containers_in, need, remove_parent_cgroup, unmount_below, until


class Docker(Caller):
    """The client of a dockerd; `runtime_root` is where pyruntime keeps the state of its containers."""

    def __init__(self, place: Path, runtime_root: Path) -> None:
        environment = {
            "DOCKER_HOST": f"unix://{place}/docker.sock",
            "DOCKER_CONFIG": str(place / "client"),
            "DOCKER_BUILDKIT": "0",
        }
        super().__init__(["docker"], {"run": ["--network", "none"]}, environment)
        self.runtime_root = runtime_root

    def inspect(self, name, template) -> str:
        return self("inspect", "--format", template, name).stdout.strip()

    def pid(self, name) -> int:
        return int(self.inspect(name, "{{.State.Pid}}"))

    def state(self, name) -> "tuple[str, int]":
        """Return the status and the exit status."""
        status, code = self.inspect(name, "{{.State.Status}} {{.State.ExitCode}}").split()
        return status, int(code)

    def ended(self, name) -> int:
        """Wait until a container has ended, and return its exit status."""
        until(lambda: self.state(name)[0] == "exited", f"{name} to end")
        return self.state(name)[1]

    def logged(self, name, text) -> None:
        """Wait until a container has said `text` and nothing else."""
        until(lambda: self("logs", name).stdout == text, f"{name} to say {text!r}")

    def clean(self) -> None:
        """Remove every container; none may be left in pyruntime's hands."""
        names = self("ps", "--all", "--quiet").stdout.split()
        if names:
            self("rm", "--force", "--volumes", *names)
        assert containers_in(self.runtime_root) == []


@contextlib.contextmanager
def _engine(place: Path, image: Path, cgroup: str, *flags, path=PATH):
    """A dockerd in the directory `place` with the image IMAGE; on `path` it looks for programs, runc among them."""
    need("dockerd", "docker", "containerd")
    (place / "daemon.json").write_text("{}")
    command = [
        "dockerd",
        *("--config-file", place / "daemon.json"),
        *("--data-root", place / "data"),
        *("--exec-root", place / "exec"),
        *("--pidfile", place / "docker.pid"),
        *("--host", f"unix://{place}/docker.sock"),
        *("--containerd-namespace", "docker"),
        *("--cgroup-parent", f"/{cgroup}"),
        *("--bridge=none", "--iptables=false", "--ip6tables=false"),
        *flags,
    ]
    key = Path("/etc/docker/key.json")
    known = [path for path in (key, key.parent) if path.exists()]
    docker = Docker(place, place / "exec/runtime-runc/docker")
    daemon = Daemon(command, place / "log", path)
    try:
        host = docker.environment["DOCKER_HOST"]
        until(lambda: daemon.answers("docker", "--host", host, "version"), "dockerd to answer")
        docker("load", "--input", image)
        yield docker
        docker.clean()
    finally:
        daemon.stop()
        # What dockerd makes outside of the directories it is given.
        if key not in known:
            key.unlink(missing_ok=True)
        if key.parent not in known:
            shutil.rmtree(key.parent, ignore_errors=True)
        unmount_below(place)
    remove_parent_cgroup(cgroup)


@pytest.fixture(scope="session")
def docker_session(tmp_path_factory, pyruntime, session, image):
    """A dockerd to which pyruntime is added, as its default runtime."""
    place = tmp_path_factory.mktemp("docker")
    flags = ["--add-runtime", f"pyruntime={pyruntime}", "--default-runtime", "pyruntime"]
    with _engine(place, image, f"{session}-docker", *flags) as docker:
        yield docker


@pytest.fixture
def docker(docker_session):
    """The client of a dockerd to which pyruntime is added, as its default runtime."""
    yield docker_session
    docker_session.clean()


@pytest.fixture(scope="session")
def drop_in_docker_session(tmp_path_factory, pyruntime, session, image):
    """A dockerd that knows of no pyruntime: its `runc` is one."""
    place = tmp_path_factory.mktemp("docker")
    (place / "bin").mkdir()
    (place / "bin/runc").symlink_to(pyruntime)
    with _engine(place, image, f"{session}-runc", path=f"{place}/bin:{PATH}") as docker:
        yield docker


@pytest.fixture
def drop_in_docker(drop_in_docker_session):
    """The client of a dockerd that knows of no pyruntime: its `runc` is one."""
    yield drop_in_docker_session
    drop_in_docker_session.clean()


@pytest.fixture(scope="session")
def remapped_docker_session(ordinary, pyruntime, session, image):
    """A dockerd whose containers have the ids of an ordinary user."""
    # Root in the container is nobody on the host, and has to get there.
    place = Path(tempfile.mkdtemp(prefix=f"{session}-"))
    place.chmod(0o755)
    flags = ["--add-runtime", f"pyruntime={pyruntime}", "--default-runtime", "pyruntime"]
    try:
        with _engine(place, image, f"{session}-remap", *flags, "--userns-remap", ordinary.name) as docker:
            yield docker
    finally:
        shutil.rmtree(place)


@pytest.fixture
def remapped_docker(remapped_docker_session):
    """The client of a dockerd whose containers have the ids of an ordinary user."""
    yield remapped_docker_session
    remapped_docker_session.clean()
