"""The executable: what it runs, whatever the caller's environment is, and what /proc/self/exe shows."""

import fcntl
import os
import select
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

F_GET_SEALS = 1034
SEALED = 0x1 | 0x2 | 0x4 | 0x8  # seal, shrink, grow, write

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def call(*command, **options):
    """Run a command, captured as text."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60, **options)


@pytest.fixture
def moved(pyruntime, tmp_path):
    """The program and its packages, copied to another prefix."""
    prefix = tmp_path / "prefix"
    packages = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    (prefix / "bin").mkdir(parents=True)
    (prefix / packages).mkdir(parents=True)
    shutil.copy(pyruntime, prefix / "bin/pyruntime")
    source = Path(sysconfig.get_path("purelib"))
    shutil.copytree(source / "pyruntime", prefix / packages / "pyruntime")
    for file in source.glob("_cffi_backend*.so"):
        shutil.copy(file, prefix / packages)
    return prefix / "bin/pyruntime", prefix / packages


def test_it_runs_from_wherever_it_was_moved(moved):
    program, _ = moved
    result = call(program, "--version")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("pyruntime version ")


def test_it_brings_its_modules_along_and_reads_none(moved, tmp_path):
    program, packages = moved
    if "start: snapshot" not in call(program, "--version").stdout:
        pytest.skip("needs a program that holds a snapshot")
    for file in (packages / "pyruntime").rglob("*.py"):
        file.write_text("raise SystemExit(99)")
    result = call(program, "spec", "--bundle", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "config.json").exists()


def test_it_runs_through_a_symlink(pyruntime, tmp_path):
    (tmp_path / "link").symlink_to(pyruntime)
    assert call(tmp_path / "link", "--version").stdout.startswith("pyruntime version ")


def test_without_its_package_it_says_so(pyruntime, tmp_path):
    (tmp_path / "bin").mkdir()
    shutil.copy(pyruntime, tmp_path / "bin")
    result = call(tmp_path / "bin/pyruntime", "--version")
    assert result.returncode == 1
    assert result.stderr.startswith("pyruntime: error: cannot start: ")
    assert str(tmp_path) in result.stderr


def test_no_pth_file_and_no_sitecustomize_is_run(moved):
    program, packages = moved
    mark = packages / "was-run"
    (packages / "evil.pth").write_text(f"import os; os.mkdir({str(mark)!r})\n")
    (packages / "sitecustomize.py").write_text(f"import os; os.mkdir({str(mark)!r})\n")
    assert call(program, "--version").returncode == 0
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONMALLOC", "PYTHONUSERBASE"]
)
def test_no_variable_of_python_changes_what_runs(pyruntime, tmp_path, name):
    (tmp_path / "posix.py").write_text("raise SystemExit(99)")
    (tmp_path / "_json.py").write_text("raise SystemExit(99)")
    (tmp_path / "pyruntime").mkdir()
    (tmp_path / "pyruntime" / "__init__.py").write_text("raise SystemExit(99)")
    expected = call(pyruntime, "--version")
    result = call(pyruntime, "--version", env={**os.environ, name: str(tmp_path)}, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, expected.stdout, "")


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.ISO-8859-1", "none.such"])
def test_bytes_that_are_not_utf_8_are_no_reason_to_crash(pyruntime, tmp_path, locale):
    result = subprocess.run(
        [bytes(pyruntime), b"--root", bytes(tmp_path), b"state", b"caf\xe9"],
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": locale},
    )
    assert result.returncode == 1
    assert b"internal error" not in result.stderr
    assert b"Traceback" not in result.stderr


def test_it_does_not_write_into_its_own_packages(moved):
    program, packages = moved
    for cache in packages.rglob("__pycache__"):
        shutil.rmtree(cache)
    call(program, "--version")
    assert not list(packages.rglob("__pycache__"))


def test_python_m_runs_the_same(pyruntime, tmp_path):
    result = call(pyruntime.with_name("python"), "-I", "-m", "pyruntime", "--version", cwd=tmp_path)
    assert result.stdout == call(pyruntime, "--version").stdout


def test_a_reader_who_has_gone_gets_an_error_status_and_not_a_signal(pyruntime):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([pyruntime, "--help"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert result.returncode > 0


@pytest.fixture
def plain(moved, pytestconfig, monkeypatch):
    """The program that holds no snapshot, as it is built where that cannot be."""
    program, _ = moved
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    monkeypatch.chdir(pytestconfig.rootpath)
    build = "import sys; sys.path.insert(0, 'csrc/build'); import program; program.build_plain(sys.argv[1])"
    call(sys.executable, "-c", build, program).check_returncode()
    assert program.stat().st_size < 1 << 20
    return program


def test_the_program_that_executes_the_interpreter_runs_the_same(plain, pyruntime, tmp_path):
    assert call(plain, "--version").stdout == call(pyruntime, "--version").stdout
    assert call(plain, "spec", "--bundle", tmp_path).returncode == 0
    assert call(plain, "--root", tmp_path / "root", "run", "--bundle", tmp_path, "name").returncode == 1


@needs_root
def test_an_interpreter_that_is_executed_is_sealed(plain, runtime, bundle):
    assert is_sealed(*exe_of_a_running(runtime, bundle, program=[plain]))


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHOME"])
def test_an_interpreter_that_is_executed_is_isolated(plain, tmp_path, name):
    (tmp_path / "posix.py").write_text("raise SystemExit(99)")
    (tmp_path / "_json.py").write_text("raise SystemExit(99)")
    result = call(plain, "--version", env={**os.environ, name: str(tmp_path)}, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_interpreter_begins_where_the_standard_input_is_a_directory(plain, tmp_path):
    """By itself it would not."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        result = call(plain, "--version", stdin=fd)
    finally:
        os.close(fd)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_library_is_that_of_the_virtual_environment(moved):
    """Its interpreter's home, wherever that is and whatever the path of the build was."""
    program, _ = moved
    home = program.parents[1] / "elsewhere/bin"
    library = home.parent / f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    home.mkdir(parents=True)
    library.mkdir(parents=True)
    for entry in Path(sysconfig.get_path("stdlib")).iterdir():
        if entry.name not in ("difflib.py", "__pycache__"):
            (library / entry.name).symlink_to(entry)
    (program.parents[1] / "pyvenv.cfg").write_text(f"include-system-site-packages = false\nhome = {home}\n")
    # The nearest signal's name is looked for by difflib.
    (library / "difflib.py").write_text("get_close_matches = lambda *words: ['HUP']")
    result = call(program, "kill", "name", "no-such-signal")
    assert "did you mean SIGHUP?" in result.stderr


def exe_of_a_running(runtime, bundle, program=None, **options):
    """Run a container in the foreground; return (target of the runtime's own /proc/PID/exe, its seals).

    The seals are those of a memfd, or None where the file is another one, on a filesystem that is read-only.
    """
    name = runtime.id()
    path = bundle(lambda config: config["process"].update(args=["sh", "-c", "echo up; exec sleep 100"]))
    command = runtime.command("run", "--bundle", path, name)
    process = subprocess.Popen(
        [*(program or command[:1]), *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
    try:
        assert select.select([process.stdout], [], [], 30)[0], "the container says nothing"
        assert process.stdout.readline() == b"up\n", process.stderr.read()
        exe = f"/proc/{process.pid}/exe"
        assert not os.path.samefile(exe, runtime.program)
        file = os.open(exe, os.O_RDONLY)
        try:
            return os.readlink(exe), fcntl.fcntl(file, F_GET_SEALS)
        except OSError:
            assert os.fstatvfs(file).f_flag & os.ST_RDONLY
            return os.readlink(exe), None
        finally:
            os.close(file)
    finally:
        runtime("delete", "--force", name)
        process.kill()  # where it is not ending by itself
        process.communicate()


def is_sealed(target, seals):
    """Whether a program is a read-only view of the file, or a copy with all seals."""
    if target.startswith("/memfd:"):
        return seals & SEALED == SEALED
    return seals is None and target.count("/") == 1


@needs_root
def test_the_program_is_sealed_without_a_copy_of_it(runtime, bundle):
    target, seals = exe_of_a_running(runtime, bundle)
    assert (target.count("/"), seals) == (1, None)


@needs_root
def test_where_it_cannot_be_seen_through_an_overlay_it_is_copied(sealed, request, bundle):
    target, seals = exe_of_a_running(sealed, bundle)
    assert target.startswith("/memfd:") == ("copy" in request.node.name)
    assert is_sealed(target, seals)


# As an administrator may have it: the program is an image's, whose root filesystem is an overlay.
ON_AN_OVERLAY = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/merged"
mount -t overlay -o "$3lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/merged"
shift 3
exec "$@"
"""


@needs_root
@pytest.mark.parametrize("options", ["", "ro,"], ids=["writable", "read-only"])
def test_a_program_that_lies_on_an_overlay_is_not_taken_for_sealed(runtime, bundle, moved, tmp_path, options):
    merged = tmp_path / "layers/merged"
    merged.parent.mkdir()
    inside = merged / "bin/pyruntime"
    prefix = moved[0].parents[1]
    wrapped = ["unshare", "--mount", "sh", "-c", ON_AN_OVERLAY, "sh", merged.parent, prefix, options, inside]
    target, seals = exe_of_a_running(runtime, bundle, program=wrapped)
    assert is_sealed(target, seals)


@needs_root
def test_a_program_that_is_mounted_over_another_file_is_the_one_that_runs(runtime, bundle, moved, pyruntime):
    """As a volume of a single file is. An overlay of the directory would show what lies below it."""
    moved[0].write_text("something else")
    script = 'mount --bind "$1" "$2"; shift; exec "$@"'
    program = ["unshare", "--mount", "sh", "-c", script, "sh", pyruntime, moved[0]]
    target, seals = exe_of_a_running(runtime, bundle, program=program)
    assert target.startswith("/memfd:") and is_sealed(target, seals)


@needs_root
def test_what_the_caller_says_does_not_count_as_sealed(sealed, bundle):
    for said in ("/memfd:pyruntime", "/pyruntime"):
        assert is_sealed(*exe_of_a_running(sealed, bundle, env={"_": said, "PATH": "/nowhere"}))


@needs_root
def test_it_is_called_what_it_was_called(runtime, bundle):
    """Sealing changes neither the name nor the command line that others see; making a container does not, either."""
    place = bundle(lambda config: config["process"].update(args=["sh", "-c", "echo; exec cat"]))
    command = runtime.command("run", "--bundle", place, runtime.id())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0] == bytes(runtime.program)
        assert Path(f"/proc/{process.pid}/environ").read_bytes().count(b"PATH=")
        process.stdin.close()


@needs_root
def test_proc_self_exe_is_a_sealed_copy_with_python_m_too(runtime, bundle, pyruntime, tmp_path):
    program = [pyruntime.with_name("python"), "-m", "pyruntime"]
    target, seals = exe_of_a_running(runtime, bundle, program=program, cwd=tmp_path)
    assert target.startswith("/memfd:")
    assert seals & SEALED == SEALED


@needs_root
@pytest.mark.parametrize(
    "options",
    [
        ["--debug"],
        ["--log", "state"],
        ["--log-format=json"],
        ["--rootless", "false"],
        ["--version", "--version=false"],
        ["-h", "--help=false"],
    ],
)
def test_no_option_before_the_verb_hides_the_verb(sealed, bundle, options, tmp_path):
    program = [sealed.program, *options]
    assert is_sealed(*exe_of_a_running(sealed, bundle, program=program, cwd=tmp_path))


@needs_root
def test_without_dev_null_it_says_so(pyruntime, tmp_path):
    script = 'mount -t tmpfs tmpfs /dev && exec "$0" state some'
    result = call("unshare", "--mount", "sh", "-c", script, pyruntime)
    assert result.returncode == 1
    assert "open(/dev/null) failed: ENOENT" in result.stderr
    assert "Traceback" not in result.stderr
