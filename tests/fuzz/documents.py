"""Changed documents: JSON of the corpus, mutated as a tree that knows its schema, or as text that JSON may not be."""

import copy
import json
import random
import re
from pathlib import Path

from json_places import places

FIXTURES = Path(__file__).parents[2] / "spec-fixtures"

NUMBERS = [-(2**63) - 1, -(2**63), -(2**31), -1001, -1000, -21, -20, -2, -1, 0, 1, 2, 7, 8, 64, 99, 100, 101, 511, 512]
NUMBERS += [1000, 4095, 4096, 2**16 - 1, 2**16, 2**20 - 1, 2**20, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32]
NUMBERS += [2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**65, 10**390]
STRINGS = [
    "",
    "/",
    ".",
    "..",
    "a",
    "A=b",
    "=",
    "A=",
    "/a/../b",
    "//",
    "a/b",
    "a:b:c",
    "0-3,7",
    "3-1",
    "rwm",
    "2MB",
    "MB:",
]
STRINGS += [
    "\0",
    "/\0",
    "a\n",
    "\n",
    " ",
    "~",
    "é",
    "\U0001f600",
    "\ud800",
    "٣",
    "%d",
    "-1",
    "0x1",
    "CAP_",
    "size=1k",
    "x" * 5000,
]
JUNK = [None, True, False, 1.0, -1.5, 1e300, {}, [], [[]], {"": {}}, [None], *NUMBERS, *STRINGS]
# What GVariant's text format is made of.
TYPED = ["@", "<", ">", "(", ")", "[", "]", "'", '"', ",", " ", "a", "s", "v", "y", "(su)", "()", "a(", "{", "uint64 "]
TYPED += [
    "double ",
    "byte ",
    "objectpath ",
    "signature ",
    "nan",
    "inf",
    "1e400",
    "-",
    "0x",
    "9" * 20,
    "<" * 40,
    "a" * 40,
]
TYPED += [
    "true",
    "\\u",
    "\\u0000",
    "\\ud800",
    "\\U0001f600",
    "\\U00110000",
    "\0",
    "\ud800",
    "é",
    "1, " * 300,
    "x" * 5000,
]
LETTERS = ["\0", "\n", "/", ".", "..", ":", "=", ",", "-", "0", " ", "\\", '"', "é", "\U0001f600", "%", "~", "\x7f"]

# Text that is put between two characters of a document; most of it makes something else of it than JSON.
SCRAPS = ["\0", "\n", "\t", " ", ",", ":", "[", "]", "{", "}", '"', "\\", "\\u0000", "\\ud800", "\\ud83d\\ude00", "NaN"]
SCRAPS += ["Infinity", "-Infinity", "-", "0", "01", "1.0", "1e5", "1e999", "-0", "9" * 500, "null", "true", "/*", "#"]
SCRAPS += [
    "\ufeff",
    '"a":1,"a":2,',
    "[" * 2000,
    '{"":' * 2000,
    "\x1f",
    "\\x",
    "\\",
    "\ud800",
    "\u2028",
    "'",
    "\x0b",
    "\xa0",
]


class Mutator:
    """Changes documents of one kind.

    schema      the JSON Schema of the documents, or None
    definition  the definition of `schema` that they obey; "" for the whole
    corpus      documents to take parts from
    letters     what to put between the characters of strings
    """

    def __init__(self, schema, definition="", corpus=(), letters=LETTERS):
        self.schema = schema or {}
        self.letters = letters
        self.top = self.schema.get("definitions", {}).get(definition, self.schema)
        self.parts = {}
        for document in corpus:
            self._collect(document, "")

    def _collect(self, value, key):
        parts = self.parts.setdefault(key, [])
        if value not in parts and len(parts) < 500:
            parts.append(value)
        if isinstance(value, dict):
            for name in value:
                self._collect(value[name], name)
        elif isinstance(value, list):
            for item in value:
                self._collect(item, f"{key}[]")

    def _resolved(self, node):
        while "$ref" in node:
            node = self.schema["definitions"][node["$ref"].rpartition("/")[2]]
        return node

    def _properties(self, node):
        node = self._resolved(node)
        return {**node.get("properties", {}), **node.get("then", {}).get("properties", {})}

    def node(self, path):
        """Return the schema's node for what is at `path`; {} where it has none."""
        node = self._resolved(self.top)
        for part in path:
            if isinstance(part, int):
                child = node.get("items", {})
            else:
                child = self._properties(node).get(part, node.get("additionalProperties", {}))
            node = self._resolved(child)
        return node

    def generate(self, node, rng, key="", depth=0):
        """Return an invented value that obeys `node`, or nearly."""
        node = self._resolved(node)
        if key in self.parts and rng.random() < 0.4:
            return copy.deepcopy(rng.choice(self.parts[key]))
        if "enum" in node:
            return rng.choice(node["enum"])
        kind = node.get("type")
        if kind == "object":
            properties = self._properties(node)
            wanted = set(node.get("required", ())) | {name for name in properties if rng.random() < 2 / (2 + depth * 3)}
            value = {name: self.generate(properties.get(name, {}), rng, name, depth + 1) for name in sorted(wanted)}
            if "additionalProperties" in node and not properties:
                names = self._resolved(node.get("propertyNames", {})).get("enum") or [
                    "a",
                    "eth0",
                    "net.ipv4.ip_forward",
                ]
                for name in rng.sample(names, rng.randrange(len(names))):
                    value[name] = self.generate(node["additionalProperties"], rng, name, depth + 1)
            return value
        if kind == "array":
            count = rng.choice([0, 1, 1, 2, 3])
            return [self.generate(node.get("items", {}), rng, f"{key}[]", depth + 1) for _ in range(count)]
        if kind == "integer":
            low, high = node.get("minimum", -(2**63)), node.get("maximum", 2**64)
            return rng.choice([low, high, low + 1, high - 1, 0, 1, *(n for n in NUMBERS if low <= n <= high)])
        if kind == "boolean":
            return rng.random() < 0.5
        if kind == "string":
            if "pattern" in node and rng.random() < 0.8:
                return rng.choice([text for text in STRINGS if re.search(node["pattern"], text)] or [""])
            return copy.deepcopy(rng.choice([*self.parts.get(key, ()), *STRINGS]))
        return copy.deepcopy(rng.choice(JUNK))

    def change(self, document, rng):
        """Return a copy of `document` with one to four parts changed."""
        document = copy.deepcopy(document)
        tame = rng.random() < 0.5
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4])):
            path = rng.choice(places(document))
            if not path:
                if not isinstance(document, dict) or rng.random() < 0.02:
                    document = copy.deepcopy(rng.choice([*JUNK, *self.parts.get("", ())]))
                    continue
                path = (rng.choice([*self._properties(self.top)] or ["x"]),)
            parent = document
            for part in path[:-1]:
                parent = parent[part]
            self._change(parent, path, rng, tame)
        return document

    def _change(self, parent, path, rng, tame):
        """Change what is, or might be, at `path`, whose last part is a name or an index in `parent`."""
        last = path[-1]
        key = last if isinstance(last, str) else f"{next((p for p in reversed(path) if isinstance(p, str)), '')}[]"
        here = parent[last] if isinstance(parent, list) or last in parent else None
        # Half of the changes are such that the document may well be right afterwards.
        how = rng.choice([0, 1, 2, 6]) if tame else rng.randrange(12)
        if how < 3:
            parent[last] = self.generate(self.node(path), rng, key)
        elif how == 3:
            parent[last] = copy.deepcopy(rng.choice(JUNK))
        elif how == 4:
            if isinstance(parent, list) or last in parent:
                del parent[last]
        elif how == 5 and self.parts.get(key):
            parent[last] = copy.deepcopy(rng.choice(self.parts[key]))
        elif how == 6 and isinstance(parent, dict):
            names = [*self._properties(self.node(path[:-1])), *rng.sample(STRINGS, 0 if tame else 2)] or ["x"]
            name = rng.choice(names)
            parent[name] = self.generate(self.node((*path[:-1], name)), rng, name)
        elif how == 7 and isinstance(parent, list):
            parent.insert(last, copy.deepcopy(rng.choice(parent)))
        elif how == 8 and isinstance(parent, dict) and last in parent:
            parent[rng.choice([*parent, *STRINGS])] = parent.pop(last)
        elif isinstance(here, str):
            at = rng.randrange(len(here) + 1)
            parent[last] = here[:at] + rng.choice(self.letters) + here[at + rng.choice([0, 0, 1, 5]) :]
        elif isinstance(here, int):
            parent[last] = rng.choice([here + 1, here - 1, -here, here * 2, *NUMBERS])
        elif isinstance(here, list):
            here.append(self.generate(self.node((*path, 0)), rng, f"{key}[]"))
        elif isinstance(here, dict):
            properties = [*self._properties(self.node(path)), rng.choice(STRINGS)]
            name = rng.choice(properties)
            here[name] = self.generate(self.node((*path, name)), rng, name)

    def text(self, data, rng):
        """Return a changed document: `data` as a tree where it is JSON, sometimes with its text changed, too."""
        try:
            document = self.change(json.loads(data), rng)
        except (ValueError, RecursionError):  # no JSON, or too deep for the functions here
            return scrap(data.decode(errors="replace"), rng)
        if rng.random() < 1 / 3000:
            document = inflate(document, rng)
        try:
            text = json.dumps(document, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, None, 1]))
        except RecursionError:
            return data
        return scrap(text, rng) if rng.random() < 0.08 else encoded(text)


def inflate(document, rng):
    """Repeat the entries of an array until the document has some megabytes."""
    arrays = [path for path in places(document) if path]
    rng.shuffle(arrays)
    for path in arrays:
        value = document
        for part in path:
            value = value[part]
        if isinstance(value, list) and value:
            size = max(len(json.dumps(value)), 1)
            value *= max(rng.choice([100_000, 1_000_000, 5_000_000]) // size, 1)
            break
    return document


def scrap(text, rng):
    """Put one or two scraps into `text`, or cut it."""
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(SCRAPS) + text[at + rng.choice([0, 0, 0, 1, 1, 3]) :]
    if rng.random() < 0.1:
        text = text[: rng.randrange(len(text) + 1)]
    data = encoded(text)
    if rng.random() < 0.2 and data:
        at = rng.randrange(len(data))
        data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    return data


def encoded(text):
    """Return `text` in UTF-8, and what UTF-8 cannot say as the bytes that would say it."""
    return text.encode("utf-8", "surrogatepass")


def configs():
    """Return a mutator of configurations, and the texts to start from."""
    return _mutator("config", ["config/good", "config/bad"])


def processes():
    """Return a mutator of process documents (`exec --process`), and the texts to start from."""
    schema = json.loads((FIXTURES / "schema/config.json").read_text())
    found = []
    for path in sorted((FIXTURES / "config").glob("*/*.json")):
        try:
            process = json.loads(path.read_bytes())["process"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if process not in found:
            found.append(process)
    return Mutator(schema, "process", found), [json.dumps(process).encode() for process in found]


def _mutator(schema, folders):
    texts = [path.read_bytes() for name in folders for path in sorted((FIXTURES / name).glob("*.json"))]
    # There are many more bad ones, and what is right gets further.
    texts += [path.read_bytes() for path in sorted((FIXTURES / folders[0]).glob("*.json"))] * 9
    values = [json.loads(path.read_bytes()) for path in sorted((FIXTURES / folders[0]).glob("*.json"))]
    return Mutator(json.loads((FIXTURES / f"schema/{schema}.json").read_text()), corpus=values), texts


def states():
    """Return a mutator of state.json as the store keeps it and as the spec defines it, and the texts to start from."""
    hook = {"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 1}
    v1 = {"paths": {"memory": "/sys/fs/cgroup/memory/c", "freezer": "/sys/fs/cgroup/freezer/c"}, "made": []}
    unit = {"name": "c.scope", "user": False}
    v2 = {"paths": {"": "/sys/fs/cgroup/c"}, "made": ["/sys/fs/cgroup/c"], "unit": unit}
    root = {"path": "/b/rootfs", "namespace": "", "inode": 0, "below": 1}
    stored = {
        "ociVersion": "1.3.0",
        "id": "c1",
        "status": "running",
        "pid": 4194303,
        "bundle": "/b",
        "rootfs": "/b/rootfs",
        "annotations": {"a": "b"},
        "version": 1,
        "start_time": 1,
        "created": "2026-01-01T00:00:00Z",
        "owner": 0,
        "root_mount": None,
        "process": True,
        "cgroup": v1,
        "keyring": True,
        "hooks": {"poststop": [hook]},
        "intel_rdt": {"tasks": ["/r/c"], "remove": []},
    }
    more = [{**stored, "status": "creating", "pid": 0}, {**stored, "cgroup": v2, "root_mount": root}]
    mutator, texts = _mutator("state", ["state/good", "state/bad"])
    for value in (stored, *more):
        mutator._collect(value, "")
    return mutator, texts + [json.dumps(value).encode() for value in (stored, *more)]


# What annotations say of systemd's properties, in GVariant's text format, and limits that become properties.
PROPERTIES = {
    "CollectMode": "'inactive-or-failed'",
    "TimeoutStopSec": "uint64 5",
    "RuntimeMaxSec": "double 1.5",
    "CPUWeight": "@t 0x64",
    "SendSIGHUP": "true",
    "After": "['a.service', \"b\\u00e9\"]",
    "Nothing": "@as []",
    "DeviceAllow": "[('/dev/null', 'rwm'), ('char-pts', '')]",
    "AllowedCPUs": "[byte 0xff, 1]",
    "Pair": "@(sa(tu)) ('x', [(1, 2)])",
    "Variant": "<[<int64 -1>, <objectpath '/a/b'>, <signature 'a(sv)'>]>",
}
UNIFIED = {
    "memory.max": "1048576",
    "memory.high": "max",
    "pids.max": "0",
    "cpu.max": "50000 100000",
    "cpu.weight": "100",
    "cpu.idle": "1",
    "cpuset.cpus": "0-3,7",
    "cpuset.mems": "0",
}


def units():
    """Return a mutator of what becomes properties of a systemd unit, and the texts to start from."""
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    names = {f"org.systemd.property.{name}": text for name, text in PROPERTIES.items()}
    found = [{"annotations": {name: text}, "unified": {}} for name, text in names.items()]
    found += [{"annotations": {}, "unified": {file: value}} for file, value in UNIFIED.items()]
    found += [{"annotations": names, "unified": UNIFIED}]
    schema = {"type": "object", "properties": {"annotations": texts, "unified": texts}}
    return Mutator(schema, "", found, [*TYPED, *LETTERS]), [json.dumps(entry).encode() for entry in found]


def profiles():
    """Return a mutator of seccomp profiles, and the texts to start from."""
    schema = json.loads((FIXTURES / "schema/config.json").read_text())
    found = []
    for path in sorted((FIXTURES / "config").glob("*/*.json")):
        try:
            profile = json.loads(path.read_bytes())["linux"]["seccomp"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if profile not in found:
            found.append(profile)
    return Mutator(schema, "seccomp", found), [json.dumps(profile).encode() for profile in found]


MUTATORS = {"config": configs, "process": processes, "state": states, "unit": units, "seccomp": profiles}


def stream(kind, count, seed):
    """Yield `count` changed documents of `kind`, a key of MUTATORS: the same for the same seed."""
    rng = random.Random(seed)
    mutator, texts = MUTATORS[kind]()
    for _ in range(count):
        yield mutator.text(rng.choice(texts), rng)


def invented(kind, count, seed):
    """Yield `count` documents of `kind` made of its schema: right, or nearly."""
    rng = random.Random(seed)
    mutator, _ = MUTATORS[kind]()
    for _ in range(count):
        yield mutator.generate(mutator.top, rng)
