"""The directory of the notify socket, which a container with CAP_SYS_ADMIN can make writable for itself."""

import os
import socket
import stat
import subprocess

import pytest

from pyruntime.engine.caller import notify_socket
from pyruntime.store.container import Container

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

CAPABILITIES = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]


@pytest.fixture
def manager(tmp_path):
    """The address of a service manager that never answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "manager"))
        yield sock.getsockname()


DAMAGE = """
mount -o remount,rw,bind /run/notify && cd /run/notify || exit 1
ln -s {outside} link; mkdir 1 1. 2; touch 1/2; ln -s {outside} 1./link
mkdir deep
for level in $(seq 1500); do mkdir above above/beside && mv deep above && mv above deep || exit 2; done
exit 9
"""


def test_what_a_container_makes_there_goes_with_it_and_no_link_is_followed(runtime, bundle, manager, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("of the host")

    def change(config):
        config["process"]["args"] = ["sh", "-c", DAMAGE.format(outside=outside)]
        config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
        config["root"]["readonly"] = False

    container = runtime.id()
    words = runtime.command("run", "--keep", "-b", bundle(change, own=True), container)
    done = subprocess.run(words, env={**os.environ, "NOTIFY_SOCKET": manager}, check=False, timeout=60)
    assert done.returncode == 9
    assert (runtime.root / container / "notify/deep/deep/deep").is_dir()
    runtime("delete", container)
    assert not (runtime.root / container).exists()
    assert (outside / "file").read_text() == "of the host"


@pytest.fixture
def container(tmp_path):
    """A container's directory with the one of its notify socket."""
    path = tmp_path / "container"
    (path / "notify").mkdir(parents=True)
    with Container(str(path), "c1", os.open(path, os.O_RDONLY | os.O_DIRECTORY)) as opened:
        yield opened


def test_a_link_that_the_container_puts_in_the_sockets_place_changes_nothing_on_the_host(
    container, tmp_path, monkeypatch
):
    """The container may replace the socket between bind(2) and the next call that uses the path."""
    target = tmp_path / "file"
    target.touch(0o600)
    place = tmp_path / "container/notify/notify.sock"

    def quick(path, *more, **options):
        place.unlink()
        place.symlink_to(target)
        os.chmod(path, *more, **options)

    monkeypatch.setattr(notify_socket.os, "chmod", quick)
    umask = os.umask(0o077)
    try:
        relay = notify_socket.Relay(container, os.getpid())
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(umask)
    relay._socket.close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(place.lstat().st_mode)
    assert stat.S_IMODE(place.lstat().st_mode) == 0o777
