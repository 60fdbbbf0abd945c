"""Compares what a process sees under runc, crun and pyruntime, and writes the table of docs/deviations.md. Needs root.

`.venv/bin/python generate/beside.py`; which differences have which reason is in tests/beside/deviations.py. Differences
without one are printed, and the exit status is 1 then.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/beside"))
import deviations
import peers

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs/deviations.md"
BEGIN, END = "<!-- from generate/beside.py -->\n", "<!-- end of generate/beside.py -->\n"


def main() -> int:
    """Measure, write the table, and say what has no line and which line nothing has."""
    measured = peers.measure(Path(sys.executable).with_name("pyruntime"))
    before, rest = PAGE.read_text().split(BEGIN)
    rows = "\n".join(deviations.table(measured))
    PAGE.write_text(f"{before}{BEGIN}{rows}\n{END}{rest.split(END)[1]}")
    status = 0
    for name in measured:
        for path, values in deviations.unlisted(measured, name).items():
            print(f"no line: {name}: {path}: {values}")
            status = 1
    shown = [line for line, *_ in deviations.examples(measured)]
    for line in deviations.LINES:
        if line.certain and not line.shown and line not in shown:
            print(f"no difference: {line.what}")
            status = 1
    if peers.versions() != deviations.SEEN_WITH:
        print(f"SEEN_WITH of deviations.py is for others than {peers.versions()}")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
