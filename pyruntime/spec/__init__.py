"""config.json and its relatives, loaded strictly: schema and rules, every finding at once.

Compiled checks and plain functions accept a valid document. The modules that explain errors are imported only after a
check has failed. A document that these functions return needs no further checking of types, ranges or enums.
"""

import pyruntime
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.spec import _checks, rules
from pyruntime.spec.load import parse, read

pyruntime.load_lazily(__name__)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyruntime.spec.json_types import Config, Process, Resources, State

__all__ = [
    "check_config",
    "check_process",
    "check_resources",
    "load_config",
    "load_process",
    "load_state",
    "read_config",
]


def load_config(bundle: str, *, fd: "int | None" = None) -> "Config":
    """Return the validated configuration of the bundle (config.md).

    bundle  path of the bundle's directory
    fd      descriptor of that directory; then `bundle` only names it in errors

    Raises Error where BUNDLE/config.json is not one JSON document, InvalidConfig with all findings where it is not
    a valid configuration for Linux.

    Upholds bundle.md#container-format/config-json.
    """
    return read_config(bundle, fd=fd)[0]


def read_config(bundle: str, *, fd: "int | None" = None) -> "tuple[Config, bytes]":
    """Return what `load_config` does, and the document as it stands in the bundle."""
    name = f"{bundle.rstrip('/')}/config.json"
    data = read(name) if fd is None else read("config.json", name=name, dir_fd=fd)
    config: Config = parse(data, name)  # type: ignore[assignment]  # that it is one is about to be checked
    check_config(config, name)
    return config, data


def check_config(config: "Config", name: str = "config.json") -> None:
    """Raise InvalidConfig unless `config` is a valid configuration for Linux (config.md, config-linux.md).

    Upholds config.md#valid-values/invalid-is-error.
    """
    _check(config, name, _checks.config, rules.config, "config", "", rules.CONFIG)


def load_process(path: str) -> "Process":
    """Return the validated process document of `exec --process PATH` (config.md#process).

    Raises Error where it is not one JSON document, InvalidConfig where it is not a valid process.
    """
    process: Process = parse(read(path, streams=True, clause="config.md#process"), path)  # type: ignore[assignment]  # as in load_config
    check_process(process, path)
    return process


def check_process(process: "Process", name: str = "process") -> None:
    """Raise InvalidConfig unless `process` is a valid process (config.md#process); pointers are relative to it."""
    _check(process, name, _checks.process, rules.process, "config", "process", rules.PROCESS)


def check_resources(resources: "Resources", name: str = "resources") -> None:
    """Raise InvalidConfig unless `resources` are valid (config-linux.md#control-groups); pointers are relative."""
    _check(resources, name, _checks.resources, rules.resources, "config", "resources", rules.RESOURCES)


def load_state(data: bytes, name: str = "state.json") -> "State":
    """Return the validated state document (runtime.md#state).

    name  what to call it in errors

    Raises Error where it is not one JSON document, InvalidConfig where it is not a state.
    """
    state: State = parse(data, name)  # type: ignore[assignment]  # as in load_config
    _check(state, name, _checks.state, rules.state, "state", "", rules.STATE)
    return state


def _check(
    value: "Any",
    name: str,
    obeys: "Callable[[Any], bool]",
    judge: "Callable[[Any], Iterator[Error]]",
    schema: str,
    definition: str,
    ruleset: "rules.Rules",
) -> None:
    """Raise InvalidConfig with the findings of schema and rules, where there are any.

    obeys               the compiled check of the schema
    judge               yields what the rules find where the schema is obeyed
    schema, definition  where that schema stands, for the words of its findings
    ruleset             the same rules, for a document that breaks the schema
    """
    problems = judge(value) if obeys(value) else _findings(value, schema, definition, ruleset)
    error = InvalidConfig(f"{name} is not valid", problems)
    # The value is valid, but made of other types than the JSON parser returns.
    if not error.problems:
        return
    if schema == "config":
        template = {"process": "/process", "resources": "/linux/resources"}.get(definition, "")
        for problem in error.problems:
            problem.advice = problem.advice or pyruntime.spec.likely_mistakes.misspelt(value, problem.pointer, template)
    raise error


def _findings(value: object, schema: str, definition: str, ruleset: "rules.Rules") -> "Iterator[Error]":
    """Yield what schema and rules find in a document that breaks the schema."""
    found: Iterator[Error]
    try:
        other = pyruntime.base.interpreter
        if other.is_apart():  # jsonschema needs extension modules
            first = other.call("spec.schema_errors", "first", schema, definition, value)
            found = map(other.unpacked, first)
        else:
            found = pyruntime.spec.schema_errors.findings(schema, definition, value)
    except ImportError as error:
        advice = "install jsonschema: with it, every finding is listed"
        yield Error("it breaks the schema", f"the details need {error.name}", advice=advice)
        return
    except Error as error:  # the interpreter cannot be run, or not to its end
        yield Error("it breaks the schema", f"the details are not known: {error}", advice=error.advice)
        return
    refused = []
    for problem in found:
        refused.append(f"{problem.pointer}/")
        yield problem
    # Findings of a rule inside a part that the schema refuses repeat the schema's, or are wrong.
    for problem in rules.survivors(ruleset, value):
        if not f"{problem.pointer}/".startswith(tuple(refused)):
            yield problem
