"""CNI: a bridge network made by the reference plugins, by a hook or around a network namespace that is there before."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from calling import need, until
from networks import Network

HOOK = Path(__file__).parents[2] / "examples/cni_hook.py"


@pytest.fixture
def network(tmp_path):
    """A network; a test that leaves an end of it or an address fails."""
    need("ip")
    made = Network(tmp_path, "214")
    yield made
    left = made.ports() + made.leases()
    made.remove()
    assert left == []


# ---- By hook ----


@pytest.fixture
def hooked(network, bundle, tmp_path):
    """A factory of bundles whose hooks attach the container to the network."""
    file = tmp_path / "network.json"

    def make(kind):
        file.write_text(network.configuration())

        def change(config):
            config["process"]["args"] = ["sleep", "1000"]
            hook = {"path": str(HOOK), "env": [f"PATH={os.environ['PATH']}"]}
            config["hooks"] = {
                kind: [{**hook, "args": ["cni", "ADD", str(file)]}],
                "poststop": [{**hook, "args": ["cni", "DEL", str(file)]}],
            }

        return bundle(change)

    return make


@pytest.mark.parametrize("kind", ["createRuntime", "prestart"])
def test_a_hook_attaches_containers_that_reach_each_other(network, hooked, runtime, kind):
    one, other = runtime.id(), runtime.id()
    for container in (one, other):
        runtime("run", "--detach", "--bundle", hooked(kind), container)
    assert len(network.ports()) == 2
    addresses = [_address(runtime, container) for container in (one, other)]
    assert sorted(addresses) == network.leases()
    _ping(runtime, one, addresses[1])
    runtime("delete", "--force", one)
    assert network.leases() == [addresses[1]]
    runtime("delete", "--force", other)
    assert network.leases() == []
    # A network namespace goes, with what is in it, some time after its last process.
    until(lambda: network.ports() == [], "the interfaces to be gone")


def _ping(runtime, container, address) -> None:
    done = runtime("exec", "--cap", "CAP_NET_RAW", container, "ping", "-c", "1", "-W", "20", address)
    assert "1 packets received" in done.stdout


def _address(runtime, container) -> str:
    said = runtime("exec", container, "ip", "-4", "-o", "address", "show", "dev", "eth0").stdout
    return said.split()[3].split("/")[0]


def test_a_network_that_has_no_address_left_makes_no_container(network, hooked, runtime):
    """The plugin's words reach the user, and what it has begun is taken back."""
    network.plugin["ipam"]["subnet"] = "10.214.0.0/30"  # one address beside the gateway's
    one, other = runtime.id(), runtime.id()
    runtime("run", "--detach", "--bundle", hooked("createRuntime"), one)
    leases = network.leases()
    done = runtime("create", "--bundle", hooked("createRuntime"), other, check=False)
    assert done.returncode == 1
    assert "no IP addresses available" in done.stderr
    assert "/hooks/createRuntime/0" in done.stderr
    assert runtime("state", other, check=False).returncode == 1
    assert network.leases() == leases
    runtime("delete", "--force", one)
    until(lambda: network.ports() == [], "the interfaces to be gone")


# ---- By path ----


@pytest.fixture
def namespace(session):
    """A factory of named network namespaces."""
    names = []
    mounted = os.path.ismount("/run/netns")

    def make() -> Path:
        name = f"{session}-{len(names)}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        names.append(name)
        return Path("/run/netns", name)

    yield make
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    if names and not mounted:
        subprocess.run(["umount", "/run/netns"], check=True)


def test_a_container_joins_a_namespace_that_is_attached_already(network, namespace, bundle, runtime):
    places = [namespace(), namespace()]
    containers = [runtime.id() for _ in places]
    addresses = []
    for place, container in zip(places, containers, strict=True):
        result = network.call("ADD", container, place)
        addresses.append(result["ips"][0]["address"].split("/")[0])

        def change(config, place=place):
            config["process"]["args"] = ["sleep", "1000"]
            namespaces = config["linux"]["namespaces"]
            namespaces[:] = [entry for entry in namespaces if entry["type"] != "network"]
            namespaces.append({"type": "network", "path": str(place)})

        runtime("run", "--detach", "--bundle", bundle(change), container)
    assert [_address(runtime, container) for container in containers] == addresses
    _ping(runtime, containers[0], addresses[1])
    for place, container in zip(places, containers, strict=True):
        runtime("delete", "--force", container)
        # The namespace is not the container's: it outlives it, and so does its interface until DEL.
        assert _interfaces(place) == ["eth0", "lo"]
        network.call("DEL", container, place)
        assert _interfaces(place) == ["lo"]
    assert network.ports() + network.leases() == []


def _interfaces(place: Path) -> list[str]:
    command = ["ip", "-netns", place.name, "-json", "link", "show"]
    links = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return sorted(link["ifname"] for link in links)
