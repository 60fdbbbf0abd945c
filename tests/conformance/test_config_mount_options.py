"""Each mount option: its effect, and what the kernel shows of it (config.md#linux-mount-options)."""

import os
import subprocess

import pytest
from containers import mounts, until

from changes import bind, capable, linux, mapped, mount, process, writable
from clauses import CLAUSES

pytestmark = pytest.mark.clause("config.md#linux-mount-options")

# Option -> the word of mountinfo that appears with it.
ATTRIBUTES = {
    "ro": "ro",
    "nosuid": "nosuid",
    "nodev": "nodev",
    "noexec": "noexec",
    "noatime": "noatime",
    "nodiratime": "nodiratime",
    "relatime": "relatime",
    "nosymfollow": "nosymfollow",
}
# Option -> the word that disappears with it, when it comes later.
OPPOSITES = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "atime": "noatime",
    "diratime": "nodiratime",
    "strictatime": "relatime",
    "symfollow": "nosymfollow",
}
RECURSIVE = {f"r{option}": word for option, word in ATTRIBUTES.items()}
RECURSIVE_OPPOSITES = {f"r{option}": word for option, word in OPPOSITES.items()}


def each(options):
    """Parametrize a test by option, with the clause of each; the table of the spec leaves out rnodev."""
    clauses = {option: f"config.md#linux-mount-options/option-{option}" for option in options}
    marks = {option: [pytest.mark.clause(clause)] if clause in CLAUSES else [] for option, clause in clauses.items()}
    return pytest.mark.parametrize("option", [pytest.param(option, marks=marks[option]) for option in options])


@pytest.fixture
def tree(tmp_path):
    """A directory of the host with a mount on it and another mount below."""
    path = tmp_path / "tree"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "upper", path], check=True)
    (path / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "lower", path / "sub"], check=True)
    yield path
    subprocess.run(["umount", "-R", path], check=True)


def remake(path, options):
    """Give a mount of the host and what is below it other options."""
    subprocess.run(["mount", "-o", f"remount,bind,{options}", path], check=True)
    subprocess.run(["mount", "-o", f"remount,bind,{options}", path / "sub"], check=True)


def options_of(text):
    """Return the words of the last mount at each path of a mountinfo text."""
    return {one.path: one.options for one in mounts(text)}


@each(ATTRIBUTES)
def test_attributes_of_a_new_filesystem(mounted, option):
    assert ATTRIBUTES[option] in mounted("/home", mount("/home", "tmpfs", "tmpfs", option)).options


@each(ATTRIBUTES)
def test_attributes_of_a_new_filesystem_with_an_option_that_only_mount_2_takes(mounted, option):
    found = mounted("/home", mount("/home", "tmpfs", "tmpfs", "silent", option))
    assert ATTRIBUTES[option] in found.options


@each(RECURSIVE)
def test_recursive_attributes_of_a_new_filesystem(mounted, option):
    assert RECURSIVE[option] in mounted("/home", mount("/home", "tmpfs", "tmpfs", option)).options


@each(RECURSIVE_OPPOSITES)
def test_a_recursive_opposite_takes_an_attribute_back(mounted, option):
    word = RECURSIVE_OPPOSITES[option]
    assert word not in mounted("/home", mount("/home", "tmpfs", "tmpfs", word, option)).options


@pytest.mark.parametrize("option", ["shared", "rshared", "unbindable", "runbindable"])
def test_propagation_of_a_new_filesystem(mounted, option):
    assert option.removeprefix("r") in mounted("/home", mount("/home", "tmpfs", "tmpfs", option)).propagation


@each(OPPOSITES)
def test_an_attribute_that_is_taken_back_is_not_set(mounted, option):
    word = OPPOSITES[option]
    assert word in mounted("/home", mount("/home", "tmpfs", "tmpfs", word)).options
    assert word not in mounted("/home", mount("/home", "tmpfs", "tmpfs", word, option)).options


@each(ATTRIBUTES)
def test_attributes_of_a_bind_mount_hold_for_it_alone(inside, tree, option):
    remake(tree, "strictatime")
    found = options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", option, kind="rbind")))
    assert ATTRIBUTES[option] in found["/home"]
    assert ATTRIBUTES[option] not in found["/home/sub"]


@each(RECURSIVE)
def test_recursive_attributes_hold_for_the_mounts_below(inside, tree, option):
    remake(tree, "strictatime")
    found = options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", option, kind="rbind")))
    assert RECURSIVE[option] in found["/home"]
    assert RECURSIVE[option] in found["/home/sub"]


@each(RECURSIVE_OPPOSITES)
def test_recursive_opposites_clear_the_mounts_below(inside, tree, option):
    word = RECURSIVE_OPPOSITES[option]
    remake(tree, word)
    found = options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", option, kind="rbind")))
    assert word not in found["/home"]
    assert word not in found["/home/sub"]


@pytest.mark.parametrize(
    ("options", "word"), [(("rw", "rro"), "ro"), (("rro", "rw"), "ro"), (("ro", "rrw"), "rw"), (("rrw", "ro"), "rw")]
)
def test_what_is_asked_for_recursively_holds_for_the_mount_itself(inside, tree, options, word):
    found = options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", *options, kind="rbind")))
    assert word in found["/home"]
    assert word in found["/home/sub"]


@each(OPPOSITES)
def test_opposites_clear_a_bind_mount_alone(inside, tree, option):
    word = OPPOSITES[option]
    remake(tree, word)
    found = options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", option, kind="rbind")))
    assert word not in found["/home"]
    assert word in found["/home/sub"]


def test_a_bind_mount_keeps_the_times_of_its_source(inside, tree):
    remake(tree, "noatime")
    found = options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", "ro")))
    assert {"ro", "noatime"} <= found["/home"]


def test_options_do_not_change_the_source(inside, tree):
    inside("true", bind(tree, "/home", "rro", "rnoexec", "rslave", kind="rbind"))
    found = options_of(open("/proc/self/mountinfo").read())
    assert "rw" in found[str(tree)]
    assert "noexec" not in found[f"{tree}/sub"]


# ---- What they do ----


def test_ro_refuses_writing_here_and_not_below(inside, tree):
    script = "touch /home/x 2>&1 || true; touch /home/sub/x && echo written"
    found = inside(script, bind(tree, "/home", "ro", kind="rbind"))
    assert "Read-only file system" in found
    assert "written" in found


def test_rro_refuses_writing_below_too(inside, tree):
    assert "Read-only file system" in inside("touch /home/sub/x 2>&1 || true", bind(tree, "/home", "rro", kind="rbind"))


def test_a_read_only_tmpfs_cannot_be_written(inside):
    assert "Read-only file system" in inside("touch /home/x 2>&1 || true", mount("/home", "tmpfs", "tmpfs", "ro"))


def test_noexec_refuses_programs(inside):
    script = "cp /bin/busybox /home/echo; /home/echo hello 2>&1 || true"
    assert "Permission denied" in inside(script, mount("/home", "tmpfs", "tmpfs", "noexec"))
    assert inside(script, mount("/home", "tmpfs", "tmpfs", "noexec", "exec")) == "hello"


def test_nodev_refuses_devices(inside):
    script = "mknod /home/null c 1 3; echo x 2>&1 > /home/null || true"
    assert "Permission denied" in inside(
        f"({script}) 2>&1", capable("MKNOD"), mount("/home", "tmpfs", "tmpfs", "nodev")
    )
    assert inside(script, capable("MKNOD"), mount("/home", "tmpfs", "tmpfs", "dev")) == ""


def test_nosuid_ignores_set_user_id_bits(inside):
    script = "cp /bin/busybox /home/id; chmod 4755 /home/id; su -s /bin/sh nobody -c '/home/id -u'"
    rights = capable("SETUID", "SETGID"), process(noNewPrivileges=False)
    assert inside(script, *rights, mount("/home", "tmpfs", "tmpfs", "nosuid")) == "65534"
    # busybox may drop the privilege by itself, so the mount table is read instead.
    found = inside("grep -c nosuid /proc/self/mounts", *rights, mount("/home", "tmpfs", "tmpfs", "suid"))
    assert int(found) >= 1


def test_nosymfollow_does_not_follow_links(inside):
    script = "ln -s /etc/passwd /home/link; cat /home/link >/dev/null 2>&1 && echo followed || echo refused"
    assert inside(script, mount("/home", "tmpfs", "tmpfs", "nosymfollow")) == "refused"
    assert inside(script, mount("/home", "tmpfs", "tmpfs", "symfollow")) == "followed"


# ---- Contradictions, and options without effect ----


@pytest.mark.parametrize(
    ("options", "expected"), [(("ro", "rw"), "rw"), (("rw", "ro"), "ro"), (("ro", "rw", "ro"), "ro")]
)
def test_of_contradicting_options_the_last_one_holds(mounted, tree, options, expected):
    assert expected in mounted("/home", bind(tree, "/home", *options)).options
    assert expected in mounted("/home", mount("/home", "tmpfs", "tmpfs", *options)).options


@pytest.mark.parametrize(("options", "expected"), [(("rro", "rrw"), "rw"), (("rrw", "rro"), "ro")])
def test_of_contradicting_recursive_options_the_last_one_holds(inside, tree, options, expected):
    found = options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", *options, kind="rbind")))
    assert expected in found["/home"]
    assert expected in found["/home/sub"]


# tmpfs refuses unknown options, so an option that is accepted was not passed to it.
@each(
    [
        *("defaults", "async", "noiversion", "nolazytime", "loud"),
        *("norelatime", "nostrictatime", "rnorelatime", "rnostrictatime"),
    ]
)
def test_options_that_ask_for_what_is_so_anyway_are_accepted(mounted, option):
    assert mounted("/home", mount("/home", "tmpfs", "tmpfs", option)).type == "tmpfs"


def test_an_option_that_may_be_there_is_accepted(mounted):
    assert mounted("/home", mount("/home", "tmpfs", "tmpfs", "nomand")).type == "tmpfs"


@each(["nostrictatime"])
def test_access_times_are_relative_again(mounted, option):
    assert "relatime" not in mounted("/home", mount("/home", "tmpfs", "tmpfs", "strictatime")).options
    assert "relatime" in mounted("/home", mount("/home", "tmpfs", "tmpfs", "strictatime", option)).options


@each(["rnostrictatime"])
def test_access_times_are_relative_again_below_too(inside, tree, option):
    remake(tree, "strictatime")
    found = options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", option, kind="rbind")))
    assert "relatime" in found["/home"]
    assert "relatime" in found["/home/sub"]


# Without relatime, noatime and strictatime the kernel's default is relatime, so there is nothing to take back.
@each(["norelatime", "rnorelatime"])
@pytest.mark.parametrize("before", ["strictatime", "noatime", "relatime"])
def test_not_to_ask_for_relative_access_times_leaves_them_as_they_are(inside, tree, option, before):
    remake(tree, before)
    plain, asked = (
        options_of(inside("cat /proc/self/mountinfo", bind(tree, "/home", *options, kind="rbind")))
        for options in ((), (option,))
    )
    assert asked["/home"] == plain["/home"]
    assert asked["/home/sub"] == plain["/home/sub"]


# Option -> what would show if it were not the last one.
@each(["async", "nolazytime"])
def test_options_of_the_filesystem_are_taken_back(mounted, option):
    before = {"async": "sync", "nolazytime": "lazytime"}[option]
    assert before in mounted("/home", mount("/home", "tmpfs", "tmpfs", before)).super_options
    assert before not in mounted("/home", mount("/home", "tmpfs", "tmpfs", before, option)).super_options


@each(["sync", "dirsync", "lazytime"])
def test_options_of_the_filesystem(mounted, option):
    assert option in mounted("/home", mount("/home", "tmpfs", "tmpfs", option)).super_options


@each(["silent", "iversion"])
def test_options_that_nobody_shows_are_accepted(mounted, option):
    assert mounted("/home", mount("/home", "tmpfs", "tmpfs", option)).type == "tmpfs"


# ---- Propagation ----


# Option -> the field of mountinfo that shows it.
PROPAGATION = {"shared": {"shared"}, "private": set(), "unbindable": {"unbindable"}, "slave": {"master"}}


@each([*PROPAGATION, *(f"r{option}" for option in PROPAGATION)])
def test_propagation_of_a_bind_mount(inside, tree, option):
    subprocess.run(["mount", "--make-rshared", tree], check=True)
    recursive = option not in PROPAGATION
    expected = PROPAGATION[option.removeprefix("r") if recursive else option]
    # After another one: a bind mount without any such option is a slave of the host's.
    before = f"{'r' * recursive}{'slave' if 'private' in option else 'private'}"
    changes = bind(tree, "/home", before, option, kind="rbind")
    found = {one.path: one for one in mounts(inside("cat /proc/self/mountinfo", changes))}
    # A shared one is besides a slave of the host's, which rootfsPropagation keeps out of the container's reach.
    assert found["/home"].propagation - ({"master"} if "shared" in expected else set()) == expected
    if recursive:
        assert found["/home/sub"].propagation == found["/home"].propagation


def test_with_a_shared_root_a_shared_bind_mount_takes_mounts_to_the_host_and_back(containers, tree):
    subprocess.run(["mount", "--make-rshared", tree], check=True)
    (tree / "one").mkdir()
    (tree / "two").mkdir()
    container = containers.start(
        bind(tree, "/home", "rshared", kind="rbind"),
        linux(rootfsPropagation="rshared"),
        capable("SYS_ADMIN"),
        script="mount -t tmpfs in /home/one; sleep 1000",
    )
    until(lambda: f"{tree}/one" in open("/proc/self/mountinfo").read(), "the container's mount on the host")
    subprocess.run(["mount", "-t", "tmpfs", "out", tree / "two"], check=True)
    assert "/home/two" in container.proc("mountinfo").read_text()
    container.delete("--force")


@pytest.mark.parametrize("option", ["rslave", "rshared"])
def test_otherwise_a_bind_mount_takes_mounts_from_the_host_only(containers, tree, option):
    subprocess.run(["mount", "--make-rshared", tree], check=True)
    (tree / "one").mkdir()
    (tree / "two").mkdir()
    container = containers.start(
        bind(tree, "/home", option, kind="rbind"),
        capable("SYS_ADMIN"),
        script="mount -t tmpfs in /home/one; sleep 1000",
    )
    until(lambda: "/home/one" in container.proc("mountinfo").read_text(), "the container's mount")
    subprocess.run(["mount", "-t", "tmpfs", "out", tree / "two"], check=True)
    assert "/home/two" in container.proc("mountinfo").read_text()
    assert f"{tree}/one" not in open("/proc/self/mountinfo").read()
    container.delete("--force")


def test_a_private_bind_mount_takes_mounts_in_no_direction(containers, tree):
    subprocess.run(["mount", "--make-rshared", tree], check=True)
    (tree / "two").mkdir()
    container = containers.start(bind(tree, "/home", "rprivate", kind="rbind"))
    subprocess.run(["mount", "-t", "tmpfs", "out", tree / "two"], check=True)
    assert "/home/two" not in container.proc("mountinfo").read_text()
    container.delete("--force")


# ---- remount, idmap ----


@pytest.mark.clause("config.md#linux-mount-options/option-remount")
def test_remount_changes_a_mount_of_before(inside):
    changes = mount("/home", "tmpfs", "first", "nosuid"), mount("/home", "tmpfs", "second", "remount", "ro", "nosuid")
    (found,) = [one for one in mounts(inside("cat /proc/self/mountinfo", *changes)) if one.path == "/home"]
    assert {"ro", "nosuid"} <= found.options


def test_remount_takes_back_the_attributes_that_it_names(mounted):
    found = mounted(
        "/home",
        mount("/home", "tmpfs", "tmpfs", "noexec", "nosuid", "nodev"),
        mount("/home", "tmpfs", "tmpfs", "remount", "exec", "suid"),
    )
    assert not {"noexec", "nosuid"} & found.options
    assert "nodev" in found.options


@pytest.mark.clause("config.md#linux-mount-options/option-remount")
def test_remount_gives_the_filesystem_its_options(inside):
    found = inside(
        "df -k /home | tail -1",
        mount("/home", "tmpfs", "tmpfs", "size=1024k"),
        mount("/home", "tmpfs", "tmpfs", "remount", "size=2048k"),
    )
    assert found.split()[1] == "2048"


@pytest.mark.clause("config.md#linux-mount-options/option-remount")
def test_remount_reaches_the_mounts_below(inside, tree):
    remake(tree, "nosuid")
    found = options_of(
        inside(
            "cat /proc/self/mountinfo",
            bind(tree, "/home", kind="rbind"),
            mount("/home", None, None, "remount", "rbind", "rnoexec", "rsuid"),
        )
    )
    for place in ("/home", "/home/sub"):
        assert "noexec" in found[place]
        assert "nosuid" not in found[place]


@pytest.mark.parametrize("fstype", ["tmpfs", None])
@pytest.mark.parametrize("option", ["shared", "rshared", "unbindable", "runbindable"])
def test_remount_changes_the_propagation(mounted, tree, option, fstype):
    kind = (fstype, fstype) if fstype else (None, str(tree), "bind")
    again = (fstype, fstype, "remount") if fstype else (None, None, "remount", "bind")
    found = mounted("/home", mount("/home", *kind), mount("/home", *again, option))
    assert option.removeprefix("r") in found.propagation


@pytest.mark.clause("config.md#linux-mount-options/option-remount")
def test_remount_of_a_bind_mount_leaves_the_filesystem_writable(containers, tree):
    container = containers.start(bind(tree, "/home"), mount("/home", None, None, "remount", "bind", "ro"))
    found = options_of(container.proc("mountinfo").read_text())
    assert "ro" in found["/home"]
    (tree / "file").touch()


@pytest.mark.clause("config.md#linux-mount-options/idmap", "config.md#linux-mount-options/idmap-own-mappings")
def test_idmap_with_mappings_of_its_own(inside, tree):
    os.chown(tree, 5, 6)

    def owners(config):
        config["mounts"][-1].update(
            uidMappings=[{"containerID": 0, "hostID": 1000, "size": 100}],
            gidMappings=[{"containerID": 0, "hostID": 2000, "size": 100}],
        )

    assert inside("stat -c '%u %g' /home", bind(tree, "/home", "idmap"), owners) == "1005 2006"


@pytest.mark.clause("config.md#linux-mount-options/idmap-without-mappings")
def test_idmap_with_the_mappings_of_the_user_namespace(inside, tree):
    os.chown(tree, 5, 6)
    assert inside("stat -c '%u %g' /home", mapped(), bind(tree, "/home", "idmap")) == "5 6"
    assert inside("stat -c '%u %g' /home", mapped(), bind(tree, "/home")) == "65534 65534"


@pytest.mark.clause("config.md#linux-mount-options/idmap")
def test_idmap_leaves_the_mounts_below_as_they_are(inside, tree):
    os.chown(tree / "sub", 5, 6)
    assert inside("stat -c '%u %g' /home/sub", mapped(), bind(tree, "/home", "idmap", kind="rbind")) == "65534 65534"


@pytest.mark.clause("config.md#linux-mount-options/ridmap")
def test_ridmap_holds_for_the_mounts_below(inside, tree):
    os.chown(tree / "sub", 5, 6)
    assert inside("stat -c '%u %g' /home/sub", mapped(), bind(tree, "/home", "ridmap", kind="rbind")) == "5 6"
    assert ((tree / "sub").stat().st_uid, (tree / "sub").stat().st_gid) == (5, 6)


@pytest.mark.parametrize("option", ["idmap", "ridmap"])
@pytest.mark.clause("config.md#linux-mount-options/idmap-not-passed-on")
def test_a_filesystem_that_refuses_unknown_options_does_not_hear_of_idmap(mounted, option):
    entry = {"containerID": 0, "hostID": 1000, "size": 100}

    def owners(config):
        config["mounts"][-1].update(uidMappings=[entry], gidMappings=[entry])

    assert "idmapped" in mounted("/home", mount("/home", "tmpfs", "tmpfs", option), owners).options


@pytest.mark.clause("config.md#linux-mount-options/idmap-without-mappings")
def test_idmap_without_mappings_is_an_error(containers, tree):
    assert "/mounts/7/options" in containers.refused(bind(tree, "/home", "idmap"))


def test_options_apply_in_a_user_namespace(mounted, tree):
    assert "ro" in mounted("/home", mapped(), bind(tree, "/home", "rro", kind="rbind")).options


def test_a_mount_point_is_made_before_the_root_becomes_read_only(inside, tree):
    assert inside("ls /made", bind(tree, "/made"), own=True) == "sub"


def test_the_root_can_be_written_when_it_is_not_read_only(inside):
    assert inside("touch /file && echo yes", writable, own=True) == "yes"


def test_a_mount_point_is_made_in_a_tmpfs_before_it_becomes_read_only(inside):
    changes = mount("/home", "tmpfs", "outer", "ro"), mount("/home/sub", "tmpfs", "inner")
    found = inside("touch /home/sub/x && echo written; touch /home/x 2>&1 || true", *changes)
    assert "written" in found
    assert "Read-only file system" in found
