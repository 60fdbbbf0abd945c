"""State on disk: one directory per container below the state root (runtime.md#state)."""

import pyruntime

pyruntime.load_lazily(__name__)
