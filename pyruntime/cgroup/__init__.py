"""The container's control groups on this host (config-linux.md#control-groups)."""

import pyruntime

pyruntime.load_lazily(__name__)
