"""Landlock by annotation, each access right tried in containers (landlock(7), runtime-spec#1241)."""

import errno
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

import changes
from pyruntime._stub import lib
from pyruntime.spec.rules.landlock import ANNOTATION, FS, HANDLED, NET, POINTER, SCOPED

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PROBE = Path(__file__).with_name("landlock_probe.c")
ABI = lib.pyr_landlock_abi()
ALL_FS = list(FS)


def needs(version):
    return pytest.mark.skipif(version > ABI, reason=f"Landlock of this kernel has no ABI {version}")


def each(table):
    return [pytest.param(name, marks=needs(since)) for name, (_, since) in table.items()]


@pytest.fixture(scope="session")
def probing(tmp_path_factory, rootfs):
    """A root filesystem with the probe."""
    path = tmp_path_factory.mktemp("landlock") / "rootfs"
    shutil.copytree(rootfs, path, symlinks=True)
    subprocess.run(["gcc", "-O1", "-static", "-o", path / "bin/probe", PROBE], check=True)
    return path


@pytest.fixture
def probe(containers, probing):
    """probe(document, access, argument, *changes): "ok", or the errno with which the access was refused."""

    def run(document, access, argument="", *more):
        setup = "mkdir /tmp/empty /tmp/directory; echo text >/tmp/file; cp /bin/probe /tmp/probe"
        # The setup is another container's business: what is tried is all that the restricted process does.
        changed = [
            changes.top(annotations={ANNOTATION: json.dumps(document)}),
            lambda config: config["root"].update(path=str(probing)),
            lambda config: config["process"].update(args=["/bin/probe", access, argument]),
            changes.process(capabilities={kind: ["CAP_MKNOD"] for kind in ("bounding", "effective", "permitted")}),
            lambda config: config["linux"]["resources"].update(devices=[{"allow": True, "access": "rwm"}]),
            *more,
        ]
        host = containers.folder / f"tmp{containers.count}"
        host.mkdir()
        setup = setup.replace("/tmp", str(host)).replace("/bin/probe", str(probing / "bin/probe"))
        subprocess.run(["sh", "-c", setup], check=True)
        said = containers.inside("", *changed, changes.bind(host, "/tmp"))
        return said if said == "ok" else errno.errorcode[int(said)]

    return run


def handled(kind, *names, rules=None):
    return {"ruleset": {kind: list(names)}, "rules": rules or {}, "disableBestEffort": True}


def beneath(access, *paths):
    return {"pathBeneath": [{"allowedAccess": list(access), "paths": list(paths)}]}


# What the probe itself needs to be executed.
PROGRAM = {"execute": ["/bin"], "read_file": ["/bin"]}


@pytest.mark.parametrize("access", each(FS))
def test_each_access_to_files_is_refused_unless_a_rule_allows_it(probe, access):
    argument = "/tmp/probe" if access == "execute" else ""
    refused = handled("handledAccessFS", access, rules=beneath([access], *PROGRAM.get(access, ["/bin"])))
    assert probe(refused, access, argument) == ("EXDEV" if access == "refer" else "EACCES")
    allowed = handled("handledAccessFS", access, rules=beneath([access], "/"))
    assert probe(allowed, access, argument) == "ok"


@needs(2)
def test_a_right_of_directories_is_not_asked_of_a_file(probe):
    document = handled("handledAccessFS", "read_file", "read_dir", "execute")
    document["rules"] = beneath(["read_file", "read_dir", "execute"], "/bin/probe", "/tmp/file")
    assert probe(document, "read_file") == "ok"
    assert probe(document, "read_dir") == "EACCES"


@pytest.mark.parametrize("access", each(NET))
def test_each_access_to_ports_is_refused_unless_a_rule_allows_it(probe, access):
    rules = {"netPort": [{"allowedAccess": [access], "ports": [8080]}]}
    document = handled("handledAccessNet", access, rules=rules)
    assert probe(document, access, "8081") == "EACCES"
    assert probe(document, access, "8080") == "ok"


@needs(6)
def test_a_scope_keeps_signals_inside(probe):
    shares = [changes.linux(namespaces=[{"type": "mount"}, {"type": "uts"}])]
    kills = changes.process(capabilities={kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")})
    with subprocess.Popen(["sleep", "1000"]) as outside:
        try:
            words = "signal", str(outside.pid), *shares, kills
            assert probe(handled("scoped", "signal"), *words) == "EPERM"
            assert probe(handled("scoped", "abstract_unix_socket"), *words) == "ok"
        finally:
            outside.kill()


@needs(6)
def test_a_scope_keeps_abstract_sockets_inside(probe):
    shares = changes.linux(namespaces=[{"type": "mount"}, {"type": "uts"}])
    name = f"pyruntime-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        assert probe(handled("scoped", "abstract_unix_socket"), "abstract_unix_socket", name, shares) == "EPERM"
        assert probe(handled("scoped", "signal"), "abstract_unix_socket", name, shares) == "ok"


DENY_WRITING = {"ruleset": {"handledAccessFS": ["write_file"]}}


def test_it_holds_without_no_new_privs_and_together_with_a_filter(probe):
    privileged = changes.process(noNewPrivileges=False)
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    assert probe(DENY_WRITING, "write_file", "", privileged) == "EACCES"
    assert probe(DENY_WRITING, "write_file", "", privileged, changes.linux(seccomp=profile)) == "EACCES"
    unsafe = {"names": ["landlock_restrict_self", "landlock_add_rule"], "action": "SCMP_ACT_KILL_PROCESS"}
    assert probe(DENY_WRITING, "write_file", "", changes.linux(seccomp={**profile, "syscalls": [unsafe]})) == "EACCES"


def test_it_holds_for_exec(containers):
    document = json.dumps(DENY_WRITING)
    container = containers.start(changes.top(annotations={ANNOTATION: document}), changes.mount("/tmp", "tmpfs"))
    done = container.exec("sh", "-c", "echo x >/tmp/file", check=False)
    assert done.returncode == 1 and "Permission denied" in done.stderr


def test_it_holds_for_hooks_in_the_container(containers):
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo x >/tmp/file"]}
    container = containers.create(
        changes.top(annotations={ANNOTATION: json.dumps(DENY_WRITING)}, hooks={"startContainer": [hook]}),
        changes.mount("/tmp", "tmpfs"),
    )
    assert "Permission denied" in container.start(check=False).stderr


def test_a_path_that_is_not_there_is_an_error_of_create(containers):
    document = {"ruleset": {"handledAccessFS": ["write_file"]}, "rules": beneath(["write_file"], "/none")}
    said = containers.refused(changes.top(annotations={ANNOTATION: json.dumps(document)}))
    assert "/none" in said and "ENOENT" in said and POINTER in said


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ("{", "line 1"),
        ("[]", "it"),
        ("{}", "/ruleset"),
        ('{"ruleset": {}}', "/ruleset"),
        ('{"ruleset": {"handledAccessFS": ["fly"]}}', "/ruleset/handledAccessFS/0"),
        ('{"ruleset": {"handledAccessFS": "execute"}}', "/ruleset/handledAccessFS"),
        ('{"ruleset": {"handledAccessFS": ["execute"], "extra": []}}', "/ruleset/extra"),
        ('{"ruleset": {"scoped": ["signal"]}, "rules": {"pathBeneath": {}}}', "/rules/pathBeneath"),
        (
            '{"ruleset": {"handledAccessFS": ["execute"]},'
            ' "rules": {"pathBeneath": [{"allowedAccess": ["read_file"], "paths": ["/"]}]}}',
            "/rules/pathBeneath/0/allowedAccess/0",
        ),
        (
            '{"ruleset": {"handledAccessFS": ["execute"]},'
            ' "rules": {"pathBeneath": [{"allowedAccess": ["execute"], "paths": ["bin"]}]}}',
            "/rules/pathBeneath/0/paths/0",
        ),
        (
            '{"ruleset": {"handledAccessNet": ["bind_tcp"]},'
            ' "rules": {"netPort": [{"allowedAccess": ["bind_tcp"], "ports": [65536]}]}}',
            "/rules/netPort/0/ports/0",
        ),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_place(containers, document, place):
    said = containers.refused(changes.top(annotations={ANNOTATION: document}))
    assert f"{place}" in said and POINTER in said and "config.md#annotations" in said


def test_plan_shows_each_step_and_features_lists_what_there_is(containers, runtime):
    document = {
        "ruleset": {"handledAccessFS": ["execute"], "handledAccessNet": ["bind_tcp"], "scoped": ["signal"]},
        "rules": {**beneath(["execute"], "/bin"), "netPort": [{"allowedAccess": ["bind_tcp"], "ports": [80]}]},
    }
    path = containers.bundle("true", changes.top(annotations={ANNOTATION: json.dumps(document)}))
    shown = runtime("plan", "-b", path).stdout
    for call in ("landlock_create_ruleset", "landlock_add_path", "landlock_add_port", "landlock_restrict_self"):
        assert call in shown
    assert "allowed_fs=execute" in shown and shown.count(POINTER) >= 4
    listed = json.loads(runtime("features").stdout)["annotations"]
    assert listed["org.pyruntime.landlock.abi"] == str(ABI)
    for kind, table in {"handledAccessFS": FS, "handledAccessNet": NET, "scoped": SCOPED}.items():
        assert listed[f"org.pyruntime.landlock.{kind}"].split() == list(table)
    assert set(HANDLED) == {"handledAccessFS", "handledAccessNet", "scoped"}
