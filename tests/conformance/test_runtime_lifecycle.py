"""The operations and the state: what each does, and what it refuses without effect (runtime.md)."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import jsonschema
import pytest
from containers import Container, mounts, until

from changes import bind, hook, inherit, linux, mount, process, top
from pyruntime import SPEC_VERSION

STATE = pytest.mark.clause("runtime.md#state")
QUERY = pytest.mark.clause("runtime.md#query-state")
CREATE = pytest.mark.clause("runtime.md#create")
START = pytest.mark.clause("runtime.md#start")
KILL = pytest.mark.clause("runtime.md#kill")
DELETE = pytest.mark.clause("runtime.md#delete")
LIFECYCLE = pytest.mark.clause("runtime.md#lifecycle")
ERRORS = pytest.mark.clause("runtime.md#errors")

TRAP = "trap 'exit 0' TERM USR1 HUP; echo > /dev/shm/ready; while :; do usleep 1000; done"


def trapping(containers, *changes):
    """Return a running container whose traps are set: SIGTERM, SIGUSR1 and SIGHUP end it with status 0."""
    container = containers.start(*changes, script=TRAP)
    until(lambda: container.path("/dev/shm/ready").exists(), "the trap")
    return container


def unknown(runtime, name):
    return "does not exist" in runtime("state", name, check=False).stderr


# ---- State ----


@STATE
@QUERY
@pytest.mark.clause(
    "runtime.md#state/version",
    "runtime.md#state/id",
    "runtime.md#state/pid",
    "runtime.md#state/bundle",
    "runtime.md#query-state/returns-state",
)
def test_the_state_has_what_the_spec_defines(containers):
    container = containers.create()
    state = container.state()
    assert state["ociVersion"] == json.loads(container.containers.runtime("features").stdout)["ociVersionMax"]
    assert state["id"] == container.id
    assert state["status"] == "created"
    assert state["bundle"] == str(container.bundle)
    assert os.path.isabs(state["bundle"])
    assert state["pid"] > 0


@STATE
@pytest.mark.clause("runtime.md#state/pid")
def test_the_pid_is_that_of_the_containers_process_on_the_host(containers):
    container = containers.create()
    assert container.id in container.proc("cgroup").read_text()


@STATE
@pytest.mark.clause(
    "runtime.md#scope-of-a-container/creator-can-operate",
    "runtime.md#state/status",
    "runtime.md#operations/supported",
)
def test_statuses_follow_the_lifecycle(containers, tmp_path):
    script = "read line < /home/fifo"
    os.mkfifo(tmp_path / "fifo")
    container = containers.create(bind(tmp_path, "/home"), script=script)
    assert container.status == "created"
    container.start()
    assert container.status == "running"
    with open(tmp_path / "fifo", "w") as file:
        file.write("end\n")
    container.wait("stopped")
    container.delete()
    assert unknown(containers.runtime, container.id)


@STATE
@pytest.mark.clause("runtime.md#state/status")
def test_while_it_is_being_created_the_status_is_creating(containers, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    name = containers.runtime.id()
    path = containers.bundle("true", hook("createRuntime", f"read line < {fifo}"))
    creating = subprocess.Popen(containers.runtime.command("create", "-b", path, name), stdin=subprocess.DEVNULL)
    try:
        with open(fifo, "w") as file:  # opens when the hook reads
            state = json.loads(containers.runtime("state", name).stdout)
            file.write("go\n")
    finally:
        assert creating.wait(30) == 0
    assert state["status"] == "creating"
    assert Container(containers, name, path).status == "created"


@STATE
def test_a_stopped_container_has_no_pid(containers):
    container = containers.start(script="true")
    container.wait()
    assert container.state().get("pid", 0) == 0


@QUERY
@ERRORS
@pytest.mark.parametrize("verb", ["state", "start", "kill", "delete"])
@pytest.mark.clause("runtime.md#query-state/unknown-container")
def test_an_unknown_id_is_an_error(containers, verb):
    words = ["KILL"] if verb == "kill" else []
    done = containers.runtime(verb, containers.runtime.id(), *words, check=False)
    assert done.returncode == 1
    assert "does not exist" in done.stderr


@QUERY
def test_the_same_question_has_the_same_answer(containers):
    container = containers.create()
    assert container.state() == container.state()


@STATE
@QUERY
@pytest.mark.clause(
    "runtime.md#state/version",
    "runtime.md#state/id",
    "runtime.md#state/status",
    "runtime.md#state/pid",
    "runtime.md#state/schema",
    "runtime.md#query-state/returns-state",
)
def test_the_state_obeys_its_schema_at_every_status(containers, tmp_path):
    schema = json.loads((Path(__file__).parents[2] / "spec-fixtures/schema/state.json").read_text())
    os.mkfifo(tmp_path / "fifo")
    path = containers.bundle(
        "sleep 1000", top(annotations={"key": "value"}), hook("createRuntime", f"read line < {tmp_path}/fifo")
    )
    container = Container(containers, containers.runtime.id(), path)
    states = []
    creating = subprocess.Popen(
        containers.runtime.command("create", "-b", path, container.id), stdin=subprocess.DEVNULL
    )
    with open(tmp_path / "fifo", "w") as file:  # opens when the hook reads
        states.append(container.state())
        file.write("go\n")
    assert creating.wait(30) == 0
    states.append(container.state())
    container.start()
    states.append(container.state())
    container.kill()
    container.wait()
    states.append(container.state())
    assert [state["status"] for state in states] == ["creating", "created", "running", "stopped"]
    assert states[1]["pid"] == states[2]["pid"] > 0
    for state in states:
        jsonschema.validate(state, schema, cls=jsonschema.Draft7Validator)
        assert (state["ociVersion"], state["id"], state["annotations"]) == (
            SPEC_VERSION,
            container.id,
            {"key": "value"},
        )


# ---- What an operation needs ----


@QUERY
@ERRORS
@pytest.mark.parametrize(
    "verb",
    [
        pytest.param("state", marks=pytest.mark.clause("runtime.md#query-state/id-needed")),
        pytest.param("create", marks=pytest.mark.clause("runtime.md#create/arguments-needed")),
        pytest.param("start", marks=pytest.mark.clause("runtime.md#start/id-needed")),
        pytest.param("kill", marks=pytest.mark.clause("runtime.md#kill/id-needed")),
        pytest.param("delete", marks=pytest.mark.clause("runtime.md#delete/id-needed")),
    ],
)
def test_an_operation_without_its_arguments_is_an_error(containers, verb):
    done = containers.runtime(verb, check=False, cwd=containers.bundle("true"))
    assert done.returncode != 0
    assert "ID" in done.stderr
    assert not containers.runtime.root.exists() or not list(containers.runtime.root.iterdir())


# ---- Create ----


@CREATE
@pytest.mark.clause("runtime.md#lifecycle/program-waits-for-start")
def test_create_does_not_run_the_program(containers, tmp_path):
    container = containers.create(bind(tmp_path, "/home"), script="echo > /home/ran")
    assert container.status == "created"
    container.delete("--force")
    assert not (tmp_path / "ran").exists()


@CREATE
@pytest.mark.clause("runtime.md#lifecycle/environment-created", "runtime.md#lifecycle/resources-at-create")
def test_create_applies_everything_but_the_program(containers):
    container = containers.create(
        top(hostname="made", domainname="made.example"),
        mount("/home", "tmpfs", "made"),
        linux(
            devices=[{"path": "/dev/made", "type": "c", "major": 10, "minor": 229}],
            sysctl={"net.ipv4.ip_default_ttl": "33"},
            maskedPaths=["/etc/passwd"],
            readonlyPaths=["/etc/group"],
        ),
        process(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}], oomScoreAdj=123),
    )
    assert container.status == "created"
    for name in ("mnt", "net", "uts", "ipc", "pid"):
        assert container.proc(f"ns/{name}").readlink() != Path(f"/proc/self/ns/{name}").readlink()
    found = {one.path: one for one in mounts(container.proc("mountinfo").read_text())}
    assert found["/home"].source == "made"
    assert found["/etc/group"].options >= {"ro"} <= found["/"].options
    assert container.path("/etc/passwd").read_text() == ""
    assert os.major(container.path("/dev/made").stat().st_rdev) == 10
    assert container.exec("sh", "-c", "hostname; cat /proc/sys/kernel/domainname").stdout.split() == [
        *("made", "made.example")
    ]
    assert container.exec("cat", "/proc/sys/net/ipv4/ip_default_ttl").stdout == "33\n"
    assert container.proc("oom_score_adj").read_text() == "123\n"
    assert container.proc("limits").read_text().count(" 77 ") == 2


@CREATE
@ERRORS
@pytest.mark.clause("runtime.md#state/id-unique", "runtime.md#create/id-taken-or-invalid")
def test_a_taken_id_is_an_error_and_leaves_the_container_alone(containers):
    container = containers.start()
    before, record = container.state(), container.state_file()
    other = containers.bundle("echo other")
    done = containers.runtime("create", "-b", other, container.id, check=False)
    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert container.state() == before
    assert container.state_file() == record
    assert container.proc("status").exists()


@CREATE
def test_an_id_is_free_again_after_delete(containers):
    container = containers.create()
    container.delete("--force")
    assert containers.create(name=container.id).status == "created"


@CREATE
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\nb", "a b", "x" * 300, "ü", "\x1b[31m"])
@pytest.mark.clause("runtime.md#create/id-taken-or-invalid")
def test_an_id_that_cannot_be_is_an_error(containers, runtime, name):
    path = containers.bundle("true")
    done = runtime("create", "-b", path, name, check=False)
    assert done.returncode == 1
    assert not runtime.root.exists() or not list(runtime.root.iterdir())


@CREATE
def test_ids_are_unique_per_root_only(containers, tmp_path):
    container = containers.create(linux(cgroupsPath=f"/{containers.runtime.id()}-one"))
    other = tmp_path / "other root"
    path = containers.bundle("true", linux(cgroupsPath=f"/{containers.runtime.id()}-two"))
    command = [str(containers.runtime.program), "--root", str(other)]
    subprocess.run([*command, "create", "-b", path, container.id], check=True, stdin=subprocess.DEVNULL, timeout=30)
    subprocess.run([*command, "delete", "--force", container.id], check=True, timeout=30)
    assert container.status == "created"


@CREATE
@pytest.mark.clause("runtime.md#lifecycle/config-read-once")
def test_changes_of_config_json_after_create_have_no_effect(containers, tmp_path):
    container = containers.create(bind(tmp_path, "/home"), script="hostname > /home/name")
    config = json.loads((container.bundle / "config.json").read_text())
    config["process"]["args"] = ["sh", "-c", "echo changed > /home/name"]
    config["hostname"] = "changed"
    (container.bundle / "config.json").write_text(json.dumps(config))
    container.start()
    container.wait()
    assert (tmp_path / "name").read_text() == "pyruntime\n"
    container.delete()


@CREATE
@pytest.mark.clause("runtime.md#lifecycle/config-read-once")
def test_changes_of_config_json_reach_neither_exec_nor_the_hooks_of_delete(containers, tmp_path):
    container = containers.start(process(env=["PATH=/bin", "WORD=first"]))
    path = container.bundle / "config.json"
    config = json.loads(path.read_text())
    process(env=["PATH=/bin", "WORD=second"], user={"uid": 5, "gid": 5})(config)
    hook("poststop", f"touch {tmp_path}/poststop")(config)
    path.write_text(json.dumps(config))
    assert container.exec("sh", "-c", "echo $WORD; id -u").stdout.split() == ["first", "0"]
    container.delete("--force")
    assert not (tmp_path / "poststop").exists()


@CREATE
@pytest.mark.clause("runtime.md#lifecycle/config-read-once")
def test_a_bundle_that_is_gone_after_create_does_not_matter(containers, tmp_path):
    container = containers.create(
        bind(tmp_path, "/home"), hook("poststop", f"touch {tmp_path}/poststop"), script="touch /home/ran"
    )
    shutil.rmtree(container.bundle)
    container.start()
    container.wait()
    container.delete()
    assert (tmp_path / "ran").exists()
    assert (tmp_path / "poststop").exists()


@CREATE
@ERRORS
@pytest.mark.clause("runtime.md#create/arguments-needed", "bundle.md#container-format/config-json")
def test_a_bundle_without_configuration_is_an_error(containers, tmp_path):
    done = containers.runtime("create", "-b", tmp_path, containers.runtime.id(), check=False)
    assert done.returncode == 1
    assert "config.json" in done.stderr


@CREATE
@pytest.mark.clause("runtime.md#state/bundle", "runtime.md#create/arguments-needed")
def test_the_bundle_is_the_working_directory_by_default(containers):
    path = containers.bundle("sleep 1000")
    name = containers.runtime.id()
    containers.runtime("create", name, cwd=path)
    assert json.loads(containers.runtime("state", name).stdout)["bundle"] == str(path)


@CREATE
@pytest.mark.clause("runtime.md#state/bundle")
def test_a_bundle_named_by_a_relative_path_is_absolute_in_the_state(containers):
    path = containers.bundle("sleep 1000")
    name = containers.runtime.id()
    containers.runtime("create", "-b", path.name, name, cwd=path.parent)
    assert json.loads(containers.runtime("state", name).stdout)["bundle"] == str(path)


@CREATE
def test_the_pid_file_has_the_pid(containers, tmp_path):
    container = containers.create(words=["--pid-file", tmp_path / "pid"])
    assert int((tmp_path / "pid").read_text()) == container.pid


@CREATE
@ERRORS
@pytest.mark.clause("runtime.md#errors/no-trace")
def test_a_pid_file_that_cannot_be_written_is_an_error_that_leaves_nothing(containers, tmp_path):
    path = containers.bundle("true")
    name = containers.runtime.id()
    done = containers.runtime("create", "-b", path, "--pid-file", tmp_path / "no/such/place", name, check=False)
    assert done.returncode == 1
    containers.nothing_left(name)


@CREATE
@ERRORS
@pytest.mark.parametrize(
    "change",
    [
        mount("/home", "nofs", "none"),
        process(args=["/no/such/program"]),
        linux(sysctl={"kernel.panic": "1"}),
        linux(resources={"memory": {"limit": 1}}),
        hook("createContainer", "exit 1"),
        process(cwd="/etc/passwd"),
        process(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 2**40, "hard": 2**40}]),
    ],
    ids=["mount", "program", "sysctl", "memory", "hook", "cwd", "rlimit"],
)
@pytest.mark.clause("runtime.md#lifecycle/environment-error", "runtime.md#errors/no-trace")
def test_an_error_at_any_point_of_create_leaves_nothing(containers, change, host_mounts):
    before = host_mounts()
    containers.refused(change)
    assert host_mounts() == before


@CREATE
@ERRORS
@pytest.mark.clause("runtime.md#errors/no-trace")
def test_run_leaves_nothing_after_an_error_either(containers):
    containers.refused(process(args=["/no/such/program"]), verb="run")


# ---- Start ----


@START
@pytest.mark.clause("runtime.md#lifecycle/program-run")
def test_start_runs_the_program(containers, tmp_path):
    container = containers.create(bind(tmp_path, "/home"), script="echo > /home/ran")
    container.start()
    container.wait()
    assert (tmp_path / "ran").exists()


@START
@ERRORS
@pytest.mark.clause("runtime.md#start/not-created")
def test_a_running_container_cannot_be_started(containers, tmp_path):
    container = containers.start(bind(tmp_path, "/home"), script="echo x >> /home/runs; sleep 1000")
    until((tmp_path / "runs").exists, "the program")
    done = container.start(check=False)
    assert done.returncode == 1
    assert "running" in done.stderr
    assert container.status == "running"
    assert (tmp_path / "runs").read_text() == "x\n"


@START
@ERRORS
@pytest.mark.clause("runtime.md#start/not-created")
def test_a_stopped_container_cannot_be_started(containers):
    container = containers.start(script="true")
    container.wait()
    done = container.start(check=False)
    assert done.returncode == 1
    assert "stopped" in done.stderr
    assert container.status == "stopped"


@START
@pytest.mark.clause("runtime.md#start/not-created")
def test_of_two_starts_at_once_one_succeeds(containers, tmp_path):
    container = containers.create(bind(tmp_path, "/home"), script="echo x >> /home/runs; sleep 1000")
    both = [
        subprocess.Popen(containers.runtime.command("start", container.id), stderr=subprocess.DEVNULL) for _ in range(2)
    ]
    assert sorted(one.wait(30) for one in both) == [0, 1]
    until(lambda: container.status == "running" and (tmp_path / "runs").read_text(), "the program")
    assert (tmp_path / "runs").read_text() == "x\n"


# ---- Kill ----


@KILL
@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "15", "term", "USR1", "HUP"])
@pytest.mark.clause(
    "runtime.md#scope-of-a-container/creator-can-operate",
    "runtime.md#operations/supported",
    "runtime.md#kill/signal-sent",
)
def test_kill_sends_the_signal_by_any_name(containers, name):
    container = trapping(containers)
    container.kill(name)
    container.wait()


@KILL
def test_kill_without_a_signal_is_sigterm(containers):
    container = trapping(containers)
    containers.runtime("kill", container.id)
    container.wait()


@KILL
def test_a_signal_that_the_process_ignores_changes_nothing(containers):
    container = trapping(containers)
    container.kill("WINCH")
    assert container.status == "running"


@KILL
@pytest.mark.clause("runtime.md#kill/signal-sent")
def test_a_created_container_can_be_killed(containers):
    container = containers.create()
    container.kill("KILL")
    container.wait()
    container.delete()


@KILL
@ERRORS
@pytest.mark.clause("runtime.md#kill/not-alive")
def test_a_stopped_container_cannot_be_killed(containers):
    container = containers.start(script="true")
    container.wait()
    done = container.kill("TERM", check=False)
    assert done.returncode == 1
    assert "not running" in done.stderr
    assert container.status == "stopped"


@KILL
@ERRORS
@pytest.mark.parametrize("name", ["NOSUCH", "65", "-1"])
def test_a_signal_that_does_not_exist_is_an_error(containers, name):
    container = containers.start()
    assert container.kill(name, check=False).returncode != 0
    assert container.status == "running"


@KILL
@pytest.mark.clause("runtime.md#kill/signal-sent")
def test_kill_reaches_the_first_process_only(containers, tmp_path):
    script = """
    trap 'echo init >> /home/heard; exit' USR1
    sh -c 'trap "echo child >> /home/heard; exit" USR1; echo > /dev/shm/ready; while :; do usleep 1000; done' &
    while :; do usleep 1000; done
    """
    container = containers.start(bind(tmp_path, "/home"), script=script)
    until(lambda: container.path("/dev/shm/ready").exists(), "the child")
    container.kill("USR1")
    container.wait()
    assert (tmp_path / "heard").read_text() == "init\n"


@KILL
def test_kill_all_reaches_every_process(containers):
    container = containers.start(inherit("pid"), script="sleep 1000 & sleep 1000 & echo > /dev/shm/ready; wait")
    until(lambda: container.path("/dev/shm/ready").exists(), "the processes")
    groups = container.cgroups()
    procs = groups.get("pids", groups.get("")) / "cgroup.procs"
    pids = procs.read_text().split()
    assert len(pids) == 3
    containers.runtime("kill", "--all", container.id, "KILL")
    container.wait()
    until(lambda: not procs.read_text().split(), "the end of all processes")


# ---- Delete ----


@DELETE
@pytest.mark.clause("runtime.md#lifecycle/destroyed", "runtime.md#delete/resources-deleted")
def test_delete_removes_everything_that_create_made(containers):
    container = containers.start(script="true")
    container.wait()
    container.delete()
    containers.nothing_left(container.id)
    assert unknown(containers.runtime, container.id)


@DELETE
@ERRORS
@pytest.mark.clause("runtime.md#delete/not-stopped")
def test_a_running_container_cannot_be_deleted(containers):
    container = containers.start()
    before = container.state()
    done = container.delete(check=False)
    assert done.returncode == 1
    assert "running" in done.stderr
    assert container.state() == before


@DELETE
@ERRORS
@pytest.mark.clause("runtime.md#delete/not-stopped")
def test_a_created_container_cannot_be_deleted_without_force(containers):
    container = containers.create()
    before = container.state()
    done = container.delete(check=False)
    assert done.returncode == 1
    assert "created, not stopped" in done.stderr
    assert container.state() == before
    container.delete("--force")
    containers.nothing_left(container.id)


@DELETE
def test_force_deletes_a_running_container(containers):
    container = containers.start()
    container.delete("--force")
    containers.nothing_left(container.id)


@DELETE
def test_force_of_a_container_that_does_not_exist_is_no_error(runtime):
    runtime("delete", "--force", runtime.id())


@DELETE
@pytest.mark.clause("runtime.md#delete/foreign-resources-kept")
def test_delete_leaves_what_it_did_not_make(containers, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "kept").touch()
    container = containers.start(bind(place, "/home"), script="true")
    container.wait()
    container.delete()
    assert (place / "kept").exists()
    assert (container.bundle / "config.json").exists()


@DELETE
@ERRORS
def test_a_deleted_container_is_unknown(containers):
    container = containers.create()
    container.delete("--force")
    assert container.delete(check=False).returncode == 1
    assert container.start(check=False).returncode == 1
    assert container.kill(check=False).returncode == 1


# ---- Deaths ----


@LIFECYCLE
def test_a_process_that_dies_before_start_stops_the_container(containers):
    container = containers.create()
    os.kill(container.pid, signal.SIGKILL)
    container.wait("stopped")
    assert container.start(check=False).returncode == 1
    container.delete()
    containers.nothing_left(container.id)


@LIFECYCLE
@pytest.mark.parametrize("moment", ["createRuntime", "createContainer"])
def test_a_create_that_is_killed_can_be_deleted_with_all_it_made(containers, tmp_path, moment):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    name = containers.runtime.id()
    path = containers.bundle("true", hook(moment, f"exec 3<{fifo}; read line <&3"))
    creating = subprocess.Popen(containers.runtime.command("create", "-b", path, name), stdin=subprocess.DEVNULL)
    with open(fifo, "w"):
        creating.kill()
        creating.wait(30)
        containers.runtime("delete", "--force", name)
        containers.nothing_left(name)


@LIFECYCLE
def test_the_exit_of_the_process_is_the_exit_of_run(containers):
    assert containers.run("exit 42", check=False).returncode == 42
    assert containers.run("kill -TERM $$; sleep 1000", inherit("pid"), check=False).returncode == 143
