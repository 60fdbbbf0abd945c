"""Pods of a kubelet: what it asks of the runtime each second, and at the end of a pod."""

import os
from pathlib import Path

from calling import IMAGE, limit

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; touch /tmp/ready; while :; do sleep 0.1; done"]


def container(name, *command, **fields):
    """A container of a pod's specification."""
    return {"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": list(command), **fields}


def probe(*command):
    """A probe by command, each second."""
    return {"exec": {"command": list(command)}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 10}


def test_init_containers_run_one_after_the_other_before_the_pod(node):
    shared = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    pod = node.run(
        "init",
        volumes=[{"name": "shared", "emptyDir": {}}],
        initContainers=[
            container("first", "sh", "-c", "test ! -e /shared/order; sleep 0.5; echo first >>/shared/order", **shared),
            container("second", "sh", "-c", "echo second >>/shared/order", **shared),
        ],
        containers=[container("main", *SLEEP, **shared)],
    )
    pod.until_ready()
    assert pod.exec("main", "cat", "/shared/order") == "first\nsecond\n"
    codes = [one["state"]["terminated"]["exitCode"] for one in pod.containers("initContainerStatuses").values()]
    assert codes == [0, 0]


def test_probes_by_exec_each_second(node):
    ready = probe("test", "-e", "/tmp/ready")
    pod = node.run("probes", containers=[container("main", *SLEEP, readinessProbe=ready, livenessProbe=probe("true"))])
    pod.until_ready()
    of = f"{pod.name} main"
    pod.until(lambda: node.probes().get(f"{of} Liveness successful", 0) >= 20, "twenty probes")
    assert f"{of} Liveness failed" not in node.probes()
    assert pod.containers()["main"]["restartCount"] == 0
    pod.exec("main", "rm", "/tmp/ready")
    pod.until(lambda: pod.condition("Ready") == "False", "not ready")
    assert node.probes()[f"{of} Readiness failed"] >= 1


def test_a_container_whose_liveness_probe_fails_is_started_again(node):
    alive = {**probe("test", "-e", "/tmp/ready"), "initialDelaySeconds": 2}
    pod = node.run("liveness", containers=[container("main", *SLEEP, livenessProbe=alive)])
    pod.until_ready()
    pod.exec("main", "rm", "/tmp/ready")
    pod.until(lambda: pod.containers()["main"]["restartCount"] == 1, "a restart")
    pod.until_ready()
    assert pod.exec("main", "ls", "/tmp/ready") == "/tmp/ready\n"


def test_limits_reach_the_cgroup(node):
    limits = {"limits": {"cpu": "500m", "memory": "64Mi"}}
    pod = node.run("limits", containers=[container("main", *SLEEP, resources=limits)])
    pod.until_ready()
    pid = pod.pid("main")
    assert limit(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    group = Path(f"/proc/{pid}/cgroup").read_text()
    assert f"/{node.cgroup}/kubepods/" in group


def test_what_needs_more_memory_than_its_limit_is_killed_for_it(node):
    limits = {"limits": {"memory": "32Mi"}}
    pod = node.run(
        "memory", restartPolicy="Never", containers=[container("main", "tail", "/dev/zero", resources=limits)]
    )
    ended = pod.until(lambda: pod.containers().get("main", {}).get("state", {}).get("terminated"), "its end")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_container_that_fails_again_and_again(node):
    pod = node.run("crash", containers=[container("main", "sh", "-c", "echo said; exit 3")])
    pod.until(lambda: pod.containers().get("main", {}).get("restartCount", 0) >= 2, "two restarts")
    pod.until(
        lambda: pod.containers()["main"]["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", "to wait"
    )
    assert pod.containers()["main"]["lastState"]["terminated"]["exitCode"] == 3
    assert node.ask(f"/containerLogs/default/{pod.name}/main") == "said\n"


def test_pods_of_a_network(node):
    pods = [node.run(f"net{n}", hostNetwork=False, containers=[container("main", *SLEEP)]) for n in range(2)]
    for pod in pods:
        pod.until_ready()
    address = pods[1].status["podIP"]
    assert address != pods[0].status["podIP"]
    assert "1 packets received" in pods[0].exec("main", "ping", "-c", "1", address)


def test_nine_pods_are_drained_and_nothing_is_left(node, tmp_path):
    os.chmod(tmp_path, 0o777)
    volume = {"volumes": [{"name": "out", "hostPath": {"path": str(tmp_path)}}]}
    pods = []
    for number in range(9):
        script = f"trap 'echo asked >/out/{number}; exit 0' TERM; touch /tmp/ready; while :; do sleep 0.1; done"
        mounts = {"volumeMounts": [{"name": "out", "mountPath": "/out"}]}
        hook = {"lifecycle": {"preStop": {"exec": {"command": ["touch", f"/out/hook{number}"]}}}}
        ready = {"readinessProbe": probe("test", "-e", "/tmp/ready")}
        pods.append(
            node.run(
                f"many{number}", **volume, containers=[container("main", "sh", "-c", script, **mounts, **hook, **ready)]
            )
        )
    for pod in pods:
        pod.until_ready()
    node.drain()
    assert sorted(path.name for path in tmp_path.iterdir()) == [*map(str, range(9)), *(f"hook{n}" for n in range(9))]
    assert {(tmp_path / str(number)).read_text() for number in range(9)} == {"asked\n"}
