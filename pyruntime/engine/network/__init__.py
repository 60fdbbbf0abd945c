"""Network devices of the host moved into the container."""
