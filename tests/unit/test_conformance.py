"""The catalogue of clauses is whole, each clause that binds us has code and a test, and conformance.md says so."""

import json
import re
import runpy
from pathlib import Path

import pytest

from clauses import CLAUSES, SECTIONS
from pyruntime.spec.clauses import FILES, catalogue, evidence, properties

PROJECT = Path(__file__).parents[2]
CATALOGUE = catalogue()
BINDS = {"runtime", "author", "caller", "consumer", "platform", "specification"}
KEYS = {"strength", "binds", "says", "does", "pointers", "covers", "schema", "code", "exception"}


@pytest.fixture(scope="module")
def generator():
    """The names of generate/conformance.py."""
    return runpy.run_path(str(PROJECT / "generate/conformance.py"))


@pytest.fixture(scope="module")
def record():
    """What was counted in the specification."""
    return json.loads((PROJECT / "generate/keywords.json").read_text())


@pytest.fixture(scope="module")
def generated(generator, tmp_path_factory):
    return generator["generated"](tmp_path_factory.mktemp("marks"))


def test_the_record_counts_what_the_specification_says(record):
    words = [keyword.split()[0] for section in record["sections"].values() for keyword in section]
    assert {word: words.count(word) for word in set(words)} == {
        "MUST": 273,
        "SHOULD": 62,
        "REQUIRED": 58,
        "RECOMMENDED": 2,
    }
    assert record["version"] == "1.3.0"
    assert record["sections"].keys() <= SECTIONS


def test_keywords_are_found_in_markdown(generator, tmp_path):
    for name in FILES:
        (tmp_path / f"{name}.md").write_text("")
    text = (
        "# One <a/>\nIt MUST and MUST NOT.\n```\n# MUST\n```\n### Example\nSHOULD\n## Two (or so)\n**REQUIRED** TRUST\n"
    )
    (tmp_path / "config.md").write_text(text)
    assert generator["keywords"](tmp_path) == {
        "config.md#one": ["MUST", "MUST NOT", "MUST", "SHOULD"],
        "config.md#two-or-so": ["REQUIRED"],
    }


def test_each_keyword_of_the_specification_belongs_to_one_clause(generator, record):
    assert generator["uncovered"](CATALOGUE, record["sections"]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.pop("config.md#root/path-required"), "belongs to no clause"),
        (lambda table: table["config.md#root/readonly"]["covers"]["config.md#root"].append(1), "root/readonly is MUST"),
        (lambda table: table["config.md#root/readonly"].update(covers={"config.md#root": [99]}), "which is not there"),
        (lambda table: table["config.md#root/readonly"].update(strength="SHOULD"), "root/readonly is SHOULD"),
    ],
)
def test_what_is_wrong_with_a_catalogue_is_found(generator, record, change, said):
    table = catalogue()
    change(table)
    assert any(said in one for one in generator["uncovered"](table, record["sections"]))


def _has_strength(says, strength):
    """Tell whether a sentence alone tells how strong the clause is: "must not" for MUST NOT, and so on."""
    words = {"MUST": "must", "REQUIRED": "must", "SHOULD": "should", "RECOMMENDED": "should"}
    for keyword in strength.split(", "):
        verb, _, negation = keyword.partition(" ")
        if not re.search(rf"\b{words[verb]}{' not' * bool(negation)}\b", says):
            return False
    return True


def test_every_clause_is_written_as_the_catalogue_says(subtests):
    known = properties()
    for name, clause in CATALOGUE.items():
        with subtests.test(name):
            assert re.fullmatch(r"[a-z-]+\.md#[a-z0-9-]+/[a-z0-9-]+", name)
            assert name.partition("/")[0] in SECTIONS
            assert clause.keys() <= KEYS
            assert clause["binds"] in BINDS
            assert clause["says"].endswith(".") and len(clause["says"]) > 15
            assert _has_strength(clause["says"], clause["strength"]), clause["says"]
            # What binds the runtime is done in some way; of what nobody can test there is a reason.
            assert clause.get("does") or clause.get("exception") or clause["binds"] != "runtime"
            for pointer in clause.get("pointers", ()):
                around = [one for one in known if re.fullmatch(pointer.replace("*", "[^/]+"), one.replace("*", "0"))]
                assert around or pointer.rpartition("/")[0] in known, pointer


def test_every_clause_that_binds_us_has_code_and_a_test_or_a_reason(generator, generated):
    found = json.loads(next(text for path, text in generated.items() if path.name == "evidence.json"))
    missing = {name: generator["status"](clause, found[name]) for name, clause in CATALOGUE.items()}
    assert {name: text for name, text in missing.items() if text.startswith("MISSING")} == {}


def test_no_tested_clause_is_called_an_exception(generated):
    found = json.loads(next(text for path, text in generated.items() if path.name == "evidence.json"))
    assert not [name for name, clause in CATALOGUE.items() if clause.get("exception") and found[name]["tests"]]


def test_marks_of_the_virtual_machines_name_what_there_is(generator):
    found = generator["machine_tests"]()
    assert len(found) > 5
    assert found.keys() <= CLAUSES


def test_tests_that_an_exception_names_are_there():
    named = [
        test for clause in CATALOGUE.values() for test in re.findall(r"(\S+\.py)::(\w+)", clause.get("exception", ""))
    ]
    assert len(named) > 3
    for file, test in named:
        assert f"def {test}(" in (PROJECT / "tests" / file).read_text(), test


@pytest.mark.parametrize("name", ["docs/conformance.md", "evidence.json", "properties.json"])
def test_what_is_generated_is_what_would_be(generated, name):
    path, text = next((path, text) for path, text in generated.items() if str(path).endswith(name))
    assert path.read_text() == text, "run generate/conformance.py"


@pytest.mark.parametrize("name", [*FILES, "evidence", "properties"])
def test_the_data_in_use_are_those_that_stand_here(name):
    import pyruntime.spec.clauses

    installed = Path(pyruntime.spec.clauses.__file__).with_name(f"{name}.json")
    source = PROJECT / "pyruntime/spec/clauses" / f"{name}.json"
    assert installed.read_text() == source.read_text(), f"{name}.json is stale: build again"


def test_code_that_a_clause_names_is_there():
    for name, found in evidence().items():
        for place in found["code"]:
            file, _, function = place.partition("::")
            assert (PROJECT / file).is_file(), (name, place)
            assert not function or re.search(rf"\b{function}\b", (PROJECT / file).read_text()), (name, place)


def test_a_claim_is_a_list_after_the_word_or_a_whole_string(generator, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '''
"""As a.md#b/talked-of says.

Upholds a.md#b/module,
a.md#b/second.
a.md#b/not-any-more
"""
def outer():
    # Upholds a.md#b/outer.
    def inner():
        return Step("x", clause="a.md#b/inner")
    return "in the words of a.md#b/talked-of"
'''
    )
    assert list(generator["_python"](path)) == [
        ("a.md#b/module", ""),
        ("a.md#b/second", ""),
        ("a.md#b/outer", "outer"),
        ("a.md#b/inner", "inner"),
    ]
