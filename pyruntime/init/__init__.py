"""The container's first process, from the stub's return to execve: the only code that runs inside the container."""

import pyruntime

pyruntime.load_lazily(__name__)
