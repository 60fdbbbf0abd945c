"""A host to attack: its mounts and a tree outside of every root filesystem must be the same afterwards."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

SECRET = "secret of the host"


class Host:
    """The runtime in a mount namespace of its own, whose mounts are shared among themselves as systemd's are.

    outside  a directory of the host beside the bundles, which no container has a right to
    Nobody else mounts anything in this namespace, so whatever changes in it was the runtime.
    """

    def __init__(self, runtime, bundle, outside: Path, keeper: int) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.outside = outside
        self.keeper = keeper
        self.plain = runtime.command
        runtime.command = self.command

    def command(self, *words) -> list[str]:
        """Return the command line for `words` in the host's mount namespace."""
        return ["nsenter", f"--mount=/proc/{self.keeper}/ns/mnt", *self.plain(*words)]

    def mounts(self) -> list[str]:
        """Return the lines of mountinfo."""
        return mounts(self.keeper)

    def attack(self, damage=None, change=None, script="echo inside", name="", **options):
        """Run `script` in a container; `damage` changes the root filesystem before, `change` the configuration.

        Returns the result: what it has to be depends on the attack.
        """

        def configure(config) -> None:
            config["process"]["args"] = ["sh", "-c", script]
            config["root"]["readonly"] = False
            if change is not None:
                change(config)

        bundle = self.bundle(configure, own=True)
        if damage is not None:
            damage(bundle / "rootfs")
        result = self.runtime("run", "-b", bundle, name or self.runtime.id(), check=False, **options)
        # Also if an error is expected, it must not be an internal one.
        assert "internal error" not in result.stderr and "init failed" not in result.stderr, result.stderr
        return result


def mounts(pid: "int | str") -> list[str]:
    """Return the lines of mountinfo of the process `pid`."""
    return Path(f"/proc/{pid}/mountinfo").read_text().splitlines()


def check_mounts(before: list[str], after: list[str]) -> None:
    """Fail the test if there is a new mount, or if a mount of the system is gone.

    Other mounts can disappear because something else on the machine removed the directory that they are on.
    """
    assert [line for line in after if line not in before] == []
    gone = [line.split()[4] for line in before if line not in after]
    assert [place for place in gone if place == "/" or place.startswith(("/proc", "/sys", "/dev"))] == []


def snapshot(directory: Path) -> dict[str, tuple]:
    """Return everything below `directory` with what a container could have changed of it."""
    found = {}
    for place in [directory, *sorted(directory.rglob("*"))]:
        status = place.lstat()
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = place.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(place)
        found[str(place)] = (status.st_mode, status.st_uid, status.st_gid, status.st_ino, status.st_mtime_ns, content)
    return found


def attacker(name: str):
    """Return a fixture: the program of NAME.c, which runs in every root filesystem."""

    @pytest.fixture(scope="session")
    def compiled(tmp_path_factory):
        program = tmp_path_factory.mktemp(name) / name
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run(["gcc", "-O2", "-static", "-o", program, source], check=True)
        return program

    return compiled


@pytest.fixture
def keeper():
    """The pid of a process that keeps a mount namespace, private towards ours and shared inside."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount --make-rshared / && echo && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"\n"
        yield process.pid
        process.stdin.close()


@pytest.fixture
def host(runtime, bundle, tmp_path, keeper):
    """A Host; the test fails when it is not afterwards what it was before."""
    outside = tmp_path / "outside"
    (outside / "directory").mkdir(parents=True)
    (outside / "file").write_text(SECRET)
    (outside / "directory/file").write_text(SECRET)
    shutil.copy("/bin/true", outside / "program")
    attacked = Host(runtime, bundle, outside, keeper)
    before = snapshot(outside), attacked.mounts()
    yield attacked
    runtime.clean()
    runtime.command = attacked.plain
    assert snapshot(outside) == before[0]
    check_mounts(before[1], attacked.mounts())
