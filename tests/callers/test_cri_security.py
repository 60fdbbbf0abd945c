"""What a pod's securityContext asks for reaches the container: users, capabilities, seccomp, files, mounts."""

import json
import subprocess

import pytest

NO_NEW_NAMESPACE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["unshare"], "action": "SCMP_ACT_ERRNO"}],
}


@pytest.fixture
def pod(kubelet):
    return kubelet.pod()


def _status(pod, *names, **config) -> dict[str, str]:
    """Return lines of the status of a container's first process."""
    lines = pod.says("cat /proc/1/status", **config).splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: found[name].strip() for name in names}


def _capabilities(pod, **security) -> set[int]:
    bits = int(_status(pod, "CapEff", security=security)["CapEff"], 16)
    return {number for number in range(64) if bits >> number & 1}


# ---- Users and capabilities ----


def test_the_user_and_its_groups(pod):
    security = {"run_as_user": {"value": 1234}, "run_as_group": {"value": 567}, "supplemental_groups": [89]}
    found = _status(pod, "Uid", "Gid", "Groups", "CapEff", security=security)
    assert found["Uid"].split() == ["1234"] * 4
    assert found["Gid"].split() == ["567"] * 4
    assert "89" in found["Groups"].split()
    assert int(found["CapEff"], 16) == 0


def test_capabilities_are_added_and_dropped(pod):
    CHOWN, NET_RAW, SYS_ADMIN = 0, 13, 21
    usual = _capabilities(pod)
    assert {CHOWN, NET_RAW} <= usual
    assert SYS_ADMIN not in usual
    changes = {"add_capabilities": ["SYS_ADMIN"], "drop_capabilities": ["NET_RAW"]}
    assert _capabilities(pod, capabilities=changes) == usual - {NET_RAW} | {SYS_ADMIN}


def test_all_capabilities_are_dropped_but_one(pod):
    changes = {"add_capabilities": ["NET_BIND_SERVICE"], "drop_capabilities": ["ALL"]}
    assert _capabilities(pod, capabilities=changes) == {10}


@pytest.mark.parametrize("asked", [False, True])
def test_no_new_privileges(pod, asked):
    assert _status(pod, "NoNewPrivs", security={"no_new_privs": asked}) == {"NoNewPrivs": str(int(asked))}


def test_a_privileged_container(kubelet):
    pod = kubelet.pod(security={"privileged": True})
    privileged = {"privileged": True}
    script = "mount -t tmpfs none /tmp && test -w /proc/sys && ls /dev/loop-control /dev/mem 2>/dev/null; echo mounted"
    assert pod.says(script, security=privileged).endswith("mounted\n")
    with open("/proc/self/status") as file:
        here = next(line.split()[1] for line in file if line.startswith("CapEff"))
    assert _status(pod, "CapEff", "Seccomp", security=privileged) == {"CapEff": here, "Seccomp": "0"}


def test_an_unprivileged_container_does_not_mount(pod):
    assert "refused" in pod.says("mount -t tmpfs none /tmp || echo refused")


# ---- Seccomp ----


@pytest.mark.parametrize(("profile", "mode"), [("RuntimeDefault", "2"), ("Unconfined", "0")])
def test_a_seccomp_profile(pod, profile, mode):
    security = {"seccomp": {"profile_type": profile}}
    assert _status(pod, "Seccomp", security=security) == {"Seccomp": mode}


def test_a_seccomp_profile_of_the_node(pod, tmp_path):
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(NO_NEW_NAMESPACE))
    seccomp = {"profile_type": "Localhost", "localhost_ref": f"{profile}"}
    container = pod.started("unshare", "-U", "true", security={"seccomp": seccomp})
    assert container.ended() == 1
    assert "Operation not permitted" in container.log()[0][1]


# ---- Files ----


def test_a_read_only_root(pod, tmp_path):
    mount = {"container_path": "/in", "host_path": str(tmp_path)}
    script = "echo x >/in/made; echo x >/made || echo refused"
    assert pod.says(script, security={"readonly_rootfs": True}, mounts=[mount]) == "refused\n"
    assert (tmp_path / "made").read_text() == "x\n"


def test_a_read_only_mount(pod, tmp_path):
    mount = {"container_path": "/in", "host_path": str(tmp_path), "readonly": True}
    assert pod.says("echo x >/in/made || echo refused", mounts=[mount]) == "refused\n"


def test_masked_and_read_only_paths(pod):
    security = {"masked_paths": ["/etc/passwd", "/home"], "readonly_paths": ["/tmp"]}
    script = "wc -c </etc/passwd; touch /home/x || echo refused; touch /tmp/x || echo refused"
    assert pod.says(script, security=security) == "0\nrefused\nrefused\n"


def test_a_device(pod):
    device = {"container_path": "/dev/nothing", "host_path": "/dev/null", "permissions": "rw"}
    assert pod.says("echo x >/dev/nothing; wc -c </dev/nothing", devices=[device]) == "0\n"


@pytest.fixture
def shared(tmp_path):
    """A directory whose mounts are shared with others."""
    place = tmp_path / "shared"
    place.mkdir()
    subprocess.run(["mount", "--bind", "--make-private", place, place], check=True)
    subprocess.run(["mount", "--make-shared", place], check=True)
    (place / "sub").mkdir()
    yield place
    subprocess.run(["umount", "--recursive", place], check=True)


def _mount(place, propagation) -> dict[str, str]:
    return {"container_path": "/in", "host_path": str(place), "propagation": f"PROPAGATION_{propagation}"}


@pytest.mark.parametrize(("propagation", "seen"), [("PRIVATE", "absent"), ("HOST_TO_CONTAINER", "present")])
def test_a_mount_of_the_host_reaches_the_container(pod, shared, propagation, seen):
    container = pod.started("sleep", "1000", mounts=[_mount(shared, propagation)])
    subprocess.run(["mount", "-t", "tmpfs", "none", shared / "sub"], check=True)
    assert container.exec("sh", "-c", "grep -q ' /in/sub ' /proc/mounts && echo present || echo absent") == f"{seen}\n"


def test_a_mount_of_the_container_reaches_the_host(kubelet, shared):
    pod = kubelet.pod(security={"privileged": True})
    container = pod.started("sleep", "1000", security={"privileged": True}, mounts=[_mount(shared, "BIDIRECTIONAL")])
    container.exec("mount", "-t", "tmpfs", "from-inside", "/in/sub")
    with open("/proc/self/mountinfo") as file:
        assert any(line.split()[4] == str(shared / "sub") for line in file)
