"""`checkpoint` and `restore`: round trips where CRIU can make them, and clear errors where it cannot."""

import json
import os
import signal
import socket
import subprocess

import pytest
from containers import until

from pyruntime.engine.criu import rpc
from pyruntime.engine.criu.external import external_mounts, external_namespaces, namespaces_to_join
from pyruntime.engine.criu.options import FLAGS
from terminals import read_until, take_terminal

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
    """Return the number that the program has written last; while it writes, its file is empty."""
    return int(until(lambda: runtime("exec", container, "cat", "/tmp/count", check=False).stdout, "a number"))


def criu_works():
    if os.environ.get("PYRUNTIME_VM") == "v2":
        return True  # with the kernel of its own release it does; where it does not, the test is to fail
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


def test_a_process_of_exec_joins_the_time_namespace_that_criu_makes(runtime, running, tmp_path):
    """Otherwise a second checkpoint fails and ends the container."""
    if not criu_works():
        pytest.skip("CRIU does not work with this kernel")
    container, path = running
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    before = count(runtime, container)
    for number in range(2):
        images = tmp_path / f"images{number}"
        runtime("checkpoint", "--image-path", images, container)
        command = runtime.command("restore", "-d", "--image-path", images, "-b", path, container)
        subprocess.run(command, check=True, timeout=60, **null)
        pid = json.loads(runtime("state", container).stdout)["pid"]
        inside = runtime("exec", container, "readlink", "/proc/self/ns/time").stdout.strip()
        assert inside == os.readlink(f"/proc/{pid}/ns/time")
        # One is there while the next checkpoint is made; CRIU writes init and its descendants alone.
        subprocess.run(runtime.command("exec", "-d", container, "sleep", "1000"), check=True, timeout=60, **null)
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


def test_a_terminal_comes_back_with_what_was_written_before_and_hooks_see_the_namespaces(runtime, bundle, tmp_path):
    if not criu_works():
        pytest.skip("CRIU does not work with this kernel")
    links = tmp_path / "links"

    def change(config):
        with_terminal(config)
        counted = "n=0; while read line; do n=$((n + 1)); echo $n-$line; done"
        config["process"]["args"] = ["sh", "-c", f"stty -echo; echo ready; {counted}"]
        script = f"pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/ns/net >> {links}"
        config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}

    container, place = runtime.id(), bundle(change, own=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        words = ("--console-socket", tmp_path / "console", "-b", place, container)
        runtime("run", "-d", *words)
        with open(take_terminal(listener), "rb+", buffering=0) as master:
            read_until(master.fileno(), b"ready")
            master.write(b"one\n")
            read_until(master.fileno(), b"1-one")
            runtime("checkpoint", "--pre-dump", "--image-path", tmp_path / "first", container)
            runtime("checkpoint", "--parent-path", "../first", "--image-path", tmp_path / "second", container)
        runtime("restore", "-d", "--image-path", tmp_path / "second", *words)
        with open(take_terminal(listener), "rb+", buffering=0) as master:
            master.write(b"two\n")
            read_until(master.fileno(), b"2-two")
            pid = json.loads(runtime("state", container).stdout)["pid"]
            inside = os.readlink(f"/proc/{pid}/ns/net")
    # Not that they differ: the kernel may give the number of the one that is gone to the new one.
    assert links.read_text().split()[1:] == [inside]


@pytest.mark.parametrize(("answer", "said"), [("fail", "EINVAL"), ("die", "killed by signal 6")])
@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_the_log_is_named_when_criu_fails(runtime, running, criu, images, tmp_path, verb, answer, said):
    container, path = running
    criu.answers(answer)
    words = ["--image-path", images, "--work-path", tmp_path / "work"]
    if verb == "restore":
        other = runtime.id()
        done = runtime("restore", "-d", *words, "-b", path, other, env=criu.environment, check=False)
        assert f"log file {tmp_path}/work/restore.log" in done.stderr
        assert "does not exist" in runtime("state", other, check=False).stderr
    else:
        done = runtime("checkpoint", *words, container, env=criu.environment, check=False)
        assert f"log file {tmp_path}/work/dump.log" in done.stderr
        assert json.loads(runtime("state", container).stdout)["status"] == "running"
    assert done.returncode == 1
    assert said in done.stderr
    assert "criu's log" in done.stderr and "the stars are wrong" in done.stderr


def signalled(command, criu, answer, number):
    """Send signal `number` to `command` when its criu hangs; return its exit status, stderr, and pids of criu's."""
    criu.answers(answer)
    os.mkfifo(criu.place / "hanging")
    null = dict.fromkeys(("stdin", "stdout"), subprocess.DEVNULL)
    with subprocess.Popen(command, env=criu.environment, **null, stderr=subprocess.PIPE, text=True) as process:
        said = (criu.place / "hanging").read_text()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors, json.loads(said) if answer == "deaf" else []


def living(pids):
    """Return those of `pids` that have not ended; one that nobody has waited for yet has."""
    found = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                found += [pid] if file.read().rpartition(")")[2].split()[0] not in "ZX" else []
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("answer", ["hang", "deaf"])
@pytest.mark.parametrize("detach", [["-d"], []])
def test_a_signal_ends_a_restore_whose_criu_hangs_and_nothing_is_left(
    runtime, bundle, criu, images, tmp_path, detach, answer, number
):
    container, place = runtime.id(), bundle(lambda config: None, own=True)
    words = [*detach, "--image-path", images, "-b", place, "--pid-file", tmp_path / "pid", container]
    status, errors, pids = signalled(runtime.command("restore", *words), criu, answer, number)
    assert status == 1 and f"signal {number} came" in errors
    assert not living(pids)
    assert not (runtime.root / container).exists() and not (tmp_path / "pid").exists()
    with open("/proc/self/mountinfo") as mounts:
        assert container not in mounts.read()
    assert not [name for name, _, _ in os.walk("/sys/fs/cgroup") if container in name]


@pytest.mark.parametrize("answer", ["hang", "deaf"])
def test_a_signal_ends_a_checkpoint_whose_criu_hangs_and_the_container_goes_on(runtime, running, criu, images, answer):
    container, _ = running
    command = runtime.command("checkpoint", "--image-path", images, container)
    status, errors, pids = signalled(command, criu, answer, signal.SIGTERM)
    assert status == 1 and "signal 15 came" in errors
    assert not living(pids)
    assert json.loads(runtime("state", container).stdout)["status"] == "running"


def test_only_what_criu_has_made_is_ended_with_it(runtime, running, criu, images):
    """A shell that executes pyruntime leaves it its children."""
    container, _ = running
    command = runtime.command("checkpoint", "--image-path", images, container)
    # Its output is closed, because that of checkpoint is read to its end.
    script = 'sleep 1000 2> /dev/null & echo $! > "$0"; exec "$@"'
    child = images / "child"
    images.mkdir(exist_ok=True)
    try:
        status, errors, pids = signalled(["sh", "-c", script, child, *command], criu, "deaf", signal.SIGTERM)
        assert status == 1 and "signal 15 came" in errors
        assert not living(pids)
        assert living([int(child.read_text())])
    finally:
        os.kill(int(child.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("answer", "words", "said"),
    [
        ("old", [], "at least 31600"),
        ("poor", ["--pre-dump"], "mem_track"),
        ("poor", ["--lazy-pages"], "lazy_pages"),
        ("", ["--status-fd", "77", "--lazy-pages"], "--status-fd 77"),
        ("", ["--parent-path", "../none"], "--parent-path ../none"),
        ("", ["--manage-cgroups-mode", "maybe"], "--manage-cgroups-mode maybe"),
        ("", ["--page-server", "nowhere"], "ADDRESS:PORT"),
        ("", ["--empty-ns", "pid"], "network"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(runtime, running, criu, tmp_path, answer, words, said):
    container, _ = running
    criu.answers(answer)
    command = ("checkpoint", *words, "--image-path", tmp_path / "images", container)
    done = runtime(*command, env=criu.environment, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "images").exists()
    assert json.loads(runtime("state", container).stdout)["status"] == "running"


def test_each_option_of_checkpoint_reaches_criu(runtime, running, criu, tmp_path):
    container, _ = running
    (tmp_path / "old").mkdir()
    flags = sorted({*FLAGS} - {"tcp-close"})
    words = [*(f"--{name}" for name in flags), "--parent-path", "../old", "--page-server", "[::1]:99"]
    words += ["--manage-cgroups-mode", "strict", "--image-path", tmp_path / "images", "--empty-ns", "network"]
    words += ["--network-lock", "nftables"]
    runtime("checkpoint", *words, container, env=criu.environment)
    asked = criu.options(rpc.DUMP)
    state = json.loads(runtime("state", container).stdout)
    assert state["status"] == "running"  # --leave-running is one of the flags
    assert all(asked[FLAGS[name]] == 1 for name in flags)
    assert asked["pid"] == state["pid"]
    assert (asked["parent_img"], asked["track_mem"]) == ("../old", 1)
    assert asked["ps"] == {"address": "::1", "port": 99}
    assert asked["manage_cgroups_mode"] == rpc.CGROUP_MODES["strict"]
    assert asked["network_lock"] == rpc.NETWORK_LOCKS["nftables"]
    assert asked["empty_ns"] == 0x40000000
    assert asked["config_file"] == "/etc/criu/runc.conf"
    assert {"key": "/proc/timer_list", "val": "/proc/timer_list"} in asked["ext_mnt"]
    assert json.loads((tmp_path / "images/descriptors.json").read_text()) == ["/dev/null"] * 3


def test_a_container_that_was_checkpointed_is_gone_and_one_after_a_pre_dump_is_not(runtime, running, criu, tmp_path):
    container, _ = running
    runtime("checkpoint", "--pre-dump", "--image-path", tmp_path / "one", container, env=criu.environment)
    assert "ext_mnt" not in criu.options(rpc.PRE_DUMP)
    assert json.loads(runtime("state", container).stdout)["status"] == "running"
    runtime("checkpoint", "--image-path", tmp_path / "two", container, env=criu.environment)
    assert "does not exist" in runtime("state", container, check=False).stderr


def test_status_fd_is_told_when_lazy_pages_are_ready(runtime, running, criu, tmp_path):
    container, _ = running
    read, write = os.pipe()
    words = ["--lazy-pages", "--status-fd", str(write), "--leave-running", "--image-path", tmp_path / "images"]
    command = runtime.command("checkpoint", *words, container)
    subprocess.run(command, pass_fds=[write], env=criu.environment, check=True, timeout=60)
    os.close(write)
    with open(read, "rb") as said:
        assert said.read() == b"\0"


def in_the_hosts_cgroup_namespace(config):
    counter(config)
    config["mounts"] = [entry for entry in config["mounts"] if entry.get("type") != "cgroup"]
    config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]})
    config["linux"]["namespaces"] = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "cgroup"]


def in_its_own_cgroup_namespace(config):
    in_the_hosts_cgroup_namespace(config)
    config["linux"]["namespaces"].append({"type": "cgroup"})


@pytest.mark.parametrize("change", [in_the_hosts_cgroup_namespace, in_its_own_cgroup_namespace])
def test_hierarchies_that_are_bound_are_the_hosts_own(runtime, bundle, criu, images, tmp_path, change):
    """Without a cgroup namespace the container sees the host's mounts, which CRIU must leave to the host."""
    container, place = runtime.id(), bundle(change, own=True)
    null = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.run(runtime.command("run", "-d", "-b", place, container), check=True, timeout=60, **null)
    mounted = [line.split() for line in runtime("exec", container, "cat", "/proc/mounts").stdout.splitlines()]
    places = {words[1] for words in mounted if words[2] in ("cgroup", "cgroup2")}
    assert places
    runtime("checkpoint", "--leave-running", "--image-path", tmp_path / "dump", container, env=criu.environment)
    outside = change is in_the_hosts_cgroup_namespace
    asked = {entry["key"]: entry["val"] for entry in criu.options(rpc.DUMP)["ext_mnt"]}
    assert {key for key in asked if key.startswith("/sys/fs/cgroup")} == (places if outside else set())
    runtime("kill", container, "KILL")

    again = runtime.id()
    runtime("restore", "-d", "--image-path", images, "-b", place, again, env=criu.environment)
    asked = {entry["key"]: entry["val"] for entry in criu.options(rpc.RESTORE)["ext_mnt"]}
    sources = {key: value for key, value in asked.items() if key.startswith("/sys/fs/cgroup")}
    assert set(sources) == (places if outside else set())
    assert all(os.path.isdir(source) for source in sources.values())
    if os.path.isdir("/sys/fs/cgroup/pids") and outside:
        assert again in sources["/sys/fs/cgroup/pids"]
    runtime("kill", again, "KILL")


def test_restore_runs_hooks_joins_cgroups_and_makes_places_for_mounts(runtime, bundle, criu, images, tmp_path):
    def change(config):
        config["annotations"] = {
            "org.criu.config": "/etc/criu/mine.conf",
            "run.oci.hooks.stdout": str(tmp_path / "out"),
        }
        hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat; echo"]}
        config["hooks"] = {kind: [hook] for kind in ("prestart", "createRuntime", "createContainer", "startContainer")}
        config["mounts"].append(
            {"destination": "/data/deep", "type": "bind", "source": str(tmp_path), "options": ["bind"]}
        )

    container, place = runtime.id(), bundle(change, own=True)
    words = ("--image-path", images, "-b", place, "--pid-file", tmp_path / "pid", "--tcp-established")
    runtime("restore", "-d", *words, "--tcp-close", "--lsm-profile", "apparmor:x", container, env=criu.environment)
    state = json.loads(runtime("state", container).stdout)
    assert (state["status"], str(state["pid"])) == ("running", (tmp_path / "pid").read_text())
    hooks = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [(hook["id"], hook["pid"]) for hook in hooks] == [(container, state["pid"])] * 2
    asked = criu.options(rpc.RESTORE)
    assert asked["config_file"] == "/etc/criu/mine.conf"
    assert (asked["lsm_profile"], asked["tcp_established"], asked["rst_sibling"]) == ("apparmor:x", 1, 1)
    assert asked["tcp_close"] == 1
    assert {"key": "/data/deep", "val": str(tmp_path)} in asked["ext_mnt"]
    assert asked["inherit_fd"] == {"key": "pipe:[17]", "fd": 1}
    # A single one, on a host with cgroup v2 alone, is not a list.
    groups = asked["cg_root"] if isinstance(asked["cg_root"], list) else [asked["cg_root"]]
    assert any(container in group["path"] for group in groups)
    assert json.loads(runtime("ps", "-f", "json", container).stdout) == [state["pid"]]
    assert (place / "rootfs/data/deep").is_dir()
    assert not [line for line in open("/proc/self/mounts") if container in line]
    runtime("kill", container, "KILL")


def test_a_hook_that_fails_fails_the_restore(runtime, bundle, criu, images):
    container = runtime.id()
    change = {"createRuntime": [{"path": "/bin/false"}]}
    place = bundle(lambda config: config.update(hooks=change), own=True)
    done = runtime("restore", "-d", "--image-path", images, "-b", place, container, env=criu.environment, check=False)
    assert done.returncode == 1
    assert "createRuntime hook /bin/false failed" in done.stderr
    assert not (runtime.root / container).exists()


def with_terminal(config):
    config["process"]["terminal"] = True


def test_the_terminal_of_a_restored_container_goes_to_the_console_socket(runtime, bundle, criu, images, tmp_path):
    criu.has_a_terminal()
    container = runtime.id()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console"))
        listener.listen()
        words = ("--console-socket", tmp_path / "console", "--image-path", images, "-b", bundle(with_terminal))
        runtime("restore", "-d", *words, container, env=criu.environment)
        master = take_terminal(listener)
    read_until(master, b"ready")
    os.write(master, b"hello\n")
    read_until(master, b"got hello")
    os.close(master)


def test_in_the_foreground_restore_is_the_terminal(runtime, bundle, criu, images):
    criu.has_a_terminal()
    command = runtime.command("restore", "--image-path", images, "-b", bundle(with_terminal), runtime.id())
    done = subprocess.run(
        command, input="hello\n", env=criu.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "got hello" in done.stdout
    assert done.returncode == 5


def test_a_terminal_that_nobody_takes_is_an_error(runtime, bundle, criu, images):
    container = runtime.id()
    words = ("restore", "-d", "--image-path", images, "-b", bundle(with_terminal), container)
    done = runtime(*words, env=criu.environment, check=False)
    assert done.returncode == 1 and "--console-socket" in done.stderr
    assert not (runtime.root / container).exists()


def test_without_criu_the_error_says_so(runtime, running, tmp_path):
    container, _ = running
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = runtime("checkpoint", "--image-path", tmp_path / "images", container, env=environment, check=False)
    assert done.returncode == 1
    assert "criu" in done.stderr
    assert "no such file or directory" in done.stderr
    assert json.loads(runtime("state", container).stdout)["status"] == "running"


def test_without_mount_the_error_says_so_and_nothing_is_left(runtime, bundle, criu, images):
    container = runtime.id()
    only_criu = {**criu.environment, "PATH": criu.environment["PATH"].split(":")[0]}
    words = ("restore", "-d", "--image-path", images, "-b", bundle(counter), container)
    done = runtime(*words, env=only_criu, check=False)
    assert done.returncode == 1 and "cannot run mount: no absolute directory of $PATH has it" in done.stderr
    assert not (runtime.root / container).exists()


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


def test_what_is_not_the_containers_own():
    config = {
        "mounts": [
            {"destination": "/proc", "type": "proc"},
            {"destination": "/data", "type": "bind", "source": "/srv"},
            {"destination": "/etc/hosts", "source": "/h", "options": ["rbind", "ro"]},
        ],
        "linux": {
            "namespaces": [
                {"type": "network", "path": "/run/netns/x"},
                {"type": "ipc", "path": "/proc/7/ns/ipc"},
                {"type": "pid"},
            ]
        },
    }
    assert external_mounts(config, ["/proc/kcore"]) == [
        ("/data", "/srv"),
        ("/etc/hosts", "/h"),
        ("/proc/kcore", "/dev/null"),
    ]
    assert external_namespaces(config) == [("net", "/run/netns/x")]
    assert namespaces_to_join(config) == [{"ns": "ipc", "ns_file": "/proc/7/ns/ipc"}]
    config["linux"]["namespaces"].append({"type": "user"})
    assert ("/dev/null", "/dev/null") in external_mounts(config, [])
