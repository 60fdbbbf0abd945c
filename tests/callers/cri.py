"""A client of the Container Runtime Interface: what the kubelet asks of containerd, in the words of its API."""

import json
import os
import struct
from pathlib import Path

# Otherwise grpc starts threads in every child that a later test forks; setns(2) refuses a process with threads.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

import grpc
import pytest
import websocket
from calling import IMAGE, PATIENCE, until

messages, services = grpc.protos_and_services("cri.proto")  # looked for where this module was found

PAUSE = "docker.io/library/pause:latest"
# What the image PAUSE runs: it is pid 1 of pods that share their processes, and waits for those that nobody waits for.
PAUSE_COMMAND = ("sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 1000 & wait; done")
CHANNELS = ["stdin", "stdout", "stderr", "error", "resize"]  # of a stream, by number


class Cri:
    """The interface at a Unix socket; cri("StartContainer", container_id=ID) calls a procedure of it.

    A field that is itself a message is given as a dictionary.
    """

    def __init__(self, socket: Path) -> None:
        self.channel = grpc.insecure_channel(f"unix:{socket}", [("grpc.enable_http_proxy", 0)])
        self._stubs = [services.RuntimeServiceStub(self.channel), services.ImageServiceStub(self.channel)]
        described = messages.DESCRIPTOR.services_by_name.values()
        self._requests = {method.name: method.input_type.name for service in described for method in service.methods}

    def __call__(self, procedure: str, **fields):
        """Call `procedure`, return its response. Raises grpc.RpcError when it fails."""
        request = getattr(messages, self._requests[procedure])(**fields)
        stub = next(stub for stub in self._stubs if hasattr(stub, procedure))
        return getattr(stub, procedure)(request, timeout=180)

    def refused(self, procedure: str, **fields) -> str:
        """Call a procedure that must fail, return what is said."""
        with pytest.raises(grpc.RpcError) as refusal:
            self(procedure, **fields)
        return refusal.value.details()

    def ready(self) -> bool:
        """Tell whether runtime and network are ready."""
        try:
            conditions = {condition.type: condition.status for condition in self("Status").status.conditions}
        except grpc.RpcError:
            return False
        # containerd 2 has more of them: that nothing deprecated is used, for instance.
        return conditions["RuntimeReady"] and conditions["NetworkReady"]

    def images(self) -> set[str]:
        return {tag for image in self("ListImages").images for tag in image.repo_tags}

    def pods(self) -> list[str]:
        return [pod.id for pod in self("ListPodSandbox").items]

    def clean(self) -> None:
        """Remove every pod, and with it its containers."""
        for pod in self.pods():
            self("StopPodSandbox", pod_sandbox_id=pod)
            self("RemovePodSandbox", pod_sandbox_id=pod)


# The kubelet asks for this where a pod says nothing else; the interface's own default is that processes are shared.
OWN_PROCESSES = {"namespace_options": {"pid": "CONTAINER"}}


class Pod:
    """A pod that runs; pod.container("sleep", "1000") makes a container in it.

    security  its LinuxSandboxSecurityContext
    linux     what else is in its LinuxPodSandboxConfig
    """

    def __init__(
        self, cri: Cri, place: Path, parent: str, name: str, handler="", security=None, linux=None, **config
    ) -> None:
        self.cri = cri
        self.logs = place / name
        self.logs.mkdir(parents=True)
        self.count = 0
        self.config = {
            "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "default"},
            "log_directory": str(self.logs),
            "linux": {
                "cgroup_parent": f"{parent}/{name}",
                "security_context": {**OWN_PROCESSES, **(security or {})},
                **(linux or {}),
            },
            **config,
        }
        self.id = cri("RunPodSandbox", config=self.config, runtime_handler=handler).pod_sandbox_id

    @property
    def status(self):
        return self.cri("PodSandboxStatus", pod_sandbox_id=self.id).status

    @property
    def address(self) -> str:
        return self.status.network.ip

    def stop(self) -> None:
        self.cri("StopPodSandbox", pod_sandbox_id=self.id)

    def remove(self) -> None:
        self.cri("RemovePodSandbox", pod_sandbox_id=self.id)

    def request(self, *command, security=None, resources=None, **config):
        """Return the fields of CreateContainer for a container that runs `command`."""
        self.count += 1
        linux = {"security_context": {**OWN_PROCESSES, **(security or {})}, "resources": resources or {}}
        name = f"c{self.count}"
        container = {
            "metadata": {"name": name},
            "image": {"image": IMAGE},
            "command": list(map(str, command)),
            "log_path": f"{name}.log",
            "linux": linux,
            **config,
        }
        return {"pod_sandbox_id": self.id, "config": container, "sandbox_config": self.config}

    def container(self, *command, **config) -> "Container":
        """Create a container. security, resources: its LinuxContainerSecurityContext, LinuxContainerResources."""
        request = self.request(*command, **config)
        identity = self.cri("CreateContainer", **request).container_id
        return Container(self.cri, identity, self.logs / request["config"]["log_path"])

    def started(self, *command, **config) -> "Container":
        """Create a container and start it."""
        container = self.container(*command, **config)
        container.start()
        return container

    def says(self, script: str, **config) -> str:
        """Run a shell script in a container of its own, which must succeed; return what it wrote."""
        container = self.started("sh", "-c", script, **config)
        assert container.ended() == 0, container.log()
        return container.output()


class Container:
    """A container of a pod. log_file is where the CRI plugin writes what it says."""

    def __init__(self, cri: Cri, identity: str, log_file: Path) -> None:
        self.cri = cri
        self.id = identity
        self.log_file = log_file

    @property
    def status(self):
        return self.cri("ContainerStatus", container_id=self.id).status

    @property
    def state(self) -> str:
        return messages.ContainerState.Name(self.status.state).removeprefix("CONTAINER_")

    def start(self) -> None:
        self.cri("StartContainer", container_id=self.id)

    def stop(self, seconds: int) -> None:
        """Ask it to end, and kill it after so many seconds."""
        self.cri("StopContainer", container_id=self.id, timeout=seconds)

    def remove(self) -> None:
        self.cri("RemoveContainer", container_id=self.id)

    def update(self, **resources) -> None:
        self.cri("UpdateContainerResources", container_id=self.id, linux=resources)

    def stats(self):
        return self.cri("ContainerStats", container_id=self.id).stats

    def ended(self) -> int:
        """Wait until it has ended, and return its exit status."""
        until(lambda: self.state == "EXITED", "the container to end")
        return self.status.exit_code

    def log(self) -> list[tuple[str, str]]:
        """Return the lines of its log: stream and text. A line is TIME STREAM F|P TEXT."""
        lines = self.log_file.read_text().splitlines() if self.log_file.exists() else []
        return [(line.split(" ", 3)[1], line.split(" ", 3)[3]) for line in lines]

    def output(self) -> str:
        return "".join(f"{text}\n" for stream, text in self.log() if stream == "stdout")

    def exec(self, *command, seconds=0, status=0) -> str:
        """Run `command` in it to the end, return its output."""
        done = self.cri("ExecSync", container_id=self.id, cmd=list(map(str, command)), timeout=seconds)
        assert done.exit_code == status, (done.exit_code, done.stdout, done.stderr)
        return done.stdout.decode()

    def exec_stream(self, *command, **streams) -> "Stream":
        """Start `command` in it. streams: stdin, stdout, stderr, tty, as in ExecRequest."""
        return Stream(self.cri("Exec", container_id=self.id, cmd=list(map(str, command)), **streams).url)

    def attach(self, **streams) -> "Stream":
        return Stream(self.cri("Attach", container_id=self.id, **streams).url)


class Stream:
    """The streams behind a URL that Exec, Attach or PortForward has answered, as channels of one web socket.

    Each message begins with the number of its channel.
    """

    def __init__(self, url: str) -> None:
        url = url.replace("http:", "ws:", 1)
        self.socket = websocket.create_connection(url, PATIENCE, subprotocols=["v4.channel.k8s.io"])
        self.received = {}

    def write(self, data: bytes, channel=0) -> None:
        self.socket.send_binary(bytes([channel]) + data)

    def resize(self, columns: int, rows: int) -> None:
        self.write(json.dumps({"Width": columns, "Height": rows}).encode(), CHANNELS.index("resize"))

    def read(self, channel="stdout", expected=b"") -> bytes:
        """Receive until `expected` has come on a channel, or to the end of the streams; return what has come on it."""
        number = CHANNELS.index(channel)
        while not expected or expected not in self.received.get(number, b""):
            try:
                message = self.socket.recv()
            except websocket.WebSocketConnectionClosedException:
                break
            if not message:
                break
            self.received[message[0]] = self.received.get(message[0], b"") + message[1:]
        return self.received.get(number, b"")

    def ended(self) -> int:
        """Receive to the end, and return the process's exit status, as the error channel says it."""
        verdict = json.loads(self.read("error"))
        if verdict["status"] == "Success":
            return 0
        return int(next(cause["message"] for cause in verdict["details"]["causes"] if cause["reason"] == "ExitCode"))

    def close(self) -> None:
        self.socket.close()


def forward(cri: Cri, pod: Pod, port: int, data: bytes) -> bytes:
    """Send `data` to a port of the pod, return what comes back. Each channel begins with the number of the port."""
    stream = Stream(cri("PortForward", pod_sandbox_id=pod.id, port=[port]).url + f"?port={port}")
    try:
        stream.write(data)
        return stream.read("stdin").removeprefix(struct.pack("<H", port))
    finally:
        stream.close()
