"""Writes docs/timeline.svg, the timeline of a real run: `.venv/bin/python generate/timeline.py`. Needs root.

The picture shows the fastest of many runs, because the others show what else the machine did.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyruntime.cli import timeline_svg, trace_file

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests/support"))
from bundle import make_bundle  # noqa: E402

RUNS = 200


def change(config: "dict[str, Any]") -> None:
    """Have `config` show each row of a timeline: a hook, a limit, a program."""
    config["process"]["args"] = ["true"]
    config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    config["linux"].setdefault("resources", {}).update(pids={"limit": 100}, memory={"limit": 1 << 26})


def main() -> None:
    """Run a container many times, and write the picture of the fastest run."""
    program = Path(sys.executable).with_name("pyruntime")
    with tempfile.TemporaryDirectory() as place:
        bundle = make_bundle(Path(place) / "bundle", program, change)
        trace, fastest, shown = Path(place) / "trace", float("inf"), b""
        for _ in range(RUNS):
            words = [program, "--root", f"{place}/state", "run", "--trace", trace, "--bundle", bundle, "hello"]
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
            whole = max(bar.end for bar in trace_file.read(str(trace)))
            if whole < fastest:
                fastest, shown = whole, trace.read_bytes()
        # The places of this run say nothing to a reader.
        shown = shown.replace(str(bundle).encode(), b"/bundle").replace(f"{place}/state".encode(), b"/run/pyruntime")
        trace.write_bytes(shown)
        (PROJECT / "docs/timeline.svg").write_text(timeline_svg.picture(trace_file.read(str(trace))))


if __name__ == "__main__":
    main()
