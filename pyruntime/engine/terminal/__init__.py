"""A container in the foreground: its terminal, its signals, its end."""
