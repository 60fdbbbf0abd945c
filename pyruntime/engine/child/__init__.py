"""The container's process as the host makes it: what it is given, its creation, its id maps."""
