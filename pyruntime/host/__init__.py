"""The facts about this kernel and host; nothing here depends on a container."""

import pyruntime

pyruntime.load_lazily(__name__)
