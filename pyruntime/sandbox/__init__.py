"""A sandbox for code that the caller did not write (docs/sandbox.md).

It uses the program: `pyruntime run`, started by posix_spawn(3), makes each container. So no memory of the caller is
copied, and the caller may have threads. No module here imports the runtime's engine.
"""

import pyruntime
from pyruntime.sandbox.result import (
    OutOfMemory,
    OutputLimit,
    ProgramFailed,
    Result,
    SandboxError,
    Timeout,
    Usage,
)
from pyruntime.sandbox.sandbox import Sandbox

pyruntime.load_lazily(__name__)

__all__ = ["OutOfMemory", "OutputLimit", "ProgramFailed", "Result", "Sandbox", "SandboxError", "Timeout", "Usage"]
