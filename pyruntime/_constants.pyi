# The integers of the stub's `lib`: the launcher's build makes this module (csrc/freeze.py).
LIB: dict[str, int]
