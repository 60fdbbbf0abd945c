"""What a schema cannot say: small pure functions, each yielding an Error for every place that breaks its clause.

A rule gets a document that its schema accepts, so it need not look at types, only at what is present. The pointers
it reports start at `at`, the pointer of the part it is given.
"""

from pyruntime.spec.rules import (
    annotations,
    cgroups,
    devices,
    intel_rdt,
    memory_policy,
    mounts,
    namespaces,
    network,
    platform,
    rlimits,
    scheduler,
    seccomp,
    sysctl,
    users,
    version,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyruntime.errors import Error
    from pyruntime.spec.types import Config, Process, Resources, State

    Rule = Callable[..., Iterator[Error]]
    Rules = tuple[Rule, ...]

PROCESS: "Rules" = (rlimits.rlimits, scheduler.scheduler, scheduler.exec_cpu_affinity)

RESOURCES: "Rules" = (cgroups.cpu, cgroups.memory, cgroups.unified, network.priorities)

STATE: "Rules" = (version.oci_version,)


def process(process: "Process", at: str = "") -> "Iterator[Error]":
    """Yield what is wrong with a process; `at` is its pointer."""
    for rule in PROCESS:
        yield from rule(process, at)


def resources(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """Yield what is wrong with cgroup resources; `at` is their pointer."""
    for rule in RESOURCES:
        yield from rule(resources, at)


def _process(config: "Config") -> "Iterator[Error]":
    if "process" in config:
        yield from process(config["process"], "/process")


def _resources(config: "Config") -> "Iterator[Error]":
    if "resources" in config.get("linux", ()):
        yield from resources(config["linux"]["resources"], "/linux/resources")


# In the order of config.md and config-linux.md, so that errors come in it.
CONFIG: "Rules" = (
    version.supported,
    platform.linux_only,
    mounts.mounts,
    _process,
    namespaces.namespaces,
    namespaces.names_need_uts,
    namespaces.time_offsets,
    namespaces.hidden_paths,
    users.mappings,
    users.process_user,
    devices.devices,
    network.net_devices,
    cgroups.cgroups_path,
    _resources,
    intel_rdt.intel_rdt,
    memory_policy.memory_policy,
    sysctl.sysctl,
    seccomp.seccomp,
    annotations.annotations,
)


def config(config: "Config") -> "Iterator[Error]":
    """Yield what is wrong with a configuration that the schema accepts."""
    for rule in CONFIG:
        yield from rule(config)


def state(state: "State") -> "Iterator[Error]":
    """Yield what is wrong with a state that the schema accepts."""
    for rule in STATE:
        yield from rule(state)


def survivors(ruleset: "Rules", document: object) -> "Iterator[Error]":
    """Yield what `ruleset` finds in a document that its schema refuses, as far as its rules get.

    Their findings complete the schema's, so that one run shows all that is wrong; a rule that meets a part of the
    wrong shape ends there, which is no news.
    """
    for rule in ruleset:
        try:
            yield from rule(document)
        except (TypeError, KeyError, AttributeError, ValueError, IndexError):
            continue
