"""Makes the program that holds a snapshot: takes it, and stores it as the program's data (csrc/launcher/snapshot.c).

The program is an ELF executable. Its writable data is initialized from the file, as far as the linker knew what is in
it. What the linker made stays; the data goes to the end of the file and becomes longer.
"""

import ctypes
import struct
import subprocess
import tempfile
from pathlib import Path

import elf

# In bytes: a large page, and the memory for objects that the program finds behind the arena (csrc/launcher/arena.h).
LARGE_PAGE, ROOM = 2 << 20, 3 << 19

# personality(2). Who may not ask for it builds where addresses are random: that is a container's filter.
ADDR_COMPAT_LAYOUT = 0x0200000


def _other_layout() -> None:
    ctypes.CDLL(None).personality(ADDR_COMPAT_LAYOUT)


def take(path: Path, words: list[str], *, elsewhere: bool = False) -> list[tuple[int, bytes]]:
    """Return the addresses and the bytes of a snapshot that the program at `path` takes of itself.

    words      what follows the name of the file on the command line
    elsewhere  with the heap and the stack at other addresses, also where the kernel does not randomize them

    Raises RuntimeError when it does not.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = f"{folder}{'/' * (1000 if elsewhere else 1)}snapshot"
        # Nothing of who builds it gets into it; Python looks at the streams, and where in a file they are.
        done = subprocess.run(
            [path.resolve(), "--snapshot", target, *words],
            env={"TZ": "UTC0"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            preexec_fn=_other_layout if elsewhere else None,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{path} takes no snapshot of itself: status {done.returncode}\n{done.stdout.decode()}")
        data = Path(target).read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    place = 8 + 16 * count
    parts = []
    for begin, end in struct.iter_unpack("<QQ", data[8:place]):
        parts.append((begin, _without_the_c_library(path, begin, data[place : place + end - begin])))
        place += end - begin
    if place != len(data):
        raise RuntimeError("the snapshot is not whole")
    return parts


def _without_the_c_library(path: Path, begin: int, part: bytes) -> bytes:
    """Return a part with the C library's data as the linker made it (csrc/build/c_library.ld)."""
    file = elf.File(path)
    section = file.section(".c_library")
    place = section.address - begin
    if not 0 <= place < len(part):
        return part
    fresh = file.data[section.offset : section.offset + section.size]
    return part[:place] + fresh + part[place + section.size :]


def with_snapshot(file: elf.File, parts: list[tuple[int, bytes]]) -> bytes:
    """Return the file with the first of `parts` as the end of its segment, and the others in their places."""
    whole = bytearray(file.data)
    (begin, snapshot), *others = parts
    for address, part in others:
        (segment,) = (one for one in file.segments_of(elf.LOAD) if one.holds(address))
        offset = segment.offset + address - segment.address
        whole[offset : offset + len(part)] = part

    (segment,) = (one for one in file.segments_of(elf.LOAD) if one.holds(begin))
    # What comes before is written to at the start alone, and stays as it is.
    before = file.data[segment.offset : segment.offset + begin - segment.address]
    whole[segment.offset : segment.offset + segment.in_file] = bytes(segment.in_file)
    whole += bytes((segment.address - len(whole)) % segment.align)
    moved = len(whole) - segment.offset
    whole += before + snapshot
    inside = [one for one in file.segments if one is not segment and segment.holds(one.address)]
    sections = [one for one in file.sections if one.flags & elf.ALLOCATED and segment.holds(one.address)]
    end = segment.address + len(before) + len(snapshot)
    for one in [segment, *inside]:
        one.offset += moved
        one.write(whole)
    segment.in_file = end - segment.address
    # Without more calls the kernel also maps zeros behind the arena: for objects, and for a large page.
    room = end + ROOM
    segment.in_memory = (room + -room % LARGE_PAGE) + LARGE_PAGE - segment.address
    segment.write(whole)
    for section in sections:
        section.offset = segment.offset + section.address - segment.address
        if section.kind == elf.NOBITS and not section.flags & elf.OF_THREADS:
            section.kind, section.size = elf.PROGBITS, min(section.size, end - section.address)
        section.write(whole)
    return bytes(whole)


def store(path: Path, *words: str) -> None:
    """Make the program at `path` hold a snapshot of itself. Raises RuntimeError where there is none, or two differ.

    words  what the program is told beside the name of the file
    """
    parts = take(path, list(words))
    if take(path, list(words), elsewhere=True) != parts:
        raise RuntimeError(f"two snapshots of {path} differ: something in them is of one process alone")
    path.write_bytes(with_snapshot(elf.File(path), parts))
