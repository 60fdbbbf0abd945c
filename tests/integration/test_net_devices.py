"""Network devices that move into containers (config-linux.md#network-devices), on veth pairs.

pyruntime runs in a network namespace of the test, so that nothing here meets the devices of the host.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PATIENCE = 20  # seconds for something that must happen


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


class Host:
    """A network namespace in place of the host's: `runtime` runs in it."""

    def __init__(self, name):
        self.name = name
        ip("netns", "add", name)

    def __call__(self, *words, check=True):
        return ip("-n", self.name, *words, check=check)

    def names(self):
        return {link["ifname"] for link in json.loads(self("-j", "link").stdout)}

    def veth(self, name, *addresses, up=True):
        """Make a device whose other end is PEER-name; addresses are words of `ip addr add`."""
        self("link", "add", name, "type", "veth", "peer", "name", f"p-{name}")
        for words in addresses:
            self("addr", "add", *words.split(), "dev", name)
        if up:
            self("link", "set", name, "up")

    def device(self, name):
        """Return what `ip -j addr` says of a device."""
        return json.loads(self("-j", "addr", "show", "dev", name).stdout)[0]


def addresses(device):
    """Return the addresses of a device that are not of the link only."""
    return {
        (entry["local"], entry["prefixlen"], entry.get("address", ""), entry.get("broadcast", ""))
        for entry in device["addr_info"]
        if entry["scope"] == "global"
    }


@pytest.fixture(scope="module", autouse=True)
def no_mount_left():
    """`ip netns add` makes a mount of /run/netns, and nothing takes it away."""
    place = Path("/run/netns")
    before = place.is_mount()
    yield
    if not before and place.is_mount() and not any(place.iterdir()):
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def host(runtime):
    name = runtime.id()[-20:]
    yield Host(name)
    ip("netns", "del", name)


@pytest.fixture
def run(runtime, bundle, host):
    """run(devices, script, change) runs a container in the host's namespace; the completed process."""

    def run(devices, script, change=lambda _: None, check=True):
        def configure(config):
            config["process"]["args"] = ["sh", "-c", script]
            config["linux"]["netDevices"] = devices
            change(config)

        command = runtime.command("run", "-b", bundle(configure), runtime.id())
        # Not by `ip netns exec`, which mounts another /sys, without cgroups.
        enter = ["nsenter", f"--net=/run/netns/{host.name}"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run


def join(path):
    def change(config):
        for namespace in config["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = path

    return change


def mapped(config):
    config["linux"]["namespaces"].append({"type": "user"})
    entry = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"].update(uidMappings=entry, gidMappings=entry)


def time_namespace(config):
    config["linux"]["namespaces"].append({"type": "time"})


@pytest.mark.parametrize("change", [lambda _: None, mapped, time_namespace], ids=["plain", "user", "time"])
@pytest.mark.clause("config-linux.md#network-devices/available", "config-linux.md#network-devices/set-up")
def test_the_device_is_in_the_container_under_its_new_name_and_up(run, host, change):
    host.veth("dev0", up=False)
    out = run({"dev0": {"name": "eth7"}}, "ip link show eth7; ls /sys/class/net", change).stdout
    assert "MULTICAST,UP" in out
    assert "dev0" not in out


@pytest.mark.clause("config-linux.md#network-devices/available")
def test_without_a_name_it_keeps_its_own(run, host):
    host.veth("dev0")
    assert run({"dev0": {}}, "cd /sys/class/net; echo *").stdout.split() == ["dev0", "lo"]


@pytest.mark.clause("config-linux.md#network-devices/attributes-kept")
def test_permanent_global_addresses_move_and_others_do_not(run, host):
    host.veth(
        "dev0",
        *("10.9.0.1/24 brd +", "10.9.0.2/24", "10.9.1.1 peer 10.9.1.2", "fd00:9::1/64 nodad"),
        "10.9.2.1/24 scope link",
        *("10.9.3.1/24 valid_lft 1000 preferred_lft 1000", "fd00:9::2/64 valid_lft 1000 preferred_lft 1000"),
    )
    lines = run({"dev0": {"name": "eth0"}}, "ip addr show eth0").stdout.splitlines()
    found = {line.split("scope global")[0].strip() for line in lines if "scope global" in line}
    assert found == {
        *(
            "inet 10.9.0.1/24 brd 10.9.0.255",
            "inet 10.9.0.2/24",
            "inet 10.9.1.1 peer 10.9.1.2/32",
            "inet6 fd00:9::1/64",
        ),
    }
    assert not any("scope link" in line and "10.9" in line for line in lines)


@pytest.mark.clause("config-linux.md#network-devices/attributes-kept")
def test_its_mtu_and_hardware_address_stay(run, host):
    host.veth("dev0")
    host("link", "set", "dev0", "mtu", "1234", "address", "02:00:00:00:00:07")
    out = run({"dev0": {"name": "eth0"}}, "ip link show eth0").stdout
    assert "mtu 1234" in out
    assert "02:00:00:00:00:07" in out


@pytest.mark.clause("config-linux.md#network-devices/name-template")
def test_a_template_gets_a_number_from_the_kernel(run, host):
    host.veth("dev0")
    host.veth("dev1")
    out = run({"dev0": {"name": "eth%d"}, "dev1": {"name": "eth%d"}}, "cd /sys/class/net; echo *").stdout
    assert out.split() == ["eth0", "eth1", "lo"]


@pytest.mark.clause("config-linux.md#network-devices/name-template")
def test_a_template_does_not_take_a_name_that_is_given(run, host):
    host.veth("dev0")
    host.veth("dev1")
    out = run({"dev0": {"name": "eth%d"}, "dev1": {"name": "eth0"}}, "cd /sys/class/net; echo *").stdout
    assert out.split() == ["eth0", "eth1", "lo"]


def test_its_sysctls_can_be_set(run, host):
    host.veth("dev0")

    def forward(config):
        config["linux"]["sysctl"] = {"net.ipv4.conf.eth5.forwarding": "1"}

    assert run({"dev0": {"name": "eth5"}}, "cat /proc/sys/net/ipv4/conf/eth5/forwarding", forward).stdout.strip() == "1"


def test_it_is_there_before_the_hooks(run, host, tmp_path):
    host.veth("dev0")

    def hook(config):
        script = f"ip -br link > {tmp_path}/seen"
        env = [f"PATH={os.environ['PATH']}"]
        config["hooks"] = {"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": env}]}

    run({"dev0": {"name": "eth5"}}, "true", hook)
    seen = (tmp_path / "seen").read_text()
    assert "p-dev0@" in seen
    assert "\ndev0@" not in seen


class Joined:
    """A network namespace that a container joins."""

    def __init__(self, name):
        self.name = name
        self.path = f"/run/netns/{name}"
        self.host = Host(name)


@pytest.fixture
def joined(runtime):
    name = runtime.id()[-20:]
    yield Joined(name)
    ip("netns", "del", name)


@pytest.mark.clause("config-linux.md#namespace-lifecycle-and-container-termination/not-moved-back")
def test_it_moves_into_a_namespace_that_is_joined_and_stays_there(run, host, joined):
    host.veth("dev0", "10.9.0.1/24")
    run({"dev0": {"name": "eth0"}}, "true", join(joined.path))
    assert addresses(joined.host.device("eth0")) == {("10.9.0.1", 24, "", "")}
    assert "dev0" not in host.names()


@pytest.mark.clause("config-linux.md#namespace-lifecycle-and-container-termination/not-managed")
def test_what_others_make_of_the_device_inside_stays_so(runtime, bundle, host, joined):
    host.veth("dev0", "10.9.0.1/24")

    def configure(config):
        config["process"]["args"] = ["sleep", "1000"]
        config["linux"]["netDevices"] = {"dev0": {"name": "eth0"}}
        join(joined.path)(config)

    container, path = runtime.id(), bundle(configure)
    enter = ["nsenter", f"--net=/run/netns/{host.name}"]

    def call(*words):
        subprocess.run([*enter, *runtime.command(*words)], check=True, stdin=subprocess.DEVNULL)

    call("create", "-b", path, container)
    joined.host("addr", "flush", "dev", "eth0")
    joined.host("addr", "add", "10.9.7.7/24", "dev", "eth0")
    joined.host("link", "set", "eth0", "mtu", "1111", "down")
    joined.host("link", "set", "eth0", "name", "renamed")
    for words in (("start", container), ("exec", container, "true"), ("delete", "--force", container)):
        call(*words)
        found = joined.host.device("renamed")
        assert addresses(found) == {("10.9.7.7", 24, "", "")}, words
        assert (found["mtu"], "UP" in found["flags"]) == (1111, False), words


def test_a_device_there_may_have_the_name_that_it_has_on_the_host(run, host, joined):
    host.veth("dev0")
    joined.host.veth("dev0")
    run({"dev0": {"name": "eth0"}}, "true", join(joined.path))
    assert {"dev0", "eth0"} <= joined.host.names()


@pytest.mark.clause("config-linux.md#network-devices/name-template")
def test_a_template_finds_a_free_number_there(run, host, joined):
    host.veth("dev0")
    joined.host.veth("eth0")
    run({"dev0": {"name": "eth%d"}}, "true", join(joined.path))
    assert {"eth0", "eth1"} <= joined.host.names()


@pytest.mark.clause("config-linux.md#network-devices/name-taken")
def test_a_name_that_is_taken_there_is_an_error_and_nothing_moves(run, host, joined):
    host.veth("dev0", "10.9.0.1/24")
    host.veth("dev1")
    joined.host.veth("eth0")
    done = run({"dev1": {}, "dev0": {"name": "eth0"}}, "true", join(joined.path), check=False)
    assert done.returncode == 1
    assert "/linux/netDevices/dev0" in done.stderr
    assert {"dev0", "dev1"} <= host.names()
    assert addresses(host.device("dev0")) == {("10.9.0.1", 24, "", "")}


@pytest.mark.clause("config-linux.md#network-devices/move-checked")
def test_the_hosts_own_namespace_is_refused(run, host):
    host.veth("dev0", "10.9.0.1/24")
    done = run({"dev0": {"name": "eth0"}}, "true", join(f"/run/netns/{host.name}"), check=False)
    assert done.returncode == 1
    assert "is the host's" in done.stderr
    assert addresses(host.device("dev0")) == {("10.9.0.1", 24, "", "")}


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ({"dev0": {}, "absent": {}}, "no such device"),
        ({"dev0": {}, "lo": {"name": "x"}}, "loopback"),
        ({"dev0": {"name": "lo"}}, "has the name lo"),
    ],
    ids=["absent", "loopback", "taken"],
)
@pytest.mark.clause("config-linux.md#network-devices/move-checked")
def test_what_cannot_move_is_an_error_and_nothing_moves(run, host, devices, said):
    host.veth("dev0", "10.9.0.1/24")
    done = run(devices, "true", check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert host.device("dev0")["operstate"] != ""
    assert addresses(host.device("dev0")) == {("10.9.0.1", 24, "", "")}


def test_a_container_that_fails_later_gives_the_device_back_as_it_was(run, host):
    host.veth("dev0", "10.9.0.1/24", "fd00:9::1/64 nodad")
    before = addresses(host.device("dev0"))

    def failing(config):
        config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}

    done = run({"dev0": {"name": "eth0"}}, "true", failing, check=False)
    assert done.returncode == 1
    assert "hook" in done.stderr
    assert addresses(host.device("dev0")) == before
    assert "UP" in host.device("dev0")["flags"]


@pytest.mark.clause("config-linux.md#namespace-lifecycle-and-container-termination/not-moved-back")
def test_a_device_with_a_namespace_of_its_own_ends_with_the_container(run, host):
    host.veth("dev0")
    run({"dev0": {}}, "true")
    deadline = time.monotonic() + PATIENCE
    # The kernel takes a network namespace apart after its last process has ended.
    while "p-dev0" in host.names():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Renames whatever arrives in the network namespace under the name that a device has on its way.
RENAMER = """
import sys
from pyroute2 import IPRoute, netns
netns.setns(sys.argv[1])
link = IPRoute()
link.bind()
print("ready", flush=True)
count = 0
while True:
    for message in link.get():
        name = message.get_attr("IFLA_IFNAME") or ""
        if message["event"] == "RTM_NEWLINK" and name.startswith("pyr"):
            try:
                link.link("set", index=message["index"], ifname=f"mine{count}")
                count += 1
            except Exception:
                pass  # the runtime was faster
"""


@pytest.fixture
def renaming(runtime):
    """A network namespace to join, in which a process renames devices on their way."""
    name = runtime.id()[-20:]
    ip("netns", "add", name)
    with subprocess.Popen([sys.executable, "-c", RENAMER, name], stdout=subprocess.PIPE) as renamer:
        assert renamer.stdout.readline() == b"ready\n"
        yield name
        renamer.kill()
    ip("netns", "del", name)


@pytest.mark.parametrize("fails", [False, True], ids=["it is made", "it cannot be made"])
def test_no_other_device_is_taken_for_one_that_is_renamed_on_its_way(run, host, renaming, fails):
    """The other one has the index that it had on the host."""

    def change(config):
        join(f"/run/netns/{renaming}")(config)
        if fails:
            config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}

    for count in range(5):
        name = f"dev{count}"
        host.veth(name)
        device = host.device(name)
        ip("-n", renaming, "link", "add", f"own{count}", "index", str(device["ifindex"]), "type", "veth", check=False)
        assert run({name: {}}, "true", change, check=False).returncode == int(fails)
        # Who renames it late renames it after the runtime.
        there = json.loads(ip("-n", host.name if fails else renaming, "-j", "link").stdout)
        names = [link["ifname"] for link in there if link["address"] == device["address"]]
        assert names == [name] or (not fails and len(names) == 1)
        assert (name in host.names()) == fails
