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


@pytest.mark.skipif(
    sys.version_info < (3, 11) or not sysconfig.get_config_var("Py_ENABLE_SHARED"),
    reason="needs a libpython of 3.11 or later",
)
def test_it_brings_its_modules_along_and_reads_none(moved, tmp_path):
    program, packages = moved
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
    assert result.stderr.startswith("pyruntime: cannot start: ")
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
    result = call(pyruntime.with_name("python"), "-P", "-m", "pyruntime", "--version", cwd=tmp_path)
    assert result.stdout == call(pyruntime, "--version").stdout


def test_a_reader_who_has_gone_gets_an_error_status_and_not_a_signal(pyruntime):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([pyruntime, "--help"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert result.returncode > 0


@needs_root
def test_without_libpython_the_interpreter_is_executed(pyruntime):
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return  # then every other test here has run that way
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
    script = 'mount --bind /dev/null "$1"; shift; exec "$@"'
    result = call("unshare", "--mount", "sh", "-c", script, "sh", library.resolve(), pyruntime, "--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == call(pyruntime, "--version").stdout


def exe_of_a_running(runtime, bundle, program=None, **options):
    """Run a container in the foreground; return (target of the runtime's own /proc/PID/exe, its seals)."""
    name = runtime.id()
    path = bundle(lambda config: config["process"].update(args=["sh", "-c", "echo up; exec sleep 100"]))
    command = runtime.command("run", "--bundle", path, name)
    process = subprocess.Popen(
        [*(program or command[:1]), *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )
    try:
        assert select.select([process.stdout], [], [], 30)[0], "the container says nothing"
        assert process.stdout.readline() == b"up\n", process.stderr.read()
        file = os.open(f"/proc/{process.pid}/exe", os.O_RDONLY)
        try:
            return os.readlink(f"/proc/{process.pid}/exe"), fcntl.fcntl(file, F_GET_SEALS)
        finally:
            os.close(file)
    finally:
        runtime("delete", "--force", name)
        process.kill()  # where it is not ending by itself
        process.communicate()


@needs_root
def test_proc_self_exe_is_a_sealed_copy_when_a_container_is_run(runtime, bundle):
    target, seals = exe_of_a_running(runtime, bundle)
    assert target.startswith("/memfd:")
    assert seals & SEALED == SEALED


@needs_root
def test_what_the_caller_says_does_not_count_as_sealed(runtime, bundle):
    target, seals = exe_of_a_running(runtime, bundle, env={"_": "/memfd:pyruntime", "PATH": "/nowhere"})
    assert target.startswith("/memfd:")
    assert seals & SEALED == SEALED


@needs_root
def test_proc_self_exe_is_a_sealed_copy_with_python_m_too(runtime, bundle, pyruntime, tmp_path):
    program = [pyruntime.with_name("python"), "-m", "pyruntime"]
    target, seals = exe_of_a_running(runtime, bundle, program=program, cwd=tmp_path)
    assert target.startswith("/memfd:")
    assert seals & SEALED == SEALED


@needs_root
@pytest.mark.parametrize("options", [["--debug"], ["--log", "state"], ["--log-format=json"], ["--rootless", "false"]])
def test_no_option_before_the_verb_hides_the_verb(runtime, bundle, options, tmp_path):
    program = [runtime.program, *options]
    target, _ = exe_of_a_running(runtime, bundle, program=program, cwd=tmp_path)
    assert target.startswith("/memfd:")
