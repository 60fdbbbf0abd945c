"""A bridge network made by the reference plugins of CNI (Debian's containernetworking-plugins)."""

import json
import os
import secrets
import subprocess
from pathlib import Path

import pytest

PLUGINS = Path("/usr/lib/cni")
VERSION = "1.0.0"  # of CNI, which the plugins of Debian 12 speak


class Network:
    """A bridge with addresses of its own. Nothing of it is there before the first attachment.

    It is no gateway: for one the plugin would have the whole host forward packets.

    place   a directory for its list of addresses
    number  the second byte of its addresses, 10.NUMBER.0.0/24
    """

    def __init__(self, place: Path, number: str) -> None:
        if not (PLUGINS / "bridge").exists():
            pytest.skip("needs the Debian package containernetworking-plugins")
        self.addresses = place / "addresses"
        self.name = f"pyruntime-{number}"
        self.bridge = f"py{secrets.token_hex(5)}"
        self.plugin = {
            "type": "bridge",
            "bridge": self.bridge,
            "ipam": {"type": "host-local", "subnet": f"10.{number}.0.0/24", "dataDir": str(self.addresses)},
        }

    def configuration(self) -> str:
        """Return the network's configuration, as a plugin reads it from standard input."""
        return json.dumps({"cniVersion": VERSION, "name": self.name, **self.plugin})

    def list_of_plugins(self) -> str:
        """Return the same as a .conflist."""
        return json.dumps({"cniVersion": VERSION, "name": self.name, "plugins": [self.plugin]})

    def call(self, command: str, container: str, namespace) -> dict:
        """Have the plugin ADD or DEL a container's interface eth0, return its result."""
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": str(namespace),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(PLUGINS),
        }
        done = subprocess.run(
            [PLUGINS / "bridge"],
            input=self.configuration(),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def ports(self) -> list[str]:
        """Return the names of the interfaces that are attached to the bridge."""
        members = Path(f"/sys/class/net/{self.bridge}/brif")
        return sorted(path.name for path in members.iterdir()) if members.is_dir() else []

    def leases(self) -> list[str]:
        """Return the addresses that are given away."""
        place = self.addresses / self.name
        return sorted(path.name for path in place.iterdir() if path.name[0].isdigit()) if place.is_dir() else []

    def remove(self) -> None:
        """Remove the bridge, which no plugin does."""
        if Path(f"/sys/class/net/{self.bridge}").exists():
            subprocess.run(["ip", "link", "delete", self.bridge], check=True)
