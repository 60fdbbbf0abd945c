"""The catalogue of clauses: every MUST, SHOULD and REQUIRED of the runtime-spec that can concern this runtime.

The id of a clause is that of its section, a slash, and a name: config.md#mounts/listed-order. A reference to a section
alone (`Step.clause`, `Error.clause`, a test's mark) means the whole section. The data is in JSON files beside this
module, one for each file of the specification. No verb that runs a container imports this.

strength   the keywords of RFC 2119 in the specification
binds      runtime; author of a config.json; caller of the runtime; consumer of what it writes; platform other than
           Linux; specification itself
says       what it requires, in this project's words
does       what pyruntime does about it
pointers   the properties of config.json it is about; "*" is any index or name
covers     section -> which of its keywords, counted from 1, are this clause: twins in other sections are one clause
schema     true where the schema of config.json upholds it, and no function does
code       what upholds it, if that is a table, which has no docstring
exception  why no test can show it

evidence.json has the functions and tests that name a clause, properties.json what `explain` prints of a property;
generate/conformance.py writes both.
"""

import os
import sys

import pyruntime
from pyruntime import SPEC_VERSION
from pyruntime.base.errors import Error
from pyruntime.base.jsonio import loads

pyruntime.load_lazily(__name__)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Clause = dict[str, Any]

FILES = ("runtime", "bundle", "runtime-linux", "config", "config-linux", "features", "features-linux")


SPECIFICATION = f"https://github.com/opencontainers/runtime-spec/blob/v{SPEC_VERSION}/"
# Section -> its anchor there, where that is another one: this heading has a space before its words.
_ANCHORS = {"runtime-linux.md#dev-symbolic-links": "runtime-linux.md#-dev-symbolic-links"}


def address(section: str) -> str:
    """Return where a section can be read."""
    return SPECIFICATION + _ANCHORS.get(section, section)


def catalogue() -> "dict[str, Clause]":
    """Return every clause by its identifier, in the order of the specification's files."""
    found: dict[str, Clause] = {}
    for file in FILES:
        found.update(read(file))
    return found


def evidence() -> "dict[str, dict[str, list[str]]]":
    """Return clause -> {"code": functions, "tests": tests} that name it; a name is FILE::FUNCTION."""
    return read("evidence")


def properties() -> "dict[str, dict[str, Any]]":
    """Return property of config.json -> type, default, clause (a section), modules, tests."""
    return read("properties")


def read(name: str) -> "dict[str, Any]":
    """Return the content of a data file of this package. Raises Error where it is missing."""
    # A frozen module has no file; the packages that it belongs to are on the path all the same.
    here = globals().get("__file__")
    folders = [os.path.dirname(here)] if here else [f"{folder}/pyruntime/spec/clauses" for folder in sys.path]
    for folder in folders:
        try:
            with open(f"{folder}/{name}.json", "rb") as file:
                found: dict[str, Any] = loads(file.read().decode())  # type: ignore[assignment]  # our own file
        except OSError:
            continue
        return found
    raise Error("cannot read the catalogue of clauses", f"pyruntime/spec/clauses/{name}.json is not installed")
