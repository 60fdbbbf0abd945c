"""The kubelet, on containerd 2 and on CRI-O."""

import containerd2
import crio
import pytest
from calling import IMAGE, PATH, need, unmount_below
from cri import PAUSE, PAUSE_COMMAND
from images import make_archive
from kubelet import Node
from networks import Network


@pytest.fixture(scope="session")
def containerd_path():
    """The $PATH with containerd 2."""
    return f"{containerd2.get()}:{PATH}"


@pytest.fixture(scope="session")
def crio_place(tmp_path_factory, pyruntime, image, rootfs):
    """The directory of a CRI-O that runs."""
    need("conmon", "skopeo")
    if crio.programs() is None:
        pytest.skip("needs CRI-O, which Debian does not have")
    place = tmp_path_factory.mktemp("crio")
    network = Network(place, "214")
    pause = make_archive(rootfs, PAUSE, place / "pause.tar", command=PAUSE_COMMAND)
    daemon = crio.start(place, pyruntime, network, {IMAGE: image, PAUSE: pause})
    yield place
    daemon.stop()
    unmount_below(place)
    network.remove()


@pytest.fixture(scope="session", params=["containerd2", "cri-o"])
def node_of_session(request, tmp_path_factory, pyruntime, session):
    """A kubelet on each of them."""
    if request.param == "containerd2":
        place = request.getfixturevalue("kubelet_daemon").place
        endpoint, runtime_root = place / "containerd.sock", place / "pyruntime/k8s.io"
    else:
        place = request.getfixturevalue("crio_place")
        endpoint, runtime_root = place / "crio.sock", place / "pyruntime"
    cgroup = f"{session}-kubelet-{request.param}"
    node = Node(tmp_path_factory.mktemp("kubelet"), endpoint, pyruntime, runtime_root, cgroup)
    yield node
    node.stop()


@pytest.fixture
def node(node_of_session):
    """The kubelet; a test of which something is left when its pods are drained fails."""
    yield node_of_session
    node_of_session.drain()
