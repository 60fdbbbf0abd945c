"""What people get wrong most is answered with what they probably meant, and with one cause."""

import json
import os

import pytest

from changes import process, resources

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_capability_without_its_prefix(containers):
    sets = {name: ["NET_ADMIN"] for name in ("bounding", "effective", "permitted")}
    assert "did you mean CAP_NET_ADMIN?" in containers.run("true", process(capabilities=sets)).stderr


def test_a_command_as_one_argument(containers):
    said = containers.refused(process(args=["sh -c x"]), verb="run")
    assert "cannot execute 'sh -c x'" in said
    assert "each argument is an element of its own: 'sh', '-c', 'x'" in said


MOUNTS = {
    "destinaton": ({"destinaton": "/mnt", "type": "tmpfs", "source": "tmpfs"}, "destination"),
    "typ": ({"destination": "/mnt", "typ": "tmpfs", "source": "tmpfs"}, "type"),
    "sorce": ({"destination": "/mnt", "type": "bind", "sorce": "/bin"}, "source"),
    "option": ({"destination": "/mnt", "source": "/bin", "option": ["bind"]}, "options"),
}


@pytest.mark.parametrize("wrong", MOUNTS)
def test_a_misspelt_member_of_a_mount_is_one_error(containers, wrong):
    mount, right = MOUNTS[wrong]
    said = containers.refused(lambda config: config["mounts"].append(mount))
    assert said.splitlines()[0].endswith("is not valid: 1 error")
    assert f"{wrong!r} stands there: did you mean {right!r}?" in said


@pytest.mark.parametrize("options", [[], ["--cwd", "/nowhere"], ["--user", "0:0"]])
def test_what_came_from_the_command_line_is_not_said_to_be_in_the_configuration(containers, options):
    container = containers.start()
    failed = containers.runtime("exec", *options, container.id, "lss", check=False)
    assert failed.returncode == 255
    assert "config.json" not in failed.stderr


def test_what_came_from_a_process_document_is_said_to_be_there(containers):
    container = containers.start()
    document = container.bundle / "process.json"
    document.write_text(json.dumps({"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["/lss"]}))
    failed = containers.runtime("exec", "--process", document, container.id, check=False)
    assert "config.json" not in failed.stderr
    assert f"{document}: /args/0" in failed.stderr


JSON = {
    '{\n  // why\n  "ociVersion": "1.0.2"}': "line 2, column 3: a comment, which JSON does not have",
    '{\n  "ociVersion": "1.0.2", # why\n}': "line 2, column 26: a comment, which JSON does not have",
    '{"ociVersion": /* why */ "1.0.2"}': "line 1, column 16: a comment, which JSON does not have",
    '{"ociVersion": "1.0.2",}': "line 1, column 23: a comma that nothing follows",
    "{'ociVersion': '1.0.2'}": "line 1, column 2: expected a string in double quotes, found a single one",
}


@pytest.mark.parametrize("text", JSON)
def test_what_other_formats_allow_is_named(runtime, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert JSON[text] in runtime("create", "-b", tmp_path, runtime.id(), check=False).stderr


def test_a_deadline_that_the_kernel_refuses_gets_advice_about_deadlines(containers):
    """Its runtime is below what the kernel counts."""
    scheduler = {"policy": "SCHED_DEADLINE", "runtime": 100, "deadline": 10**8, "period": 10**8}
    said = containers.refused(process(scheduler=scheduler))
    assert "runtime must be at least 1024 ns" in said
    assert "SCHED_ISO" not in said


def missing_hook(kind):
    return lambda config: config.update(hooks={kind: [{"path": "/none"}]})


LOOKED_UP = {
    "path": (process(args=["/lss"]), "the program is looked up in the container's root filesystem"),
    "name": (process(args=["lss"]), "the program is looked up in the container's root filesystem, along its PATH"),
    "root": (lambda config: config["root"].update(path="rootfz"), "a relative root.path begins in the bundle, "),
    "cpus": (resources(cpu={"cpus": "0-4095"}), "the CPUs of this host are 0"),
    "hook": (missing_hook("prestart"), "hook /none failed: it cannot be executed on the host: ENOENT"),
    "hook inside": (
        missing_hook("startContainer"),
        "hook /none failed: it cannot be executed in the container: ENOENT",
    ),
}


@pytest.mark.parametrize("wrong", LOOKED_UP)
def test_where_what_is_missing_was_looked_up(containers, wrong):
    change, words = LOOKED_UP[wrong]
    assert words in containers.refused(change, verb="run")


def test_a_misspelt_option_of_a_bind_mount(containers):
    mount = {"destination": "/mnt", "source": "/bin", "options": ["bind", "rprivat"]}
    assert "did you mean rprivate?" in containers.refused(lambda config: config["mounts"].append(mount))


def test_a_poststart_hook_that_fails_is_shown(containers):
    hooks = {"poststart": [{"path": "/bin/false"}]}
    assert '{"path": "/bin/false"}' in containers.refused(lambda config: config.update(hooks=hooks), verb="run")
