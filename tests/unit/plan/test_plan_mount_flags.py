"""The table of mount options, and what a list of them amounts to (config.md#linux-mount-options)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clauses import CLAUSES
from pyruntime._stub import lib
from pyruntime.plan import mount_flags
from pyruntime.plan.mount_flags import MountOptions
from pyruntime.spec.rules.mount_options import KNOWN

# Every option that the specification lists for Linux.
SPEC = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
    "idmap",
    "ridmap",
]


def test_the_rules_know_the_same_options():
    assert {*mount_flags.TABLE} == KNOWN


@pytest.mark.parametrize("option", SPEC)
@pytest.mark.clause("config.md#linux-mount-options/levels")
def test_every_option_of_the_specification_is_known(option):
    assert option in mount_flags.TABLE
    assert MountOptions([option]).data == []


@pytest.mark.parametrize(
    ("option", "attribute"),
    [
        ("ro", lib.MOUNT_ATTR_RDONLY),
        ("nosuid", lib.MOUNT_ATTR_NOSUID),
        ("nodev", lib.MOUNT_ATTR_NODEV),
        ("noexec", lib.MOUNT_ATTR_NOEXEC),
        ("noatime", lib.MOUNT_ATTR_NOATIME),
        ("strictatime", lib.MOUNT_ATTR_STRICTATIME),
        ("nodiratime", lib.MOUNT_ATTR_NODIRATIME),
        ("nosymfollow", lib.MOUNT_ATTR_NOSYMFOLLOW),
    ],
)
def test_an_attribute_is_set_here_or_recursively(option, attribute):
    plain, recursive = MountOptions([option]), MountOptions([f"r{option}"])
    assert (plain.attr_set, plain.rec_set) == (attribute, 0)
    assert (recursive.attr_set, recursive.rec_set) == (0, attribute)


OPPOSITES = [
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("noatime", "atime"),
    ("nodiratime", "diratime"),
    ("strictatime", "nostrictatime"),
    ("nosymfollow", "symfollow"),
]


@pytest.mark.parametrize(("option", "opposite"), OPPOSITES)
@pytest.mark.parametrize("prefix", ["", "r"])
def test_of_opposites_the_last_one_holds_and_both_clear(option, opposite, prefix):
    field = "rec" if prefix else "attr"
    on, off = MountOptions([prefix + opposite, prefix + option]), MountOptions([prefix + option, prefix + opposite])
    assert getattr(on, f"{field}_set") == getattr(MountOptions([prefix + option]), f"{field}_set") != 0
    assert getattr(off, f"{field}_set") == 0
    assert getattr(on, f"{field}_clr") == getattr(off, f"{field}_clr") != 0


def test_kinds_of_atime_exclude_each_other():
    assert MountOptions(["noatime", "strictatime"]).attr_set == lib.MOUNT_ATTR_STRICTATIME
    assert MountOptions(["strictatime", "relatime"]).attr_set == 0
    assert MountOptions(["noatime", "norelatime"]).attr_set == lib.MOUNT_ATTR_NOATIME


def test_here_and_recursively_are_two_things():
    options = MountOptions(["rro", "suid"])
    assert (options.rec_set, options.rec_clr) == (lib.MOUNT_ATTR_RDONLY, lib.MOUNT_ATTR_RDONLY)
    assert (options.attr_set, options.attr_clr) == (0, lib.MOUNT_ATTR_NOSUID)


@pytest.mark.parametrize("options", [["rro", "rw"], ["rw", "rro"], ["rrw", "ro"], ["ro", "rrw"]])
def test_what_is_asked_for_recursively_holds_here_too(options):
    found = MountOptions(options)
    assert found.rec_set == (lib.MOUNT_ATTR_RDONLY if "rro" in options else 0)
    assert found.rec_clr == lib.MOUNT_ATTR_RDONLY
    assert found.attr_set == found.attr_clr == 0


def test_for_a_mount_that_has_none_below_recursively_is_the_same():
    options = MountOptions(["nosuid", "rro", "rexec"])
    options.fold()
    assert options.attr_set == lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_RDONLY
    assert options.attr_clr == lib.MOUNT_ATTR_NOSUID | lib.MOUNT_ATTR_RDONLY | lib.MOUNT_ATTR_NOEXEC
    assert options.rec_set == options.rec_clr == 0


def superblock(option, flag, opposite):
    """Return a parameter with the clauses of two options that nothing but the flag shows of."""
    marks = [
        pytest.mark.clause(f"config.md#linux-mount-options/option-{one}")
        for one in (option, opposite)
        if f"config.md#linux-mount-options/option-{one}" in CLAUSES
    ]
    return pytest.param(option, flag, opposite, marks=marks, id=option)


@pytest.mark.parametrize(
    ("option", "flag", "opposite"),
    [
        superblock("sync", lib.MS_SYNCHRONOUS, "async"),
        superblock("lazytime", lib.MS_LAZYTIME, "nolazytime"),
        superblock("mand", lib.MS_MANDLOCK, "nomand"),
        superblock("iversion", lib.MS_I_VERSION, "noiversion"),
        superblock("silent", lib.MS_SILENT, "loud"),
    ],
)
def test_flags_of_the_superblock(option, flag, opposite):
    assert MountOptions([option]).sb_flags == flag
    assert MountOptions([option, opposite]).sb_flags == 0
    assert MountOptions([opposite, option]).sb_flags == flag


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ("shared", lib.MS_SHARED),
        ("slave", lib.MS_SLAVE),
        ("private", lib.MS_PRIVATE),
        ("unbindable", lib.MS_UNBINDABLE),
    ],
)
def test_propagation(option, flag):
    assert (MountOptions([option]).propagation, MountOptions([option]).rec_propagation) == (flag, 0)
    assert (MountOptions([f"r{option}"]).propagation, MountOptions([f"r{option}"]).rec_propagation) == (0, flag)
    assert MountOptions(["private", option]).propagation == flag


@pytest.mark.clause("config.md#linux-mount-options/idmap-not-passed-on")
def test_rbind_is_bind_too_and_ridmap_idmap():
    assert MountOptions(["idmap", "ridmap"]).data == []
    assert MountOptions(["idmap", "ridmap"]).sb_flags == 0
    assert MountOptions(["rbind"]).behaviour & mount_flags.BIND
    assert MountOptions(["ridmap"]).behaviour & mount_flags.IDMAP
    assert not MountOptions(["bind"]).behaviour & mount_flags.RBIND


@pytest.mark.clause("config.md#linux-mount-options/unknown-is-data")
def test_what_is_not_known_is_the_filesystems():
    assert MountOptions(["ro", "size=64k", "mode=700", "newinstance"]).data == ["size=64k", "mode=700", "newinstance"]


def test_joined_options_are_parted_but_not_at_a_protected_comma():
    assert MountOptions(["size=1k,mode=700"]).data == ["size=1k", "mode=700"]
    assert MountOptions(["lowerdir=/a\\,b:/c"]).data == ["lowerdir=/a\\,b:/c"]
    assert MountOptions(['context="a,b"']).data == ["context=a,b"]


@pytest.mark.parametrize(
    "option", ["x-systemd.automount", "X-mount.mkdir", "comment=words", "nofail", "_netdev", "noauto"]
)
@pytest.mark.clause("config.md#linux-mount-options/mount8-custom")
def test_what_mount_8_keeps_for_itself_reaches_no_kernel(option):
    assert MountOptions([option]).data == []


@settings(deadline=None)
@given(st.lists(st.sampled_from(SPEC)))
def test_no_attribute_is_set_without_being_cleared_first(options):
    found = MountOptions(options)
    assert found.attr_set & ~found.attr_clr == 0
    assert found.rec_set & ~found.rec_clr == 0


@settings(deadline=None)
@given(st.lists(st.sampled_from(SPEC)))
def test_repeating_a_list_changes_nothing(options):
    once, twice = MountOptions(options), MountOptions(options * 2)
    for name in MountOptions.__slots__:
        assert getattr(once, name) == getattr(twice, name)


@settings(deadline=None)
@given(st.lists(st.text()))
def test_any_text_is_accepted(options):
    MountOptions(options)
