# The integers of the stub's `lib`: the launcher's build makes this module (csrc/build/freeze.py).
LIB: dict[str, int]
