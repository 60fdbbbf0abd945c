"""The CVEs of 2025: the console, masked paths and /proc at places that another process changes meanwhile."""
# ruff: noqa: F401, F811
# Fixtures are imported from host.py.

import pytest
from host import host, keeper
from test_hostile_race import ROUNDS, swapping


def shared_dev(config, place):
    """Give the container a /dev that others can write to, with nothing mounted in it."""
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
    config["mounts"].append({"destination": "/dev", "type": "bind", "source": str(place), "options": ["bind", "rw"]})
    config["mounts"].append(
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}
    )


@pytest.fixture
def dev(host):
    place = host.outside.with_name("dev")
    (place / "pts").mkdir(parents=True)
    return place


@pytest.fixture
def with_console(dev):
    """A change of the configuration: a terminal, and `dev` at /dev."""

    def change(config) -> None:
        shared_dev(config, dev)
        config["process"]["terminal"] = True

    return change


TARGETS = {
    "a file of the host": "{outside}/file",
    "a file of the host by climbing": "../../../../../../../..{outside}/file",
    "nothing": "{outside}/new",
    "a control file": "/proc/self/attr/exec",
    "the container's own procfs": "/proc/sys/kernel/hostname",
    "itself": "console",
}


@pytest.mark.parametrize("target", TARGETS)
def test_the_console_is_not_mounted_through_a_link(host, dev, with_console, target):
    """CVE-2025-52565."""
    (dev / "console").symlink_to(TARGETS[target].format(outside=host.outside))

    result = host.attack(None, with_console)
    assert result.returncode == 1
    assert "/dev/console is a symbolic link" in result.stderr


def test_a_console_that_is_missing_is_made(host, with_console):
    assert "/dev/console" in host.attack(None, with_console, "cat /proc/mounts").stdout


def test_the_console_is_not_mounted_through_a_place_that_turns_into_a_link(host, dev, with_console, swapping):
    """CVE-2025-52565 as a race."""
    (dev / "console").write_text("")
    (dev / "other").symlink_to(host.outside / "file")
    swapping(dev / "console", dev / "other")

    for _ in range(ROUNDS):
        assert host.attack(None, with_console, "true").returncode in (0, 1)


def test_masking_does_not_use_a_null_device_that_turns_into_a_link(host, dev, swapping):
    """CVE-2025-31133: what is masked shows nothing, whatever /dev/null is meanwhile; and the host's is untouched."""
    (dev / "null").write_text("not null")
    (dev / "link").symlink_to(host.outside / "file")
    swapping(dev / "null", dev / "link")

    def change(config) -> None:
        shared_dev(config, dev)
        config["linux"]["maskedPaths"] = ["/hidden"]

    for _ in range(ROUNDS):
        result = host.attack(
            lambda rootfs: (rootfs / "hidden").write_text("hidden"), change, "cat /hidden; stat -c %t:%T /hidden"
        )
        assert result.returncode == 1 or result.stdout == "1:3\n", (result.stdout, result.stderr)


FALSE_SYSCTL = "sys/net/ipv4/ip_default_ttl"


def test_sysctls_are_not_written_to_a_false_proc(host, subtests):
    """CVE-2025-52881: the container's /proc is an ordinary directory, with a link in place of a kernel parameter."""
    for kind, name in (("a link", "link"), ("a file", "file")):
        with subtests.test(kind=kind):
            false = host.outside.with_name(f"proc-{name}")
            (false / FALSE_SYSCTL).parent.mkdir(parents=True)
            if kind == "a link":
                (false / FALSE_SYSCTL).symlink_to(host.outside / "file")
            else:
                (false / FALSE_SYSCTL).write_text("false")

            def change(config, false=false) -> None:
                config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/proc"]
                config["mounts"].append(
                    {"destination": "/proc", "type": "bind", "source": str(false), "options": ["bind", "rw"]}
                )
                config["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "99"}
                config["linux"].pop("maskedPaths", None)
                config["linux"].pop("readonlyPaths", None)

            script = "mkdir /tmp/true && mount -t proc proc /tmp/true && cat /tmp/true/" + FALSE_SYSCTL

            def privileged(config, change=change) -> None:
                change(config)
                config["process"]["capabilities"] = dict.fromkeys(
                    ("bounding", "effective", "permitted"), ["CAP_SYS_ADMIN"]
                )

            result = host.attack(None, privileged, script)
            # Either the error says that there is no procfs, or the real one was written to.
            assert result.returncode == 1 or result.stdout == "99\n", (result.stdout, result.stderr)
            if kind == "a file":
                assert (false / FALSE_SYSCTL).read_text() == "false"
