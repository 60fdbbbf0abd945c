"""The container's control groups on this host (config-linux.md#control-groups)."""
