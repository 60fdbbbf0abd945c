"""The systemd cgroup driver with the machine's systemd: --systemd-cgroup (config-linux.md#cgroups-path)."""

import subprocess

import pytest
from containers import CGROUPS
from running import show

from changes import linux, resources

MIB = 1 << 20


def annotated(**values):
    """Set annotations org.systemd.property.NAME."""
    return lambda config: config.update(
        annotations={f"org.systemd.property.{name}": text for name, text in values.items()}
    )


def test_the_unit_is_a_delegated_scope_in_its_slice(by_systemd):
    name = by_systemd.runtime.id()
    container = by_systemd.start(linux(cgroupsPath=f"machine.slice:test:{name}"), name=name)
    unit = f"test-{name}.scope"
    found = show(unit, "ActiveState", "Slice", "Delegate", "ControlGroup", "Transient")
    assert found == {
        "ActiveState": "active",
        "Slice": "machine.slice",
        "Delegate": "yes",
        "ControlGroup": f"/machine.slice/{unit}",
        "Transient": "yes",
    }
    assert container.group == CGROUPS / f"machine.slice/{unit}"


def test_a_slice_below_slices_is_made(by_systemd):
    name = by_systemd.runtime.id()
    container = by_systemd.start(linux(cgroupsPath=f"vmtest-deep.slice:test:{name}"), name=name)
    assert container.group == CGROUPS / f"vmtest.slice/vmtest-deep.slice/test-{name}.scope"


def test_without_a_path_the_unit_is_named_after_the_container(by_systemd):
    container = by_systemd.start()
    assert container.group == CGROUPS / f"system.slice/pyruntime-{container.id}.scope"


def test_systemd_knows_the_limits(by_systemd):
    limits = {
        "memory": {"limit": 64 * MIB, "swap": 96 * MIB},
        "pids": {"limit": 42},
        "cpu": {"quota": 20000, "period": 50000, "cpus": "1", "mems": "0", "shares": 262144},
    }
    expected = {
        "MemoryMax": str(64 * MIB),
        "MemorySwapMax": str(32 * MIB),
        "TasksMax": "42",
        "CPUQuotaPerSecUSec": "400ms",
        "CPUQuotaPeriodUSec": "50ms",
        "AllowedCPUs": "1",
        "AllowedMemoryNodes": "0",
        "CPUWeight": "10000",
    }
    container = by_systemd.start(resources(**limits))
    assert show(container.group.name, *expected) == expected


def test_limits_and_devices_survive_that_systemd_writes_the_unit_again(by_systemd):
    limits = {"pids": {"limit": 42}, "memory": {"limit": 64 * MIB}, "cpu": {"quota": 20000, "period": 50000}}
    container = by_systemd.start(resources(**limits, hugepageLimits=[{"pageSize": "2MB", "limit": 4 * MIB}]))
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    # It writes a unit's files again when one of its properties is set.
    subprocess.run(["systemctl", "set-property", "--runtime", container.group.name, "IOWeight=200"], check=True)
    files = ("pids.max", "memory.max", "cpu.max", "hugetlb.2MB.max")
    assert [container.value(name) for name in files] == ["42", str(64 * MIB), "20000 50000", str(4 * MIB)]
    assert container.exec("sh", "-c", "echo x >/dev/null && echo fine").stdout == "fine\n"


def test_the_unit_is_gone_after_delete(by_systemd):
    container = by_systemd.start()
    group = container.group
    container.delete("--force")
    assert not group.exists()
    assert show(group.name, "LoadState", "ActiveState") == {
        "LoadState": "not-found",
        "ActiveState": "inactive",
    }


def test_the_unit_is_gone_after_delete_of_a_container_that_ended(by_systemd):
    container = by_systemd.start()
    group = container.group
    container.kill()
    container.wait()
    container.delete()
    assert not group.exists()
    assert show(group.name, "LoadState")["LoadState"] == "not-found"


def test_annotations_become_properties(by_systemd):
    change = annotated(TimeoutStopUSec="uint64 123000000", CollectMode="'inactive-or-failed'", Description="'a test'")
    found = show(by_systemd.start(change).group.name, "TimeoutStopUSec", "CollectMode", "Description")
    assert found == {"TimeoutStopUSec": "2min 3s", "CollectMode": "inactive-or-failed", "Description": "a test"}


def test_a_property_in_seconds_can_be_said(by_systemd):
    assert show(by_systemd.start(annotated(TimeoutStopSec="7")).group.name, "TimeoutStopUSec") == {
        "TimeoutStopUSec": "7s"
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (annotated(NoSuchProperty="true"), "NoSuchProperty"),
        (annotated(TimeoutStopUSec="what"), "TimeoutStopUSec"),
        (linux(cgroupsPath="/not/a/unit"), "slice:prefix:name"),
        (linux(cgroupsPath="not a slice:x:y"), "slice"),
    ],
)
def test_what_systemd_would_refuse_is_an_error(by_systemd, change, words):
    assert words in by_systemd.refused(change)


def test_update_reaches_systemd_too(by_systemd):
    container = by_systemd.start(resources(pids={"limit": 42}))
    by_systemd.runtime(*by_systemd.driver, "update", "--pids-limit", "55", container.id)
    assert container.value("pids.max") == "55"
    assert show(container.group.name, "TasksMax") == {"TasksMax": "55"}
