"""newuidmap(1) and newgidmap(1) on an ordinary caller's PATH: whose they are, and what they do but their work."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

import bundle as bundles

CALLER = 65534
SUBORDINATE = 100000  # the first of the ids that the configuration maps, for which only a helper could write the maps


@pytest.fixture
def folder():
    """A directory that ordinary users can reach."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def caller(pyruntime, folder):
    """caller(PATH) is the started `run` of an ordinary user, in the directory of the bundle."""

    def change(config):
        config["process"]["args"] = ["true"]
        for name in ("uidMappings", "gidMappings"):
            config["linux"][name] = [
                {"containerID": 0, "hostID": CALLER, "size": 1},
                {"containerID": 1, "hostID": SUBORDINATE, "size": 10},
            ]

    program = bundles.copy_program(pyruntime, folder / "program")
    bundle = bundles.make_bundle(folder / "bundle", pyruntime, change, rootless=True)
    root = folder / "root"
    root.mkdir(mode=0o700)
    os.chown(root, CALLER, CALLER)
    user = {"user": CALLER, "group": CALLER, "extra_groups": []}
    if subprocess.run([program, "--version"], stdout=subprocess.DEVNULL, check=False, **user).returncode != 0:
        pytest.skip("needs a Python that ordinary users can execute")

    def run(path):
        return subprocess.Popen(
            [program, "--root", root, "run", "-b", bundle, "c"],
            cwd=bundle,
            env={"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **user,
        )

    yield run
    assert list(root.iterdir()) == []


def helpers(folder, script):
    """Make both helpers in the directory `folder`; return it."""
    folder.mkdir(exist_ok=True)
    for name in ("newuidmap", "newgidmap"):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


def said(started):
    """Return what a `run` that fails says."""
    with started:
        text = started.communicate(timeout=30)[1]
    assert started.returncode == 1, text
    assert "/linux/uidMappings" in text and "internal error" not in text, text
    return text


@pytest.mark.parametrize("path", [".", "", "rootfs/bin", "./rootfs/bin", ":", "rootfs/bin::."])
def test_no_program_of_the_bundle_is_taken_for_a_helper(caller, folder, path):
    for place in (folder / "bundle", folder / "bundle/rootfs/bin"):
        helpers(place, "#!/bin/sh\necho of the bundle >&2\nexit 1\n")
    assert "newuidmap is not installed" in said(caller(path))


WRONG = {
    "it fails": ("#!/bin/sh\nexit 77\n", "newuidmap exited with status 77"),
    "it is killed": ("#!/bin/sh\nkill -9 $$\n", "newuidmap was killed by signal 9"),
    "it does nothing": ("#!/bin/sh\nexit 0\n", "did not write this mapping"),
    "it says no text": ("#!/bin/sh\nprintf 'a\\033[31m\\377' >&2; exit 1\n", "newuidmap said: a\\x1b[31m"),
    "it speaks without end": ("#!/bin/sh\nwhile :; do echo more; done\n", "more than anybody would read"),
    "it is no program": ("\n", "cannot execute"),
    "its interpreter is missing": ("#!/missing\n", "cannot execute"),
}


@pytest.mark.parametrize(("script", "error"), WRONG.values(), ids=WRONG)
def test_a_helper_that_does_not_do_its_work_is_named(caller, folder, script, error):
    place = helpers(folder / "helpers", script)
    text = said(caller(f"{place}:/usr/bin:/bin"))
    assert error in text and str(place) in text


def test_a_child_of_the_helper_that_holds_its_output_is_not_waited_for(caller, folder):
    os.mkfifo(folder / "end", 0o666)
    (folder / "end").chmod(0o666)
    place = helpers(folder / "helpers", f"#!/bin/sh\n(read end < {folder}/end) &\nexit 1\n")
    try:
        assert "newuidmap exited with status 1" in said(caller(f"{place}:/usr/bin:/bin"))
    finally:
        (folder / "end").write_text("\n")


def test_run_that_waits_for_a_helper_answers_to_sigterm(caller, folder):
    """The helper itself ignores the signal."""
    os.mkfifo(folder / "pid")
    (folder / "pid").chmod(0o666)
    script = f"#!/bin/sh\ntrap '' TERM\necho $$ > {folder}/pid\nwhile :; do sleep 1; done\n"
    started = caller(f"{helpers(folder / 'helpers', script)}:/usr/bin:/bin")
    helper = Path(f"/proc/{(folder / 'pid').read_text().strip()}")
    started.send_signal(signal.SIGTERM)
    assert "signal 15 came" in said(started)
    assert not helper.exists()
