"""From a validated configuration to an ordered list of kernel steps. Pure: no file is opened and nothing is changed."""

from pyruntime.plan import cgroup, devices, hidden_paths, kernel, mounts, namespaces, process, root
from pyruntime.plan.context import Context
from pyruntime.plan.plan import Plan
from pyruntime.plan.step import Step

__all__ = ["Context", "Plan", "compile_exec", "compile_plan"]


def compile_plan(context: Context) -> Plan:
    """Return the plan for `context.config`.

    Raises Error where the configuration asks for what this runtime or host cannot do.

    Upholds runtime.md#lifecycle/environment-created.
    """
    config = context.config
    _annotations(context)
    plan = Plan(
        cgroup.compile_cgroup(
            config,
            context.facts.cgroup,
            context.container_id,
            systemd=context.systemd_cgroup,
            rootless=context.facts.rootless,
        )
    )
    context.cgroup = plan.cgroup
    if "intelRdt" in (config.get("linux") or {}):
        from pyruntime.plan.intel_rdt import intel_rdt

        plan.resctrl = list(intel_rdt(config, context.container_id))
    plan.namespaces = list(namespaces.namespaces(context))
    plan.maps = [*namespaces.id_maps(context), *namespaces.time_offsets(context)]
    if (config.get("linux") or {}).get("netDevices"):
        from pyruntime.plan.net_devices import net_devices

        plan.net_devices = list(net_devices(context))
    plan.build = [
        *root.take(context),
        *kernel.parameters(context),
        *mounts.mounts(context),
        *devices.devices(context),
        *devices.console(context),
    ]
    if config.get("hooks"):
        from pyruntime.plan.hooks import hooks

        plan.hooks = {kind: list(hooks(config, kind)) for kind in plan.hooks}
    _process(context, plan)
    plan.enter = [
        *process.working_directory(context),
        *hidden_paths.readonly_paths(context),
        *hidden_paths.masked_paths(context),
        *context.late,
        *root.enter(context),
    ]
    plan.warnings = context.warnings
    return plan


def compile_exec(context: Context, group: cgroup.CgroupPlan) -> Plan:
    """Return the plan for one more process in a running container: `process` of the context's configuration.

    group  the container's cgroup, in which nothing is changed. Which namespaces to join is known to who holds the
    container's first process, not here. Raises Error as compile_plan does.
    """
    _annotations(context)
    plan = Plan(group)
    plan.build = [Step("here", "", "config-linux.md#namespaces"), *devices.console(context, mounted=False)]
    _process(context, plan)
    configured = context.config.get("process")
    if configured and "execCPUAffinity" in configured:
        from pyruntime.plan import scheduling

        plan.affinity = list(scheduling.exec_affinity(configured, "initial"))
        plan.process[:0] = scheduling.exec_affinity(configured, "final")
    plan.warnings = context.warnings
    return plan


def _annotations(context: Context) -> None:
    """Read those that change what this runtime does."""
    if context.config.get("annotations"):
        from pyruntime.plan import annotations

        annotations.read(context)


def _process(context: Context, plan: Plan) -> None:
    """Add what makes a process that of the configuration."""
    configured = context.config.get("process")
    if not configured:
        return
    plan.limits = list(process.host_side(configured))
    plan.process = list(process.identity(context, configured))
    plan.execute = list(process.execution(configured))
    if configured.get("apparmorProfile") or configured.get("selinuxLabel"):
        from pyruntime.plan.labels import labels

        plan.labels = list(labels(context, configured))
    if (context.config.get("linux") or {}).get("seccomp"):
        from pyruntime.plan.seccomp import seccomp

        plan.filter = list(seccomp(context))
