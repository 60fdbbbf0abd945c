"""`spec` writes a configuration to start from, and never over another one."""

import json
import os
import stat

import pytest

from pyruntime.base import log
from pyruntime.cli.main import main
from pyruntime.spec.default_config import default_config, for_user


@pytest.fixture(autouse=True)
def own_umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_the_file_holds_the_default_configuration_indented(tmp_path):
    assert main(["spec", "--bundle", str(tmp_path)]) == 0
    path = tmp_path / "config.json"
    # As runc's: with a cgroup namespace where there is no hierarchy of version 1.
    expected = default_config(cgroup_namespace=os.path.exists("/sys/fs/cgroup/cgroup.controllers"))
    assert json.loads(path.read_text()) == expected
    assert path.read_text() == json.dumps(expected, indent="\t") + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_without_a_bundle_it_is_written_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["spec"]) == 0
    assert (tmp_path / "config.json").exists()


@pytest.mark.parametrize("make", [lambda path: path.write_text("mine"), lambda path: path.symlink_to("nowhere")])
def test_an_existing_file_is_left_alone(tmp_path, capfd, make):
    path = tmp_path / "config.json"
    make(path)
    before = os.lstat(path)
    assert main(["spec", "-b", str(tmp_path)]) == 1
    assert os.lstat(path).st_ino == before.st_ino
    assert os.lstat(path).st_mtime_ns == before.st_mtime_ns
    assert not (tmp_path / "nowhere").exists()
    assert "EEXIST" in capfd.readouterr().err


def test_a_bundle_that_is_not_there_is_an_error_that_names_it(tmp_path, capfd):
    assert main(["spec", "-b", str(tmp_path / "gone")]) == 1
    assert str(tmp_path / "gone") in capfd.readouterr().err


def test_rootless_maps_the_caller_and_asks_for_nothing_he_may_not_have(tmp_path):
    assert main(["spec", "--rootless", "-b", str(tmp_path)]) == 0
    linux = json.loads((tmp_path / "config.json").read_text())["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": os.getegid(), "size": 1}]


def test_the_rootless_configuration_differs_where_it_must():
    plain = default_config()
    config = for_user(plain, 1000, 100)
    kinds = [entry["type"] for entry in config["linux"]["namespaces"]]
    assert "user" in kinds
    assert "network" not in kinds
    assert "resources" not in config["linux"]
    assert not [option for mount in config["mounts"] for option in mount["options"] if "id=" in option]
    sys = next(mount for mount in config["mounts"] if mount["destination"] == "/sys")
    assert (sys["source"], sys["options"][0]) == ("/sys", "rbind")
    assert plain == default_config(), "the configuration given must not be changed"


def teardown_module():
    log.configure("", "text", False)


@pytest.fixture
def fake_busybox(tmp_path):
    """A program that is static as far as anybody can see, and lists applets."""
    path = tmp_path / "fake"
    path.write_text("#!/bin/sh\necho sh; echo busybox; echo ls\n")
    path.chmod(0o755)
    return path


def test_a_root_filesystem_is_made_from_busybox(tmp_path, fake_busybox):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    assert main(["spec", "-b", str(bundle), "--rootfs-from", str(fake_busybox)]) == 0
    assert (bundle / "rootfs/bin/busybox").read_bytes() == fake_busybox.read_bytes()
    assert {path.name for path in (bundle / "rootfs/bin").iterdir()} == {"busybox", "sh", "ls"}
    assert os.readlink(bundle / "rootfs/bin/sh") == "busybox"
    assert main(["validate", str(bundle)]) == 0


def test_what_is_no_static_busybox_makes_nothing(tmp_path, capfd, fake_busybox):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    fake_busybox.write_text("#!/bin/sh\nexit 1\n")
    dynamic = tmp_path / "dynamic"
    dynamic.write_bytes(b"\x7fELF /lib64/ld-linux-x86-64.so.2")
    dynamic.chmod(0o755)
    for program in (fake_busybox, dynamic, tmp_path / "nothing"):
        assert main(["spec", "-b", str(bundle), "--rootfs-from", str(program)]) == 1
        assert str(program) in capfd.readouterr().err
        assert list(bundle.iterdir()) == []


def test_a_root_filesystem_that_is_there_is_left_alone(tmp_path, capfd, fake_busybox):
    (tmp_path / "rootfs").mkdir()
    assert main(["spec", "-b", str(tmp_path), "--rootfs-from", str(fake_busybox)]) == 1
    assert "it is there already" in capfd.readouterr().err
    assert not (tmp_path / "config.json").exists()
