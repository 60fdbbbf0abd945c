"""The container's session keyring: its own, or with --no-new-keyring the caller's; as with runc."""

import os
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

POSSESSOR_ALL, OWNER_SEARCH, OTHERS = 0x3F000000, 0x00080000, 0x000000FF


def shows_keys(config):
    config["process"]["args"] = ["cat", "/proc/keys"]
    config["linux"]["maskedPaths"] = []


def user_namespace(config):
    entry = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"].update(uidMappings=entry, gidMappings=entry)
    config["linux"]["namespaces"].append({"type": "user"})


def rings(text):
    """Return the keyrings of a /proc/keys text (keyrings(7)): name -> permissions, uid."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if fields[7] == "keyring":
            found[fields[8].rstrip(":")] = int(fields[4], 16), fields[5]
    return found


def test_the_container_has_a_session_keyring_named_after_it(runtime, bundle):
    name = runtime.id()
    permissions, owner = rings(runtime("run", "-b", bundle(shows_keys), name).stdout)[f"_ses.{name}"]
    assert permissions & POSSESSOR_ALL == POSSESSOR_ALL
    assert permissions & OWNER_SEARCH
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
    return [line.split()[0] for line in text.splitlines() if f" {name}: " in line]


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
    # Both belong to root, who may view what it does not possess.
    assert {f"_ses.{first}", f"_ses.{second}"} <= set(rings(runtime("run", "-b", bundle(shows_keys), second).stdout))


def test_it_ends_with_its_container(runtime, bundle):
    name = runtime.id()
    assert f"_ses.{name}" in rings(runtime("run", "-b", bundle(shows_keys), name).stdout)
    deadline = time.monotonic() + 20
    while f"_ses.{name}" in rings(Path("/proc/keys").read_text()):  # the kernel collects it in its own time
        assert time.monotonic() < deadline
