"""The compiled checks judge as three validators that are not ours do, over thousands of generated documents."""

import json
import sys
from pathlib import Path

import corpus
import fastjsonschema
import jsonschema_rs
import pytest

from pyruntime.base.errors import Error
from pyruntime.spec import _checks, load

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))

import documents

SEED, COUNT = 20261121, 4000
SCHEMAS = {name: json.loads((corpus.SCHEMAS / f"{name}.json").read_text()) for name in ("config", "state")}
SCHEMAS["process"] = {"$ref": "#/definitions/process", "definitions": SCHEMAS["config"]["definitions"]}


def has_integral_float(value):
    """Tell whether a number like 1.0 is in `value`: draft-07's integers, and not ours (spec-fixtures/README.md)."""
    if isinstance(value, dict):
        return any(map(has_integral_float, value.values()))
    if isinstance(value, list):
        return any(map(has_integral_float, value))
    return isinstance(value, float) and (value.is_integer() or value in (float("inf"), float("-inf")))


def judges(kind):
    """Return validators of `kind` by name, each a function from document to bool."""
    fast = fastjsonschema.compile(SCHEMAS[kind])
    rust = jsonschema_rs.Draft7Validator(SCHEMAS[kind])
    slow = corpus.validator("config", "process") if kind == "process" else corpus.validator(kind)

    def by_fastjsonschema(document):
        try:
            fast(document)
        except fastjsonschema.JsonSchemaValueException:
            return False
        return True

    return {"fastjsonschema": by_fastjsonschema, "jsonschema-rs": rust.is_valid, "jsonschema": slow.is_valid}


def loaded(texts):
    """Yield the documents that all can read, and that draft-07 reads as we do."""
    for data in texts:
        try:
            document = load.parse(data, "document")
        except Error:
            continue
        if not has_integral_float(document) and len(data) < 100_000:
            yield document


def compare(kind, document, others):
    answer = getattr(_checks, kind)(document)
    for name, judge in others.items():
        assert judge(document) == answer, f"{name} says {not answer} of {json.dumps(document)[:3000]}"
    return answer


@pytest.mark.parametrize("kind", SCHEMAS)
def test_of_changed_documents(kind):
    others = judges(kind)
    # The one that is written in Python takes longer than all else here.
    slow = others.pop("jsonschema")
    answers = []
    for document in loaded(documents.stream(kind, COUNT, SEED)):
        more = {"jsonschema": slow} if len(answers) % 10 == 0 else {}
        answers.append(compare(kind, document, others | more))
    # Neither all are right nor all wrong, and there are thousands of them.
    assert len(answers) > COUNT * 2 / 3
    assert 0.1 < sum(answers) / len(answers) < 0.9


@pytest.mark.parametrize("file", ["pairs", "rules"])
@pytest.mark.parametrize("verdict", ["good", "bad"])
def test_of_the_pairs(file, verdict):
    others = judges("config")
    for entry in json.loads((corpus.FIXTURES / f"config/{file}.json").read_text()):
        if entry[verdict] is not None:
            compare("config", entry[verdict], others)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_of_documents_invented_from_the_schema(kind):
    others = judges(kind)
    texts = (json.dumps(document).encode() for document in documents.invented(kind, 300, SEED))
    answers = [compare(kind, document, others) for document in loaded(texts)]
    assert len(answers) > 200
