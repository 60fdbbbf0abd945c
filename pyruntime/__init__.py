"""pyruntime: an OCI runtime that compiles config.json into a plan and carries it out.

What a Python program needs of it can be taken from here (docs/library.md); each name is loaded when it is first used.
"""

__version__ = "0.1.0"

# The runtime-spec whose text the code follows; ociVersion of what pyruntime writes.
SPEC_VERSION = "1.3.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.create import create as create
    from pyruntime.engine.delete import delete as delete
    from pyruntime.engine.exec import ExecOptions as ExecOptions
    from pyruntime.engine.exec import exec_process as exec_process
    from pyruntime.engine.kill import kill as kill
    from pyruntime.engine.options import CreateOptions as CreateOptions
    from pyruntime.engine.run import run as run
    from pyruntime.engine.start import start as start
    from pyruntime.engine.state import state as state
    from pyruntime.errors import Error as Error
    from pyruntime.errors import InvalidConfig as InvalidConfig
    from pyruntime.host.sealed import ensure_sealed as ensure_sealed
    from pyruntime.spec import load_config as load_config
    from pyruntime.spec.template import default_config as default_config

# Name -> the module that has it.
_PUBLIC = {
    "CreateOptions": "engine.options",
    "Error": "errors",
    "ExecOptions": "engine.exec",
    "InvalidConfig": "errors",
    "create": "engine.create",
    "default_config": "spec.template",
    "delete": "engine.delete",
    "ensure_sealed": "host.sealed",
    "exec_process": "engine.exec",
    "kill": "engine.kill",
    "load_config": "spec",
    "run": "engine.run",
    "start": "engine.start",
    "state": "engine.state",
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
