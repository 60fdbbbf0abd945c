"""Coverage-guided fuzzing of what reads documents: `fuzz.py [--time SECONDS] [TARGET …]`, see docs/testing.md.

Each target (targets.py) runs in turn, under Atheris, from the corpus of spec-fixtures/ and what earlier runs added to
.cache/fuzz/TARGET. A finding does not end the run: the first input for each place that fails is kept in
.cache/fuzz/findings/, and the exit status is 1 at the end.
"""

import argparse
import hashlib
import json
import random
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache/fuzz"
FINDINGS = CACHE / "findings"
LONGEST = 6_000_000  # bytes of a document
LARGE = 100_000
SLOWEST = 300  # seconds after which libFuzzer takes an input for a hang
sys.path[:0] = [str(HERE), str(HERE.with_name("support"))]


def fuzz(name, flags):
    """Run one target until libFuzzer's flags say stop; it ends the process."""
    import atheris

    import documents

    with atheris.instrument_imports(include=["pyruntime"]):
        import targets
    mutator, texts = documents.MUTATORS[name]()
    corpus = CACHE / name
    corpus.mkdir(parents=True, exist_ok=True)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    for text in texts:
        (corpus / hashlib.sha1(text).hexdigest()).write_bytes(text)
    check, known = targets.CHECKS[name], set()

    def one(data):
        try:
            check(data)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            at = (type(error).__name__, place.filename, place.lineno)
            if at not in known:
                known.add(at)
                label = f"{name}-{hashlib.sha1(repr(at).encode()).hexdigest()[:8]}"
                (FINDINGS / f"{label}.json").write_bytes(data)
                (FINDINGS / f"{label}.txt").write_text(traceback.format_exc(), errors="backslashreplace")
                print(f"FINDING {label}: {at}: {str(error)[:200]!r}", flush=True)

    def mutate(data, longest, seed):
        rng = random.Random(seed)
        # Large documents are for the time they take, and not for further changes, which would be as slow.
        start = data if len(data) < LARGE else rng.choice(texts)
        if rng.random() < 0.05:
            return atheris.Mutate(start, min(longest, LARGE))
        return mutator.text(start, rng)[:longest]

    atheris.Setup([sys.argv[0], str(corpus), *flags], one, custom_mutator=mutate)
    atheris.Fuzz()


def run(name, seconds):
    """Run one target in a process of its own; return what it reported."""
    command = [sys.executable, __file__, "--one", name, f"-max_total_time={seconds}", "-print_final_stats=1"]
    command += [f"-artifact_prefix={FINDINGS}/", f"-report_slow_units={SLOWEST}", f"-max_len={LONGEST}"]
    command += ["-len_control=0", f"-timeout={SLOWEST}", "-rss_limit_mb=4096"]
    began = time.monotonic()
    log = CACHE / f"{name}.log"
    CACHE.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        status = subprocess.run(command, check=False, stdout=output, stderr=subprocess.STDOUT).returncode
    text = log.read_text(errors="replace")
    edges = re.findall(r" cov: (\d+)", text)
    executed = re.findall(r"number_of_executed_units: *(\d+)", text)
    return {
        "target": name,
        "seconds": round(time.monotonic() - began),
        "executions": int(executed[-1]) if executed else 0,
        "edges": [int(edges[0]), int(edges[-1])] if edges else [],
        "corpus": len(list((CACHE / name).iterdir())),
        "findings": text.count("\nFINDING "),
        "status": status,
    }


def measure(names):
    """Print which lines the corpora of `names` reach when they are given to the targets again, module by module."""
    import coverage

    found = coverage.Coverage(source_pkgs=["pyruntime.spec", "pyruntime.plan"], data_file=None)
    found.start()
    import targets

    for name in names:
        for path in (CACHE / name).iterdir():
            try:
                targets.CHECKS[name](path.read_bytes())
            except AssertionError:  # what makes the time longer, too
                pass
    found.stop()
    found.report(omit=["*/_schemas.py", "*/json_types.py"], skip_covered=True)


def main():
    """Run the targets one after the other, each for its share of the time; say what they reached."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--time", type=int, default=60, help="seconds for all targets together")
    parser.add_argument("--coverage", action="store_true", help="fuzz nothing, but say what the corpora reach")
    parser.add_argument("targets", nargs="*", default=["config", "process", "state", "unit", "seccomp"])
    options = parser.parse_args()
    if options.coverage:
        measure(options.targets)
        return 0
    # A configuration has most to be read.
    weights = {"config": 4}
    whole = sum(weights.get(name, 1) for name in options.targets)
    reports = []
    for name in options.targets:
        reports.append(run(name, max(options.time * weights.get(name, 1) // whole, 1)))
        print(json.dumps(reports[-1]), flush=True)
    (CACHE / "report.json").write_text(json.dumps(reports, indent=1) + "\n")
    return 1 if any(report["findings"] or report["status"] for report in reports) else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
