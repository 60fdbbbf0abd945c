"""One program in a sandbox: what comes back, how ends are told apart, what is an error of the caller."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyruntime import OutOfMemory, OutputLimit, ProgramFailed, Sandbox, SandboxError, Timeout

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def python(code):
    return ["python3", "-c", code]


def test_streams_status_and_use_come_back_apart(box):
    code = "import sys; print(sys.stdin.read()); print('wrong', file=sys.stderr); sys.exit(3)"
    result = box.run(python(code), input=b"hi", timeout=60)
    assert (result.stdout, result.stderr, result.returncode) == (b"hi\n", b"wrong\n", 3)
    assert (result.end, result.signal, result.ok) == ("exited", None, False)
    assert not (result.truncated or result.timed_out or result.oom_killed)
    assert result.usage.cpu_seconds > 0 and result.usage.peak_memory > 1 << 20 and result.duration > 0
    with pytest.raises(ProgramFailed, match="status 3") as caught:
        result.check()
    assert caught.value.result is result


def test_a_good_end_passes_the_check(box):
    assert box.run(["true"]).check().ok


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT])
def test_a_signal_is_not_a_status(box, number):
    result = box.run(["sh", "-c", f"kill -{int(number)} $$"])
    assert (result.end, result.signal, result.returncode) == ("signal", number, -number)


def test_time_that_is_over_is_not_a_signal(box):
    result = box.run(["sleep", "1000"], timeout=0.2)
    assert (result.end, result.timed_out, result.returncode) == ("timeout", True, -9)
    with pytest.raises(Timeout):
        result.check()


def test_lack_of_memory_is_not_a_signal(box):
    result = box.run(python("b = b'x' * (1 << 30)"))
    assert (result.end, result.oom_killed, result.timed_out) == ("memory", True, False)
    with pytest.raises(OutOfMemory):
        result.check()


def test_a_child_that_is_killed_for_memory_is_told(box):
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'b = b\"x\" * (1 << 30)']) != 0)"
    result = box.run(python(code))
    assert (result.end, result.oom_killed, result.returncode) == ("memory", True, 1)


def test_what_was_written_before_the_limit_is_there(box):
    result = box.run(["sh", "-c", "while :; do echo line; done"], timeout=60)
    assert (result.end, result.truncated) == ("output", True)
    assert len(result.stdout) == 256 << 10 and result.stdout.startswith(b"line\nline\n")
    with pytest.raises(OutputLimit):
        result.check()


def test_output_up_to_the_limit_is_no_end(box):
    result = box.run(python(f"import sys; sys.stdout.write('x' * {256 << 10})"))
    assert (result.end, len(result.stdout)) == ("exited", 256 << 10)


def test_megabytes_go_in_and_out(no_leaks):
    data = os.urandom(5 << 20)
    box = Sandbox(output_limit="8M")
    assert box.run(["cat"], input=data, timeout=60).stdout == data


def test_a_program_that_does_not_read_its_input_does_not_hold_up(box):
    assert box.run(["true"], input=b"x" * (4 << 20), timeout=60).ok


def test_arguments_longer_than_a_message(box):
    code = "#" + "x" * 120_000 + "\nprint('there')"
    assert box.run(python(code)).stdout == b"there\n"


@pytest.mark.parametrize(
    ("program", "error"),
    [("nothing-of-this-name", FileNotFoundError), ("/etc/passwd", PermissionError), ("/usr", PermissionError)],
)
def test_a_program_that_cannot_be_executed_is_an_oserror(box, program, error):
    with pytest.raises(error) as caught:
        box.run([program])
    assert caught.value.filename == program


def test_the_environment_is_the_sandboxs(box, monkeypatch):
    monkeypatch.setenv("SECRET", "of the caller")
    shown = box.run(["env"], env={"OWN": "a\nb"}).stdout
    assert b"SECRET" not in shown and b"OWN=a\nb\n" in shown and b"HOME=/work\n" in shown


def test_the_user_is_nobody_without_rights(box):
    shown = box.run(["sh", "-c", "id -u; grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status"]).stdout.split()
    assert shown[0] == b"65534"
    fields = dict(zip(shown[1::2], shown[2::2], strict=True))
    assert int(fields[b"CapEff:"], 16) == int(fields[b"CapBnd:"], 16) == 0
    assert (fields[b"NoNewPrivs:"], fields[b"Seccomp:"]) == (b"1", b"2")


def test_nothing_of_the_host_is_there_but_software(box, tmp_path):
    (tmp_path / "secret").write_text("x")
    script = f"ls -A / /root /home /var /srv /run {tmp_path} 2>/dev/null; ls /usr/bin/env"
    shown = box.run(["sh", "-c", script]).stdout.decode()
    assert "secret" not in shown and "/root:" not in shown and "/home:" not in shown and "/usr/bin/env" in shown
    assert box.run(["sh", "-c", "echo x >/usr/new || echo x >/etc/new || echo x >/new"]).returncode != 0


def test_there_is_no_network(box):
    code = "import socket; s = socket.socket(); s.settimeout(5); s.connect(('192.0.2.1', 80))"
    assert b"unreachable" in box.run(python(code)).stderr
    own = "import socket; l = socket.create_server(('127.0.0.1', 0)); socket.create_connection(l.getsockname())"
    assert box.run(python(own)).ok


def test_mounts_and_hidden_paths(no_leaks, tmp_path):
    (tmp_path / "in").write_text("given")
    (tmp_path / "out").mkdir(mode=0o777)
    (tmp_path / "out").chmod(0o777)
    box = Sandbox(
        mounts=[(tmp_path / "in", "/data/in", "ro"), (tmp_path / "out", "/data/out", "rw")], hide=["/etc", "/nowhere"]
    )
    box.run(["sh", "-c", "cp /data/in /data/out/copy; ls -A /etc; ! echo x >/data/in"]).check()
    assert (tmp_path / "out/copy").read_text() == "given"
    assert box.run(["ls", "-A", "/etc"]).stdout == b""


def test_a_directory_is_a_root(no_leaks, rootfs):
    box = Sandbox(root=rootfs)
    assert box.run(["sh", "-c", "command -v python3 || ls /bin/busybox"]).stdout == b"/bin/busybox\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory", "lots"),
        ("memory", 0),
        ("memory", True),
        ("memory", "1" * 50),
        ("cpus", 0),
        ("cpus", float("nan")),
        ("cpus", "1"),
        ("pids", 0),
        ("pids", 1.5),
        ("disk", "-1"),
        ("output_limit", None),
        ("root", "/nowhere"),
        ("root", "/etc/passwd"),
        ("image", "docker://x"),
        ("image", "oci:/nowhere:tag"),
        ("user", "no-such-user"),
        ("user", 70000),
        ("network", True),
        ("network", "/nowhere"),
        ("env", {"A=B": "c"}),
        ("env", {"A": "b\0"}),
        ("mounts", [("/nowhere", "/data", "ro")]),
        ("mounts", [("/usr", "data", "ro")]),
        ("mounts", [("/usr", "/data/../..", "ro")]),
        ("mounts", [("/usr", "/data", "rx")]),
        ("mounts", [("/usr", "/", "ro")]),
        ("mounts", [("/usr", "/usr/nowhere", "ro")]),
        ("mounts", [("/usr", "/proc/x", "ro")]),
        ("hide", "/etc"),
        ("hide", ["etc"]),
        ("seccomp", "strict"),
        ("limits", "some"),
        ("hostname", ""),
    ],
)
def test_a_wrong_argument_is_a_valueerror_that_names_it(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: "):
        Sandbox(**{name: value})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("args", {"args": "ls -l"}),
        ("args", {"args": []}),
        ("args", {"args": [""]}),
        ("args", {"args": ["a\0"]}),
        ("args", {"args": [1]}),
        ("input", {"args": ["true"], "input": 5}),
        ("timeout", {"args": ["true"], "timeout": -1}),
        ("timeout", {"args": ["true"], "timeout": "5"}),
        ("env", {"args": ["true"], "env": {"": "x"}}),
    ],
)
def test_a_wrong_argument_of_run_is_one_before_anything_is_made(box, name, arguments):
    with pytest.raises(ValueError, match=rf"^{name}: "):
        box.run(**arguments)


def test_a_failure_of_the_runtime_is_never_the_programs(no_leaks):
    box = Sandbox(seccomp={"defaultAction": "SCMP_ACT_NONSENSE"})
    with pytest.raises(SandboxError, match="/linux/seccomp/defaultAction"):
        box.run(["true"])


def test_config_and_plan_say_what_is_done(box):
    config = box.config()
    assert config["linux"]["resources"]["memory"]["limit"] == 64 << 20
    plan = box.plan()
    assert "landlock_restrict_self" in plan and "seccomp(" in plan and "clone(" in plan


def test_threads_do_not_matter(box):
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: box.run(["echo", str(number)], timeout=60), range(40)))
    assert [int(result.stdout) for result in results] == list(range(40))


def test_a_callers_handler_of_sigchld_takes_nothing_away(box):
    before = signal.signal(signal.SIGCHLD, lambda *_: [os.waitpid(-1, os.WNOHANG) for _ in [0] if _any_child()])
    try:
        assert box.run(["sh", "-c", "exit 7"]).returncode == 7
    finally:
        signal.signal(signal.SIGCHLD, before)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert box.run(["sh", "-c", "exit 7"]).returncode == 7
    finally:
        signal.signal(signal.SIGCHLD, before)


def _any_child():
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


ENGINE = """
import sys, threading, pyruntime
stop = threading.Event()
threading.Thread(target=stop.wait).start()
try:
    if sys.argv[1] == "create":
        pyruntime.create("x", pyruntime.CreateOptions("/nowhere", "/nowhere"))
    else:
        pyruntime.exec_process("/nowhere", "x", pyruntime.ExecOptions(["true"]))
except pyruntime.Error as error:
    print(error.reason)
finally:
    stop.set()
"""


@pytest.mark.parametrize("function", ["create", "exec"])
def test_the_engines_functions_refuse_a_process_with_threads(function):
    command = [sys.executable, "-c", ENGINE, function]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True, timeout=60)
    assert "this one has 2" in done.stdout


def test_fork_in_the_caller_makes_no_mess(box):
    box.run(["true"]).check()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if box.run(["true"]).ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert box.run(["true"]).ok


# ---- The command line ----


def program(pyruntime, *words, **options):
    return subprocess.run([pyruntime, "sandbox", *words], capture_output=True, timeout=60, check=False, **options)


def test_the_command_line_is_the_same_sandbox(pyruntime):
    done = program(pyruntime, "sh", "-c", "cat; id -u; echo wrong >&2; exit 5", input=b"given\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"given\n65534\n", b"wrong\n", 5)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["sh", "-c", "kill -9 $$"], 137),
        (["--timeout", "0.2", "sleep", "1000"], 124),
        (["--memory", "32M", "python3", "-c", "b = b'x' * (1 << 30)"], 137),
        (["nothing-of-this-name"], 125),
        (["--memory", "lots", "true"], 125),
        (["--rootfs", "/nowhere", "true"], 125),
    ],
)
def test_the_exit_status_says_what_happened(pyruntime, words, status):
    assert program(pyruntime, *words).returncode == status


def test_a_directory_is_not_passed_on_as_a_stream(pyruntime):
    fd = os.open("/", os.O_RDONLY)
    try:
        done = program(pyruntime, "true", stdin=fd)
    finally:
        os.close(fd)
    assert done.returncode == 125 and b"stdin: it is a directory" in done.stderr


def test_the_result_as_json(pyruntime):
    done = program(pyruntime, "--json", "--env", "A=b", "sh", "-c", "echo $A; exit 4")
    result = json.loads(done.stdout)
    assert (result["stdout"], result["returncode"], result["end"], done.returncode) == ("b\n", 4, "exited", 0)


def test_sessions_of_threads_at_once(box):
    failures = []

    def work(number):
        try:
            with box.open() as session:
                session.write("name", str(number))
                for _ in range(3):
                    assert session.exec(["cat", "name"]).stdout == str(number).encode()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
