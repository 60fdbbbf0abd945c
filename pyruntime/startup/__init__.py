"""The start of the program: the interpreter in the launcher, its rehearsal at build time, and `python3 -m`."""

import pyruntime

pyruntime.load_lazily(__name__)
