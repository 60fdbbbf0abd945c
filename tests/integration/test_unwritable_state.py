"""Verbs whose state directory cannot be written: the filesystem is full, or read-only."""

import os
import subprocess

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def fill(place):
    with open(place / "filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


def protect(place):
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)


WAYS = {
    "full": (fill, "ENOSPC", "make room in the filesystem that it is in"),
    "read-only": (protect, "EROFS", "the filesystem that it is in must be mounted read-write"),
}


@pytest.fixture(params=WAYS)
def way(request, runtime):
    """How the state root becomes unwritable, a function to call; the name of the error, and the advice."""
    place = runtime.root
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=711", "tmpfs", place], check=True)
    change, name, advice = WAYS[request.param]
    yield lambda: change(place), name, advice
    subprocess.run(["mount", "-o", "remount,rw", place], check=True)
    (place / "filler").unlink(missing_ok=True)
    runtime.clean()
    subprocess.run(["umount", place], check=True)


def test_verbs_name_what_they_cannot_write(containers, runtime, way):
    spoil, name, advice = way
    created, running = containers.create(), containers.start()
    path = containers.bundle("true")
    spoil()
    for words, file in (
        (["create", "-b", path, "one-more"], "one-more"),
        (["run", "-b", path, "one-more"], "one-more"),
        (["start", created.id], f"{created.id}/holder"),
        (["update", "--pids-limit", "50", running.id], f"{running.id}/config.json"),
        (["exec", "--pid-file", runtime.root / "pid", running.id, "true"], "pid"),
    ):
        done = runtime(*words, check=False)
        assert done.returncode != 0
        assert f"{runtime.root}/{file}" in done.stderr.splitlines()[0], done.stderr
        assert name in done.stderr
        assert advice in done.stderr
    assert created.status == "created"
    assert running.exec("echo", "here").stdout == "here\n"
    running.kill()
    running.wait()


@pytest.mark.parametrize("way", ["read-only"], indirect=True)
def test_what_cannot_be_removed_is_named(containers, runtime, way):
    spoil, name, advice = way
    container = containers.create()
    spoil()
    done = runtime("delete", "--force", container.id, check=False)
    assert done.returncode == 1
    assert f"cannot remove {runtime.root}/{container.id}: {name}" in done.stderr
    assert advice in done.stderr
