"""Builds a Debian package for each release that is supported: `make deb` leaves them in dist/."""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/machines"))
from machines import Machine
from releases import PROJECT, obstacle

# Release -> what its packages have in their version, so that an upgrade of the release upgrades the package.
RELEASES = {"bookworm": "deb12u1", "trixie": "deb13u1"}
SECONDS = 1800  # for one call


def main() -> None:
    """Build the packages; the logs are .cache/machines/deb-RELEASE.log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=PROJECT / "dist", help="directory for the packages")
    parser.add_argument("release", nargs="*", default=[*RELEASES], help=f"default: {' '.join(RELEASES)}")
    options = parser.parse_args()
    if reason := obstacle():
        sys.exit(reason)
    options.into.mkdir(parents=True, exist_ok=True)
    for release in options.release:
        builder = Machine(f"deb-{release}", release)
        builder.make()
        builder.call("make", "all", limit=SECONDS)
        builder.call("sh", "packaging/deb.sh", RELEASES[release], limit=SECONDS)
        for package in (builder.project / "dist").glob("*.deb"):
            print(shutil.copy(package, options.into))
        builder.remove()


if __name__ == "__main__":
    main()
