"""What holds for the plan of any valid configuration, tried on invented ones and on the good fixtures."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from clauses import CLAUSES
from invented import V1, V2, context, facts, plan
from pyruntime.base.errors import Error
from pyruntime.engine.child.step_array import OPERATIONS
from pyruntime.plan.capabilities import NAMES
from pyruntime.plan.create import compile_plan
from pyruntime.plan.facts import CgroupHost
from pyruntime.plan.mount_flags import TABLE
from pyruntime.spec import check_config

BASE = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}}
GOOD = sorted((Path(__file__).parents[3] / "spec-fixtures/config/good").glob("*.json"))

paths = st.builds("/{}".format, st.text(alphabet="ab/.-", min_size=1, max_size=12))
ids = st.integers(0, 2**31)
words = st.text(alphabet="abc=/ ü", min_size=1, max_size=8)
mappings = st.lists(
    st.fixed_dictionaries({"containerID": ids, "hostID": ids, "size": st.integers(1, 100)}), min_size=1, max_size=2
)
options = st.lists(st.one_of(st.sampled_from(sorted(TABLE)), st.just("size=1k"), words), max_size=5)
sets = st.dictionaries(
    st.sampled_from(["bounding", "effective", "permitted", "inheritable", "ambient"]),
    st.lists(st.sampled_from(NAMES), max_size=4),
)
namespaces = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"])},
        optional={"path": paths},
    ),
    unique_by=lambda entry: entry["type"],
    max_size=8,
)
mounts = st.lists(
    st.fixed_dictionaries(
        {"destination": st.one_of(paths, words)},
        optional={
            "type": st.sampled_from(["bind", "tmpfs", "proc", "sysfs", "cgroup", "cgroup2", "devpts", "ext4"]),
            "source": paths,
            "options": options,
            "uidMappings": mappings,
            "gidMappings": mappings,
        },
    ),
    max_size=4,
)
devices = st.lists(
    st.fixed_dictionaries(
        {
            "path": paths,
            "type": st.sampled_from("cbup"),
            "major": st.integers(0, 4095),
            "minor": st.integers(0, 1048575),
        },
        optional={"fileMode": st.integers(0, 0o777), "uid": ids, "gid": ids},
    ),
    max_size=3,
)
hook = st.fixed_dictionaries(
    {"path": paths},
    optional={"args": st.lists(words, min_size=1), "env": st.just(["A=b"]), "timeout": st.integers(1, 9)},
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.fixed_dictionaries(
            {},
            optional={
                "limit": st.integers(-1, 2**40),
                "swap": st.sampled_from([-1, 0, 1, 2**41]),
                "swappiness": st.integers(0, 100),
            },
        ),
        "cpu": st.fixed_dictionaries(
            {}, optional={"shares": st.integers(2, 262144), "quota": st.integers(1000, 10**6), "cpus": st.just("0-1")}
        ),
        "pids": st.fixed_dictionaries({"limit": st.integers(-1, 10**6)}),
        "rdma": st.dictionaries(words, st.just({"hcaHandles": 1}), max_size=2),
        "unified": st.dictionaries(
            st.sampled_from(["memory.max", "memory", ".max", ".", "memory.", "cpu/a.b"]), st.just("1"), max_size=2
        ),
        "devices": st.lists(
            st.fixed_dictionaries(
                {"allow": st.booleans()},
                optional={
                    "type": st.sampled_from("abc"),
                    "major": st.integers(-1, 300),
                    "minor": st.integers(-1, 300),
                    "access": st.sampled_from(["r", "rw", "rwm", "m", ""]),
                },
            ),
            max_size=4,
        ),
    },
)
configs = st.fixed_dictionaries(
    {
        "ociVersion": st.just("1.3.0"),
        "root": st.fixed_dictionaries({"path": paths}, optional={"readonly": st.booleans()}),
        "linux": st.fixed_dictionaries(
            {"namespaces": namespaces},
            optional={
                "uidMappings": mappings,
                "gidMappings": mappings,
                "devices": devices,
                "maskedPaths": st.lists(paths, max_size=3),
                "readonlyPaths": st.lists(paths, max_size=3),
                "rootfsPropagation": st.sampled_from(["shared", "slave", "private", "unbindable", "rslave"]),
                "sysctl": st.dictionaries(
                    st.sampled_from(["net.ipv4.ip_forward", "kernel.shmmni", "net/ipv4/x.y/z~"]), words
                ),
                "resources": limits,
                "cgroupsPath": st.one_of(paths, words),
                "timeOffsets": st.dictionaries(
                    st.sampled_from(["monotonic", "boottime"]), st.fixed_dictionaries({}, optional={"secs": ids})
                ),
            },
        ),
    },
    optional={
        "mounts": mounts,
        "hostname": words,
        "process": st.fixed_dictionaries(
            {
                "args": st.lists(words, min_size=1, max_size=3),
                "cwd": paths,
                "user": st.fixed_dictionaries(
                    {"uid": ids, "gid": ids},
                    optional={"umask": st.integers(0, 0o777), "additionalGids": st.lists(ids, max_size=3)},
                ),
            },
            optional={
                "capabilities": sets,
                "terminal": st.booleans(),
                "noNewPrivileges": st.booleans(),
                "oomScoreAdj": st.integers(-1000, 1000),
                "rlimits": st.lists(
                    st.builds(
                        lambda soft: {"type": "RLIMIT_NOFILE", "soft": soft, "hard": 2**20}, st.integers(0, 2**20)
                    ),
                    max_size=1,
                ),
            },
        ),
        "hooks": st.dictionaries(
            st.sampled_from(
                ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
            ),
            st.lists(hook, max_size=2),
        ),
    },
)
hosts = st.builds(
    facts,
    st.sampled_from([V1, V2]),
    lacking=st.lists(st.sampled_from(["CAP_MKNOD", "CAP_SYS_RESOURCE", "CAP_SETGID"]), max_size=2),
    in_user_namespace=st.booleans(),
)
relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
)


def valid(config):
    """Tell whether the specification allows `config`."""
    try:
        check_config(config)
    except Error:
        return False
    return True


def resolve(document, pointer):
    """Return what a JSON pointer names. Raises LookupError for what is not there."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def compiled(config, host):
    """Return the plan, or None where the runtime says in an Error that it cannot be."""
    try:
        return plan(config, host)
    except Error as error:
        assert error.doing
        assert not error.clause or error.clause in CLAUSES
        return None


def check(config, found):
    for step in found.steps():
        assert step.clause in CLAUSES, step
        resolve(config, step.pointer)
        assert str(step)
    for step in found.build + found.enter:
        assert step.op in OPERATIONS, step


@relaxed
@given(configs, hosts)
def test_every_step_names_a_clause_and_a_place_in_the_configuration(config, host):
    assume(valid(config))
    found = compiled(config, host)
    if found is not None:
        check(config, found)


@relaxed
@given(configs, hosts)
def test_a_plan_depends_on_nothing_but_its_input_and_does_not_change_it(config, host):
    assume(valid(config))
    before = copy.deepcopy(config)
    one, other = compiled(config, host), compiled(copy.deepcopy(config), host)
    assert config == before
    assert (one is None) == (other is None)
    if one is not None:
        assert list(one.steps()) == list(other.steps())
        assert one.warnings == other.warnings


def refused_at(config, host):
    """Return the pointer of what a host cannot do, "" for nothing."""
    try:
        plan(config, host)
    except Error as error:
        return error.pointer
    return ""


FULL_V1 = CgroupHost("v1", {**V1.mounts, "rdma": "/sys/fs/cgroup/rdma"})
FULL_V2 = CgroupHost("v2", {}, V2.unified, V2.own, V2.controllers | {"rdma"})


@settings(relaxed, max_examples=400)
@given(configs)
@example({**BASE, "mounts": [{"destination": "/a"}]})
@example({**BASE, "mounts": [{"destination": "/a", "options": ["remount", "idmap"]}]})
@example({**BASE, "mounts": [{"destination": "/a", "type": "x", "options": ["idmap"], "uidMappings": []}]})
@example({**BASE, "linux": {"cgroupsPath": "/./"}})
@example({**BASE, "linux": {"resources": {"memory": {"swap": 1}}}})
@example({**BASE, "linux": {"resources": {"memory": {"swap": 1, "limit": -1}}}})
@example({**BASE, "linux": {"resources": {"rdma": {"a b": {"hcaHandles": 1}}}}})
@example({**BASE, "linux": {"resources": {"unified": {"memory": "1"}}}})
@example({**BASE, "linux": {"resources": {"devices": [{"allow": True, "access": ""}]}}})
def test_what_neither_kind_of_host_can_do_is_found_before_any_host_is_looked_at(config):
    assume(valid(config))
    places = refused_at(config, facts(FULL_V1)), refused_at(config, facts(FULL_V2))
    assert "" in places or places[0] != places[1]


@relaxed
@given(configs)
def test_no_path_of_the_container_leads_out_of_it(config):
    assume(valid(config))
    found = compiled(config, facts())
    for step in found.build if found else ():
        if step.op in ("mount", "bind", "mknod"):
            assert step.args["path"].startswith("/")
            assert ".." not in step.args["path"].split("/")


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
@pytest.mark.parametrize("host", [facts(V1), facts(V2)], ids=["v1", "v2"])
def test_the_good_configurations_compile(path, host):
    config = json.loads(path.read_text())
    check_config(config)
    found = compiled(config, host)
    if found is not None:
        check(config, found)


@pytest.mark.parametrize("name", ["docker", "podman", "containerd-ctr", "runc-spec", "docker-privileged"])
def test_the_configurations_of_callers_compile_without_objection(name):
    config = json.loads((GOOD[0].parent / f"{name}.json").read_text())
    config["linux"].pop("seccomp", None)
    for key in ("apparmorProfile", "selinuxLabel"):
        config.get("process", {}).pop(key, None)
    config["linux"].pop("mountLabel", None)
    assert list(compile_plan(context(config)).steps())
