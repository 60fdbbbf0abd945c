"""The public names for type checkers: at run time each is loaded when it is first used (__init__.py)."""

# ruff: noqa: F401

# What is called by its full name, and so loaded when it is first used. A type checker follows imports alone.
import pyruntime.base.events
import pyruntime.base.interpreter
import pyruntime.base.json_pointer
import pyruntime.base.jsonio
import pyruntime.base.log
import pyruntime.base.printable
import pyruntime.base.similar
import pyruntime.cgroup.beside
import pyruntime.cgroup.delegate
import pyruntime.cgroup.devices_bpf
import pyruntime.cgroup.freezer
import pyruntime.cgroup.kill
import pyruntime.cgroup.oom
import pyruntime.cgroup.remove
import pyruntime.cgroup.room
import pyruntime.cgroup.systemd
import pyruntime.cgroup.v1
import pyruntime.cgroup.v2
import pyruntime.cgroup.walk
import pyruntime.cgroup.write
import pyruntime.cli.error_text
import pyruntime.cli.main
import pyruntime.cli.output
import pyruntime.cli.timeline_svg
import pyruntime.engine.affinity
import pyruntime.engine.caller.console_socket
import pyruntime.engine.caller.notify_socket
import pyruntime.engine.caller.pid_file
import pyruntime.engine.caller.pidfd_socket
import pyruntime.engine.caller.preserved_fds
import pyruntime.engine.caller.report
import pyruntime.engine.child.again
import pyruntime.engine.child.failures
import pyruntime.engine.child.id_maps
import pyruntime.engine.child.idmapped_mounts
import pyruntime.engine.child.program
import pyruntime.engine.intel_rdt
import pyruntime.engine.network.devices
import pyruntime.engine.root_mount
import pyruntime.engine.seccomp.compiler
import pyruntime.engine.seccomp.filter
import pyruntime.host.bundle
import pyruntime.host.busybox
import pyruntime.host.cgroups
import pyruntime.host.facts
import pyruntime.host.programs
import pyruntime.init.main
import pyruntime.operations.delete
import pyruntime.operations.state
import pyruntime.plan.annotations
import pyruntime.plan.capabilities
import pyruntime.plan.cgroup.block_io
import pyruntime.plan.cgroup.cgroup
import pyruntime.plan.cgroup.cpu
import pyruntime.plan.cgroup.gvariant
import pyruntime.plan.cgroup.limits
import pyruntime.plan.cgroup.memory
import pyruntime.plan.cgroup.mounts
import pyruntime.plan.cgroup.section
import pyruntime.plan.cgroup.systemd
import pyruntime.plan.context
import pyruntime.plan.devices
import pyruntime.plan.exec
import pyruntime.plan.facts
import pyruntime.plan.hooks
import pyruntime.plan.intel_rdt
import pyruntime.plan.labels
import pyruntime.plan.landlock
import pyruntime.plan.mount_flags
import pyruntime.plan.net_devices
import pyruntime.plan.scheduling
import pyruntime.plan.seccomp
import pyruntime.plan.step_text
import pyruntime.protocol.hook_output
import pyruntime.protocol.run_hooks
import pyruntime.sandbox.aio
import pyruntime.sandbox.image
import pyruntime.sandbox.pool
import pyruntime.sandbox.seccomp
import pyruntime.spec.clauses.search
import pyruntime.spec.clauses.sentences
import pyruntime.spec.json_syntax
import pyruntime.spec.likely_mistakes
import pyruntime.spec.load
import pyruntime.spec.places
import pyruntime.spec.rules.annotations
import pyruntime.spec.rules.landlock
import pyruntime.spec.rules.mount_options
import pyruntime.spec.rules.mounts
import pyruntime.spec.rules.scheduler
import pyruntime.spec.rules.sysctl
import pyruntime.spec.rules.users
import pyruntime.spec.schema_errors
import pyruntime.startup.rehearsal
import pyruntime.store.lock_holder
import pyruntime.store.remove_tree
import pyruntime.store.unwritable
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

def load_lazily(package: str) -> None: ...
