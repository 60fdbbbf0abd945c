"""AppArmor and SELinux labels as data (config.md#linux-process, config-linux.md#mount-label)."""

import pytest

from invented import V2, facts
from pyruntime.base.errors import Error
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.spec.default_config import default_config

LABEL = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811"


def plan(change, *, apparmor=False, selinux=False, new_keyring=True):
    config = default_config()
    change(config)
    host = facts(V2, apparmor=apparmor, selinux=selinux)
    return compile_plan(Context(config, host, "/bundle", "c1", new_keyring=new_keyring))


def process(**values):
    return lambda config: config["process"].update(values)


def mount_label(config):
    config["linux"]["mountLabel"] = LABEL
    config["linux"]["maskedPaths"] = ["/proc/acpi"]


def test_without_labels_nothing_is_written():
    assert plan(lambda _: None, apparmor=True, selinux=True).labels == []
    assert plan(process(apparmorProfile="", selinuxLabel="")).labels == []


def test_an_apparmor_profile_is_what_the_next_execve_changes_to():
    (step,) = plan(process(apparmorProfile="p"), apparmor=True).labels
    assert step.pointer == "/process/apparmorProfile"
    assert step.args["text"] == "exec p"
    assert step.args["attributes"][0] == "apparmor/exec"


def test_an_selinux_label_is_given_to_the_new_keyring_and_to_the_program():
    steps = plan(process(selinuxLabel=LABEL), selinux=True).labels
    assert [(step.args["attributes"], step.args["text"]) for step in steps] == [
        (["keycreate"], LABEL),
        (["exec"], LABEL),
    ]


def test_without_a_new_keyring_no_keyring_is_labelled():
    steps = plan(process(selinuxLabel=LABEL), selinux=True, new_keyring=False).labels
    assert [step.args["attributes"] for step in steps] == [["exec"]]


@pytest.mark.parametrize(
    ("change", "pointer", "module"),
    [
        (process(apparmorProfile="p"), "/process/apparmorProfile", "AppArmor"),
        (process(selinuxLabel=LABEL), "/process/selinuxLabel", "SELinux"),
        (mount_label, "/linux/mountLabel", "SELinux"),
    ],
    ids=["profile", "label", "mountLabel"],
)
def test_a_label_on_a_host_without_the_module_is_an_error(change, pointer, module):
    with pytest.raises(Error) as raised:
        plan(change)
    assert raised.value.pointer == pointer
    assert module in raised.value.reason


def test_the_mount_label_is_given_to_new_filesystems_except_those_the_kernel_labels():
    steps = [step for step in plan(mount_label, selinux=True).build if step.op == "mount"]
    labelled = {step.args["fstype"] for step in steps if f"context={LABEL}" in step.args.get("data", ())}
    plain = {step.args["fstype"] for step in steps if f"context={LABEL}" not in step.args.get("data", ())}
    assert labelled == {"tmpfs", "devpts"}
    assert plain >= {"proc", "sysfs", "mqueue"}
    # No option of the message queues' filesystem says it: it is set on the root.
    assert {step.args["fstype"]: step.args["label"] for step in steps if "label" in step.args} == {"mqueue": LABEL}


def test_what_hides_a_path_is_labelled_too():
    (step,) = [step for step in plan(mount_label, selinux=True).enter if step.op == "mask"]
    assert f"context={LABEL}" in step.args["data"]


def test_a_mount_that_names_its_own_label_keeps_it():
    def change(config):
        mount_label(config)
        config["mounts"].append(
            {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ['context="a:b:c:s0:c1,c2"']}
        )

    (step,) = [step for step in plan(change, selinux=True).build if step.args.get("path") == "/data"]
    assert step.args["data"] == ["context=a:b:c:s0:c1,c2"]
