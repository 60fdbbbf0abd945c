"""Shows the configurations to a program: `check.py [--good] [--explained] -- COMMAND …`, {bundle} being its bundle.

    check.py --good --explained -- pyruntime validate --bundle {bundle}

A bad configuration has to be refused: the command exits with a status other than 0, and is not killed by a signal.
--explained: what it prints names the pointer and the clause of each finding, as pyruntime does. --good: a good
configuration has to be accepted, too. Exits with 1 if any configuration was judged otherwise. Nothing but Python's
standard library is needed, and nothing of pyruntime.

A runtime that has no word for validating has to be shown them by `create`, and what it accepts it carries out: mounts
on the host, other limits for its groups. Do that in a virtual machine that is thrown away.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def cases():
    """Yield (name, content of config.json, whether it is good, findings) for each configuration."""
    folder = os.path.join(HERE, "config")
    for verdict in ("good", "bad"):
        index = load(os.path.join(folder, "bad/index.json"))
        for name in sorted(os.listdir(os.path.join(folder, verdict))):
            if name != "index.json":
                with open(os.path.join(folder, verdict, name), "rb") as file:
                    content = file.read()
                errors = index[name].get("errors", []) if verdict == "bad" else []
                yield f"{verdict}/{name}", content, verdict == "good", errors
    for name in ("pairs", "rules"):
        for number, entry in enumerate(load(os.path.join(folder, f"{name}.json")), 1):
            label = f"{name}.json line {number + 1}, {(entry.get('constraints') or [entry.get('rule')])[0]}"
            yield f"{label}, bad", json.dumps(entry["bad"]).encode(), False, entry["errors"]
            if entry["good"] is not None:
                yield f"{label}, good", json.dumps(entry["good"]).encode(), True, []


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def judge(words, good, errors, explained):
    """Return what is wrong with the command's answer to a configuration, "" where nothing is."""
    try:
        done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "it does not answer"
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode < 0:
        return f"it was killed by signal {-done.returncode}"
    if (done.returncode == 0) != good:
        return f"it {'accepts' if done.returncode == 0 else 'refuses'} this: {said.strip()[:300]}"
    unsaid = [error[key] for error in errors for key in ("pointer", "clause") if error[key] not in said]
    return f"it does not say {', '.join(unsaid)}: {said.strip()[:300]}" if explained and unsaid else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--good", action="store_true", help="show the good configurations, too")
    parser.add_argument("--explained", action="store_true", help="expect pointer and clause of each finding")
    parser.add_argument("--every", type=int, default=1, help="show only each configuration of that many")
    parser.add_argument("command", nargs="+", help="words of the command; {bundle} is replaced by the path of a bundle")
    options = parser.parse_args()
    shown = wrong = 0
    with tempfile.TemporaryDirectory() as bundle:
        os.mkdir(os.path.join(bundle, "rootfs"))
        for number, (name, content, good, errors) in enumerate(cases()):
            if number % options.every or (good and not options.good):
                continue
            with open(os.path.join(bundle, "config.json"), "wb") as file:
                file.write(content)
            words = [word.replace("{bundle}", bundle) for word in options.command]
            problem = judge(words, good, errors, options.explained)
            shown += 1
            if problem:
                wrong += 1
                print(f"{name}: {problem}")
    print(f"{shown} configurations, {wrong} of them judged otherwise than they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
