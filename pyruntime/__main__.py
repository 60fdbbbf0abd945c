"""`python3 -m pyruntime`: the command line, as the installed program runs it."""

from pyruntime.cli.main import program
from pyruntime.startup.sealed import ensure_sealed

if __name__ == "__main__":
    ensure_sealed()
    program()
