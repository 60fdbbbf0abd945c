"""What is said of each bad configuration of spec-fixtures/: this writes findings.txt, for eyes and a test."""

import json
from pathlib import Path

import corpus

from pyruntime import spec
from pyruntime.base.errors import InvalidConfig

FILE = Path(__file__).with_suffix(".txt")


def text():
    """Return a line for each finding about the bad configurations of the rules, and the bad files."""
    documents = [entry["bad"] for entry in json.loads((corpus.FIXTURES / "config/rules.json").read_text())]
    index = corpus.index("config/bad")
    documents += [
        json.loads((corpus.FIXTURES / "config/bad" / name).read_bytes()) for name in index if "errors" in index[name]
    ]
    lines = []
    for document in documents:
        try:
            spec.check_config(document)
        except InvalidConfig as error:
            lines += [f"{problem} {json.dumps(problem.value)} {problem.advice}".rstrip() for problem in error.problems]
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


if __name__ == "__main__":
    FILE.write_text(text())
