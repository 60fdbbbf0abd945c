"""AppArmor and SELinux labels of the container's process: how they are written, and what a host without them says."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base.errors import Error
from pyruntime.engine.child.step_array import StepArrays
from pyruntime.host.facts import facts
from pyruntime.plan.step import Step
from pyruntime.protocol import messages

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PROFILE = """
profile pyruntime-test flags=(attach_disconnected,mediate_deleted) {
  capability,
  file,
  network,
  signal,
  deny /etc/passwd r,
}
"""


@pytest.fixture
def proc():
    fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def comm():
    """The name of this thread: an attribute that every kernel has, and that takes any text."""
    before = Path("/proc/self/comm").read_text()
    yield lambda: Path("/proc/self/comm").read_text().strip()
    Path("/proc/self/comm").write_text(before)


def step(*attributes, text="exec p"):
    return Step("label", "/process/apparmorProfile", "config.md#linux-process", attributes=list(attributes), text=text)


def apply(label, proc):
    """Have the stub carry out the step, as in a container's process."""
    program = StepArrays()
    array = program.array([label])
    stub = program.stub()
    stub.proc = proc
    if lib.pyr_run(stub, array, 1) != 1:
        raise messages.step_error(label, ffi.errno, messages.text_of(stub.call), messages.text_of(stub.text))


def test_the_first_attribute_that_the_kernel_has_is_written(proc, comm):
    apply(step("absent/exec", "../comm", text="label-a"), proc)
    assert comm() == "label-a"
    apply(step("../comm", "absent/exec", text="label-b"), proc)
    assert comm() == "label-b"


def test_a_refusal_names_the_element_and_the_label(proc):
    with pytest.raises(Error, match="cannot apply the label p") as raised:
        apply(step("absent/exec"), proc)
    assert raised.value.pointer == "/process/apparmorProfile"
    assert raised.value.errno == errno.ENXIO


def test_only_a_procfs_is_written_to(tmp_path):
    tmp_path.joinpath("self").mkdir()
    tmp_path.joinpath("self/exec").write_text("")
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert lib.pyr_write_attribute(fd, b"self/exec", b"x") == -errno.ENODEV
    finally:
        os.close(fd)
    assert tmp_path.joinpath("self/exec").read_text() == ""


@pytest.mark.parametrize("path", ["self/cwd/file", "self/root/tmp", "../etc/passwd", "/etc/passwd"])
def test_no_path_leads_out_of_the_procfs(proc, path, tmp_path, monkeypatch):
    tmp_path.joinpath("file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert lib.pyr_write_attribute(proc, path.encode(), b"x") < 0
    assert tmp_path.joinpath("file").read_text() == ""


@pytest.mark.parametrize(
    ("module", "section", "name"),
    [
        ("apparmor", "process", "apparmorProfile"),
        ("selinux", "process", "selinuxLabel"),
        ("selinux", "linux", "mountLabel"),
    ],
)
def test_a_host_without_the_module_refuses_the_label(runtime, bundle, module, section, name):
    if getattr(facts(), module):
        pytest.skip(f"{module} is enabled on this host")
    container = runtime.id()
    done = runtime(
        "create", "-b", bundle(lambda config: config[section].update({name: "a:b:c:s0"})), container, check=False
    )
    assert done.returncode == 1
    assert "is not enabled on this host" in done.stderr
    assert f"/{section}/{name}" in done.stderr
    assert not (runtime.root / container).exists()


# Runs the command line in an interpreter to which the host appears to have both modules.
PRETEND = """
import sys
sys.path[:0] = sys.argv[1:3]
from pyruntime.cli.main import main
from pyruntime.operations import create
from pyruntime.host.facts import facts
host = facts()
host.apparmor = host.selinux = True
create._known.append(host)
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("name", ["apparmorProfile", "selinuxLabel"])
def test_a_label_that_the_kernel_does_not_know_fails_create_and_leaves_nothing(runtime, bundle, name):
    import _cffi_backend

    container = runtime.id()
    path = bundle(lambda config: config["process"].update({name: "pyruntime-unknown"}))
    paths = [str(Path(module.__file__).parents[up]) for module, up in ((pyruntime, 1), (_cffi_backend, 0))]
    command = [sys.executable, "-c", PRETEND, *paths, "--root", runtime.root, "create", "-b", path, container]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot apply the label pyruntime-unknown" in done.stderr
    assert f"/process/{name}" in done.stderr
    assert not (runtime.root / container).exists()


@pytest.fixture
def profile():
    """A profile that is loaded: everything is allowed but to read /etc/passwd."""
    parser = shutil.which("apparmor_parser")
    if not facts().apparmor or not parser:
        pytest.skip("AppArmor is not enabled on this host")
    subprocess.run([parser, "--replace", "--skip-cache"], input=PROFILE, text=True, check=True)
    yield "pyruntime-test"
    subprocess.run([parser, "--remove"], input=PROFILE, text=True, check=True)


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_the_program_runs_under_its_apparmor_profile(runtime, bundle, profile, no_new_privileges):
    def change(config):
        config["process"]["apparmorProfile"] = profile
        config["process"]["noNewPrivileges"] = no_new_privileges
        config["process"]["args"] = ["sh", "-c", "cat /proc/self/attr/current; cat /etc/passwd && echo read"]

    out = runtime("run", "-b", bundle(change), runtime.id(), check=False).stdout
    assert out.split() == [profile, "(enforce)"]


def test_a_profile_that_is_not_loaded_is_an_error_of_create(runtime, bundle, profile):
    path = bundle(lambda config: config["process"].update(apparmorProfile=f"{profile}-other"))
    done = runtime("create", "-b", path, runtime.id(), check=False)
    assert done.returncode == 1
    assert "is it loaded?" in done.stderr
