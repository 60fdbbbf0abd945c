"""What each mount option sets and clears, in bits (config.md#linux-mount-options).

Upholds config.md#linux-mount-options/levels, config.md#linux-mount-options/idmap-not-passed-on.
"""

from pyruntime._stub import lib
from pyruntime.spec.rules import mount_options as named

# One of these receives an option's bits.
ATTRIBUTE, RECURSIVE, SUPERBLOCK, PROPAGATION, BEHAVIOUR = range(5)

# Behaviours: options for the runtime, which are not passed to the kernel.
BIND = 1 << 0
RBIND = 1 << 1
REMOUNT = 1 << 2
COPY_UP = 1 << 3
IDMAP = 1 << 4
RIDMAP = 1 << 5
COPY_SYMLINK = 1 << 6
SOURCE_NOFOLLOW = 1 << 7
NOFOLLOW = 1 << 8


def _bit(prefix: str, name: str) -> int:
    return int(getattr(lib, prefix + name)) if name else 0


_ATTRIBUTES = {name: [_bit("MOUNT_ATTR_", word) for word in words] for name, words in named.ATTRIBUTES.items()}
_SUPERBLOCK = {name: [_bit("MS_", word) for word in words] for name, words in named.SUPERBLOCK.items()}
_PROPAGATION = {name: _bit("MS_", word) for name, word in named.PROPAGATION.items()}
_BEHAVIOURS = {name: sum(globals()[word] for word in words) for name, words in named.BEHAVIOURS.items()}

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
        if named.is_userland(option):
            return
        if named.has_maps(option):
            self.maps = option
            self.behaviour |= _BEHAVIOURS[option.partition("=")[0]]
            return
        if "," not in option:  # as nearly all are
            if option:
                self.data.append(_unquoted(option))
            return
        # mount(2) would split the joined string at each comma that neither a backslash (overlayfs's lowerdir) nor
        # quotes (SELinux's context) protect. If the stub joins the options, it adds the quotes again.
        start = 0
        quoted = False
        items = []
        for position, character in enumerate(option):
            if character == '"':
                quoted = not quoted
            elif character == "," and not quoted and option[position - 1 : position] != "\\":
                items.append(option[start:position])
                start = position + 1
        items.append(option[start:])
        self.data += [_unquoted(item) for item in items if item]


def _unquoted(item: str) -> str:
    """Return `key="value"` without the quotes, as fsconfig(2) takes it."""
    key, separator, value = item.partition('="')
    return f"{key}={value[:-1]}" if separator and value.endswith('"') else item
