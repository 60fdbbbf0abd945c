"""An ordinary user made for the tests, with ids of its own for user namespaces, a home and the program."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from calling import PATH, Caller, need, until

import bundle as bundles


class Ordinary:
    """The user `name`; `home` is its home, where anybody may go and look; `program` a pyruntime that it may run."""

    def __init__(self, name: str, home: Path, program: Path) -> None:
        self.name = name
        self.home = home
        self.program = program
        self.uid = pwd.getpwnam(name).pw_uid

    @property
    def runtime_root(self) -> Path:
        """Where pyruntime keeps the state of this user's containers."""
        return self.home / "run/pyruntime"

    def caller(self, words, options=None, **environment) -> Caller:
        """Return a Caller whose program runs as this user, with nothing of root's environment."""
        variables = {
            "HOME": self.home,
            "PATH": PATH,
            "TMPDIR": self.home / "tmp",
            "USER": self.name,
            "XDG_RUNTIME_DIR": self.home / "run",
            **environment,
        }
        become = ["setpriv", "--reuid", self.name, "--regid", self.name, "--init-groups", "--reset-env", "env"]
        assignments = [f"{name}={value}" for name, value in variables.items()]
        return Caller([*become, *assignments, *words], options, directory=self.home)

    def give(self, path: Path) -> Path:
        """Make the user the owner of `path` and all below it."""
        for place in [path, *path.rglob("*")]:
            os.chown(place, self.uid, self.uid, follow_symlinks=False)
        return path

    def processes(self) -> list[int]:
        """Return the user's processes."""
        found = []
        for place in Path("/proc").iterdir():
            try:
                if place.name.isdigit() and place.stat().st_uid == self.uid and (place / "cmdline").read_bytes():
                    found.append(int(place.name))
            except OSError:
                pass  # it ended meanwhile
        return found


@pytest.fixture(scope="session")
def ordinary(session, pyruntime):
    """An ordinary user, for this run only."""
    need("newuidmap")
    home = Path(tempfile.mkdtemp(prefix=f"{session}-"))
    home.chmod(0o755)
    for ids in ("/etc/subuid", "/etc/subgid"):  # useradd gives ids only where it finds the file
        Path(ids).touch()
    subprocess.run(["useradd", "--no-create-home", "--home-dir", home, "--user-group", session], check=True)
    user = Ordinary(session, home, bundles.copy_program(pyruntime, home / "program"))
    try:
        for name in ("run", "tmp"):
            (home / name).mkdir(mode=0o700)
        os.chown(home, user.uid, user.uid)
        for name in ("run", "tmp"):
            user.give(home / name)
        yield user
    finally:
        # Podman keeps a process that holds the user namespace.
        for pid in user.processes():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not user.processes(), "the user's processes to end")
        subprocess.run(["userdel", session], check=True, capture_output=True)
        shutil.rmtree(home)
