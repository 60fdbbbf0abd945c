"""What all tests share: the program under test, bundles, containers, and the checks that nothing is skipped or left."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).with_name("support")))
import reports
from containers import PATIENCE, Containers

import bundle as bundles
from clauses import CLAUSES

ALLOWED_SKIPS = Path(__file__).with_name("allowed-skips.txt")
# In every container's id, so that whatever is left behind can be traced to this run and to no other.
SESSION = os.environ.get("PYRUNTIME_SESSION") or f"pytest-{os.getpid()}-{secrets.token_hex(3)}"


def pytest_configure(config):
    """What a shell in the background or nohup(1) starts ignores these, and what is ignored is inherited."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    reports.register(config)


def pytest_collection_modifyitems(items):
    """Refuse a clause that the spec does not have.

    The validation suite first: it needs cgroup controllers that other tests may tie to the unified hierarchy.
    """
    for item in items:
        wrong = {name for marker in item.iter_markers("clause") for name in marker.args} - CLAUSES
        if wrong:
            raise pytest.UsageError(f"{item.nodeid}: no clause of the spec: {', '.join(sorted(wrong))}")
    items.sort(key=lambda item: "validation" not in item.path.parts)


# ---- The program, and what runs in it ----


@pytest.fixture(scope="session")
def pyruntime() -> Path:
    """The installed program: the one beside the interpreter, or $PYRUNTIME."""
    path = Path(os.environ.get("PYRUNTIME") or Path(sys.executable).with_name("pyruntime"))
    assert path.exists(), f"{path} is not built: run `make`"
    return path


@pytest.fixture(scope="session")
def ordinary_python() -> None:
    """Skip what ordinary users do with a copy of the program, where its Python lies in root's home."""
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        subprocess.run([os.path.realpath(sys.executable), "-I", "-c", ""], cwd="/", check=True, **user)
    except PermissionError:
        pytest.skip("needs a Python that ordinary users can execute")


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory) -> Path:
    """A busybox root filesystem that tests share; whoever writes into it makes a bundle with one of its own."""
    return bundles.make_rootfs(tmp_path_factory.mktemp("shared") / "rootfs")


@pytest.fixture
def bundle(tmp_path, pyruntime, rootfs):
    """A factory: bundle(change) makes a bundle on the shared root filesystem, bundle(change, own=True) on its own."""
    count = 0

    def make(change=None, own=False, rootless=False) -> Path:
        nonlocal count
        count += 1
        return bundles.make_bundle(tmp_path / f"bundle{count}", pyruntime, change, None if own else rootfs, rootless)

    return make


class Runtime:
    """The program with a --root of its own; deletes at the end what a test has left."""

    def __init__(self, program: Path, root: Path) -> None:
        self.program = program
        self.root = root
        self.count = 0

    def id(self) -> str:
        """Return a new container id."""
        self.count += 1
        return f"{SESSION}-{secrets.token_hex(4)}-{self.count}"

    def command(self, *words) -> list[str]:
        """Return the command line for `words`, for tests that start it in their own way."""
        return [str(self.program), "--root", str(self.root), *map(str, words)]

    def __call__(self, *words, check=True, timeout=PATIENCE, **options) -> "subprocess.CompletedProcess[str]":
        """Run `words` to the end, captured as text. With `check` a status other than 0 fails the test.

        The output goes through files: a container that is still running holds them open, and a pipe would not end. Each
        call has its own, which what an earlier container still writes does not reach.
        """
        options.setdefault("stdin", subprocess.DEVNULL)
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            done = subprocess.run(
                self.command(*words), stdout=stdout, stderr=stderr, timeout=timeout, check=False, **options
            )
            for stream in (stdout, stderr):
                stream.seek(0)
            result = subprocess.CompletedProcess(
                done.args,
                done.returncode,
                stdout.read().decode(errors="surrogateescape"),
                stderr.read().decode(errors="surrogateescape"),
            )
        if check:
            assert result.returncode == 0, f"{words}: status {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def clean(self) -> None:
        """Delete every container below the root."""
        for container in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if container.is_dir():
                self("delete", "--force", container.name, check=False)
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture
def runtime(pyruntime, tmp_path):
    """The program with a --root of its own: runtime("create", "-b", bundle(), runtime.id())."""
    program = Runtime(pyruntime, tmp_path / "run" / "root")
    yield program
    program.clean()


@pytest.fixture(params=["in place", "by a copy"])
def sealed(request, runtime, tmp_path):
    """`runtime` with a program that seals itself in one of the two ways of csrc/launcher/seal.c."""
    if request.param == "by a copy":
        # No overlay has a layer within another. So this is the program of a prefix which is the packages' directory.
        packages = tmp_path / "packages"
        source = Path(sysconfig.get_path("purelib"))
        place = packages / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        place.parent.mkdir(parents=True)
        place.symlink_to(packages)
        for file in [source / "pyruntime", *source.glob("_cffi_backend*.so")]:
            (packages / file.name).symlink_to(file)
        (packages / "bin").mkdir()
        shutil.copy(runtime.program, packages / "bin")
        runtime.program = packages / "bin" / runtime.program.name
    return runtime


@pytest.fixture(scope="session")
def default_config(pyruntime, tmp_path_factory) -> str:
    """The text of the configuration that `spec` writes."""
    folder = tmp_path_factory.mktemp("default")
    subprocess.run([pyruntime, "spec", "--bundle", folder], check=True)
    return json.dumps(bundles.with_cgroup_namespace(json.loads((folder / "config.json").read_text())))


@pytest.fixture
def containers(runtime, default_config, rootfs, tmp_path) -> Containers:
    """Containers whose cgroup pyruntime makes itself."""
    return Containers(runtime, default_config, rootfs, tmp_path)


@pytest.fixture(scope="session")
def session() -> str:
    """What stands in the name of everything that this run makes outside of its directory."""
    return SESSION


# ---- Nothing is left behind ----


def _left_mounts(directory: str) -> list[str]:
    """Mounts of this mount namespace below the directory of this run."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [f"mount {place}" for place in places if place.startswith(f"{directory}/") or SESSION in place]


def _left_cgroups() -> list[str]:
    """Cgroups with an id of this run in their name."""
    return [
        f"cgroup {path}/{name}" for path, names, _ in os.walk("/sys/fs/cgroup") for name in names if SESSION in name
    ]


def _left_processes(directory: str) -> list[str]:
    """Processes of this run: by cgroup, by environment, or by what they were started with."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            traces = [(process / name).read_bytes() for name in ("cgroup", "cmdline")]
        except OSError:
            continue  # it ended meanwhile
        if not traces[1]:
            continue  # it has ended, and waits for whoever adopted it
        # A zombie has an empty command line: whoever adopted it has not waited yet.
        if traces[1] and any(SESSION.encode() in trace or f"{directory}/".encode() in trace for trace in traces):
            found.append(f"process {process.name} {traces[1].replace(bytes(1), b' ').decode(errors='replace')}")
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory):
    """Fails the run when it leaves mounts, cgroups or processes."""
    yield
    directory = str(tmp_path_factory.getbasetemp())
    left = [*_left_mounts(directory), *_left_cgroups(), *_left_processes(directory)]
    assert not left, "left behind:\n" + "\n".join(left)


# ---- Nothing is skipped in CI unless the list says why ----


def _allowed(reason: str) -> bool:
    lines = ALLOWED_SKIPS.read_text().splitlines()
    return any(line in reason for line in lines if line.strip() and not line.startswith("#"))


def _refuse_skip(report) -> None:
    """Turn a skip that the list does not allow into a failure, when in CI."""
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not _allowed(reason):
        report.outcome = "failed"
        report.longrepr = f"{reason}\n(not in {ALLOWED_SKIPS.name}, so it may not be skipped in CI)"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """See _refuse_skip."""
    outcome = yield
    _refuse_skip(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    """See _refuse_skip: a module may be skipped as a whole."""
    outcome = yield
    _refuse_skip(outcome.get_result())


# ---- Where the time goes ----


def pytest_terminal_summary(terminalreporter):
    """Say how many seconds each folder of tests took."""
    seconds = {}
    for report in (report for some in terminalreporter.stats.values() for report in some):
        # Not the parts of a test, which its own time includes: subtests, and what is run in the virtual machine.
        if type(report) is pytest.TestReport and report.nodeid.count("tests/") == 1:
            folder = report.nodeid.partition("tests/")[2].split("/")[0]
            seconds[folder] = seconds.get(folder, 0) + report.duration
    terminalreporter.write_line(
        f"seconds: {', '.join(f'{folder} {spent:.0f}' for folder, spent in sorted(seconds.items()))}"
    )
