"""Makes the program that holds a snapshot: takes it, and stores it as the program's data (csrc/launcher/snapshot.c).

The program is an ELF executable whose last segment is its writable data, initialized from the file as far as the linker
knew what is in it. What the linker made stays; that segment's part of the file becomes longer.
"""

import ctypes
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

# elf(5), for 64 bits, little-endian.
FILE_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTIONS_AT = 40  # where the file header says where the sections are described
SECTION = struct.Struct("<IIQQQQIIQQ")
RELOCATION = struct.Struct("<QQq")
LOAD, WRITABLE, ALLOCATED = 1, 2, 2
PROGBITS, RELA, NOBITS = 1, 4, 8
COPY = 5  # R_X86_64_COPY: a variable of the C library that the dynamic linker moves into the program


# personality(2). Who may not ask for it builds where addresses are random: that is a container's filter.
ADDR_COMPAT_LAYOUT = 0x0200000


def _other_layout() -> None:
    ctypes.CDLL(None).personality(ADDR_COMPAT_LAYOUT)


class Program:
    """The parts of the file that are needed here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.read_bytes()
        header = FILE_HEADER.unpack_from(self.data)
        segments, self.sections_at, count, section_count = header[5], header[6], header[10], header[12]
        places = [segments + number * SEGMENT.size for number in range(count)]
        # Where the description of the writable segment is in the file, and what it says.
        self.segment_at, self.segment = next(
            (place, list(segment))
            for place in places
            if (segment := SEGMENT.unpack_from(self.data, place))[0] == LOAD and segment[1] & WRITABLE
        )
        self.sections = [
            list(SECTION.unpack_from(self.data, self.sections_at + number * SECTION.size))
            for number in range(section_count)
        ]

    def shared_variables(self) -> Iterator[int]:
        """Yield the addresses of what the dynamic linker copies from the C library; all are pointers."""
        for _, kind, _, _, offset, size, *_ in self.sections:
            if kind == RELA:
                for address, info, _ in RELOCATION.iter_unpack(self.data[offset : offset + size]):
                    if info & 0xFFFFFFFF == COPY:
                        yield address

    def take(self, *, elsewhere: bool = False) -> tuple[int, bytes]:
        """Return the address and the bytes of a snapshot that the program takes of itself.

        elsewhere  with the C library and the stack at other addresses, also where the kernel does not randomize them
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "snapshot")
            word = f"{folder}{'/' * (1000 if elsewhere else 1)}snapshot"
            # Nothing of who builds it gets into it.
            subprocess.run(
                [self.path.resolve(), "--snapshot", word],
                env={"TZ": "UTC0"},
                cwd="/",
                check=True,
                preexec_fn=_other_layout if elsewhere else None,
            )
            data = path.read_bytes()
        begin, end = struct.unpack_from("<QQ", data)
        snapshot = bytearray(data[16:])
        if len(snapshot) != end - begin:
            raise RuntimeError("the snapshot is not whole")
        for address in self.shared_variables():
            struct.pack_into("<Q", snapshot, address - begin, 0)
        return begin, bytes(snapshot)

    def with_snapshot(self, begin: int, snapshot: bytes) -> bytes:
        """Return the file with `snapshot` as the end of the writable segment, from the address `begin` on."""
        _, _, offset, address, _, file_size, _, _ = self.segment
        # What comes before is the dynamic linker's to write, and stays as it is.
        whole = bytearray(self.data[: offset + begin - address] + snapshot)
        size = len(whole) - offset
        self.segment[5] = self.segment[6] = size
        SEGMENT.pack_into(whole, self.segment_at, *self.segment)
        moved = size - file_size
        for section in self.sections:
            _, kind, flags, start, where, length, *_ = section
            if flags & ALLOCATED and start >= begin:
                section[4] = offset + start - address
                if kind == NOBITS:
                    section[1], section[5] = PROGBITS, min(length, address + size - start)
            elif where >= offset + file_size:
                section[4] = where + moved
        whole += self.data[offset + file_size : self.sections_at]
        whole += bytes(-len(whole) % 8)
        struct.pack_into("<Q", whole, SECTIONS_AT, len(whole))
        return bytes(whole) + b"".join(SECTION.pack(*section) for section in self.sections)


def store(path: Path) -> None:
    """Make the program at `path` hold a snapshot of itself. Raises RuntimeError where two of them differ."""
    program = Program(path)
    begin, snapshot = program.take()
    if program.take(elsewhere=True) != (begin, snapshot):
        raise RuntimeError(f"two snapshots of {path} differ: something in them is of one process alone")
    path.write_bytes(program.with_snapshot(begin, snapshot))
