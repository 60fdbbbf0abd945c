"""The compiled checks say of every document what jsonschema says of it."""

import copy
import json
import re
import runpy

import corpus
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from json_places import places

import pyruntime.spec
from pyruntime.spec import _checks, rules, schema_errors

COMPILER = runpy.run_path(str(corpus.FIXTURES.parent / "generate/checks.py"))
GOOD = corpus.good_configs()
CONFIG = corpus.validator("config")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.sampled_from([-1, 0, 1, 2**16, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 1.0, -1.5, float("inf")])
    | st.sampled_from(["", "/", "a", "A=b", "=", "\0", "/\0", "a\n", "rwm", "rwm\n", "2MB", "MB:", "user", "p", "c"])
    | st.text(max_size=5)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))


@st.composite
def mutations(draw):
    """Draw a good configuration with a few parts replaced, removed, repeated or renamed."""
    config = copy.deepcopy(GOOD[draw(st.sampled_from(["every-property", "every-property", "docker", "podman-userns"]))])
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(config)))
        if not path:
            continue
        parent = config
        for part in path[:-1]:
            parent = parent[part]
        how = draw(st.sampled_from(["replace", "replace", "remove", "rename", "empty"]))
        if how == "replace":
            parent[path[-1]] = draw(values)
        elif how == "empty":
            parent[path[-1]] = type(parent[path[-1]])()
        elif how == "rename" and isinstance(parent, dict):
            parent[draw(st.text(max_size=3))] = parent.pop(path[-1])
        else:
            del parent[path[-1]]
    return config


@settings(max_examples=600, deadline=None)
@given(mutations())
def test_a_mutated_config_passes_the_check_just_if_jsonschema_accepts_it(config):
    assert _checks.config(config) == CONFIG.is_valid(config)


@settings(max_examples=300, deadline=None)
@given(mutations())
def test_a_refused_config_has_findings_and_an_accepted_one_has_none(config):
    findings = list(schema_errors.findings("config", "", config))
    assert bool(findings) != CONFIG.is_valid(config)
    assert all(finding.clause.startswith(("config.md#", "config-linux.md#")) for finding in findings)


@settings(max_examples=400, deadline=None)
@given(mutations())
def test_rules_take_every_config_that_the_schema_accepts(config):
    everything = list(map(str, rules.survivors(rules.CONFIG, config)))
    if _checks.config(config):
        # A rule whose properties are missing has nothing to say.
        assert list(map(str, rules.config(config))) == everything


@settings(max_examples=200, deadline=None)
@given(values)
@example([])
@example({})
def test_any_value_at_all_is_answered(value):
    assert _checks.config(value) == CONFIG.is_valid(value)
    assert _checks.state(value) == corpus.validator("state").is_valid(value)
    assert _checks.process(value) == corpus.validator("config", "process").is_valid(value)


FIXTURES = corpus.documents("config/good") + [
    path for path in corpus.documents("config/bad") if "errors" in corpus.index("config/bad")[path.name]
]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_fixture_passes_the_check_just_if_jsonschema_accepts_it(path):
    value = json.loads(path.read_bytes())
    assert _checks.config(value) == CONFIG.is_valid(value)


@pytest.mark.parametrize("pattern", sorted(COMPILER["PATTERNS"]))
def test_the_expression_of_a_pattern_means_the_pattern(pattern):
    expression = COMPILER["PATTERNS"][pattern].format(v="text")
    exact = re.compile(pattern.replace("$", r"\Z"))
    letters = st.sampled_from(list('/=rwm0129KMGB:\n\0ab"\u0661'))

    @settings(max_examples=500, deadline=None)
    @given(st.text(letters, max_size=6) | st.text(max_size=4))
    def agrees(text):
        assert bool(eval(expression, {"text": text})) == bool(exact.search(text))

    agrees()


def test_the_checks_in_use_were_compiled_from_the_schemas_that_stand_here(tmp_path):
    for path in COMPILER["generate"](str(corpus.SCHEMAS), str(tmp_path)):
        name = path.rsplit("/", 1)[1]
        used = (corpus.Path(pyruntime.spec.__file__).parent / name).read_text()
        assert corpus.Path(path).read_text() == used, f"{name} is stale: build again"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "uniqueItems": True},
        {"type": "string", "pattern": "^x$"},
        {"enum": [1]},
        {"type": "object", "anyOf": [{"type": "object"}]},
        {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}},
    ],
)
def test_the_compiler_refuses_what_it_does_not_know(schema, tmp_path):
    source = tmp_path / "schema"
    source.mkdir()
    for name in ("config", "state", "features"):
        (source / f"{name}.json").write_text(json.dumps(schema))
    with pytest.raises((ValueError, KeyError)):
        COMPILER["generate"](str(source), str(tmp_path))
    assert not (tmp_path / "_checks.py").exists()
