"""The caller's working directory has been deleted, or its /proc shows processes alone (proc(5), subset=pid)."""

import os
import subprocess

import pytest

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.clause("bundle.md#container-format"),
]

DELETED = ["sh", "-c", 'cd "$GONE" && rmdir "$GONE" && exec "$@"', "sh"]
ONLY_PROCESSES = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o subset=pid proc /proc && exec "$@"', "sh"]


@pytest.fixture
def call(runtime, tmp_path):
    """call(words, wrapper=…) runs a verb in a directory that is deleted meanwhile."""

    def run(*words, wrapper=DELETED):
        (tmp_path / "gone").mkdir(exist_ok=True)
        # A file: what create leaves running would hold a pipe open.
        with (tmp_path / "said").open("w+") as said:
            done = subprocess.run(
                [*wrapper, *runtime.command(*words)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**os.environ, "GONE": str(tmp_path / "gone")},
                check=False,
                timeout=60,
            )
            said.seek(0)
            done.stderr = said.read()
        assert "internal error" not in done.stderr
        return done

    return run


RELATIVE = [
    *(("create", "x"), ("run", "x"), ("run", "-b", "b", "x"), ("restore", "x"), ("checkpoint", "x")),
    *(("validate",), ("validate", "b"), ("plan",), ("plan", "-b", "b")),
]


@pytest.mark.parametrize("words", RELATIVE, ids=" ".join)
def test_a_relative_path_is_a_clear_error(call, words):
    done = call(*words)
    assert done.returncode == 1
    assert "error: " in done.stderr.splitlines()[0]
    assert "the current directory has been deleted" in done.stderr


@pytest.mark.parametrize("words", [("list",), ("features",), ("spec",), ("state", "x"), ("delete", "x"), ("kill", "x")])
def test_a_verb_without_a_path_does_not_care(call, words):
    assert "current directory" not in call(*words).stderr


@pytest.mark.parametrize("wrapper", [DELETED, ONLY_PROCESSES], ids=["deleted", "subset=pid"])
def test_a_container_lives_its_whole_life(call, runtime, bundle, wrapper):
    path = bundle(lambda config: config["process"].update(args=["sleep", "1000"]))
    name = runtime.id()
    steps = [("create", "-b", path, name), ("start", name), ("exec", name, "true"), ("state", name), ("list",)]
    if wrapper is DELETED:
        steps.append(("ps", name))  # ps(1) itself needs /proc/stat
    steps += [("pause", name), ("resume", name), ("events", "--stats", name), ("delete", "--force", name)]
    for words in steps:
        done = call(*words, wrapper=wrapper)
        assert done.returncode == 0, (words, done.stderr)
