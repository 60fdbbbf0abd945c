"""The container's session keyring: its own, or with --no-new-keyring the caller's; as with runc."""

import os
import subprocess
from pathlib import Path

import pytest
from containers import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

POSSESSOR_ALL, OWNER_ALL, OWNER_SEARCH, OTHERS = 0x3F000000, 0x003F0000, 0x00080000, 0x0000FFFF


def shows_keys(config):
    config["process"]["args"] = ["cat", "/proc/keys"]
    config["linux"]["maskedPaths"] = []


def user_namespace(config):
    entry = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"].update(uidMappings=entry, gidMappings=entry)
    config["linux"]["namespaces"].append({"type": "user"})


def rings(text):
    """Return the keyrings of a /proc/keys text (keyrings(7)): name without its secret -> permissions, uid."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if fields[7] == "keyring":
            found[public(fields[8].rstrip(":"))] = int(fields[4], 16), fields[5]
    return found


def public(name):
    """Return a container's part of a keyring's name."""
    return name.rpartition(".")[0] if name.startswith("_ses.") and len(name.rpartition(".")[2]) == 32 else name


def test_the_container_has_a_session_keyring_named_after_it(runtime, bundle):
    name = runtime.id()
    permissions, owner = rings(runtime("run", "-b", bundle(shows_keys), name).stdout)[f"_ses.{name}"]
    assert permissions & POSSESSOR_ALL == POSSESSOR_ALL
    # By its name alone; what is in it, and the name, are the possessor's.
    assert permissions & OWNER_ALL == OWNER_SEARCH
    assert not permissions & OTHERS
    assert owner == "0"


def test_a_process_of_another_user_has_it_too(runtime, bundle):
    def change(config):
        shows_keys(config)
        config["process"]["user"] = {"uid": 1000, "gid": 1000}

    name = runtime.id()
    # The kernel lists a keyring to others than its owner only if they possess it.
    assert f"_ses.{name}" in rings(runtime("run", "-b", bundle(change), name).stdout)


def test_it_is_there_in_a_user_namespace(runtime, bundle):
    def change(config):
        shows_keys(config)
        user_namespace(config)

    name = runtime.id()
    assert rings(runtime("run", "-b", bundle(change), name).stdout)[f"_ses.{name}"][1] == "0"


def test_no_new_keyring_makes_none(runtime, bundle):
    name = runtime.id()
    assert f"_ses.{name}" not in rings(runtime("run", "--no-new-keyring", "-b", bundle(shows_keys), name).stdout)


def serials(text, name):
    return [line.split()[0] for line in text.splitlines() if f" {name}." in line]


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "user namespace"])
def test_a_process_that_is_executed_later_joins_it(runtime, bundle, mapped):
    def change(config):
        shows_keys(config)
        config["process"]["args"] = ["sleep", "1000"]
        # Root would be shown the keyring as its owner, even where it does not possess it.
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        if mapped:
            user_namespace(config)

    name, path = runtime.id(), bundle(change)
    runtime("run", "-d", "-b", path, name)
    first, second = (runtime("exec", name, "cat", "/proc/keys").stdout for _ in range(2))
    assert len(serials(first, f"_ses.{name}")) == 1
    assert serials(first, f"_ses.{name}") == serials(second, f"_ses.{name}")


def test_without_one_a_process_that_is_executed_later_makes_none(runtime, bundle):
    def change(config):
        shows_keys(config)
        config["process"]["args"] = ["sleep", "1000"]

    name = runtime.id()
    runtime("run", "-d", "--no-new-keyring", "-b", bundle(change), name)
    assert f"_ses.{name}" not in rings(runtime("exec", name, "cat", "/proc/keys").stdout)


def test_two_containers_do_not_share_one(runtime, bundle):
    first, second = runtime.id(), runtime.id()
    runtime("create", "-b", bundle(shows_keys), first)
    # Both belong to root, who may not even view what it does not possess.
    found = rings(runtime("run", "-b", bundle(shows_keys), second).stdout)
    assert f"_ses.{second}" in found
    assert f"_ses.{first}" not in found


def test_keyrings_that_are_forbidden_are_an_error(runtime, bundle, tmp_path):
    trace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=keyctl:error=EPERM:when=1"]
    name = runtime.id()
    command = [*trace, *runtime.command("run", "-b", bundle(shows_keys), name)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "EPERM" in done.stderr and "--no-new-keyring" in done.stderr
    assert not (runtime.root / name).exists()


def count():
    """Return how many keys root has: the host is not shown those of a container (proc(5), /proc/key-users)."""
    lines = Path("/proc/key-users").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.split()[0] == "0:")


def test_it_ends_with_its_container(runtime, bundle):
    name = runtime.id()
    before = count()
    assert f"_ses.{name}" in rings(runtime("run", "-b", bundle(shows_keys), name).stdout)
    until(lambda: count() <= before, "the kernel to collect it in its own time")
