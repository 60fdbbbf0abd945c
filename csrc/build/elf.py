"""ELF files as elf(5) describes them, for 64 bits and little-endian: what the build reads and changes of them."""

import struct
from collections.abc import Iterator
from pathlib import Path

FILE_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")
ENTRY = struct.Struct("<qQ")
EXECUTABLE_FLAG, WRITABLE_FLAG = 1, 2

LOAD, DYNAMIC, INTERPRETER, TLS, RELRO = 1, 2, 3, 7, 0x6474E552
PROGBITS, STRTAB, RELA, OF_DYNAMIC, NOBITS, DYNSYM = 1, 3, 4, 6, 8, 11
NEEDED = 1  # of the dynamic section's tags
ALLOCATED, OF_THREADS = 0x2, 0x400  # of a section's flags
WEAK = 2

# The kinds of relocations that matter, by machine: (an address of the file's own, the address of a symbol: by itself,
# for a call, with an addend).
X86_64, AARCH64 = 62, 183
RELATIVE = {X86_64: 8, AARCH64: 1027}
GLOBAL = {X86_64: 6, AARCH64: 1025}
CALL = {X86_64: 7, AARCH64: 1026}
ABSOLUTE = {X86_64: 1, AARCH64: 257}


class Segment:
    """A line of the program header table."""

    def __init__(self, place: int, data: bytes) -> None:
        self.place = place
        self.kind, self.flags, self.offset, self.address, self.physical, self.in_file, self.in_memory, self.align = (
            SEGMENT.unpack_from(data, place)
        )

    def write(self, data: bytearray) -> None:
        """Put the line where it was."""
        fields = (self.offset, self.address, self.physical, self.in_file, self.in_memory, self.align)
        SEGMENT.pack_into(data, self.place, self.kind, self.flags, *fields)

    def holds(self, address: int) -> bool:
        """Tell whether `address` is in the segment."""
        return self.address <= address < self.address + self.in_memory


class Section:
    """A line of the section header table."""

    def __init__(self, place: int, data: bytes) -> None:
        self.place = place
        self.name, self.kind, self.flags, self.address, self.offset, self.size, self.link, *self.rest = (
            SECTION.unpack_from(data, place)
        )

    def write(self, data: bytearray) -> None:
        """Put the line where it was."""
        fields = (self.kind, self.flags, self.address, self.offset, self.size, self.link, *self.rest)
        SECTION.pack_into(data, self.place, self.name, *fields)


class File:
    """An ELF file in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.read_bytes()
        header = FILE_HEADER.unpack_from(self.data)
        self.machine = header[2]
        self.segments = [Segment(header[5] + number * SEGMENT.size, self.data) for number in range(header[10])]
        self.sections = [Section(header[6] + number * SECTION.size, self.data) for number in range(header[12])]
        self._section_names = self.sections[header[13]].offset if self.sections else 0

    def segments_of(self, kind: int) -> list[Segment]:
        """Return the segments of a kind, in the file's order."""
        return [segment for segment in self.segments if segment.kind == kind]

    def section(self, name: str) -> Section:
        """Return the section of this name."""
        (section,) = (one for one in self.sections if self._text(self._section_names + one.name) == name)
        return section

    def symbols(self) -> list[tuple[str, int, bool, bool]]:
        """Return (name, value, whether it is defined here, whether it is weak) of the dynamic symbols."""
        for section in self.sections:
            if section.kind == DYNSYM:
                names = self.sections[section.link].offset
                part = self.data[section.offset : section.offset + section.size]
                return [
                    (self._text(names + name), value, index != 0, info >> 4 == WEAK)
                    for name, info, _, index, value, _ in SYMBOL.iter_unpack(part)
                ]
        return []

    def needed(self) -> list[str]:
        """Return the names of the shared objects that the dynamic linker would load for the file."""
        for section in self.sections:
            if section.kind == OF_DYNAMIC:
                names = self.sections[section.link].offset
                part = self.data[section.offset : section.offset + section.size]
                return [self._text(names + value) for tag, value in ENTRY.iter_unpack(part) if tag == NEEDED]
        return []

    def relocations(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (address, kind, index of the symbol, addend) of what the dynamic linker does to the file."""
        for section in self.sections:
            if section.kind == RELA:
                part = self.data[section.offset : section.offset + section.size]
                for address, info, addend in RELOCATION.iter_unpack(part):
                    yield address, info & 0xFFFFFFFF, info >> 32, addend

    def _text(self, offset: int) -> str:
        return self.data[offset : self.data.index(b"\0", offset)].decode()
