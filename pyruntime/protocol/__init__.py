"""The messages between the host and the container's process, and the work that both sides do."""
