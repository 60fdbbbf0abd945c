"""Rules that a schema cannot express: pure functions that yield an Error for each violation of their clause.

A rule gets a document that its schema accepts and that has a property which the rule is about, so it need not check
types. The pointers it reports start at `at`, the pointer of the part it is given.
"""

import pyruntime

pyruntime.load_lazily(__name__)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyruntime.base.errors import Error
    from pyruntime.spec.json_types import Config, Process, Resources, State

    Rule = Callable[..., Iterator[Error]]
    Rules = dict[str, tuple[str, ...]]

# Rule -> the properties that it checks. If a document has none of them, the rule is not imported.
PROCESS: "Rules" = {
    "rlimits.rlimits": ("rlimits",),
    "scheduler.scheduler": ("scheduler",),
    "scheduler.exec_cpu_affinity": ("execCPUAffinity",),
}

RESOURCES: "Rules" = {
    "cgroups.cpu": ("cpu",),
    "cgroups.memory": ("memory",),
    "cgroups.unified": ("unified",),
    "network.priorities": ("network",),
    "cgroups.rdma": ("rdma",),
}

# Rules for the resources of a configuration, and not for those of an update, which is added to existing limits.
WHOLE_RESOURCES: "Rules" = {"cgroups.swap_with_limit": ("memory",)}

STATE: "Rules" = {"version.oci_version": ("ociVersion",)}

# In the order of config.md and config-linux.md, which is the order of the errors.
CONFIG: "Rules" = {
    "version.supported": ("ociVersion",),
    "other_platforms.linux_only": ("freebsd", "solaris", "vm", "windows", "zos"),
    "mounts.mounts": ("mounts",),
    "mount_options.mount_options": ("mounts",),
    "_process": ("process",),
    "namespaces.namespaces": ("linux/namespaces",),
    "namespaces.names_need_uts": ("hostname", "domainname"),
    "namespaces.time_offsets": ("linux/timeOffsets",),
    "namespaces.hidden_paths": ("linux/maskedPaths", "linux/readonlyPaths"),
    "users.mappings": ("linux/namespaces", "linux/uidMappings", "linux/gidMappings"),
    "users.process_user": ("process",),
    "devices.devices": ("linux/devices",),
    "network.net_devices": ("linux/netDevices",),
    "cgroups.cgroups_path": ("linux/cgroupsPath",),
    "_resources": ("linux/resources",),
    "intel_rdt.intel_rdt": ("linux/intelRdt",),
    "memory_policy.memory_policy": ("linux/memoryPolicy",),
    "sysctl.sysctl": ("linux/sysctl",),
    "seccomp.seccomp": ("linux/seccomp",),
    "annotations.annotations": ("annotations",),
}


def find(name: str) -> "Rule":
    """Return the rule `name`: "module.function", or a function of this package itself."""
    module, dot, function = name.rpartition(".")
    rule: Rule = getattr(__import__(f"{__name__}{dot}{module}", None, None, (function,)), function)
    return rule


def _findings(ruleset: "Rules", present: "set[str]", *document: object) -> "Iterator[Error]":
    """Yield the findings of the rules that check one of the properties `present`, called with `document`."""
    for name, properties in ruleset.items():
        if not present.isdisjoint(properties):
            yield from find(name)(*document)


def config(config: "Config") -> "Iterator[Error]":
    """Yield what is wrong with a configuration that the schema accepts."""
    present = {*config, *(f"linux/{name}" for name in config.get("linux", ()))}
    return _findings(CONFIG, present, config)


def process(process: "Process", at: str = "") -> "Iterator[Error]":
    """Yield what is wrong with a process; `at` is its pointer."""
    return _findings(PROCESS, {*process}, process, at)


def resources(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """Yield what is wrong with cgroup resources; `at` is their pointer."""
    return _findings(RESOURCES, {*resources}, resources, at)


def state(state: "State") -> "Iterator[Error]":
    """Yield what is wrong with a state that the schema accepts."""
    return _findings(STATE, {*state}, state)


def _process(config: "Config") -> "Iterator[Error]":
    yield from process(config["process"], "/process")


def _resources(config: "Config") -> "Iterator[Error]":
    whole = config["linux"]["resources"]
    yield from resources(whole, "/linux/resources")
    yield from _findings(WHOLE_RESOURCES, {*whole}, whole, "/linux/resources")


def survivors(ruleset: "Rules", document: object) -> "Iterator[Error]":
    """Yield the findings of `ruleset` in a document that its schema refuses.

    They complete those of the schema, so that one run shows all errors. A rule that finds a part of the wrong type ends
    there, because the schema has reported that part.
    """
    for name in ruleset:
        try:
            yield from find(name)(document)
        except (TypeError, KeyError, AttributeError, ValueError, IndexError):
            continue
