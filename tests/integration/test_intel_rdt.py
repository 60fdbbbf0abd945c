"""The resctrl file system, with a directory in its place: groups made, compared, entered, removed.

Where the verbs themselves are run, a cgroup hierarchy stands in for it: there, too, a new directory has a file `tasks`.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pyruntime.base.errors import Error
from pyruntime.base.undo import Undo
from pyruntime.engine import intel_rdt
from pyruntime.plan import intel_rdt as plan

L3, MB = "L3:0=7f0;1=1f", "MB:0=20;1=70"


class Resctrl:
    """Makes and removes groups as the kernel does: with their files, whatever is in them."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.writes = []
        self.rmdir, self.mkdir = os.rmdir, os.mkdir
        self.mkdir(root)
        self.fill(root)
        for module in (os, intel_rdt.os):
            monkeypatch.setattr(module, "mkdir", self.make)
            monkeypatch.setattr(module, "rmdir", self.remove)
        write = intel_rdt._write
        monkeypatch.setattr(
            intel_rdt, "_write", lambda path, text: (self.writes.append((path, text)), write(path, text))
        )

    def fill(self, path):
        self.mkdir(f"{path}/mon_groups")
        for name in ("schemata", "tasks"):
            with open(f"{path}/{name}", "w"):
                pass

    def make(self, path, mode=0o777):
        self.mkdir(path, mode)
        self.fill(path)

    def remove(self, path):
        for name in ("schemata", "tasks"):
            os.unlink(f"{path}/{name}")
        for name in os.listdir(f"{path}/mon_groups"):
            self.remove(f"{path}/mon_groups/{name}")
        self.rmdir(f"{path}/mon_groups")
        self.rmdir(path)

    def groups(self):
        return sorted(
            os.path.relpath(path, self.root)
            for path, names, _ in os.walk(self.root)
            if "mon_groups" in names and path != str(self.root)
        )

    def steps(self, **asked):
        return list(plan.intel_rdt({"linux": {"intelRdt": asked}}, "c1"))

    def create(self, pid=1, fail=False, **asked):
        """Do what create does; return the record for delete."""
        groups = intel_rdt.IntelRdt(self.steps(**asked), str(self.root))
        with Undo() as undo:
            groups.make(undo)
            groups.add(pid)
            if fail:
                raise Error("something later")
            undo.keep()
        return groups.record

    def schemata(self):
        return [(os.path.relpath(path, self.root), text) for path, text in self.writes if path.endswith("schemata")]


@pytest.fixture
def resctrl(tmp_path, monkeypatch):
    return Resctrl(tmp_path / "resctrl", monkeypatch)


def mountinfo(tmp_path, *lines):
    path = tmp_path / "mountinfo"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_the_mount_is_found_where_it_is(tmp_path):
    other = "25 1 0:22 / /proc rw - proc proc rw"
    odd = r"26 1 0:23 / /mnt/a\040b rw shared:7 - resctrl resctrl rw"
    usual = "27 1 0:23 / /sys/fs/resctrl rw - resctrl resctrl rw"
    assert intel_rdt.find_mount(mountinfo(tmp_path, other, odd)) == "/mnt/a b"
    assert intel_rdt.find_mount(mountinfo(tmp_path, other, odd, usual)) == "/sys/fs/resctrl"


@pytest.mark.clause("config-linux.md#intelrdt/no-resctrl")
def test_without_a_mount_it_is_an_error_that_says_so(tmp_path):
    with pytest.raises(Error, match="Intel RDT") as raised:
        intel_rdt.find_mount(mountinfo(tmp_path, "25 1 0:22 / /resctrl rw - tmpfs resctrl rw"))
    assert raised.value.clause == "config-linux.md#intelrdt"


@pytest.mark.clause(
    "config-linux.md#intelrdt/task-written",
    "config-linux.md#intelrdt/own-class",
    "config-linux.md#intelrdt/own-class-removed",
)
def test_a_container_without_class_gets_its_own_and_takes_it_away(resctrl):
    record = resctrl.create(pid=77, l3CacheSchema=L3)
    assert resctrl.groups() == ["c1"]
    assert (resctrl.root / "c1/tasks").read_text() == "77"
    intel_rdt.remove(record)
    assert resctrl.groups() == []


def test_a_group_of_that_name_which_is_there_is_somebody_elses(resctrl):
    os.mkdir(f"{resctrl.root}/c1")
    with pytest.raises(Error, match="c1"):
        resctrl.create()
    assert resctrl.groups() == ["c1"]


@pytest.mark.clause("config-linux.md#intelrdt/class-made", "config-linux.md#intelrdt/foreign-class-kept")
def test_a_class_that_is_missing_is_made_and_stays_after_delete(resctrl):
    record = resctrl.create(closID="gold", l3CacheSchema=L3)
    intel_rdt.remove(record)
    assert resctrl.groups() == ["gold"]


@pytest.mark.clause("config-linux.md#intelrdt/both-schemas", "config-linux.md#intelrdt/schemata-last")
def test_all_schemata_go_into_one_write_in_order(resctrl):
    resctrl.create(closID="gold", schemata=["L2:0=f"], memBwSchema=MB, l3CacheSchema=L3)
    assert resctrl.schemata() == [("gold/schemata", f"{L3}\n{MB}\nL2:0=f\n")]


@pytest.mark.clause("config-linux.md#intelrdt/no-schemata", "config-linux.md#intelrdt/class-must-exist")
def test_without_schemata_no_schemata_file_is_touched(resctrl):
    os.mkdir(f"{resctrl.root}/gold")
    resctrl.create(pid=6, closID="gold")
    assert (resctrl.root / "gold/tasks").read_text() == "6"
    resctrl.create(closID="/")
    assert resctrl.schemata() == []


@pytest.mark.clause("config-linux.md#intelrdt/class-must-exist")
def test_a_class_without_schemata_that_does_not_exist_is_an_error(resctrl):
    with pytest.raises(Error, match="no class of service gold"):
        resctrl.create(closID="gold")
    assert resctrl.groups() == []


@pytest.mark.clause("config-linux.md#intelrdt/default-class", "config-linux.md#intelrdt/foreign-class-kept")
def test_the_default_class_is_the_root(resctrl):
    record = resctrl.create(pid=5, closID="/")
    assert (resctrl.root / "tasks").read_text() == "5"
    intel_rdt.remove(record)
    assert (resctrl.root / "tasks").exists()


@pytest.mark.clause("config-linux.md#intelrdt/task-written")
def test_a_class_that_agrees_is_used(resctrl):
    os.mkdir(f"{resctrl.root}/gold")
    (resctrl.root / "gold/schemata").write_text("    MB:0=100;1=100\n    L3:0=07f0;1=1f\n")
    resctrl.create(pid=9, closID="gold", l3CacheSchema=L3)
    assert (resctrl.root / "gold/tasks").read_text() == "9"


@pytest.mark.clause("config-linux.md#intelrdt/class-compared")
def test_a_class_that_does_not_agree_is_an_error_and_stays_as_it_is(resctrl):
    os.mkdir(f"{resctrl.root}/gold")
    (resctrl.root / "gold/schemata").write_text("L3:0=1;1=1f\n")
    with pytest.raises(Error, match="gold") as raised:
        resctrl.create(closID="gold", l3CacheSchema=L3)
    assert "L3:0=1" in raised.value.reason
    assert (resctrl.root / "gold/schemata").read_text() == "L3:0=1;1=1f\n"
    assert resctrl.groups() == ["gold"]


@pytest.mark.parametrize(("asked", "left"), [({}, []), ({"closID": "gold", "schemata": [L3]}, ["gold"])])
@pytest.mark.clause("config-linux.md#intelrdt/monitoring-group", "config-linux.md#intelrdt/monitoring-group-removed")
def test_the_monitoring_group_goes_with_the_container(resctrl, asked, left):
    record = resctrl.create(pid=8, enableMonitoring=True, **asked)
    group = asked.get("closID", "c1")
    assert resctrl.groups() == [group, f"{group}/mon_groups/c1"]
    assert (resctrl.root / group / "mon_groups/c1/tasks").read_text() == "8"
    intel_rdt.remove(record)
    assert resctrl.groups() == left


@pytest.mark.clause("config-linux.md#intelrdt/monitoring-group-fails")
def test_a_monitoring_group_that_cannot_be_made_is_an_error(resctrl):
    os.mkdir(f"{resctrl.root}/gold")
    resctrl.rmdir(f"{resctrl.root}/gold/mon_groups")
    with pytest.raises(Error, match="gold/mon_groups/c1"):
        resctrl.create(closID="gold", enableMonitoring=True)


def test_what_was_made_for_a_container_that_fails_is_removed(resctrl, monkeypatch):
    monkeypatch.setattr(intel_rdt.IntelRdt, "add", lambda *_: None)
    with pytest.raises(Error, match="later"):
        resctrl.create(fail=True, enableMonitoring=True, schemata=[L3])
    with pytest.raises(Error, match="later"):
        resctrl.create(fail=True, closID="gold", schemata=[L3])
    assert resctrl.groups() == []


def test_a_class_that_another_container_has_entered_meanwhile_is_left(resctrl):
    with pytest.raises(Error, match="later"):
        resctrl.create(pid=4, fail=True, closID="gold", schemata=[L3])
    assert resctrl.groups() == ["gold"]


def test_what_is_gone_already_is_no_error_at_delete(resctrl):
    record = resctrl.create(enableMonitoring=True)
    os.rmdir(f"{resctrl.root}/c1")
    intel_rdt.remove(record)


def test_a_refusal_comes_with_the_kernels_own_words(resctrl):
    resctrl.mkdir(f"{resctrl.root}/info")
    (resctrl.root / "info/last_cmd_status").write_text("mask out of range\n")
    os.unlink(f"{resctrl.root}/schemata")
    with pytest.raises(Error) as raised:
        resctrl.create(closID="/", schemata=[L3])
    assert raised.value.reason == "mask out of range"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.clause("config-linux.md#intelrdt/no-resctrl")
def test_a_host_without_resctrl_refuses_the_container(runtime, bundle):
    if " - resctrl " in Path("/proc/self/mountinfo").read_text():
        pytest.skip("this host has resctrl")
    name = runtime.id()
    done = runtime("create", "-b", bundle(lambda config: config["linux"].update(intelRdt={})), name, check=False)
    assert done.returncode == 1
    assert "no resctrl file system is mounted" in done.stderr
    assert "/linux/intelRdt" in done.stderr
    assert not (runtime.root / name).exists()


# ---- The verbs ----

SYSTEMD = Path("/sys/fs/cgroup/systemd")
# Runs a command that takes the directory $1 for where resctrl is mounted: what it reads as its own mountinfo says so.
# The hierarchy in its place is not mounted for the command, so that it puts nothing else into it.
PRETENDING = """
grep -v /cgroup/systemd /proc/self/mountinfo > "$2"
echo "1 1 0:1 / $1 rw - resctrl resctrl rw" >> "$2"
mount --bind "$2" /proc/$$/mountinfo
shift 2
exec "$@"
"""


@pytest.fixture
def pretended(runtime, bundle, tmp_path):
    """pretended(place, **intelRdt): create a container on a host where resctrl is mounted at `place`; return its id.

    With check=False it must fail, and what is said is returned.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root")
    said = tmp_path / "mountinfo"

    def create(place, check=True, name=None, **asked):
        def change(config):
            config["process"]["args"] = ["sleep", "1000"]
            config["linux"]["intelRdt"] = asked

        name = name or runtime.id()
        words = runtime.command("create", "-b", bundle(change), name)
        command = ["unshare", "--mount", "sh", "-ec", PRETENDING, "sh", place, said, *words]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=tmp_path.joinpath("said").open("w+"),
            check=False,
            timeout=60,
        )
        text = tmp_path.joinpath("said").read_text()
        assert (done.returncode == 0) == check, text
        return name if check else text

    return create


def pid_of(runtime, name):
    return json.loads(runtime("state", name).stdout)["pid"]


@pytest.fixture
def hierarchy(session):
    """A directory of cgroup v1 in the place of resctrl."""
    if not SYSTEMD.is_dir():
        pytest.skip("needs the hierarchy name=systemd of cgroup v1")
    place = SYSTEMD / f"{session}-resctrl"
    place.mkdir()
    yield place
    for path, _, _ in os.walk(place, topdown=False):
        os.rmdir(path)


@pytest.mark.clause("config-linux.md#intelrdt/own-class", "config-linux.md#intelrdt/own-class-removed")
def test_a_container_is_in_a_class_of_its_own_until_it_is_deleted(runtime, pretended, hierarchy):
    name = pretended(hierarchy)
    assert (hierarchy / name / "tasks").read_text().split() == [str(pid_of(runtime, name))]
    runtime("delete", "--force", name)
    assert not (hierarchy / name).exists()


@pytest.mark.clause("config-linux.md#intelrdt/own-class")
def test_a_container_does_not_take_a_class_that_is_there_for_its_own(runtime, pretended, hierarchy):
    name = runtime.id()
    (hierarchy / name).mkdir()
    assert "/linux/intelRdt" in pretended(hierarchy, check=False, name=name)
    assert (hierarchy / name).exists()


@pytest.mark.clause("config-linux.md#intelrdt/class-must-exist")
def test_a_container_whose_class_is_missing_is_refused(pretended, hierarchy):
    assert "/linux/intelRdt/closID" in pretended(hierarchy, check=False, closID="silver")
    assert not (hierarchy / "silver").exists()


@pytest.mark.clause("config-linux.md#intelrdt/task-written", "config-linux.md#intelrdt/foreign-class-kept")
def test_a_container_is_in_the_class_that_is_named(runtime, pretended, hierarchy):
    (hierarchy / "gold").mkdir()
    name = pretended(hierarchy, closID="gold")
    assert (hierarchy / "gold/tasks").read_text().split() == [str(pid_of(runtime, name))]
    runtime("delete", "--force", name)
    assert (hierarchy / "gold").exists()


@pytest.mark.clause("config-linux.md#intelrdt/monitoring-group", "config-linux.md#intelrdt/monitoring-group-removed")
def test_a_container_is_in_a_monitoring_group_of_its_own(runtime, pretended, hierarchy):
    (hierarchy / "mon_groups").mkdir()
    name = pretended(hierarchy, closID="/", enableMonitoring=True)
    assert (hierarchy / "mon_groups" / name / "tasks").read_text().split() == [str(pid_of(runtime, name))]
    runtime("delete", "--force", name)
    assert not (hierarchy / "mon_groups" / name).exists()


@pytest.fixture
def gold(tmp_path):
    """A class with schemata, in a directory."""
    place = tmp_path / "resctrl/gold"
    place.mkdir(parents=True)
    (place / "tasks").touch()
    (place / "schemata").write_text(f"{MB}\n{L3}\n")
    return place


@pytest.mark.clause("config-linux.md#intelrdt/both-schemas")
def test_the_schemata_of_a_container_are_written(runtime, pretended, gold):
    name = pretended(gold.parent, closID="gold", l3CacheSchema=L3, memBwSchema=MB)
    assert (gold / "schemata").read_text() == f"{L3}\n{MB}\n"
    assert (gold / "tasks").read_text() == str(pid_of(runtime, name))


@pytest.mark.clause("config-linux.md#intelrdt/class-compared")
def test_a_container_does_not_change_a_class_that_is_another(pretended, gold):
    said = pretended(gold.parent, check=False, closID="gold", l3CacheSchema="L3:0=1")
    assert "/linux/intelRdt" in said
    assert "does not agree" in said
    assert (gold / "schemata").read_text() == f"{MB}\n{L3}\n"
