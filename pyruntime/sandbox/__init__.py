"""A sandbox for code that the caller did not write (docs/sandbox.md).

Built on the program: each container is made by `pyruntime run`, started by posix_spawn(3), so that nothing of the
caller's memory is copied and threads do not matter. Nothing here uses the insides of the runtime.
"""

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

__all__ = ["OutOfMemory", "OutputLimit", "ProgramFailed", "Result", "Sandbox", "SandboxError", "Timeout", "Usage"]
