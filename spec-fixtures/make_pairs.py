"""Writes config/, features/ and state/pairs.json: for each constraint of the schemas a good document and a bad one.

Both are as small as can be, and differ in one place. Python's standard library is all this needs.
"""

import copy
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

# The smallest documents.
BASES = {
    "config": {"ociVersion": "1.3.0", "root": {"path": "rootfs"}},
    "features": {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"},
    "state": {"ociVersion": "1.3.0", "id": "a", "status": "creating", "bundle": "/a"},
}

# Pattern -> a string that it takes, strings that it does not.
STRINGS = {
    r"^[^\u0000]*$": ("a", ["a\0"]),
    r"^[^\u0000]+$": ("a", ["", "a\0"]),
    r"^[^\n\u0000]*$": ("a", ["a\n", "a\0"]),
    r"^/[^\u0000]*$": ("/a", ["a", "", "/a\0"]),
    r"^[^=\u0000]+=[^\u0000]*$": ("A=b", ["A", "=b", "A=\0"]),
    r"^MB:[^\n\u0000]*$": ("MB:0=1", ["0=1", "MB:\n", "MB:\0"]),
    r"^[rwm]+$": ("rwm", ["", "x"]),
    r"^[1-9][0-9]*[KMG]B$": ("2MB", ["2mb", "0MB", "MB", "2MBx", "x2MB", "2"]),
}

# What stands for a property where just any string would not do, or be of no use.
NAMED = {
    "ociVersion": "1.3.0", "ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0", "nodes": "0", "cpus": "0", "mems": "0",
    "initial": "0", "final": "0", "runtime": 1, "deadline": 2, "period": 3, "status": "creating",
    "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}],
    "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}],
}  # fmt: skip

# What an object of a definition needs besides what is required, for the sake of a rule.
RULED = {"mount": ("type",)}

# The name of a member where the schema leaves it open: place -> name.
MEMBERS = {"linux/sysctl": "net.ipv4.ip_forward", "linux/netDevices": "eth0", "linux/resources/unified": "memory.max"}

# What else the document needs for the element at a place to be right: place -> members to add there, "/" for the top.
_ONE = NAMED["uidMappings"]
NEEDS = {
    "hostname": ("linux", {"namespaces": [{"type": "uts"}]}),
    "domainname": ("linux", {"namespaces": [{"type": "uts"}]}),
    "linux/uidMappings": ("linux", {"namespaces": [{"type": "user"}], "gidMappings": _ONE}),
    "linux/gidMappings": ("linux", {"namespaces": [{"type": "user"}], "uidMappings": _ONE}),
    "linux/timeOffsets": ("linux", {"namespaces": [{"type": "time"}]}),
    "linux/netDevices": ("linux", {"namespaces": [{"type": "network"}]}),
    "linux/sysctl": ("linux", {"namespaces": [{"type": "network"}]}),
    "linux/maskedPaths": ("linux", {"namespaces": [{"type": "mount"}]}),
    "linux/readonlyPaths": ("linux", {"namespaces": [{"type": "mount"}]}),
    "mounts/0/uidMappings": ("mounts/0", {"gidMappings": _ONE}),
    "mounts/0/gidMappings": ("mounts/0", {"uidMappings": _ONE}),
    "linux/memoryPolicy/nodes": ("linux/memoryPolicy", {"mode": "MPOL_BIND"}),
    "process/consoleSize": ("process", {"terminal": True}),
    "process/scheduler/priority": ("process/scheduler", {"policy": "SCHED_FIFO"}),
    "process/scheduler/runtime": ("process/scheduler", {"policy": "SCHED_DEADLINE", "deadline": 2}),
    "process/scheduler/deadline": ("process/scheduler", {"policy": "SCHED_DEADLINE", "runtime": 1}),
    "process/scheduler/period": ("process/scheduler", {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2}),
    "linux/seccomp/defaultErrnoRet": ("linux/seccomp", {"defaultAction": "SCMP_ACT_ERRNO"}),
    "linux/seccomp/listenerMetadata": ("linux/seccomp", {"listenerPath": "/a"}),
    "linux/seccomp/syscalls/0/errnoRet": ("linux/seccomp/syscalls/0", {"action": "SCMP_ACT_ERRNO"}),
}

# The same for one value at a place.
_SECOND = {"uidMappings": _ONE, "gidMappings": _ONE}
VALUE_NEEDS = {
    ("process/scheduler/policy", "SCHED_FIFO"): ("process/scheduler", {"priority": 1}),
    ("process/scheduler/policy", "SCHED_RR"): ("process/scheduler", {"priority": 1}),
    ("process/scheduler/policy", "SCHED_DEADLINE"): ("process/scheduler", {"runtime": 1, "deadline": 2}),
    ("linux/memoryPolicy/mode", "MPOL_BIND"): ("linux/memoryPolicy", {"nodes": "0"}),
    ("linux/memoryPolicy/mode", "MPOL_INTERLEAVE"): ("linux/memoryPolicy", {"nodes": "0"}),
    ("linux/memoryPolicy/mode", "MPOL_WEIGHTED_INTERLEAVE"): ("linux/memoryPolicy", {"nodes": "0"}),
    ("linux/memoryPolicy/mode", "MPOL_PREFERRED_MANY"): ("linux/memoryPolicy", {"nodes": "0"}),
    ("linux/namespaces/0/type", "user"): ("linux", _SECOND),
    ("linux/devices/0/type", "c"): ("linux/devices/0", {"major": 1, "minor": 3}),
    ("linux/devices/0/type", "b"): ("linux/devices/0", {"major": 1, "minor": 3}),
    ("linux/devices/0/type", "u"): ("linux/devices/0", {"major": 1, "minor": 3}),
    ("linux/seccomp/syscalls/0/action", "SCMP_ACT_NOTIFY"): ("linux/seccomp", {"listenerPath": "/a"}),
    ("linux/seccomp/flags/0", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"): (
        "linux/seccomp",
        {"listenerPath": "/a", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}]},
    ),
}

# What else is wrong with a constraint's bad document, whatever one does.
ALSO = {
    # The first and the last id of both sides.
    ("linux/uidMappings/0/size", "maximum"): [("linux/uidMappings/0", "config-linux.md#user-namespace-mappings")] * 2,
}

# What a constraint's good document holds, where its limit itself needs other surroundings.
GOOD = {("process/scheduler/priority", keyword): 1 for keyword in ("minimum", "type")}

# Sections that are refused whatever they hold: there is no good one.
NEVER = ("freebsd", "solaris", "vm", "windows", "zos")

# Where a definition is best shown, if not at the first place that uses it.
SHOWN_AT = {
    "#/definitions/uint64": "linux/resources/cpu/shares",
    "#/definitions/uint32": "linux/devices/0/fileMode",
    "#/definitions/name": "root/path",
    "#/definitions/id": "process/user/uid",
    "#/definitions/int64": "linux/resources/cpu/quota",
    "#/definitions/line": "linux/cgroupsPath",
    "#/definitions/seccompAction": "linux/seccomp/syscalls/0/action",
}

OTHER_TYPES = {"string": 5, "integer": "5", "boolean": "true", "object": [], "array": {}}
CONSTRAINTS = ("type", "minimum", "maximum", "pattern", "minLength", "minItems", "maxItems", "enum", "anyOf")


class Schema:
    """A schema, the places of documents that its nodes are about, and the documents that show its constraints."""

    def __init__(self, name):
        self.name = name
        self.base = BASES[name]
        with open(os.path.join(HERE, f"schema/{name}.json"), encoding="utf-8") as file:
            self.root = json.load(file)
        # Pointer of a node -> (path of its first place, nodes on the way there, outermost first).
        self.places = {}
        self._visit()

    def _visit(self):
        waiting = [("#", (), [])]
        while waiting:
            pointer, path, way = waiting.pop(0)
            best = SHOWN_AT.get(pointer)
            if pointer in self.places and "/".join(map(str, path)) != best:
                continue
            node = self.at(pointer)
            way = [*way, node]
            self.places[pointer] = (path, way)
            if "$ref" in node:
                waiting.append((node["$ref"], path, way))
            for part in (f"{pointer}", f"{pointer}/then"):
                holder = self.at(part) if part == pointer or "then" in node else {}
                names = holder.get("properties", {})
                waiting += [(f"{part}/properties/{name}", (*path, name), way) for name in names]
            if "items" in node:
                waiting.append((f"{pointer}/items", (*path, 0), way))
            if "additionalProperties" in node:
                name = MEMBERS.get("/".join(map(str, path)), self._name(node))
                waiting.append((f"{pointer}/additionalProperties", (*path, name), way))
            if "propertyNames" in node:
                self.places.setdefault(f"{pointer}/propertyNames", (path, [*way, node["propertyNames"]]))

    def _name(self, node):
        return self.target(node.get("propertyNames", {})).get("enum", ["a"])[0]

    def at(self, pointer):
        """Return the node at `pointer` ("#/definitions/root")."""
        node = self.root
        for part in pointer.split("/")[1:]:
            node = node[part]
        return node

    def target(self, node):
        """Return `node`, or what it refers to."""
        while "$ref" in node:
            node = self.at(node["$ref"])
        return node

    def sample(self, node, name=""):
        """Return the smallest value that obeys `node`."""
        node = self.target(node)
        kind = node.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if name in NAMED and not isinstance(node.get("type"), list) and kind != "object":
            return copy.deepcopy(NAMED[name])
        if "enum" in node:
            # "c" would need numbers.
            return "p" if "p" in node["enum"] and "u" in node["enum"] else node["enum"][0]
        if kind == "object":
            wanted = [*node.get("required", ()), *(node["anyOf"][0]["required"] if "anyOf" in node else ())]
            wanted += next((RULED[key] for key in RULED if self.root.get("definitions", {}).get(key) is node), ())
            return {key: self.sample(node["properties"][key], key) for key in wanted}
        if kind == "array":
            return [self.sample(node["items"], "")] if node.get("minItems") else []
        if kind == "string":
            return STRINGS[node["pattern"]][0] if "pattern" in node else "a"
        if kind == "integer":
            return max(node.get("minimum", 0), 0)
        return False

    def document(self, path, value):
        """Return the smallest document with `value` at `path`, and what it needs there."""
        if not path:
            return value
        document = copy.deepcopy(self.base)
        place = "/".join(map(str, path))
        needs = [need for prefix, need in NEEDS.items() if place == prefix or place.startswith(f"{prefix}/")]
        needs += [need for (prefix, wanted), need in VALUE_NEEDS.items() if (prefix, wanted) == (place, value)]
        for where, members in needs if self.name == "config" else ():
            parts = [int(part) if part.isdigit() else part for part in where.split("/")]
            self._hold(document, parts).update(copy.deepcopy(members))
        holder = self._hold(document, path[:-1])
        if isinstance(holder, list):
            holder[:] = [value]
        else:
            holder[path[-1]] = value
        return document

    def _hold(self, document, path):
        """Return what is at `path` in `document`, made where it is missing."""
        node = self.target(self.root)
        for part in path:
            if isinstance(part, int):
                child = node["items"]
                if not document:
                    document.append(self.sample(child))
            else:
                properties = {**node.get("properties", {}), **node.get("then", {}).get("properties", {})}
                child = properties.get(part, node.get("additionalProperties", {}))
                if part not in document:
                    document[part] = self.sample(child, part)
            document, node = document[part], self.target(child)
        return document

    def pairs(self):
        """Yield (constraint, path, good value, bad value, path of the error, clause) for each constraint."""
        for pointer, (path, way) in self.places.items():
            node = self.at(pointer)
            if pointer.endswith("/propertyNames"):
                yield from self._names(pointer, path, way)
                continue
            good = self.sample(node, path[-1] if path and isinstance(path[-1], str) else "")
            clause = clause_of(way)
            for keyword in CONSTRAINTS:
                for wrong, right in self._values(node, keyword, good) if keyword in node else ():
                    yield f"{pointer}/{keyword}", path, right, wrong, path, clause
            for keyword in ("items", "additionalProperties"):
                if keyword in node:
                    child = self.target(node[keyword])
                    wrong = other(child)
                    inner = (
                        *path,
                        0 if keyword == "items" else MEMBERS.get("/".join(map(str, path)), self._name(node)),
                    )
                    yield (
                        f"{pointer}/{keyword}", inner, self.sample(node[keyword]), wrong, inner,
                        clause_of([*way, node[keyword], child]),
                    )  # fmt: skip
            if "$ref" in node:
                child = self.target(node)
                wrong = other(child)
                yield f"{pointer}/$ref", path, good, wrong, path, clause_of([*way, child])
            for name in node.get("required", ()):
                whole = self.sample(node) if path else copy.deepcopy(self.base)
                part = {key: value for key, value in whole.items() if key != name}
                child = node.get("properties", {}).get(name, {})
                known = clause_of([*way, child, self.target(child)])
                yield f"{pointer}/required/{name}", path, whole, part, (*path, name), known
            if "then" in node:
                for name in node["then"].get("required", ()):
                    whole = self._conditional(node, path)
                    part = {key: value for key, value in whole.items() if key != name}
                    child = node["properties"][name]
                    known = clause_of([*way, child, self.target(child)])
                    yield f"{pointer}/then/required/{name}", path, whole, part, (*path, name), known

    def _conditional(self, node, path):
        """Return an object that meets the node's condition."""
        (name,) = node["if"]["required"]
        whole = self.sample(node) if path else copy.deepcopy(self.base)
        whole[name] = node["if"]["properties"][name]["enum"][0]
        whole.update((key, self.sample(node["properties"][key], key)) for key in node["then"]["required"])
        return whole

    def _values(self, node, keyword, good):
        """Yield (bad value, good value) for a keyword."""
        limit = node[keyword]
        if keyword == "type":
            kinds = [limit] if isinstance(limit, str) else limit
            yield other(node), good
            if len(kinds) > 1:
                yield other(node), None
        elif keyword == "minimum":
            yield limit - 1, limit
        elif keyword == "maximum":
            yield limit + 1, limit
        elif keyword == "pattern":
            yield from ((wrong, good) for wrong in STRINGS[limit][1])
        elif keyword == "minItems":
            yield [], [self.sample(node["items"])]
        elif keyword == "maxItems":
            yield ["A"], []
        elif keyword == "enum":
            yield from (("unknown", value) for value in limit)
        elif keyword == "anyOf":
            names = {name for choice in limit for name in choice["required"]}
            bare = {key: value for key, value in good.items() if key not in names}
            for choice in limit:
                (name,) = choice["required"]
                yield bare, {**bare, name: self.sample(node["properties"][name])}

    def _names(self, pointer, path, way):
        node = self.target(way[-1])
        holder = self.target(way[-2])
        member = self.sample(holder["additionalProperties"])
        name = MEMBERS.get("/".join(map(str, path)), self._name(holder))
        bad = "unknown" if "enum" in node else ""
        keyword = next(key for key in ("enum", "pattern", "minLength") if key in node)
        suffix = "$ref" if "$ref" in way[-1] else keyword
        yield f"{pointer}/{suffix}", path, {name: member}, {bad: member}, (*path, bad), clause_of([*way[:-1], node])


def clause_of(way):
    """Return the clause of the innermost node that names one."""
    return next(node["$comment"] for node in reversed(way) if "$comment" in node)


def pointer_of(path):
    """Return the JSON pointer (RFC 6901) of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def other(node):
    """Return a value of another type than `node` asks for."""
    kind = node.get("type")
    return OTHER_TYPES.get(kind[0] if isinstance(kind, list) else kind, "unknown")


def good_value(keyword, path, value):
    return GOOD.get(("/".join(map(str, path)), keyword.rpartition("/")[2]), value)


def entries(name):
    """Return the pairs of a schema: those that are the same document are one entry."""
    schema = Schema(name)
    found = {}
    for keyword, path, right, wrong, at, clause in schema.pairs():
        # What the bad document needs besides is right, too: else it would be wrong in more than one way.
        bad = schema.document(path, wrong)
        good = None
        if not (name == "config" and path and path[0] in NEVER):
            good = schema.document(path, good_value(keyword, path, right))
        errors = [{"pointer": pointer_of(at), "clause": clause}]
        more = ALSO.get(("/".join(map(str, path)), keyword.rpartition("/")[2]), []) if name == "config" else []
        errors += [{"pointer": f"/{place}", "clause": known} for place, known in more]
        entry = {"constraints": [keyword], "good": good, "bad": bad, "errors": errors}
        key = json.dumps([good, bad])
        if key in found:
            if keyword not in found[key]["constraints"]:
                found[key]["constraints"].append(keyword)
        else:
            found[key] = entry
    return list(found.values())


def text(name):
    """Return the content of NAME/pairs.json: an entry a line."""
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries(name)) + "\n]\n"


def main():
    for name in BASES:
        os.makedirs(os.path.join(HERE, name), exist_ok=True)
        with open(os.path.join(HERE, name, "pairs.json"), "w", encoding="utf-8") as file:
            file.write(text(name))


if __name__ == "__main__":
    sys.exit(main())
