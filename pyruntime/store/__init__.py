"""State on disk: one directory a container below the state root (runtime.md#state)."""
