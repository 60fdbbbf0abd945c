"""`checkpoint` and `restore`: round trips where CRIU can make them, and clear errors where it cannot."""

import json
import os
import subprocess

import pytest

from pyruntime.engine.criu import CriuOptions, external_mounts, external_namespaces

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def counter(config):
    config["process"]["args"] = ["sh", "-c", "i=0; while :; do i=$((i + 1)); echo $i > /tmp/count; sleep 0.05; done"]
    config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})


@pytest.fixture
def running(runtime, bundle):
    container = runtime.id()
    path = bundle(counter, own=True)
    # CRIU cannot make the host's files again, only pipes and the null device.
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.run(runtime.command("run", "-d", "-b", path, container), check=True, timeout=60, **null)
    return container, path


def count(runtime, container):
    return int(runtime("exec", container, "cat", "/tmp/count").stdout or 0)


def criu_works():
    try:
        return subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_a_round_trip_or_an_error_with_the_log(runtime, running, tmp_path):
    container, path = running
    images = tmp_path / "images"
    if not criu_works():
        done = runtime("checkpoint", "--image-path", images, container, check=False)
        assert done.returncode == 1
        assert "criu" in done.stderr
        assert json.loads(runtime("state", container).stdout)["status"] == "running"
        return
    before = count(runtime, container)
    runtime("checkpoint", "--image-path", images, container)
    assert "does not exist" in runtime("state", container, check=False).stderr
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    command = runtime.command("restore", "-d", "--image-path", images, "-b", path, container)
    subprocess.run(command, check=True, timeout=60, **null)
    assert json.loads(runtime("state", container).stdout)["status"] == "running"
    assert count(runtime, container) >= before


def test_a_container_goes_on_under_another_id_with_its_pipes_and_mounts(runtime, bundle, tmp_path):
    if not criu_works():
        pytest.skip("CRIU does not work with this kernel")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/word").write_text("there")

    def change(config):
        config["process"]["args"] = ["sh", "-c", "while read line; do echo $line $(cat /data/word); done; exit 5"]
        config["mounts"].append(
            {"destination": "/data", "type": "bind", "source": str(tmp_path / "data"), "options": ["bind", "ro"]}
        )

    first, second, path, images = runtime.id(), runtime.id(), bundle(change, own=True), tmp_path / "images"
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(runtime.command("run", "-b", path, first), **pipe) as process:
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one there\n"
        runtime("checkpoint", "--leave-running", "--image-path", images, first)
        assert json.loads(runtime("state", first).stdout)["status"] == "running"
        runtime("kill", first, "KILL")
        process.wait(timeout=60)
    with subprocess.Popen(runtime.command("restore", "--image-path", images, "-b", path, second), **pipe) as process:
        process.stdin.write(b"two\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"two there\n"
        groups = json.loads((runtime.root / second / "state.json").read_text())["cgroup"]["paths"]
        assert all(json.loads(runtime("ps", "-f", "json", second).stdout) for _ in groups)
        process.stdin.close()
        assert process.wait(timeout=60) == 5


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_the_log_is_named_when_criu_fails(runtime, running, tmp_path, verb):
    container, path = running
    program = tmp_path / "bin" / "criu"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in --work-dir) w=$2;; --log-file) l=$2;; esac; shift; done\n"
        'echo "Error (criu/x.c:1): the stars are wrong" > $w/$l; exit 7\n'
    )
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    words = ["--image-path", tmp_path / "images", "--work-path", tmp_path / "work"]
    if verb == "restore":
        (tmp_path / "images").mkdir()
        (tmp_path / "work").mkdir()
        (tmp_path / "images/descriptors.json").write_text("[]")
        other = runtime.id()
        done = runtime("restore", "-d", *words, "-b", path, other, env=environment, check=False)
        assert f"log file {tmp_path}/work/restore.log" in done.stderr
        assert "does not exist" in runtime("state", other, check=False).stderr
    else:
        done = runtime("checkpoint", *words, container, env=environment, check=False)
        assert f"log file {tmp_path}/work/dump.log" in done.stderr
        assert json.loads(runtime("state", container).stdout)["status"] == "running"
    assert done.returncode == 1
    assert "the stars are wrong" in done.stderr


def test_without_criu_the_error_says_so(runtime, running, tmp_path):
    container, _ = running
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = runtime("checkpoint", "--image-path", tmp_path / "images", container, env=environment, check=False)
    assert done.returncode == 1
    assert "criu" in done.stderr
    assert "no such file or directory" in done.stderr
    assert json.loads(runtime("state", container).stdout)["status"] == "running"


def test_only_a_running_container_can_be_checkpointed(runtime, bundle, tmp_path):
    container = runtime.id()
    runtime("create", "-b", bundle(counter), container)
    done = runtime("checkpoint", "--image-path", tmp_path, container, check=False)
    assert "created state" in done.stderr


def test_images_that_are_not_there_are_no_container(runtime, bundle, tmp_path):
    container = runtime.id()
    done = runtime("restore", "-d", "--image-path", tmp_path / "none", "-b", bundle(counter), container, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stderr
    assert "does not exist" in runtime("state", container, check=False).stderr


def test_what_criu_is_told():
    options = CriuOptions(
        "/images", flags=("leave-running",), empty=("network",), page_server="::1:99", parent="../old"
    )
    words = options.arguments()
    assert words[:4] == ["--images-dir", "/images", "--work-dir", "/images"]
    for pair in (("--empty-ns", "net"), ("--prev-images-dir", "../old"), ("--address", "::1"), ("--port", "99")):
        assert words[words.index(pair[0]) + 1] == pair[1]
    assert "--leave-running" in words
    config = {
        "mounts": [
            {"destination": "/proc", "type": "proc"},
            {"destination": "/data", "type": "bind", "source": "/srv"},
            {"destination": "/etc/hosts", "source": "/h", "options": ["rbind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": "network", "path": "/run/netns/x"}, {"type": "pid"}]},
    }
    assert external_mounts(config, ["/proc/kcore"]) == [
        ("/data", "/srv"),
        ("/etc/hosts", "/h"),
        ("/proc/kcore", "/dev/null"),
    ]
    assert external_namespaces(config) == [("net", "/run/netns/x")]
