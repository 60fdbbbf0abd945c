"""Input that is absurd or comes from a broken caller: an error or a container, in bounded memory, with nothing left."""

import json
import os
import resource
import socket
import subprocess

import pytest
from containers import until

from changes import process, top

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# Address space: several times what a small container takes, and less than what these inputs would take without a bound.
ROOM = 400 << 20
ENOUGH = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))}


def in_bounds(containers, path):
    """Run the bundle with little memory; return the completed process. Nothing may be left."""
    name = containers.runtime.id()
    done = containers.runtime("run", "-b", path, name, check=False, **ENOUGH)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert "MemoryError" not in done.stderr
    assert "Traceback" not in done.stderr
    containers.nothing_left(name)
    return done


def many_mounts(count):
    return lambda config: config["mounts"].extend(
        {"destination": f"/tmp/{index}", "type": "tmpfs", "source": "tmpfs"} for index in range(count)
    )


FITS = {
    "2,000 mounts": many_mounts(2000),
    "100,000 arguments": process(args=["true"] + ["x"] * 100000),
    "100,000 variables": lambda config: config["process"]["env"].extend(f"V{index}=x" for index in range(100000)),
    "masked paths": lambda config: config["linux"]["maskedPaths"].extend(f"/proc/{index}x" for index in range(10000)),
    "devices": lambda config: config["linux"].update(
        devices=[{"path": f"/dev/d{index}", "type": "c", "major": 1, "minor": 3} for index in range(10000)]
    ),
}


@pytest.mark.parametrize("change", FITS.values(), ids=FITS)
def test_much_of_what_is_allowed_is_a_container(containers, change):
    assert in_bounds(containers, containers.bundle("echo ran", change)).returncode == 0


REFUSED = {
    "an argument that the kernel does not take": (process(args=["true", "x" * 200000]), "E2BIG", "/process/args"),
    "a file of 20 MB": (top(annotations={"a": "x" * 20_000_000}), "larger than 16 MiB", "bundle.md"),
    "a profile of 50,000 conditions": (
        lambda config: config["linux"].update(
            seccomp={
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {
                        "names": ["read"],
                        "action": "SCMP_ACT_ERRNO",
                        "args": [{"index": 0, "value": index, "op": "SCMP_CMP_EQ"}],
                    }
                    for index in range(50000)
                ],
            }
        ),
        "4096",
        "/linux/seccomp/syscalls/",
    ),
    "more mappings than the kernel takes": (
        lambda config: config["linux"].update(
            uidMappings=[{"containerID": index, "hostID": index, "size": 1} for index in range(1000)],
            gidMappings=[{"containerID": 0, "hostID": 0, "size": 65536}],
            namespaces=[*config["linux"]["namespaces"], {"type": "user"}],
        ),
        "at most 340",
        "/linux/uidMappings/340",
    ),
    "a limit above the kernel's": (
        lambda config: config["linux"].setdefault("resources", {}).update(pids={"limit": 2**62}),
        "pids.max",
        "/linux/resources/pids/limit  4611686018427387904\n",
    ),
    "NUL in an argument": (process(args=["tr\0ue"]), "NUL", "/process/args/0"),
    "a number of 4,000 digits": (process(oomScoreAdj=int("9" * 4000)), "an integer of 4000 digits", "line 1, column"),
    "a number past 64 bits": (process(oomScoreAdj=2**64), "oomScoreAdj", "/process/oomScoreAdj"),
    "a negative id": (lambda config: config["process"]["user"].update(uid=-1), "uid", "/process/user/uid"),
}


@pytest.mark.parametrize(("change", "said", "place"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_an_error_at_its_place_and_leaves_nothing(containers, change, said, place):
    done = in_bounds(containers, containers.bundle("true", change))
    assert done.returncode == 1
    assert said in done.stderr
    assert place in done.stderr


# ---- A console socket that closes early ----


@pytest.mark.parametrize("verb", [("create",), ("run", "-d")], ids=["create", "run"])
def test_a_console_socket_that_closes_early_is_an_error_and_leaves_nothing(containers, tmp_path, verb):
    """A hook delays the container until the socket is closed, and the terminal that was sent with it."""
    ready, go = tmp_path / "ready", tmp_path / "go"
    script = f"touch {ready}; until [ -e {go} ]; do sleep 0.01; done"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    path = containers.bundle("true", process(terminal=True), top(hooks={"createRuntime": [hook]}))
    name = containers.runtime.id()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        words = (*verb, "--console-socket", tmp_path / "console", "-b", path, name)
        with subprocess.Popen(
            containers.runtime.command(*words), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as started:
            until(ready.exists, "the hook to run")
            listener.accept()[0].close()
            go.touch()
            said = started.stderr.read()
    assert started.returncode == 1
    assert "console socket" in said
    assert "EIO" in said
    containers.nothing_left(name)


# ---- process.json ----


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"cwd": "/", "args": []}, "/args"),
        ({"cwd": "relative", "args": ["true"]}, "/cwd"),
        ({"cwd": "/", "args": ["true"], "user": {"uid": -1, "gid": 0}}, "/user/uid"),
        ({"cwd": "/", "args": ["true"], "rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]}, "/rlimits/0/soft"),
        ({"cwd": "/", "args": ["true"], "env": ["A\0=b"]}, "/env/0"),
    ],
)
def test_an_invalid_process_names_the_place_and_runs_nothing(containers, tmp_path, document, place):
    container = containers.start()
    (tmp_path / "process.json").write_text(json.dumps(document))
    done = containers.runtime("exec", "--process", tmp_path / "process.json", container.id, check=False)
    assert done.returncode == 255
    assert place in done.stderr
    assert len(container.cgroups()) and container.status == "running"
    pids = json.loads(containers.runtime("ps", "-f", "json", container.id).stdout)
    assert pids == [container.pid]


# ---- What commands a terminal ----


def test_control_characters_of_a_configuration_do_not_reach_the_terminal_with_a_warning(containers):
    name = "CAP_X\x1b]0;title\x07\nerror: forged\x9b31m"
    done = containers.run("true", lambda config: config["process"]["capabilities"]["bounding"].append(name))
    (line,) = [line for line in done.stderr.split("\n") if "CAP_X" in line]
    assert line.startswith("pyruntime: warning: capability CAP_X")
    assert line.isprintable()
    assert r"CAP_X\x1b]0;title\x07\nerror: forged\x9b31m" in line


def test_control_characters_of_a_path_do_not_reach_the_terminal_with_a_list(runtime, bundle, tmp_path):
    place = tmp_path / "bundle\x1b[2J"
    bundle(lambda config: None).rename(place)
    container = runtime.id()
    runtime("create", "-b", place, container)
    table = runtime("list").stdout
    assert str(tmp_path / r"bundle\x1b[2J") in table
    assert "\x1b" not in table
    assert json.loads(runtime("list", "-f", "json").stdout)[0]["bundle"] == str(place)


# ---- The pid file ----


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_the_pid_file_of_a_program_that_cannot_begin_is_removed(containers, tmp_path, verb):
    """Otherwise the caller finds there the pid of a dead process, or of another one by now."""
    place = containers.bundle("true", own=True)
    bad = place / "rootfs/bin/bad"
    bad.write_text("no program")
    bad.chmod(0o755)
    if verb == "exec":
        container = containers.runtime.id()
        edit(place, ["sleep", "1000"])
        containers.runtime("run", "--detach", "-b", place, container)
        words = [container, "/bin/bad"]
    else:
        edit(place, ["/bin/bad"])
        words = ["-b", place, containers.runtime.id()]
    done = containers.runtime(verb, "--detach", "--pid-file", tmp_path / "pid", *words, check=False)
    assert "cannot execute" in done.stderr
    assert not (tmp_path / "pid").exists()


def edit(place, args):
    config = json.loads((place / "config.json").read_text())
    config["process"]["args"] = args
    (place / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("verb", ["create", "exec"])
def test_a_pid_file_that_cannot_be_leaves_nothing_beside_it(containers, tmp_path, verb):
    (tmp_path / "pids/pid").mkdir(parents=True)
    container = containers.start() if verb == "exec" else None
    words = [container.id, "true"] if container else ["-b", containers.bundle("true"), containers.runtime.id()]
    done = containers.runtime(verb, "--pid-file", tmp_path / "pids/pid", *words, check=False)
    assert done.returncode in (1, 255)
    assert "cannot write the pid file" in done.stderr
    assert os.listdir(tmp_path / "pids") == ["pid"]


@pytest.mark.parametrize("kind", ["a device", "a FIFO"])
def test_a_pid_file_does_not_take_the_place_of_what_is_no_file(containers, tmp_path, kind):
    path = tmp_path / "pid"
    os.mknod(path, 0o020600 if kind == "a device" else 0o010600, os.makedev(1, 7) if kind == "a device" else 0)
    before = path.lstat()
    name = containers.runtime.id()
    done = containers.runtime("create", "--pid-file", path, "-b", containers.bundle("true"), name, check=False)
    assert done.returncode == 1
    assert "what is there is not a regular file" in done.stderr
    assert path.lstat() == before
    assert os.listdir(tmp_path).count("pid") == 1
    containers.nothing_left(name)


def test_a_pid_file_on_a_full_disk_leaves_nothing(containers, tmp_path):
    place = tmp_path / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place], check=True)
    try:
        (place / "rest").write_bytes(bytes(4096))
        done = containers.runtime(
            "create", "--pid-file", place / "pid", "-b", containers.bundle("true"), containers.runtime.id(), check=False
        )
        assert done.returncode == 1
        assert "ENOSPC" in done.stderr
        assert os.listdir(place) == ["rest"]
    finally:
        subprocess.run(["umount", place], check=True)


# ---- The state root, the bundle, the root ----


def test_a_state_root_that_is_a_file_is_named(containers, tmp_path):
    path = tmp_path / "file"
    path.touch()
    words = ["--root", path, "create", "-b", containers.bundle("true"), containers.runtime.id()]
    done = subprocess.run([containers.runtime.program, *words], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot make the state root {path}: EEXIST" in done.stderr


def test_a_bundle_whose_path_no_state_can_have_is_refused(containers, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff"
    os.rename(containers.bundle("true"), path)
    name = containers.runtime.id()
    done = containers.runtime("create", "-b", os.fsdecode(path), name, check=False)
    assert done.returncode == 1
    assert "\\xff is not UTF-8" in done.stderr
    containers.nothing_left(name)


def test_paths_cannot_be_masked_in_the_hosts_root(containers):
    change = top(root={"path": "/"})
    assert '/root/path  "/"' in containers.refused(change)
    without = containers.bundle("true", change)
    assert containers.runtime("run", "--no-pivot", "-b", without, containers.runtime.id()).returncode == 0
