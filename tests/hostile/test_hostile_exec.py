"""exec into containers that attack the process that joins them: exec ends with an error or with a safe process."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import killing
import pytest
from host import attacker

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TIMEOUT = 30
EVERYTHING = [f"CAP_{name}" for name in ("SYS_ADMIN", "SYS_CHROOT", "MKNOD", "DAC_OVERRIDE", "CHOWN", "FOWNER", "KILL")]


class Box:
    """A container that is not read-only, has many capabilities (not CAP_SYS_PTRACE), and runs `script` as process 1."""

    def __init__(self, runtime, bundle, script, change=None, damage=None):
        def configure(config):
            config["process"]["args"] = ["sh", "-c", script]
            sets = ("bounding", "effective", "permitted")
            config["process"]["capabilities"] = {name: list(EVERYTHING) for name in sets}
            config["root"]["readonly"] = False
            config["linux"].pop("maskedPaths", None)
            config["linux"].pop("readonlyPaths", None)
            if change is not None:
                change(config)

        self.runtime = runtime
        self.bundle = bundle(configure, own=True)
        self.rootfs = self.bundle / "rootfs"
        if damage is not None:
            damage(self.rootfs)
        self.id = runtime.id()
        reader, writer = os.pipe()
        with os.fdopen(reader) as said, os.fdopen(writer, "w") as voice:
            subprocess.run(
                runtime.command("run", "--detach", "-b", self.bundle, self.id),
                stdin=subprocess.DEVNULL,
                stdout=voice,
                check=True,
            )
            voice.close()
            # The script prints a line when its attack is prepared.
            assert said.readline() == "ready\n"
        self.pid = json.loads(runtime("state", self.id).stdout)["pid"]

    def __call__(self, *words, options=(), **how):
        """Run exec; its result may be an error, but not an internal one."""
        done = self.runtime("exec", *options, self.id, *words, check=False, timeout=TIMEOUT, **how)
        assert "internal error" not in done.stderr and "init failed" not in done.stderr, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def alive(self):
        """Fail the test unless exec still works."""
        assert self("/bin/busybox", "echo", "alive").stdout == "alive\n"


@pytest.fixture
def box(runtime, bundle):
    return lambda script="", **more: Box(runtime, bundle, f"{script}\necho ready; exec sleep 1000 >&-", **more)


def until(true):
    """Wait for what another process does, and cannot be waited for otherwise."""
    end = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < end
        os.sched_yield()


@contextlib.contextmanager
def held(program):
    """Let whoever executes the file `program` wait in execve(2) until the function that this yields is called.

    That is a write lease (fcntl(2), F_SETLEASE): the kernel asks its holder first, by SIGIO, and waits for the answer.
    """
    earlier = signal.signal(signal.SIGIO, lambda *_: None)
    try:
        with open(program, "rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            yield lambda: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        signal.signal(signal.SIGIO, earlier)


# ---- Processes that lie in wait ----


lurker = attacker("lurker")


def user_namespace(config):
    config["linux"]["namespaces"].append({"type": "user"})
    entry = {"containerID": 0, "hostID": 100000, "size": 65536}
    config["linux"].update(uidMappings=[entry], gidMappings=[dict(entry)])
    # There it has every capability, CAP_SYS_PTRACE too; they have no effect outside of its user namespace.
    for names in config["process"]["capabilities"].values():
        names[:] = [*EVERYTHING, "CAP_SYS_PTRACE"]


@pytest.mark.parametrize("change", [None, user_namespace], ids=["root", "user namespace"])
def test_nobody_gets_into_the_process_before_its_program(runtime, box, lurker, change):
    """CVE-2016-9962: ptrace and /proc/PID of every new process, in a busy loop."""

    def damage(rootfs):
        shutil.copy(lurker, rootfs / "bin/lurker")
        (rootfs / "caught").write_text("")
        (rootfs / "caught").chmod(0o666)

    inside = box("lurker /caught 2>&1 &\nread line < /proc/$!/stat", change=change, damage=damage)
    for number in range(24):
        done = inside("/bin/busybox", "true", options=["--user", "0:0"] if number % 2 else [])
        assert done.returncode in (0, 137), done.stderr
    # A program that runs longer is found: this shows that the attack would work.
    command = runtime.command("exec", inside.id, "/bin/busybox", "cat")
    with subprocess.Popen(command, stdin=subprocess.PIPE) as victim:
        until(lambda: "exe=/bin/busybox" in (inside.rootfs / "caught").read_text())
        victim.stdin.close()
    caught = (inside.rootfs / "caught").read_text().splitlines()
    assert [line for line in caught if "exe=/bin/busybox" not in line] == []


watcher = attacker("watcher")


def traces_others(config):
    """The container may trace what is in its pid namespace, and is in no user namespace; exec gets less than that."""
    for names in config["process"]["capabilities"].values():
        names[:] = [*EVERYTHING, "CAP_SYS_PTRACE"]


WAYS_IN = {
    "plain": [],
    "another user": ["--user", "5:5"],
    "a terminal": ["--tty"],
    "a group below": ["--cgroup", "/"],
    "detached": ["--detach"],
    "another directory": ["--cwd", "/bin"],
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_process_of_exec_holds_nothing_of_the_host_once_it_can_be_seen(runtime, box, watcher, way):
    """CVE-2016-9962, CVE-2024-21626: with CAP_SYS_PTRACE every descriptor of it could be opened again."""

    def damage(rootfs):
        shutil.copy(watcher, rootfs / "bin/watcher")
        shutil.copy(rootfs / "bin/busybox", rootfs / "bin/busybox-held")
        (rootfs / "seen").write_text("")

    def before_its_program():
        seen = (inside.rootfs / "seen").read_text().splitlines()
        return [line for line in seen if "busybox" not in line.split()[0]]

    inside = box("watcher /seen 2>&1 &\nread line < /proc/$!/stat", change=traces_others, damage=damage)
    with held(inside.rootfs / "bin/busybox-held") as let_go, ThreadPoolExecutor() as pool:
        done = pool.submit(inside, "/bin/busybox-held", "true", options=WAYS_IN[way])
        try:
            until(before_its_program)
        finally:
            let_go()
        assert done.result().returncode == 0
    for _ in range(40):
        inside("/bin/busybox", "true", options=WAYS_IN[way])
    before = before_its_program()
    # /etc/passwd is the container's, where HOME is looked up.
    own = re.compile(r"fd \d+ -> (pipe:|socket:|/dev/null|/dev/pts/|/seen|/dev/ptmx|/etc/passwd$)")
    for line in before:
        what = line.split(maxsplit=1)[1]
        if what.startswith("fd "):
            # Standard streams of this test are files in its directory, which the program gets.
            assert own.match(what) or int(what.split()[1]) < 3, line
            assert not (int(what.split()[1]) > 2 and "/dev/null" in what), line
        elif what.startswith(("root ", "cwd ")):
            assert what in ("root /", "cwd /", "cwd /bin"), line
        elif what.startswith("caps "):
            assert int(what.split()[1], 16) & ~_mask([*EVERYTHING, "CAP_SYS_PTRACE"]) == 0, line
        else:
            raise AssertionError(line)
    sockets = {line.split()[2] for line in before if "socket:" in line and int(line.split()[2]) > 2}
    assert len(sockets) <= 1


speaker = attacker("speaker")


@pytest.mark.parametrize("message", ["P{pid}", "C", "R", 'F{{"errno": "x"}}'])
def test_a_message_in_the_name_of_the_process_harms_nobody(box, speaker, message):
    """A false message has another process's pid, which the host would end, or says that a limit leaves no room, which
    the host would then raise.

    The speaker must win a race. tests/unit/test_child_messages.py tests the same without a race.
    """

    def damage(rootfs):
        shutil.copy(speaker, rootfs / "bin/speaker")
        (rootfs / "said").write_text("")

    with subprocess.Popen(["sleep", "1000"]) as other:
        words = message.format(pid=other.pid)
        # Its next process id is the next one that comes up: it begins anew for each.
        script = f"while :; do timeout 1 speaker '{words}' /said; done &"
        inside = box(script, change=traces_others, damage=damage)
        group = Path(f"/proc/{inside.pid}/cgroup").read_text()
        for _ in range(40):
            done = inside("/bin/busybox", "cat", "/proc/self/cgroup", options=["--cgroup", "/"])
            assert done.returncode in (0, 255), done.stderr
            assert done.returncode or [line.rpartition(":")[2] for line in done.stdout.split()] == ["/"] * len(
                group.splitlines()
            )
        assert other.poll() is None
        other.kill()


def _mask(names):
    from pyruntime.plan.capabilities import NUMBERS

    return sum(1 << NUMBERS[name] for name in names)


# ---- The host's own program ----


@pytest.mark.parametrize("how", ["script", "link"])
def test_the_hosts_program_is_never_writable_from_inside(sealed, box, pyruntime, how):
    """CVE-2019-5736: the program that is executed leads back to the runtime's own program."""

    def damage(rootfs):
        target = rootfs / "bin/trap"
        if how == "script":
            target.write_text("#!/proc/self/exe\n")
            target.chmod(0o755)
        else:
            target.symlink_to("/proc/self/exe")

    script = """
    while :; do
        for each in /proc/[0-9]*; do
            pid=${each#/proc/}
            test $pid = 1 || test $pid = $$ && continue
            case $(readlink $each/exe 2>/dev/null) in
            *busybox|"") ;;
            *) readlink $each/exe; (echo overwritten > $each/exe) 2>/dev/null && echo WRITTEN ;;
            esac
        done
    done > /seen 2>&1 &
    """
    programs = (sealed.program, pyruntime.resolve(), Path("/usr/bin/python3").resolve())
    before = {path: path.read_bytes() for path in programs}
    inside = box(script, damage=damage)
    for _ in range(10):
        inside("/bin/trap")
    inside.alive()
    assert "WRITTEN" not in (inside.rootfs / "seen").read_text()
    assert {path: path.read_bytes() for path in before} == before


def test_what_runs_in_the_container_is_no_file_of_the_host(sealed, box):
    """While exec is held up inside, the file behind /proc/PID/exe is looked at from outside."""
    # A FIFO in place of the program's directory cannot stop exec there; the freezer can.
    inside = box()
    inside.runtime("pause", inside.id)
    command = inside.runtime.command("exec", "--ignore-paused", inside.id, "/bin/busybox", "true")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as started:
        entered = []
        while not entered:
            assert started.poll() is None
            entered = [pid for pid in group_pids(inside) if pid != inside.pid]
        assert not os.path.samefile(f"/proc/{entered[0]}/exe", sealed.program)
        with pytest.raises(OSError):
            os.close(os.open(f"/proc/{entered[0]}/exe", os.O_WRONLY))
        inside.runtime("resume", inside.id)
        assert started.wait(TIMEOUT) == 0


def group_pids(inside):
    found = inside.runtime("ps", "--format", "json", inside.id, check=False).stdout
    return json.loads(found) if found else []


# ---- Descriptors ----


def test_no_descriptor_of_the_host_is_left_in_the_process(box, tmp_path):
    (tmp_path / "secret").write_text("of the host")
    inside = box()
    command = inside.runtime.command("exec", inside.id, "/bin/busybox", "ls", "/proc/self/fd")
    wrapped = ["bash", "-c", 'exec "$@" 3<"$0" 4</ 77</ 200<"$0"', str(tmp_path / "secret"), *command]
    done = subprocess.run(
        wrapped, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=TIMEOUT
    )
    # 3 is the directory that ls reads.
    assert done.stdout.split() == ["0", "1", "2", "3"]


def test_no_descriptor_is_a_way_out_for_the_working_directory(box, subtests):
    """CVE-2024-21626: of the caller's, or of the runtime's own."""
    inside = box()
    (inside.rootfs / "link").symlink_to("/proc/self/fd/77")
    places = [f"/proc/self/fd/{fd}" for fd in (*range(3, 14), 77)]
    for place in (*places, "/proc/self/fd/77/../../..", "/proc/thread-self/fd/77", "/link"):
        command = inside.runtime.command("exec", "--cwd", place, inside.id, "/bin/busybox", "ls")
        with subtests.test(place=place):
            done = subprocess.run(
                ["bash", "-c", 'exec "$@" 77</', "-", *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT,
            )
            assert (done.returncode, done.stdout) == (255, "")


def test_no_descriptor_is_a_way_out_for_the_program(box, subtests):
    inside = box()
    for fd in range(3, 14):
        with subtests.test(fd=fd):
            assert inside(f"/proc/self/fd/{fd}/bin/sh", "-c", "echo out").returncode == 255
            assert inside(f"/proc/self/fd/{fd}/1/root/bin/sh", "-c", "echo out").returncode == 255


def test_a_descriptor_that_the_caller_did_not_open_is_not_preserved(box, subtests):
    """Otherwise one of the runtime's own would be open in its place while the working directory is entered."""
    inside = box()
    for count in (1, 5, 12):
        with subtests.test(count=count):
            options = ["--preserve-fds", count, "--cwd", f"/proc/self/fd/{2 + count}"]
            done = inside("/bin/busybox", "pwd", options=options, close_fds=True)
            assert done.returncode == 255 and "cannot preserve descriptor" in done.stderr


# ---- /proc and /dev as the container likes them ----

# What stands in the place of /proc: directories of the container for every name that a runtime might look up.
FALSE_PROC = """
mount -t tmpfs tmpfs /false
mkdir -p /false/self/fd /false/self/attr /false/self/ns /false/thread-self /false/1
for name in 0 1 2 3 4 5 6 7 8 9 10; do ln -s /victim /false/self/fd/$name; done
ln -s /victim /false/self/attr/exec
ln -s /victim /false/self/attr/current
ln -s /victim /false/self/oom_score_adj
ln -s /victim /false/self/timens_offsets
ln -s / /false/self/root
mkfifo /false/self/status /false/self/exe /false/filesystems
mount --move /false /proc
"""


def with_places(rootfs):
    (rootfs / "false").mkdir()
    (rootfs / "victim").write_text("untouched")


@pytest.mark.parametrize("options", [[], ["--tty"], ["--user", "5:5"]], ids=" ".join)
def test_a_false_proc_is_not_believed(box, options):
    inside = box(FALSE_PROC, damage=with_places)
    done = inside("/bin/busybox", "echo", "here", options=options)
    assert done.stdout.strip() == "here", done.stderr
    assert (inside.rootfs / "victim").read_text() == "untouched"


@pytest.mark.parametrize("label", ["--apparmor", "--process-label"])
def test_a_label_is_not_written_to_a_false_proc(box, label):
    inside = box(FALSE_PROC, damage=with_places)
    assert inside("/bin/busybox", "true", options=[label, "some-label"]).returncode in (0, 255)
    assert (inside.rootfs / "victim").read_text() == "untouched"


FALSE_PTMX = {
    "a tmpfs": "mount -t tmpfs tmpfs /dev/pts",
    "a FIFO": "mount -t tmpfs tmpfs /dev/pts; mkfifo /dev/pts/ptmx",
    "a file": "mount -t tmpfs tmpfs /dev/pts; echo > /dev/pts/ptmx",
    "a link to itself": "mount -t tmpfs tmpfs /dev/pts; ln -s ptmx /dev/pts/ptmx",
    "a link to a device": "mount -t tmpfs tmpfs /dev/pts; ln -s /dev/full /dev/pts/ptmx",
    "a link to a descriptor": "mount -t tmpfs tmpfs /dev/pts; ln -s /proc/self/fd/3 /dev/pts/ptmx",
    "another device": "mount -t tmpfs tmpfs /dev/pts; mknod /dev/pts/ptmx c 1 3",
    "a device of the same number": "mount -t tmpfs tmpfs /dev/pts; mknod -m 666 /dev/pts/ptmx c 5 2",
    "a file mounted over it": "echo > /file; mount -o bind /file /dev/pts/ptmx",
    "a FIFO mounted over it": "mkfifo /fifo; mount -o bind /fifo /dev/pts/ptmx",
    "no /dev at all": "umount -l /dev; rm -rf /dev",
    "a FIFO for /dev": "umount -l /dev; rm -rf /dev; mkfifo /dev",
}


@pytest.mark.parametrize("kind", FALSE_PTMX)
def test_a_false_ptmx_is_not_taken_for_a_terminal(box, kind):
    inside = box(FALSE_PTMX[kind])
    done = inside("/bin/busybox", "echo", "here", options=["--tty"])
    assert done.returncode == 255
    assert "cannot set up the terminal" in done.stderr
    inside.alive()


def test_a_slave_is_not_taken_for_a_master(box):
    """A devpts file, but another terminal's other end."""
    inside = box("exec 5<>/dev/pts/ptmx; mount -o bind /dev/pts/0 /dev/pts/ptmx")
    done = inside("/bin/busybox", "echo", "here", options=["--tty"])
    assert done.returncode == 255
    inside.alive()


def test_a_container_that_remounts_all_the_time(box):
    both = " ".join(f"mount -t tmpfs tmpfs {place}; umount -l {place};" for place in ("/proc", "/dev/pts"))
    inside = box(f"(while :; do {both} done) > /dev/null 2>&1 &")
    for _ in range(15):
        done = inside("/bin/busybox", "echo", "here", options=["--tty"])
        assert done.returncode in (0, 255)
        assert done.stdout.strip() == "here" or "cannot set up the terminal" in done.stderr


PASSWD = {
    "a FIFO": "mkfifo /etc/passwd",
    "a directory": "mkdir /etc/passwd",
    "a link to itself": "ln -s passwd /etc/passwd",
    "a terminal": "ln -s /dev/pts/ptmx /etc/passwd",
    "endless": "ln -s /dev/zero /etc/passwd",
    "a line without an end": "head -c 3000000 /dev/zero > /etc/passwd",
    "huge": "dd if=/dev/zero of=/etc/passwd bs=1 count=0 seek=1099511627776 2> /dev/null",
    "not text": "printf 'root:x:0:0::/\\377\\376:\\n' > /etc/passwd",
}


@pytest.mark.parametrize("kind", PASSWD)
def test_a_list_of_users_that_is_none_keeps_nobody_waiting(box, kind):
    inside = box(f"rm /etc/passwd; {PASSWD[kind]}")
    done = inside("/bin/busybox", "env")
    assert done.returncode == 0
    assert ("HOME=/\n" in done.stdout) == (kind != "not text")


# ---- Containers that end meanwhile ----


@pytest.mark.parametrize("namespaces", ["all", "only a mount namespace"])
def test_a_container_that_dies_meanwhile_leaves_a_clean_error_and_no_process(runtime, bundle, namespaces):
    """The container is killed at many moments, from the beginning to the end of an exec."""

    def change(config):
        config["process"]["args"] = ["sleep", "1000"]
        if namespaces != "all":
            config["linux"]["namespaces"] = [{"type": "mount"}]
            config.pop("hostname", None)
            config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] in ("/proc", "/dev")]

    path = bundle(change)
    ends: list[int] = []
    moments = [number * 1400 for number in range(16)]
    for moment in moments:
        container = runtime.id()
        runtime("run", "--detach", "-b", path, container)
        pid = json.loads(runtime("state", container).stdout)["pid"]
        killer = [
            "sh",
            "-c",
            'i=0; while [ $i -lt "$1" ]; do i=$((i + 1)); done; kill -9 "$2"',
            "-",
            str(moment),
            str(pid),
        ]
        command = runtime.command("exec", container, "sh", "-c", "exit 3")
        with (
            subprocess.Popen(killer, stdin=subprocess.DEVNULL) as killing,
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as started,
        ):
            said = started.stderr.read()
            status = started.wait(TIMEOUT)
            killing.wait(TIMEOUT)
        ends.append(status)
        if moment == moments[-1] and 3 not in ends and moment < 10_000_000:
            moments.append(2 * moment)  # exec takes longer on a busy machine
        assert status in (3, 137, 255), said
        assert "internal error" not in said and "Traceback" not in said
        if status == 255:
            assert re.search("has just ended|it is stopped", said), said
        runtime("delete", "--force", container)
        assert not [path for path, _, _ in os.walk("/sys/fs/cgroup") if container in path]
    assert {3, 255} <= set(ends), "killed always too early, or always too late"


def test_exec_killed_at_any_moment_leaves_no_process(box):
    inside = box()
    command = inside.runtime.command("exec", inside.id, "/bin/busybox", "true")
    stops, _ = killing.run(command)
    for stop in range(0, stops, max(stops // 24, 1)):
        killing.run(command, stop)
        # What has come as far as its program ends by itself.
        until(lambda: group_pids(inside) == [inside.pid])
    inside.alive()


def test_a_deletion_meanwhile_leaves_nothing(runtime, bundle):
    """Without a pid namespace nothing but the runtime ends what exec has made."""

    def change(config):
        config["process"]["args"] = ["sleep", "1000"]
        config["linux"]["namespaces"] = [{"type": "mount"}]
        config.pop("hostname", None)
        config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] in ("/proc", "/dev")]

    path = bundle(change)
    for number in range(10):
        container = runtime.id()
        runtime("run", "--detach", "-b", path, container)
        deletion = ["sh", "-c", 'i=0; while [ $i -lt "$0" ]; do i=$((i + 1)); done; exec "$@"', str(number * 2000)]
        deletion += runtime.command("delete", "--force", container)
        with subprocess.Popen(deletion, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as deleting:
            runtime("exec", container, "sleep", "1000", check=False, timeout=TIMEOUT)
            assert (deleting.wait(TIMEOUT), deleting.stderr.read()) == (0, "")
        assert not [path for path, _, _ in os.walk("/sys/fs/cgroup") if container in path]
        assert not (runtime.root / container).exists()
