"""`doctor` on hosts that are invented: what is missing has its consequence and remedy, and only faults count."""

import errno
import json

import pytest

from pyruntime.base.errors import Error
from pyruntime.cli.error_text import for_people
from pyruntime.cli.main import main
from pyruntime.host import cgroups
from pyruntime.operations import doctor
from pyruntime.operations.doctor import FAULT, LACKS, OK, examine

FILES = {
    "/proc/sys/kernel/osrelease": "6.1.0-2-amd64\n",
    "/proc/sys/user/max_user_namespaces": "1000\n",
    "/proc/sys/kernel/seccomp/actions_avail": "errno user_notif allow\n",
    "/sys/kernel/security/lsm": "capability,apparmor",
    "/sys/module/apparmor/parameters/enabled": "Y\n",
    "/proc/filesystems": "nodev\toverlay\n\text4\n",
    "/etc/subuid": "me:100000:65536\n",
    "/etc/subgid": "me:100000:65536\n",
}
PLACES = {"/run/systemd/system", "/run/systemd/private", "/run/user/7/bus"}
PLACES |= {f"/proc/self/ns/{name}" for name in ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")}


class Host(doctor.Host):
    def __init__(self, euid=0, files=FILES, places=PLACES, programs=("newuidmap", "newgidmap", "criu"), closed=()):
        self.euid, self.user = euid, "me"
        self.environment = {"XDG_RUNTIME_DIR": f"/run/user/{euid}"} if euid else {}
        self.files, self.places, self.programs, self.closed = files, places, programs, closed
        self.errors = {}

    def read(self, path):
        return self.files.get(path)

    def exists(self, path):
        return path in self.places

    def is_writable(self, path):
        return path not in self.closed

    def find(self, program):
        return f"/usr/bin/{program}" if program in self.programs else ""

    def call(self, number, arguments):
        return self.errors.get(number, errno.EINVAL)


@pytest.fixture(autouse=True)
def hierarchy(monkeypatch):
    """A host with cgroup v2 alone."""
    controllers = frozenset(("cpu", "cpuset", "io", "memory", "pids"))
    seen = cgroups.CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/me"}, controllers)
    monkeypatch.setattr(cgroups, "detect", lambda: seen)
    return seen


def found(host):
    """Return subject -> finding of all that is not well."""
    return {finding.subject: finding for finding in examine(host) if finding.status != OK}


@pytest.mark.parametrize("euid", [0, 7])
def test_a_host_that_has_everything_lacks_nothing(euid):
    assert found(Host(euid)) == {}


@pytest.mark.parametrize(
    ("path", "text", "euid", "subject", "status"),
    [
        ("/proc/sys/kernel/osrelease", "5.4.0", 0, "kernel", FAULT),
        ("/proc/sys/user/max_user_namespaces", "0", 0, "user namespaces", LACKS),
        ("/proc/sys/user/max_user_namespaces", "0", 7, "user namespaces", FAULT),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", 7, "user namespaces", FAULT),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", 7, "user namespaces", FAULT),
        ("/sys/module/apparmor/parameters/enabled", "N", 0, "security modules", LACKS),
        ("/proc/sys/kernel/seccomp/actions_avail", "errno allow", 0, "seccomp", LACKS),
        ("/proc/sys/kernel/seccomp/actions_avail", "", 0, "seccomp", LACKS),
        ("/proc/filesystems", "ext4", 0, "seal of the program", LACKS),
        ("/etc/subuid", "other:1:2", 7, "subordinate ids", LACKS),
    ],
)
def test_what_a_file_tells_is_found(path, text, euid, subject, status):
    missing = found(Host(euid, {**FILES, path: text}))
    assert list(missing) == [subject]
    assert missing[subject].status == status
    assert missing[subject].consequence


def test_what_forbids_an_ordinary_user_does_not_concern_root():
    forbidding = {"/proc/sys/kernel/unprivileged_userns_clone": "0", "/etc/subuid": ""}
    assert found(Host(0, {**FILES, **forbidding})) == {}


@pytest.mark.parametrize(
    ("number", "error", "subject", "status"),
    [
        (435, errno.ENOSYS, "system call clone3", FAULT),
        (435, errno.EPERM, "system call clone3", FAULT),
        (442, errno.ENOSYS, "system call mount_setattr", LACKS),
    ],
)
def test_a_system_call_that_is_missing_or_forbidden_is_named(number, error, subject, status):
    host = Host()
    host.errors[number] = error
    missing = found(host)
    assert list(missing) == [subject]
    assert missing[subject].status == status
    assert "filter" in missing[subject].remedy


def test_a_program_that_is_missing_is_named():
    assert list(found(Host(programs=("newuidmap", "newgidmap")))) == ["CRIU"]
    assert list(found(Host(7, programs=("criu", "newuidmap")))) == ["subordinate ids"]


def test_a_namespace_that_the_kernel_lacks_is_named():
    assert list(found(Host(places=PLACES - {"/proc/self/ns/time"}))) == ["time namespaces"]


def test_a_cgroup_that_is_not_delegated_is_named():
    missing = found(Host(7, closed=("/sys/fs/cgroup/me",)))
    assert list(missing) == ["cgroup delegation"]
    assert "Delegate=yes" in missing["cgroup delegation"].remedy


def test_a_state_directory_that_is_closed_is_a_fault():
    assert found(Host(closed=("/run",)))["state directory"].status == FAULT
    assert found(Host(7, closed=("/run/user/7",)))["state directory"].status == FAULT


def test_the_status_tells_whether_containers_can_run(monkeypatch, capfd):
    for host, status in ((Host(programs=()), 0), (Host(closed=("/run",)), 1)):
        monkeypatch.setattr(doctor, "Host", lambda host=host: host)
        assert main(["doctor"]) == status
        table = capfd.readouterr().out
        assert main(["doctor", "--json"]) == status
        said = json.loads(capfd.readouterr().out)
        assert said == [finding.members() for finding in examine(host)]
        for one in said:
            assert one["subject"] in table and one["remedy"] in table


def test_an_error_about_the_host_leads_to_the_doctor():
    assert "pyruntime doctor" in for_people(Error("cannot mount", "it needs Linux 5.12"), "create")
    assert "pyruntime doctor" in for_people(Error("cannot mount", errno=errno.ENOSYS), "create")
    assert "pyruntime doctor" not in for_people(Error("cannot mount", errno=errno.EPERM), "create")
