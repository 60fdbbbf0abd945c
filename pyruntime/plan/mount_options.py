"""The mount options of the spec, each with what it sets and clears (config.md#linux-mount-options).

Upholds config.md#linux-mount-options/levels, config.md#linux-mount-options/idmap-not-passed-on.
"""

from pyruntime._stub import lib
from pyruntime.spec.rules.mount_options import has_maps, is_userland

# One of these receives an option's bits.
ATTRIBUTE, RECURSIVE, SUPERBLOCK, PROPAGATION, BEHAVIOUR = range(5)

_RDONLY, _ATIME = lib.MOUNT_ATTR_RDONLY, lib.MOUNT_ATTR__ATIME
_NOATIME, _STRICTATIME = lib.MOUNT_ATTR_NOATIME, lib.MOUNT_ATTR_STRICTATIME

# Behaviours: options for the runtime, which are not passed to the kernel.
BIND, RBIND, REMOUNT, COPY_UP, IDMAP, RIDMAP, COPY_SYMLINK, SOURCE_NOFOLLOW, NOFOLLOW = (1 << bit for bit in range(9))

# Attributes of a mount: option -> (bits to set, bits to clear). relatime is what the kernel does when neither
# noatime nor strictatime is asked for, so "norelatime" alone changes nothing.
_ATTRIBUTES = {
    "ro": (_RDONLY, _RDONLY),
    "rw": (0, _RDONLY),
    "nosuid": (lib.MOUNT_ATTR_NOSUID, lib.MOUNT_ATTR_NOSUID),
    "suid": (0, lib.MOUNT_ATTR_NOSUID),
    "nodev": (lib.MOUNT_ATTR_NODEV, lib.MOUNT_ATTR_NODEV),
    "dev": (0, lib.MOUNT_ATTR_NODEV),
    "noexec": (lib.MOUNT_ATTR_NOEXEC, lib.MOUNT_ATTR_NOEXEC),
    "exec": (0, lib.MOUNT_ATTR_NOEXEC),
    "noatime": (_NOATIME, _ATIME),
    "atime": (0, _ATIME),
    "relatime": (0, _ATIME),
    "norelatime": (0, 0),
    "strictatime": (_STRICTATIME, _ATIME),
    "nostrictatime": (0, _ATIME),
    "nodiratime": (lib.MOUNT_ATTR_NODIRATIME, lib.MOUNT_ATTR_NODIRATIME),
    "diratime": (0, lib.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (lib.MOUNT_ATTR_NOSYMFOLLOW, lib.MOUNT_ATTR_NOSYMFOLLOW),
    "symfollow": (0, lib.MOUNT_ATTR_NOSYMFOLLOW),
}

_SUPERBLOCK = {
    "sync": (lib.MS_SYNCHRONOUS, lib.MS_SYNCHRONOUS),
    "async": (0, lib.MS_SYNCHRONOUS),
    "dirsync": (lib.MS_DIRSYNC, lib.MS_DIRSYNC),
    "lazytime": (lib.MS_LAZYTIME, lib.MS_LAZYTIME),
    "nolazytime": (0, lib.MS_LAZYTIME),
    "mand": (lib.MS_MANDLOCK, lib.MS_MANDLOCK),
    "nomand": (0, lib.MS_MANDLOCK),
    "iversion": (lib.MS_I_VERSION, lib.MS_I_VERSION),
    "noiversion": (0, lib.MS_I_VERSION),
    "silent": (lib.MS_SILENT, lib.MS_SILENT),
    "loud": (0, lib.MS_SILENT),
    "defaults": (0, 0),
}

_PROPAGATION = {
    "shared": lib.MS_SHARED,
    "slave": lib.MS_SLAVE,
    "private": lib.MS_PRIVATE,
    "unbindable": lib.MS_UNBINDABLE,
}

_BEHAVIOURS = {
    "bind": BIND,
    "rbind": BIND | RBIND,
    "remount": REMOUNT,
    "tmpcopyup": COPY_UP,
    "idmap": IDMAP,
    "ridmap": IDMAP | RIDMAP,
    # crun's (crun(1)).
    "copy-symlink": COPY_SYMLINK,
    "src-nofollow": SOURCE_NOFOLLOW,
    "dest-nofollow": NOFOLLOW,
}

# Every option by name; a recursive attribute is the plain one with an "r" before it.
TABLE = {name: (ATTRIBUTE, *bits) for name, bits in _ATTRIBUTES.items()}
TABLE.update({f"r{name}": (RECURSIVE, *bits) for name, bits in _ATTRIBUTES.items()})
TABLE.update({name: (SUPERBLOCK, *bits) for name, bits in _SUPERBLOCK.items()})
TABLE.update({name: (PROPAGATION, bits, 0) for name, bits in _PROPAGATION.items()})
TABLE.update({f"r{name}": (PROPAGATION, bits, 1) for name, bits in _PROPAGATION.items()})
TABLE.update({name: (BEHAVIOUR, bits, 0) for name, bits in _BEHAVIOURS.items()})


class MountOptions:
    """What a mount's `options` ask for: bits by the kernel interface that takes them; `data` is the filesystem's.

    `maps` is crun's idmap=MAPS or ridmap=MAPS, or "".
    """

    __slots__ = (
        "attr_clr",
        "attr_set",
        "behaviour",
        "data",
        "maps",
        "propagation",
        "rec_clr",
        "rec_propagation",
        "rec_set",
        "sb_flags",
    )

    def __init__(self, options: "list[str]") -> None:
        self.attr_set = self.attr_clr = 0
        self.rec_set = self.rec_clr = 0
        self.sb_flags = 0
        self.propagation = self.rec_propagation = 0
        self.behaviour = 0
        self.maps = ""
        self.data: list[str] = []
        for option in options:
            known = TABLE.get(option)
            if known is None:
                self._filesystem_option(option)
            else:
                self._known(*known)
        # A recursive attribute also applies to the mount itself, in any order of the options, as with runc.
        self.attr_set &= ~self.rec_clr
        self.attr_clr &= ~self.rec_clr

    def fold(self) -> None:
        """Treat recursive attributes as plain ones: a new mount has no mounts below it."""
        self.attr_set |= self.rec_set
        self.attr_clr |= self.rec_clr
        self.rec_set = self.rec_clr = 0

    def _known(self, kind: int, bits: int, extra: int) -> None:
        # If two options contradict each other, the later one counts, as with mount(8).
        if kind == ATTRIBUTE:
            self.attr_set = self.attr_set & ~extra | bits
            self.attr_clr |= extra
        elif kind == RECURSIVE:
            self.rec_set = self.rec_set & ~extra | bits
            self.rec_clr |= extra
        elif kind == SUPERBLOCK:
            self.sb_flags = self.sb_flags & ~extra | bits
        elif kind == BEHAVIOUR:
            self.behaviour |= bits
        elif extra:
            self.rec_propagation = bits
        else:
            self.propagation = bits

    def _filesystem_option(self, option: str) -> None:
        # Upholds config.md#linux-mount-options/mount8-custom, config.md#linux-mount-options/unknown-is-data.
        if is_userland(option):
            return
        if has_maps(option):
            self.maps = option
            self.behaviour |= _BEHAVIOURS[option.partition("=")[0]]
            return
        # mount(2) would split the joined string at each comma that neither a backslash (overlayfs's lowerdir) nor
        # quotes (SELinux's context) protect. If the stub joins the options, it adds the quotes again.
        start = 0
        quoted = False
        for position, character in enumerate(option):
            if character == '"':
                quoted = not quoted
            elif character == "," and not quoted and option[position - 1 : position] != "\\":
                self.data.append(option[start:position])
                start = position + 1
        self.data.append(option[start:])
        self.data = [_unquoted(item) for item in self.data if item]


def _unquoted(item: str) -> str:
    """Return `key="value"` without the quotes, as fsconfig(2) takes it."""
    key, separator, value = item.partition('="')
    return f"{key}={value[:-1]}" if separator and value.endswith('"') else item
