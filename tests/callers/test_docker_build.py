"""`docker build`: each command of a Dockerfile in a container, by the classic builder and by BuildKit."""

import pytest

_DOCKERFILE = """\
FROM box
RUN echo $$ > /made
USER 1000:1001
WORKDIR /tmp
RUN id -u > number && id -g >> number
CMD cat /made /tmp/number
"""


@pytest.fixture
def context(tmp_path):
    """A directory with a Dockerfile."""
    (tmp_path / "Dockerfile").write_text(_DOCKERFILE)
    return tmp_path


def _check(docker) -> None:
    assert docker("run", "--rm", "built").stdout == "1\n1000\n1001\n"
    docker("rmi", "built")


def test_the_classic_builder(docker, context):
    docker("build", "--network", "none", "--tag", "built", context)
    _check(docker)


def test_a_command_that_fails(docker, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN exit 7\n")
    assert "returned a non-zero code: 7" in docker("build", "--network", "none", tmp_path, status=7).stderr


def test_buildkit(drop_in_docker, context):
    """The BuildKit of this Docker knows no other runtime than `runc`, whatever is added to dockerd."""
    docker = drop_in_docker
    with (context / "Dockerfile").open("a") as file:
        file.write("USER root\nRUN --mount=type=tmpfs,target=/t grep ' /t tmpfs ' /proc/mounts > /mounts\n")
    docker.environment["DOCKER_BUILDKIT"] = "1"
    try:
        docker("build", "--network", "none", "--progress", "plain", "--tag", "built", context)
        (context / "Dockerfile").write_text("FROM box\nRUN exit 7\n")
        failed = docker("build", "--network", "none", "--progress", "plain", context, status=1)
        assert "exit code: 7" in failed.stderr
    finally:
        docker.environment["DOCKER_BUILDKIT"] = "0"
    assert "/t tmpfs" in docker("run", "--rm", "built", "cat", "/mounts").stdout
    _check(docker)
