"""The container's process: identity, limits, privileges (config.md#process, #posix-process, #linux-process, #user)."""

import pyruntime
from pyruntime.base.errors import Error
from pyruntime.plan import capabilities
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context
    from pyruntime.spec.json_types import Config, Process, User

LINUX_CLAUSE = "config.md#linux-process"
USER_CLAUSE = "config.md#posix-platform-user"

# As in <asm-generic/resource.h>, which x86_64 and aarch64 share.
RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}

# Properties of /linux and /process that plan/scheduling.py is about.
_SCHEDULING_OF_LINUX = frozenset(["personality", "memoryPolicy"])
_SCHEDULING = frozenset(["scheduler", "ioPriority"])


def working_directory(context: "Context") -> "Iterator[Step]":
    """Yield the step that makes cwd if it is missing, while the root filesystem can still be written."""
    process = context.config.get("process")
    if process and process["cwd"] != "/":
        yield Step("mkdir", "/process/cwd", "config.md#process", path=process["cwd"])


def host_side(process: "Process") -> "Iterator[Step]":
    """Yield what only the host's privileges can set: the OOM score, the resource limits, a scheduler that is not
    inherited by a child (see `identity`)."""
    if "oomScoreAdj" in process:
        yield Step("oom_score_adj", "/process/oomScoreAdj", LINUX_CLAUSE, value=process["oomScoreAdj"])
    for index, limit in enumerate(process.get("rlimits") or ()):
        yield Step(
            "prlimit",
            f"/process/rlimits/{index}",
            "config.md#posix-process",
            name=limit["type"],
            resource=RLIMITS[limit["type"]],
            soft=limit["soft"],
            hard=limit["hard"],
        )
    if "scheduler" in process and not pyruntime.plan.scheduling.is_inherited(process["scheduler"]):
        yield pyruntime.plan.scheduling.scheduler(process)


def identity(context: "Context", process: "Process") -> "Iterator[Step]":
    """Yield what the process sets for itself, in the order that the kernel requires.

    The bounding set is dropped while CAP_SETPCAP is held, groups and users change while CAP_SETGID and CAP_SETUID are,
    and the capability sets are final only after the change of the user, which would clear them.

    A child inherits all of it but the session, which therefore is the last: a process of exec has its final privileges
    before processes of the container can see it (csrc/stub/spawn.c). Only the working directory is entered again after
    that: it may lead through the container's /proc.
    """
    user = context.user
    terminal = bool(process.get("terminal"))
    if context.new_keyring:
        yield Step("keyring", "", LINUX_CLAUSE, name=context.keyring or f"_ses.{context.container_id}")
    if terminal:
        yield Step("terminal", "/process/terminal", "config.md#process", **_console_size(process))
    linux = context.config.get("linux") or {}
    if not _SCHEDULING_OF_LINUX.isdisjoint(linux) or not _SCHEDULING.isdisjoint(process):
        yield from pyruntime.plan.scheduling.scheduling(context.config)
    yield Step("stdio", _at(process, "user"), USER_CLAUSE, uid=user["uid"], made=terminal)
    yield Step("chdir", "/process/cwd", "config.md#process", path=process["cwd"], tolerant=True)
    if "umask" in user:
        yield Step("umask", "/process/user/umask", USER_CLAUSE, mask=user["umask"])
    sets = _capability_sets(context, process)
    if sets is not None:
        yield Step("bounding", _at(process, "capabilities", "bounding"), LINUX_CLAUSE, keep=sets["bounding"])
    yield Step(
        "user",
        _at(process, "user"),
        USER_CLAUSE,
        uid=user["uid"],
        gid=user["gid"],
        groups=user.get("additionalGids") or [],
        setgroups=_sets_groups(context, user),
    )
    if sets is not None:
        yield Step(
            "capset",
            _at(process, "capabilities"),
            LINUX_CLAUSE,
            effective=sets["effective"],
            permitted=sets["permitted"],
            inheritable=sets["inheritable"],
            ambient=sets["ambient"],
            until_exec=_kept(context),
        )
    if process.get("noNewPrivileges"):
        yield Step("no_new_privs", "/process/noNewPrivileges", LINUX_CLAUSE)
    yield Step("setsid", "", "config.md#process", **({"controlling": True} if terminal else {}))
    # The user may enter directories that root could not (on NFS, or in a user namespace), and the other way round.
    yield Step("chdir", "/process/cwd", "config.md#process", path=process["cwd"], tolerant=False)


def _sets_groups(context: "Context", user: "User") -> bool:
    """Tell whether the process's groups are set: not if the runtime's user namespace or an annotation forbids it.

    In the container's own user namespace it shows in doing so whether it is denied. Raises Error for groups that the
    process cannot get.
    """
    if context.keep_groups:
        return False
    for index, group in enumerate(user.get("additionalGids") or ()):
        if not context.facts.setgroups and group != user["gid"]:
            raise Error(
                f"cannot give the process the group {group}",
                "the runtime's user namespace denies it (/proc/self/setgroups)",
                pointer=f"/process/user/additionalGids/{index}",
                value=group,
                clause=USER_CLAUSE,
                advice="map more than one id, as /etc/subgid and newgidmap(1) allow",
            )
    return context.facts.setgroups


def _at(process: "Process", *names: str) -> str:
    """Return the pointer of a property of the process, or of the nearest element above that exists; "" for none."""
    pointer, value = "", process
    for name in names:
        if name not in value:
            break
        pointer, value = f"{pointer or '/process'}/{name}", value[name]  # type: ignore[literal-required]
    return pointer


def _kept(context: "Context") -> int:
    """Return the capabilities that init keeps permitted beyond the configured sets, for the filter and Landlock."""
    kept = 0
    if (context.config.get("linux") or {}).get("seccomp"):
        kept = pyruntime.plan.seccomp.keeps(context)
    if context.landlock:
        kept |= pyruntime.plan.landlock.keeps(context)
    return kept & context.available_capabilities


def _console_size(process: "Process") -> "dict[str, int]":
    # Upholds config.md#process/console-size-ignored.
    size = process.get("consoleSize")
    return {"rows": size["height"], "columns": size["width"]} if size else {}


def opens_mapped_files(config: "Config", process: "Process | None") -> bool:
    """Tell whether processes of the container may open the files that others have mapped (proc(5), map_files).

    process  one of them: its capabilities count
    It takes two capabilities outside of every user namespace. If the pid namespace is another container's, its
    processes may have them.
    """
    namespaces = (config.get("linux") or {}).get("namespaces") or ()
    if any(namespace["type"] == "user" for namespace in namespaces):
        return False
    if any(namespace["type"] == "pid" and namespace.get("path") for namespace in namespaces):
        return True
    sets: dict[str, list[str]] = (process or {}).get("capabilities") or {}  # type: ignore[assignment]
    names = {name.upper() for values in sets.values() for name in values}
    return "CAP_SYS_PTRACE" in names and not names.isdisjoint(("CAP_CHECKPOINT_RESTORE", "CAP_SYS_ADMIN"))


# Set of capabilities -> the sets that limit it in the kernel (capabilities(7)). A set is reduced before it limits.
_WITHIN = {"inheritable": ("bounding",), "effective": ("permitted",), "ambient": ("permitted", "inheritable")}


def _capability_sets(context: "Context", process: "Process") -> "dict[str, int] | None":
    """Return the five sets as bit masks; without `capabilities` the process keeps none, as with runc.

    What the kernel does not have, this runtime does not have or another of the sets rules out is left out with a
    warning (config.md#linux-process).

    Upholds config.md#linux-process/capability-warning, config.md#linux-process/capability-no-failure.
    """
    configured: dict[str, list[str]] = process.get("capabilities") or {}  # type: ignore[assignment]
    unknown: list[str] = []
    sets = {}
    for name in ("bounding", "effective", "permitted", "inheritable", "ambient"):
        sets[name] = capabilities.mask(configured.get(name) or [], context.available_capabilities, unknown)
    for name in unknown:
        near = "" if name.upper() in capabilities.NUMBERS else capabilities.nearest(name)
        hint = f"; did you mean {near}?" if near else ""
        context.warnings.append(f"capability {name} cannot be granted (/process/capabilities, {LINUX_CLAUSE}){hint}")
    for name, limits in _WITHIN.items():
        for limit in limits:
            beyond = sets[name] & ~sets[limit]
            if beyond:
                names = ", ".join(one for number, one in enumerate(capabilities.NAMES) if beyond >> number & 1)
                context.warnings.append(
                    f"not in the {limit} set, so not granted in the {name} one: {names}"
                    f" (/process/capabilities/{name}, {LINUX_CLAUSE})"
                )
                sets[name] &= sets[limit]
    return sets


def execution(process: "Process") -> "Iterator[Step]":
    """Yield the last step of a container's making: the user-specified program."""
    yield Step(
        "execve",
        "/process/args",
        "config.md#process",
        argv=process["args"],
        env=environment(process.get("env") or []),
    )


def environment(variables: "list[str]") -> "list[str]":
    """Return the variables, each name once: the last one counts, as with newer versions of runc.

    Callers append their values to the image's.
    """
    last = {variable.partition("=")[0]: number for number, variable in enumerate(variables)}
    return variables if len(last) == len(variables) else [variables[number] for number in sorted(last.values())]
