"""Every good fixture loads; every bad one is refused for exactly the reasons in its index."""

import corpus
import findings
import jsonschema
import pytest
import unreadable

from pyruntime import spec
from pyruntime.base.errors import Error, InvalidConfig

CONFIG_INDEX = corpus.index("config/bad")
STATE_INDEX = corpus.index("state/bad")


def bundle_of(path, tmp_path):
    (tmp_path / "config.json").symlink_to(path)
    return str(tmp_path)


def pairs(problems):
    return sorted((problem.pointer, problem.clause) for problem in problems)


def expected(entry):
    return sorted((error["pointer"], error["clause"]) for error in entry["errors"])


@pytest.mark.parametrize("path", corpus.documents("config/good"), ids=lambda path: path.stem)
def test_a_good_config_is_loaded(path, tmp_path):
    assert spec.load_config(bundle_of(path, tmp_path)) == corpus.good_configs()[path.stem]


@pytest.mark.parametrize("path", corpus.documents("config/bad"), ids=lambda path: path.stem)
@pytest.mark.clause("config.md#valid-values/invalid-is-error")
def test_a_bad_config_is_refused_for_the_reasons_in_the_index(path, tmp_path):
    entry = CONFIG_INDEX[path.name]
    bundle = bundle_of(path, tmp_path)
    with pytest.raises(Error) as caught:
        spec.load_config(bundle)
    error = caught.value
    assert f"{bundle}/config.json" in str(error)
    if "errors" in entry:
        assert isinstance(error, InvalidConfig)
        assert pairs(error.problems) == expected(entry)
        assert all(problem.doing and problem.reason for problem in error.problems)
    else:
        assert not isinstance(error, InvalidConfig)
        assert error.reason.startswith(entry["document"])
        assert error.reason
        assert error.clause == entry["clause"]
        assert error.pointer == entry.get("pointer", "")


def test_the_index_lists_the_bad_configs_and_nothing_else():
    assert sorted(CONFIG_INDEX) == [path.name for path in corpus.documents("config/bad")]


@pytest.mark.parametrize("path", corpus.documents("state/good"), ids=lambda path: path.stem)
def test_a_good_state_is_loaded(path):
    assert spec.load_state(path.read_bytes())["ociVersion"]


@pytest.mark.parametrize("path", corpus.documents("state/bad"), ids=lambda path: path.stem)
def test_a_bad_state_is_refused_for_the_reasons_in_the_index(path):
    with pytest.raises(InvalidConfig) as caught:
        spec.load_state(path.read_bytes(), "the state")
    assert "the state is not valid" in str(caught.value)
    assert pairs(caught.value.problems) == expected(STATE_INDEX[path.name])


def test_the_state_index_lists_the_bad_states_and_nothing_else():
    assert sorted(STATE_INDEX) == [path.name for path in corpus.documents("state/bad")]


@pytest.mark.parametrize("name", ["config", "state", "features"])
def test_the_schemas_are_draft_07(name):
    jsonschema.Draft7Validator.check_schema(corpus.validator(name).schema)


def test_a_features_document_with_nulls_obeys_its_schema():
    features = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0", "hooks": None, "linux": {"cgroup": {"v1": None}}}
    assert corpus.validator("features").is_valid(features)
    assert not corpus.validator("features").is_valid({**features, "hooks": [1]})
    assert not corpus.validator("features").is_valid({"ociVersionMin": "1.0.0"})


def test_the_findings_about_bad_configurations_are_worded_as_in_the_file():
    assert findings.text() == findings.FILE.read_text(), "run findings.py, and read what has changed"


def test_what_is_said_of_documents_that_are_not_json_is_worded_as_in_the_file():
    assert unreadable.text() == unreadable.FILE.read_text(), "run unreadable.py, and read what has changed"
