"""A container in the foreground: its terminal, its signals, its end."""

import pyruntime

pyruntime.load_lazily(__name__)
