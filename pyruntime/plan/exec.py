"""The plan of exec: one more process in a running container (runc's verb; no clause)."""

import pyruntime
from pyruntime.plan import process
from pyruntime.plan.plan import Plan
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.cgroup.cgroup import CgroupPlan
    from pyruntime.plan.context import Context


def compile_exec(context: "Context", group: "CgroupPlan") -> Plan:
    """Return the plan for one more process in a running container: `process` of the context's configuration.

    group  the container's cgroup, in which nothing is changed. Which namespaces to join is known to who holds the
    container's first process, not here. Raises Error as compile_plan does.
    """
    if context.config.get("annotations"):
        pyruntime.plan.annotations.read(context)
    configured = context.config.get("process") or {}
    plan = Plan(group)
    plan.build = [Step("here", "", "config-linux.md#namespaces")]
    if configured.get("terminal"):
        plan.build += pyruntime.plan.devices.console(context, mounted=False)
    add_process(context, plan)
    if "execCPUAffinity" in configured:
        plan.affinity = list(pyruntime.plan.scheduling.exec_affinity(configured, "initial"))
        plan.process[:0] = pyruntime.plan.scheduling.exec_affinity(configured, "final")
    plan.warnings = context.warnings
    return plan


def add_process(context: "Context", plan: Plan) -> None:
    """Add to `plan` the steps that set the properties of the configured process, if there is one."""
    configured = context.config.get("process")
    if not configured:
        return
    plan.limits = list(process.host_side(configured))
    plan.process = list(process.identity(context, configured))
    plan.execute = list(process.execution(configured))
    if configured.get("apparmorProfile") or configured.get("selinuxLabel"):
        plan.labels = list(pyruntime.plan.labels.labels(context, configured))
    if context.landlock:
        plan.landlock = list(pyruntime.plan.landlock.landlock(context))
    if (context.config.get("linux") or {}).get("seccomp"):
        plan.filter = list(pyruntime.plan.seccomp.seccomp(context))
