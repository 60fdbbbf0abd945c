"""Root filesystems of other releases: what debootstrap makes, with this machine's way to the package registries.

They are kept in .cache/machines, which only saves time. What is copied of this machine (where packages come from, whose
certificates are trusted) stays there.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
CACHE = PROJECT / ".cache/machines"
# All that is there before the two commands: what README asks for, and with certificates a way to the package index.
PACKAGES = ("python3", "make", "ca-certificates")
# Releases that have no updates beside them.
ROLLING = ("sid",)
CERTIFICATES = Path("usr/local/share/ca-certificates")
# Program -> the Debian package that has it.
NEEDS = {"debootstrap": "debootstrap", "unshare": "util-linux", "pivot_root": "util-linux"}
IMPOSSIBLE = "cannot enter a machine here"
_LINE = re.compile(r"^deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suites>\S+)\s+(?P<components>.+)$", re.MULTILINE)


def obstacle() -> str:
    """Return why no machine can be entered on this host, or ""."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({package for program, package in NEEDS.items() if not shutil.which(program, path=path)})
    if os.geteuid() != 0:
        return f"{IMPOSSIBLE}: needs root"
    return f"{IMPOSSIBLE}: needs the Debian packages {' '.join(missing)}" if missing else ""


def make(release: str, target: Path, log: "int | None" = None) -> None:
    """Make a root filesystem of the Debian `release` in the new directory `target`: a copy of the one that is kept.

    log  descriptor of a file for what is said
    """
    base = _base(release, log)
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", base, target], check=True, stdout=log, stderr=log)


def environment() -> dict[str, str]:
    """Return what of the environment programs need to reach the registries."""
    return {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


def pyenv() -> Path:
    """Return the directory in which pyenv has other versions of Python, which may not be there."""
    return Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"


def pyenv_python(version: str) -> str:
    """Return the path of pyenv's interpreter of this version ("3.12"), "" where there is none."""
    return next((str(path) for path in sorted(pyenv().glob(f"{version}.*/bin/python3"))), "")


def _base(release: str, log: "int | None") -> Path:
    """Return the root filesystem that is kept for `release`; make it where there is none for what is copied into it."""
    files = {path: path.read_bytes() for path in (Path("/etc/pip.conf"), *Path("/", CERTIFICATES).glob("*.crt"))}
    files = {str(path).lstrip("/"): content for path, content in files.items()}
    files["etc/apt/sources.list"] = _sources(release).encode()
    files["etc/apt/apt.conf.d/10host"] = _settings().encode()
    # A machine that breaks down is made again: nothing needs to be on the disk at once.
    files["etc/dpkg/dpkg.cfg.d/unsafe"] = b"force-unsafe-io\n"
    recipe = hashlib.sha256(repr((release, PACKAGES, sorted(files.items()))).encode()).hexdigest()[:16]
    base = CACHE / f"{release}-{recipe}"
    if not base.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        work = base.with_suffix(".new")
        for old in CACHE.glob(f"{release}-*"):  # of other recipes, or given up half way
            shutil.rmtree(old)
        _debootstrap(release, work, files, log)
        work.rename(base)  # at once: its presence says that all is there
    return base


def _debootstrap(release: str, target: Path, files: dict[str, bytes], log: "int | None") -> None:
    mirror = files["etc/apt/sources.list"].decode().split()[1]
    # The system's own programs; what they mount ends with them.
    alone = ("unshare", "--mount", "--propagation", "private")
    clean = {**environment(), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}

    def do(*words: object) -> None:
        command = [*alone, *map(str, words)]
        subprocess.run(command, check=True, env=clean, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    for last in (False, True):
        try:
            do("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", release, target, mirror)
            break
        except subprocess.CalledProcessError:  # a mirror that did not answer once
            if last:
                raise
            shutil.rmtree(target, ignore_errors=True)
    for name, content in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.copy("/etc/resolv.conf", target / "etc/resolv.conf")
    do("chroot", target, "update-ca-certificates")
    do("chroot", target, "apt-get", "update", "--error-on=any")


def _settings() -> str:
    """Return this machine's settings of how apt fetches."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    wanted = ("Acquire::Check-", "Acquire::http", "Acquire::https", "Acquire::Retries")
    return "".join(f"{line}\n" for line in dump.splitlines() if line.startswith(wanted) and not line.endswith('"";'))


def _sources(release: str) -> str:
    """Return this machine's sources of Debian packages as those of `release`."""
    system = platform.freedesktop_os_release()
    own = system.get("VERSION_CODENAME", "") if system.get("ID") == "debian" else ""
    found = []
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        text = path.read_text() if path.is_file() else ""
        entries = [match.groupdict() for match in _LINE.finditer(text)] if path.suffix != ".sources" else []
        for paragraph in text.split("\n\n") if path.suffix == ".sources" else ():
            fields = {
                name.lower(): value for name, _, value in (line.partition(":") for line in paragraph.splitlines())
            }
            if "deb" in fields.get("types", "").split():
                entries += [
                    {"uri": uri, "suites": suite, "components": "main"}
                    for uri in fields["uris"].split()
                    for suite in fields["suites"].split()
                ]
        found += [(entry["uri"], entry["suites"]) for entry in entries]
    lines = [
        f"deb {uri} {release}{suite.removeprefix(own)} main\n"
        for uri, suite in found
        if own and (suite == own or (suite.startswith(f"{own}-") and release not in ROLLING))
    ]
    return "".join(dict.fromkeys(lines)) or f"deb http://deb.debian.org/debian {release} main\n"


if __name__ == "__main__":
    sys.exit("run by pytest: make machines")
