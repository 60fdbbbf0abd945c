"""The sandbox of an ordinary user, who has no cgroup of his own."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

UID = 12345
CODE = """
import json, os, sys
from pyruntime import Sandbox, SandboxError
options = json.loads(sys.argv[1])
try:
    box = Sandbox(**options)
    with box.open() as session:
        session.write("in", "given")
        result = session.exec(["sh", "-c", "id -u; cat in; echo out >out; chmod 600 out; echo x >/dev/stderr"])
        print(json.dumps([result.stdout.decode(), list(result.unlimited), session.read("out").decode()]))
    print(json.dumps(box.run(["sh", "-c", "exit 3"]).returncode))
    print(json.dumps(box.run(["sleep", "1000"], timeout=0.2).end))
except SandboxError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def user(tmp_path_factory):
    """user(options): what CODE prints for an ordinary user."""
    try:
        subprocess.run([sys.executable, "-c", ""], cwd="/", user=UID, group=UID, extra_groups=[], check=True)
    except PermissionError:
        pytest.skip("needs a Python that ordinary users can execute")
    home = tmp_path_factory.mktemp("home")
    os.chown(home, UID, UID)
    for folder in (home, *home.parents):
        if folder.stat().st_mode & 0o001 == 0 and folder.stat().st_uid == 0:
            folder.chmod(folder.stat().st_mode | 0o011)

    def run(**options):
        command = [sys.executable, "-c", CODE, json.dumps(options)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
        done = subprocess.run(
            command,
            cwd="/",
            user=UID,
            group=UID,
            extra_groups=[],
            env=environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert list((home / "pyruntime-sandboxes").iterdir()) == []
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def test_what_cannot_be_limited_is_an_error_that_says_what_is_missing(user):
    (said,) = user()
    assert "the limits cannot be set" in said and "cgroup" in said
    assert "pyruntime doctor" in said and 'limits="best-effort" (--best-effort)' in said


def test_with_best_effort_the_result_says_what_is_not_limited(user):
    first, status, end = user(limits="best-effort")
    assert first == ["65534\ngiven", ["memory", "cpus", "pids"], "out\n"]
    assert (status, end) == (3, "timeout")


def test_without_limits_nothing_is_missing(user):
    first, status, end = user(memory=None, cpus=None, pids=None)
    assert first == ["65534\ngiven", [], "out\n"]
    assert (status, end) == (3, "timeout")
