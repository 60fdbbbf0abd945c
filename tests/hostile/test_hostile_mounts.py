"""What is hidden stays hidden: mounts, links, hooks and races that would put something else where a mask should be."""
# ruff: noqa: B023, F401, F811
# Fixtures are imported from host.py, and lambdas are called at once.

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from host import host, keeper
from test_hostile_race import ROUNDS, swapping

# Without capabilities, but with uid 0, to whom procfs would give both. "held" at the end: all that precedes was tried.
LOOK = """
(: > /proc/sys/kernel/msgmni) 2> /dev/null && echo kernel parameters can be written
[ -s /proc/timer_list ] && echo timer_list can be read
[ -n "$(ls /sys/firmware)" ] && echo firmware can be read
echo held
"""


def powerless(config) -> None:
    config["process"]["capabilities"] = {}


def mounted(*entries, hooks=None, masked=None):
    """Return a change of the configuration: these mounts at the end, no capabilities, and those hooks."""

    def change(config) -> None:
        powerless(config)
        config["mounts"] += entries
        if hooks:
            config["hooks"] = hooks
        if masked is not None:
            config["linux"]["maskedPaths"] = masked

    return change


def proc(destination):
    return {"destination": destination, "type": "proc", "source": "proc"}


def bind(source, destination, kind="rbind"):
    return {"destination": destination, "source": str(source), "options": [kind]}


def linked(**links):
    """Return a change of the root filesystem: links in its root, name -> target."""

    def damage(rootfs) -> None:
        for name, target in links.items():
            (rootfs / name).symlink_to(target)

    return damage


def test_without_an_attack_it_holds(host):
    result = host.attack(None, powerless, LOOK)
    assert result.stdout == "held\n", result.stderr


COVERS = {
    "proc": {"type": "proc", "source": "proc"},
    "the host's proc": {"source": "/proc", "options": ["rbind"]},
    "sysfs": {"type": "sysfs", "source": "sysfs"},
    "tmpfs": {"type": "tmpfs", "source": "tmpfs"},
    "a directory": {"source": "/etc", "options": ["bind"]},
    "overlay": {"type": "overlay", "source": "overlay", "options": ["lowerdir=/etc:/usr"]},
}
WAYS = {
    "through the root": ({"way": "/"}, "/way/proc"),
    "through a relative link": ({"way": "etc/.."}, "/way/proc"),
    "through two links": ({"way": ".", "further": "/"}, "/way/further/proc"),
    "at a link to it": ({"way": "/proc"}, "/way"),
    "at a link that climbs": ({"way": "../../../proc"}, "/way"),
    "at a link to a part of it": ({"way": "/proc/sys"}, "/way"),
    "at a link to what is hidden": ({"way": "proc/irq"}, "/way"),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_link_leads_a_mount_over_proc_or_into_it(host, way, subtests):
    links, destination = WAYS[way]
    for kind, cover in COVERS.items():
        with subtests.test(kind=kind):
            result = host.attack(linked(**links), mounted({"destination": destination, **cover}), LOOK)
            assert result.returncode == 1 and result.stdout == ""
            assert "/mounts/7" in result.stderr and destination in result.stderr
            # procfs and sysfs are mounted on no link, wherever it leads.
            assert "leads to /proc" in result.stderr or "leads into /proc" in result.stderr or "ELOOP" in result.stderr


@pytest.mark.parametrize("way", ["/", "..", "etc/..", "./."])
def test_no_link_leads_a_mount_over_the_root(host, way, subtests):
    for kind, cover in COVERS.items():
        with subtests.test(kind=kind):
            result = host.attack(linked(way=way), mounted({"destination": "/way", **cover}), LOOK)
            assert result.returncode == 1 and result.stdout == ""
            assert "leads to the root of the container" in result.stderr or "ELOOP" in result.stderr


@pytest.mark.parametrize("way", ["/proc/self/root/proc", "/proc/self/cwd", "/proc/self/fd/3", "/proc/1/root"])
def test_no_magic_link_is_a_destination(host, way):
    result = host.attack(linked(way=way), mounted(proc("/way/x"), {"destination": "/way", **COVERS["tmpfs"]}), LOOK)
    assert result.returncode == 1 and "ELOOP" in result.stderr and result.stdout == ""


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "/"])
def test_a_directory_for_devices_that_leads_to_proc_is_refused(host, target):
    def damage(rootfs) -> None:
        shutil.rmtree(rootfs / "dev")
        (rootfs / "dev").symlink_to(target)

    result = host.attack(damage, powerless, LOOK)
    assert result.returncode == 1 and result.stdout == ""
    assert "cannot mount tmpfs at /dev: its destination leads" in result.stderr


def test_files_that_others_serve_may_be_mounted_through_a_link(host, tmp_path):
    (tmp_path / "uptime").write_text("1.00 1.00\n")
    change = mounted(bind(tmp_path / "uptime", "/way/uptime"), bind(tmp_path / "uptime", "/proc/loadavg", "bind"))
    result = host.attack(linked(way="/proc"), change, f"cat /proc/uptime /proc/loadavg; {LOOK}")
    assert result.stdout == "1.00 1.00\n" * 2 + "held\n", result.stderr


@pytest.mark.parametrize("source", ["/etc", "/proc/sys", "/proc/self", "/sys", "/proc/uptime"])
def test_only_the_root_of_a_procfs_is_bound_at_proc(host, source):
    def change(config) -> None:
        powerless(config)
        config["mounts"] = [
            bind(source, "/proc") if entry["destination"] == "/proc" else entry for entry in config["mounts"]
        ]

    result = host.attack(None, change, LOOK)
    assert result.returncode == 1 and result.stdout == ""
    assert "/mounts/0" in result.stderr and "is not the root of a procfs" in result.stderr


def test_masks_hold_in_the_hosts_procfs_bound_at_proc(host):
    def change(config) -> None:
        powerless(config)
        config["mounts"] = [
            bind("/proc", "/proc") if entry["destination"] == "/proc" else entry for entry in config["mounts"]
        ]

    assert host.attack(None, change, LOOK).stdout == "held\n"


@pytest.mark.parametrize("userns", [False, True], ids=["", "user namespace"])
@pytest.mark.parametrize("above", ["the bundle", "all", "through a link"])
def test_a_bind_mount_of_what_is_above_the_root_brings_no_procfs_without_masks(host, above, userns):
    bundle = host.outside.with_name("bundle1")
    sources = {"the bundle": bundle, "all": "/"}
    host.outside.with_name("link").symlink_to(bundle)
    source = sources.get(above, host.outside.with_name("link"))
    way = bundle / "rootfs" if above == "all" else "/rootfs"

    def change(config) -> None:
        mounted(bind(source, "/mnt"))(config)
        if userns:
            user_namespace(config)

    script = f"ls -d /mnt{way}/bin; ls /mnt{way}/proc; {LOOK}"
    assert host.attack(lambda rootfs: (rootfs / "mnt").mkdir(), change, script).stdout == f"/mnt{way}/bin\nheld\n"


@pytest.mark.parametrize("cover", ["sysfs", "a directory", "tmpfs"])
def test_masks_hold_in_what_covers_sysfs(host, cover):
    """As with runc, /sys is not treated like /proc: anything may be mounted over it, and is masked as well."""
    way = "/sys" if cover == "sysfs" else "/way/sys"
    result = host.attack(
        linked(way="/"), mounted({"destination": way, **COVERS[cover]}, masked=["/sys/firmware"]), LOOK
    )
    assert "firmware" not in result.stdout and "held" in result.stdout, result.stderr


@pytest.mark.parametrize("userns", [False, True], ids=["", "user namespace"])
@pytest.mark.parametrize("path", ["/proc/timer_list", "/hidden", "/dev/zero"])
def test_no_device_of_the_host_changes_in_a_container(host, userns, path):
    """The null device that hides a file, and the devices that a user namespace gets, are the host's own."""
    source = Path("/dev/zero" if path == "/dev/zero" else "/dev/null")
    before = source.stat()

    def change(config) -> None:
        config["linux"]["maskedPaths"] = ["/proc/timer_list", "/hidden"]
        config["process"]["capabilities"] = dict.fromkeys(
            ("bounding", "effective", "permitted"), ["CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID"]
        )
        if userns:
            config["linux"]["namespaces"].append({"type": "user"})
            for name in ("uidMappings", "gidMappings"):
                config["linux"][name] = [{"containerID": 0, "hostID": 0, "size": 65536}]

    script = f"chmod 000 {path}; chown 7:7 {path}; touch {path}; echo x > {path}; cat {path} | head -c 1; echo tried"
    try:
        result = host.attack(lambda rootfs: (rootfs / "hidden").write_text("hidden"), change, script)
        after = source.stat()
    finally:
        source.chmod(before.st_mode & 0o7777)
        os.chown(source, before.st_uid, before.st_gid)
    assert result.stdout.strip("\0") == "tried\n", result.stderr
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    if path != "/dev/zero" or userns:
        assert after.st_mtime_ns == before.st_mtime_ns


def test_a_path_to_mask_may_be_written_in_any_way(host):
    masked = ["//proc/./timer_list", "/sys/../sys//firmware/"]
    assert "can be read" not in host.attack(None, mounted(masked=masked), LOOK).stdout


def test_a_path_may_be_masked_twice_and_with_what_is_around_it(host):
    masked = ["/proc/timer_list", "/way/timer_list", "/proc/timer_list", "/sys", "/sys/firmware", "/sys"]
    result = host.attack(linked(way="proc"), mounted(masked=masked), LOOK)
    assert "can be read" not in result.stdout and "held" in result.stdout, result.stderr


def test_the_root_itself_is_not_masked(host):
    result = host.attack(linked(way="/"), mounted(masked=["/way"]), LOOK)
    assert result.returncode == 1 and "leads to the root of the container" in result.stderr
    assert "/linux/maskedPaths/0" in result.stderr


# ---- hooks ----


def hook(kind, host, script, bundle="bundle1"):
    """Return hooks: `script` in the container's mount namespace, with $ROOT for its root filesystem."""
    parts = [f"export ROOT={host.outside.parent / bundle}/rootfs", script]
    if kind != "createContainer":
        file = host.outside.with_name("hook")
        file.write_text("\n".join(parts))
        pid = "$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')"
        parts = [f"exec nsenter --mount=/proc/{pid}/ns/mnt sh -e {file}"]
    words = ["sh", "-ec", "\n".join(parts)]
    return {kind: [{"path": "/bin/sh", "args": words, "env": [f"PATH={os.environ['PATH']}"]}]}


HOOKS = {
    "a new procfs": "mount -t proc proc $ROOT/proc",
    "a bare procfs moved there": "mkdir $ROOT/p; mount -t proc proc $ROOT/p; mount --move $ROOT/p $ROOT/proc",
    "the host's procfs": "mount --rbind /proc $ROOT/proc",
    "a part of it": "mount --bind /proc/sys $ROOT/proc",
    "no procfs any more": "umount -l $ROOT/proc",
    "another procfs instead": "umount -l $ROOT/proc; mount -t proc proc $ROOT/proc",
    "another root": "mount --rbind $ROOT $ROOT",
}


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_covers_proc_is_named(host, kind, subtests):
    for number, (name, script) in enumerate(HOOKS.items(), 1):
        with subtests.test(name=name):
            result = host.attack(None, mounted(hooks=hook(kind, host, script, f"bundle{number}")), LOOK)
            assert result.returncode == 1 and result.stdout == "", result.stdout + result.stderr
            assert "hook has covered" in result.stderr, result.stderr
            assert "/linux/" in result.stderr


HARMLESS = {
    "over what is masked": "mount --bind /proc/uptime $ROOT/proc/timer_list",
    "over what is read-only": "mount --bind /proc/sys $ROOT/proc/sys",
    "below what is read-only": "mount --bind /proc/sys/kernel $ROOT/proc/sys/kernel",
    "over sysfs": "mount -t sysfs sysfs $ROOT/sys/kernel",
    "a file that is served": "mount --bind /proc/uptime $ROOT/proc/loadavg",
}


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_what_a_hook_mounts_is_masked_like_the_rest(host, kind, subtests):
    for number, (name, script) in enumerate(HARMLESS.items(), 1):
        with subtests.test(name=name):
            result = host.attack(None, mounted(hooks=hook(kind, host, script, f"bundle{number}")), LOOK)
            assert result.stdout == "held\n", result.stdout + result.stderr


# ---- races ----


@pytest.mark.parametrize("decoy", ["a directory", "a link to one", "a link to another procfs"])
def test_no_decoy_takes_the_place_of_proc_while_it_is_masked(host, swapping, decoy):
    """Whoever shares the root filesystem renames the directory that procfs is mounted on, and back."""

    def configure(config) -> None:
        config["root"]["readonly"] = False
        # /proc/version stands for any file that is to be hidden; the decoy does not have it.
        config["linux"]["maskedPaths"] = ["/proc/version", "/proc/./version"]
        config["process"]["args"] = ["sh", "-c", "cat /proc/version /decoy/version 2> /dev/null; true"]
        config["mounts"].append(proc("/other/proc"))

    bundle = host.bundle(configure, own=True)
    decoys = {"a link to one": "/tmp", "a link to another procfs": "/other/proc"}
    if decoy == "a directory":
        (bundle / "rootfs/decoy").mkdir()
    else:
        (bundle / "rootfs/decoy").symlink_to(decoys[decoy])
    (bundle / "rootfs/other/proc").mkdir(parents=True)
    swapping(bundle / "rootfs/proc", bundle / "rootfs/decoy")
    shown = [host.runtime("run", "-b", bundle, host.runtime.id(), check=False) for _ in range(3 * ROUNDS)]
    if decoy == "a link to another procfs":  # which is not masked, for /mounts asks for it
        assert {done.returncode for done in shown} <= {0, 1}
    else:
        assert "Linux" not in "".join(done.stdout for done in shown)


def test_no_link_turns_into_a_way_to_proc_while_something_is_mounted(host, swapping):
    def configure(config) -> None:
        powerless(config)
        config["root"]["readonly"] = False
        config["process"]["args"] = ["sh", "-c", LOOK]
        config["mounts"] += [proc("/way/proc"), {"destination": "/way/proc", "type": "tmpfs", "source": "tmpfs"}]

    bundle = host.bundle(configure, own=True)
    (bundle / "rootfs/way/proc").mkdir(parents=True)
    (bundle / "rootfs/link").symlink_to("/")
    swapping(bundle / "rootfs/way", bundle / "rootfs/link")
    for _ in range(3 * ROUNDS):
        done = host.runtime("run", "-b", bundle, host.runtime.id(), check=False)
        assert done.stdout in ("", "held\n")


# ---- --no-pivot ----

# In a user namespace of its own a process may mount a procfs if the kernel finds one in the mount namespace that hides
# no more (mount_too_revealing); sysfs the same, with a network namespace.
BARE = """
unshare -mrpf sh -ec 'mount -t proc none /proc; echo bare procfs' 2> /dev/null
unshare -mrn sh -ec 'mount -t sysfs none /sys; echo bare sysfs' 2> /dev/null
echo held
"""


def may_map(config) -> None:
    for name in ("bounding", "permitted"):
        config["process"]["capabilities"][name] += ["CAP_SETFCAP", "CAP_SYS_ADMIN"]


def user_namespace(config) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": 0, "size": 65536}]


def test_a_user_namespace_mounts_a_bare_procfs_where_nothing_is_hidden(host):
    """So that the tests below can fail."""

    def change(config) -> None:
        may_map(config)
        config["linux"].update(maskedPaths=[], readonlyPaths=[])

    assert host.attack(None, change, BARE).stdout.startswith("bare procfs\n")


@pytest.mark.parametrize("words", [[], ["--no-pivot"]], ids=["", "no pivot"])
@pytest.mark.parametrize(
    "kind",
    [
        *("", "createRuntime", "createContainer", "a user namespace", "a tmpfs", "a bind mount"),
        *("a hidden procfs", "a hidden procfs and a user namespace"),
    ],
)
def test_no_user_namespace_mounts_a_bare_procfs(host, kind, words):
    def change(config) -> None:
        may_map(config)
        config["process"]["args"] = ["sh", "-c", BARE]
        config["root"]["readonly"] = False
        if kind.startswith("create"):
            config["hooks"] = hook(
                kind, host, "mount -t tmpfs tmpfs $ROOT/tmp; mount --rbind / /mnt; echo > $ROOT/tmp/hook"
            )
            config["process"]["args"][2] += "test -e /tmp/hook && echo hook"
        if kind.endswith("a user namespace"):
            user_namespace(config)

    bundle = host.bundle(change, own=True)
    inside = ["nsenter", f"--mount=/proc/{host.keeper}/ns/mnt"]
    rootfs = bundle / "rootfs"
    if kind == "a tmpfs":
        rootfs.rename(bundle / "source")
        rootfs.mkdir()
        subprocess.run([*inside, "mount", "-t", "tmpfs", "rootfs", rootfs], check=True)
        subprocess.run([*inside, "cp", "-a", f"{bundle}/source/.", rootfs], check=True)
    elif kind == "a bind mount":
        subprocess.run([*inside, "mount", "--bind", rootfs, rootfs], check=True)
    elif kind.startswith("a hidden procfs"):
        (bundle / "above/proc").mkdir(parents=True)
        subprocess.run([*inside, "mount", "-t", "proc", "hidden", bundle / "above/proc"], check=True)
        subprocess.run([*inside, "mount", "-t", "tmpfs", "above", bundle / "above"], check=True)
    done = host.runtime("run", *words, "-b", bundle, host.runtime.id(), check=False)
    assert done.stdout == ("held\nhook\n" if kind.startswith("create") else "held\n"), done.stderr
    if kind in ("a tmpfs", "a bind mount"):
        subprocess.run([*inside, "umount", rootfs], check=True)
    elif kind.startswith("a hidden procfs"):
        for place in "above", "above/proc":
            subprocess.run([*inside, "umount", bundle / place], check=True)


# ---- control groups: CVE-2023-25809 ----


@pytest.mark.parametrize("where", ["", "a user namespace"])
@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_control_groups_that_are_to_be_read_only_are(host, kind, where):
    def change(config) -> None:
        if where:
            user_namespace(config)
        linux = config["linux"]
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "cgroup"]
        config["mounts"] = [entry for entry in config["mounts"] if entry["destination"] != "/sys/fs/cgroup"]
        options = ["ro", "nosuid", "noexec", "nodev"]
        config["mounts"].append({"destination": "/sys/fs/cgroup", "type": kind, "source": kind, "options": options})

    script = """
    cd /sys/fs/cgroup; find . -maxdepth 2 -type d | while read d; do mkdir $d/made 2> /dev/null && echo $d; done
    echo held
    """
    assert host.attack(None, change, script).stdout == "held\n"
