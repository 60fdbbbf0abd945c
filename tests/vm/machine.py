"""A machine in qemu: starts the image with an archive of tests as second disk, hands on what they report, ends it."""

import json
import os
import select
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
MEMORY = 2048  # MiB
CPUS = 2
# Seconds within which a machine with KVM sends its first result; where KVM is there but does not work, it sends none.
BOOTED = 120
# What slows emulation down and does not change what is tested is off.
KERNEL_OPTIONS = (
    "root=/dev/vda rw console=ttyS0 loglevel=6 panic=-1 systemd.show_status=0"
    " mitigations=off rcupdate.rcu_expedited=1 audit=0 random.trust_cpu=on"
    # An emulated processor may need longer than the 90 s that systemd gives a unit.
    " systemd.default_timeout_start_sec=900 systemd.default_device_timeout_sec=900"
)


# Emulated processors meet an instruction that the kernel is replacing (a static key), as real ones do not, and then its
# kernel panics. Whatever makes it panic by itself does so again.
TRIES = 2


class MachineError(Exception):
    """The machine did not do what it is there for; says how far it came."""


class PanicError(MachineError):
    """The kernel of an emulated machine panicked."""


@dataclass
class Boot:
    """One start of the machine.

    name     of the log, <name>.log
    kernel   "new" or "old"
    options  added to the kernel's command line
    start    the shell script that is run inside; the machine is switched off at its end
    files    path inside -> path on the host of what is there beside the project, files or directories
    limit    seconds until the machine is ended
    """

    name: str
    kernel: str
    options: str
    start: str
    files: dict[str, Path]
    limit: float


def pack(boot: Boot, target: Path) -> None:
    """Write the archive that `boot` needs: the project's tests at /project, `files`, and /vm/start."""
    with tarfile.open(target, "w") as archive:
        for name in ("tests", "spec-fixtures", "csrc", "docs", "examples", "generate", "setup.cfg", "README.md"):
            if (PROJECT / name).exists():
                archive.add(PROJECT / name, f"project/{name}", filter=_ours)
        for inside, outside in boot.files.items():
            archive.add(outside, inside.lstrip("/"), filter=_ours)
        script = target.with_suffix(".start")
        script.write_text(boot.start)
        archive.add(script, "vm/start", filter=_ours)
        script.unlink()


def _ours(member: tarfile.TarInfo) -> "tarfile.TarInfo | None":
    """All belongs to root in the machine, and what a run of the tests on the host left is not there."""
    if "__pycache__" in member.name:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def run(boot: Boot, image: Path, work: Path) -> Iterator[dict[str, Any]]:
    """Boot, and yield what the tests send through their port, as it comes. The console is written to work/<name>.log,
    and what is yielded to work/<name>.jsonl.

    With KVM where it works, else by emulation. Raises MachineError when the machine ends without saying how the tests
    ended, or does not end in time; qemu is ended by its pid then. After a panic under emulation the machine is booted
    once more, and only what it sends then is yielded; the console of the first boot stays in work/<name>.panic.log.
    """
    disk = work / f"{boot.name}.tar"
    log = work / f"{boot.name}.log"
    pack(boot, disk)
    try:
        for accelerator in _accelerators():
            words = (boot, image, disk, log, accelerator)
            lines = _run(*words) if "kvm" in accelerator else _emulate(*words)
            first = next(lines, None)
            if first is None:
                continue  # with KVM the machine did not get to its tests
            yield first
            yield from lines
            return
    finally:
        disk.unlink()


def _emulate(boot: Boot, image: Path, disk: Path, log: Path, accelerator: list[str]) -> Iterator[dict[str, Any]]:
    """See run(): yields all at the end, when it is sure that the kernel did not panic."""
    for left in reversed(range(TRIES)):
        try:
            yield from list(_run(boot, image, disk, log, accelerator))
            return
        except PanicError:
            if not left:
                raise
            log.replace(log.with_suffix(".panic.log"))


def _accelerators() -> list[list[str]]:
    kvm = ["-accel", "kvm", "-cpu", "host"]
    # Without nested virtualization, whose modules would only be loaded, and without 57-bit addresses: qemu's make the
    # kernel's d_path() fail, which then says "xxxx" for every path in /proc. All processors in one thread: before
    # version 8.1 (its commit deba78709a), qemu may translate an instruction that the kernel is changing on another
    # processor, and the kernel, which has done so in the right order, panics. Tests took no longer so.
    emulation = ["-accel", "tcg,thread=single", "-cpu", "max,-la57,-svm"]
    # Where the processor does not virtualize, what stands behind /dev/kvm does not run every kernel to its end.
    virtualizes = {"vmx", "svm"} & set(Path("/proc/cpuinfo").read_text().split())
    return [kvm, emulation] if virtualizes and os.access("/dev/kvm", os.R_OK | os.W_OK) else [emulation]


def _command(boot: Boot, image: Path, disk: Path, log: Path, accelerator: list[str], port: int) -> list[str]:
    drive = "if=virtio,format=raw"
    return [
        *("nice", "-n", "5", "qemu-system-x86_64", *accelerator),
        *("-machine", "q35", "-smp", str(CPUS), "-m", str(MEMORY)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", f"{image}/vmlinuz-{boot.kernel}", "-initrd", f"{image}/initrd-{boot.kernel}"),
        *("-append", f"{KERNEL_OPTIONS} {boot.options}"),
        # What is written goes to a temporary file, and the image stays as it is.
        *("-drive", f"{drive},snapshot=on,file={image}/root.ext4"),
        *("-drive", f"{drive},readonly=on,file={disk}"),
        *("-serial", "stdio"),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *(
            "-chardev",
            f"file,id=reports,append=on,path=/dev/fd/{port},logfile={log.with_suffix('.jsonl')},logappend=off",
        ),
        *("-device", "virtserialport,chardev=reports,name=reports"),
    ]


def _run(boot: Boot, image: Path, disk: Path, log: Path, accelerator: list[str]) -> Iterator[dict[str, Any]]:
    """See run(); yields nothing where KVM does not work."""
    kvm = "kvm" in accelerator
    began = ended = False
    deadline = time.monotonic() + boot.limit
    reading, writing = os.pipe()
    with log.open("wb") as console, open(reading, "rb", buffering=0) as port:
        process = subprocess.Popen(
            _command(boot, image, disk, log, accelerator, writing),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            pass_fds=[writing],
        )
        os.close(writing)
        try:
            for line in _lines(port, deadline, time.monotonic() + BOOTED if kvm else deadline):
                data = json.loads(line)
                began, ended = True, ended or "status" in data
                yield data
            process.wait(max(1, deadline - time.monotonic()))
            if not ended and (began or not kvm):
                tail = _tail(log)
                error = PanicError if "Kernel panic" in tail else MachineError
                raise error(f"the machine ended before its tests did: {tail}")
        except (TimeoutError, subprocess.TimeoutExpired):
            if kvm and not began:
                return
            raise MachineError(f"no end after {boot.limit} s: {_tail(log)}") from None
        finally:
            process.kill()
            process.wait()


def _lines(port: Any, deadline: float, first: float) -> Iterator[bytes]:
    """Yield the lines that come through `port` until nobody holds its other end.

    Raises TimeoutError when that takes longer than until `deadline`, or anything at all longer than until `first`.
    """
    rest = b""
    until = first
    while True:
        if not select.select([port], [], [], max(0, until - time.monotonic()))[0]:
            raise TimeoutError
        until = deadline
        piece = port.read(65536)
        if not piece:
            return
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace")
    return f"{log}\n{text[-3000:]}"


if __name__ == "__main__":
    sys.exit("run by pytest: make vm")
