"""A kubelet without a cluster, which runs the pods whose files it finds: built from its modules, kept in .cache."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from calling import PATH, Daemon, containers_in, remove_parent_cgroup, unmount_below
from cri import Cri

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
import golang

VERSION = "v1.34.2"
# Its staging modules, which its go.mod replaces by directories, are published with this version.
STAGING = VERSION.replace("v1.", "v0.")
MODULE = "k8s.io/kubernetes"
NEEDS_GO = (1, 24)
CACHE = Path(__file__).parents[3] / ".cache" / f"kubelet-{VERSION}"
NODE = "node"
# What it changes of the whole host when it starts; the tests change it back.
KERNEL = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
KERNEL = tuple(Path("/proc/sys", name) for name in (*KERNEL, "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"))
PATIENCE = 120  # seconds; the kubelet waits ten of them before it starts a container again that has failed


def get() -> Path:
    """Return the path of the kubelet; build it where missing, five minutes of processor time. Raises golang.GoError."""
    program = CACHE / "bin/kubelet"
    if not program.exists():
        tool = golang.find(NEEDS_GO, CACHE)
        (CACHE / "go.mod").unlink(missing_ok=True)
        golang.run(tool, "mod", "init", "kubelet", folder=CACHE)
        described = golang.run(tool, "mod", "download", "-json", f"{MODULE}@{VERSION}", folder=CACHE)
        own = Path(json.loads(described)["GoMod"]).read_text().splitlines()
        names = {line.removeprefix("replace").split()[0] for line in own if "=> ./staging/" in line}
        replaced = [f"-replace={name}={name}@{STAGING}" for name in sorted(names)]
        golang.run(tool, "mod", "edit", f"-require={MODULE}@{VERSION}", *replaced, folder=CACHE)
        unfinished = CACHE / "bin.new"
        unfinished.mkdir(exist_ok=True)
        words = ["-mod=mod", "-o", f"{unfinished}/", "-ldflags=-s -w", f"{MODULE}/cmd/kubelet"]
        golang.run(tool, "build", *words, folder=CACHE)
        unfinished.rename(CACHE / "bin")  # at once: its presence says that all is there
    return program


def until(condition, what):
    """Wait until `condition()` is true, return its value; fail with what `what()` says when that does not happen."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what()}"
        time.sleep(0.1)
    return value


class Node:
    """A kubelet that runs pods in the runtime behind `socket`.

    place         a directory of its own
    endpoint      socket of containerd or CRI-O
    pyruntime     the program
    runtime_root  where pyruntime keeps the state of their containers
    cgroup        name of a group that all pods are in
    """

    def __init__(self, place: Path, endpoint: Path, pyruntime: Path, runtime_root: Path, cgroup: str) -> None:
        self.cri = Cri(endpoint)
        self.pyruntime = pyruntime
        self.runtime_root = runtime_root
        self.cgroup = cgroup
        self.place = place
        self.manifests = place / "manifests"
        self.manifests.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        for root in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
            if (root / "cgroup.procs").exists() and not root.is_symlink():
                (root / cgroup).mkdir(exist_ok=True)
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "staticPodPath": str(self.manifests),
            "fileCheckFrequency": "1s",
            "syncFrequency": "1s",
            "containerRuntimeEndpoint": f"unix://{endpoint}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "address": "127.0.0.1",
            "port": self.port,
            "healthzPort": 0,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "podLogsDir": str(place / "logs"),
            "seccompDefault": True,
            "enforceNodeAllocatable": [],
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": False,
            "makeIPTablesUtilChains": False,
            "registerNode": False,
        }
        (place / "config.json").write_text(json.dumps(config))
        words = [get(), "--config", place / "config.json", "--root-dir", place / "root", "--hostname-override", NODE]
        self.log = place / "kubelet.log"
        before = {path: path.read_text() for path in KERNEL}
        self.daemon = Daemon([*words, "--cert-dir", place / "certificates"], self.log, PATH)
        until(self._answers, lambda: f"the kubelet does not answer\n{self.log.read_text()[-4000:]}")
        for path, value in before.items():
            path.write_text(value)

    def ask(self, path: str, method: str = "GET") -> str:
        """Ask the kubelet's API, return the answer. Raises OSError."""
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", method=method)
        # Its certificate is self-signed.
        with urllib.request.urlopen(request, timeout=60, context=ssl._create_unverified_context()) as answer:
            return answer.read().decode()

    def run(self, name: str, **spec) -> "Pod":
        """Give the kubelet a pod to run."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"terminationGracePeriodSeconds": 5, "hostNetwork": True, **spec},
        }
        # At once, and as no file that it would read half.
        unfinished = self.manifests.with_name(f"{name}.json")
        unfinished.write_text(json.dumps(pod))
        unfinished.rename(self.manifests / f"{name}.json")
        return Pod(self, name)

    def probes(self) -> dict[str, float]:
        """Return the counts of what probes have said: "POD CONTAINER TYPE RESULT" -> count."""
        found = {}
        for line in self.ask("/metrics/probes").splitlines():
            if line.startswith("prober_probe_total{"):
                labels, _, count = line.removeprefix("prober_probe_total{").rpartition("} ")
                of = dict(label.split("=") for label in labels.replace('"', "").split(","))
                found[" ".join(of[key] for key in ("pod", "container", "probe_type", "result"))] = float(count)
        return found

    def drain(self) -> None:
        """Have it end all pods, and wait until nothing of them is there."""
        for file in self.manifests.iterdir():
            file.unlink()
        until(lambda: not self.left(), lambda: f"left: {self.left()}")

    def left(self) -> list[str]:
        """Return what is left of pods: the kubelet's, the containers that run, their groups."""
        running = [one.id for one in self.cri("ListContainers").containers if one.state == 1]
        # Not by glob, which fails for what is removed meanwhile.
        groups = [
            f"{folder}/{name}"
            for root in Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}")
            for folder, names, _ in os.walk(root)
            for name in names
            if name.startswith("pod")
        ]
        return [*self.pods(), *running, *groups]

    def pods(self) -> dict[str, dict]:
        """Return the kubelet's pods by name."""
        return {pod["metadata"]["name"]: pod for pod in json.loads(self.ask("/pods"))["items"] or ()}

    def _answers(self) -> bool:
        assert self.daemon.process.poll() is None, f"the kubelet ended\n{self.log.read_text()[-4000:]}"
        try:
            return self.ask("/healthz") == "ok" and "items" in self.ask("/pods")
        except OSError:
            return False

    def stop(self) -> None:
        """End the kubelet, remove what is left of pods."""
        self.daemon.stop()
        self.cri.clean()
        self.cri.channel.close()
        assert containers_in(self.runtime_root) == []
        # What the kubelet itself keeps: a mount of its directory on itself, and a group for each class of pods.
        unmount_below(self.place)
        for own in ("kubepods/burstable", "kubepods/besteffort", "kubepods"):
            for group in Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}/{own}"):
                group.rmdir()
        remove_parent_cgroup(self.cgroup)


class Pod:
    """A pod of the kubelet's."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = f"{name}-{NODE}"

    @property
    def status(self) -> dict:
        """What the kubelet says of it, {} where it does not know it."""
        return self.node.pods().get(self.name, {}).get("status", {})

    def containers(self, kind: str = "containerStatuses") -> dict[str, dict]:
        """Return the statuses of its containers by name."""
        return {one["name"]: one for one in self.status.get(kind, ())}

    def condition(self, name: str) -> str:
        """Return a condition of it, "" where it has none."""
        return next((one["status"] for one in self.status.get("conditions", ()) if one["type"] == name), "")

    def until(self, condition, what: str = ""):
        """Wait until `condition()` is true, return its value."""
        return until(condition, lambda: f"{what} {self.status} {self.node.log.read_text()[-3000:]}")

    def until_ready(self) -> None:
        """Wait until all its containers are ready."""
        self.until(lambda: self.condition("Ready") == "True")

    def exec(self, container: str, *words: str) -> str:
        """Run a command in a container of it, return its output. Raises OSError where it fails."""
        query = urllib.parse.urlencode({"cmd": " ".join(words)})
        return self.node.ask(f"/run/default/{self.name}/{container}?{query}", "POST")

    def pid(self, container: str) -> int:
        """Return the process id of a container that runs, as pyruntime has it."""
        identity = self.containers()[container]["containerID"].rpartition("/")[2]
        words = [self.node.pyruntime, "--root", self.node.runtime_root, "state", identity]
        return json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["pid"]
