"""The documentation: its tables are the code's, its links lead somewhere, its tests are there, its example runs."""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
SANDBOX = PROJECT / "examples/sandbox.py"
PAGES = [*PROJECT.glob("*.md"), PROJECT / "csrc/README.md", PROJECT / "spec-fixtures/README.md", *DOCS.rglob("*.md")]


@pytest.fixture(scope="module")
def generator():
    """The names of generate/pages.py."""
    return runpy.run_path(str(PROJECT / "generate/pages.py"))


GENERATED = [
    f"docs/{name}" for name in ("csrc.svg", "design.md", "house.svg", "properties.md", "validation.md", "verbs.md")
]


@pytest.mark.parametrize("name", [*GENERATED, "README.md"])
def test_a_generated_page_is_what_would_be_generated(generator, name):
    assert generator["PAGES"][PROJECT / name]() == (PROJECT / name).read_text(), "run generate/pages.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_leads_to_a_file(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


def functions(path):
    """Return the names of the functions in a file of Python, those of classes among them."""
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", ["generate/properties.json", "docs/design.md"])
def test_every_test_that_is_named_is_there(page):
    named = set(re.findall(r"([\w/]+/test_\w+\.py)(?:::(\w+))?", (PROJECT / page).read_text()))
    assert named
    missing = []
    for file, name in sorted(named):
        path = PROJECT / "tests" / file.removeprefix("tests/")
        if not path.is_file() or (name and name not in functions(path)):
            missing.append(f"{file}::{name}")
    assert not missing


def test_every_file_that_the_design_names_is_there():
    text = (DOCS / "design.md").read_text()
    named = set(re.findall(r"`((?:[\w-]+/)+[\w]+\.(?:py|c|h))(?:::\w+)?`", text))
    assert named
    for file in named:
        assert any((root / file).is_file() for root in (PROJECT, PROJECT / "pyruntime", PROJECT / "tests")), file


def test_a_module_that_is_named_by_hand_holds_the_name_of_the_property():
    for pointer, modules in json.loads((PROJECT / "generate/properties.json").read_text())["modules"].items():
        for module in modules:
            if module.endswith(".py"):
                assert pointer.rpartition("/")[2] in (PROJECT / "pyruntime" / module).read_text(), (pointer, module)


def test_the_properties_are_those_of_the_schema(generator):
    table = generator["properties"]()
    assert {"/root/path", "/mounts/*/options", "/linux/seccomp/syscalls/*/args/*/op"} <= {*table}
    assert "/mounts/*" not in table and "/linux/sysctl/*" not in table
    assert len(table) > 200


# ---- Python ----


def test_public_names_are_what_the_page_lists():
    import pyruntime

    page = (DOCS / "library.md").read_text()
    for name in pyruntime._PUBLIC:
        assert re.search(rf"`{name}\b", page), name
        assert getattr(pyruntime, name).__name__ == name
        assert name in dir(pyruntime)
    with pytest.raises(AttributeError, match="nonsense"):
        pyruntime.nonsense  # noqa: B018


def test_the_package_itself_imports_nothing():
    code = "import sys; before = {*sys.modules}; import pyruntime; print(sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['pyruntime']\n"


def test_the_example_stands_in_the_page_as_it_is():
    assert f"```python\n{SANDBOX.read_text()}```" in (DOCS / "library.md").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("script", "said", "status"),
    [
        ("id -u; exit 3", "65534\n", "status 3"),
        ("dd if=/dev/zero of=/dev/shm/file bs=1M count=100 2> /dev/null; echo $?", "137\n", "status 0"),
        ("for i in 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8; do sleep 1 & done 2> /dev/null; echo all", "", "status 2"),
        ("wget -q -O - 192.0.2.1 2> /dev/null || echo unreachable", "unreachable\n", "status 0"),
    ],
)
def test_the_example_runs_a_command_within_its_limits(rootfs, script, said, status):
    done = subprocess.run(
        [sys.executable, SANDBOX, rootfs, "sh", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{said}{status}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_example_ends_a_command_whose_time_is_over(rootfs):
    # In a process of its own: this one may have threads of other tests, and then nothing can be cloned from it.
    script = (
        "import runpy, sys\n"
        "sandbox = runpy.run_path(sys.argv[1])['sandbox']\n"
        "sandbox.__globals__['SECONDS'] = 0.2\n"
        "assert sandbox(sys.argv[2], ['sleep', '1000']) == -1\n"
    )
    # Not here, where the sources are, which are not built.
    subprocess.run([sys.executable, "-c", script, SANDBOX, rootfs], check=True, cwd="/")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_example_says_why_a_command_cannot_run(rootfs):
    done = subprocess.run([sys.executable, SANDBOX, rootfs, "nosuch"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "/process/args/0" in done.stderr


# ---- Other runtimes ----

# What a program's own help says of its options: runc's is indented words, crun's is argp's.
OPTION = re.compile(r"^ {2,6}(?:-\w,? )?--([a-z][a-z0-9-]*)", re.MULTILINE)


@pytest.mark.parametrize("name", ["runc", "crun"])
def test_each_option_that_an_installed_runtime_has_is_in_the_table(name, subtests):
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if not program:
        return  # whoever has it installed checks it
    data = json.loads((PROJECT / "generate/verbs.json").read_text())[name]
    for verb in data:
        with subtests.test(verb=verb):
            done = subprocess.run([program, *verb.split(), "--help"], capture_output=True, text=True, check=False)
            if f"nknown command {verb}" in done.stdout + done.stderr:
                continue  # of a later version
            found = {*OPTION.findall(done.stdout)} - {"help", "usage"}
            assert done.stdout
            assert found <= {*data[verb], *(data[""] if name == "crun" else ())}
