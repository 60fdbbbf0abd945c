"""Text that no program can take, in each option and in documents: the error is in words of pyruntime, not of Python."""

import json
import os
import re
import secrets

import pytest

from pyruntime.cli.options import FLAG, GLOBAL_OPTIONS, VERBS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# A byte that is not UTF-8, a name that is too long, a path below a file, nothing. argv cannot hold NUL.
WORDS = ["a\udcffb", "x" * 5000, "/dev/null/x", ""]
OF_PYTHON = re.compile(
    r"null (byte|character)|surrogate|codec|internal error|Traceback|\w(Error|Exception)\b|invalid literal|NoneType"
)
NEW = f"new-{secrets.token_hex(4)}"
# What follows the options; a container that is there is ID.
BEHIND = {
    "exec": ["ID", "/bin/true"],
    "sandbox": ["true"],
    "explain": ["mounts"],
    "timeline": ["/dev/null"],
    **dict.fromkeys(("create", "run", "restore"), [NEW]),
    **dict.fromkeys(("list", "spec", "validate", "plan", "features", "doctor", "help"), []),
}
BEFORE = {"checkpoint": ["--leave-running"], "run": ["--detach"], "events": ["--stats"]}
# Options whose value is a path that these verbs use.
PATHS = {
    "bundle": ("create", "run", "plan", "validate", "spec"),
    "pidfd-socket": ("create", "run", "exec"),
    "pid-file": ("create", "run", "exec"),
    "resources": ("update",),
    "diff": ("plan",),
    "rootfs-from": ("spec",),
}


@pytest.fixture
def name(runtime, bundle):
    """The id of a container that runs."""

    def sleeps(config):
        config["process"]["args"] = ["sleep", "1000"]

    container = runtime.id()
    runtime("run", "--detach", "--bundle", bundle(sleeps), container)
    return container


@pytest.mark.parametrize("verb", VERBS)
def test_an_option_of_any_text_gets_no_error_of_python(runtime, bundle, tmp_path, name, verb):
    place = bundle()
    here = tmp_path / "here"
    here.mkdir()
    for option in VERBS[verb].options:
        for word in WORDS if option.kind != FLAG else ():
            words = [verb, *BEFORE.get(verb, ()), f"--{option.name}={word}"]
            if option.name != "bundle" and "bundle" in [other.name for other in VERBS[verb].options] and verb != "spec":
                words += ["--bundle", place]
            words += [name if part == "ID" else part for part in BEHIND.get(verb, ["ID"])]
            done = runtime(*words, check=False, cwd=here)
            assert not OF_PYTHON.search(done.stderr), (words, done.stderr)
            if word == "/dev/null/x" and verb in PATHS.get(option.name, ()):
                assert done.returncode != 0 and word in done.stderr, (words, done.stderr)
            if NEW in words:
                runtime("delete", "--force", NEW)


@pytest.mark.parametrize("option", [option.name for option in GLOBAL_OPTIONS if option.kind != FLAG])
def test_a_global_option_of_any_text_gets_no_error_of_python(runtime, tmp_path, option):
    for word in WORDS:
        done = runtime(f"--{option}={word}", "state", "x", check=False, cwd=tmp_path)
        assert not OF_PYTHON.search(done.stderr), (option, word, done.stderr)


@pytest.mark.parametrize("verb", VERBS)
def test_an_argument_of_any_text_gets_no_error_of_python(runtime, tmp_path, name, verb):
    for word in WORDS:
        for words in ([word], [name, word]):
            done = runtime(verb, *words, check=False, cwd=tmp_path)
            assert not OF_PYTHON.search(done.stderr), (verb, words, done.stderr)


PROCESS = {
    "args": ["true"],
    "cwd": "/",
    "env": ["PATH=/bin"],
    "user": {"uid": 0, "gid": 0},
    "apparmorProfile": "x",
    "selinuxLabel": "x",
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10}],
    "capabilities": {"effective": ["CAP_KILL"]},
}
RESOURCES = {
    "cpu": {"cpus": "0", "mems": "0"},
    "unified": {"memory.high": "max"},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
    "rdma": {"mlx5_1": {"hcaHandles": 3}},
    "network": {"priorities": [{"name": "lo", "priority": 1}]},
}
CONFIG = {
    "ociVersion": "1.0.0",
    "root": {"path": "rootfs"},
    "process": {"args": ["true"], "cwd": "/"},
    "hostname": "x",
    "mounts": [{"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}],
    "hooks": {"poststop": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"]}]},
    "annotations": {"org.pyruntime.landlock": "{}"},
    "linux": {"cgroupsPath": "x", "sysctl": {"net.ipv4.ip_forward": "1"}, "maskedPaths": ["/x"]},
}
DOCUMENTS = {
    "exec": (PROCESS, lambda file, name, place: ("exec", "--process", file, name)),
    "update": (RESOURCES, lambda file, name, place: ("update", "--resources", file, name)),
    "run": (CONFIG, lambda file, name, place: ("run", "--bundle", place, NEW)),
}


def with_text(document, text, at=""):
    """Yield (pointer, changed copy) with `text` at the end of each string of `document`."""
    if isinstance(document, str):
        yield at, document + text
    for key, value in document.items() if isinstance(document, dict) else ():
        yield from ((place, {**document, key: part}) for place, part in with_text(value, text, f"{at}/{key}"))
    for index, value in enumerate(document if isinstance(document, list) else ()):
        for place, part in with_text(value, text, f"{at}/{index}"):
            yield place, [*document[:index], part, *document[index + 1 :]]


@pytest.mark.parametrize(("text", "escape"), [("\0", "\0"), ("HALF", "\\ud800")], ids=["NUL", "half of a character"])
@pytest.mark.parametrize("verb", DOCUMENTS)
def test_text_of_a_document_that_nothing_can_take_is_named(runtime, tmp_path, name, verb, text, escape):
    document, command = DOCUMENTS[verb]
    file = tmp_path / "config.json"
    for at, changed in with_text(document, text):
        file.write_text(json.dumps(changed).replace("HALF", escape))
        done = runtime(*command(file, name, tmp_path), check=False)
        assert done.returncode != 0, (at, done.stderr)
        assert not OF_PYTHON.search(done.stderr), (at, done.stderr)
        # As a pointer, or as people are told: mounts[0].options[0], line 1.
        shown = re.sub(r"/(\d+)", r"[\1]", at).lstrip("/").replace("/", ".")
        assert at in done.stderr or shown in done.stderr or "half of a character" in done.stderr, (at, done.stderr)
