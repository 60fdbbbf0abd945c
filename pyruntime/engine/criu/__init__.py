"""Checkpoint and restore by CRIU."""

import pyruntime

pyruntime.load_lazily(__name__)
