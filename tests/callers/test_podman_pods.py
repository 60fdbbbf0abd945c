"""Podman's pods, and the files of Kubernetes that it plays and writes."""

import json

import pytest
from calling import IMAGE, remove_parent_cgroup, until

_PARENT = "libpod_parent"  # what Podman plays is nowhere else

_POD = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: played}}
spec:
  containers:
  - name: first
    image: {IMAGE}
    command: [sh, -c, "echo ready; sleep 1000"]
    securityContext: {{runAsUser: 1000, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: shared, mountPath: /shared}}]
  - name: second
    image: {IMAGE}
    command: [sh, -c, "echo text > /shared/made; sleep 1000"]
    volumeMounts: [{{name: shared, mountPath: /shared}}]
  volumes: [{{name: shared, emptyDir: {{}}}}]
"""


@pytest.fixture
def removed_group(podman):
    """A factory: removed_group(PARENT, POD) sees to it that the pod's group is removed when its containers are gone.

    Podman itself removes it from the hierarchies that it uses, which leaves the unified and the named one.
    """
    groups = []

    def note(parent, pod):
        groups.append((parent, podman("pod", "inspect", "--format", "{{.ID}}", pod).stdout.strip()))

    yield note
    podman("pod", "rm", "--all", "--force", "--time", "0")
    for parent, pod in groups:
        remove_parent_cgroup(f"{parent}/{pod}")


_NAMESPACES = "for kind in ipc net pid uts; do readlink /proc/self/ns/$kind; done"


def test_the_containers_of_a_pod_share_namespaces(podman, session, removed_group):
    flags = ["--network", "none", "--cgroup-parent", f"/{session}-podman"]
    podman("pod", "create", *flags, "--share", "net,ipc,uts,pid", "--name", "together")
    removed_group(f"{session}-podman", "together")
    podman("container", "run", "--detach", "--pod", "together", "--name", "sleeper", IMAGE, "sleep", "1000")
    script = f"hostname; ps -o args; {_NAMESPACES}"
    done = podman("container", "run", "--rm", "--pod", "together", IMAGE, "sh", "-c", script)
    assert done.stdout.startswith("together\n")
    assert "sleep 1000" in done.stdout
    assert podman("exec", "sleeper", "sh", "-c", _NAMESPACES).stdout in done.stdout
    podman("pod", "stop", "--time", "0", "together")
    # "stopped" until Podman has cleaned up behind it.
    podman("wait", "--condition", "exited", "sleeper")
    assert podman("inspect", "--format", "{{.State.Status}}", "sleeper").stdout == "exited\n"
    podman("pod", "rm", "together")


def test_a_kubernetes_file_is_played_and_written(podman, tmp_path, removed_group):
    (tmp_path / "pod.yaml").write_text(_POD)
    podman("play", "kube", "--network", "none", tmp_path / "pod.yaml")
    removed_group(_PARENT, "played")
    until(lambda: podman("logs", "played-first").stdout == "ready\n", "the first container to be ready")
    done = podman("exec", "played-first", "sh", "-c", "id -u; touch /made || grep CapEff /proc/self/status")
    assert done.stdout.split() == ["1000", "CapEff:", "0" * 16]
    read = ["exec", "played-first", "cat", "/shared/made"]
    until(lambda: podman(*read, status=None).stdout == "text\n", "what the second container writes")
    assert f"image: {IMAGE}" in podman("generate", "kube", "played").stdout
    podman("play", "kube", "--down", tmp_path / "pod.yaml")
    assert json.loads(podman("ps", "--all", "--format", "json").stdout) == []
    podman("volume", "prune", "--force")
