"""How the host makes the container's process: descriptors that it gets, its creation, its id maps."""
