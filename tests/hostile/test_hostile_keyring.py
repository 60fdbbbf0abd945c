"""A container that attacks another one's keys: it can neither join their keyring, nor read from it, nor make it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from containers import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="module")
def thief(tmp_path_factory):
    program = tmp_path_factory.mktemp("thief") / "thief"
    subprocess.run(["cc", "-O", "-static", "-o", program, Path(__file__).with_name("thief.c")], check=True)
    return program


@pytest.fixture
def container(runtime, bundle, thief, tmp_path):
    """A factory: container(name, word…) runs the thief in a container, and returns where its output goes."""

    def make(name, *words):
        path = bundle(lambda config: config["process"].update(args=["/bin/thief", *words]), own=True)
        shutil.copy(thief, path / "rootfs/bin/thief")
        output = tmp_path / f"{name}.out"
        with open(output, "w") as stdout:
            command = runtime.command("run", "-d", "-b", path, name)
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout, check=True)
        return output

    return make


def test_the_keys_of_another_container_cannot_be_had(container, runtime):
    victim, other = runtime.id(), runtime.id()
    kept = container(victim, "keep")
    until(lambda: kept.read_text().endswith("\n"), "the key")
    serial = kept.read_text().split()[1]
    tried = container(other, "take", serial, f"_ses.{victim}", victim, f"_ses.{victim}.")
    until(lambda: "END" in tried.read_text(), "the attack")
    assert tried.read_text() == "END\n"
    # The container that owns the key still has it.
    assert runtime("exec", victim, "/bin/thief", "look").stdout == "found\n"


def test_a_keyring_cannot_be_made_for_a_container_to_come(container, runtime, tmp_path):
    victim, first = runtime.id(), runtime.id()
    # If the name were enough, the key would now be in the keyring of the other container.
    planted = container(first, "take", "0", f"_ses.{victim}")
    until(lambda: "END" in planted.read_text(), "the attack")
    found = container(victim, "look")
    until(lambda: runtime("state", victim).stdout.find('"stopped"') > 0, "its end")
    assert found.read_text() == ""


def test_the_name_is_another_one_each_time(runtime, bundle):
    def names():
        path = bundle(lambda config: config["process"].update(args=["true"]))
        name = runtime.id()
        runtime("create", "-b", path, name)
        text = (runtime.root / name / "state.json").read_text()
        runtime("delete", "--force", name)
        return text.split('"keyring"')[1].split('"')[1].removeprefix(f"_ses.{name}")

    first, second = names(), names()
    assert first != second
    assert len(first) > 32
