"""pyruntime: an OCI runtime that compiles config.json into a plan and carries it out.

What a Python program needs of it can be taken from here (docs/library.md); each name is loaded when it is first used.

So is each module that the package itself calls by its full name, as pyruntime.cgroup.systemd.start(): one that only
some configurations, hosts or errors need. What every call needs is imported at the top of a file.
"""

import sys

__version__ = "0.2.0"

# The runtime-spec whose text the code follows; ociVersion of what pyruntime writes.
SPEC_VERSION = "1.3.0"

# Public name -> the module that has it; __init__.pyi has the same for type checkers.
_PUBLIC = {
    "CreateOptions": "engine.caller.options",
    "Error": "base.errors",
    "ExecOptions": "engine.caller.exec_options",
    "InvalidConfig": "base.errors",
    "OutOfMemory": "sandbox.result",
    "OutputLimit": "sandbox.result",
    "ProgramFailed": "sandbox.result",
    "Result": "sandbox.result",
    "Sandbox": "sandbox.sandbox",
    "SandboxError": "sandbox.result",
    "Timeout": "sandbox.result",
    "Usage": "sandbox.result",
    "create": "operations.create",
    "default_config": "spec.default_config",
    "delete": "operations.delete",
    "ensure_sealed": "startup.sealed",
    "exec_process": "operations.exec",
    "for_user": "spec.default_config",
    "kill": "operations.kill",
    "load_config": "spec",
    "run": "operations.run",
    "start": "operations.start",
    "state": "operations.state",
}


def load_lazily(package: str) -> None:
    """Give a package the `__getattr__` that imports a module of it when that is first used (PEP 562).

    It is not written into the package: a type checker that sees it would take every name for a module's.
    """
    vars(sys.modules[package])["__getattr__"] = lambda name: _module(package, name)


def _module(package: str, name: str) -> object:
    full = f"{package}.{name}"
    if not name.startswith("_"):
        try:
            __import__(full)
            return sys.modules[full]
        except ModuleNotFoundError as error:
            if error.name != full:
                raise
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def __getattr__(name: str) -> object:
    """Load a public name, or a folder of the package."""
    if name not in _PUBLIC:
        return _module(__name__, name)
    value: object = getattr(__import__(f"{__name__}.{_PUBLIC[name]}", None, None, (name,)), name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *_PUBLIC})
