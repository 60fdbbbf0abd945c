"""What setup.py writes, for type checkers."""

# Why the program starts the interpreter anew for each verb; "" where it does not.
WHY_NO_SNAPSHOT: str
