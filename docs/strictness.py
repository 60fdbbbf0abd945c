"""Asks other runtimes what they make of some clauses, and writes the tables of deviations.md. Needs root.

`.venv/bin/python docs/strictness.py` does two things with runc, crun and pyruntime: it carries out the CASES below, and
it runs `create` on each broken configuration of spec-fixtures/config/bad. A fixture is minimal, and some runtimes want
more than the specification does, so what is broken in it is put into a configuration that all three accept. It all
happens in namespaces of its own; what could change the host is not tried.
"""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PROJECT = DOCS.parent
BAD = PROJECT / "spec-fixtures/config/bad"
PAGE = DOCS / "deviations.md"
BEGIN, END = "<!-- from docs/strictness.py -->\n", "<!-- end -->\n"

RUNTIMES = {"runc": "runc", "crun": "crun", "pyruntime": str(Path(sys.executable).with_name("pyruntime"))}

# These would be carried out on the host by a runtime that accepts them.
DANGEROUS = ("sysctl-of-the-host", "sysctl-upwards", "unified-path", "hidden-paths-without-mount-namespace")

ID = f"strictness-{os.getpid()}"

# Fixture -> the namespace that the rest of the configuration must not have, so that the fixture is wrong in it, too.
WITHOUT = {
    "hostname-without-uts": "uts",
    "domainname-without-uts": "uts",
    "net-devices-without-network-namespace": "network",
    "sysctl-without-namespace": "network",
    "time-offsets-without-namespace": "time",
}

# About what came into the specification after these runtimes: they ignore it, as config.md#extensibility demands.
LATER = (
    "domainname", "exec-cpu-affinity", "io-priority", "memory-policy", "net-device", "scheduler", "time-offset",
)  # fmt: skip

FALSE = {"path": "/bin/false"}
NOTE = {"path": "/bin/sh", "args": ["sh", "-c", "cat > {note}"]}
TMPFS = {"destination": "/home", "type": "tmpfs", "source": "tmpfs"}

# Clause, what is changed in a good configuration (null removes), what is called. ID stands for a container's id.
CASES: "list[tuple[str, dict[str, Any], list[str]]]" = [
    ("runtime.md#delete/not-stopped", {}, ["create -b . ID", "delete ID"]),
    ("runtime.md#start/process-missing", {"process": None}, ["create -b . ID", "start ID"]),
    ("runtime.md#lifecycle/start-container-fails", {"hooks": {"startContainer": [FALSE], "poststop": [NOTE]}},
     ["create -b . ID", "start ID"]),
    ("runtime.md#lifecycle/poststart-fails", {"hooks": {"poststart": [FALSE], "poststop": [NOTE]}},
     ["create -b . ID", "start ID"]),
    ("config.md#poststart/when", {"hooks": {"poststart": [NOTE]}}, ["create -b . ID"]),
    ("runtime.md#state/status", {"hooks": {"createRuntime": [NOTE]}}, ["create -b . ID"]),
    ("config.md#linux-process/capability-warning", {"process": {"capabilities": {"bounding": ["CAP_NOSUCH"]}}},
     ["create -b . ID"]),
    ("config.md#process/console-size-ignored", {"process": {"consoleSize": {"height": "x"}}}, ["create -b . ID"]),
    ("config-linux.md#default-filesystems/available", {"mounts": None}, ["create -b . ID"]),
    ("config-linux.md#default-filesystems/available",
     {"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]},
     ["create -b . ID", "start ID", "exec ID grep -q /dev/shm /proc/mounts"]),
    ("config-linux.md#devices/other-file-in-place",
     {"linux": {"devices": [{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3}]}}, ["create -b . ID"]),
    ("config-linux.md#control-groups/unfit-cgroup", {"linux": {"cgroupsPath": "/ID"}},
     ["create -b . ID", "create -b . ID-two"]),
    *(
        (f"config.md#linux-mount-options/option-{option}", {"mounts": [{**TMPFS, "options": [option]}]},
         ["create -b . ID"])
        for option in ("iversion", "loud", "nosymfollow", "silent")
    ),
]  # fmt: skip

# What is no JSON document: fixture -> what makes such a one of a good document.
TEXTS: "dict[str, Callable[[str], bytes]]" = {
    "json-byte-order-mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "json-control-character": lambda text: text.replace('"hostname": "', '"hostname": "\x01').encode(),
    "json-duplicate-key": lambda text: text.replace('"hostname"', '"hostname": "first", "hostname"').encode(),
    "json-duplicate-key-escaped": lambda text: text.replace(
        '"hostname"', '"host\\u006eame": "first", "hostname"'
    ).encode(),
    "json-empty": lambda _: b"",
    "json-infinity": lambda text: text.replace('"hostname"', '"annotations": {"x": Infinity}, "hostname"').encode(),
    "json-latin-1": lambda text: text.replace('"hostname": "', '"hostname": "\xfc').encode("latin-1"),
    "json-nan": lambda text: text.replace('"hostname"', '"x": NaN, "hostname"').encode(),
    "json-not-json": lambda _: b"config",
    "json-trailing-comma": lambda text: (text.rstrip()[:-1] + ",}").encode(),
    "json-truncated": lambda text: text.rstrip()[:-1].encode(),
    "json-two-documents": lambda text: (text + text).encode(),
    "json-unpaired-surrogate": lambda text: text.replace('"hostname": "', '"hostname": "\\ud800').encode(),
    "json-utf-16": lambda text: text.encode("utf-16"),
}


def base(folder: Path) -> "dict[str, Any]":
    """Return the configuration that `spec` writes, for runtimes of 2023 and without a terminal."""
    subprocess.run([RUNTIMES["pyruntime"], "spec", "--bundle", folder], check=True)
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    config["ociVersion"] = "1.0.2"
    config["process"].update(terminal=False, args=["sleep", "1000"])
    return config


def merged(config: "Any", fixture: "Any", pointer: str = "") -> "Any":
    """Return the configuration with the fixture over it; entries of mounts and namespaces are added."""
    if pointer == "/ociVersion" and fixture == "1.3.0":
        return config
    if isinstance(config, dict) and isinstance(fixture, dict):
        both = {name: merged(config[name], fixture[name], f"{pointer}/{name}") for name in config if name in fixture}
        return {**config, **fixture, **both}
    if isinstance(config, list) and isinstance(fixture, list):
        if pointer == "/mounts":
            return fixture + config  # first, so that the indexes stay the fixture's
        if pointer == "/linux/namespaces":
            types = {entry.get("type") for entry in fixture}
            return fixture + [entry for entry in config if entry["type"] not in types]
    return fixture


def remove(config: "Any", pointer: str) -> None:
    """Remove what is at `pointer`, if it is there."""
    *way, last = pointer.split("/")[1:]
    for part in way:
        if not isinstance(config, dict) or part not in config:
            return
        config = config[part]
    if isinstance(config, dict):
        config.pop(last, None)


def exists(config: "Any", pointer: str) -> bool:
    """Tell whether there is something at `pointer`."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(config, list) and name.isdigit() and int(name) < len(config):
            config = config[int(name)]
        elif isinstance(config, dict) and name in config:
            config = config[name]
        else:
            return False
    return True


def broken(name: str, entry: "dict[str, Any]", config: "dict[str, Any]") -> "bytes | None":
    """Return the text of a configuration that is right but for what is wrong in the fixture; None where there is none.

    entry  what the index says of the fixture
    """
    config = copy.deepcopy(config)
    if name in TEXTS:
        return TEXTS[name](json.dumps(config))
    if "errors" not in entry:
        return None
    fixture = json.loads((BAD / f"{name}.json").read_bytes())
    if not isinstance(fixture, dict):
        return json.dumps(fixture).encode()
    if name in WITHOUT:
        linux = config["linux"]
        linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] != WITHOUT[name]]
        if WITHOUT[name] == "uts" and name != "hostname-without-uts":
            del config["hostname"]
    result = merged(config, fixture)
    for error in entry["errors"]:
        if not exists(fixture, error["pointer"]) and not error["pointer"].endswith("Mappings"):
            remove(result, error["pointer"])
    return json.dumps(result).encode()


def answer(program: str, bundle: Path, work: Path) -> "tuple[bool, str]":
    """Return whether `create` accepts the bundle, and what it says; one that hangs has not accepted it.

    Each has a mount namespace of its own, so that a container without one mounts nothing where this program looks.
    """
    command = [program, "--root", str(work / Path(program).name)]
    with open(work / "said", "w+b") as said:
        created = subprocess.Popen(
            ["unshare", "--mount", *command, "create", "-b", str(bundle), ID],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
        try:
            status = created.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(created.pid, signal.SIGKILL)
            status = created.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")
    subprocess.run([*command, "delete", "--force", ID], capture_output=True, check=False, timeout=20)
    return status == 0, text


def patched(config: "Any", patch: "Any") -> "Any":
    """Return the configuration changed by a JSON merge patch (RFC 7396), but that mounts are added at the end."""
    result = dict(config) if isinstance(config, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif name == "mounts" and value[0] == value[0] | TMPFS:
            result[name] = config[name] + value
        elif isinstance(value, dict):
            result[name] = patched(result.get(name, {}), value)
        else:
            result[name] = value
    return result


def lived(program: str, case: "tuple[str, dict[str, Any], list[str]]", bundle: Path, good: "Any", work: Path) -> str:
    """Carry out a case in `bundle`, and return in words what every call did and what is left."""
    _, patch, calls = case
    note = work / "note"
    note.unlink(missing_ok=True)
    text = json.dumps(patched(good, patch)).replace("{note}", str(note)).replace("/ID", f"/{ID}")
    (bundle / "config.json").write_text(text)
    command = [program, "--root", str(work / Path(program).name)]
    words = []
    for call in calls:
        verb, *rest = call.replace("ID", ID).split()
        with open(work / "said", "w+b") as said:
            done = subprocess.run(
                [*command, verb, *rest], cwd=bundle, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False,
                timeout=20,
            )  # fmt: skip
            words.append(f"{verb} {done.returncode}{' with a message' if said.tell() and not done.returncode else ''}")
    state = subprocess.run([*command, "state", ID], capture_output=True, check=False, timeout=20)
    words.append(json.loads(state.stdout)["status"] if not state.returncode else "nothing left")
    if note.exists():
        words.append(f"the hook was told {json.loads(note.read_text()).get('status')}")
    for name in (f"{ID}-two", ID):
        subprocess.run([*command, "delete", "--force", name], capture_output=True, check=False, timeout=20)
    return ", ".join(words)


def cases(bundle: Path, good: "Any", work: Path) -> "list[str]":
    """Return the lines of the table of CASES."""
    lines = ["| clause | changed in config.json | called | runc | crun | pyruntime |", "|---|---|---|---|---|---|"]
    for case in CASES:
        seen = [lived(program, case, bundle, good, work) for program in RUNTIMES.values()]
        change = json.dumps(case[1]) if case[1] else ""
        calls = ", ".join(f"`{call}`" for call in case[2])
        lines.append(f"| {case[0]} | {f'`{change}`' if change else ''} | {calls} | {' | '.join(seen)} |")
    return lines


def fixtures(bundle: Path, good: "Any", work: Path) -> "list[str]":
    """Return the lines of the table of fixtures, in the order of their index."""
    index = json.loads((BAD / "index.json").read_text())
    rows, refusals = [], dict.fromkeys(RUNTIMES, 0)
    for file, entry in index.items():
        name = file.removesuffix(".json")
        text_of = None if name in DANGEROUS or name.startswith(LATER) else broken(name, entry, good)
        if text_of is None:
            continue
        (bundle / "config.json").write_bytes(text_of)
        answers = {runtime: answer(program, bundle, work) for runtime, program in RUNTIMES.items()}
        clauses = dict.fromkeys(error["clause"] for error in entry.get("errors", [entry]))
        if answers["pyruntime"][0] or not any(clause in answers["pyruntime"][1] for clause in clauses):
            raise SystemExit(f"{name} is not refused for its reason: {answers['pyruntime'][1]}")
        for runtime, (accepted, _) in answers.items():
            refusals[runtime] += not accepted
        cells = ["accepts" if accepted else "refuses" for accepted, _ in answers.values()]
        if "accepts" in cells:
            rows.append(f"| {name} | {', '.join(clauses)} | {' | '.join(cells[:2])} |")
    said = [subprocess.check_output([name, "--version"], text=True) for name in ("runc", "crun")]
    versions = [re.findall(r"version (\S+)", text)[0] for text in said]
    tried = refusals["pyruntime"]
    return [
        f"Of {tried} broken configurations runc {versions[0]} refuses {refusals['runc']}, crun {versions[1]}"
        f" {refusals['crun']}, pyruntime all.",
        "Those that one of them accepts:",
        "",
        "| fixture | clause | runc | crun |",
        "|---|---|---|---|",
        *rows,
    ]


def measure() -> "list[list[str]]":
    """Return the lines of both tables."""
    sys.path.insert(0, str(PROJECT / "tests"))
    from bundle import make_rootfs

    work = Path(tempfile.mkdtemp())
    try:
        bundle = work / "bundle"
        make_rootfs(bundle / "rootfs")
        good = base(bundle)
        for program in RUNTIMES.values():
            (bundle / "config.json").write_text(json.dumps(good))
            accepted, text = answer(program, bundle, work)
            if not accepted:
                raise SystemExit(f"{program} does not even accept what is right: {text}")
        return [cases(bundle, good, work), fixtures(bundle, good, work)]
    finally:
        # Whatever a runtime may have left mounted there is not touched.
        subprocess.run(["rm", "-rf", "--one-file-system", str(work)], check=False)


def main() -> None:
    """Measure in namespaces of its own, and put the table into its page."""
    if os.environ.get("STRICTNESS") != "inside":
        inside = {**os.environ, "STRICTNESS": "inside"}
        os.execvpe("unshare", ["unshare", "--mount", "--uts", "--ipc", "--net", sys.executable, *sys.argv], inside)
    # crun refuses a unified hierarchy with controllers beside those of version 1.
    if Path("/sys/fs/cgroup/memory").is_dir() and Path("/sys/fs/cgroup/unified").is_dir():
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)
    text = PAGE.read_text()
    parts = text.split(BEGIN)
    tables = measure()
    for number, lines in enumerate(tables, 1):
        parts[number] = "\n".join(lines) + "\n" + END + parts[number].split(END)[1]
    PAGE.write_text(BEGIN.join(parts))


if __name__ == "__main__":
    main()
