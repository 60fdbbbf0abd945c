"""The filter of system calls: compiled, cached, and given to the child."""

import pyruntime

pyruntime.load_lazily(__name__)
