"""Wrong plans: each step of the planner left out, and each of its arguments changed, by name."""

_ALL_CAPABILITIES = (1 << 41) - 1

# Operation -> its arguments that are varied, one by one; each operation is also left out as a whole. What plan/ yields
# and this does not name is refused by tests/unit/test_wrong.py and by the runner.
STEPS = {
    "attach_device_filter": "rules",
    "bind": "path source flags mode dev host_tree attr_set attr_clr rec_set rec_clr propagation rec_propagation"
    " uid_mappings gid_mappings",
    "bounding": "keep",
    "capset": "effective permitted inheritable ambient until_exec",
    "chdir": "path tolerant",
    "check_memory_usage": "limit",
    "chown_cgroup": "uid",
    "chroot": "",
    "clone": "",
    "console": "path uid",
    "delegate_cgroup": "path uid",
    "domainname": "data",
    "execve": "argv env",
    "gid_map": "text",
    "here": "",
    "hook": "path argv env timeout",
    "hostname": "data",
    "ioprio_set": "ioclass priority",
    "keyring": "name",
    "landlock_add_path": "path allowed_fs",
    "landlock_add_port": "port allowed_net",
    "landlock_create_ruleset": "handled_fs handled_net scoped",
    "landlock_restrict_self": "capabilities",
    "label": "text attributes",
    "loopback": "",
    "mask": "path fstype data sb_flags attr_set",
    "mkdir": "path",
    "mknod": "path mode dev uid gid",
    "mount": "path fstype source data flags sb_flags attr_set attr_clr propagation rec_propagation label uid_mappings"
    " gid_mappings",
    "move_net_device": "name",
    "move_root": "",
    "no_new_privs": "",
    "oom_score_adj": "value",
    "personality": "persona",
    "pivot_root": "",
    "prlimit": "resource soft hard",
    "propagation": "rec_propagation",
    "readonly": "path flags attr_set rec_set",
    "remount": "path data sb_flags attr_set attr_clr rec_set rec_clr propagation rec_propagation",
    "resctrl_compare": "group lines",
    "resctrl_group": "group must_be own",
    "resctrl_monitor": "group",
    "resctrl_schemata": "group lines",
    "root": "source flags propagation rec_propagation",
    "sched_setaffinity": "cpus",
    "sched_setattr": "policy sched_flags nice priority runtime deadline period",
    "seccomp": "flags listener capabilities",
    "set_mempolicy": "mode nodes",
    "setattr": "path attr_set propagation rec_propagation",
    "setns": "path",
    "setsid": "controlling",
    "stdio": "uid made",
    "symlink": "path source flags",
    "sysctl": "path data",
    "terminal": "rows columns",
    "timens_offsets": "text",
    "uid_map": "text",
    "umask": "mask",
    "user": "uid gid groups setgroups",
    "verify": "",
    "write_cgroup": "value again_after instead optional kept levels",
}

# Operation and argument, or operation -> why it is not varied.
NOT_VARIED = {
    "mkdir_cgroup": "only printed: the directories are Cgroup.make's, which actions.py varies",
    "start_unit": "only printed: what is sent is plan.cgroup.unit's, and systemd is in the virtual machine alone",
    "move_net_device.device": "another one is not there",
    "clone.namespace": "another namespace instead is one left out and one more: the step is left out",
    "seccomp.default": "only printed: the filter is made of the profile, which actions.py varies",
    "seccomp.architectures": "only printed, as its default is",
    "seccomp.syscalls": "only printed, as its default is",
    "setns.namespace": "the kernel compares it with the descriptor",
    "mask.source": "a name that only mountinfo shows",
    "prlimit.name": "only for the words of an error",
    "write_cgroup.needs": "only for the words of an error",
    "write_cgroup.controller": "another directory has no such file",
    "write_cgroup.file": "the kernel refuses an unknown file",
    "check_memory_usage.controller": "another directory has no such file",
    "attach_device_filter.controller": "there is one directory",
    "hook.kind": "only for the words of an error",
}

# The same -> why the tests have no place for it on some hosts. What else has none is reported.
ELSEWHERE = {
    "attach_device_filter": "cgroup v2 alone",
    "check_memory_usage": "cgroup v2 alone",
    "chown_cgroup": "cgroup v2 alone",
    "delegate_cgroup": "cgroup v2 alone",
    "label": "SELinux or AppArmor",
    "mount.label": "SELinux",
    "write_cgroup.again_after": "cgroup v1",
    "write_cgroup.instead": "a kernel without the file that is written first",
    "write_cgroup.levels": "cgroup v1 with real time for groups",
    "write_cgroup.optional": "a kernel without the file",
}


def without_place(found):
    """Return operation, or operation and argument -> the reason or "", where none of the names `found` is of it."""
    seen = {name.partition("/")[2].partition("=")[0] for name in found if "/" in name}
    seen |= {name.partition("[")[0] for name in seen}
    wanted = [name for op, names in STEPS.items() for name in (op, *(f"{op}.{one}" for one in names.split()))]
    return {
        name: ELSEWHERE.get(name) or ELSEWHERE.get(name.partition(".")[0], "") for name in wanted if name not in seen
    }


def _more(value):
    return value + 1


def _capability_changes(value):
    return {"less": value & (value - 1), "more": value | _ALL_CAPABILITIES}


def _other_text(text):
    """Return `text` with its last number one higher, or one letter longer."""
    head = text.rstrip()
    digits = head[len(head.rstrip("0123456789")) :]
    if digits:
        return f"{head[: -len(digits)]}{int(digits) + 1}{text[len(head) :]}"
    return f"{head}x{text[len(head) :]}"


_SPECIAL = {
    "mode": lambda value: value ^ 0o022,
    "dev": lambda value: 0x107 if value != 0x107 else 0x103,  # /dev/full, or /dev/null
    "mask": lambda value: value ^ 0o022,
    "soft": lambda value: value // 2,
    "value": lambda value: value - 1 if isinstance(value, int) else _other_text(value),
    "text": _other_text,
    "path": lambda value: value + "x",
    "resource": lambda value: 4 if value != 4 else 9,
    "cpus": lambda value: [] if len(value) > 1 else [1 - value[0] if value[0] < 2 else 0],
    "limit": lambda value: 1 << 62,
    "timeout": lambda value: None,
    "env": lambda value: (value or [])[1:],
    "argv": lambda value: [*value, "more"],
    "persona": lambda value: value ^ 8,
}
_PRESENCE = {"levels", "kept"}  # whose value tells nothing: they are left out
_BITS = {"flags", "attr_set", "attr_clr", "rec_set", "rec_clr", "propagation", "rec_propagation", "sb_flags"}
_CAPABILITIES = {"keep", "effective", "permitted", "inheritable", "ambient"}


def changes(op, name, value):
    """Return label -> what argument `name` of `op` becomes; nothing for a value that cannot be changed."""
    if f"{op}.{name}" == "bind.mode":
        found = {"kind": value ^ 0o040000}  # block instead of character; permissions are those of the host's node
    elif f"{op}.{name}" == "resctrl_group.must_be":
        found = {"other": "any" if value != "any" else "new"}
    elif name in _PRESENCE:
        found = {"none": None}
    elif f"{op}.{name}" in ("seccomp.capabilities", "landlock_restrict_self.capabilities"):
        found = {"none": 0}  # more would be masked by those that init has kept
    elif f"{op}.{name}" == "capset.until_exec":
        found = {"none": 0, "more": value | _ALL_CAPABILITIES}
    elif name in _CAPABILITIES:
        found = _capability_changes(value)
    elif name in _BITS and isinstance(value, int):
        found = {"none": 0}
    elif name in _SPECIAL:
        found = {"other": _SPECIAL[name](value)}
    elif isinstance(value, bool):
        found = {"not": not value}
    elif isinstance(value, int):
        found = {"other": _more(value)}
    elif isinstance(value, str):
        found = {"other": _other_text(value)}
    elif isinstance(value, (list, tuple, dict)):
        found = {"none": type(value)()}
    else:
        found = {}
    return {label: new for label, new in found.items() if new != value}


def names(where, step):
    """Yield the name of each variation that would change `step`: "create/mount", "create/mount.data=none".

    Raises KeyError for an operation without an entry.
    """
    if step.op == "hook":
        yield f"{where}/hook[{step.args['kind']}]"
    elif step.op == "write_cgroup":
        yield f"{where}/write_cgroup[{step.pointer}]"
    elif step.op in ("clone", "setns"):
        yield f"{where}/{step.op}[{step.args['namespace']}]"
    else:
        yield f"{where}/{step.op}"
    for name, value in step.args.items():
        if name in STEPS[step.op].split():
            yield from (f"{where}/{step.op}.{name}={label}" for label in changes(step.op, name, value))
        elif f"{step.op}.{name}" not in NOT_VARIED and step.op not in NOT_VARIED:
            raise KeyError(f"{step.op}.{name}")


def varied(where, steps, variation):
    """Return `steps` as the runtime with `variation` takes them."""
    found = []
    for step in steps:
        own = set(names(where, step)) if variation else ()
        if variation in own:
            if "=" not in variation:
                continue
            name, _, label = variation.rpartition(".")[2].partition("=")
            new = changes(step.op, name, step.args.pop(name))[label]
            if new is not None or name not in _PRESENCE:
                step.args[name] = new
        found.append(step)
    return found


_LISTS = ("resctrl", "affinity", "namespaces", "maps", "net_devices", "build", "enter", "limits", "labels", "process")
_LISTS += ("filter", "execute")


def install(variation, see):
    """Make the planner yield wrong plans.

    `see(name, clause, changed)` hears of each variation that a plan has a place for, and of what would be changed.
    """
    from pyruntime.plan import create, hooks
    from pyruntime.plan import exec as executed

    def tell(where, step):
        for one in names(where, step):
            name = one.rpartition(".")[2].partition("=")[0] if "=" in one else ""
            see(one, step.clause, repr(step.args[name] if name else sorted(step.args.items())))

    def wrap(where, compile_it):
        def compile_wrong(*arguments):
            plan = compile_it(*arguments)
            for name in _LISTS:
                steps = getattr(plan, name)
                for step in steps:
                    tell(where, step)
                setattr(plan, name, varied(where, steps, variation))
            for step in plan.cgroup.steps:
                tell(where, step)
            plan.cgroup.steps[:] = varied(where, plan.cgroup.steps, variation)
            return plan

        return compile_wrong

    create.compile_plan = wrap("create", create.compile_plan)
    executed.compile_exec = wrap("exec", executed.compile_exec)
    listed = hooks.hooks

    def wrong_hooks(config, kind):
        steps = list(listed(config, kind))
        for step in steps:
            tell("create", step)
        return iter(varied("create", steps, variation))

    hooks.hooks = wrong_hooks
