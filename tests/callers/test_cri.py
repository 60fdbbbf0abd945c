"""Pods and containers through containerd's CRI plugin, as the kubelet makes them."""

import os
import threading

import pytest
from calling import containers_in, limit, until
from cri import forward


@pytest.fixture
def pod(kubelet):
    return kubelet.pod()


# ---- Pods ----


@pytest.mark.parametrize("handler", ["", "pyruntime"])
def test_a_pod_runs_by_default_and_by_its_runtime_class(kubelet, handler):
    pod = kubelet.pod(handler=handler)
    container = pod.started("sleep", "1000")
    assert pod.status.runtime_handler == handler
    assert set(containers_in(kubelet.place / "pyruntime/k8s.io")) == {pod.id, container.id}


def test_an_unknown_runtime_class_is_refused(kubelet):
    fields = {"config": {"metadata": {"name": "p", "uid": "u", "namespace": "n"}}, "runtime_handler": "nobody"}
    assert 'no runtime for "nobody" is configured' in kubelet.cri.refused("RunPodSandbox", **fields)


def test_the_life_of_a_pod(kubelet):
    pod = kubelet.pod(hostname="the-pod")
    container = pod.container("sh", "-c", "hostname; trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    assert container.state == "CREATED"
    container.start()
    assert container.state == "RUNNING"
    until(lambda: container.output() == "the-pod\nready\n", "the container's words")
    container.stop(20)
    assert (container.state, container.status.exit_code) == ("EXITED", 7)
    container.remove()
    assert containers_in(kubelet.place / "pyruntime/k8s.io") == [pod.id]
    pod.stop()
    assert kubelet.left() == []
    pod.remove()
    assert kubelet.cri.pods() == []


def test_a_container_that_does_not_stop_is_killed(pod):
    container = pod.started("sleep", "1000")  # pid 1 ignores the signal
    container.stop(1)
    assert container.status.exit_code == 137


def test_a_pod_ends_with_all_its_containers(kubelet, pod):
    containers = [pod.started("sleep", "1000") for _ in range(3)]
    pod.stop()
    assert [container.state for container in containers] == ["EXITED"] * 3
    assert kubelet.left() == []


def test_a_created_container_can_be_removed(kubelet, pod):
    pod.container("sleep", "1000").remove()
    assert containers_in(kubelet.place / "pyruntime/k8s.io") == [pod.id]


def test_a_program_that_is_not_there(kubelet, pod):
    container = pod.container("/not/there")
    assert "cannot execute /not/there" in kubelet.cri.refused("StartContainer", container_id=container.id)
    assert container.status.exit_code == 128
    assert container.status.reason == "StartError"
    assert containers_in(kubelet.place / "pyruntime/k8s.io") == [pod.id]


def test_what_a_container_says_is_in_its_log(pod):
    container = pod.started("sh", "-c", "echo out; echo err >&2; echo again")
    assert container.ended() == 0
    assert container.output() == "out\nagain\n"
    assert ("stderr", "err") in container.log()


def test_a_log_is_reopened_when_it_has_been_moved(pod):
    container = pod.started("sh", "-c", "echo first; while ! test -e /tmp/go; do sleep 0.05; done; echo second")
    until(lambda: container.output() == "first\n", "the first word")
    container.log_file.rename(container.log_file.with_suffix(".1"))
    container.cri("ReopenContainerLog", container_id=container.id)
    container.exec("touch", "/tmp/go")
    assert container.ended() == 0
    assert container.output() == "second\n"


# ---- Processes in a container ----


def test_exec_to_the_end(pod):
    container = pod.started("sleep", "1000")
    assert container.exec("sh", "-c", "echo $((6 * 7)); exit 3", status=3) == "42\n"
    assert "cannot execute /not/there" in container.cri.refused(
        "ExecSync", container_id=container.id, cmd=["/not/there"]
    )


def test_exec_that_takes_too_long_is_ended(pod):
    container = pod.started("sleep", "1000")
    fields = {"container_id": container.id, "cmd": ["sleep", "999"], "timeout": 1}
    assert "timeout 1s exceeded" in container.cri.refused("ExecSync", **fields)
    until(lambda: "sleep 999" not in container.exec("ps"), "the process to be gone")


def test_exec_with_streams(pod):
    container = pod.started("sleep", "1000")
    stream = container.exec_stream(
        "sh", "-c", "read word; echo said $word; echo bad >&2; exit 4", stdin=True, stdout=True, stderr=True
    )
    stream.write(b"hello\n")
    assert stream.ended() == 4
    assert (stream.read("stdout"), stream.read("stderr")) == (b"said hello\n", b"bad\n")


def test_exec_with_a_terminal(pod):
    container = pod.started("sleep", "1000")
    stream = container.exec_stream("sh", stdin=True, stdout=True, tty=True)
    stream.resize(91, 17)
    stream.write(b"tty; while test $(stty size | tr -d ' ') != 1791; do sleep 0.05; done; echo of $(stty size)\n")
    assert b"/dev/pts/" in stream.read(expected=b"of 17 91")
    stream.write(b"exit 5\n")
    assert stream.ended() == 5


def test_attach(pod):
    container = pod.started("cat", stdin=True, stdin_once=True)
    stream = container.attach(stdin=True, stdout=True, stderr=True)
    stream.write(b"through\n")
    assert stream.read(expected=b"through\n") == b"through\n"
    stream.close()
    assert container.ended() == 0


# ---- Resources ----


def test_limits_and_their_change(pod):
    resources = {
        "cpu_period": 100000,
        "cpu_quota": 50000,
        "cpu_shares": 512,
        "memory_limit_in_bytes": 64 << 20,
        "oom_score_adj": 500,
        "cpuset_cpus": "0",
    }
    container = pod.started("sleep", "1000", resources=resources)
    pid = _pid(container)
    assert _limits(pid) == {"memory": str(64 << 20), "quota": "50000", "cpus": "0"}
    with open(f"/proc/{pid}/oom_score_adj") as file:
        assert file.read() == "500\n"
    container.update(cpu_period=100000, cpu_quota=20000, memory_limit_in_bytes=96 << 20)
    assert _limits(pid) == {"memory": str(96 << 20), "quota": "20000", "cpus": "0"}


def _pid(container) -> int:
    """Return the pid of the container's first process, by the cgroup that is named after it."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/cgroup", "rb") as file:
                    if container.id.encode() in file.read():
                        return int(entry.name)
            except OSError:
                continue  # it ended meanwhile
    raise AssertionError(f"{container.id} has no process")


def _limits(pid: int) -> dict[str, str]:
    return {
        "memory": limit(pid, "memory", "memory.limit_in_bytes", "memory.max"),
        "quota": limit(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0],
        "cpus": limit(pid, "cpuset", "cpuset.cpus", "cpuset.cpus"),
    }


def test_statistics(pod):
    container = pod.started("sh", "-c", "while :; do :; done")
    until(lambda: container.stats().cpu.usage_core_nano_seconds.value > 0, "the container to have used the processor")
    assert container.stats().memory.working_set_bytes.value > 0


def test_a_container_that_takes_too_much_memory_is_known_to_have_been_killed_for_it(pod):
    # Not before its shim watches.
    hungry = "until test -e /go; do sleep 0.05; done; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
    container = pod.started("sh", "-c", hungry, resources={"memory_limit_in_bytes": 16 << 20})
    container.exec("touch", "/go")
    assert container.ended() == 137
    until(lambda: container.status.reason == "OOMKilled", "the reason")


# ---- Namespaces ----


def test_containers_of_a_pod_share_its_network(pod):
    server = pod.started("sh", "-c", "while :; do echo hi | nc -l -p 8000; done")
    until(lambda: ":1F40 " in server.exec("cat", "/proc/net/tcp", "/proc/net/tcp6"), "the server to listen")
    assert pod.says("nc 127.0.0.1 8000 </dev/null") == "hi\n"


def test_containers_of_a_pod_share_its_processes_when_told_to(kubelet):
    shared = {"namespace_options": {"pid": "POD"}}
    pod = kubelet.pod(security=shared)
    pod.started("sleep", "1001", security=shared)
    processes = pod.says("ps -o pid,args", security=shared)
    assert "sleep 1001" in processes
    assert "1 sh -c trap" in processes


def test_containers_of_a_pod_have_their_own_processes_otherwise(pod):
    pod.started("sleep", "1001")
    processes = pod.says("echo $$; ps")
    assert processes.startswith("1\n")
    assert "sleep 1001" not in processes


def test_a_container_joins_the_processes_of_another(pod):
    target = pod.started("sleep", "1001")
    look = {"namespace_options": {"pid": "TARGET", "target_id": target.id}}
    assert pod.says("cat /proc/1/cmdline | tr '\\0' ' '; echo", security=look) == "sleep 1001 \n"


def test_the_namespaces_of_the_host(kubelet):
    host = {"namespace_options": {"network": "NODE", "pid": "NODE", "ipc": "NODE"}}
    pod = kubelet.pod(security=host)
    said = pod.says("for name in net pid ipc mnt; do readlink /proc/self/ns/$name; done", security=host).split()
    here = [os.readlink(f"/proc/self/ns/{name}") for name in ("net", "pid", "ipc")]
    assert said[:3] == here
    assert said[3] != os.readlink("/proc/self/ns/mnt")


def test_pods_reach_each_other_over_their_network(kubelet):
    one, other = kubelet.pod(), kubelet.pod()
    assert one.address.startswith("10.213.0.")
    assert one.address != other.address
    assert len(kubelet.network.ports()) == 2
    said = one.says(f"ip -4 -o address show dev eth0; ping -c 1 -W 20 {other.address}")
    assert one.address in said
    assert "1 packets received" in said
    one.stop()
    assert len(kubelet.network.ports()) == 1
    assert one.address not in kubelet.network.leases()


def test_a_port_is_forwarded(kubelet, pod):
    server = pod.started("nc", "-l", "-p", "8000", "-e", "sh", "-c", "read word; echo said $word")
    until(lambda: ":1F40 " in server.exec("cat", "/proc/net/tcp", "/proc/net/tcp6"), "the server to listen")
    assert forward(kubelet.cri, pod, 8000, b"hello\n") == b"said hello\n"


def test_parameters_of_the_pods_kernel(kubelet):
    pod = kubelet.pod(linux={"sysctls": {"net.ipv4.ip_unprivileged_port_start": "80"}})
    assert pod.says("cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "80\n"


def test_the_name_servers_of_the_pod(kubelet):
    pod = kubelet.pod(dns_config={"servers": ["10.9.8.7"], "searches": ["here.test"]})
    assert pod.says("cat /etc/resolv.conf") == "search here.test\nnameserver 10.9.8.7\n"


# ---- Many at once ----


def test_pods_that_are_made_at_the_same_time(kubelet):
    def life():
        pod = kubelet.pod()
        said.append(pod.says("echo here"))
        pod.stop()
        pod.remove()

    said = []
    threads = [threading.Thread(target=life) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["here\n"] * 6
    assert kubelet.left() == []
