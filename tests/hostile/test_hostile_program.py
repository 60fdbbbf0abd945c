"""The runtime's own program, attacked from a container through what /proc/PID/exe shows (CVE-2019-5736)."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from containers import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

BREAKER = Path(__file__).with_name("breaker.c")
LINKER = Path(__file__).with_name("linker.c")


@pytest.fixture(scope="module")
def breaker(tmp_path_factory):
    program = tmp_path_factory.mktemp("breaker") / "breaker"
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-static", "-o", program, BREAKER], check=True)
    return program


@pytest.fixture
def attack(runtime, bundle, breaker):
    """A function that has a container attack a link, and returns what succeeded.

    The container has all capabilities, those of the host's user namespace, and sees the host's processes.
    """

    def run(link, *mounts):
        def configure(config):
            every = [f"CAP_{name}" for name in CAPABILITIES if name not in missing()]
            config["process"].update(args=["/breaker", str(link), "/place"])
            config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), every)
            config["root"]["readonly"] = False
            config["mounts"] += mounts
            config["linux"]["namespaces"] = [{"type": kind} for kind in ("mount", "ipc", "uts")]
            config["linux"].pop("maskedPaths", None)
            config["linux"].pop("readonlyPaths", None)

        place = bundle(configure, own=True)
        shutil.copy(breaker, place / "rootfs/breaker")
        (place / "rootfs/place").touch()
        lines = runtime("run", "-b", place, runtime.id()).stdout.splitlines()
        assert lines.pop() == "done"
        return lines

    return run


CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "LINUX_IMMUTABLE": 9, "SYS_PTRACE": 19,
    "SYS_ADMIN": 21, "SYS_RESOURCE": 24, "CHECKPOINT_RESTORE": 40,
}  # fmt: skip


def missing():
    """Return those that the tests themselves do not have."""
    text = Path("/proc/self/status").read_text()
    mask = int(text.partition("CapBnd:")[2].split()[0], 16)
    return {name for name, bit in CAPABILITIES.items() if not mask >> bit & 1}


def facts(path):
    """Return what an attack could have changed of a file."""
    status = path.stat()
    return path.read_bytes(), status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ctime_ns


def links(pid, path):
    """Return the links through which a process shows its program: exe, and each part of it that is mapped."""
    name = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    found = [f"/proc/{pid}/exe"]
    found += [str(link) for link in Path(f"/proc/{pid}/map_files").iterdir() if os.readlink(link).startswith(name)]
    assert len(found) > 2, found
    assert not any(os.path.samefile(link, path) for link in found)
    return found


def waits_without_python(pid):
    """Tell whether a `run` has executed its program once more, sealed it and waits for signals."""
    sigtimedwait = {"x86_64": b"128", "aarch64": b"137"}[platform.machine()]
    environment, call = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "syscall"))
    return b"PYRUNTIME_WAITS=" in environment and call.split()[0] == sigtimedwait


# A memfd is a file of nobody else's: owner, mode, times and flags of the copy itself may change.
OF_THE_COPY = {"chmod", "chown", "utimes", "FS_IOC_SETFLAGS"}


@pytest.mark.parametrize("verb", ["run", "create"])
def test_no_capability_makes_the_runtimes_program_writable(attack, sealed, bundle, verb):
    """A runtime that waits, in the foreground or for `start`, is found by a container in the host's pid namespace."""
    before = facts(sealed.program)
    place = bundle(lambda config: config["process"].update(args=["sh", "-c", "echo up; exec sleep 1000"]))
    name = sealed.id()
    command = sealed.command(verb, "-b", place, "--pid-file", place / "pid", name)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as runtime:
        try:
            pid = runtime.pid
            if verb == "run":
                assert runtime.stdout.readline() == b"up\n"
                until(lambda: waits_without_python(pid), "the runtime that waits")
            else:
                assert runtime.wait() == 0
                pid = (place / "pid").read_text()
            is_copy = os.readlink(f"/proc/{pid}/exe").startswith("/memfd:")
            for link in links(pid, sealed.program):
                copy = Path(link).read_bytes()
                assert set(attack(link)) <= {f"changed by {way}" for way in OF_THE_COPY if is_copy}
                assert Path(link).read_bytes() == copy
        finally:
            sealed("delete", "--force", name)
    assert facts(sealed.program) == before


def test_the_attack_works_where_a_file_is_only_bind_mounted_read_only(attack, tmp_path):
    """That is the weaker protection, a flag of the mount: the attack must be able to break it."""
    file = tmp_path / "file"
    file.write_bytes(b"." * 4096)
    mount = {"destination": "/held", "type": "bind", "source": str(file), "options": ["bind", "ro"]}
    done = attack("/held", mount)
    assert "changed by open to write" not in done
    assert "changed by mount_setattr of it, open to write" in done


def test_the_attack_works_where_a_program_is_not_protected(attack, tmp_path):
    program = tmp_path / "program"
    shutil.copy(shutil.which("sleep"), program)
    with subprocess.Popen([program, "1000"]) as victim:
        done = attack(f"/proc/{victim.pid}/exe")
        victim.kill()
    # Its bytes are safe only as long as it runs.
    assert "changed by chmod" in done


def elf_is_static(program) -> bool:
    """Tell whether no dynamic linker is named in a program."""
    text = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True).stdout
    return "INTERP" not in text


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the attack is written for x86_64")
def test_a_script_of_the_program_itself_gains_nothing(sealed, bundle):
    """The container executes the runtime that it is being made by, and has a dynamic linker for it.

    The program is linked statically, so the linker is not asked. The interpreter of a build without a snapshot is not.
    """
    before = facts(sealed.program)
    place = bundle(lambda config: config["process"].update(args=["/script"]), own=True)
    (place / "rootfs/script").write_text("#!/proc/self/exe\n")
    (place / "rootfs/script").chmod(0o755)
    linker = place / "rootfs/lib64/ld-linux-x86-64.so.2"
    linker.parent.mkdir()
    options = ["-O1", "-static-pie", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]
    subprocess.run(["gcc", *options, "-o", linker, LINKER], check=True)
    result = sealed("run", "-b", place, sealed.id(), check=False)
    if elf_is_static(sealed.program):
        assert result.stdout == "" and "the package pyruntime is not installed beside" in result.stderr
    else:
        assert result.stdout.splitlines() == ["the attacker's linker"], result.stderr
    assert facts(sealed.program) == before
