#!/usr/bin/python3
"""A hook that attaches a container to a CNI network, or takes it off: `cni_hook.py ADD|DEL NETWORK.json`.

NETWORK.json is the configuration of one plugin. The container's state comes on standard input, as to every hook. The
plugins are looked for in $CNI_PATH, a single directory; without it in Debian's.
"""

import json
import os
import subprocess
import sys


def main() -> int:
    """Call the plugin; return its exit status."""
    command, network = sys.argv[1:]
    state = json.load(sys.stdin)
    with open(network, "rb") as file:
        configuration = file.read()
    plugins = os.environ.get("CNI_PATH", "/usr/lib/cni")
    environment = {
        **os.environ,
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": state["id"],
        # By poststop the namespace is gone, and with it the interface: what is left to give back is the address.
        "CNI_NETNS": f"/proc/{state['pid']}/ns/net" if command == "ADD" else "",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": plugins,
    }
    plugin = os.path.join(plugins, json.loads(configuration)["type"])
    return subprocess.run([plugin], input=configuration, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
