"""The messages between the host and the container's process, and the work that both sides do."""

import pyruntime

pyruntime.load_lazily(__name__)
