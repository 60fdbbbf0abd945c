"""SELinux labels of the process and of mounts (config.md#linux-process, config-linux.md#mount-label)."""

import os
import subprocess
from pathlib import Path

import pytest

from changes import linux, process

POLICY = Path(__file__).with_name("selinux.cil")
KERNEL = Path("/sys/fs/selinux")
PROCESS = "system_u:system_r:container_t:s0:c1,c2"
FILES = "system_u:object_r:svirt_sandbox_file_t:s0:c1,c2"


@pytest.fixture(scope="session", autouse=True)
def policy(tmp_path_factory):
    """The policy is loaded, and not enforced."""
    binary = tmp_path_factory.mktemp("selinux") / "policy"
    version = (KERNEL / "policyvers").read_text()
    subprocess.run(["secilc", "-c", version, "-o", binary, "-f", "/dev/null", POLICY], check=True)
    assert (KERNEL / "enforce").read_text() == "0"
    (KERNEL / "load").write_bytes(binary.read_bytes())


def test_the_process_has_the_label(containers):
    # Without new privileges another label needs a permission of its own, which this policy does not give.
    change = process(selinuxLabel=PROCESS, noNewPrivileges=False)
    done = containers.run("tr -d '\\0' </proc/self/attr/current", change)
    assert done.stdout.strip() == PROCESS


def test_a_label_that_the_policy_does_not_know_is_an_error(containers):
    said = containers.refused(process(selinuxLabel="system_u:system_r:no_such_t:s0"))
    assert "/process/selinuxLabel" in said and "no_such_t" in said


def test_mounts_have_the_label(containers):
    script = "grep -E ' /dev(/shm)? ' /proc/mounts"
    lines = containers.run(script, linux(mountLabel=FILES)).stdout.splitlines()
    assert len(lines) == 2
    assert all(f'context="{FILES}"' in line for line in lines), lines


def test_the_root_of_a_message_queue_filesystem_has_the_label(containers):
    """It has no option for one; what is made in it inherits its root's."""
    container = containers.start(linux(mountLabel=FILES))
    assert os.getxattr(container.path("/dev/mqueue"), "security.selinux").rstrip(b"\0").decode() == FILES


def test_without_labels_nothing_is_said_of_them(containers):
    assert "context=" not in containers.run("cat /proc/mounts").stdout
