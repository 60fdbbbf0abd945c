"""How the host makes the container's process: its descriptors, its creation, its id maps."""
