"""Buildah: `buildah run` and `buildah bud` with --runtime, which call create, start, state and delete themselves."""

import pytest
from calling import IMAGE


@pytest.fixture
def working(buildah):
    """The name of a working container."""
    return buildah("from", IMAGE).stdout.strip()


def test_run_prints_what_the_container_says(buildah, working):
    assert buildah("run", working, "sh", "-c", "echo $$").stdout == "1\n"


def test_run_returns_the_exit_status(buildah, working):
    buildah("run", working, "sh", "-c", "exit 4", status=4)


def test_run_has_a_terminal_when_asked(buildah, working):
    done = buildah("run", "--terminal", working, "sh", "-c", "tty; exit 5", status=5, terminal=True)
    assert "/dev/pts/0" in done.stdout


def test_a_program_that_is_not_there_is_named(buildah, working):
    assert "cannot execute /not/there" in buildah("run", working, "/not/there", status=1).stderr


def test_what_a_command_writes_is_there_for_the_next(buildah, working):
    buildah("run", working, "sh", "-c", "echo text > /made")
    assert buildah("run", working, "cat", "/made").stdout == "text\n"


def test_commit_makes_an_image(buildah, podman, working):
    buildah("run", working, "sh", "-c", "echo text > /made")
    buildah("commit", working, "committed")
    assert podman("run", "--rm", "localhost/committed", "cat", "/made").stdout == "text\n"
    podman("rmi", "localhost/committed")


def test_bud_runs_its_commands_in_containers(buildah, podman, tmp_path):
    (tmp_path / "Containerfile").write_text(f"FROM {IMAGE}\nRUN echo $$ > /made && hostname\nCMD cat /made\n")
    buildah("bud", "--tag", "built", tmp_path)
    assert podman("run", "--rm", "localhost/built").stdout == "1\n"
    podman("rmi", "localhost/built")
