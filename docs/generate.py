"""Writes the pages that are tables: properties.md and verbs.md. `python docs/generate.py`; a test holds them to it.

What a table says is not written by hand. Which properties there are, the schema knows. Which module compiles one, and
whether it does anything on a kind of host, is found by compiling: the configurations of spec-fixtures for invented
hosts, with the property and without it. What the compiler cannot know stands in properties.json and verbs.json: the
tests, and a reason where nothing happens.
"""

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyruntime
from pyruntime.cli.options import GLOBAL_OPTIONS, VERBS
from pyruntime.engine.record import state_document
from pyruntime.errors import Error, InvalidConfig
from pyruntime.host.cgroups import CgroupHost
from pyruntime.host.facts import Facts
from pyruntime.plan import Context, compile_exec, compile_plan, seccomp_program
from pyruntime.plan.capabilities import ALL
from pyruntime.plan.cgroup import CgroupPlan

DOCS = Path(__file__).resolve().parent
PROJECT = DOCS.parent
FIXTURES = PROJECT / "spec-fixtures"
SPECIFICATION = "https://github.com/opencontainers/runtime-spec/blob/v1.3.0/"

_V1_NAMES = ("cpu", "cpuset", "memory", "devices", "pids", "blkio", "hugetlb", "net_cls", "net_prio", "rdma", "freezer")
_V2_NAMES = frozenset(["cpu", "cpuset", "memory", "pids", "io", "hugetlb", "rdma"])
_V1_MOUNTS = {name: f"/sys/fs/cgroup/{name}" for name in _V1_NAMES}
_V2 = CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/user.slice"}, _V2_NAMES)

# Column -> hosts of that kind, and whether systemd makes the cgroup.
HOSTS = {
    "v1, hybrid": (
        (CgroupHost("v1", _V1_MOUNTS), False),
        (CgroupHost("hybrid", _V1_MOUNTS, "/sys/fs/cgroup/unified", {"": "/"}, _V2_NAMES), False),
    ),
    "v2": ((_V2, False),),
    "systemd": ((_V2, True),),
}


# ---- The properties ----


def _resolved(node: "dict[str, Any]", schema: "dict[str, Any]") -> "dict[str, Any]":
    while "$ref" in node:
        target = schema["definitions"][node["$ref"].rpartition("/")[2]]
        node = {**target, **{name: value for name, value in node.items() if name != "$ref"}}
    return node


def properties() -> "dict[str, str]":
    """Return every property of config.json and the clause that defines it; "*" is any index or name."""
    schema = json.loads((FIXTURES / "schema/config.json").read_text())
    found: dict[str, str] = {}

    def walk(node: "dict[str, Any]", pointer: str, clause: str) -> None:
        node = _resolved(node, schema)
        clause = node.get("$comment", clause)
        if pointer and not pointer.endswith("/*"):
            found[pointer] = clause
        for name, child in node.get("properties", {}).items():
            walk(child, f"{pointer}/{name}", clause)
        for keyword in ("items", "additionalProperties"):
            if isinstance(node.get(keyword), dict):
                walk(node[keyword], f"{pointer}/*", clause)

    walk(schema, "", "")
    # The schema looks at these only where `terminal` is true.
    found |= {f"/process/consoleSize{name}": "config.md#process" for name in ("", "/height", "/width")}
    # For Windows only; other platforms ignore them.
    found |= {"/process/commandLine": "config.md#process", "/process/user/username": "config.md#windows-user"}
    return found


# ---- What a configuration compiles to ----


class _Read:
    """Who read what: pairs of a property and a module of the package."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], None] = {}  # a set that keeps the order

    def note(self, pointer: str) -> None:
        frame = sys._getframe(2)
        root = str(Path(pyruntime.__file__).parent)
        while frame and (not frame.f_code.co_filename.startswith(root) or "/plan/context.py" in frame.f_code.co_filename):
            frame = frame.f_back  # type: ignore[assignment]
        if frame:
            self.pairs[pointer, str(Path(frame.f_code.co_filename).relative_to(root))] = None


class _Tracked(dict):  # type: ignore[type-arg]
    """A JSON object that tells `read` which of its properties are looked at."""

    def __init__(self, values: "dict[str, Any]", pointer: str, read: _Read) -> None:
        super().__init__({name: _tracked(value, f"{pointer}/{name}", read) for name, value in values.items()})
        self.pointer, self.read = pointer, read

    def __getitem__(self, name: str) -> "Any":
        self.read.note(f"{self.pointer}/{name}")
        return super().__getitem__(name)

    def get(self, name: str, default: "Any" = None) -> "Any":
        self.read.note(f"{self.pointer}/{name}")
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.read.note(f"{self.pointer}/{name}")
        return super().__contains__(name)

    def items(self) -> "Any":
        self.read.note(self.pointer)
        return super().items()


def _tracked(value: "Any", pointer: str, read: _Read) -> "Any":
    if isinstance(value, dict):
        return _Tracked(value, pointer, read)
    if isinstance(value, list):
        return [_tracked(item, f"{pointer}/{index}", read) for index, item in enumerate(value)]
    return value


def _outcome(config: "Any", host: CgroupHost, systemd: bool) -> "list[str]":
    """Return all that the configuration leads to on an invented host, each step as a line. Raises Error."""
    facts = Facts(host, euid=0, capabilities=ALL, known_capabilities=ALL, in_user_namespace=False, apparmor=True, selinux=True)
    context = Context(config, facts, "/bundle", "ID", systemd_cgroup=systemd)
    plan = compile_plan(context)
    lines = [f"{step.pointer} {step}" for step in plan.steps()]
    lines += [str(step) for step in compile_exec(context, CgroupPlan(host.mode, "", {}, [], [], False)).process]
    lines.append(str(state_document("ID", "created", 1, "/bundle", config)))
    profile = (config.get("linux") or {}).get("seccomp")
    if profile:
        rules = [rule[:3] for rule in seccomp_program.rules(profile)]
        lines.append(str((seccomp_program.default_action(profile), profile.get("architectures"), rules)))
        lines.append(str((seccomp_program.names(profile), profile.get("listenerMetadata"))))
    return lines


def _find(config: "Any", template: str) -> "Iterator[tuple[Any, Any]]":
    """Yield (object, name) of each place in `config` that the template means."""
    *parents, name = template.split("/")[1:]
    places = [config]
    for part in parents:
        below = []
        for place in places:
            if part == "*":
                below += list(place.values()) if isinstance(place, dict) else place
            elif isinstance(place, dict) and part in place:
                below.append(place[part])
        places = below
    for place in places:
        if isinstance(place, dict) and name in place:
            yield place, name


def _remove(config: "Any", pointer: str) -> bool:
    """Remove the element at a JSON pointer, or what of it is there; False when there is nothing."""
    place, last = config, None
    for part in pointer.split("/")[1:]:
        key: Any = int(part) if isinstance(place, list) else part.replace("~1", "/").replace("~0", "~")
        if not (key in place if isinstance(place, dict) else isinstance(place, list) and key < len(place)):
            break
        last, place = (place, key), place[key]
    if last is None:
        return False
    del last[0][last[1]]
    return True


def _bases() -> "list[Any]":
    """Return the configurations to try properties in; what has no place in the one is in another."""
    good = {path.stem: json.loads(path.read_text()) for path in sorted((FIXTURES / "config/good").glob("*.json"))}
    first = good.pop("every-property")
    # In a user namespace the host's device nodes serve, and their modes and owners with them.
    second = copy.deepcopy(first)
    second["linux"]["namespaces"] = [entry for entry in second["linux"]["namespaces"] if entry["type"] != "user"]
    second["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})
    third = copy.deepcopy(second)
    third["linux"]["resources"]["cpu"] = {"period": 500000, "burst": 1, "idle": 1, "quota": 600000}
    third["linux"]["resources"]["memory"] = {"limit": 1 << 29, "disableOOMKiller": True, "swappiness": 60}
    third["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": []}
    third["process"]["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}
    fourth = copy.deepcopy(third)
    fourth["process"]["scheduler"] = {"policy": "SCHED_OTHER", "nice": 5}
    fourth["linux"]["resources"]["memory"] = {"swap": -1, "checkBeforeUpdate": True, "limit": 1 << 29}
    fourth["linux"]["seccomp"]["syscalls"] = fourth["linux"]["seccomp"]["syscalls"][1:]
    return [first, second, third, fourth, *good.values()]


class _Host:
    """What properties do on one host, tried in every base."""

    def __init__(self, host: CgroupHost, systemd: bool, bases: "list[Any]") -> None:
        self.host, self.systemd = host, systemd
        self.refused: dict[str, str] = {}
        self.bases: list[tuple[Any, list[str]]] = []
        for base in bases:
            self._settle(copy.deepcopy(base))

    def _settle(self, config: "Any") -> None:
        """Take out what this host refuses, with its reason, until the rest compiles."""
        linux = config.get("linux") or {}
        if self.systemd != (linux.get("cgroupsPath") or "").count(":") > 1:
            linux["cgroupsPath"] = "system.slice:a:b" if self.systemd else "/a/b"
        last = ""
        for _ in range(100):
            try:
                self.bases.append((config, _outcome(config, self.host, self.systemd)))
                return
            except KeyError:
                # What is refused must be there: its parent goes with it.
                last = last.rpartition("/")[0]
                if not _remove(config, last):
                    return
            except Error as error:
                for problem in error.problems if isinstance(error, InvalidConfig) else [error]:
                    last = problem.pointer
                    self.refused.setdefault(_template(last), problem.reason or problem.doing)
                    if not _remove(config, last):
                        return

    def effect(self, template: str) -> "set[str] | None":
        """Return the lines that come or go with the property, None where it is in no base; "!" for a must."""
        known = False
        for base, before in self.bases:
            if not any(True for _ in _find(base, template)):
                continue
            known = True
            changed = copy.deepcopy(base)
            for place, name in list(_find(changed, template)):
                del place[name]
            try:
                after = _outcome(changed, self.host, self.systemd)
            except (Error, KeyError, TypeError):
                return {"!"}
            if after != before:
                return set(after) ^ set(before)
        return set() if known else None


_MAPS = ("/linux/timeOffsets", "/linux/netDevices", "/linux/resources/rdma")


def _template(pointer: str) -> str:
    """Return the template that a pointer is a case of."""
    parts = pointer.split("/")
    return "/".join(
        "*" if part.isdigit() or "/".join(parts[:index]) in _MAPS else part for index, part in enumerate(parts)
    )


def _modules(bases: "list[Any]") -> "dict[str, list[str]]":
    """Return for each property the modules that read it while a plan is compiled, the one that plans it first."""
    found: dict[str, list[str]] = {}
    for host, systemd in (host for hosts in HOSTS.values() for host in hosts):
        for base, _ in _Host(host, systemd, bases).bases:
            read = _Read()
            try:
                _outcome(_tracked(base, "", read), host, systemd)
            except Error:
                continue
            for pointer, module in read.pairs:
                modules = found.setdefault(_template(pointer), [])
                if module not in modules:
                    modules.append(module)
    return found


# ---- The page of the properties ----


def _cell(template: str, host: _Host, data: "dict[str, Any]") -> str:
    """Return what a property does on a host."""
    reason = host.refused.get(template)
    if reason:
        return f"refused: {reason}"
    effect = host.effect(template)
    note = _inherited(template, data["reasons"])
    if not effect:
        if not note:
            where = "system: " if host.systemd else ""
            raise SystemExit(f"{template} does nothing on {where}{host.host.mode}: properties.json must say why")
        return str(note)
    if template.startswith("/linux/resources/") and template.count("/") > 3:
        files = sorted({_word(line, "file=") for line in effect if "write_cgroup(" in line} - {""})
        needs = sorted({_word(line, "needs=", ")") for line in effect if "needs=" in line} - {""})
        text = ", ".join(f"`{name}`" for name in files)
        if any("start_unit(" in line for line in effect):
            units = [_unit(line) for line in effect if "start_unit(" in line]
            told = sorted(set(units[0]) ^ set(units[1])) if len(units) == 2 else []
            text += "".join(f", `{name}`" for name in sorted({name for name, _ in told}))
        if needs and all("needs=" in line for line in effect if "write_cgroup(" in line):
            text += f"; needs {' or '.join(needs)}"
        return text or "yes"
    return "yes"


def _unit(line: str) -> "list[tuple[str, str]]":
    properties = line.partition("properties=")[2].rstrip(")")
    return [(entry[0], str(entry[2])) for entry in eval(properties, {"__builtins__": {}})]


def _word(line: str, name: str, end: str = ",") -> str:
    return line.partition(name)[2].split(end)[0].split(", levels")[0].split(", again_after")[0].rstrip(")")


def _inherited(template: str, table: "dict[str, Any]") -> "Any":
    """Return what the table says of the property or of the nearest one around it."""
    parts = template.split("/")
    for length in range(len(parts), 1, -1):
        if "/".join(parts[:length]) in table:
            return table["/".join(parts[:length])]
    return None


def properties_page() -> str:
    """Return docs/properties.md."""
    data = json.loads((DOCS / "properties.json").read_text())
    bases = _bases()
    modules = _modules(bases)
    columns = {name: [_Host(*host, bases) for host in hosts] for name, hosts in HOSTS.items()}
    lines = [
        "# Every property of config.json",
        "",
        "Written by `docs/generate.py`. Runtime-spec 1.3.0, config.md and config-linux.md; `*` is any index or name.",
        "The three columns are hosts with cgroup v1 or v1 beside v2, with v2 alone, and with v2 where systemd makes the",
        "cgroup (`--systemd-cgroup`). \"yes\" was tried: the plan changes when the property is taken away. For limits the",
        "cell names the files that are written, and the properties of the unit that systemd is told. A module is a file of",
        "`pyruntime/`, a test a file of `tests/` and a function in it.",
        "",
    ]
    heading = ""
    for template, clause in properties().items():
        section = _section(template)
        if section != heading:
            heading = section
            lines += ["", f"## {heading}", "", "| property | " + " | ".join(columns) + " | module | test |"]
            lines.append("|---" * (len(columns) + 3) + "|")
        cells = []
        for hosts in columns.values():
            texts = [_cell(template, host, data) for host in hosts]
            if len(set(texts)) > 1:
                texts = [f"{host.host.mode}: {text}" for host, text in zip(hosts, texts, strict=True)]
            cells.append("; ".join(dict.fromkeys(texts)))
        module = _inherited(template, data["modules"]) or _best(modules.get(template, []))
        if not module:
            raise SystemExit(f"no module reads {template}")
        tests = _inherited(template, data["tests"])
        if not tests:
            raise SystemExit(f"{template} has no test in properties.json")
        if len(set(cells)) == 1 and cells[0] != "yes":
            cells = [cells[0], "the same", "the same"]
        file, _, anchor = clause.partition("#")
        name = f"[`{template}`]({SPECIFICATION}{file}#{anchor})"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {module} | {'<br>'.join(tests)} |")
    return "\n".join(lines) + "\n"


def _section(template: str) -> str:
    parts = template.split("/")[1:]
    if parts[0] == "linux":
        depth = 3 if parts[1:2] == ["resources"] else 2
        return "/" + "/".join(parts[:depth]) if len(parts) >= depth and len(parts) > 1 else "/linux"
    return "/" + parts[0]


def _best(modules: "list[str]") -> str:
    return "<br>".join([name for name in modules if name.startswith("plan/")][:2] or modules[:1])


# ---- The page of the verbs ----


def verbs_page() -> str:
    """Return docs/verbs.md."""
    data = json.loads((DOCS / "verbs.json").read_text())
    sources = "".join(path.read_text() for path in sorted((PROJECT / "pyruntime/cli").rglob("*.py")))
    lines = [*data["introduction"], ""]
    rows = [("", GLOBAL_OPTIONS), *((verb.name, verb.options) for verb in VERBS.values())]
    known = {verb: {option.name: option for option in options} for verb, options in rows}
    for verb in data["verbs"]:
        runc, crun = data["runc"].get(verb), data["crun"].get(verb)
        options = known.get(verb)
        lines += [f"## {verb or 'Before the verb'}", ""]
        if verb in data["remarks"]:
            lines += [data["remarks"][verb], ""]
        every = sorted({*(options or ()), *(runc or ()), *(crun or ())} - {"help"})
        if not every:
            continue
        lines += ["| option | runc | crun | pyruntime |", "|---|---|---|---|"]
        for name in every:
            verdict = data["verdicts"].get(f"{verb} --{name}")
            if verdict is None and options is None:
                verdict = "later"
            elif verdict is None and name not in options:
                raise SystemExit(f"verbs.json must say why `{verb} --{name}` is not there")
            elif verdict is None and f'["{name}"]' not in sources and f'"{name}"' not in sources.replace("Option(", ""):
                raise SystemExit(f"verbs.json must say what `{verb} --{name}` does: nothing reads it")
            elif verdict is None:
                verdict = "same" if name in (runc or ()) or name in (crun or ()) else options[name].help
            marks = ["yes" if name in (table or ()) else "" for table in (runc, crun)]
            lines.append(f"| `--{name}` | {marks[0] or 'no'} | {marks[1] or 'no'} | {verdict} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


PAGES = {"properties.md": properties_page, "verbs.md": verbs_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
