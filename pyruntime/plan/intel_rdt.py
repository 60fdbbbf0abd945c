"""Intel RDT: the container's share of caches and memory bandwidth (config-linux.md#intelrdt)."""

from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config

CLAUSE = "config-linux.md#intelrdt"
POINTER = "/linux/intelRdt"

# What must be true of the directory of the class of service before: it does not exist, it exists, or either.
NEW, PRESENT, ANY = "new", "present", "any"


def intel_rdt(config: "Config", container_id: str) -> "Iterator[Step]":
    """Yield the steps on the resctrl file system, paths relative to its mount; none where the config asks for none.

    "resctrl_group"     the directory `group`, "" for the default class; `must_be` as above; `own`: it goes with the
                        container
    "resctrl_compare"   lines that the group's schemata must agree with, if the group was there already
    "resctrl_schemata"  lines to write, in this order
    "resctrl_monitor"   a directory of its own for monitoring; it goes with the container

    Upholds config-linux.md#intelrdt/unset-untouched, config-linux.md#intelrdt/rules-applied,
    config-linux.md#intelrdt/both-schemas, config-linux.md#intelrdt/one-schema, config-linux.md#intelrdt/schemata-last,
    config-linux.md#intelrdt/no-schemata.
    """
    linux = config.get("linux") or {}
    if "intelRdt" not in linux:
        return
    asked = linux["intelRdt"]
    caches = [asked[name] for name in ("l3CacheSchema", "memBwSchema") if asked.get(name)]
    lines = _lines(*caches, *(asked.get("schemata") or ()))
    name = asked.get("closID") or ""
    group = "" if name == "/" else name or container_id
    must_be = NEW if not name else ANY if lines else PRESENT
    yield Step(
        "resctrl_group", f"{POINTER}/closID" if name else POINTER, CLAUSE, group=group, must_be=must_be, own=not name
    )
    if name and caches:
        yield Step(
            "resctrl_compare",
            POINTER,
            CLAUSE,
            group=group,
            lines=_lines(*caches),
        )
    if lines:
        yield Step("resctrl_schemata", POINTER, CLAUSE, group=group, lines=lines)
    if asked.get("enableMonitoring"):
        path = f"{group}/mon_groups/{container_id}".lstrip("/")
        yield Step("resctrl_monitor", f"{POINTER}/enableMonitoring", CLAUSE, group=path)


def _lines(*texts: str) -> "list[str]":
    """Return the lines of `texts` that are not empty. As in the kernel, only a newline ends a line."""
    return [line for text in texts for line in text.split("\n") if line.strip()]


def disagreement(wanted: str, schemata: str, granularity: int) -> str:
    """Return the part of the line `wanted` that the text of a schemata file contradicts; "" if none.

    Only the cache ids that `wanted` names are compared, and values as the kernel understands them: it drops leading
    zeros, orders the ids, and rounds a bandwidth up to a multiple of `granularity` (in percent, 0 when unknown).

    Upholds config-linux.md#intelrdt/class-compared.
    """
    resource, values = _parse(wanted)
    for line in schemata.splitlines():
        found, current = _parse(line)
        if found != resource:
            continue
        for cache, value in values.items():
            if cache not in current:
                return f"no {resource}:{cache}"
            if not _same(resource, value, current[cache], granularity):
                return f"{resource}:{cache}={current[cache]}"
        return ""
    return f"no {resource}"


def _parse(line: str) -> "tuple[str, dict[str, str]]":
    """Return resource and values of "L3:0=7f0;1=1f"."""
    resource, _, rest = line.strip().partition(":")
    pairs = (pair.partition("=") for pair in rest.split(";") if pair.strip())
    return resource.strip(), {cache.strip(): value.strip() for cache, _, value in pairs}


def _same(resource: str, wanted: str, found: str, granularity: int) -> bool:
    base = 10 if resource == "MB" else 16
    try:
        a, b = int(wanted, base), int(found, base)
    except ValueError:
        return wanted == found
    return a == b or (resource == "MB" and granularity > 0 and -(-a // granularity) * granularity == b)
