"""`validate`: paths, standard input, processes, JSON; notes on what is valid and probably not meant."""

import json
import os

import pytest

from pyruntime.cli.main import main
from pyruntime.spec.default_config import default_config


@pytest.fixture
def bundle(tmp_path):
    """bundle(change) makes a bundle that has all it needs; `change` changes its configuration."""

    def make(change=lambda config: None, name="bundle"):
        program = tmp_path / name / "rootfs/bin/sh"
        program.parent.mkdir(parents=True)
        program.touch(mode=0o755)
        config = default_config()
        change(config)
        (tmp_path / name / "config.json").write_text(json.dumps(config, indent=1))
        return tmp_path / name

    return make


@pytest.fixture
def validate(capfd):
    """validate(*words) returns the exit status, stdout and stderr."""

    def run(*words):
        status = main(["validate", *map(str, words)])
        return status, *capfd.readouterr()

    return run


def notes(validate, folder):
    """Return pointer -> message and advice of each note."""
    status, out, _ = validate("--json", folder)
    assert status == 0
    return {note["pointer"]: f"{note['message']} {note.get('advice', '')}" for note in json.loads(out)[0]["notes"]}


def break_cwd(config):
    config["process"]["cwd"] = "relative"


def test_a_bundle_and_its_file_are_the_same(bundle, validate):
    folder = bundle()
    for words in ((folder,), (folder / "config.json",), ("-b", folder)):
        status, out, err = validate(*words)
        assert (status, err) == (0, "")
        assert out == f"{folder}/config.json: valid (runtime-spec 1.3.0)\n"


def test_an_error_has_file_line_and_column(bundle, validate):
    folder = bundle(break_cwd)
    text = (folder / "config.json").read_text()
    line = text[: text.index('"cwd"')].count("\n") + 1
    status, out, err = validate(folder)
    assert (status, out) == (1, "")
    assert f"{folder}/config.json:{line}:3\n" in err
    status, out, err = validate("--json", folder)
    assert (status, err) == (1, "")
    found = json.loads(out)
    assert [(one["file"], one["valid"]) for one in found] == [(f"{folder}/config.json", False)]
    error = found[0]["errors"][0]
    assert (error["pointer"], error["line"], error["column"]) == ("/process/cwd", line, 3)
    assert error["value"] == "relative" and error["clause"] and "absolute path" in error["message"]


def test_all_of_several_documents_are_checked(bundle, validate):
    good, bad, worse = bundle(), bundle(break_cwd, "bad"), bundle(break_cwd, "worse")
    status, out, err = validate(good, bad, worse)
    assert status == 1
    assert out.startswith(f"{good}/config.json: valid")
    assert "2 of 3 documents are not valid" in err
    assert f"{bad}/config.json:" in err and f"{worse}/config.json:" in err


def test_text_that_is_not_json_has_its_place_too(tmp_path, validate):
    (tmp_path / "config.json").write_text('{\n "a" 1}')
    found = json.loads(validate("--json", tmp_path)[1])[0]
    assert not found["valid"]
    assert (found["errors"][0]["line"], found["errors"][0]["column"]) == (2, 6)


def test_standard_input_is_a_document(bundle, validate):
    saved = os.dup(0)
    try:
        for folder, wanted in ((bundle(), 0), (bundle(break_cwd, "bad"), 1)):
            with open(folder / "config.json") as file:
                os.dup2(file.fileno(), 0)
            status, out, err = validate("-")
            assert status == wanted
            assert "standard input" in out + err
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_a_process_is_checked_as_one(tmp_path, validate):
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"args": ["sh -c ls"], "cwd": "/", "Terminal": True}))
    status, out, _ = validate("--process", path)
    assert status == 0
    assert "valid process" in out and "did you mean 'terminal'?" in out and "did you mean ['sh', '-c', 'ls']?" in out
    path.write_text(json.dumps({"args": []}))
    assert validate("--process", path)[0] == 1


def test_a_bundle_and_paths_exclude_each_other(bundle, validate):
    assert validate("-b", bundle(), "x")[0] == 1


def test_a_file_that_is_not_there_is_an_error(tmp_path, validate):
    status, out, err = validate(tmp_path / "nothing.json")
    assert (status, out) == (1, "")
    assert "ENOENT" in err


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        (lambda c: c["process"].update(comand=["sh"]), "/process/comand", "did you mean 'args'?"),
        (lambda c: c["process"].update(Terminal=True), "/process/Terminal", "did you mean 'terminal'?"),
        (lambda c: c["mounts"][0].update(option=[]), "/mounts/0/option", "did you mean 'options'?"),
        (lambda c: c["linux"].update(maskedpaths=[]), "/linux/maskedpaths", "did you mean 'maskedPaths'?"),
        (lambda c: c["linux"]["resources"].update(memory={"limit": 4096}), "/linux/resources/memory/limit", "4096"),
        (
            lambda c: c["process"]["capabilities"].update(ambient=["CAP_CHOWN"]),
            "/process/capabilities/ambient",
            "CHOWN",
        ),
        (lambda c: c["process"]["capabilities"]["bounding"].append("NET_RAW"), "/process/capabilities", "CAP_NET_RAW?"),
        (
            lambda c: c["linux"].update(seccomp={"defaultAction": "SCMP_ACT_ERRNO"}),
            "/linux/seccomp/defaultAction",
            "forbids execve",
        ),
        (
            lambda c: c["linux"].update(
                seccomp={
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_KILL"}],
                }
            ),
            "/linux/seccomp/syscalls",
            "forbids execve",
        ),
        (lambda c: c["mounts"][0].update(options=["ro", "nosuidd"]), "/mounts/0/options/1", "did you mean 'nosuid'?"),
        (lambda c: c["root"].update(path="nowhere"), "/root/path", "is not there"),
        (
            lambda c: c["mounts"].append(
                {"destination": "/x", "type": "bind", "source": "nowhere", "options": ["bind"]}
            ),
            "/mounts/7/source",
            "nowhere",
        ),
        (lambda c: c["process"].update(args=["missing"]), "/process/args/0", "not in the root filesystem"),
        (lambda c: c["process"].update(args=["/bin/missing"]), "/process/args/0", "not in the root filesystem"),
    ],
)
def test_what_is_probably_not_meant_is_a_note(bundle, validate, change, pointer, words):
    assert notes(validate, bundle()) == {}
    found = notes(validate, bundle(change, "changed"))
    assert list(found) == [pointer]
    assert words in found[pointer]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(annotations={"comand": "x"}),
        lambda c: c["linux"].update(sysctl={"net.ipv4.ip_forward": "1"}),
        lambda c: c["mounts"][0].update(options=["nosuid", "mode=755", "noswap", "noacl", "discard", "nouser_xattr"]),
        lambda c: (
            c["process"].update(args=["/opt/program"])
            or c["mounts"].append({"destination": "/opt", "type": "tmpfs", "source": "tmpfs"})
        ),
        lambda c: c["linux"].update(
            seccomp={
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}],
            }
        ),
    ],
)
def test_what_may_be_meant_is_no_note(bundle, validate, change):
    assert notes(validate, bundle(change)) == {}


def test_a_program_behind_links_of_the_image_is_found(bundle, validate):
    folder = bundle(lambda config: config["process"].update(args=["/usr/bin/linked"]))
    (folder / "rootfs/usr").symlink_to("/")
    (folder / "rootfs/bin/linked").symlink_to("../../../../bin/sh")
    assert notes(validate, folder) == {}
    (folder / "rootfs/bin/linked").unlink()
    (folder / "rootfs/bin/linked").symlink_to("linked")
    assert list(notes(validate, folder)) == ["/process/args/0"]
    (folder / "rootfs/bin/linked").unlink()
    (folder / "rootfs/bin/linked").touch(mode=0o644)
    assert "no permission to be executed" in notes(validate, folder)["/process/args/0"]
