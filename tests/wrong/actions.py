"""Wrong actions of the engine: name -> the function that is replaced, by what, and the sections it is for."""

import importlib
import sys


class _Instead:
    """A module of C calls, or `os`, with some of its functions replaced."""

    def __init__(self, module, **functions):
        self.__dict__.update(functions)
        self.__dict__["module"] = module

    def __getattr__(self, name):
        return getattr(self.__dict__["module"], name)


def _nothing(original):
    return lambda *_, **__: None


def _returns(value):
    return lambda original: lambda *_, **__: value


def _without_calls(**functions):
    return lambda original: _Instead(original, **functions)


def _argument(index, change):
    """Change the argument at `index`."""

    def make(original):
        def wrong(*arguments, **named):
            changed = list(arguments)
            if index < len(changed):
                changed[index] = change(changed[index])
            return original(*changed, **named)

        return wrong

    return make


def _result(change):
    return lambda original: lambda *arguments, **named: change(original(*arguments, **named))


def _field(name, value):
    """Change a member of the object that is returned."""
    return _result(lambda document: {**document, name: value(document.get(name)) if callable(value) else value})


def _unless_error(original):
    def wrong(*arguments, **named):
        from pyruntime.base.errors import Error

        try:
            return original(*arguments, **named)
        except Error:
            return None

    return wrong


def _status(old, new):
    return _result(lambda status: new if status == old else status)


def _by(module):
    """Do nothing where `module` calls."""

    def make(original):
        def wrong(*arguments, **named):
            if sys._getframe(1).f_globals["__name__"] != module:
                return original(*arguments, **named)
            return None

        return wrong

    return make


def _runs_at_create(original):
    def wrong(orders, channel):
        from pyruntime._stub import lib
        from pyruntime.base import lean_os as os

        lib.pyr_execute(orders.execution, orders.stub, os.dup(1))

    return wrong


def _from_the_bundle(original):
    def wrong(self):
        from pyruntime import spec

        return spec.load_config(self.read()["bundle"])

    return wrong


def _free_id(original):
    def mkdir(path, mode=0o777, **named):
        try:
            original.mkdir(path, mode, **named)
        except FileExistsError:
            pass

    return _Instead(original, mkdir=mkdir)


def _profile(change):
    """Change the seccomp profile that the filter is made of."""

    def changed(config):
        profile = dict(config["linux"]["seccomp"])
        change(profile)
        return {**config, "linux": {**config["linux"], "seccomp": profile}}

    return _argument(1, changed)


def _calls(change):
    """Change each entry of /linux/seccomp/syscalls; one that becomes None is left out."""

    def changed(profile):
        entries = [change(dict(entry)) for entry in profile.get("syscalls") or ()]
        profile["syscalls"] = [entry for entry in entries if entry is not None]

    return _profile(changed)


def _without(*names):
    return lambda entry: {name: value for name, value in entry.items() if name not in names}


def _before_others(original):
    """The hooks of createRuntime before those of prestart."""

    def wrong(context):
        plan = original(context)
        plan.hooks["prestart"], plan.hooks["createRuntime"] = plan.hooks["createRuntime"], plan.hooks["prestart"]
        return plan

    return wrong


LIFECYCLE, HOOKS = "runtime.md#lifecycle", "config.md#posix-platform-hooks"
STATE, DELETE, KILL, START = "runtime.md#state", "runtime.md#delete", "runtime.md#kill", "runtime.md#start"
CREATE, GROUPS, PROCESS = "runtime.md#create", "config-linux.md#control-groups", "config.md#process"
DESCRIPTORS = "runtime-linux.md#file-descriptors"

# Name -> target ("module:name"), how the replacement is made of the original, sections.
ACTIONS = {
    # ---- cgroups ----
    "cgroup-not-made": ("pyruntime.cgroup.cgroup:Cgroup.make", _nothing, (GROUPS, "config-linux.md#cgroups-path")),
    "limits-not-written": ("pyruntime.cgroup.cgroup:Cgroup.apply", _nothing, (GROUPS,)),
    "v1-groups-not-joined": (
        "pyruntime.cgroup.cgroup:Cgroup.task_fds",
        _returns([]),
        (GROUPS, "config-linux.md#cgroups-path"),
    ),
    "cgroup-in-use-taken": ("pyruntime.cgroup.cgroup:Cgroup._check_fit", _nothing, (GROUPS,)),
    "cgroup-not-removed": ("pyruntime.cgroup.cgroup:Cgroup.remove", _nothing, (DELETE, GROUPS)),
    "processes-in-cgroup-not-killed": ("pyruntime.cgroup.cgroup:Cgroup.kill_all", _nothing, (DELETE, KILL)),
    "never-frozen": ("pyruntime.cgroup.cgroup:Cgroup.freeze", _nothing, (STATE,)),
    "never-thawed": ("pyruntime.cgroup.cgroup:Cgroup.thaw", _nothing, (STATE,)),
    # ---- create ----
    "id-not-checked": ("pyruntime.store.container:check_id", _nothing, (CREATE, STATE)),
    "id-may-be-taken": ("pyruntime.store.container:os", _free_id, (CREATE, STATE)),
    "nothing-undone": ("pyruntime.base.undo:Undo.__exit__", _nothing, (LIFECYCLE,)),
    "warnings-not-logged": ("pyruntime.base.log:warning", _nothing, ("runtime.md#warnings",)),
    "pid-file-not-written": ("pyruntime.engine.caller.pid_file:write_pid_file", _nothing, (CREATE,)),
    "pid-file-of-another": (
        "pyruntime.engine.caller.pid_file:write_pid_file",
        _argument(1, lambda pid: pid + 1),
        (CREATE,),
    ),
    "program-runs-at-create": ("pyruntime.init.main:_wait_for_start", _runs_at_create, (LIFECYCLE, CREATE)),
    "program-not-looked-for": (
        "pyruntime.init.main:lib",
        _without_calls(pyr_prepare=lambda *_: 0),
        (CREATE, PROCESS),
    ),
    "terminal-not-sent": (
        "pyruntime.engine.child.step_array:StepArrays.stub",
        lambda original: lambda self, console=-1: original(self),
        (PROCESS,),
    ),
    "pidfd-not-sent": ("pyruntime.engine.caller.pidfd_socket:send", _nothing, (CREATE,)),
    "read-again-from-bundle": ("pyruntime.store.container:Container.read_config", _from_the_bundle, (LIFECYCLE,)),
    "root-mount-left": ("pyruntime.engine.root_mount:remove", _nothing, (DELETE,)),
    # ---- init ----
    "descriptors-kept": ("pyruntime.init.main:lib", _without_calls(pyr_close_range=lambda *_: 0), (DESCRIPTORS,)),
    "imports-left-on": ("pyruntime.init.main:_switch_imports_off", _nothing, (LIFECYCLE,)),
    # ---- hooks ----
    "hooks-reversed": ("pyruntime.protocol.run_hooks:run", _argument(0, lambda steps: steps[::-1]), (HOOKS,)),
    "create-runtime-before-prestart": (
        "pyruntime.plan.create:compile_plan",
        _before_others,
        ("config.md#prestart", LIFECYCLE),
    ),
    "hook-failure-ignored": ("pyruntime.protocol.run_hooks:run", _unless_error, (LIFECYCLE,)),
    "hook-timeout-ignored": ("pyruntime.protocol.run_hooks:_wait", _argument(1, lambda _: None), (HOOKS,)),
    "hooks-with-descriptors": (
        "pyruntime.protocol.run_hooks:lib",
        _without_calls(pyr_close_range=lambda *_: 0),
        (HOOKS,),
    ),
    "poststart-left-out": ("pyruntime.operations.start:_poststart", _nothing, (LIFECYCLE, "config.md#poststart")),
    "poststop-left-out": ("pyruntime.operations.delete:_poststop", _nothing, (LIFECYCLE, "config.md#poststop")),
    "no-poststop-after-failure": ("pyruntime.operations.create:_poststop", _nothing, (LIFECYCLE,)),
    "hooks-without-state": ("pyruntime.protocol.run_hooks:run_one", _argument(1, lambda _: {}), (HOOKS,)),
    **{
        f"hooks-with-wrong-{name}": (
            "pyruntime.protocol.run_hooks:run_one",
            _argument(1, lambda state, name=name: {**state, name: "wrong" if name != "pid" else 1 << 22}),
            (HOOKS, STATE),
        )
        for name in ("ociVersion", "id", "status", "pid", "bundle")
    },
    "hooks-without-annotations": (
        "pyruntime.protocol.run_hooks:run_one",
        _argument(1, lambda state: {**state, "annotations": {}}),
        (HOOKS, STATE, "config.md#annotations"),
    ),
    # ---- start ----
    "failed-start-leaves-container": (
        "pyruntime.operations.delete:destroy",
        _by("pyruntime.operations.start"),
        (LIFECYCLE,),
    ),
    "start-does-not-wait-for-the-end": ("pyruntime.operations.start:_await_end", _nothing, (START,)),
    "start-does-not-listen": ("pyruntime.operations.start:_let_go", _unless_error, (START, LIFECYCLE)),
    # ---- state ----
    **{
        f"state-with-wrong-{name}": (
            "pyruntime.operations.state:state",
            _field(name, value),
            (STATE, "runtime.md#query-state"),
        )
        for name, value in {
            "ociVersion": "0.1.0",
            "id": "another",
            "status": "wrong",
            "pid": lambda pid: pid + 1,
            "bundle": "/",
            "annotations": {},
            "rootfs": "/nowhere",
            "created": "2001-01-01T00:00:00Z",
            "owner": "somebody",
        }.items()
    },
    "stopped-keeps-its-pid": (
        "pyruntime.operations.state:spec_state",
        lambda original: lambda state, status: {**original(state, status), "pid": state["pid"]},
        (STATE,),
    ),
    **{
        f"{old}-is-{new}": ("pyruntime.store.container:Container.status", _status(old, new), (STATE, LIFECYCLE))
        for old, new in (
            ("creating", "created"),
            ("created", "running"),
            ("running", "created"),
            ("stopped", "running"),
            ("running", "stopped"),
            ("paused", "running"),
        )
    },
    "unknown-is-no-error": ("pyruntime.cli.main:_report", _returns(0), ("runtime.md#errors", "runtime.md#query-state")),
    "reused-pid-taken": (
        "pyruntime.store.process:alive",
        lambda original: (
            lambda pid, started: original(
                pid, int(__import__("pyruntime.store.process", None, None, ("x",)).start_time(pid))
            )
        ),
        (STATE, KILL),
    ),
    # ---- kill and delete ----
    "another-signal": (
        "pyruntime.operations.kill:send",
        _argument(2, lambda signal: 9 if signal != 9 else 15),
        (KILL,),
    ),
    "no-signal": ("pyruntime.operations.kill:send", _argument(2, lambda signal: 0), (KILL,)),
    "kill-spares-others": ("pyruntime.operations.kill:_is_first", _returns(True), (KILL,)),
    "kill-all-is-kill": ("pyruntime.operations.kill:kill", _argument(3, lambda _: False), (KILL,)),
    "always-forced": ("pyruntime.operations.delete:delete", _argument(2, lambda _: True), (DELETE,)),
    "never-forced": ("pyruntime.operations.delete:delete", _argument(2, lambda _: False), (DELETE,)),
    "state-not-removed": ("pyruntime.store.container:Container.remove", _nothing, (DELETE,)),
    "delete-does-not-kill": ("pyruntime.operations.delete:_end_init", _nothing, (DELETE,)),
    # ---- exec ----
    "exec-joins-nothing": ("pyruntime.operations.exec:_Execution._join", _nothing, ("config-linux.md#namespaces",)),
    "exec-in-whatever-status": (
        "pyruntime.operations.exec:_Execution._running",
        lambda original: lambda self: self.container.read(),
        (STATE,),
    ),
    "exec-in-the-callers-cgroup": (
        "pyruntime.operations.exec:cgroups",
        _without_calls(open=lambda record: __import__("pyruntime.cgroup.cgroup").cgroup.cgroup.Cgroup({}, [])),
        (GROUPS,),
    ),
    # ---- seccomp ----
    **{
        f"filter-{name}": ("pyruntime.engine.seccomp.filter:prepare", change, ("config-linux.md#seccomp",))
        for name, change in {
            "without-architectures": _profile(lambda profile: profile.pop("architectures", None)),
            "allows-by-default": _profile(lambda profile: profile.update(defaultAction="SCMP_ACT_ALLOW")),
            "without-default-errno": _profile(lambda profile: profile.pop("defaultErrnoRet", None)),
            "without-its-last-names": _calls(
                lambda entry: {**entry, "names": entry["names"][:-1]} if entry["names"][1:] else None
            ),
            "without-errno": _calls(_without("errnoRet")),
            "without-conditions": _calls(_without("args")),
            "with-its-first-condition-alone": _calls(lambda entry: {**entry, "args": (entry.get("args") or [])[:1]}),
        }.items()
    },
    "agent-without-metadata": (
        "pyruntime.engine.seccomp.filter:prepare",
        _profile(lambda profile: profile.pop("listenerMetadata", None)),
        ("config-linux.md#the-container-process-state",),
    ),
    # ---- plans as a whole ----
    "mounts-reversed": (
        "pyruntime.plan.mounts:mounts",
        lambda original: lambda context: iter(list(original(context))[::-1]),
        ("config.md#mounts",),
    ),
    "maps-not-written": (
        "pyruntime.engine.child.id_maps:write",
        _nothing,
        ("config-linux.md#user-namespace-mappings",),
    ),
}


def _owner(target):
    """Return (object, attribute) of a target."""
    module, _, path = target.partition(":")
    owner = importlib.import_module(module)
    *way, name = path.split(".")
    for part in way:
        owner = getattr(owner, part)
    return owner, name


def install(variation, see):
    """Replace the function of `variation`; `see(name, section)` hears of each variation's function that is called."""
    if variation in ACTIONS:
        target, make, _ = ACTIONS[variation]
        _replace(target, make)
        if target.startswith("pyruntime.init."):
            # Most containers have an init without Python, in which nothing can be replaced.
            _replace("pyruntime.protocol.orders:Orders.needs_python", lambda _: lambda _: True)
    if see is not None:
        for target in dict.fromkeys(target for target, _, _ in ACTIONS.values()):
            if not target.startswith("pyruntime.init."):
                _replace(target, _listening(target, see))
        # What init does cannot be told from inside the container; its maker's call stands for it.
        _replace("pyruntime.engine.child.launch:spawn", _listening("pyruntime.init.", see))


def _listening(target, see):
    def tell():
        for name, (one, _, sections) in ACTIONS.items():
            if one == target or (target == "pyruntime.init." and one.startswith(target)):
                for section in sections:
                    see(name, section)

    def make(original):
        if not callable(original):
            # A module: what counts is a call of the functions that would be wrong.
            wrong = next(make(original) for one, make, _ in ACTIONS.values() if one == target)
            functions = {name: _telling(getattr(original, name), tell) for name in vars(wrong) if name != "module"}
            return _Instead(original, **functions)

        return _telling(original, tell)

    return make


def _telling(original, tell):
    def telling(*arguments, **named):
        tell()
        return original(*arguments, **named)

    return telling


def _replace(target, make):
    owner, name = _owner(target)
    original = owner.__dict__[name]
    new = make(original)
    setattr(owner, name, new)
    if callable(original) and not isinstance(owner, type):
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("pyruntime") and vars(module).get(name) is original:
                setattr(module, name, new)
