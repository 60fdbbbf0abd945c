"""The pairs of spec-fixtures/: all constraints and rules have one, and each bad document is bad by that alone."""

import copy
import inspect
import json
import runpy
import subprocess
import sys

import corpus
import pytest

from pyruntime import spec
from pyruntime.base.errors import InvalidConfig
from pyruntime.cli.main import main
from pyruntime.spec import _checks, rules, schema_errors

MAKER = runpy.run_path(str(corpus.FIXTURES / "make_pairs.py"))
SCHEMAS = {name: json.loads((corpus.SCHEMAS / f"{name}.json").read_text()) for name in MAKER["BASES"]}


def entries(kind, file):
    return json.loads((corpus.FIXTURES / kind / f"{file}.json").read_text())


CONFIG = entries("config", "pairs") + entries("config", "rules")
STATE = entries("state", "pairs") + entries("state", "rules")
FEATURES = entries("features", "pairs")


def expected(entry):
    return sorted((error["pointer"], error["clause"]) for error in entry["errors"])


def name_of(entry):
    return (entry.get("constraints") or [entry.get("rule")])[0]


def found(check, document):
    """Return the findings of `check` about a document, (pointer, clause) each."""
    try:
        check(copy.deepcopy(document))
    except InvalidConfig as error:
        return sorted((problem.pointer, problem.clause) for problem in error.problems)
    return []


def check_state(document):
    spec.load_state(json.dumps(document).encode())


def check_features(document):
    problems = list(schema_errors.findings("features", "", document))
    if problems:
        raise InvalidConfig("features", problems)


KINDS = [("config", CONFIG, spec.check_config), ("state", STATE, check_state), ("features", FEATURES, check_features)]


@pytest.mark.parametrize(("kind", "pairs", "check"), KINDS, ids=["config", "state", "features"])
def test_the_good_one_is_accepted_and_the_bad_one_refused_for_the_reasons_that_stand_there(
    kind, pairs, check, subtests
):
    for entry in pairs:
        with subtests.test(name_of(entry), bad=entry["bad"]):
            assert found(check, entry["bad"]) == expected(entry)
            if entry["good"] is not None:
                assert found(check, entry["good"]) == []


def test_what_is_wrong_in_a_process_is_wrong_in_a_process_document(subtests):
    seen = 0
    for entry in CONFIG:
        if entry.get("rule") == "users.process_user":
            continue  # it holds the process against another part of the configuration
        if all(pointer.startswith("/process/") for pointer, _ in expected(entry)):
            with subtests.test(name_of(entry), bad=entry["bad"]):
                relative = [(pointer.removeprefix("/process"), clause) for pointer, clause in expected(entry)]
                assert found(spec.check_process, entry["bad"]["process"]) == relative
                assert found(spec.check_process, entry["good"]["process"]) == []
                seen += 1
    assert seen > 100


def test_what_is_wrong_in_resources_is_wrong_in_an_update(subtests):
    prefix, seen = "/linux/resources", 0
    for entry in CONFIG:
        if entry.get("rule") in rules.WHOLE_RESOURCES:
            continue  # an update comes to what the container has
        if all(pointer.startswith(f"{prefix}/") for pointer, _ in expected(entry)):
            with subtests.test(name_of(entry), bad=entry["bad"]):
                relative = [(pointer.removeprefix(prefix), clause) for pointer, clause in expected(entry)]
                assert found(spec.check_resources, entry["bad"]["linux"]["resources"]) == relative
                assert found(spec.check_resources, entry["good"]["linux"]["resources"]) == []
                seen += 1
    assert seen > 100


def test_what_a_rule_finds_is_told_beside_what_the_schema_refuses_elsewhere(subtests):
    """One run shows all that is wrong: in a configuration, a process document, the resources of an update."""
    for entry in CONFIG:
        wanted = expected(entry)
        if "rule" not in entry or "root" not in entry["bad"]:
            continue
        with subtests.test(name_of(entry), bad=entry["bad"]):
            bad = {**entry["bad"], "root": {**entry["bad"]["root"], "readonly": 7}}
            assert found(spec.check_config, bad) == sorted([*wanted, ("/root/readonly", "config.md#root")])
            if entry["rule"] in rules.PROCESS:
                relative = [(pointer.removeprefix("/process"), clause) for pointer, clause in wanted]
                bad = {**entry["bad"]["process"], "terminal": 7}
                assert found(spec.check_process, bad) == sorted([*relative, ("/terminal", "config.md#process")])
            if entry["rule"] in rules.RESOURCES:
                relative = [(pointer.removeprefix("/linux/resources"), clause) for pointer, clause in wanted]
                bad = {**entry["bad"]["linux"]["resources"], "pids": {"limit": "x"}}
                assert found(spec.check_resources, bad) == sorted([*relative, ("/pids/limit", "config-linux.md#pids")])


def test_only_a_section_for_another_platform_has_no_good_one():
    without = {entry["errors"][0]["pointer"] for entry in [*CONFIG, *STATE, *FEATURES] if entry["good"] is None}
    assert without == {"/freebsd", "/solaris", "/vm", "/windows", "/zos"}


def run_validate(document, tmp_path, capfd):
    """Return exit status and stderr of `pyruntime validate` of a bundle with `document`."""
    (tmp_path / "config.json").write_text(json.dumps(document))
    status = main(["validate", "--bundle", str(tmp_path)])
    return status, capfd.readouterr().err


def test_validate_refuses_the_bad_ones_by_pointer_and_clause_and_accepts_the_good_ones(tmp_path, capfd, subtests):
    for entry in CONFIG:
        with subtests.test(name_of(entry), bad=entry["bad"]):
            status, said = run_validate(entry["bad"], tmp_path, capfd)
            assert status == 1
            for pointer, clause in expected(entry):
                assert pointer in said
                assert clause in said
            if entry["good"] is not None:
                assert run_validate(entry["good"], tmp_path, capfd) == (0, "")


CHECKER = corpus.FIXTURES / "check.py"


def show(*words):
    """Return exit status and output of check.py, which shows some of the configurations to a command."""
    command = [sys.executable, str(CHECKER), "--every", "100", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_the_program_for_other_runtimes_is_content_with_the_one_that_is_installed():
    installed = f"{sys.prefix}/bin/pyruntime"
    status, said = show("--good", "--explained", "--", installed, "validate", "--bundle", "{bundle}")
    assert status == 0, said
    assert said.endswith("configurations, 0 of them judged otherwise than they should be\n")


def test_the_program_for_other_runtimes_sees_one_that_accepts_all_refuses_all_or_says_nothing():
    status, said = show("--", "true")
    assert status == 1
    assert "it accepts this" in said
    status, said = show("--good", "--", "false")
    assert status == 1
    assert "it refuses this" in said
    status, said = show("--explained", "--", "false")
    assert status == 1
    assert "it does not say" in said


# ---- Nothing is missing ----

VALIDATING = {"type", "minimum", "maximum", "pattern", "minLength", "minItems", "maxItems", "enum", "anyOf", "$ref"}
VALIDATING |= {"items", "additionalProperties", "propertyNames", "const"}


def constraints(node, at="#"):
    """Yield the pointer of each constraint in a schema: a keyword, or one name of `required`.

    `propertyNames`, `if` and `then` are what is in them.
    """
    for keyword, value in node.items():
        if keyword in ("properties", "definitions"):
            for name, child in value.items():
                yield from constraints(child, f"{at}/{keyword}/{name}")
        elif keyword == "required":
            for name in value:
                yield f"{at}/required/{name}"
        elif keyword in ("items", "additionalProperties", "propertyNames", "if", "then"):
            if keyword in ("items", "additionalProperties"):
                yield f"{at}/{keyword}"
            yield from constraints(value, f"{at}/{keyword}")
        elif keyword in VALIDATING:
            yield f"{at}/{keyword}"
        else:
            assert keyword in ("$schema", "$comment", "title"), keyword


def without(schema, constraint):
    """Return a copy of `schema` without one constraint."""
    schema = copy.deepcopy(schema)
    node, parts = schema, constraint.split("/")[1:]
    if "/required/" in constraint:
        *parts, name = parts
    for part in parts[:-1]:
        node = node[part]
    if parts[-1] == "required":
        node["required"].remove(name)
        if not node["required"]:
            del node["required"]
    else:
        del node[parts[-1]]
    return schema


def accepts(schema, document):
    return type(corpus.validator("config"))(schema).is_valid(document)


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_constraint_has_a_pair_and_without_it_the_bad_one_is_accepted(name, subtests):
    shown = {}
    for entry in entries(name, "pairs"):
        for constraint in entry["constraints"]:
            shown.setdefault(constraint, []).append(entry["bad"])
    wanted = [constraint for constraint in constraints(SCHEMAS[name]) if "/if/" not in constraint]
    assert sorted(shown) == sorted(wanted)
    for constraint in wanted:
        with subtests.test(constraint):
            weaker = without(SCHEMAS[name], constraint)
            for document in shown[constraint]:
                assert not accepts(SCHEMAS[name], document)
                assert accepts(weaker, document)


# A condition limits what its consequence is about, so that without it a good document is refused.
CONDITIONS = {
    "config": {
        "#/definitions/process/if/required/terminal": "console-size-terminal-unset",
        "#/definitions/process/if/properties/terminal/const": "console-size-without-terminal",
        "#/definitions/devices/items/if/properties/type/enum": "fifo-device-without-numbers",
    },
    "state": {"#/if/properties/status/enum": "creating-without-pid"},
    "features": {},
}
# The property is required anyway, so this condition changes nothing; draft-07 wants it there.
EMPTY_CONDITIONS = {"#/definitions/devices/items/if/required/type", "#/if/required/status"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_without_a_condition_a_good_document_is_refused(name):
    conditions = {constraint for constraint in constraints(SCHEMAS[name]) if "/if/" in constraint}
    assert conditions - EMPTY_CONDITIONS == set(CONDITIONS[name])
    for constraint, fixture in CONDITIONS[name].items():
        document = json.loads((corpus.FIXTURES / name / f"good/{fixture}.json").read_text())
        assert accepts(SCHEMAS[name], document)
        assert not accepts(without(SCHEMAS[name], constraint), document), constraint


def test_the_pairs_are_what_would_be_made_of_the_schemas():
    for name in SCHEMAS:
        assert (corpus.FIXTURES / name / "pairs.json").read_text() == MAKER["text"](name), "run make_pairs.py"


RULESETS = {name: getattr(rules, name) for name in ("CONFIG", "PROCESS", "RESOURCES", "WHOLE_RESOURCES", "STATE")}
COLLECTIONS = {"_process", "_resources"}


@pytest.mark.parametrize(("kind", "pairs", "ruleset"), [("config", CONFIG, "CONFIG"), ("state", STATE, "STATE")])
def test_each_rule_has_a_pair_and_without_it_the_bad_one_is_accepted(kind, pairs, ruleset, monkeypatch, subtests):
    named = {entry["rule"] for entry in pairs if "rule" in entry}
    wanted = {*RULESETS[ruleset]} - COLLECTIONS
    if kind == "config":
        wanted |= {*rules.PROCESS, *rules.RESOURCES, *rules.WHOLE_RESOURCES}
    assert named == wanted
    for entry in pairs:
        if "rule" in entry:
            for name, members in RULESETS.items():
                others = {rule: properties for rule, properties in members.items() if rule != entry["rule"]}
                monkeypatch.setattr(rules, name, others)
            with subtests.test(entry["rule"], bad=entry["bad"]):
                assert getattr(_checks, kind)(entry["bad"])
                assert list(getattr(rules, kind)(entry["bad"])) == []


def test_each_finding_that_a_rule_can_make_is_made_by_a_bad_one():
    folder = rules.__path__[0]
    reached = set()

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(folder):
            return None
        reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _, pairs, check in KINDS:
            for entry in pairs:
                found(check, entry["bad"])
    finally:
        sys.settrace(before)
    for module in {inspect.getmodule(rules.find(name)) for ruleset in RULESETS.values() for name in ruleset}:
        for number, line in enumerate(inspect.getsource(module).splitlines(), 1):
            if line.strip().startswith(("yield ", "reason = ")):
                assert (module.__file__, number) in reached, f"{module.__name__}: line {number} is shown by no pair"
