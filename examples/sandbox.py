"""Run an untrusted command: no network, no privileges, 64 MiB, 16 processes, half a CPU, a few seconds.

Usage: python3 sandbox.py ROOTFS COMMAND [ARGUMENT...]
"""

import json
import os
import select
import sys
import tempfile

import pyruntime

SECONDS = 5
ROOT = "/run/pyruntime-sandbox"  # where the state is kept; any directory of one's own
SIGKILL = 9


def configuration(rootfs: str, command: "list[str]") -> "dict[str, object]":
    """Return a config.json: what `pyruntime spec` writes, and limits."""
    config = pyruntime.default_config()
    config["root"] = {"path": os.path.abspath(rootfs), "readonly": True}
    config["process"].update(
        args=command,
        terminal=False,
        user={"uid": 65534, "gid": 65534},
        capabilities={},
        noNewPrivileges=True,
    )
    config["linux"]["resources"] = {
        "memory": {"limit": 64 << 20, "swap": 64 << 20},
        "pids": {"limit": 16},
        "cpu": {"quota": 50000, "period": 100000},
    }
    return config


def sandbox(rootfs: str, command: "list[str]") -> int:
    """Return the command's exit status, -1 when its time was over. Raises pyruntime.Error."""
    name = f"sandbox-{os.getpid()}"
    with tempfile.TemporaryDirectory() as bundle:
        with open(f"{bundle}/config.json", "w") as file:
            json.dump(configuration(rootfs, command), file)
        pid = pyruntime.create(name, pyruntime.CreateOptions(ROOT, bundle))
        pidfd = os.pidfd_open(pid)
        try:
            pyruntime.start(ROOT, name)
            in_time = select.select([pidfd], [], [], SECONDS)[0]
            if not in_time:
                pyruntime.kill(ROOT, name, SIGKILL, True)
            # The container's first process is our child: whoever creates a container waits for it.
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return status if in_time else -1
        finally:
            pyruntime.delete(ROOT, name, force=True)
            os.close(pidfd)


if __name__ == "__main__":
    pyruntime.ensure_sealed()
    try:
        print("status", sandbox(sys.argv[1], sys.argv[2:]))
    except pyruntime.Error as error:
        sys.exit(str(error))
