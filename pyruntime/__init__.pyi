"""The public names for type checkers: at run time each is loaded when it is first used (__init__.py)."""

from pyruntime.base.errors import Error as Error
from pyruntime.base.errors import InvalidConfig as InvalidConfig
from pyruntime.engine.caller.exec_options import ExecOptions as ExecOptions
from pyruntime.engine.caller.options import CreateOptions as CreateOptions
from pyruntime.operations.create import create as create
from pyruntime.operations.delete import delete as delete
from pyruntime.operations.exec import exec_process as exec_process
from pyruntime.operations.kill import kill as kill
from pyruntime.operations.run import run as run
from pyruntime.operations.start import start as start
from pyruntime.operations.state import state as state
from pyruntime.sandbox.result import OutOfMemory as OutOfMemory
from pyruntime.sandbox.result import OutputLimit as OutputLimit
from pyruntime.sandbox.result import ProgramFailed as ProgramFailed
from pyruntime.sandbox.result import Result as Result
from pyruntime.sandbox.result import SandboxError as SandboxError
from pyruntime.sandbox.result import Timeout as Timeout
from pyruntime.sandbox.result import Usage as Usage
from pyruntime.sandbox.sandbox import Sandbox as Sandbox
from pyruntime.spec import load_config as load_config
from pyruntime.spec.default_config import default_config as default_config
from pyruntime.spec.default_config import for_user as for_user
from pyruntime.startup.sealed import ensure_sealed as ensure_sealed

__version__: str
SPEC_VERSION: str
