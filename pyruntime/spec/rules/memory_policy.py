"""NUMA memory policy (config-linux.md#memory-policy)."""

from pyruntime.base.errors import Error
from pyruntime.spec.rules.lists import is_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config

CLAUSE = "config-linux.md#memory-policy"

# MPOL_PREFERRED takes nodes or none: set_mempolicy(2).
_WITHOUT_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
_WITH_NODES = ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED_MANY")


def memory_policy(config: "Config") -> "Iterator[Error]":
    """The nodes are a list, and there are some exactly where the mode needs them; two flags exclude each other."""
    policy = config["linux"]["memoryPolicy"]
    mode, nodes, flags = policy["mode"], policy.get("nodes", ""), policy.get("flags", ())
    if not is_list(nodes):
        reason = 'expected a list of memory nodes like "0-3,7"'
    elif nodes and mode in _WITHOUT_NODES:
        reason = f"expected none: {mode} takes no nodes"
    elif not nodes and mode in _WITH_NODES:
        reason = f"expected at least one node for {mode}"
    else:
        reason = ""
    if reason:
        doing = f'linux.memoryPolicy.nodes is "{nodes[:60]}"' if nodes else "linux.memoryPolicy.nodes is empty"
        yield Error(doing, reason, pointer="/linux/memoryPolicy/nodes", value=nodes, clause=CLAUSE)
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        yield Error(
            "linux.memoryPolicy.flags has both MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES",
            "expected one of them at most",
            pointer="/linux/memoryPolicy/flags",
            value=flags,
            clause=CLAUSE,
        )
