"""ociVersion (config.md#specification-version): a semantic version, and one that this runtime supports."""

from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, State

CLAUSE = "config.md#specification-version"

# The newest version of the runtime-spec that is built in: 1.0.0 (and its candidates) up to 1.3.
MAJOR, MINOR = 1, 3

_DIGITS = frozenset("0123456789")
_IDENTIFIER = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")


def semver(text: str) -> "tuple[int, int, int] | None":
    """Return major, minor and patch of a version in SemVer 2.0.0 format; None for any other text."""
    release, plus, build = text.partition("+")
    core, dash, candidate = release.partition("-")
    numbers = core.split(".")
    if len(numbers) != 3 or not all(map(_is_number, numbers)):
        return None
    if plus and not all(part and _IDENTIFIER.issuperset(part) for part in build.split(".")):
        return None
    if dash:
        for part in candidate.split("."):
            if not part or not _IDENTIFIER.issuperset(part) or (_DIGITS.issuperset(part) and not _is_number(part)):
                return None
    return int(numbers[0]), int(numbers[1]), int(numbers[2])


def _is_number(text: str) -> bool:
    return text == "0" or (0 < len(text) < 10 and text[0] != "0" and _DIGITS.issuperset(text))


def oci_version(document: "Config | State", clause: str = "runtime.md#state") -> "Iterator[Error]":
    """A version is in SemVer 2.0.0 format.

    Upholds config.md#specification-version/semver.
    """
    version = document["ociVersion"]
    if semver(version) is None:
        reason = 'expected a version in SemVer 2.0.0 format, like "1.3.0"'
        doing = f'ociVersion is "{version[:60]}"'
        yield Error(doing, reason, pointer="/ociVersion", value=version, clause=clause)


def later(config: "Config") -> str:
    """Return a warning for a later version than that of this runtime, "" for any other."""
    version = semver(config["ociVersion"])
    if version is None or version[:2] <= (MAJOR, MINOR):
        return ""
    unknown = f"what came after version {MAJOR}.{MINOR} of the runtime-spec is not known"
    return f"ociVersion is {config['ociVersion']}: {unknown} (/ociVersion, {CLAUSE})"


def supported(config: "Config") -> "Iterator[Error]":
    """A configuration may ask for any version of the specification with the same major version.

    A later minor version only adds properties (SemVer 2.0.0). They are ignored or refused like all unknown ones;
    `later` returns a warning.

    Candidates and builds ("1.0.0-rc5", "1.2.0-dev", "1.3.0+dev"), which callers do write, count as their release.

    Upholds features.md#specification-version/min-accepted, features.md#specification-version/max-accepted.
    """
    yield from oci_version(config, CLAUSE)
    version = semver(config["ociVersion"])
    if version is not None and version[0] != MAJOR:
        yield Error(
            f'ociVersion is "{config["ociVersion"]}"',
            f"supported are versions {MAJOR}.0 to {MAJOR}.{MINOR} of the runtime-spec, and later ones of {MAJOR}",
            pointer="/ociVersion",
            value=config["ociVersion"],
            clause=CLAUSE,
        )
