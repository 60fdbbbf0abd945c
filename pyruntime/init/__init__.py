"""The container's first process, from the stub's return to execve: the only code that runs inside the container."""
