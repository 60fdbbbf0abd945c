"""What fuzzing found stays mended, and some thousands of changed documents meet no new finding."""

from pathlib import Path

import pytest

import documents
import targets

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*/*.json"))
SEED = 1
COUNT = 2500
SLOW = {"seccomp": 300}  # libseccomp compiles each


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_fuzzing_found_is_mended(path):
    targets.CHECKS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("kind", targets.CHECKS)
def test_a_changed_document_gives_a_result_or_an_error_that_says_why(kind):
    for data in documents.stream(kind, SLOW.get(kind, COUNT), SEED):
        try:
            targets.CHECKS[kind](data)
        except Exception as error:
            raise AssertionError(f"{kind}: {data[:2000]!r}") from error


@pytest.mark.parametrize("kind", targets.CHECKS)
def test_changed_documents_are_accepted_and_refused_both(kind):
    accepted = 0
    for data in documents.stream(kind, 300, SEED):
        try:
            targets.LOADERS[kind](data)
        except targets.Error:
            continue
        accepted += 1
    assert 30 < accepted < 270
