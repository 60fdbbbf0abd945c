"""Containers of an ordinary user, with a systemd of its own to which cgroups are delegated, and subordinate ids."""

import json
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from containers import CGROUPS, group_of, until
from running import show

import bundle as bundles

NAME = "ordinary"
USER = pwd.getpwnam(NAME)
FIRST = 100000  # of its ids in /etc/subuid and /etc/subgid
RUNTIME_DIR = Path(f"/run/user/{USER.pw_uid}")
MANAGER = CGROUPS / f"user.slice/user-{USER.pw_uid}.slice/user@{USER.pw_uid}.service"


@pytest.fixture(scope="module", autouse=True)
def _linger():
    """Its systemd runs without a login."""
    subprocess.run(["loginctl", "enable-linger", NAME], check=True)
    until((RUNTIME_DIR / "bus").exists, "the user's systemd")
    yield
    subprocess.run(["loginctl", "disable-linger", NAME], check=True)


class User:
    """The program, run by the user: in a login session, or with `delegated` in a cgroup that is its own."""

    def __init__(self, program, home):
        self.program, self.home, self.count, self.made = program, home, 0, []

    def __call__(self, *words, check=True, delegated=False):
        command = f"{self.program} {shlex.join(map(str, words))}"
        if delegated:
            command = f"systemd-run --user --scope --quiet --collect --property=Delegate=yes {command}"
        return self.shell(command, check)

    def shell(self, command, check=True):
        """Run `command` after a login; return its status and what it says."""
        # A file, because a pipe would be held open by the container.
        said = self.home / "said"
        with said.open("wb") as file:
            done = subprocess.run(
                ["runuser", "--login", NAME, "--command", command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=120,
            )
        text = said.read_text()
        assert not check or done.returncode == 0, f"{command}: status {done.returncode}\n{text}"
        return done.returncode, text

    def bundle(self, script, *changes):
        """Return a bundle with the configuration of `spec --rootless`, changed."""
        self.count += 1
        path = self.home / f"bundle{self.count}"
        bundles.make_rootfs(path / "rootfs")
        subprocess.run(["chown", "-R", f"{NAME}:", path], check=True)
        self("spec", "--rootless", "--bundle", path)
        config = json.loads((path / "config.json").read_text())
        config["process"].update(args=["sh", "-c", script], terminal=False)
        for change in changes:
            change(config)
        (path / "config.json").write_text(json.dumps(config))
        return path

    def id(self):
        self.made.append(f"pytest-vm-{os.getpid()}-rootless-{secrets.token_hex(4)}")
        return self.made[-1]


@pytest.fixture
def user(pyruntime):
    home = Path(USER.pw_dir, "tests")
    home.mkdir()
    shutil.chown(home, NAME, NAME)
    one = User(pyruntime, home)
    yield one
    for name in one.made:
        one("--systemd-cgroup", "delete", "--force", name, check=False)
    shutil.rmtree(home)


def subordinate(config):
    """Map the user to root, and its subordinate ids to all others."""
    for kind, own in (("uidMappings", USER.pw_uid), ("gidMappings", USER.pw_gid)):
        config["linux"][kind] = [
            {"containerID": 0, "hostID": own, "size": 1},
            {"containerID": 1, "hostID": FIRST, "size": 65535},
        ]


def limited(**values):
    return lambda config: config["linux"].update(resources=values)


def test_a_container_runs(user):
    _, text = user("run", "-b", user.bundle("id -u; cat /proc/self/uid_map; echo done"), user.id())
    assert text.split() == ["0", "0", str(USER.pw_uid), "1", "done"]


def test_the_exit_status_is_the_programs(user):
    assert user("run", "-b", user.bundle("exit 7"), user.id(), check=False)[0] == 7


def test_subordinate_ids_are_mapped_by_newuidmap(user):
    script = "cat /proc/self/uid_map /proc/self/gid_map; touch /home/x && chown 5:6 /home/x && stat -c %u:%g /home/x"
    path = user.bundle(script, subordinate, lambda config: config["root"].update(readonly=False))

    def capable(config):
        config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), ["CAP_CHOWN"])

    config = json.loads((path / "config.json").read_text())
    capable(config)
    (path / "config.json").write_text(json.dumps(config))
    text = user("run", "-b", path, user.id())[1]
    assert text.split() == ["0", "1000", "1", "1", "100000", "65535"] * 2 + ["5:6"]
    assert os.stat(path / "rootfs/home/x").st_uid == FIRST + 4


def test_ids_that_are_not_the_users_are_an_error(user):
    def other(config):
        subordinate(config)
        config["linux"]["uidMappings"][1]["hostID"] = 300000

    status, text = user("run", "-b", user.bundle("true", other), user.id(), check=False)
    assert status == 1 and "/linux/uidMappings" in text and "newuidmap" in text


def test_the_life_of_a_container(user):
    name = user.id()
    user("create", "-b", user.bundle("sleep 1000"), name)
    assert json.loads(user("state", name)[1])["status"] == "created"
    user("start", name)
    assert json.loads(user("state", name)[1])["status"] == "running"
    assert user("exec", name, "echo", "in it")[1] == "in it\n"
    user("kill", name, "KILL")
    until(lambda: json.loads(user("state", name)[1])["status"] == "stopped", "the end")
    user("delete", name)


def test_the_users_systemd_makes_the_cgroup_with_its_limits(user):
    name = user.id()
    path = user.bundle("sleep 1000", limited(pids={"limit": 33}, memory={"limit": 64 << 20}))
    user("--systemd-cgroup", "create", "-b", path, name)
    pid = json.loads(user("state", name)[1])["pid"]
    group = group_of(pid)
    assert group == MANAGER / f"user.slice/pyruntime-{name}.scope"
    assert (group / "pids.max").read_text().strip() == "33"
    assert (group / "memory.max").read_text().strip() == str(64 << 20)
    found = show(group.name, "TasksMax", "Delegate", user=["--user", "-M", f"{NAME}@.host"])
    assert found == {"TasksMax": "33", "Delegate": "yes"}
    user("--systemd-cgroup", "delete", "--force", name)
    assert not group.exists()


def test_exec_joins_the_cgroup_that_the_users_systemd_made(user):
    name = user.id()
    user("--systemd-cgroup", "create", "-b", user.bundle("sleep 1000", limited(pids={"limit": 33})), name)
    user("start", name)
    pid = json.loads(user("state", name)[1])["pid"]
    # From inside, where the scope is the root of a cgroup namespace, and from outside.
    assert user("exec", name, "cat", "/proc/self/cgroup")[1] == "0::/\n"
    user("exec", "--detach", name, "sleep", "999")
    processes = (group_of(pid) / "cgroup.procs").read_text().split()
    assert {Path(f"/proc/{one}/cmdline").read_bytes() for one in processes} == {b"sleep\x001000\0", b"sleep\x00999\0"}
    assert {os.stat(f"/proc/{one}").st_uid for one in processes} == {USER.pw_uid}


def writable(config):
    """Show the container its groups, to be written to."""
    options = ["nosuid", "noexec", "nodev", "rw"]
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
    config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options})


def test_exec_joins_a_container_that_has_rearranged_its_groups(user):
    """The user's systemd moves the process: it is told the group in which init is, for no other one takes it."""
    name, top = user.id(), "/sys/fs/cgroup"
    script = f"mkdir {top}/a && echo 1 > {top}/a/cgroup.procs && echo +pids +memory > {top}/cgroup.subtree_control"
    user("--systemd-cgroup", "create", "-b", user.bundle(f"{script}; sleep 1000", writable), name)
    pid = json.loads(user("state", name)[1])["pid"]
    group = group_of(pid)
    user("start", name)
    until(lambda: (group / "cgroup.subtree_control").read_text() == "memory pids\n", "the groups to be arranged")
    assert user("exec", name, "cat", "/proc/self/cgroup")[1] == "0::/a\n"
    user("--systemd-cgroup", "delete", "--force", name)
    assert not group.exists()


def test_the_groups_of_crun_s_annotations_are_the_user_s(user):
    def annotated(config):
        config["annotations"] = {"run.oci.systemd.subgroup": "container", "run.oci.delegate-cgroup": "own"}

    name = user.id()
    path = user.bundle("sleep 1000", annotated, limited(pids={"limit": 33}))
    user("--systemd-cgroup", "create", "-b", path, name)
    pid = json.loads(user("state", name)[1])["pid"]
    scope = MANAGER / f"user.slice/pyruntime-{name}.scope"
    assert group_of(pid) == scope / "container/own"
    assert [(one / "pids.max").read_text() for one in (scope, scope / "container")] == ["33\n"] * 2
    user("start", name)
    assert user("exec", name, "cat", "/proc/self/cgroup")[1] == "0::/own\n"
    user("--systemd-cgroup", "delete", "--force", name)
    assert not scope.exists()


@pytest.mark.clause("runtime.md#lifecycle/environment-error")
def test_a_controller_that_is_not_delegated_is_an_error_that_names_it(user):
    delegated = (MANAGER / "cgroup.controllers").read_text().split()
    assert "memory" in delegated and "io" not in delegated
    path = user.bundle("true", limited(blockIO={"weight": 500}))
    status, text = user("--systemd-cgroup", "run", "-b", path, user.id(), check=False)
    assert status == 1 and "controller io" in text and "not delegated" in text, text


def test_rootless_podman_runs_a_container_with_limits(user):
    """Podman's own user namespace comes first: pyruntime is root in it, and its systemd is the user's all the same."""
    rootfs = bundles.make_rootfs(user.home / "rootfs")
    subprocess.run(["chown", "-R", f"{NAME}:", rootfs], check=True)
    script = "id -u; cat /proc/self/uid_map /proc/self/cgroup /sys/fs/cgroup/pids.max"
    podman = f"podman --runtime {user.program} --cgroup-manager systemd run --rm --network none --pids-limit 77"
    text = user.shell(f"{podman} --rootfs {rootfs} sh -c {shlex.quote(script)}")[1]
    assert text.split() == ["0", "0", str(USER.pw_uid), "1", "1", str(FIRST), "65536", "0::/", "77"]


def test_a_delegated_cgroup_can_be_limited_without_systemd(user):
    path = user.bundle("cat /proc/self/cgroup", limited(pids={"limit": 33}))
    text = user("run", "-b", path, user.id(), delegated=True)[1]
    assert text.strip() == "0::/"


@pytest.mark.clause("runtime.md#lifecycle/environment-error")
def test_a_limit_without_a_delegated_cgroup_is_an_error(user):
    def elsewhere(config):
        config["linux"]["cgroupsPath"] = "/not-mine"

    path = user.bundle("true", limited(pids={"limit": 33}), elsewhere)
    status, text = user("run", "-b", path, user.id(), check=False)
    assert status == 1 and "cgroup" in text


# ---- The sandbox ----

SANDBOX = """
import glob, json, sys
from pyruntime import Sandbox, SandboxError
try:
    box = Sandbox(memory="64M", pids=20, cpus=0.5, limits=sys.argv[1])
    with box.open() as session:
        ended = session.exec(["sh", "-c", "id -u; exit 3"])
        groups = glob.glob(f"{sys.argv[2]}/**/*sandbox-*", recursive=True)
        values = [[open(f"{one}/{name}").read().strip() for name in ("memory.max", "cpu.max", "pids.max")]
                  for one in groups]
    print(json.dumps([ended.returncode, ended.stdout.decode(), list(ended.unlimited), values]))
    many = box.run(["sh", "-c", "for i in $(seq 30); do sleep 1000 & done; echo all; kill -9 -1"])
    large = box.run(["python3", "-c", "len(bytearray(b'x') * (200 << 20))"])
    print(json.dumps([b"all" in many.stdout, large.end]))
except SandboxError as error:
    print(json.dumps(str(error)))
"""


def sandbox(user, limits, *before):
    """Return what SANDBOX prints for the user; `before` stands before the interpreter."""
    words = [*before, user.program.with_name("python"), "-c", SANDBOX, limits, MANAGER]
    text = user.shell(shlex.join(map(str, words)))[1]
    return [json.loads(line) for line in text.splitlines()]


# A login without a way to the user's systemd.
WITHOUT = ("env", "-u", "XDG_RUNTIME_DIR", "-u", "DBUS_SESSION_BUS_ADDRESS")


def test_a_sandbox_gets_its_limits_from_the_users_systemd(user):
    """And counts kills for lack of memory, although systemd removes the group with its last process."""
    first, ends = sandbox(user, "require")
    assert first == [3, "65534\n", [], [[str(64 << 20), "50000 100000", "21"]]]
    assert ends == [False, "memory"]
    assert not [*MANAGER.rglob("*sandbox-*")]


def test_a_sandbox_without_the_users_systemd_has_no_limits_or_says_so(user):
    (said,) = sandbox(user, "require", *WITHOUT)
    assert "the limits cannot be set" in said and "pyruntime doctor" in said
    first, ends = sandbox(user, "best-effort", *WITHOUT)
    assert first == [3, "65534\n", ["memory", "cpus", "pids"], []]
    assert ends == [True, "exited"]
