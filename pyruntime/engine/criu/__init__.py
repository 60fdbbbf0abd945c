"""Checkpoint and restore by CRIU."""
