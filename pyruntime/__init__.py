"""pyruntime: an OCI runtime that compiles config.json into a plan and carries it out.

What a Python program needs of it can be taken from here (docs/library.md); each name is loaded when it is first used.
"""

__version__ = "0.1.0"

# The runtime-spec whose text the code follows; ociVersion of what pyruntime writes.
SPEC_VERSION = "1.3.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.base.errors import Error as Error
    from pyruntime.base.errors import InvalidConfig as InvalidConfig
    from pyruntime.engine.caller.options import CreateOptions as CreateOptions
    from pyruntime.operations.create import create as create
    from pyruntime.operations.delete import delete as delete
    from pyruntime.operations.exec import ExecOptions as ExecOptions
    from pyruntime.operations.exec import exec_process as exec_process
    from pyruntime.operations.kill import kill as kill
    from pyruntime.operations.run import run as run
    from pyruntime.operations.start import start as start
    from pyruntime.operations.state import state as state
    from pyruntime.spec import load_config as load_config
    from pyruntime.spec.default_config import default_config as default_config
    from pyruntime.startup.sealed import ensure_sealed as ensure_sealed

# Name -> the module that has it.
_PUBLIC = {
    "CreateOptions": "engine.caller.options",
    "Error": "base.errors",
    "ExecOptions": "operations.exec",
    "InvalidConfig": "base.errors",
    "create": "operations.create",
    "default_config": "spec.default_config",
    "delete": "operations.delete",
    "ensure_sealed": "startup.sealed",
    "exec_process": "operations.exec",
    "kill": "operations.kill",
    "load_config": "spec",
    "run": "operations.run",
    "start": "operations.start",
    "state": "operations.state",
}


def __getattr__(name: str) -> object:
    """Load a public name (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(__import__(f"{__name__}.{_PUBLIC[name]}", None, None, (name,)), name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *_PUBLIC})
