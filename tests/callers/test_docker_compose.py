"""docker-compose: services that wait for each other's health, share namespaces and are built on the way."""

import pytest
from calling import Caller, need, until

_SERVICES = """\
version: "2.4"
services:
  first:
    image: box
    network_mode: none
    command: sh -c "echo ready; touch /healthy; sleep 1000"
    mem_limit: 64m
    healthcheck: {test: [CMD, test, -e, /healthy], interval: 1s, retries: 30}
  second:
    build: {context: ., network: none}
    network_mode: "service:first"
    pid: "service:first"
    depends_on: {first: {condition: service_healthy}}
    command: sh -c "ps -o args; sleep 1000"
    read_only: true
    runtime: pyruntime
    cap_drop: [ALL]
    volumes: ["kept:/kept"]
volumes: {kept: {}}
"""


@pytest.fixture
def compose(docker, tmp_path):
    """docker-compose for the services in _SERVICES."""
    need("docker-compose")
    (tmp_path / "docker-compose.yml").write_text(_SERVICES)
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN echo $$ > /made\n")
    words = ["docker-compose", "--ansi", "never", "--project-name", "composed"]
    caller = Caller(words, environment=docker.environment, directory=tmp_path)
    yield caller
    caller("down", "--timeout", "0", "--volumes", "--rmi", "local")


def test_services_are_started_in_order_and_talked_to(compose):
    compose("up", "--detach")
    assert compose("ps", "--services", "--filter", "status=running").stdout.split() == ["first", "second"]
    until(lambda: "sleep 1000" in compose("logs", "second").stdout, "the processes of both")
    done = compose("exec", "-T", "second", "sh", "-c", "cat /made; grep CapEff /proc/self/status; exit 3", status=3)
    assert done.stdout.split() == ["1", "CapEff:", "0" * 16]
    compose("pause", "first")
    compose("unpause", "first")
    compose("restart", "--timeout", "0", "second")
    compose("stop", "--timeout", "0")
    assert compose("ps", "--services", "--filter", "status=running").stdout.split() == []


def test_a_command_of_its_own(compose):
    assert compose("run", "--rm", "-T", "first", "sh", "-c", "echo hi; exit 4", status=4).stdout == "hi\n"
