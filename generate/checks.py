"""The schema compiler: spec-fixtures/schema/*.json to plain Python checks, at build time.

`generate` writes two modules of pyruntime/spec:

_checks.py   a function for each document that is checked (CHECKS), value in, bool out, without any import
_schemas.py  the schemas themselves as Python literals, for explain.py, which is imported only when a check fails

The build runs this file by its path (runpy): the package cannot be imported before these modules are there.

Only the part of JSON Schema draft-07 that our schemas use is known here; any other keyword stops the build. The
functions differ from jsonschema in nothing that `json` can produce (a test compares the two), except that they are
about a hundred times as fast: they stop at the first error and say nothing about it.
"""

import json
import os
from pprint import pformat
from typing import Any

Schema = dict[str, Any]

# The functions that are offered: schema file -> function name -> definition in it ("" is the whole schema).
CHECKS = {
    "config": {"config": "", "process": "process", "resources": "resources"},
    "state": {"state": ""},
}

# A pattern costs an import of `re`, so each that the schemas use is written here as an expression on the string.
# `$` is ECMA's, as JSON Schema says: the very end, not before a last newline.
PATTERNS = {
    r"^[^\u0000]*$": '"\\0" not in {v}',
    r"^[^\u0000]+$": '{v} and "\\0" not in {v}',
    r"^[^\n\u0000]*$": '"\\n" not in {v} and "\\0" not in {v}',
    r"^/[^\u0000]*$": '{v}[:1] == "/" and "\\0" not in {v}',
    r"^[^=\u0000]+=[^\u0000]*$": '{v}.find("=") > 0 and "\\0" not in {v}',
    r"^MB:[^\n\u0000]*$": '{v}[:3] == "MB:" and "\\n" not in {v} and "\\0" not in {v}',
    r"^[rwm]+$": '{v} and not {v}.strip("rwm")',
    r"^[1-9][0-9]*[KMG]B$": (
        '{v}[-2:] in ("KB", "MB", "GB") and {v}[:-2].isdigit() and {v}.isascii() and {v}[0] != "0"'
    ),
}

TYPES = {"object": "dict", "array": "list", "string": "str", "integer": "int", "boolean": "bool", "null": "None"}

# Keywords that say nothing about validity.
ANNOTATIONS = {"$schema", "$comment", "title", "description", "definitions"}


def generate(source_dir: str, destination: str) -> list[str]:
    """Compile the schemas of `source_dir` into the package directory `destination`; return the paths written.

    Raises ValueError for a schema that uses what this compiler does not know, OSError where files cannot be
    read or written.
    """
    schemas = {}
    for name in ("config", "features", "state"):
        with open(os.path.join(source_dir, f"{name}.json"), encoding="utf-8") as file:
            schemas[name] = json.load(file)
    origin = "from spec-fixtures/schema by generate/checks.py: do not edit."
    checks = [f'"""Compiled {origin}"""\n']
    checks += [_Compiler(name, schemas[name]).module(functions) for name, functions in CHECKS.items()]
    literals = f'"""Copied {origin}"""\n\nSCHEMAS = {pformat(schemas, width=118, sort_dicts=False)}'
    written = []
    for name, text in (("_checks.py", "\n".join(checks)), ("_schemas.py", literals)):
        path = os.path.join(destination, name)
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text.rstrip("\n") + "\n")
        os.replace(temporary, path)
        written.append(path)
    return written


class _Compiler:
    """The source for one schema: public functions, a private one for each definition they reach, and constants."""

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.root = schema
        self.functions: dict[str, str] = {}
        self.sets: dict[tuple[str, ...], str] = {}
        self.variables = 0

    def module(self, checks: dict[str, str]) -> str:
        """Return the source of the functions `checks` (function name -> definition) and of all that they use."""
        public = [self._check(function, definition) for function, definition in checks.items()]
        constants = [
            f"{name} = frozenset({{{', '.join(repr(value) for value in values)}}})"
            for values, name in self.sets.items()
        ]
        return "\n".join([*constants, "", *self.functions.values(), "", *public])

    def _check(self, function: str, definition: str) -> str:
        node = {"$ref": f"#/definitions/{definition}"} if definition else self.root
        return "\n".join(
            [
                f"def {function}(value: object) -> bool:",
                f'    """Tell whether `value` obeys the schema of {function}: nothing is raised, whatever it is."""',
                "    try:",
                *self._statements(node, "value", 2),
                "    except (KeyError, TypeError):  # a missing property, or a type that the next test cannot take",
                "        return False",
                "    return True",
                "",
                "",
            ]
        )

    def _statements(self, node: Schema, v: str, depth: int) -> list[str]:
        """Return statements that return False unless `v` obeys `node`."""
        node = dict(node)
        pad = "    " * depth
        if "$ref" in node:
            name, target = self._resolve(node)
            expression = self._expression(target, v)
            if expression is None:
                return [f"{pad}if not {self._function(name, target)}({v}):", f"{pad}    return False"]
            return [f"{pad}if not ({expression}):", f"{pad}    return False"] if expression else []
        expression = self._expression(node, v)
        if expression is not None:
            return [f"{pad}if not ({expression}):", f"{pad}    return False"] if expression else []
        known = {"type", "properties", "required", "propertyNames", "additionalProperties", "items", "minItems"}
        known |= {"if", "then", "anyOf"} | ANNOTATIONS
        self._refuse(set(node) - known, node)
        lines = []
        if "type" in node:
            lines += [f"{pad}if type({v}) is not {TYPES[node['type']]}:", f"{pad}    return False"]
        if "minItems" in node:
            lines += [f"{pad}if len({v}) < {node['minItems']}:", f"{pad}    return False"]
        if "items" in node:
            lines += self._items(node["items"], v, depth)
        lines += self._properties(node, v, depth)
        if "anyOf" in node:
            for choice in node["anyOf"]:
                self._refuse(set(choice) - {"required"}, choice)
            tests = " or ".join(f"{set(choice['required'])!r} <= {v}.keys()" for choice in node["anyOf"])
            lines += [f"{pad}if not ({tests}):", f"{pad}    return False"]
        if "if" in node:
            lines += [f"{pad}if {self._condition(node['if'], v)}:"]
            lines += self._statements(node["then"], v, depth + 1)
        return lines

    def _properties(self, node: Schema, v: str, depth: int) -> list[str]:
        """Return the statements about an object's members: a required one is looked up, others only if present.

        Upholds config.md#extensibility/unknown-ignored.
        """
        pad = "    " * depth
        lines = []
        properties = node.get("properties", {})
        required = node.get("required", [])
        for key in [*required, *(key for key in properties if key not in required)]:
            here = depth if key in required else depth + 1
            member = self._variable()
            body = self._statements(properties.get(key, {}), member, here)
            if key in required:
                lines.append(f"{pad}{member} = {v}[{key!r}]")
            elif body:
                lines += [f"{pad}if {key!r} in {v}:", f"{pad}    {member} = {v}[{key!r}]"]
            lines += body
        if "propertyNames" in node:
            key = self._variable()
            lines += [f"{pad}for {key} in {v}:", *self._statements(node["propertyNames"], key, depth + 1)]
        if "additionalProperties" in node:
            if properties:
                raise ValueError(f"additionalProperties beside properties: {node}")
            member = self._variable()
            lines += [f"{pad}for {member} in {v}.values():"]
            lines += self._statements(node["additionalProperties"], member, depth + 1)
        return lines

    def _items(self, items: Schema, v: str, depth: int) -> list[str]:
        pad = "    " * depth
        target = self._resolve(items)[1] if "$ref" in items else items
        if target.get("type") == "string" and target.get("pattern") == r"^[^\u0000]*$":
            # One search in all of them; join raises TypeError where one is not a string.
            return [f'{pad}if "\\0" in "".join({v}):', f"{pad}    return False"]
        item = self._variable()
        return [f"{pad}for {item} in {v}:", *self._statements(items, item, depth + 1)]

    def _expression(self, node: Schema, v: str) -> str | None:
        """Return a condition for a node about a scalar: "" if it asks for nothing, None if it needs statements."""
        parts = []
        if "enum" in node:
            self._refuse(set(node) - {"enum"} - ANNOTATIONS, node)
            if not all(isinstance(value, str) for value in node["enum"]):
                raise ValueError(f"an enum of other than strings: {node}")
            return f"{v} in {self._set(tuple(node['enum']))}"
        scalar = {"type", "minimum", "maximum", "pattern", "minLength", "maxItems"} | ANNOTATIONS
        if set(node) - scalar or isinstance(node.get("type"), list):
            return None
        if "type" in node:
            parts.append(f"type({v}) is {TYPES[node['type']]}")
        if "minimum" in node:
            parts.append(f"{node['minimum']} <= {v} <= {node['maximum']}")
        if "minLength" in node or "maxItems" in node:
            # Only "not empty" (of keys, which are strings) and "empty" are in use.
            if node.get("minLength", 1) != 1 or node.get("maxItems", 0) != 0:
                raise ValueError(f"an unknown length: {node}")
            parts.append(v if "minLength" in node else f"not {v}")
        if "pattern" in node:
            if node["pattern"] not in PATTERNS:
                raise ValueError(f"no expression for the pattern {node['pattern']}")
            parts.append(PATTERNS[node["pattern"]].format(v=v))
        return " and ".join(parts)

    def _condition(self, node: Schema, v: str) -> str:
        """Return an `if` of the one form in use: a required property has one of some values."""
        (key,) = node["required"]
        self._refuse(set(node) - {"required", "properties"} | set(node["properties"]) - {key}, node)
        test = node["properties"][key]
        if test == {"const": True}:
            return f"{v}.get({key!r}) is True"
        return f"{v}.get({key!r}) in {self._set(tuple(test['enum']))}"

    def _resolve(self, node: Schema) -> tuple[str, Schema]:
        name = node["$ref"].removeprefix("#/definitions/")
        return name, self.root["definitions"][name]

    def _function(self, name: str, node: Schema) -> str:
        """Return the private function for the definition `name`, which is compiled when first asked for."""
        function = f"_{self.name}_{name}"
        if name not in self.functions:
            self.functions[name] = ""  # holds the place, so that what it calls comes after it
            lines = [f"def {function}(v):", *self._statements(node, "v", 1), "    return True", "", ""]
            self.functions[name] = "\n".join(lines)
        return function

    def _set(self, values: tuple[str, ...]) -> str:
        return self.sets.setdefault(values, f"_{self.name.upper()}_{len(self.sets)}")

    def _variable(self) -> str:
        self.variables += 1
        return f"v{self.variables}"

    @staticmethod
    def _refuse(unknown: set[str], node: Schema) -> None:
        if unknown:
            raise ValueError(f"unknown keywords {sorted(unknown)} in {node}")
