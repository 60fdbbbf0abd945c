"""CRI-O, which no release of Debian has: the one in $PATH or in .cache/cri-o, with `pinns` beside it."""

import shutil
import subprocess
from pathlib import Path

from calling import IMAGE, PATH, Daemon, until
from cri import PAUSE, Cri
from networks import PLUGINS, Network

CACHE = Path(__file__).parents[3] / ".cache/cri-o"
_CONFIG = """\
[crio]
root = "{place}/storage"
runroot = "{place}/run"
storage_driver = "overlay"
log_dir = "{place}/logs"
version_file = "{place}/version"
clean_shutdown_file = "{place}/clean"
internal_wipe = false
[crio.api]
listen = "{place}/crio.sock"
stream_address = "127.0.0.1"
stream_port = "0"
[crio.image]
pause_image = "{pause}"
signature_policy = "{place}/policy.json"
[crio.network]
network_dir = "{place}/net.d"
plugin_dirs = ["{plugins}"]
[crio.runtime]
default_runtime = "pyruntime"
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
pinns_path = "{programs}/pinns"
namespaces_dir = "{place}/ns"
container_exits_dir = "{place}/exits"
container_attach_socket_dir = "{place}/attach"
hooks_dir = []
[crio.runtime.runtimes.pyruntime]
runtime_path = "{pyruntime}"
runtime_type = "oci"
runtime_root = "{place}/pyruntime"
monitor_path = "/usr/bin/conmon"
monitor_cgroup = "pod"
"""


def programs() -> "Path | None":
    """Return the directory of crio and pinns, or None."""
    found = shutil.which("crio", path=f"{CACHE}:/usr/local/bin:{PATH}")
    return Path(found).parent if found else None


def start(place: Path, pyruntime: Path, network: Network, archives: "dict[str, Path]") -> Daemon:
    """Start CRI-O with pyruntime in `place`, its socket is `place`/crio.sock.

    archives  name of an image -> the archive of it, as `docker save` writes it
    """
    (place / "net.d").mkdir()
    (place / "net.d/10-bridge.conflist").write_text(network.list_of_plugins())
    (place / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    config = _CONFIG.format(place=place, pause=PAUSE, plugins=PLUGINS, pyruntime=pyruntime, programs=programs())
    (place / "crio.conf").write_text(config)
    for name, archive in archives.items():
        store = f"containers-storage:[overlay@{place}/storage+{place}/run]{name}"
        words = ["skopeo", "--policy", place / "policy.json", "copy", "--quiet", f"docker-archive:{archive}", store]
        subprocess.run(words, check=True, capture_output=True)
    words = [programs() / "crio", "--config", place / "crio.conf", "--config-dir", place / "crio.conf.d"]
    daemon = Daemon(words, place / "crio.log")
    cri = Cri(place / "crio.sock")

    def ready() -> bool:
        assert daemon.process.poll() is None, f"CRI-O ended\n{daemon.log.read_text()[-4000:]}"
        return cri.ready() and {IMAGE, PAUSE} <= cri.images()

    until(ready, "CRI-O to be ready")
    cri.channel.close()
    return daemon
