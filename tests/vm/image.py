"""The image of the machine: a Debian with systemd, kept in .cache/vm by a hash of its recipe."""

import configparser
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "machines"))
import releases

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
CACHE = PROJECT / ".cache/vm"
CUSTOMIZE = HERE / "image.sh"

RELEASE = "trixie"
OLDER = "bullseye"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "kmod", "procps", "iproute2"),
    *("linux-image-cloud-amd64", "initramfs-tools", "apparmor", "secilc", "uidmap", "libseccomp2", "busybox-static"),
    # With the library, in which the program is then a few pages. Without it every container executes a new copy of the
    # whole interpreter, and emulation has to translate that anew: a container took 2.6 seconds instead of 0.4.
    *("python3-venv", "libpython3.13", "udev", "criu", "iptables", "podman", "runc", "crun", "containerd"),
)
SIZE = "3G"  # of the disk; the file holds only what is used

# Program -> the Debian package that has it.
NEEDS = {"qemu-system-x86_64": "qemu-system-x86", "mkfs.ext4": "e2fsprogs"}
IMPOSSIBLE = "cannot make a machine here"


def obstacle() -> str:
    """Return why no machine can be made on this host, or ""."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({package for program, package in NEEDS.items() if not shutil.which(program, path=path)})
    if os.geteuid() != 0:
        return f"{IMPOSSIBLE}: needs root"
    if os.uname().machine != "x86_64":
        return f"{IMPOSSIBLE}: it would be of x86_64"
    return f"{IMPOSSIBLE}: needs the Debian packages {' '.join(missing)}" if missing else releases.obstacle()


def requirements() -> list[str]:
    """Return what pyruntime and its tests need from the package index, as setup.cfg says."""
    parser = configparser.ConfigParser()
    parser.read(PROJECT / "setup.cfg")
    lists = parser["options"]["install_requires"], parser["options.extras_require"]["test"]
    return [line.strip() for text in lists for line in text.splitlines() if line.strip()]


def get() -> Path:
    """Return the directory with root.ext4, vmlinuz-* and initrd-*; make it where there is none for this recipe."""
    recipe = hashlib.sha256(
        b"\0".join([Path(__file__).read_bytes(), CUSTOMIZE.read_bytes(), *map(str.encode, requirements())])
    )
    image = CACHE / recipe.hexdigest()[:16]
    if not image.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.iterdir():  # of other recipes, or given up half way
            if old.is_dir():
                shutil.rmtree(old)
        work = image.with_suffix(".new")
        _make(work)
        work.rename(image)  # at once: its presence says that all is there
    return image


def _make(work: Path) -> None:
    """Make an image in the new directory `work`; what is done is written to `work`/log."""
    root = work / "root"
    work.mkdir(parents=True)
    print(f"vm: making the image, see {work}/log", file=sys.__stderr__, flush=True)
    # The system's own programs, and nothing of the environment of whoever runs the tests but how to reach the network.
    environment = {**releases.environment(), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    environment["HOME"] = "/root"
    with (work / "log").open("wb") as log:

        def do(*words: object, **more: object) -> None:
            command = [str(word) for word in words]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, **more)
            if done.returncode:
                text = (work / "log").read_text(errors="replace")
                raise RuntimeError(f"{' '.join(command[:6])}: status {done.returncode}\n{text[-3000:]}")

        releases.make(RELEASE, root, log.fileno())
        shutil.copy(CUSTOMIZE, root / "image.sh")
        # What it mounts and leaves mounted ends with it.
        alone = ("unshare", "--mount", "--propagation", "private")
        do(*alone, "chroot", root, "sh", "/image.sh", OLDER, *PACKAGES, env=environment)
        (root / "image.sh").unlink()
        do("chroot", root, "/opt/venv/bin/pip", "install", "--quiet", *requirements(), env=environment)
        for name in ("vmlinuz-new", "vmlinuz-old", "initrd-new", "initrd-old"):
            shutil.copyfile(root / "boot" / name, work / name)
        # Ready for use without a loop device; no journal, because nothing written to it is kept.
        options = ["-q", "-F", "-O", "^has_journal", "-E", "root_owner=0:0"]
        do("mkfs.ext4", *options, "-d", root, work / "root.ext4", SIZE, env=environment)
    shutil.rmtree(root)
