"""`validate` and `plan` say what a bundle asks for, and touch nothing."""

import json
import os
import re

import pytest

import pyruntime.base.lean_os
from pyruntime.cli.main import main
from pyruntime.plan.step import Step
from pyruntime.spec.default_config import default_config, for_user


@pytest.fixture
def made(tmp_path):
    """Return a function that writes a bundle."""

    def make(config):
        (tmp_path / "rootfs").mkdir(exist_ok=True)
        (tmp_path / "config.json").write_text(json.dumps(config))
        return str(tmp_path)

    return make


def run(capfd, *words, status=0):
    assert main(list(words)) == status
    return capfd.readouterr()


@pytest.mark.parametrize("config", [default_config(), for_user(default_config(), 1000, 1000)], ids=["root", "user"])
def test_the_configuration_that_spec_writes_is_valid_and_has_a_plan(made, capfd, config):
    bundle = made(config)
    assert "valid" in run(capfd, "validate", "-b", bundle).out
    assert "execve(argv=sh" in run(capfd, "plan", "-b", bundle).out


def test_every_error_of_a_configuration_is_printed_with_its_place_and_clause(made, capfd):
    config = default_config()
    config["process"]["cwd"] = "relative"
    config["mounts"][0]["destination"] = 7
    config["hostname"] = []
    error = run(capfd, "validate", "-b", made(config), status=1).err
    for pointer in ("/process/cwd", "/mounts/0/destination", "/hostname"):
        assert f"config.json    {pointer}" in error
    assert "spec           config.md#" in error


@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_a_bundle_without_a_configuration_is_an_error_that_names_the_file(tmp_path, capfd, verb):
    error = run(capfd, verb, "--bundle", str(tmp_path), status=1).err
    assert f"{tmp_path}/config.json" in error
    assert "ENOENT" in error


def test_the_table_is_numbered_and_aligned(made, capfd):
    lines = run(capfd, "plan", "-b", made(default_config())).out.splitlines()
    numbered = [line for line in lines if line[:8].strip()[:1].isdigit()]
    assert [int(line.split()[0]) for line in numbered] == list(range(1, len(numbered) + 1))
    assert len({line.rindex("  config") for line in numbered if "  config" in line}) == 1
    assert all(line.split()[1] in ("host", "stub", "init") for line in numbered)


def test_a_path_longer_than_the_column_does_not_move_the_others(made, capfd):
    long = {"destination": "/" + "x" * 100, "type": "tmpfs", "options": ["noexec"]}
    lines = run(capfd, "plan", "-b", made({**default_config(), "mounts": [long]})).out.splitlines()
    (line,) = (number for number, text in enumerate(lines) if "x" * 100 in text)
    assert "config" not in lines[line]
    pointers = [text.rindex("  config") for text in lines if "  config" in text]
    assert len(pointers) > 1 and len(set(pointers)) == 1
    assert "/mounts/0" in lines[line + 1]


def test_the_sections_follow_the_lifecycle_and_show_the_start_gate(made, capfd):
    config = default_config()
    config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in ("createRuntime", "startContainer", "poststop")}
    lines = run(capfd, "plan", "-b", made(config)).out.splitlines()
    headings = [line for line in lines if line.startswith(("create: ", "start: ", "delete: "))]
    assert headings[0] == "create: cgroup and its limits"
    assert headings[-3:] == ["start: startContainer hooks", "start: program", "delete: poststop hooks"]
    gate = next(number for number, line in enumerate(lines) if "start gate" in line)
    assert lines.index("create: the process") < gate < lines.index("start: startContainer hooks")
    (program,) = (number for number, line in enumerate(lines) if "execve(" in line)
    assert lines[program - 1] == "start: program"


def test_the_first_line_counts_what_people_ask_for(made, capfd):
    config = default_config()
    config["hooks"] = {"poststop": [{"path": "/bin/true"}]}
    config["mounts"] = config["mounts"][:2]
    first = run(capfd, "plan", "-b", made(config)).out.splitlines()[0]
    assert ": 2 mounts, 6 namespaces, " in first
    assert first.endswith(", 1 hook")


def test_colours_are_for_terminals_alone(made, monkeypatch, capfd):
    bundle = made(default_config())
    plain = run(capfd, "plan", "-b", bundle).out
    monkeypatch.setattr(pyruntime.base.lean_os, "isatty", lambda fd: True)
    monkeypatch.setenv("TERM", "xterm")
    coloured = run(capfd, "plan", "-b", bundle).out
    assert "\x1b[1m" in coloured
    assert [line.rstrip() for line in re.sub(r"\x1b\[\d*m", "", coloured).splitlines()] == plain.splitlines()
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(capfd, "plan", "-b", bundle).out == plain


def test_two_plans_are_compared_step_by_step(made, capfd, tmp_path):
    config = default_config()
    one = made(config)
    config["mounts"][0]["options"] = ["nosuid"]
    config["process"]["rlimits"] = []
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text(json.dumps(config))
    assert run(capfd, "plan", "-b", one, "--diff", one).out == ""
    lines = run(capfd, "plan", "-b", one, "--diff", str(tmp_path / "other")).out.splitlines()
    assert lines[:2] == [f"--- {tmp_path}/other", f"+++ {one}"]
    changes = [line for line in lines[2:] if line[0] in "+-"]
    assert [line[0] for line in changes] == ["-", "+", "+"]
    assert "/mounts/0" in changes[0] and "noexec" in changes[1] and "prlimit" in changes[2]
    of_files = run(capfd, "plan", "-b", f"{one}/config.json", "--diff", str(tmp_path / "other/config.json")).out
    assert of_files.splitlines()[2:] == lines[2:]


def test_no_name_in_the_configuration_forges_a_line_or_commands_the_terminal(made, capfd):
    config = default_config()
    plain = run(capfd, "plan", "-b", made(config)).out.count("\n")
    config["mounts"].append({"destination": "/a\x1b[2J\n99  host  forged", "type": "tmpfs"})
    config["linux"]["sysctl"] = {"net.\x1b[8m": "1\x9b"}
    said = run(capfd, "plan", "-b", made(config)).out
    assert r"path=/a\x1b[2J\n99" in said
    assert r"/linux/sysctl/net.\x1b[8m" in said
    assert said.replace("\n", "").isprintable()
    assert not [line for line in said.splitlines() if line.startswith("99")]
    assert said.count("\n") == plain + 2


def test_every_step_names_a_clause(made, capfd):
    for entry in json.loads(run(capfd, "plan", "--format", "json", "-b", made(default_config())).out):
        assert "#" in entry["clause"], entry


def test_the_json_has_the_same_steps_as_the_table(made, capfd):
    bundle = made(default_config())
    entries = json.loads(run(capfd, "plan", "--format=json", "-b", bundle).out)
    table = run(capfd, "plan", "-b", bundle).out
    assert [entry["step"] for entry in entries] == list(range(1, len(entries) + 1))
    assert set(entries[0]) == {"step", "by", "op", "args", "pointer", "clause"}
    for entry in entries:
        assert f"  {entry['op']}(" in table
        assert entry["pointer"] in table


def test_planning_leaves_no_trace(made, capfd, monkeypatch):
    bundle = made(default_config())
    before = sorted(os.listdir(bundle))
    for call in ("mkdir", "makedirs", "unlink", "rename"):
        monkeypatch.setattr(pyruntime.base.lean_os, call, lambda *_, **__: pytest.fail("something was changed"))
    run(capfd, "plan", "-b", bundle)
    assert sorted(os.listdir(bundle)) == before


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step("mknod", "", "", path="/dev/null", mode=0o20666, dev=os.makedev(1, 3)),
         "mknod(path=/dev/null, mode=c0666, dev=1:3)"),
        (Step("mount", "", "", path="/x", attr_set=1 | 2 | 0x20, attr_clr=1 | 2 | 0x70),
         "mount(path=/x, attr_set=ro,nosuid,strictatime)"),
        (Step("bind", "", "", path="/x", attr_set=0, attr_clr=1), "bind(path=/x, attr_clr=ro)"),
        (Step("capset", "", "", effective=1 << 5 | 1 << 10, permitted=0),
         "capset(effective=KILL,NET_BIND_SERVICE, permitted=none)"),
        (Step("bounding", "", "", keep=(1 << 41) - 1), "bounding(keep=all)"),
        (Step("propagation", "", "", rec_propagation=1 << 19), "propagation(rec_propagation=slave)"),
        (Step("execve", "", "", argv=["sh", "-c", "a b"], env=[]), "execve(argv=sh -c 'a b')"),
        (Step("user", "", "", uid=0, groups=[], size=None), "user(uid=0)"),
        (Step("symlink", "", "", flags=1 << 20), "symlink(flags=0x100000)"),
    ],
)  # fmt: skip
def test_arguments_are_shown_in_words(step, text):
    assert str(step) == text
