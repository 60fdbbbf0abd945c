"""What loading imports: for a good config.json nothing dear (counted, not timed), for a bad one what explains it."""

import subprocess
import sys
from pathlib import Path

import corpus
import pytest

import pyruntime

FORBIDDEN = set(
    """
    argparse collections contextlib ctypes dataclasses datetime decimal enum fastjsonschema functools inspect json
    jsonschema logging operator pathlib pprint psutil random re shutil signal socket struct subprocess tempfile
    threading traceback typing urllib warnings weakref
    """.split()  # noqa: SIM905  # one paragraph reads better than thirty lines
)

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import os
before = set(sys.modules)
from pyruntime import spec
spec.load_config(sys.argv[2])
spec.load_state(b'{"ociVersion": "1.3.0", "id": "a", "status": "running", "pid": 1, "bundle": "/"}')
spec.check_process({"cwd": "/", "args": ["sh"]})
print(*sorted(set(sys.modules) - before))
"""


def run(program, *arguments, path=None):
    """Run `program` in an isolated interpreter that finds the package and nothing else beside the standard library."""
    package = str(path or Path(pyruntime.__file__).parents[1])
    command = [sys.executable, "-I", "-S", "-c", program, package, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", ["docker", "podman-userns", "every-property"])
def test_a_good_config_is_loaded_without_dear_imports(name, tmp_path):
    (tmp_path / "config.json").symlink_to(corpus.FIXTURES / "config/good" / f"{name}.json")
    imported = run(PROGRAM, str(tmp_path)).split()
    assert not set(imported) & FORBIDDEN
    # The interpreter's own C modules cost nothing, or next to it.
    assert {name for name in imported if not name.startswith("pyruntime")} <= {"_json", "errno"}
    late = {
        "pyruntime.spec.schema_errors",
        "pyruntime.spec.json_syntax",
        "pyruntime.spec.json_types",
        "pyruntime.spec._schemas",
    }
    assert not set(imported) & late


REFUSED = """
import sys
sys.path.insert(0, sys.argv[1])
from pyruntime import spec
from pyruntime.base.errors import Error
assert "json" not in sys.modules
for bundle in sys.argv[2:]:
    try:
        spec.load_config(bundle)
    except Error as error:
        print(error.reason, error.clause)
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "line 1, column 2: expected a name in double quotes"),
        ('{"a": 1,\n "b" 2}', "line 2, column 6: expected a colon after the name"),
        ('{"a": "\\x"}', "line 1, column 8: invalid \\escape"),
        ('{"a": "', "line 1, column 7: unterminated string"),
        ("[1 2]", "line 1, column 4: expected a comma or the closing bracket"),
    ],
)
def test_a_syntax_error_is_placed_though_json_was_not_imported_before(text, reason, tmp_path):
    (tmp_path / "config.json").write_text(text)
    assert run(REFUSED, str(tmp_path)).startswith(reason)


def test_without_jsonschema_a_bad_config_is_refused_all_the_same(tmp_path):
    (tmp_path / "pyruntime").symlink_to(Path(pyruntime.__file__).parent)
    (tmp_path / "config.json").write_text("{}")
    assert run(REFUSED, str(tmp_path), path=tmp_path) == "1 error \n"
