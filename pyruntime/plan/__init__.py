"""Compiles a valid configuration into an ordered list of kernel steps. It opens no file and changes nothing."""

import pyruntime

pyruntime.load_lazily(__name__)
