"""What is found out about the host (host/facts.py)."""

import pytest

from pyruntime.host import facts

BUS = "unix:path=/run/user/1000/bus"


@pytest.mark.parametrize(
    ("euid", "environment", "expected"),
    [
        (1000, {}, True),
        # Rootless Podman: root of a user namespace, with the session of the user.
        (0, {"USER": "someone", "DBUS_SESSION_BUS_ADDRESS": BUS}, True),
        # A system container: its root is logged in, or is a service without a session.
        (0, {"USER": "root", "DBUS_SESSION_BUS_ADDRESS": BUS}, False),
        (0, {}, False),
        (0, {"USER": "someone", "XDG_RUNTIME_DIR": "/nonexistent"}, False),
    ],
)
def test_whose_systemd_it_is_that_a_user_namespace_asks(monkeypatch, euid, environment, expected):
    for name in ("USER", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(facts.os, "geteuid", lambda: euid)
    assert facts._has_systemd_of_its_own() == expected


def test_a_bus_in_the_runtime_directory_is_one(monkeypatch, tmp_path):
    (tmp_path / "bus").touch()
    monkeypatch.setattr(facts.os, "geteuid", lambda: 0)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("USER", "someone")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert facts._has_systemd_of_its_own()
