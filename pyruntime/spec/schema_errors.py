"""Finds all violations of the schema in a document: an Error for each. Imported only after a check has failed."""

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import jsonschema

import pyruntime
from pyruntime.base import json_pointer as pointer
from pyruntime.base.errors import MOST_PROBLEMS, Error
from pyruntime.spec import _checks
from pyruntime.spec._schemas import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Schema = dict[str, Any]

_LONGEST_STRING = 60
_LONGEST_VALUE = 200
_DEEPEST_VALUE = 8
_ARTICLES = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "boolean": "true or false",
    "null": "null",
}


def findings(schema: str, definition: str, value: object, at: str = "") -> "Iterator[Error]":
    """Yield an Error for each part of `value` that its schema forbids, in the schema's order.

    schema      name of the schema: a file of spec-fixtures/schema
    definition  the definition that `value` must obey; "" for the whole schema
    at          JSON pointer of `value` in the user's document
    """
    root = SCHEMAS[schema]
    if definition:
        root = {"$ref": f"#/definitions/{definition}", "definitions": root["definitions"]}
    # Two keywords may forbid the same place (a type, and an `anyOf` beside it).
    said = set()
    for finding in _validator(schema)(root).iter_errors(value):
        error = _explain(finding, root, at)
        if (error.doing, error.pointer) not in said:
            said.add((error.doing, error.pointer))
            yield error


def first(schema: str, definition: str, value: object) -> "list[dict[str, Any]]":
    """Return the findings that are printed, for another process: pyruntime.base.interpreter."""
    packed = pyruntime.base.interpreter.packed
    return [packed(error) for error in islice(findings(schema, definition, value), MOST_PROBLEMS + 1)]


def _validator(schema: str) -> Any:
    """Return the validator class: draft-07, our reading of integers and patterns, quick over what is right."""
    base = jsonschema.Draft7Validator

    def ref(validator: Any, target: str, instance: object, node: Schema) -> "Iterable[Any]":
        check = getattr(_checks, f"_{schema}_{target.rpartition('/')[2]}", None)
        try:
            if check is not None and check(instance):
                return ()
        except (KeyError, TypeError):
            pass
        errors: Iterable[Any] = base.VALIDATORS["$ref"](validator, target, instance, node)
        return errors

    extend: Any = jsonschema.validators.extend
    return extend(base, {**STRICT_KEYWORDS, "$ref": ref}, type_checker=STRICT_TYPES)


def _is_integer(checker: object, instance: object) -> bool:
    """No fraction, no exponent: what Go-based runtimes take. JSON Schema itself takes 1.0 for an integer."""
    return isinstance(instance, int) and not isinstance(instance, bool)


def _pattern(validator: Any, pattern: str, instance: object, node: Schema) -> "Iterator[Any]":
    """`pattern` with ECMA's `$`, the very end, where Python's also matches before a last newline."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _required(validator: Any, required: "list[str]", instance: object, node: Schema) -> "Iterator[Any]":
    """`required` with the missing name in the error's path."""
    for name in required:
        if isinstance(instance, dict) and name not in instance:
            yield jsonschema.ValidationError(f"{name!r} is missing", path=[name])


def _property_names(validator: Any, names: Schema, instance: object, node: Schema) -> "Iterator[Any]":
    """`propertyNames` with the wrong name in the error's path."""
    for name in instance if isinstance(instance, dict) else {}:
        yield from validator.descend(instance=name, schema=names, path=name)


# Keywords that differ from jsonschema's own, or that need more in their error; tests use them with the schemas, too.
STRICT_TYPES = jsonschema.Draft7Validator.TYPE_CHECKER.redefine("integer", _is_integer)
STRICT_KEYWORDS = {"pattern": _pattern, "required": _required, "propertyNames": _property_names}


def _explain(error: Any, root: Schema, at: str) -> Error:
    """Return jsonschema's `error` about a value at pointer `at` as ours."""
    nodes = _nodes(root, list(error.absolute_schema_path))
    path = list(error.absolute_path)
    place = pointer.join(at, *path)
    value: object = error.instance
    if error.validator == "required":
        holder = next((node for node in reversed(nodes) if path[-1] in node.get("properties", ())), {})
        nodes += _nodes(root, [], holder.get("properties", {}).get(path[-1], {}))
        doing, value = f"{_dotted(place)} is missing", None
    elif "propertyNames" in error.absolute_schema_path:
        doing = f"{_dotted(pointer.join(at, *path[:-1]))} has the name {shown(value)}"
    else:
        doing = f"{_dotted(place) or 'the document'} is {shown(value)}"
    return Error(
        doing,
        f"expected {_expected(nodes)}",
        pointer=place,
        value=_shortened(value),
        clause=next((str(node["$comment"]) for node in reversed(nodes) if "$comment" in node), ""),
        advice=_advice(error, nodes),
    )


def _advice(error: Any, nodes: "list[Schema]") -> str:
    """Return what to do about a value of the wrong type, where that is plain."""
    if error.validator != "type":
        return ""
    if error.instance is None and error.absolute_path and isinstance(error.absolute_path[-1], str):
        name = error.absolute_path[-1]
        holder = next((node for node in reversed(nodes) if name in node.get("properties", ())), {})
        return "" if name in holder.get("required", ()) else "leave it out: null stands for no value here"
    if isinstance(error.instance, float) and error.validator_value == "integer":
        return "write the number without fraction or exponent"
    return ""


def _dotted(place: str) -> str:
    """Return a pointer as people write it, its end alone where names of absurd length are in it."""
    text = pointer.dotted(place)
    return text if len(text) <= _LONGEST_VALUE else f"…{text[1 - _LONGEST_VALUE :]}"


def _nodes(root: Schema, path: "list[Any]", start: "Schema | None" = None) -> "list[Schema]":
    """Return the schema nodes on the way along `path` from `start` (default: `root`), innermost last."""
    nodes = [root if start is None else start]
    node: Any = nodes[0]
    for part in path:
        while isinstance(node, dict) and part not in node and "$ref" in node:
            node = _target(root, node)  # jsonschema's paths leave references out
            nodes.append(node)
        node = node[part]
        if isinstance(node, dict):
            nodes.append(node)
    while "$ref" in nodes[-1]:
        nodes.append(_target(root, nodes[-1]))
    return nodes


def _target(root: Schema, node: Schema) -> Schema:
    definition: Schema = root["definitions"][node["$ref"].rpartition("/")[2]]
    return definition


def _expected(nodes: "list[Schema]") -> str:
    """Return in words what the innermost node requires."""
    node = nodes[-1]
    if "title" in node:
        return str(node["title"])
    if "enum" in node:
        *others, last = node["enum"]
        return f"{', '.join(others)} or {last}" if others else str(last)
    kinds = node.get("type", [])
    return " or ".join(_ARTICLES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))


def shown(value: object) -> str:
    """Return `value` in a few words."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array" if value else "an empty array"
    if isinstance(value, str) and len(value) > _LONGEST_STRING:
        value = value[: _LONGEST_STRING - 1] + "…"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _shortened(value: object, depth: int = 0) -> object:
    """Return `value`, long strings and deep or large parts of it replaced by "…"."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…"
    if isinstance(value, (dict, list)) and depth == _DEEPEST_VALUE:
        return "…"
    if isinstance(value, dict):
        return {key: _shortened(value[key], depth + 1) for key in list(value)[:_LONGEST_STRING]}
    if isinstance(value, list):
        return [_shortened(item, depth + 1) for item in value[:_LONGEST_STRING]]
    return value
