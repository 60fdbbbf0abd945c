"""The plan of create: from the whole configuration to an ordered list of kernel steps (runtime.md#create)."""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.plan import devices, masked_paths, mounts, namespaces, process, root, sysctl
from pyruntime.plan.cgroup import cgroup
from pyruntime.plan.exec import add_process
from pyruntime.plan.plan import Plan
from pyruntime.spec.rules import version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.context import Context


def compile_plan(context: "Context") -> Plan:
    """Return the plan for `context.config`.

    Raises Error where the configuration asks for what this runtime or host cannot do.

    Upholds runtime.md#lifecycle/environment-created.
    """
    try:
        return _compile(context)
    except Error as error:
        error.show(context.config)
        raise


def _compile(context: "Context") -> Plan:
    config = context.config
    later = version.later(config)
    if later:
        context.warnings.append(later)
    if config.get("annotations"):
        pyruntime.plan.annotations.read(context)
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
        plan.resctrl = list(pyruntime.plan.intel_rdt.intel_rdt(config, context.container_id))
    plan.namespaces = list(namespaces.namespaces(context))
    plan.maps = [*namespaces.id_maps(context), *namespaces.time_offsets(context)]
    if (config.get("linux") or {}).get("netDevices"):
        plan.net_devices = list(pyruntime.plan.net_devices.net_devices(context))
    plan.build = [
        *root.take(context),
        *sysctl.parameters(context),
        *mounts.mounts(context),
        *devices.devices(context),
        *devices.console(context),
    ]
    if config.get("hooks"):
        plan.hooks = {kind: list(pyruntime.plan.hooks.hooks(config, kind)) for kind in plan.hooks}
        if plan.hooks["createContainer"] and context.namespaces.get("pid"):
            context.warnings.append(
                "through a createContainer hook, the processes of the pid namespace that is joined reach the host, if"
                " they have CAP_SYS_PTRACE (/hooks/createContainer, config.md#createcontainer-hooks)"
            )
    add_process(context, plan)
    plan.enter = [
        *process.working_directory(context),
        *masked_paths.readonly_paths(context),
        *masked_paths.masked_paths(context),
        *context.late,
        *root.enter(context),
        *masked_paths.verify(context),
    ]
    plan.warnings = context.warnings
    return plan
