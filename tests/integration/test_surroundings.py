"""Which of the caller's environment, descriptors and limits hooks, init and the container's process inherit."""

import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

HOOK_KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
LIST = "ls /proc/self/fd | tr '\\n' ' '"


@pytest.mark.clause("runtime-linux.md#file-descriptors")
def test_hooks_do_not_get_the_callers_descriptors(runtime, bundle, tmp_path):
    said = tmp_path / "said"

    def change(config):
        config["process"]["args"] = ["sh", "-c", f"{LIST}; cat <&3"]
        config["annotations"] = {"run.oci.hooks.stdout": str(said)}
        script = f"{LIST}; echo"
        config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}] for kind in HOOK_KINDS}

    (tmp_path / "file").write_text("content")
    command = runtime.command("run", "--preserve-fds", "1", "-b", bundle(change), runtime.id())
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 3< "$FILE" 4< "$FILE"', "sh", *command],
        env={**os.environ, "FILE": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The last is that with which `ls` reads the directory.
    assert done.stdout == "0 1 2 3 4 content"
    lines = [line.split() for line in said.read_text().splitlines()]
    assert lines == [["0", "1", "2", "3"]] * len(HOOK_KINDS)


def test_hooks_are_not_told_of_the_sockets_of_a_service_manager(runtime, bundle, tmp_path):
    said = tmp_path / "said"

    def change(config):
        config["process"]["args"] = ["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID"]
        config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"env > {said}"]}]}

    command = runtime.command("run", "-b", bundle(change), runtime.id())
    with open(os.devnull) as null:
        done = subprocess.run(
            ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=x OTHER=y exec "$@" 3<&0', "sh", *command],
            stdin=null,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert done.stdout == "1 1\n"
    names = {line.partition("=")[0] for line in said.read_text().splitlines()}
    assert "OTHER" in names and not {name for name in names if name.startswith("LISTEN_")}


@pytest.mark.clause("config.md#posix-process")
@pytest.mark.parametrize(("soft", "hard"), [(0, 0), (3, 3), (3, 4096), (7, 10), (63, 63), (1024, 4096)])
def test_a_limit_of_descriptors_is_the_programs_and_does_not_hinder_init(runtime, bundle, soft, hard):
    def change(config):
        config["process"]["args"] = ["sleep", "1000"]
        config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]
        config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "true < /proc/self/limits"]}]}

    container = runtime.id()
    runtime("create", "-b", bundle(change), container)
    runtime("start", container)
    pid = json.loads(runtime("state", container).stdout)["pid"]
    with open(f"/proc/{pid}/limits") as file:
        (line,) = [line.split() for line in file if line.startswith("Max open files")]
    assert line[3:5] == [str(soft), str(hard)]
    done = runtime("exec", container, "sh", "-c", "ulimit -n; ulimit -Hn")
    assert done.stdout.split() == [str(soft), str(hard)]


def test_a_joined_mount_namespace_without_the_bundle_gives_one_error(runtime, bundle, tmp_path):
    path = bundle(own=True)
    place = path.parent
    script = f"mount -t tmpfs none {place} && echo ready && exec sleep 1000"
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "ready\n"
            config = json.loads((path / "config.json").read_text())
            for entry in config["linux"]["namespaces"]:
                if entry["type"] == "mount":
                    entry["path"] = f"/proc/{other.pid}/ns/mnt"
            (path / "config.json").write_text(json.dumps(config))
            container = runtime.id()
            done = runtime("create", "-b", path, container, check=False)
        finally:
            other.kill()
    assert done.returncode == 1
    assert "warning" not in done.stderr
    assert not (runtime.root / container).exists()


@pytest.mark.clause("config.md#process")
def test_a_name_that_is_in_the_environment_twice_has_its_last_value_once(runtime, bundle):
    def change(config):
        config["process"]["env"] = ["PATH=/bin", "NAME=first", "OTHER=x", "NAME=last"]
        config["process"]["args"] = ["sleep", "100"]

    name = runtime.id()
    runtime("run", "-d", "-b", bundle(change), name)
    said = runtime("exec", "--env", "OTHER=y", name, "env").stdout.split()
    assert [entry for entry in said if entry.startswith(("NAME=", "OTHER="))] == ["NAME=last", "OTHER=y"]
    with open(f"/proc/{json.loads(runtime('state', name).stdout)['pid']}/environ") as environment:
        entries = environment.read().split("\0")
    assert [entry for entry in entries if entry.startswith("NAME=")] == ["NAME=last"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_the_callers_cpus_do_not_narrow_the_container(runtime, bundle):
    def change(config):
        config["process"]["args"] = ["sleep", "100"]

    def allowed(*words, stdout):
        command = ["taskset", hex(1 << min(before)), *runtime.command(*words)]
        return subprocess.run(command, stdin=null, stdout=stdout, text=True, check=True, timeout=60).stdout

    before, name = os.sched_getaffinity(0), runtime.id()
    with open(os.devnull, "r+") as null:
        allowed("run", "-d", "-b", bundle(change), name, stdout=null)
        pid = json.loads(runtime("state", name).stdout)["pid"]
        assert os.sched_getaffinity(pid) >= before
        said = allowed("exec", name, "grep", "Cpus_allowed:", "/proc/self/status", stdout=subprocess.PIPE)
    assert int(said.split()[1].replace(",", ""), 16).bit_count() >= len(before)


def test_a_program_that_only_a_capability_opens_is_executed(runtime, bundle):
    def change(config):
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        config["process"]["capabilities"] = {
            kind: ["CAP_DAC_OVERRIDE"] for kind in ("bounding", "effective", "permitted")
        }
        config["process"]["args"] = ["/bin/only-root"]
        config["root"]["readonly"] = False

    path = bundle(change, own=True)
    program = path / "rootfs/bin/only-root"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o744)
    assert runtime("run", "-b", path, runtime.id()).stdout == "ran\n"
