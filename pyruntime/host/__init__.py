"""The facts about this kernel and host; nothing here depends on a container."""
