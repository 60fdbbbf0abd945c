"""Finds out which limits an ordinary user can set, by trying them, the best first."""

import os
from collections.abc import Iterator
from pathlib import Path

from pyruntime.sandbox.settings import LIMITS, Settings


def attempts(settings: Settings, require: bool) -> "Iterator[tuple[bool, tuple[str, ...]]]":
    """Yield (ask systemd, limits that are left out)."""
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS") or (
        Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent", "bus").exists()
    )
    wanted = tuple(name for name in LIMITS if getattr(settings, name) is not None)
    ways = [True, False] if os.geteuid() != 0 and bus else [False]
    for systemd in ways:
        yield systemd, ()
    if require:
        return
    for systemd in ways:
        for kept in wanted:
            yield systemd, tuple(name for name in wanted if name != kept)
    yield False, wanted
