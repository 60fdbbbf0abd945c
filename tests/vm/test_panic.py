"""A panic of an emulated kernel: the machine is booted once more, and nothing of the first boot is reported."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import machine

_BOOT = machine.Boot(name="tried", kernel="new", options="", start="", files={}, limit=60)
# Stands for qemu: each call takes the first line of what it is to do, and its descriptor from the command line.
_QEMU = """#!/bin/sh
set -e
port=$(printf '%s\\n' "$@" | sed -n 's|.*path=/dev/fd/\\([0-9]*\\).*|/dev/fd/\\1|p')
line=$(head -n 1 "$0.todo")
sed -i 1d "$0.todo"
echo '{"report": "of '"$line"'"}' >"$port"
case $line in
panic) echo "Kernel panic - not syncing: Fatal exception" ;;
end) echo '{"status": 0}' >"$port" ;;
esac
"""


@pytest.fixture
def boots(tmp_path, monkeypatch):
    """boots(*ends): what comes of a machine whose boots end so, one after the other."""
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(_QEMU)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(machine, "_accelerators", lambda: [["-accel", "tcg"]])

    def run(*ends):
        Path(f"{program}.todo").write_text("\n".join(ends) + "\n")
        return list(machine.run(_BOOT, tmp_path, tmp_path))

    return run


def test_a_machine_is_booted_once_more_after_a_panic(boots, tmp_path):
    assert boots("panic", "end") == [{"report": "of end"}, {"status": 0}]
    assert "Kernel panic" in (tmp_path / "tried.panic.log").read_text()


@pytest.mark.parametrize(("ends", "error"), [(("panic", "panic"), "PanicError"), (("nothing", "end"), "MachineError")])
def test_a_machine_that_panics_again_or_ends_otherwise_is_an_error(boots, ends, error):
    with pytest.raises(machine.MachineError, match="ended before its tests did") as raised:
        boots(*ends)
    assert type(raised.value).__name__ == error
