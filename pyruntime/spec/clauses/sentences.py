"""The specification's own text, read from a directory that the reader names: the project carries no sentence of it."""

import os
import re

from pyruntime import SPEC_VERSION
from pyruntime.base.errors import Error
from pyruntime.spec.clauses import FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYWORD = re.compile(r"\b(?:MUST|SHOULD|SHALL|REQUIRED|RECOMMENDED)\b(?: NOT\b)?")
_HEADING = re.compile(r"#+ (.*)")
_VERSION = re.compile(r"\bVersion(Major|Minor|Patch|Dev)\s*=\s*\"?([^\"\s]*)\"?")


def keywords(folder: str) -> "dict[str, list[tuple[str, str]]]":
    """Return section -> its keywords of RFC 2119 in order, each with the line of Markdown that has it.

    folder  a directory with the specification's Markdown files

    An example belongs to the section before it: a heading "Example" opens none. Raises OSError for a missing file.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for name in FILES:
        with open(os.path.join(folder, f"{name}.md"), encoding="utf-8") as file:
            for section, line in _lines(name, file.read()):
                found.setdefault(section, []).extend((keyword, line) for keyword in _KEYWORD.findall(line))
    return {section: words for section, words in found.items() if words}


def _lines(name: str, text: str) -> "Iterator[tuple[str, str]]":
    """Yield (section, line) for each line of a Markdown file."""
    section, code = "", False
    for line in text.splitlines():
        code ^= line.lstrip().startswith("```")
        heading = _HEADING.match(line)
        if heading and not code:
            title = re.sub(r"<[^>]*>", "", heading[1]).strip()
            if not title.startswith("Example"):
                section = f"{name}.md#{re.sub(r'[^a-z0-9_ -]', '', title.lower()).replace(' ', '-')}"
        yield section, line


def quote(folder: str, covers: "dict[str, list[int]]") -> "list[str]":
    """Return the lines of the specification that a clause covers, without Markdown's marks of a list.

    folder  a clone of the specification, at the version that pyruntime follows
    covers  the clause's: section -> numbers of its keywords, from 1

    Raises Error where the directory is not a specification of that version.
    """
    check_version(folder)
    try:
        known = keywords(folder)
    except (OSError, UnicodeDecodeError) as error:
        raise _not_a_specification(folder, str(error)) from None
    lines = []
    for section, numbers in covers.items():
        for number in numbers:
            words = known.get(section, [])
            if number > len(words):
                raise _not_a_specification(folder, f"{section} has {len(words)} keywords, and not {number}")
            lines.append(re.sub(r"^\s*(?:[*-]|\d+\.)\s+", "", words[number - 1][1]).strip())
    return list(dict.fromkeys(lines))


def check_version(folder: str) -> None:
    """Raise Error unless `folder` is a clone of the specification at SPEC_VERSION."""
    try:
        with open(os.path.join(folder, "specs-go/version.go"), encoding="utf-8") as file:
            parts = dict(_VERSION.findall(file.read()))
        version = f"{parts['Major']}.{parts['Minor']}.{parts['Patch']}{parts['Dev']}"
    except OSError as error:
        raise _not_a_specification(folder, error.strerror or "") from None
    except (KeyError, UnicodeDecodeError):
        raise _not_a_specification(folder, "specs-go/version.go names no version") from None
    if version != SPEC_VERSION:
        raise Error(
            f"the specification in {folder} is version {version}",
            f"pyruntime follows {SPEC_VERSION}",
            advice=f"git -C {folder} checkout v{SPEC_VERSION}",
        )


def _not_a_specification(folder: str, reason: str) -> Error:
    return Error(
        f"{folder} has no runtime-spec",
        reason,
        advice="name a clone of https://github.com/opencontainers/runtime-spec",
    )
