"""Extension modules that are files, as parts of the program: they lie in it as in memory when they are loaded.

A shared object is laid out for any base address, and lists what is to be added up once that is known. The program is
linked without position independence, so it is known to the linker: the base is chosen here, and the addresses of
the symbols of libpython and the C library are the linker's to write. Code is not touched.

That is for modules whose source nobody has: Debian brings json's accelerator as a file alone.
"""

from pathlib import Path

import elf

# Beyond the program with all of its arena (csrc/launcher/arena.c), and so far apart.
FIRST, APART = 0x8000000, 0x400000
PAGE = 0x1000

JUMP = {elf.X86_64: "jmp {}@PLT", elf.AARCH64: "b {}"}


class Extension:
    """One module.

    number  of it among the others, which decides its addresses
    Raises ValueError where the file needs what only a dynamic linker can give.
    """

    def __init__(self, name: str, path: Path, number: int) -> None:
        self.name, self.path, self.base = name, path, FIRST + APART * number
        self.file = file = elf.File(path)
        if file.segments_of(elf.TLS):
            raise ValueError(f"{path} has variables of its own for each thread")
        loads = file.segments_of(elf.LOAD)
        if loads[-1].address + loads[-1].in_memory > APART:
            raise ValueError(f"{path} is too large")
        self.symbols = file.symbols()
        self.jumps: dict[str, str] = {}
        # Up to here only the dynamic linker would write.
        self.fixed = max((one.address + one.in_memory for one in file.segments_of(elf.RELRO)), default=0) & -PAGE
        self.words = {address: self._word(address, *rest) for address, *rest in file.relocations()}
        first_code = next(load for load in loads if load.flags & elf.EXECUTABLE_FLAG)
        # What comes before the code is for the dynamic linker alone.
        loads = loads[loads.index(first_code) :]
        self.sections: list[tuple[str, str, int]] = []
        lines = []
        for index, load in enumerate(loads):
            begin, end = load.address & -PAGE, (load.address + load.in_memory + PAGE - 1) & -PAGE
            fixed = max(begin, self.fixed) if load.flags & elf.WRITABLE_FLAG else begin
            if fixed > begin:
                lines += self._section(f"fixed{index}", "a", load, begin, fixed)
            kind = "aw" if load.flags & elf.WRITABLE_FLAG else "ax" if load.flags & elf.EXECUTABLE_FLAG else "a"
            if end > fixed:
                lines += self._section(f"{index}", kind, load, fixed, end)
        if self.words:
            raise ValueError(f"{path} has code that is changed when it is loaded")
        entry = next(value for symbol, value, *_ in self.symbols if symbol == self.function)
        lines += [
            ".text",
            *self.jumps.values(),
            f".globl {self.function}",
            f".set {self.function}, {self.base + entry:#x}",
        ]
        self.assembly = "\n".join([*lines, '.section .note.GNU-stack,"",%progbits', ""])

    @property
    def function(self) -> str:
        """The function that makes the module."""
        return f"PyInit_{self.name}"

    @property
    def libraries(self) -> list[str]:
        """The libraries that it is linked with, by the names that cc(1) has after -l."""
        names = [name.partition(".so") for name in self.file.needed()]
        return [name.removeprefix("lib") for name, *_ in names if name.startswith("lib")]

    @property
    def options(self) -> list[str]:
        """What the linker is told."""
        return [f"-Wl,--section-start={name}={address:#x}" for name, _, address in self.sections]

    @property
    def data(self) -> list[tuple[str, str]]:
        """The symbols between which data lies that the module writes to."""
        return [
            (f"{self._label(name)}_begin", f"{self._label(name)}_end")
            for name, kind, _ in self.sections
            if kind == "aw"
        ]

    @staticmethod
    def _label(section: str) -> str:
        return section.strip(".").replace(".", "_")

    def _section(self, suffix: str, kind: str, load: elf.Segment, begin: int, end: int) -> list[str]:
        """Return the assembler's lines for the addresses from `begin` to `end` of the file."""
        name = f".extension.{self.name}.{suffix}"
        self.sections.append((name, kind, self.base + begin))
        start = load.offset - load.address
        image = self.file.data[max(begin, load.address) + start : max(load.address + load.in_file, begin) + start]
        image = (bytes(max(load.address - begin, 0)) + image).ljust(end - begin, b"\0")[: end - begin]
        lines = [f'.section {name},"{kind}",%progbits', f".globl {self._label(name)}_begin, {self._label(name)}_end"]
        lines += [f"{self._label(name)}_begin:"]
        position = begin
        for address in [*sorted(word for word in self.words if begin <= word < end and kind != "ax"), end]:
            for place in range(position, address, 64):
                part = image[place - begin : min(place + 64, address) - begin]
                lines.append(f".byte {','.join(map(str, part))}")
            if address < end:
                lines.append(f".quad {self.words.pop(address)}")
            position = address + 8
        return [*lines, f"{self._label(name)}_end:"]

    def _word(self, address: int, kind: int, index: int, addend: int) -> str:
        """Return what the assembler is to put where a relocation is.

        A function of the C library may be chosen for the processor at the start of the program, which would write its
        address. It is not written to data: there the address is that of a jump.
        """
        machine = self.file.machine
        name, value, defined, weak = self.symbols[index]
        if kind == elf.RELATIVE[machine]:
            return f"{self.base + addend:#x}"
        if kind not in (elf.GLOBAL[machine], elf.CALL[machine], elf.ABSOLUTE[machine]):
            raise ValueError(f"{self.path} has a relocation of the kind {kind}")
        if defined:
            return f"{self.base + value + addend:#x}"
        if name.startswith(("Py", "_Py")):
            return f"{name} + {addend}"
        if weak:
            return "0"  # of a library that is not there
        if kind != elf.CALL[machine] or address < self.fixed:
            return f"{name} + {addend}"
        label = f"jump_{self.name}_{name}"
        self.jumps[name] = f"{label}: {JUMP[machine].format(name)}"
        return label
