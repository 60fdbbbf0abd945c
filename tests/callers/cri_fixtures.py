"""containerd with its CRI plugin, and a kubelet that calls it; conftest.py hands them on."""

from pathlib import Path

import pytest
from calling import IMAGE, Caller, Daemon, containers_in, remove_parent_cgroup, unmount_below, until
from cri import PAUSE, PAUSE_COMMAND, Cri, Pod
from images import make_archive
from networks import PLUGINS, Network

# The plugin would protect the pause process from the OOM killer, for which this run may lack CAP_SYS_RESOURCE.
_CRI = """\
version = 2
root = "{place}/root"
state = "{place}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{place}/containerd.sock"
[ttrpc]
  address = "{place}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{place}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "pyruntime"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pyruntime]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.pyruntime.options]
        BinaryName = "{pyruntime}"
        Root = "{place}/pyruntime"
"""


class Kubelet:
    """What a kubelet has: the interface `cri`, and a place for what its pods leave; pod() runs a pod."""

    def __init__(self, cri: Cri, place: Path, cgroup: str, network: Network) -> None:
        self.cri = cri
        self.place = place
        self.cgroup = cgroup
        self.network = network
        self.count = 0

    def pod(self, **config) -> Pod:
        """Run a pod: see Pod."""
        self.count += 1
        return Pod(self.cri, self.place / "logs", f"/{self.cgroup}", f"pod{self.count}", **config)

    def left(self) -> list[str]:
        """Return what is left of pods: containers that pyruntime knows, network namespaces, ends of their networks."""
        namespaces = self.place / "state/io.containerd.grpc.v1.cri/netns"
        return [
            *containers_in(self.place / "pyruntime/k8s.io"),
            *(str(path) for path in (namespaces.iterdir() if namespaces.is_dir() else ())),
            *self.network.ports(),
        ]


@pytest.fixture(scope="session")
def kubelet_daemon(tmp_path_factory, pyruntime, session, image, rootfs, containerd_path):
    """A containerd with its CRI plugin, whose runtime is pyruntime, with the images IMAGE and PAUSE, and a network."""
    place = tmp_path_factory.mktemp("cri")
    network = Network(place, "213")
    (place / "net.d").mkdir()
    (place / "net.d/10-bridge.conflist").write_text(network.list_of_plugins())
    config = _CRI.format(place=place, pause=PAUSE, plugins=PLUGINS, pyruntime=pyruntime)
    (place / "config.toml").write_text(config)
    pause = make_archive(rootfs, PAUSE, place / "pause.tar", command=PAUSE_COMMAND)
    words = ["ctr", "--address", place / "containerd.sock", "--namespace", "k8s.io"]
    ctr = Caller(words, environment={"PATH": containerd_path})
    daemon = Daemon(["containerd", "--config", place / "config.toml"], place / "log", containerd_path)
    try:
        until(lambda: daemon.answers(*ctr.words, "version"), "containerd to answer")
        cri = Cri(place / "containerd.sock")
        until(cri.ready, "the CRI plugin to be ready")
        for archive in (image, pause):
            ctr("image", "import", archive)
        until(lambda: {IMAGE, PAUSE} <= cri.images(), "the CRI plugin to know the images")
        yield Kubelet(cri, place, f"{session}-cri", network)
        cri.clean()
        cri.channel.close()
    finally:
        daemon.stop()
        unmount_below(place)
        network.remove()
    remove_parent_cgroup(f"{session}-cri")


@pytest.fixture
def kubelet(kubelet_daemon):
    """The kubelet; a test that leaves something of a pod fails."""
    yield kubelet_daemon
    kubelet_daemon.cri.clean()
    assert kubelet_daemon.left() == []
