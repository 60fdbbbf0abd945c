"""The wheels and the Debian packages, installed where nothing can be built, and used there."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from machines import Machine
from releases import PROJECT, obstacle, pyenv, pyenv_python

SECONDS = 1800
# Release -> its Python.
RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
# Versions of Python whose wheel is tried: Debian's own of the oldest release, and one of another origin.
WHEELS = ("3.11", "3.12")


@pytest.fixture(scope="module", autouse=True)
def _possible():
    if reason := obstacle():
        pytest.skip(reason)


def built(kind, folder, *words):
    """Build packages as `make KIND` does; return them."""
    program = PROJECT / "packaging" / f"{kind}.py"
    subprocess.run([sys.executable, program, "--into", folder, *words], check=True, timeout=SECONDS)
    return sorted(folder.iterdir())


def bare(name, release, package):
    """Return a machine without a compiler and headers, to which `package` has been carried: it lies in /root/p."""
    machine = Machine(name, release, shown={pyenv(): str(pyenv())} if pyenv().is_dir() else {})
    machine.make()
    (machine.project / package.name).write_bytes(package.read_bytes())
    return machine


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Version of Python -> the wheel for it."""
    found = [version for version in WHEELS if version == RELEASES["bookworm"] or pyenv_python(version)]
    made = built("wheels", tmp_path_factory.mktemp("wheels"), *found)
    return {version: next(path for path in made if f"-cp{version.replace('.', '')}-" in path.name) for version in found}


@pytest.mark.parametrize("version", WHEELS)
def test_a_wheel_works_where_nothing_can_be_built(version, wheels):
    if version not in wheels:
        pytest.skip(f"needs an interpreter of pyenv's: python{version}")
    wheel = wheels[version]
    assert "-manylinux_" in wheel.name
    python = "/usr/bin/python3" if version == RELEASES["bookworm"] else pyenv_python(version)
    machine = bare(f"wheel-{version}", "bookworm", wheel)
    script = f"""
        apt-get install -y -q --no-install-recommends python3-venv busybox-static procps
        {python} -m venv '/opt/with blanks'
        '/opt/with blanks/bin/pip' install --quiet {wheel.name}
        '/opt/with blanks/bin/python' tests/machines/check.py '/opt/with blanks/bin/pyruntime'
    """
    machine.call("sh", "-euxc", script, limit=SECONDS)
    machine.remove()


@pytest.mark.parametrize("release", RELEASES)
def test_a_debian_package_works_where_nothing_can_be_built(release, tmp_path):
    (package,) = built("deb", tmp_path / "dist", release)
    machine = bare(f"package-{release}", release, package)
    script = f"""
        apt-get install -y -q --no-install-recommends ./{package.name} busybox-static
        /usr/bin/python3 tests/machines/check.py /usr/bin/pyruntime
        test -s /usr/share/man/man8/pyruntime-run.8.gz
        test -s /usr/share/bash-completion/completions/pyruntime
        dpkg --verify pyruntime
        apt-get remove -y -q pyruntime
        test ! -e /usr/lib/python3/dist-packages/pyruntime
    """
    machine.call("sh", "-euxc", script, limit=SECONDS)
    assert "works: /usr/bin/pyruntime" in machine.log.read_text()
    machine.remove()
