"""Podman and Buildah of an ordinary user: they make the user namespace, and pyruntime runs inside it."""

import re

import pytest
from calling import IMAGE, until

_POLITE = 'trap "echo bye; exit 9" TERM; echo ready; while :; do sleep 0.05; done'


def state_of(podman, name) -> "tuple[str, int]":
    status, code = podman("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name).stdout.split()
    return status, int(code)


# ---- Podman ----


def test_root_inside_is_the_user_outside(rootless_podman, ordinary):
    done = rootless_podman("run", "--rm", IMAGE, "sh", "-c", "id -u; cat /proc/self/uid_map; exit 42", status=42)
    assert done.stdout.split()[:4] == ["0", "0", str(ordinary.uid), "1"]


def test_a_user_of_the_image_is_one_of_the_ids_given_to_the_user(rootless_podman, ordinary):
    flags = ["--user", "1000:1001", "--read-only", "--cap-drop", "ALL"]
    script = "id -u; id -g; touch /made || grep CapEff /proc/self/status"
    done = rootless_podman("run", "--rm", *flags, IMAGE, "sh", "-c", script)
    assert done.stdout.split() == ["1000", "1001", "CapEff:", "0000000000000000"]


def test_the_user_keeps_its_id(rootless_podman, ordinary):
    done = rootless_podman("run", "--rm", "--userns", "keep-id", IMAGE, "id", "-u")
    assert done.stdout == f"{ordinary.uid}\n"


def test_a_container_without_a_cgroup_of_its_own_sees_that_of_the_user(rootless_podman):
    """Nobody gave the user a group on cgroup v1; Podman then asks for none, but still for a mount of them."""
    script = "cat /proc/self/cgroup; echo; grep ' /sys/fs/cgroup/*' /proc/self/mountinfo"
    membership, mounts = rootless_podman("run", "--rm", IMAGE, "sh", "-c", script).stdout.split("\n\n")
    groups = {line.split(":")[2] for line in membership.splitlines() if ":memory:" in line}
    shown = {line.split()[3] for line in mounts.splitlines() if re.search(r" - cgroup .*\bmemory\b", line)}
    assert shown == groups
    assert re.search(r"/sys/fs/cgroup\S* ro,", mounts)


def test_what_cannot_be_executed_has_its_status(rootless_podman):
    assert "/not/there" in rootless_podman("run", "--rm", IMAGE, "/not/there", status=127).stderr
    assert "/etc/passwd" in rootless_podman("run", "--rm", IMAGE, "/etc/passwd", status=126).stderr


def test_exec_and_terminals(rootless_podman):
    assert "/dev/pts/" in rootless_podman("run", "--rm", "--tty", IMAGE, "tty", terminal=True).stdout
    rootless_podman("run", "--detach", "--name", "busy", IMAGE, "sleep", "1000")
    done = rootless_podman(
        "exec", "--user", "5", "--workdir", "/tmp", "busy", "sh", "-c", "id -u; pwd; exit 3", status=3
    )
    assert done.stdout.split() == ["5", "/tmp"]
    assert "/dev/pts/" in rootless_podman("exec", "--tty", "busy", "tty", terminal=True).stdout
    assert "sleep 1000" in rootless_podman("top", "busy", "args").stdout


def test_stop_lets_the_process_say_goodbye(rootless_podman):
    rootless_podman("run", "--detach", "--name", "polite", IMAGE, "sh", "-c", _POLITE)
    until(lambda: rootless_podman("logs", "polite").stdout == "ready\n", "the container to be ready")
    rootless_podman("stop", "polite")
    assert rootless_podman("logs", "polite").stdout == "ready\nbye\n"
    assert state_of(rootless_podman, "polite") == ("exited", 9)
    rootless_podman("start", "polite")
    assert state_of(rootless_podman, "polite")[0] == "running"
    rootless_podman("kill", "polite")
    assert rootless_podman("wait", "polite").stdout == "137\n"
    rootless_podman("rm", "polite")


def test_a_pod_shares_namespaces(rootless_podman):
    rootless_podman("pod", "create", "--network", "none", "--share", "net,ipc,uts,pid", "--name", "together")
    rootless_podman("container", "run", "--detach", "--pod", "together", IMAGE, "sleep", "1000")
    script = "hostname; ps -o args"
    done = rootless_podman("container", "run", "--rm", "--pod", "together", IMAGE, "sh", "-c", script)
    assert done.stdout.startswith("together\n")
    assert "sleep 1000" in done.stdout
    rootless_podman("pod", "stop", "--time", "0", "together")
    rootless_podman("pod", "rm", "together")


# ---- Buildah ----


@pytest.mark.parametrize("isolation", ["oci", "rootless"])
def test_buildah_run(rootless_buildah, ordinary, isolation):
    working = rootless_buildah("from", IMAGE).stdout.strip()
    script = "id -u; cat /proc/self/uid_map; echo text > /made; exit 4"
    done = rootless_buildah("run", "--isolation", isolation, working, "sh", "-c", script, status=4)
    assert done.stdout.split()[:4] == ["0", "0", str(ordinary.uid), "1"]
    assert rootless_buildah("run", "--isolation", isolation, working, "cat", "/made").stdout == "text\n"


def test_buildah_bud(rootless_buildah, rootless_podman, ordinary):
    place = ordinary.home / "context"
    place.mkdir()
    (place / "Containerfile").write_text(
        f"FROM {IMAGE}\nRUN echo $$ > /made\nUSER 5\nRUN id -u > /tmp/id\nCMD cat /made /tmp/id\n"
    )
    rootless_buildah("bud", "--isolation", "oci", "--tag", "built", ordinary.give(place))
    assert rootless_podman("run", "--rm", "localhost/built").stdout == "1\n5\n"
