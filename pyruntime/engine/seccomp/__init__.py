"""The filter of system calls: compiled, cached, and given to the child."""
