"""Callers with one id, without subordinate ones: their user namespace denies setgroups(2) (user_namespaces(7))."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from containers import until

import bundle as bundles

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.clause("config.md#posix-platform-user"),
]

NOBODY = 65534
BECOME = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
ONE = [{"containerID": 0, "hostID": 0, "size": 1}]
OWN = [{"containerID": 0, "hostID": NOBODY, "size": 1}]


def inside(config):
    """The container shares the user namespace that the caller made."""


def nested(config):
    """The container has another one in it."""
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(uidMappings=ONE, gidMappings=ONE)


def nested_without_mounts(config):
    """The same, but the mounts around it belong to the host's user namespace: `unshare --user` alone."""
    nested(config)


def alone(config):
    """The container has the only one."""
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(uidMappings=OWN, gidMappings=OWN)


class Nobody:
    """The user with one id, with a bundle and a --root of its own."""

    def __init__(self, folder, program, around, change):
        self.folder, self.program, self.around = folder, program, around
        bundles.make_rootfs(folder / "rootfs")
        subprocess.run([program, "spec", "-b", folder], check=True)
        config = json.loads((folder / "config.json").read_text())
        config["process"].update(args=["sh", "-c", "id -u; id -g"], terminal=False)
        config["linux"].pop("resources", None)
        for mount in config["mounts"]:
            if mount["destination"] == "/dev/pts":
                mount["options"].remove("gid=5")
        change(config)
        self.config = config
        self.write()
        (folder / "state").mkdir()
        subprocess.run(["chown", "-hR", f"{NOBODY}:{NOBODY}", folder], check=True)

    def write(self):
        (self.folder / "config.json").write_text(json.dumps(self.config))

    def __call__(self, *words, check=True):
        command = [*BECOME, *self.around, "env", f"--chdir={self.folder}", f"XDG_RUNTIME_DIR={self.folder}"]
        return self.call([*command, self.program, "--root", self.folder / "state", *words], check=check)

    def call(self, command, *, check=True):
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, check=False
            )
            output.seek(0)
            said = output.read()
        assert not check or done.returncode == 0, said
        return said


@pytest.fixture
def around():
    """The command that enters a user namespace of one id, with a mount namespace, which lasts for a test."""
    holder = subprocess.Popen([*BECOME, "unshare", "--user", "--map-root-user", "--mount", "sleep", "1000"])
    namespace = Path(f"/proc/{holder.pid}/uid_map")
    until(lambda: namespace.read_text().split()[1:] == [str(NOBODY), "1"], "the user namespace")
    until(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n", "its program")
    yield ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", str(holder.pid)]
    holder.kill()
    holder.wait()


@pytest.fixture(params=[inside, nested, nested_without_mounts, alone], ids=lambda change: change.__name__)
def nobody(request, pyruntime, ordinary_python, around):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    program = bundles.copy_program(pyruntime, folder / "program")
    if request.param is alone:
        around = []
    elif request.param is nested_without_mounts:
        around = [word for word in around if word != "--mount"]
    user = Nobody(folder, program, around, request.param)
    yield user
    for name in os.listdir(folder / "state"):
        user.call([program, "--root", folder / "state", "delete", "--force", name], check=False)
    shutil.rmtree(folder)


def test_run(nobody):
    assert nobody("run", "one").split() == ["0", "0"]


def test_a_group_that_is_the_primary_one_is_no_more(nobody):
    """Docker and Buildah write it."""
    nobody.config["process"]["user"]["additionalGids"] = [0]
    nobody.write()
    assert nobody("run", "one").split() == ["0", "0"]


def test_create_start_and_exec(nobody):
    nobody.config["process"]["args"] = ["sleep", "1000"]
    nobody.write()
    nobody("create", "one")
    nobody("start", "one")
    assert nobody("exec", "one", "id", "-u").split() == ["0"]
    nobody("kill", "one", "KILL")
    until(lambda: '"stopped"' in nobody("state", "one"), "the end of the container")
    nobody("delete", "one")


def test_a_group_that_the_namespace_denies_is_an_error_at_its_place(nobody):
    nobody.config["process"]["user"]["additionalGids"] = [0, 7]
    nobody.write()
    said = nobody("create", "one", check=False)
    assert "/process/user" in said
    assert "additionalGids" in said or "denies" in said
    assert not os.listdir(nobody.folder / "state")
