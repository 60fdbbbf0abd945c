"""Resource limits of the process (config.md#posix-process)."""

from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Process

CLAUSE = "config.md#posix-process"


def rlimits(process: "Process", at: str = "") -> "Iterator[Error]":
    """No type is listed twice; no soft limit is above its hard limit, which is its ceiling.

    Upholds config.md#posix-process/rlimit-type-once.
    """
    seen: dict[str, int] = {}
    for index, limit in enumerate(process["rlimits"]):
        kind = limit["type"]
        if kind in seen:
            yield Error(
                f"{kind} is limited twice",
                f"rlimits[{seen[kind]}] is about it already",
                pointer=f"{at}/rlimits/{index}/type",
                value=kind,
                clause=CLAUSE,
            )
        seen.setdefault(kind, index)
        if limit["soft"] > limit["hard"]:
            yield Error(
                f"the soft limit of {kind} is {limit['soft']}",
                f"expected at most the hard limit, {limit['hard']}",
                pointer=f"{at}/rlimits/{index}/soft",
                value=limit["soft"],
                clause=CLAUSE,
            )
