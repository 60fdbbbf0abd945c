"""The six kinds of hooks: when, where, with what, and what their failure means (config.md#posix-platform-hooks)."""

import json
import os

import pytest
from containers import mounts

from changes import bind, hook, mapped, mount, process, writable

HOOKS = pytest.mark.clause("config.md#posix-platform-hooks")
LIFECYCLE = pytest.mark.clause("runtime.md#lifecycle")
PRESTART = pytest.mark.clause("config.md#prestart")
CREATE_RUNTIME = pytest.mark.clause("config.md#createruntime-hooks")
CREATE_CONTAINER = pytest.mark.clause("config.md#createcontainer-hooks")
START_CONTAINER = pytest.mark.clause("config.md#startcontainer-hooks")
POSTSTART = pytest.mark.clause("config.md#poststart")
POSTSTOP = pytest.mark.clause("config.md#poststop")

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
ON_CREATE = KINDS[:3]
IN_CONTAINER = ("createContainer", "startContainer")
MARKS = dict(
    zip(KINDS, (PRESTART, CREATE_RUNTIME, CREATE_CONTAINER, START_CONTAINER, POSTSTART, POSTSTOP), strict=True)
)


# Kind -> the word for it in the clauses about all kinds, and the section of its own.
WORDS = dict(
    zip(
        KINDS,
        ("prestart", "create-runtime", "create-container", "start-container", "poststart", "poststop"),
        strict=True,
    )
)
SECTIONS = dict(
    zip(
        KINDS,
        ("prestart", "createruntime-hooks", "createcontainer-hooks", "startcontainer-hooks", "poststart", "poststop"),
        strict=True,
    )
)


def each(kinds=KINDS, clause=""):
    """Parametrize a test by kind of hook, with the section of each.

    clause  the clause of each that the test shows, with {word} and {section} for those of the kind
    """

    def marks(kind):
        more = clause.format(word=WORDS[kind], section=SECTIONS[kind])
        return [MARKS[kind], *([pytest.mark.clause(f"config.md#{more}")] if more else [])]

    return pytest.mark.parametrize("kind", [pytest.param(kind, marks=marks(kind)) for kind in kinds])


@pytest.fixture
def notes(tmp_path):
    """A directory that hooks of the host write to at its path, and hooks in the container at /dev/shm/notes."""
    path = tmp_path / "notes"
    path.mkdir()
    path.chmod(0o777)
    return path


def shared(notes):
    """Mount the notes at the same path in the container, so that every hook finds them."""
    return [bind(notes, notes), writable]


# ---- Order ----


@HOOKS
@LIFECYCLE
@pytest.mark.clause(
    "runtime.md#lifecycle/prestart",
    "runtime.md#lifecycle/create-runtime",
    "runtime.md#lifecycle/create-container",
    "runtime.md#lifecycle/start-container",
    "runtime.md#lifecycle/poststart",
    "runtime.md#lifecycle/poststop",
    "config.md#posix-platform-hooks/listed-order",
    "config.md#prestart/when",
    "config.md#prestart/before-create-runtime",
    "config.md#createruntime-hooks/when",
    "config.md#createcontainer-hooks/when",
    "config.md#createcontainer-hooks/after-create-runtime",
    "config.md#startcontainer-hooks/when",
    "config.md#poststart/when",
)
def test_hooks_run_in_the_order_of_the_lifecycle_and_of_the_list(containers, notes):
    changes = [process(env=[f"NOTES={notes}", "PATH=/bin"]), *shared(notes)]
    changes += [hook(kind, f"echo {kind}{number} >> {notes}/order") for kind in reversed(KINDS) for number in (1, 2)]
    container = containers.create(*changes, script=f"echo program >> {notes}/order", own=True)
    created = (notes / "order").read_text().split()
    assert created == [
        "prestart1",
        "prestart2",
        "createRuntime1",
        "createRuntime2",
        "createContainer1",
        "createContainer2",
    ]
    container.start()
    container.wait()
    started = (notes / "order").read_text().split()[6:]
    assert started[:2] == ["startContainer1", "startContainer2"]
    assert sorted(started[2:]) == ["poststart1", "poststart2", "program"]
    assert started.index("poststart1") < started.index("poststart2")
    container.delete()
    assert (notes / "order").read_text().split()[11:] == ["poststop1", "poststop2"]


@START_CONTAINER
@pytest.mark.clause("runtime.md#lifecycle/start-container", "config.md#startcontainer-hooks/when")
def test_start_container_hooks_end_before_the_program_begins(containers, notes):
    script = f"echo program >> {notes}/order"
    container = containers.create(
        *shared(notes), hook("startContainer", f"usleep 20000; echo hook >> {notes}/order"), script=script, own=True
    )
    container.start()
    container.wait()
    assert (notes / "order").read_text().split() == ["hook", "program"]


@POSTSTOP
@pytest.mark.clause("runtime.md#lifecycle/poststop", "config.md#poststop/when")
def test_poststop_hooks_run_when_the_container_is_gone(containers, notes):
    script = f"ls {containers.runtime.root} > {notes}/left; find /sys/fs/cgroup -name '*pytest*' > {notes}/groups"
    container = containers.start(hook("poststop", script))
    container.delete("--force")
    assert container.id not in (notes / "left").read_text()
    assert container.id not in (notes / "groups").read_text()


@POSTSTART
@pytest.mark.clause("config.md#poststart/when")
def test_poststart_hooks_run_after_the_program_is_executed_and_before_start_returns(containers, notes):
    # The program's name is that of what was executed, which the hook reads in /proc while start waits for it.
    script = f"""
    pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
    cat /proc/$pid/comm > {notes}/comm
    usleep 20000
    echo > {notes}/end
    """
    container = containers.create(hook("poststart", script), process(args=["sleep", "1000"]))
    assert container.proc("comm").read_text() != "sleep\n"
    container.start()
    assert (notes / "end").exists()
    assert (notes / "comm").read_text() == "sleep\n"


@POSTSTOP
@pytest.mark.clause("config.md#poststop/when")
def test_poststop_hooks_run_on_delete_and_not_when_the_process_ends(containers, notes):
    container = containers.start(hook("poststop", f"echo x >> {notes}/runs"), script="true")
    container.wait()
    assert not (notes / "runs").exists()
    container.delete()
    assert (notes / "runs").read_text().split() == ["x"]


# ---- What a hook is given ----


@HOOKS
@each()
@pytest.mark.clause("runtime.md#state/pid", "config.md#posix-platform-hooks/state-on-stdin")
def test_the_state_is_on_stdin(containers, notes, kind):
    container = containers.create(
        *shared(notes),
        hook(kind, f"cat > {notes}/state"),
        lambda config: config.update(annotations={"a": "b"}),
        script="sleep 1000",
        own=True,
    )
    pid, version = container.pid, container.state()["ociVersion"]
    container.start()
    container.delete("--force")
    state = json.loads((notes / "state").read_text())
    assert state["ociVersion"] == version
    assert state["id"] == container.id
    assert state["bundle"] == str(container.bundle)
    assert state["annotations"] == {"a": "b"}
    # The hooks of create run after step 2 of the lifecycle, which is what "creating" stands for.
    assert state["status"] == {"poststart": "running", "poststop": "stopped"}.get(kind, "created")
    if kind in IN_CONTAINER:
        assert state["pid"] == 1
    elif kind != "poststop":
        assert state["pid"] == pid


@HOOKS
@each()
def test_args_are_the_argv_of_the_hook(containers, notes, kind):
    script = f'printf "%s|" "$0" "$@" > {notes}/args'
    container = containers.create(
        *shared(notes), hook(kind, "", args=["sh", "-c", script, "zero", "a b", ""]), own=True
    )
    container.start()
    container.delete("--force")
    assert (notes / "args").read_text() == "zero|a b||"


@HOOKS
@pytest.mark.clause("config.md#posix-platform-hooks/create-runtime-path")
def test_without_args_argv_is_the_path(containers, notes):
    program = notes / "program"
    program.write_text(f'#!/bin/sh\ntr "\\0" "|" < /proc/$$/cmdline > {notes}/args\n')
    program.chmod(0o755)
    containers.create(lambda config: config.update(hooks={"createRuntime": [{"path": str(program)}]}))
    assert (notes / "args").read_text() == f"/bin/sh|{program}|"


@HOOKS
@each()
def test_env_is_the_environment_of_the_hook(containers, notes, kind):
    env = ["PATH=/bin:/usr/bin", "WORD=a=b c"]
    container = containers.create(*shared(notes), hook(kind, f"env > {notes}/env", env=env), own=True)
    container.start()
    container.delete("--force")
    found = set((notes / "env").read_text().splitlines())
    assert set(env) <= found
    assert {line.partition("=")[0] for line in found} <= {"PATH", "WORD", "PWD", "SHLVL", "_"}


@HOOKS
@each()
def test_an_empty_env_is_an_empty_environment(containers, notes, kind):
    script = f'read -r line < /proc/self/environ; echo "<$line>" > {notes}/env'
    container = containers.create(
        *shared(notes), hook(kind, script, env=[]), process(env=["PATH=/bin", "WORD=x"]), own=True
    )
    container.start()
    container.delete("--force")
    assert (notes / "env").read_text() == "<>\n"  # as it was when the shell was executed


@START_CONTAINER
def test_a_start_container_hook_without_env_has_the_environment_of_the_program(containers, notes):
    changes = process(env=["PATH=/bin", "TWICE=1", "TWICE=2"]), hook("startContainer", f"env > {notes}/env")
    container = containers.create(*shared(notes), *changes, own=True)
    container.start()
    container.delete("--force")
    found = (notes / "env").read_text().splitlines()
    assert {"PATH=/bin", "TWICE=2", "HOME=/root"} <= {*found}


@START_CONTAINER
@pytest.mark.clause("config.md#posix-platform-hooks/start-container-path")
def test_start_container_hooks_are_looked_up_in_the_container(containers, notes, tmp_path):
    def place(config):
        program = tmp_path / "bundle1/rootfs/only-inside"
        program.write_text(f"#!/bin/sh\necho yes > {notes}/ran\n")
        program.chmod(0o755)
        config["hooks"] = {"startContainer": [{"path": "/only-inside"}]}

    containers.start(*shared(notes), place, own=True)
    assert (notes / "ran").exists()


@CREATE_CONTAINER
@pytest.mark.clause("config.md#posix-platform-hooks/create-container-path")
def test_create_container_hooks_are_looked_up_on_the_host(containers, notes):
    program = notes / "only-outside"
    program.write_text(f"#!/bin/sh\necho yes > {notes}/ran\n")
    program.chmod(0o755)
    containers.create(lambda config: config.update(hooks={"createContainer": [{"path": str(program)}]}))
    assert (notes / "ran").exists()


@HOOKS
@each(("prestart", "createRuntime", "poststart", "poststop"), "posix-platform-hooks/{word}-path")
def test_hooks_of_the_runtime_are_looked_up_on_the_host(containers, notes, kind):
    program = notes / "only-outside"
    program.write_text(f"#!/bin/sh\necho yes > {notes}/ran\n")
    program.chmod(0o755)
    container = containers.create(lambda config: config.update(hooks={kind: [{"path": str(program)}]}))
    container.start()
    container.delete("--force")
    assert (notes / "ran").exists()


@HOOKS
@each(("prestart", "createRuntime", "poststart", "poststop"), "posix-platform-hooks/{word}-namespace")
def test_hooks_of_the_runtime_run_in_its_namespaces(containers, notes, kind):
    names = ("mnt", "pid", "net", "uts", "ipc", "user")
    script = f"for name in {' '.join(names)}; do readlink /proc/self/ns/$name; done > {notes}/namespaces"
    container = containers.create(hook(kind, script))
    container.start()
    container.delete("--force")
    assert (notes / "namespaces").read_text().split() == [os.readlink(f"/proc/self/ns/{name}") for name in names]


@HOOKS
@each(IN_CONTAINER, "posix-platform-hooks/{word}-namespace")
def test_hooks_of_the_container_run_in_its_namespaces(containers, notes, kind):
    names = ("mnt", "pid", "net", "uts", "ipc")
    script = f"for name in {' '.join(names)}; do readlink /proc/self/ns/$name; done > {notes}/namespaces"
    container = containers.create(*shared(notes), hook(kind, script), own=True)
    container.start()
    expected = [str(container.proc(f"ns/{name}").readlink()) for name in names]
    assert (notes / "namespaces").read_text().split() == expected


def mounted_and_not_entered(container, notes):
    """The hook has seen what is mounted at /home of the container, and the host's root as its own."""
    made = [one.path for one in mounts((notes / "mountinfo").read_text()) if one.source == "made"]
    assert made == [f"{container.bundle}/rootfs/home"]
    root = os.stat("/")
    assert (notes / "root").read_text() == f"{root.st_dev}:{root.st_ino}\n"


@each(("prestart", "createRuntime"), "{section}/when")
def test_hooks_of_create_see_the_environment_made_and_the_root_not_entered(containers, notes, kind):
    script = f"""
    pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
    readlink /proc/$pid/ns/net > {notes}/net
    cat /proc/$pid/mountinfo > {notes}/mountinfo
    stat -L -c %d:%i /proc/$pid/root > {notes}/root
    cat /proc/$pid/cgroup > {notes}/cgroup
    """
    container = containers.create(hook(kind, script), mount("/home", "tmpfs", "made"), own=True)
    assert (notes / "net").read_text().strip() == str(container.proc("ns/net").readlink())
    assert container.id in (notes / "cgroup").read_text()
    mounted_and_not_entered(container, notes)


@CREATE_CONTAINER
@pytest.mark.clause("config.md#createcontainer-hooks/when")
def test_create_container_hooks_see_the_mounts_of_the_container_and_the_root_not_entered(containers, notes):
    script = f"cat /proc/self/mountinfo > {notes}/mountinfo; stat -c %d:%i / > {notes}/root"
    changes = *shared(notes), mount("/home", "tmpfs", "made"), hook("createContainer", script)
    container = containers.create(*changes, own=True)
    mounted_and_not_entered(container, notes)


@CREATE_CONTAINER
@pytest.mark.clause("config.md#createcontainer-hooks/when")
@pytest.mark.parametrize("words", [[], ["--no-pivot"]], ids=["", "no pivot"])
def test_what_a_create_container_hook_mounts_below_the_root_filesystem_is_in_the_container(containers, tmp_path, words):
    place = tmp_path / "bundle1/rootfs/home"
    container = containers.create(
        hook("createContainer", f"mount -t tmpfs by-hook {place}", env=[f"PATH={os.environ['PATH']}"]),
        own=True,
        words=words,
    )
    assert "by-hook /home " in container.proc("mounts").read_text()


@each(("prestart", "createRuntime"), "{section}/when")
def test_what_a_hook_of_create_mounts_in_the_containers_namespace_is_in_the_container(containers, tmp_path, kind):
    place = tmp_path / "bundle1/rootfs/home"
    script = f"""
    pid=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
    nsenter -t $pid --mount mount -t tmpfs by-hook {place}
    """
    container = containers.create(hook(kind, script, env=[f"PATH={os.environ['PATH']}"]), own=True)
    assert "by-hook /home " in container.proc("mounts").read_text()


@START_CONTAINER
def test_start_container_hooks_see_the_root_of_the_container(containers, notes):
    container = containers.create(*shared(notes), hook("startContainer", f"stat -c %i / > {notes}/root"), own=True)
    container.start()
    assert int((notes / "root").read_text()) == (container.bundle / "rootfs").stat().st_ino


@HOOKS
@each(ON_CREATE)
def test_hooks_work_with_a_user_namespace(containers, notes, kind):
    container = containers.create(
        mapped(), hook(kind, f"echo ran > {notes}/ran") if kind != "createContainer" else hook(kind, "true")
    )
    assert container.status == "created"
    if kind != "createContainer":
        assert (notes / "ran").exists()


@HOOKS
def test_a_hook_that_does_not_read_its_stdin_is_fine(containers):
    containers.create(
        hook("createRuntime", "exec 0<&-; true"), lambda config: config.update(annotations={"a": "b" * 100000})
    )


# ---- Failure ----


@LIFECYCLE
@each(ON_CREATE)
@pytest.mark.parametrize("script", ["exit 3", "kill -9 $$"])
@pytest.mark.clause(
    "runtime.md#lifecycle/prestart-fails",
    "runtime.md#lifecycle/create-runtime-fails",
    "runtime.md#lifecycle/create-container-fails",
)
def test_a_hook_of_create_that_fails_leaves_nothing(containers, notes, kind, script):
    said = containers.refused(hook(kind, script))
    assert f"/hooks/{kind}/0" in said
    assert kind in said


@LIFECYCLE
@each(ON_CREATE)
@pytest.mark.clause(
    "runtime.md#lifecycle/prestart-fails",
    "runtime.md#lifecycle/create-runtime-fails",
    "runtime.md#lifecycle/create-container-fails",
)
def test_after_a_hook_that_fails_no_other_runs_but_poststop(containers, notes, kind):
    changes = [hook(kind, "exit 1"), *(hook(one, f"echo {one} >> {notes}/later") for one in KINDS[KINDS.index(kind) :])]
    containers.refused(*changes)
    assert (notes / "later").read_text().split() == ["poststop"]


@LIFECYCLE
@each(ON_CREATE)
def test_the_poststop_hook_after_a_failure_is_told_that_the_container_is_stopped(containers, notes, kind):
    containers.refused(hook(kind, "exit 1"), hook("poststop", f"cat > {notes}/state"))
    assert json.loads((notes / "state").read_text())["status"] == "stopped"


@LIFECYCLE
@each(ON_CREATE)
def test_a_hook_that_is_not_there_is_a_failure(containers, kind):
    said = containers.refused(lambda config: config.update(hooks={kind: [{"path": "/no/such/hook"}]}))
    assert "/no/such/hook" in said
    assert "ENOENT" in said


@HOOKS
@each(ON_CREATE)
def test_a_hook_that_outlives_its_timeout_is_killed_and_a_failure(containers, notes, kind):
    said = containers.refused(hook(kind, "sleep 1000", timeout=1))
    assert "timeout of 1 s" in said


@HOOKS
def test_a_timeout_that_is_not_reached_does_nothing(containers):
    assert containers.create(hook("createRuntime", "true", timeout=60)).status == "created"


@HOOKS
def test_what_a_failing_hook_says_is_reported(containers):
    assert "the reason why" in containers.refused(hook("createRuntime", "echo the reason why >&2; exit 1"))


@START_CONTAINER
@LIFECYCLE
@pytest.mark.clause("runtime.md#lifecycle/start-container-fails")
def test_a_start_container_hook_that_fails_stops_the_container(containers, notes):
    container = containers.create(
        *shared(notes), hook("startContainer", "exit 1"), script=f"echo program > {notes}/program", own=True
    )
    done = container.start(check=False)
    assert done.returncode == 1
    assert "/hooks/startContainer/0" in done.stderr
    assert not (notes / "program").exists()
    containers.nothing_left(container.id)


@START_CONTAINER
@LIFECYCLE
@pytest.mark.clause("runtime.md#lifecycle/start-container-fails")
def test_after_a_start_container_hook_that_fails_the_container_is_destroyed(containers, notes):
    changes = (
        hook("startContainer", "exit 1"),
        hook("poststop", f"cat > {notes}/poststop"),
        hook("poststart", f"echo ran >> {notes}/poststart"),
    )
    container = containers.create(*changes)
    done = container.start(check=False)
    assert done.returncode == 1
    assert "/hooks/startContainer/0" in done.stderr
    assert json.loads((notes / "poststop").read_text())["status"] == "stopped"
    assert not (notes / "poststart").exists()
    containers.nothing_left(container.id)


@POSTSTART
@LIFECYCLE
@pytest.mark.clause("runtime.md#lifecycle/poststart-fails")
def test_after_a_poststart_hook_that_fails_the_container_is_destroyed(containers, notes):
    container = containers.create(
        hook("poststart", "exit 1"),
        hook("poststart", f"echo ran >> {notes}/second"),
        hook("poststop", f"cat >> {notes}/poststop"),
    )
    pid = container.pid
    done = container.start(check=False)
    assert done.returncode == 1
    assert "/hooks/poststart/0" in done.stderr
    assert json.loads((notes / "poststop").read_text())["status"] == "stopped"
    assert not (notes / "second").exists()
    assert not os.path.exists(f"/proc/{pid}/exe")
    containers.nothing_left(container.id)


@POSTSTOP
@LIFECYCLE
@pytest.mark.clause("runtime.md#lifecycle/poststop-fails", "runtime.md#warnings/operation-continues")
def test_a_poststop_hook_that_fails_is_a_warning_and_the_others_run(containers, notes):
    container = containers.create(hook("poststop", "exit 1"), hook("poststop", f"echo ran > {notes}/second"))
    done = container.delete("--force")
    assert "/hooks/poststop/0" in done.stderr
    assert (notes / "second").exists()
    containers.nothing_left(container.id)


# ---- What cannot be ----


@HOOKS
@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({"path": "relative"}, "/hooks/createRuntime/0/path"),
        ({"args": ["x"]}, "/hooks/createRuntime/0/path"),
        ({"path": "/bin/true", "timeout": 0}, "/hooks/createRuntime/0/timeout"),
        ({"path": "/bin/true", "timeout": -1}, "/hooks/createRuntime/0/timeout"),
    ],
)
@pytest.mark.clause("config.md#posix-platform-hooks/path-absolute", "config.md#posix-platform-hooks/timeout-positive")
def test_a_hook_that_cannot_be_is_an_error(containers, entry, pointer):
    assert pointer in containers.refused(lambda config: config.update(hooks={"createRuntime": [entry]}))


@HOOKS
def test_a_daemon_left_by_a_hook_does_not_hold_up_create(containers, notes):
    container = containers.create(hook("createRuntime", f"sleep 1000 & echo $! > {notes}/pid"))
    os.kill(int((notes / "pid").read_text()), 9)  # it outlived the hook, or this fails
    assert container.status == "created"
