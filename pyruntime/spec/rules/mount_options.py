"""The options of mounts (config.md#linux-mount-options): which a bind mount takes, and what crun's take as value."""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.spec.rules.mounts import container_path, is_bind
from pyruntime.spec.rules.users import overlaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, IDMapping, Mount

CLAUSE = "config.md#linux-mount-options"

# The four tables of options. plan/mount_flags.py makes bits of the names.

# Attribute of a mount -> MOUNT_ATTR_* to set, and to clear (mount_setattr(2)); each also exists with an "r" before it,
# for the mounts below. relatime is what the kernel does when neither noatime nor strictatime is asked for, so
# "norelatime" alone changes nothing.
ATTRIBUTES: "dict[str, tuple[str, str]]" = {
    "ro": ("RDONLY", "RDONLY"),
    "rw": ("", "RDONLY"),
    "nosuid": ("NOSUID", "NOSUID"),
    "suid": ("", "NOSUID"),
    "nodev": ("NODEV", "NODEV"),
    "dev": ("", "NODEV"),
    "noexec": ("NOEXEC", "NOEXEC"),
    "exec": ("", "NOEXEC"),
    "noatime": ("NOATIME", "_ATIME"),
    "atime": ("", "_ATIME"),
    "relatime": ("", "_ATIME"),
    "norelatime": ("", ""),
    "strictatime": ("STRICTATIME", "_ATIME"),
    "nostrictatime": ("", "_ATIME"),
    "nodiratime": ("NODIRATIME", "NODIRATIME"),
    "diratime": ("", "NODIRATIME"),
    "nosymfollow": ("NOSYMFOLLOW", "NOSYMFOLLOW"),
    "symfollow": ("", "NOSYMFOLLOW"),
}
# Flag of a superblock -> MS_* to set, and to clear (mount(2)).
SUPERBLOCK: "dict[str, tuple[str, str]]" = {
    "sync": ("SYNCHRONOUS", "SYNCHRONOUS"),
    "async": ("", "SYNCHRONOUS"),
    "dirsync": ("DIRSYNC", "DIRSYNC"),
    "lazytime": ("LAZYTIME", "LAZYTIME"),
    "nolazytime": ("", "LAZYTIME"),
    "mand": ("MANDLOCK", "MANDLOCK"),
    "nomand": ("", "MANDLOCK"),
    "iversion": ("I_VERSION", "I_VERSION"),
    "noiversion": ("", "I_VERSION"),
    "silent": ("SILENT", "SILENT"),
    "loud": ("", "SILENT"),
    "defaults": ("", ""),
}
# Propagation -> MS_* (mount_namespaces(7)); each also exists with an "r" before it, for the mounts below.
PROPAGATION: "dict[str, str]" = {
    "shared": "SHARED",
    "slave": "SLAVE",
    "private": "PRIVATE",
    "unbindable": "UNBINDABLE",
}
# Options for the runtime, which are not passed to the kernel -> behaviours of plan/mount_flags.py.
BEHAVIOURS: "dict[str, tuple[str, ...]]" = {
    "bind": ("BIND",),
    "rbind": ("BIND", "RBIND"),
    "remount": ("REMOUNT",),
    "tmpcopyup": ("COPY_UP",),
    "idmap": ("IDMAP",),
    "ridmap": ("IDMAP", "RIDMAP"),
    # crun's (crun(1)), for bind mounts: what is done with symbolic links.
    "copy-symlink": ("COPY_SYMLINK",),
    "src-nofollow": ("SOURCE_NOFOLLOW",),
    "dest-nofollow": ("NOFOLLOW",),
}
_FOR_LINKS = frozenset(["copy-symlink", "src-nofollow", "dest-nofollow"])

# Every option that is not one of a filesystem.
_RECURSIVE = (f"r{name}" for name in (*ATTRIBUTES, *PROPAGATION))
KNOWN = frozenset([*ATTRIBUTES, *SUPERBLOCK, *PROPAGATION, *BEHAVIOURS, *_RECURSIVE])

# Options that mount(8) reads from fstab(5) and does not pass to the kernel.
_USERLAND = frozenset(
    ["auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group", "noowner", "nogroup"]
)

# Common mistakes -> the option that is meant.
_MEANT = {"readonly": "ro", "read-only": "ro", "read_only": "ro", "writable": "rw", "readwrite": "rw", "rec": "rbind"}
_OF_MOUNTS = (
    "expected an option of mounts, as ro or nosuid: what is bound is mounted already, and the kernel ignores options of"
    " its filesystem"
)
_MOST_ID = 2**32 - 2


def nearest(word: str) -> str:
    """Return the option of mounts for which `word` is probably a typing error, "" if there is none."""
    if word in KNOWN or "=" in word:
        return ""
    return pyruntime.base.similar.nearest(word, KNOWN, 0.85)


def is_userland(option: str) -> bool:
    """Tell whether `option` is for mount(8) alone; runtimes do not pass it on."""
    return option in _USERLAND or option.startswith(("x-", "X-", "comment="))


def is_data(option: str) -> bool:
    """Tell whether `option` is one of a filesystem's with a value, as mode=755. The kernel ignores it at a bind mount.

    No typing error of an option of mounts looks like it, and the validation suite of runtime-tools writes it.
    """
    return "=" in option and not has_maps(option)


def has_maps(option: str) -> bool:
    """Tell whether `option` is crun's: idmap=MAPS or ridmap=MAPS."""
    return option.startswith(("idmap=", "ridmap="))


def mount_options(config: "Config") -> "Iterator[Error]":
    """A bind mount has options of mounts alone; those for links are a bind mount's; maps are well-formed."""
    for index, mount in enumerate(config["mounts"]):
        options = mount.get("options") or ()
        if KNOWN.issuperset(options) and not _FOR_LINKS.intersection(options):
            continue  # as nearly all are
        bind = is_bind(mount)
        for number, option in enumerate(options):
            if option in _FOR_LINKS:
                wrong = _for_links(mount, option, bind=bind)
            elif has_maps(option):
                wrong = _maps(config, mount, option)
            elif bind and option and option not in KNOWN and not is_userland(option) and not is_data(option):
                wrong = _OF_MOUNTS
            else:
                continue
            if wrong:
                meant = _MEANT.get(option) or nearest(option)
                yield Error(
                    f"mounts[{index}] {'is a bind mount and ' if bind else ''}has the option {option}",
                    wrong,
                    pointer=f"/mounts/{index}/options/{number}",
                    value=option,
                    clause=CLAUSE,
                    advice=f"did you mean {meant}?" if meant else "",
                )


def _for_links(mount: "Mount", option: str, *, bind: bool) -> str:
    """Return what is expected instead of an option for links that cannot be there; "" where it can."""
    options = mount["options"]
    if not bind or "remount" in options:
        return "expected it with a new bind mount alone"
    if option != "copy-symlink":
        return ""
    if "src-nofollow" in options or "dest-nofollow" in options:
        return "expected it without src-nofollow and dest-nofollow: a link is copied, or bound"
    if container_path(mount["destination"]) in ("/proc", "/sys"):
        return "expected a filesystem there, and no link"
    return ""


def maps_of(option: str, config: "Config") -> "tuple[list[IDMapping], list[IDMapping]]":
    """Return the mappings of users and of groups that `option` asks for: "idmap=uids=0-1000-1#1-2000-9;gids=…".

    A range is FIRST-HOST-SIZE: SIZE ids from FIRST on in the filesystem are those from HOST on of the host, or with "@"
    before it those from HOST on of the container's user namespace. crun(1) describes it, "idmap mount options".
    Raises ValueError with what was expected.
    """
    found: dict[str, list[IDMapping]] = {}
    for part in option.partition("=")[2].split(";"):
        name, separator, ranges = part.partition("=")
        if name not in ("uids", "gids") or not separator or name in found:
            raise ValueError("expected uids=… and gids=…, with a semicolon between them")
        found[name] = [_range(text, config, f"{name[:3]}Mappings") for text in ranges.split("#")]
    if len(found) != 2:
        raise ValueError("expected uids=… and gids=…: the kernel wants maps of both kinds")
    return found["uids"], found["gids"]


def _range(text: str, config: "Config", property: str) -> "IDMapping":
    relative = text[:1] == "@"
    numbers = text[relative:].split("-")
    if len(numbers) != 3 or not all(one.isascii() and one.isdigit() and len(one) <= 10 for one in numbers):
        raise ValueError(f"expected FIRST-HOST-SIZE instead of {text!r}")
    first, host, size = map(int, numbers)
    if max(first, host) > _MOST_ID or not 0 < size <= _MOST_ID + 1:
        raise ValueError(f"expected ids up to {_MOST_ID} and a size of at least 1 instead of {text!r}")
    if relative:
        for entry in (config.get("linux") or {}).get(property) or ():  # type: ignore[attr-defined]  # either name
            if 0 <= host - entry["containerID"] < entry["size"]:
                host += entry["hostID"] - entry["containerID"]
                break
        else:
            raise ValueError(f"expected an id that linux.{property} maps instead of {text!r}")
    return {"containerID": first, "hostID": host, "size": size}


def _maps(config: "Config", mount: "Mount", option: str) -> str:
    """Return what is wrong with maps in an option, or ""."""
    try:
        pair = maps_of(option, config)
    except ValueError as error:
        return str(error)
    if mount.get("uidMappings") or mount.get("gidMappings"):
        return "expected the mappings there, or in uidMappings and gidMappings"
    for maps in pair:
        for wrong in overlaps(maps, "", CLAUSE):
            return f"{wrong.doing}: {wrong.reason}"
    return ""
