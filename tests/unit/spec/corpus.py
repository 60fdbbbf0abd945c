"""The fixtures of spec-fixtures/, found and read for the tests beside this file."""

import json
from pathlib import Path

import jsonschema

from pyruntime.spec import schema_errors

FIXTURES = Path(__file__).parents[3] / "spec-fixtures"
SCHEMAS = FIXTURES / "schema"


def documents(folder):
    """Return the fixtures of `folder` ("config/good"), sorted by name."""
    return [path for path in sorted((FIXTURES / folder).glob("*.json")) if path.name != "index.json"]


def index(folder):
    """Return what the index of `folder` says of each file."""
    return json.loads((FIXTURES / folder / "index.json").read_text())


def good_configs():
    """Return the good configurations: name -> value."""
    return {path.stem: json.loads(path.read_text()) for path in documents("config/good")}


def validator(name, definition=""):
    """Return a plain jsonschema validator for a schema, with our reading of integers and patterns and nothing else."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    if definition:
        schema = {"$ref": f"#/definitions/{definition}", "definitions": schema["definitions"]}
    keywords = {"pattern": schema_errors.STRICT_KEYWORDS["pattern"]}
    strict = jsonschema.validators.extend(jsonschema.Draft7Validator, keywords, type_checker=schema_errors.STRICT_TYPES)
    return strict(schema)
