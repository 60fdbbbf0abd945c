"""linux.resources.cpu: time and sets of CPUs, as files of cgroup v1 and v2 (config-linux.md#cpu)."""

from pyruntime.plan.cgroup.section import Limits, Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.cgroup.section import How
    from pyruntime.spec.json_types import CPU


def cpu(cpu: "CPU", limits: Limits) -> None:
    """Add the steps of linux.resources.cpu to `limits`; times in microseconds. Raises Error (config-linux.md#cpu)."""
    section = limits.section("cpu", "cpu")
    quota, period, burst = cpu.get("quota", 0), cpu.get("period", 0), cpu.get("burst")
    if burst and 0 < quota < burst:
        raise section.error("burst", f"burst cannot be more than quota ({quota})")
    properties = ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "burst", "idle")
    asked = [name for name in properties if cpu.get(name)]
    if asked or (any(name in cpu for name in properties) and section.has("cpu", "cpu")):
        if section.version("cpu", "cpu", asked[0] if asked else "") == 1:
            _cpu_v1(cpu, section, quota, period, burst)
        else:
            _cpu_v2(cpu, section, quota, period, burst)
    for name in ("cpus", "mems"):
        if cpu.get(name):
            section.version("cpuset", "cpuset", name)
            section.write("cpuset", f"cpuset.{name}", cpu[name], name)


def _cpu_v1(cpu: "CPU", section: Section, quota: int, period: int, burst: int | None) -> None:
    # Real time first: without a budget of real time the group refuses real-time processes. Each level needs its own.
    if cpu.get("realtimePeriod"):
        section.write(
            "cpu",
            "cpu.rt_period_us",
            cpu["realtimePeriod"],
            "realtimePeriod",
            needs="CONFIG_RT_GROUP_SCHED",
            levels=True,
            **({"again_after": "cpu.rt_runtime_us"} if cpu.get("realtimeRuntime") else {}),
        )
    if cpu.get("realtimeRuntime"):
        section.write(
            "cpu",
            "cpu.rt_runtime_us",
            cpu["realtimeRuntime"],
            "realtimeRuntime",
            needs="CONFIG_RT_GROUP_SCHED",
            levels=True,
        )
    shares = cpu.get("shares")
    if shares and not 2 <= shares <= 262144:  # the kernel would take the nearest one without a word
        raise section.error("shares", "shares are from 2 to 262144")
    if "idle" in cpu and not cpu["idle"]:
        section.write("cpu", "cpu.idle", 0, "idle", optional=True)
    if shares:
        section.write("cpu", "cpu.shares", shares, "shares")
    if cpu.get("idle"):  # after shares: an idle group refuses them
        section.write("cpu", "cpu.idle", 1, "idle", needs="cpu.idle (Linux 5.15)")
    # In a group that had a quota the kernel may refuse a period or burst that does not fit the old quota.
    again: How = {"again_after": "cpu.cfs_quota_us"} if quota else {}
    if period:
        section.write("cpu", "cpu.cfs_period_us", period, "period", **again)
    if burst is not None and not quota:
        section.write("cpu", "cpu.cfs_burst_us", burst, "burst", **_burst(burst))
    if quota:
        section.write("cpu", "cpu.cfs_quota_us", max(quota, -1), "quota")
    if burst is not None and quota:  # a new group has no quota, and burst must not exceed it
        section.write("cpu", "cpu.cfs_burst_us", burst, "burst", **_burst(burst))


def _cpu_v2(cpu: "CPU", section: Section, quota: int, period: int, burst: int | None) -> None:
    for name in ("realtimeRuntime", "realtimePeriod"):
        if cpu.get(name):
            raise section.error(name, "cgroup v2 has no real-time budget")
    if "idle" in cpu and not cpu["idle"]:
        section.write("cpu", "cpu.idle", 0, "idle", optional=True)
    if cpu.get("shares"):
        section.write("cpu", "cpu.weight", weight_from_shares(cpu["shares"]), "shares")
    if cpu.get("idle"):
        section.write("cpu", "cpu.idle", 1, "idle", needs="cpu.idle (Linux 5.15)")
    if quota or period:
        value = f"{quota if quota > 0 else 'max'} {period or 100000}"  # 100 ms is the kernel's default period
        section.write("cpu", "cpu.max", value, "quota" if quota else "period")
    if burst is not None:
        section.write("cpu", "cpu.max.burst", burst, "burst", **_burst(burst))


def _burst(burst: int) -> "How":
    return {"needs": "cpu burst (Linux 5.14)"} if burst else {"optional": True}


def weight_from_shares(shares: int) -> int:
    """Convert v1 cpu.shares (2 to 262144) to v2 cpu.weight (1 to 10000).

    A quadratic in log2(shares), the exponent of ten, chosen by runc and crun so that the three fixed points agree:
    2 -> 1, 1024 -> 100, 262144 -> 10000.
    """
    import math  # late: it is not linked into the program, and v1 does not need it

    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = math.log2(shares)
    return math.ceil(10 ** (log * (log + 125) / 612 - 7 / 34))
