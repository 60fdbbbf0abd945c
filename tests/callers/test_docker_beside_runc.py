"""Docker Engine with pyruntime and with runc, side by side: the same output, and the exit status that users know."""

import pytest
from calling import need

_SCRIPT = "#!/bin/sh\necho script\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A directory with a script that may be executed, one that may not, and one without its interpreter."""
    place = tmp_path_factory.mktemp("files")
    for name, text, mode in (
        ("script", _SCRIPT, 0o755),
        ("closed", _SCRIPT, 0o644),
        ("orphan", "#!/not/there\n", 0o755),
    ):
        (place / name).write_text(text)
        (place / name).chmod(mode)
    return place


def _both(docker, *words):
    """Run it with runc and with pyruntime; return what each did."""
    need("runc")
    return [docker("run", "--rm", "--runtime", runtime, *words, status=None) for runtime in ("runc", "pyruntime")]


# ---- What cannot be ----


@pytest.mark.parametrize(
    "words",
    [
        ["box", "/not/there"],
        ["box", "not-in-path"],
        ["box", "/etc"],
        ["box", "/etc/passwd"],
        ["box", "/etc/passwd/below"],
        ["box", "/files/closed"],
        ["--entrypoint", "/not/there", "box", "argument"],
        ["--volume", "/:/etc/passwd", "box", "true"],
        ["--volume", "/dev/null:/etc", "box", "true"],
        ["--volume", "/dev/null:/etc/passwd/below", "box", "true"],
        ["--workdir", "/etc/passwd", "box", "true"],
        ["--sysctl", "net.ipv4.ip_forward=maybe", "box", "true"],
        ["--cpu-rt-runtime", "1000", "box", "true"],
    ],
    ids=" ".join,
)
def test_the_exit_status_of_what_cannot_be(docker, files, words):
    runc, pyruntime = _both(docker, "--volume", f"{files}:/files", *words)
    assert pyruntime.returncode == runc.returncode
    assert pyruntime.returncode in (125, 126, 127)
    # What dockerd itself adds to the message depends on words in it.
    hint = "Are you trying to mount a directory onto a file"
    assert (hint in pyruntime.stderr) == (hint in runc.stderr)


def test_a_script_without_its_interpreter_is_not_started(docker, files):
    """runc sees that only when it is no longer there to say it: the message is in the container's log, the status 1."""
    runc, pyruntime = _both(docker, "--volume", f"{files}:/files", "box", "/files/orphan")
    assert (runc.returncode, pyruntime.returncode) == (1, 127)
    assert "no such file or directory" in pyruntime.stderr
    assert "/process/args/0" in pyruntime.stderr


def test_the_exit_status_of_exec(docker, subtests):
    need("runc")
    for runtime in ("runc", "pyruntime"):
        docker("run", "--detach", "--runtime", runtime, "--name", f"with-{runtime}", "box", "sleep", "1000")
    for words in (["/not/there"], ["not-in-path"], ["/etc"], ["/etc/passwd"], ["sh", "-c", "exit 5"]):
        with subtests.test(words=words):
            runc, pyruntime = (docker("exec", f"with-{name}", *words, status=None) for name in ("runc", "pyruntime"))
            assert pyruntime.returncode == runc.returncode


# ---- What is to be seen inside ----

# Of `ls -l` all but the date.
_LOOK = """
id; umask; pwd; env | grep -v HOSTNAME | sort
grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid|Gid)' /proc/self/status
cat /proc/self/limits /proc/self/oom_score_adj
ls /dev | sort; ls -l /dev | grep -v total | cut -c 1-44,58- | grep -Ev ' (shm|mqueue)$'
cut -d ' ' -f 2 /proc/mounts
"""
_LOOK_AT_THE_TERMINAL = "tty; stty size; stat -c '%t %T %a %g' $(tty) /dev/console"


@pytest.mark.parametrize(
    "flags",
    [(), ("--user", "1000:1001", "--group-add", "55"), ("--read-only", "--cap-drop", "ALL", "--ipc", "host")],
    ids=" ".join,
)
def test_what_is_to_be_seen_inside(docker, flags):
    runc, pyruntime = _both(docker, *flags, "box", "sh", "-c", _LOOK)
    assert runc.returncode == pyruntime.returncode == 0
    assert pyruntime.stdout == runc.stdout


def test_what_is_to_be_seen_of_the_terminal(docker):
    runc, pyruntime = _both(docker, "--tty", "box", "sh", "-c", _LOOK_AT_THE_TERMINAL)
    assert runc.returncode == pyruntime.returncode == 0
    assert pyruntime.stdout == runc.stdout
