"""What Linux 5.10 lacks is refused before there is a container, by the name of what it needs."""

import pytest

from changes import bind, linux, mapped, mount, process, resources

MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def idmapped(config):
    config["mounts"].append(
        {"destination": "/x", "source": "/usr", "options": ["bind"], "uidMappings": MAPS, "gidMappings": MAPS}
    )


@pytest.mark.parametrize(
    ("pointer", "needs", "change"),
    [
        ("/mounts/7/options", "Linux 5.12", bind("/usr", "/x", "rro", kind="rbind")),
        ("/mounts/7/options", "Linux 5.12", bind("/usr", "/x", "rnosymfollow", kind="rbind")),
        ("/mounts/7/uidMappings", "Linux 5.12", idmapped),
        ("/linux/resources/cpu/burst", "Linux 5.14", resources(cpu={"quota": 20000, "period": 50000, "burst": 1000})),
        ("/linux/resources/cpu/idle", "Linux 5.15", resources(cpu={"idle": 1})),
        ("/linux/resources/cpu/realtimePeriod", "CONFIG_RT_GROUP_SCHED", resources(cpu={"realtimePeriod": 100000})),
        ("/linux/resources/blockIO/weight", "CONFIG_BFQ_GROUP_IOSCHED", resources(blockIO={"weight": 500})),
        (
            "/linux/resources/hugepageLimits/0",
            "huge pages of 3MB",
            resources(hugepageLimits=[{"pageSize": "3MB", "limit": 4}]),
        ),
        (
            "/linux/resources/unified/memory.high",
            "controller memory is not enabled in",
            resources(unified={"memory.high": "1000000"}),
        ),
        ("/process/apparmorProfile", "AppArmor is not enabled", process(apparmorProfile="some")),
        ("/linux/intelRdt", "CONFIG_X86_CPU_RESCTRL", linux(intelRdt={"closID": "x", "l3CacheSchema": "L3:0=f"})),
        (
            "/linux/memoryPolicy",
            "MPOL_WEIGHTED_INTERLEAVE Linux 6.9",
            linux(memoryPolicy={"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}),
        ),
        ("/linux/memoryPolicy", "each node needs memory", linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": "7"})),
        ("/process/scheduler", "SCHED_ISO", process(scheduler={"policy": "SCHED_ISO"})),
    ],
)
@pytest.mark.clause("runtime.md#lifecycle/environment-error")
def test_what_the_kernel_lacks_is_named(containers, pointer, needs, change):
    said = containers.refused(change)
    assert pointer in said and needs in said, said


def test_what_older_calls_can_do_is_done(containers):
    """Without mount_setattr(2) attributes and propagation are set by mount(2)."""
    script = "grep -E ' /(x|y) ' /proc/self/mountinfo | cut -d' ' -f6"
    change = bind("/usr", "/x", "ro", "nosuid", "rprivate", "nosymfollow", kind="rbind")
    text = containers.run(script, change, mount("/y", "tmpfs", "tmpfs", "noexec", "nosymfollow")).stdout
    assert text.splitlines() == ["ro,nosuid,relatime,nosymfollow", "rw,noexec,relatime,nosymfollow"]


def test_a_user_namespace(containers):
    assert containers.run("cat /proc/self/uid_map", mapped()).stdout.split() == ["0", "100000", "65536"]
