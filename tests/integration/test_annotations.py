"""Annotations of crun's that change what pyruntime does, and those that say what cannot be."""

import json
import os
import socket
import subprocess

import pytest

from terminals import receive

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

SHELL = "/bin/sh"


def hooks(**scripts):
    return {
        kind: [{"path": SHELL, "args": ["sh", "-c", f"echo {kind}; echo {kind} is wrong >&2"]}, *more]
        for kind, more in scripts.items()
    }


def test_hooks_write_where_annotations_say(runtime, bundle, tmp_path):
    out, err = tmp_path / "out", tmp_path / "err"
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    out.write_text("before\n")

    def change(config):
        config["process"]["args"] = ["true"]
        config["annotations"] = {"run.oci.hooks.stdout": str(out), "run.oci.hooks.stderr": str(err)}
        config["hooks"] = hooks(**{kind: [] for kind in kinds})

    place = bundle(change)
    runtime("run", "-b", place, runtime.id())
    assert out.read_text().split() == ["before", *kinds]
    assert err.read_text().splitlines() == [f"{kind} is wrong" for kind in kinds]


def test_what_a_failing_hook_said_elsewhere_is_not_said_again(runtime, bundle, tmp_path):
    def change(config):
        config["annotations"] = {"run.oci.hooks.stdout": str(tmp_path / "out")}
        config["hooks"] = hooks(createRuntime=[{"path": "/bin/false"}])
        config["hooks"]["createRuntime"][0]["args"][2] += "; exit 3"

    done = runtime("create", "-b", bundle(change), runtime.id(), check=False)
    assert (tmp_path / "out").read_text() == "createRuntime\n"
    assert "hook's output  createRuntime is wrong\n" in done.stderr


def groups(runtime, bundle, **annotations):
    def change(config):
        config["process"]["args"] = ["grep", "^Groups:", "/proc/self/status"]
        config["annotations"] = annotations

    command = runtime.command("run", "-b", bundle(change), runtime.id())
    done = subprocess.run(command, extra_groups=[7, 4242], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.split()[1:]


def test_the_callers_groups_are_kept_where_an_annotation_says_so(runtime, bundle):
    assert groups(runtime, bundle) == []
    assert groups(runtime, bundle, **{"run.oci.keep_original_groups": "0"}) == []
    assert groups(runtime, bundle, **{"run.oci.keep_original_groups": "1"}) == ["7", "4242"]


def test_a_pidfd_goes_to_the_receiver_that_an_annotation_names(runtime, bundle, tmp_path):
    path = tmp_path / "receiver"
    container = runtime.id()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def change(config):
            config["process"]["args"] = ["true"]
            config["annotations"] = {"run.oci.pidfd_receiver": str(path)}

        runtime("create", "-b", bundle(change), container)
        _, descriptor = receive(listener.accept()[0])
    with open(descriptor) as pidfd:
        lines = open(f"/proc/self/fdinfo/{pidfd.fileno()}").read().splitlines()
    pid = json.loads(runtime("state", container).stdout)["pid"]
    assert f"Pid:\t{pid}" in lines


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run.oci.hooks.stdout", "relative"),
        ("run.oci.hooks.stderr", ""),
        ("run.oci.pidfd_receiver", "relative"),
        ("run.oci.mount_context_type", "sidecontext"),
        ("run.oci.seccomp.receiver", "/run/agent"),
        ("run.oci.seccomp.plugins", "/usr/lib/plugin.so"),
        ("run.oci.seccomp_bpf_data", "AAAA"),
        ("run.oci.handler", "krun"),
        ("run.oci.systemd.subgroup", "../other"),
        ("run.oci.delegate-cgroup", "a/./b"),
    ],
)
def test_a_known_annotation_that_makes_no_sense_is_refused(runtime, bundle, name, value):
    container = runtime.id()
    done = runtime("create", "-b", bundle(lambda c: c.update(annotations={name: value})), container, check=False)
    assert done.returncode == 1
    assert f"/annotations/{name}" in done.stderr and "config.md#annotations" in done.stderr
    assert not (runtime.root / container).exists()


def test_a_file_for_hooks_that_cannot_be_opened_is_an_error_before_anything_is_made(runtime, bundle, tmp_path):
    container = runtime.id()
    change = {"run.oci.hooks.stdout": str(tmp_path / "none/out")}
    done = runtime("create", "-b", bundle(lambda c: c.update(annotations=change)), container, check=False)
    assert "ENOENT" in done.stderr and "/annotations/run.oci.hooks.stdout" in done.stderr
    assert not (runtime.root / container).exists()


@pytest.mark.parametrize(("name", "warned"), [("run.oci.handler", True), ("run.oci.unheard.of", False)])
def test_what_is_not_done_is_ignored(runtime, bundle, name, warned):
    def change(config):
        config["process"]["args"] = ["true"]
        config["annotations"] = {name: "x"}

    done = runtime("run", "-b", bundle(change), runtime.id())
    assert (f"warning: {name} has no effect" in done.stderr) == warned
