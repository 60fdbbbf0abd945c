"""`python3 -m pyruntime`: the command line, as the installed program runs it."""

from pyruntime.cli.main import program

program()
