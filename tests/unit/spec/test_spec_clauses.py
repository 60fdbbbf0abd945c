"""What a clause forbids in config.json is refused at its place; what none forbids is let through."""

import copy

import corpus
import pytest

from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.spec import check_config, clauses
from pyruntime.spec.clauses import catalogue

BASE = corpus.good_configs()["every-property"]
CATALOGUE = catalogue()
MISSING = object()
MAPPING = [{"containerID": 0, "hostID": 1000, "size": 1}]


def required():
    """Yield (clause, pointer) for each property that a clause requires and the schema has to look for."""
    for name, clause in CATALOGUE.items():
        if clause.get("schema") and clause["strength"] == "REQUIRED":
            yield from ((name, template) for template in clause["pointers"])


# The actions of seccomp that return no errno, but SCMP_ACT_NOTIFY, which cannot be the default.
WITHOUT_ERRNO = [f"SCMP_ACT_{name}" for name in ("ALLOW", "KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "LOG")]

# Clause -> (pointer, value) that breaks it when it is put into a configuration where all is right.
BROKEN = {
    "config.md#specification-version/semver": [("/ociVersion", text) for text in ("1", "1.0", "v1.0.0", "01.0.0", "")],
    "config.md#posix-platform-mounts/mappings-in-pairs": [
        ("/mounts/0/uidMappings", MISSING),
        ("/mounts/0/gidMappings", MISSING),
    ],
    "config.md#linux-mount-options/idmap-without-mappings": [],  # below: it takes more than one change
    "config.md#process/cwd-absolute": [("/process/cwd", "tmp"), ("/process/cwd", "./tmp"), ("/process/cwd", "")],
    "config.md#process/args-one": [("/process/args", [])],
    "config.md#process/console-size-height": [("/process/consoleSize/height", MISSING)],
    "config.md#process/console-size-width": [("/process/consoleSize/width", MISSING)],
    "config.md#posix-process/rlimit-type-unknown": [
        ("/process/rlimits/0/type", "RLIMIT_NOSUCH"),
        ("/process/rlimits/0/type", "AS"),
        ("/process/rlimits/0/type", "rlimit_as"),
    ],
    "config.md#posix-process/rlimit-type-once": [("/process/rlimits/1/type", "RLIMIT_AS")],
    "config.md#posix-platform-hooks/path-absolute": [
        (f"/hooks/{kind}/0/path", "bin/true")
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    ],
    "config.md#posix-platform-hooks/timeout-positive": [
        (f"/hooks/{kind}/0/timeout", number)
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
        for number in (0, -1)
    ],
    "config.md#annotations/map": [("/annotations", ["a=b"]), ("/annotations", "a=b")],
    "config.md#annotations/key-not-empty": [("/annotations/", "value")],
    "config.md#annotations/values-are-strings": [
        ("/annotations/key", value) for value in (1, True, None, ["text"], {"a": "b"})
    ],
    "config-linux.md#namespaces/path-absolute": [("/linux/namespaces/0/path", "proc/1/ns/net")],
    "config-linux.md#namespaces/type-once": [("/linux/namespaces/1/type", BASE["linux"]["namespaces"][0]["type"])],
    "config-linux.md#cgroups-path/invalid-is-error": [("/linux/cgroupsPath", "/a/../b"), ("/linux/cgroupsPath", "..")],
    "config-linux.md#cpu/burst-within-quota": [("/linux/resources/cpu/burst", 1 << 40)],
    "config-linux.md#block-io/weight-or-leaf-weight": [
        ("/linux/resources/blockIO/weightDevice/0", {"major": 8, "minor": 0})
    ],
    "config-linux.md#rdma/handles-or-objects": [("/linux/resources/rdma/mlx5_1", {})],
    "config-linux.md#intelrdt/mb-prefix": [("/linux/intelRdt/memBwSchema", "0=20;1=70")],
    "config-linux.md#intelrdt/mb-newline": [("/linux/intelRdt/memBwSchema", "MB:0=20\nMB:1=70")],
    "config-linux.md#intelrdt/schemata-newline": [("/linux/intelRdt/schemata/0", "L2:0=f\nL2:1=f")],
    "config-linux.md#seccomp/errno-without-use": [
        case
        for action in WITHOUT_ERRNO
        for case in (
            ("/linux/seccomp/defaultErrnoRet", 1, {"/linux/seccomp/defaultAction": action}),
            ("/linux/seccomp/syscalls/0/errnoRet", 1, {"/linux/seccomp/syscalls/0/action": action}),
        )
    ],
    "config-linux.md#seccomp/metadata-needs-listener": [
        (
            "/linux/seccomp/listenerMetadata",
            "text",
            {"/linux/seccomp/listenerPath": MISSING, "/linux/seccomp/syscalls": []},
        )
    ],
    "config-linux.md#seccomp/names-one": [("/linux/seccomp/syscalls/0/names", [])],
    "config-linux.md#masked-paths/absolute": [("/linux/maskedPaths/0", "proc/kcore"), ("/linux/maskedPaths/0", "")],
    "config-linux.md#readonly-paths/absolute": [("/linux/readonlyPaths/0", "proc/sys"), ("/linux/readonlyPaths/0", "")],
}


def put(config, pointer, value):
    """Put `value` at `pointer`, or remove what is there."""
    *way, last = pointer.split("/")[1:]
    place = config
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place[part]
    key = int(last) if isinstance(place, list) else last
    if value is MISSING:
        del place[key]
    elif isinstance(place, list) and key == len(place):
        place.append(value)
    else:
        place[key] = value


def first(template):
    """Return the pointer of the first place in BASE that a template means."""
    return next(places(BASE, template.split("/")[1:]))


def places(value, names, pointer=""):
    """Yield the pointer of each place below `value` that the names lead to; "*" is any name or index."""
    if not names:
        yield pointer
        return
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        if names[0] in ("*", key):
            yield from places(value[key], names[1:], f"{pointer}/{key}")


def refused(config):
    """Return where and by which section of the spec a configuration is refused."""
    with pytest.raises(InvalidConfig) as caught:
        check_config(config)
    return {(problem.pointer, problem.clause) for problem in caught.value.problems}


def cases():
    """Yield a parameter for each way to break a clause, marked with it."""
    for clause, template in required():
        yield pytest.param(
            clause, first(template), MISSING, {}, marks=pytest.mark.clause(clause), id=f"{clause}-{template}"
        )
    for clause, breaks in BROKEN.items():
        for number, (pointer, value, *more) in enumerate(breaks):
            yield pytest.param(
                clause,
                pointer,
                value,
                more[0] if more else {},
                marks=pytest.mark.clause(clause),
                id=f"{clause}-{number}",
            )


@pytest.mark.clause("config.md#valid-values/invalid-is-error")
@pytest.mark.parametrize(("clause", "pointer", "value", "before"), list(cases()))
def test_what_the_clause_forbids_is_refused_at_its_place(clause, pointer, value, before):
    config = copy.deepcopy(BASE)
    check_config(config)
    for place, other in before.items():
        put(config, place, other)
    put(config, pointer, value)
    assert (pointer, clause.partition("/")[0]) in refused(config)


def test_every_clause_that_the_schema_upholds_is_broken_here():
    assert {name for name, clause in CATALOGUE.items() if clause.get("schema")} <= {*BROKEN, *dict(required())}


@pytest.mark.clause("config.md#linux-mount-options/idmap-without-mappings")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_an_idmapped_mount_needs_mappings_from_somewhere(option):
    config = copy.deepcopy(corpus.good_configs()["minimal"])
    config["mounts"] = [{"destination": "/data", "source": "/data", "options": ["bind", option]}]
    assert refused(config) == {("/mounts/0/options/1", "config.md#linux-mount-options")}
    config["mounts"][0].update(uidMappings=MAPPING, gidMappings=MAPPING)
    check_config(config)


@pytest.mark.clause("config.md#process/console-size-ignored")
@pytest.mark.parametrize("terminal", [False, MISSING])
@pytest.mark.parametrize("size", [None, {}, {"height": -1}, "80x25"])
def test_without_a_terminal_even_the_form_of_its_size_is_ignored(terminal, size):
    config = copy.deepcopy(BASE)
    put(config, "/process/consoleSize", size)
    assert refused(config)
    put(config, "/process/terminal", terminal)
    check_config(config)


def objects(value, pointer=""):
    """Yield the pointer of each object of a configuration whose keys the spec names."""
    if isinstance(value, dict):
        yield pointer
        for name, inner in value.items():
            if f"{pointer}/{name}" not in MAPS:
                yield from objects(inner, f"{pointer}/{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value[:1]):
            yield from objects(inner, f"{pointer}/{index}")


MAPS = (
    "/annotations",
    "/linux/sysctl",
    "/linux/timeOffsets",
    "/linux/netDevices",
    "/linux/resources/rdma",
    "/linux/resources/unified",
)


@pytest.mark.clause("config.md#extensibility/unknown-ignored")
@pytest.mark.parametrize("pointer", list(objects(BASE)))
@pytest.mark.parametrize("value", [None, 1, {"a": [{}]}])
def test_an_unknown_property_is_ignored_wherever_it_stands(pointer, value):
    config = copy.deepcopy(BASE)
    put(config, f"{pointer}/org.example.unknown", value)
    check_config(config)


def test_the_catalogue_is_in_the_order_of_the_files_and_its_other_data_are_beside_it():
    files = [name.partition(".md#")[0] for name in clauses.catalogue()]
    assert list(dict.fromkeys(files)) == list(clauses.FILES)
    assert clauses.evidence() == clauses.read("evidence") != {}
    assert clauses.properties() == clauses.read("properties") != {}
    assert set(next(iter(clauses.evidence().values()))) == {"code", "tests"}
    assert "type" in clauses.properties()["/ociVersion"]


def test_a_frozen_program_finds_the_catalogue_on_the_path(tmp_path, monkeypatch):
    folder = tmp_path / "pyruntime/spec/clauses"
    folder.mkdir(parents=True)
    (folder / "found.json").write_text('{"é": 1}', encoding="utf-8")
    monkeypatch.delattr(clauses, "__file__")
    monkeypatch.setattr("sys.path", [str(tmp_path / "nothing"), str(tmp_path)])
    assert clauses.read("found") == {"é": 1}
    with pytest.raises(Error) as caught:
        clauses.read("missing")
    assert str(caught.value) == (
        "cannot read the catalogue of clauses: pyruntime/spec/clauses/missing.json is not installed"
    )
