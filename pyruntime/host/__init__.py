"""What this kernel and host can do; nothing here knows of a container."""
