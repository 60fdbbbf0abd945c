"""Writes the tables and the numbers in README.md: `.venv/bin/python generate/pages.py`.

What a table says is not written by hand. Which properties there are, the schema knows. Which module compiles one, and
whether it does anything on a kind of host, is found by compiling: the configurations of spec-fixtures for invented
hosts, with the property and without it. What the compiler cannot know stands in properties.json and verbs.json: the
tests, and a reason where nothing happens. A test fails when a page is stale. Then conformance.py is run, which writes
conformance.md and what `pyruntime explain` says.
"""

import ast
import copy
import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyruntime
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.cli.options import GLOBAL_OPTIONS, VERBS
from pyruntime.engine.state_document import state_document
from pyruntime.plan import seccomp_program
from pyruntime.plan.capabilities import ALL
from pyruntime.plan.cgroup.cgroup import CgroupPlan
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.plan.exec import compile_exec
from pyruntime.plan.facts import CgroupHost, Facts
from pyruntime.plan.step import Step

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
DOCS = PROJECT / "docs"
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
    # The schema looks at the one only where `terminal` is true; the others are for Windows.
    for near, more in _BESIDE_THE_SCHEMA.items():
        found = _inserted(found, near, more)
    return found


_BESIDE_THE_SCHEMA = {
    "/process/terminal": {f"/process/consoleSize{name}": "config.md#process" for name in ("", "/height", "/width")},
    "/process/args": {"/process/commandLine": "config.md#process"},
    "/process/user/additionalGids": {"/process/user/username": "config.md#windows-user"},
}


def _inserted(table: "dict[str, str]", near: str, more: "dict[str, str]") -> "dict[str, str]":
    """Return the table with `more` behind the key `near`."""
    result: dict[str, str] = {}
    for name, value in table.items():
        result[name] = value
        if name == near:
            result |= more
    return result


# ---- What a configuration compiles to ----


_ROOT = f"{Path(pyruntime.__file__).parent}/"
# These only hand on what others ask for.
_ERRANDS = ("plan/create.py", "plan/exec.py", "plan/context.py", "plan/step.py", "plan/cgroup/section.py")


class _Read:
    """Who read what and who planned it: pointers and modules of the package; dicts serve as sets that keep order."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], None] = {}
        self.made: dict[tuple[str, str], None] = {}

    def note(self, pointer: str, kind: str = "pairs") -> None:
        frame = sys._getframe(2)
        while frame:
            name = frame.f_code.co_filename
            if name.startswith(_ROOT) and name.removeprefix(_ROOT) not in _ERRANDS:
                getattr(self, kind)[_template(pointer), name.removeprefix(_ROOT)] = None
                return
            frame = frame.f_back  # type: ignore[assignment]


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


def _call(step: Step) -> str:
    """Return the step with all its arguments as they are; what people are shown leaves out what says nothing."""
    return f"{step.op}({', '.join(f'{name}={value}' for name, value in step.args.items())})"


def _outcome(config: "Any", host: CgroupHost, systemd: bool) -> "list[str]":
    """Return all that the configuration leads to on an invented host, each step as a line. Raises Error."""
    facts = Facts(
        host, euid=0, capabilities=ALL, known_capabilities=ALL, in_user_namespace=False, apparmor=True, selinux=True
    )
    context = Context(config, facts, "/bundle", "ID", systemd_cgroup=systemd)
    plan = compile_plan(context)
    lines = [f"{step.pointer} {_call(step)}" for step in plan.steps()]
    more = compile_exec(context, CgroupPlan(host.mode, "", {}, [], [], False))
    lines += [f"exec {_call(step)}" for step in more.steps()]
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
    second["linux"]["devices"][0].update(uid=5, gid=6)
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

    def effect(self, template: str) -> "list[set[str]]":
        """Return for each base in which the property does something the lines that come or go with it."""
        required = False
        found: list[set[str]] = []
        for base, before in self.bases:
            changed = copy.deepcopy(base)
            places = list(_find(changed, template))
            for place, name in places:
                del place[name]
            try:
                after = _outcome(changed, self.host, self.systemd) if places else before
            except (Error, KeyError, TypeError):
                required = True
                continue
            if after != before:
                found.append(set(after) ^ set(before))
        return found or ([_REQUIRED] if required else [])


_REQUIRED = {"without it there is no plan"}
_MOST_FILES = 4
_MAPS = ("/linux/timeOffsets", "/linux/netDevices", "/linux/resources/rdma")


def _template(pointer: str) -> str:
    """Return the template that a pointer is a case of."""
    parts = pointer.split("/")
    return "/".join(
        "*" if part.isdigit() or "/".join(parts[:index]) in _MAPS else part for index, part in enumerate(parts)
    )


def _modules(bases: "list[Any]") -> "dict[str, list[str]]":
    """Return for each property the modules that read it while a plan is compiled; who makes its steps comes first."""
    read = _Read()
    original = Step.__init__

    def noting(self: Step, op: str, pointer: str, clause: str, **args: "Any") -> None:
        read.note(pointer, "made")
        original(self, op, pointer, clause, **args)

    Step.__init__ = noting  # type: ignore[method-assign]
    try:
        for host, systemd in (host for hosts in HOSTS.values() for host in hosts):
            for base, _ in _Host(host, systemd, bases).bases:
                _outcome(_tracked(base, "", read), host, systemd)
    finally:
        Step.__init__ = original  # type: ignore[method-assign]
    found: dict[str, list[str]] = {}
    for pointer, module in read.pairs:
        found.setdefault(pointer, []).append(module)
    for pointer, modules in found.items():
        makers = {module: len(place) for place, module in read.made if place and f"{pointer}/".startswith(f"{place}/")}
        modules.sort(key=lambda module: -makers.get(module, 0))
    return found


# ---- The page of the properties ----


def _cell(template: str, host: _Host, data: "dict[str, Any]") -> str:
    """Return what a property does on a host."""
    effect = host.effect(template)
    if not effect:
        reason = _refusal(template, host.refused) or _inherited(template, data["reasons"])
        if not reason:
            raise SystemExit(f"{template} does nothing on {host.host.mode}: properties.json must say why")
        return str(reason)
    if not template.startswith("/linux/resources/"):
        return "yes"
    while effect == [_REQUIRED]:
        template = template.rpartition("/")[0].removesuffix("/*")
        effect = host.effect(template)
    return _written(effect) or "yes"


def _refusal(template: str, refused: "dict[str, str]") -> str:
    """Return why the property is refused, with what is around it, or because of all that is in it; or nothing."""
    reason = _inherited(template, refused) or next(
        (refused[one] for one in refused if one.startswith(f"{template}/")), ""
    )
    return f"refused: {reason}" if reason else ""


def _written(effects: "list[set[str]]") -> str:
    """Return the files and the unit's properties of a limit, from the steps that come or go with it."""
    names: set[str] = set()
    needs: set[str] = set()
    for effect in effects:
        writes = [line for line in effect if "write_cgroup(" in line]
        said = [(_argument(line, "file"), _argument(line, "value")) for line in writes]
        # Where it is written either way, only the circumstances differ.
        writes = [line for line, what in zip(writes, said, strict=True) if said.count(what) == 1]
        names |= {f"`{_argument(line, 'file')}`" for line in writes}
        needs |= {_argument(line, "needs") for line in writes}
        units = [_unit(line) for line in effect if "start_unit(" in line]
        if len(units) == 2:
            names |= {f"`{name}`" for name, _ in units[0] ^ units[1]}
        if any("attach_device_filter(" in line for line in effect):
            names.add("an eBPF program")
    if len(names) > _MOST_FILES:
        return ""
    return ", ".join(sorted(names)) + (f"; needs {' or '.join(sorted(needs))}" if needs and all(needs) else "")


def _unit(line: str) -> "set[tuple[str, str]]":
    """Return name and value of each property in a step that starts a unit."""
    properties = ast.literal_eval(line.partition("properties=")[2].removesuffix(")"))
    return {(name, str(value)) for name, _, value in properties}


def _argument(line: str, name: str) -> str:
    """Return an argument of a step that is printed as a line; "" without it."""
    found = re.search(rf"[(, ]{name}=(.*?)(?:, \w+=|\)$)", line)
    return found[1] if found else ""


def _inherited(template: str, table: "dict[str, Any]") -> "Any":
    """Return what the table says of the property or of the nearest one around it; "*" in a key is any name."""
    parts = template.split("/")
    for length in range(len(parts), 1, -1):
        for key, value in table.items():
            names = key.split("/")
            if len(names) == length and all(name in ("*", part) for name, part in zip(names, parts)):  # noqa: B905
                return value
    return None


def properties_page() -> str:
    """Return docs/properties.md."""
    data = json.loads((HERE / "properties.json").read_text())
    bases = _bases()
    modules = _modules(bases)
    columns = {name: [_Host(*host, bases) for host in hosts] for name, hosts in HOSTS.items()}
    every = properties()
    lines = [line.format(count=len(every)) for line in data["introduction"]]
    tables: dict[str, list[str]] = {}
    for template, clause in every.items():
        section = _section(template)
        cells = []
        for hosts in columns.values():
            texts = [_cell(template, host, data) for host in hosts]
            if len(set(texts)) > 1:
                texts = [f"{host.host.mode}: {text}" for host, text in zip(hosts, texts, strict=True)]
            cells.append("; ".join(dict.fromkeys(texts)))
        module = _inherited(template, data["modules"]) or _best(_inherited(template, modules) or [])
        tests = _inherited(template, data["tests"])
        if not module or not tests:
            raise SystemExit(f"{template}: {'no test' if module else 'no module'} in properties.json")
        shown = ", ".join(_link(f"../pyruntime/{name}") if name.endswith(".py") else name for name in module)
        name = f"[{template.removeprefix(section) or template}]({SPECIFICATION}{clause})"
        row = f"| {name} | {' | '.join(cells)} | {shown} | {', '.join(_link(f'../tests/{test}') for test in tests)} |"
        tables.setdefault(section, []).append(row)
    for section, rows in tables.items():
        lines += ["", f"## {section}", "", f"| property | {' | '.join(columns)} | module | test |"]
        lines += ["|---" * (len(columns) + 3) + "|", *rows]
    return "\n".join(lines) + "\n"


def _link(target: str) -> str:
    """Return a link to a file, or to a function in it: "../tests/unit/test_x.py::test_y"."""
    file, _, name = target.partition("::")
    return f"[{name or file.partition('/')[2].partition('/')[2]}]({file})"


def _section(template: str) -> str:
    parts = template.split("/")[1:]
    below = parts[0] in ("root", "mounts", "process", "hooks", "linux")
    if parts[:2] == ["linux", "resources"]:
        return "/linux/resources"
    return f"/{parts[0]}" if below else "/"


def _best(modules: "list[str]") -> "list[str]":
    return [name for name in modules if name.startswith("plan/")][:2] or modules[:3]


# ---- The page of the verbs ----


def verbs_page() -> str:
    """Return docs/verbs.md."""
    data = json.loads((HERE / "verbs.json").read_text())
    code = [
        path
        for folder in ("cli", "operations", "engine")
        for path in sorted((PROJECT / "pyruntime" / folder).rglob("*.py"))
    ]
    sources = "".join(path.read_text() for path in code if path.parts[-2:] != ("cli", "options.py"))
    lines = [*data["introduction"], ""]
    rows = [("", GLOBAL_OPTIONS), *((verb.name, verb.options) for verb in VERBS.values())]
    known = {verb: {option.name: option for option in options} for verb, options in rows}
    forgotten = [verb for verb in VERBS if verb not in data["verbs"]]
    if forgotten:
        raise SystemExit(f"verbs.json has no place for {', '.join(forgotten)}")
    for verb in data["verbs"]:
        runc, crun = data["runc"].get(verb), data["crun"].get(verb)
        options = known.get(verb)
        lines += [f"## {verb or 'Before the verb'}", ""]
        remark = data["remarks"].get(verb) if options is not None else data["refused"][verb]
        if remark:
            lines += [remark, ""]
        every = sorted({*(options or ()), *(runc or ()), *(crun or ())} - {"help"})
        if not every or options is None:
            continue
        lines += ["| option | runc | crun | pyruntime |", "|---|---|---|---|"]
        for name in every:
            verdict = data["verdicts"].get(f"{verb} --{name}")
            if name not in options and verdict is None:
                raise SystemExit(f"verbs.json must say why `{verb} --{name}` is not there")
            elif name in options and "has no effect" in options[name].help:
                verdict = verdict or "accepted without effect"
            elif name in options and (verdict is None or verdict.startswith("accepted without effect")):
                if f'"{name}"' not in sources:
                    raise SystemExit(f"`{verb} --{name}` is an option, and nothing reads it")
                verdict = "same" if name in (runc or ()) or name in (crun or ()) else options[name].help
            marks = ["yes" if name in (table or ()) else "" for table in (runc, crun)]
            lines.append(f"| `--{name}` | {marks[0] or 'no'} | {marks[1] or 'no'} | {verdict} |")
        lines.append("")
    lines += ["## Annotations", ""]
    lines += [
        "What is malformed is refused before anything is made; what is unknown is ignored (config.md#annotations).",
        "",
    ]
    lines += ["| annotation of crun | pyruntime |", "|---|---|"]
    lines += [f"| `{name}` | {verdict} |" for name, verdict in data["annotations"].items()]
    return "\n".join(lines).rstrip() + "\n"


# ---- The README's numbers ----

_BEGIN, _END = "<!-- from docs/benchmarks.md -->\n", "<!-- end -->\n"


def readme() -> str:
    """Return the project's README.md, with the ratios of the first table of docs/benchmarks.md and of peak memory."""
    first, *others = re.findall(r"(?:^\|.*\n)+", (DOCS / "benchmarks.md").read_text(), re.MULTILINE)
    table = first.splitlines() + [line for part in others for line in part.splitlines() if "| peak of" in line]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    wanted = [index for index, title in enumerate(rows[0]) if index == 0 or title.startswith("ratio to ")]
    if len(wanted) < 2:
        raise SystemExit("benchmarks.md does not begin with a table that has columns of ratios")
    lines = [
        "Ratios to runc and crun in one run ([docs/benchmarks.md](docs/benchmarks.md)); below 1 pyruntime needs less.",
        "",
        *(f"| {' | '.join(row[index] for index in wanted)} |" for row in rows if len(row) == len(rows[0])),
    ]
    text = (PROJECT / "README.md").read_text()
    head, rest = text.split(_BEGIN)
    return head + _BEGIN + "\n".join(lines) + "\n" + _END + rest.split(_END)[1]


def validation_page() -> str:
    """Return validation.md: the programs of the runtime-tools suite, where each passes, and why the others do not."""
    suite = runpy.run_path(str(PROJECT / "tests/validation/suite.py"))
    known: dict[str, str] = suite["expected_failures"]()
    machines = {name: machine for machine, programs in suite["IN_MACHINE"].items() for name in programs}
    total, here = suite["PROGRAMS"], suite["PROGRAMS"] - len(known)
    lines = [
        "# The validation suite of runtime-tools",
        "",
        f"Written by `generate/pages.py` for the {total} programs of {suite['MODULE']} at {suite['VERSION']}. "
        f"{here} pass on a host with cgroup v1",
        f"(`make validation`); {len(machines)} of the others in a machine that has what they ask for (`make vm`), "
        f"which makes {here + len(machines)} of {total}. The rest",
        "contradicts the specification or today's kernels. Tests fail when a program passes or fails otherwise than is "
        "said here.",
        "",
        "| program | host | machine | why not on the host |",
        "|---|---|---|---|",
        *(
            f"| {name} | no | {_MACHINES[machines.get(name, '')]} | {reason} |"
            for name, reason in sorted(known.items())
        ),
        f"| all other {here} | yes | not run there | |",
    ]
    return "\n".join(lines) + "\n"


# Machine of tests/vm -> what it is.
_MACHINES = {
    "": "no",
    "v2": "yes: Linux 6.1, cgroup v2, AppArmor, all capabilities",
    "older": "yes: Linux 5.10, cgroup v1, SELinux",
}

PAGES = {
    DOCS / "properties.md": properties_page,
    DOCS / "verbs.md": verbs_page,
    DOCS / "validation.md": validation_page,
    PROJECT / "README.md": readme,
    **runpy.run_path(str(HERE / "house.py"))["PAGES"],
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page())
    runpy.run_path(str(HERE / "conformance.py"))["main"]([])
