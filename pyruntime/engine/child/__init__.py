"""How the host makes the container's process: its descriptors, its creation, its id maps."""

import pyruntime

pyruntime.load_lazily(__name__)
