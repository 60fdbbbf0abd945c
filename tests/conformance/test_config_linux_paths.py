"""Masked and read-only paths (config-linux.md#masked-paths, #readonly-paths)."""

import os
import subprocess

import pytest

from changes import bind, capable, inherit, linux, mapped, mount, writable

MASKED = pytest.mark.clause("config-linux.md#masked-paths")
READONLY = pytest.mark.clause("config-linux.md#readonly-paths")


@MASKED
def test_a_masked_file_is_empty(inside, folder):
    assert inside("cat /home/file", bind(folder, "/home"), linux(maskedPaths=["/home/file"])) == ""
    assert inside("cat /home/file", bind(folder, "/home"), linux(maskedPaths=[])) == "content"


@MASKED
def test_a_masked_directory_is_empty(inside, folder):
    assert inside("ls /home", bind(folder, "/home"), linux(maskedPaths=["/home"])) == ""


@MASKED
def test_a_masked_directory_cannot_be_written(inside, folder):
    script = "touch /home/new 2>&1 || true"
    assert "Read-only file system" in inside(script, bind(folder, "/home"), linux(maskedPaths=["/home"]))


@MASKED
def test_what_masks_a_directory_can_hold_nothing(mounted, folder):
    # Read-only as a mount and as a filesystem, and without room: a process that may remount it still cannot write.
    found = mounted("/home", bind(folder, "/home"), linux(maskedPaths=["/home"]))
    assert "ro" in found.options
    assert {"ro", "nr_inodes=1"} <= found.super_options


@MASKED
def test_writing_to_a_masked_file_does_not_reach_it(inside, folder):
    inside("echo changed > /home/file", bind(folder, "/home"), linux(maskedPaths=["/home/file"]))
    assert (folder / "file").read_text() == "content\n"


@MASKED
def test_a_masked_path_that_is_missing_is_ignored(inside):
    assert inside("echo ok", linux(maskedPaths=["/no/such/path", "/etc/passwd/below"])) == "ok"


@MASKED
def test_a_link_is_masked_where_it_leads(inside, tmp_path):
    def link(config):
        (tmp_path / "bundle1/rootfs/link").symlink_to("/etc/group")

    assert inside("cat /link /etc/group", link, linux(maskedPaths=["/link"]), own=True) == ""


@MASKED
def test_masked_files_of_proc(inside):
    assert inside("wc -c < /proc/timer_list; wc -c < /proc/keys").split() == ["0", "0"]


@MASKED
def test_masks_hold_in_a_user_namespace(inside):
    assert inside("wc -c < /proc/timer_list; ls /sys/firmware", mapped()) == "0"


@MASKED
def test_the_order_of_mounts_does_not_uncover_a_masked_path(inside, folder):
    changes = bind(folder, "/home"), mount("/home/sub", "tmpfs", "over"), linux(maskedPaths=["/home/sub", "/home/file"])
    assert inside("cat /home/file; touch /home/sub/x 2>/dev/null || echo covered", *changes) == "covered"


@MASKED
@pytest.mark.clause("config-linux.md#masked-paths/absolute")
def test_a_masked_path_must_be_absolute(containers):
    assert "/linux/maskedPaths/0" in containers.refused(linux(maskedPaths=["proc/keys"]))


@READONLY
def test_a_read_only_file_cannot_be_written(inside, folder):
    script = "echo x 2>&1 > /home/file || true; cat /home/file"
    found = inside(f"({script}) 2>&1", bind(folder, "/home"), linux(readonlyPaths=["/home/file"]))
    assert "Read-only file system" in found
    assert found.endswith("content")
    assert (folder / "file").read_text() == "content\n"


@READONLY
def test_a_read_only_directory_cannot_be_written_and_the_one_around_it_can(inside, folder):
    script = "touch /home/new; touch /home/sub/new 2>&1 || true"
    assert "Read-only" in inside(script, bind(folder, "/home"), linux(readonlyPaths=["/home/sub"]))
    assert (folder / "new").exists()


@READONLY
def test_what_the_configuration_mounts_below_a_read_only_path_keeps_its_options(inside, folder):
    changes = (
        bind(folder, "/home"),
        mount("/home/sub", "tmpfs", "below"),
        mount("/home/ro", "tmpfs", "below", "ro"),
        linux(readonlyPaths=["/home"]),
    )
    script = "cd /home; for place in . sub ro; do touch $place/new 2> /dev/null && echo $place; done || true"
    assert inside(script, *changes) == "sub"


@READONLY
def test_what_comes_along_below_a_read_only_path_is_read_only(inside, folder):
    subprocess.run(["mount", "-t", "tmpfs", "below", folder / "sub"], check=True)
    try:
        changes = bind(folder, "/home", "rbind"), linux(readonlyPaths=["/home"])
        assert "Read-only" in inside("touch /home/sub/new 2>&1 || true", *changes)
    finally:
        subprocess.run(["umount", folder / "sub"], check=True)


@READONLY
def test_a_read_only_path_keeps_its_other_options(inside):
    options = inside("awk '$2 == \"/proc/sys\" {print $4}' /proc/mounts").split(",")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options)


@READONLY
def test_a_read_only_path_that_is_missing_is_ignored(inside):
    assert inside("echo ok", linux(readonlyPaths=["/no/such/path"])) == "ok"


@READONLY
def test_kernel_parameters_cannot_be_changed(inside):
    script = "echo other 2>&1 > /proc/sys/kernel/hostname || true"
    assert "Read-only" in inside(f"({script}) 2>&1", capable("SYS_ADMIN"))


@READONLY
def test_read_only_paths_hold_in_a_user_namespace(inside):
    script = "(echo x > /proc/sys/kernel/domainname) 2>&1 || true"
    assert "Read-only" in inside(script, mapped(), capable("SYS_ADMIN"))


@READONLY
def test_a_path_may_be_masked_and_read_only(inside, folder):
    changes = bind(folder, "/home"), linux(readonlyPaths=["/home"], maskedPaths=["/home/file"])
    found = inside("cat /home/file; touch /home/new 2>&1 || true", *changes)
    assert "content" not in found
    assert "Read-only" in found


@READONLY
def test_the_host_can_still_write(containers, folder):
    containers.start(bind(folder, "/home"), linux(readonlyPaths=["/home"]))
    (folder / "file").write_text("changed")


@READONLY
@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
def test_without_a_mount_namespace_the_paths_are_an_error(containers, name):
    def change(config):
        config["linux"] = {"namespaces": [{"type": "pid"}, {"type": "uts"}], name: ["/proc/keys"]}

    assert f"/linux/{name}" in containers.refused(change, inherit("mount"))


@READONLY
def test_a_read_only_mount_of_the_host_stays_writable_there(containers, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "host", place], check=True)
    try:
        containers.inside("true", bind(place, "/home"), linux(readonlyPaths=["/home"]), writable)
        (place / "file").touch()
        assert os.listdir(place) == ["file"]
    finally:
        subprocess.run(["umount", place], check=True)
