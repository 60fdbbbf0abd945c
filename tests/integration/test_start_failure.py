"""A start that fails: only execve(2) shows that the file is no program."""

import json
import os
import subprocess

import pytest
from containers import PATIENCE as CONTAINER_PATIENCE

from pyruntime.base.errors import Error
from pyruntime.engine.child.child import PATIENCE
from pyruntime.operations.start import start
from pyruntime.store import process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def _nonsense(config):
    config["process"]["args"] = ["/nonsense"]


def test_the_process_has_ended_when_start_has_failed(runtime, bundle):
    """Its caller deletes the container at once, without force: containerd does so."""
    place = bundle(_nonsense, own=True)
    (place / "rootfs/nonsense").write_text("\0nonsense")
    (place / "rootfs/nonsense").chmod(0o755)
    for _ in range(20):
        container = runtime.id()
        runtime("create", "--bundle", place, container)
        pid = json.loads(runtime("state", container).stdout)["pid"]
        started = process.start_time(pid)
        # Called as a function, because a program that ends takes long enough to hide the difference.
        with pytest.raises(Error, match="exec format error"):
            start(str(runtime.root), container)
        assert not process.alive(pid, started)
        runtime("delete", container)


def test_a_start_container_hook_that_fails_is_shown_as_it_stands_in_the_configuration(containers):
    container = containers.create(lambda config: config.update(hooks={"startContainer": [{"path": "/not-there"}]}))
    done = container.start(check=False)
    assert done.returncode == 1
    assert '/hooks/startContainer/0  {"path": "/not-there"}' in done.stderr


@pytest.mark.parametrize("words", [[], ["--detach"]], ids=" ".join)
def test_a_start_container_hook_may_take_longer_than_a_look_at_init(runtime, bundle, words):
    """The host checks at intervals whether a message can still come; PATIENCE is the interval."""
    seconds = str(1.5 * PATIENCE / 1000)
    hook = {"path": "/bin/sleep", "args": ["sleep", seconds]}

    def change(config):
        config["process"]["args"] = ["echo", "ran"]
        config["hooks"] = {"startContainer": [hook]}

    # A pipe ends with the container, which `run --detach` does not wait for.
    command = runtime.command("run", *words, "-b", bundle(change), runtime.id())
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=CONTAINER_PATIENCE
    )
    assert done.stdout == "ran\n"
