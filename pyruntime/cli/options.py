"""The one table of verbs and options: the parser, the help, completions and man pages are made from it.

One file, because it is one table.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FLAG, TEXT, NUMBER, LIST = "flag", "text", "number", "list"
_DEFAULTS: "dict[str, str | int | bool | tuple[str, ...]]" = {FLAG: False, TEXT: "", NUMBER: 0, LIST: ()}


class Option:
    """One option of the command line.

    name     long name without dashes: "console-socket"
    help     one line for people
    kind     FLAG (true or false), TEXT, NUMBER (an integer from 0), or LIST (may be given again, each time one more)
    short    one-letter name without dash, or ""
    default  value when the option is not given
    metavar  what the help calls the value
    choices  the values allowed, where they can be counted
    """

    __slots__ = ("choices", "default", "help", "kind", "metavar", "name", "short")

    def __init__(
        self,
        name: str,
        help: str,
        kind: str = TEXT,
        *,
        short: str = "",
        default: str | None = None,
        metavar: str = "",
        choices: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.help = help
        self.kind = kind
        self.short = short
        self.default = _DEFAULTS[kind] if default is None else default
        self.metavar = metavar
        self.choices = choices


class Verb:
    """One verb: `summary` for the list of verbs, `usage` for its arguments, `details` for its own help page.

    arguments  (fewest, most) words that may follow the options
    greedy     options end at the first argument, because what follows may begin with a dash (runc does so for kill)
    options    a function that makes them, because a command line needs those of one verb
    """

    __slots__ = ("_options", "arguments", "details", "greedy", "name", "summary", "usage")

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        usage: str = "ID",
        arguments: tuple[int, int] = (1, 1),
        options: "Callable[[], tuple[Option, ...]]" = tuple,
        details: str = "",
        greedy: bool = False,
    ) -> None:
        self.name = name
        self.summary = summary
        self.usage = usage
        self.arguments = arguments
        self._options = options
        self.details = details
        self.greedy = greedy

    @property
    def options(self) -> tuple[Option, ...]:
        """The options of its own."""
        return self._options()


GLOBAL_OPTIONS = (
    Option("root", "keep the state of containers below DIR", metavar="DIR"),
    Option("log", "append the log to FILE instead of writing it to stderr", metavar="FILE"),
    Option("log-format", "write the log as text or json", default="text", metavar="FORMAT", choices=("text", "json")),
    Option("debug", "log each step, message and hook, and where an internal error comes from", FLAG),
    Option("trace", "write what is done when to FILE: see `pyruntime timeline`", metavar="FILE"),
    Option("systemd-cgroup", 'ask systemd for the cgroup; cgroupsPath is then "slice:prefix:name"', FLAG),
    Option(
        "rootless",
        "continue without access to cgroups: true, false or auto",
        default="auto",
        metavar="WHEN",
        choices=("true", "false", "auto"),
    ),
    Option("criu", "accepted because callers of runc give it; has no effect", metavar="PATH"),
    Option("help", "show this help", FLAG, short="h"),
    Option("version", "show the versions of pyruntime and of the runtime-spec", FLAG, short="v"),
)

_HELP = Option("help", "show this help", FLAG, short="h")
_BUNDLE = Option("bundle", "the bundle: a directory with config.json (default: here)", short="b", metavar="DIR")


def _create() -> tuple[Option, ...]:
    return (
        _BUNDLE,
        Option("console-socket", "send the terminal's master to this AF_UNIX socket", metavar="PATH"),
        Option("pidfd-socket", "send a pidfd of the container's init to this AF_UNIX socket", metavar="PATH"),
        Option("pid-file", "write the process id of the container's init to FILE", metavar="FILE"),
        Option("no-pivot", "use MS_MOVE and chroot instead of pivot_root, for a rootfs on a ramdisk", FLAG),
        Option("no-new-keyring", "keep the caller's session keyring", FLAG),
        Option("preserve-fds", "pass N descriptors from 3 on to the container", NUMBER, metavar="N"),
    )


def _criu() -> tuple[Option, ...]:
    return (
        Option("image-path", "directory of the images (default: ./checkpoint)", metavar="DIR"),
        Option("work-path", "directory of CRIU's log (default: that of the images)", metavar="DIR"),
        Option("tcp-established", "allow open TCP connections", FLAG),
        Option(
            "network-lock",
            "how CRIU blocks network traffic meanwhile",
            default="iptables",
            metavar="METHOD",
            choices=("iptables", "nftables", "skip"),
        ),
        Option("ext-unix-sk", "allow Unix sockets whose other end is outside", FLAG),
        Option("shell-job", "allow the caller's terminal", FLAG),
        Option("lazy-pages", "load memory pages on first use (userfaultfd)", FLAG),
        Option("file-locks", "allow file locks", FLAG),
        Option("manage-cgroups-mode", "soft, full, strict or ignore (default: CRIU's)", metavar="MODE"),
        Option("empty-ns", "do not save or restore the contents of this namespace: network", LIST, metavar="NAMESPACE"),
        Option("auto-dedup", "keep memory in one image only", FLAG),
    )


def _table_or_json(help: str) -> Option:
    return Option("format", help, short="f", default="table", metavar="FORMAT", choices=("table", "json"))


# Upholds runtime.md#operations/supported.
_VERBS = (
    Verb(
        "create",
        "create a container",
        options=_create,
        details="Everything in config.json is set up, and the container's process waits for `start`.",
    ),
    Verb("start", "start the process of a created container"),
    Verb(
        "run",
        "create and start a container, wait for it, delete it",
        options=lambda: (
            *_create(),
            Option("detach", "return as soon as the process runs", FLAG, short="d"),
            Option(
                "report-fd",
                "send start, end and usage as JSON on the socket with descriptor N",
                NUMBER,
                metavar="N",
            ),
            Option("keep", "do not delete the container when it has ended", FLAG),
            Option("no-subreaper", "do not adopt orphaned processes of the container", FLAG),
        ),
        details="""\
In the foreground pyruntime passes signals on to the container, relays its terminal
(process.terminal in config.json), and exits with the status of the container's
process: 128+N when signal N ended it.""",
    ),
    Verb("state", "print the state of a container as JSON"),
    Verb(
        "kill",
        "send a signal to a container",
        usage="ID [SIGNAL]",
        arguments=(1, 2),
        options=lambda: (Option("all", "signal every process in the container", FLAG, short="a"),),
        details="SIGNAL is a name or a number: SIGTERM, term, 15, RTMIN+3. Without it, SIGTERM is sent.",
        greedy=True,
    ),
    Verb(
        "exec",
        "run one more process in a container",
        usage="ID COMMAND [ARGUMENT...]",
        arguments=(1, 1 << 20),
        options=lambda: (
            Option("process", "take the whole process from this JSON file", short="p", metavar="FILE"),
            Option("cwd", "working directory in the container", metavar="DIR"),
            Option("env", "add NAME=VALUE to the environment", LIST, short="e", metavar="NAME=VALUE"),
            Option("tty", "give it a terminal", FLAG, short="t"),
            Option("user", "run it as this user and group, in numbers", short="u", metavar="UID[:GID]"),
            Option("additional-gids", "add a group, by number", LIST, short="g", metavar="GID"),
            Option("cap", "add a capability", LIST, short="c", metavar="CAP"),
            Option("no-new-privs", "set no_new_privs: execve gives it no more privileges", FLAG, default=None),
            Option("apparmor", "AppArmor profile", metavar="PROFILE"),
            Option("process-label", "SELinux label", metavar="LABEL"),
            Option("detach", "return as soon as it runs", FLAG, short="d"),
            Option("console-socket", "send the terminal's master to this AF_UNIX socket", metavar="PATH"),
            Option("pidfd-socket", "send a pidfd of it to this AF_UNIX socket", metavar="PATH"),
            Option("pid-file", "write its process id to FILE", metavar="FILE"),
            Option("preserve-fds", "pass N descriptors from 3 on to it", NUMBER, metavar="N"),
            Option("cgroup", "put it into a cgroup below the container's", LIST, metavar="[CONTROLLERS:]PATH"),
            Option("ignore-paused", "allow a paused container: the process runs after resume", FLAG),
        ),
        details="""\
The new process has the user, environment, capabilities and working directory of the
container's own process, unless an option replaces them. Exits with the status of the
process, 128+N when signal N ended it, and 255 when it could not be run.""",
        greedy=True,
    ),
    Verb(
        "delete",
        "delete a stopped container and all that was made for it",
        options=lambda: (
            Option("force", "kill it first when it is not stopped; succeed when it is not there", FLAG, short="f"),
        ),
    ),
    Verb("pause", "freeze every process in a container"),
    Verb("resume", "thaw the processes of a paused container"),
    Verb(
        "list",
        "list the containers below --root",
        usage="",
        arguments=(0, 0),
        options=lambda: (
            _table_or_json("print a table, or json"),
            Option("quiet", "print only the ids", FLAG, short="q"),
        ),
    ),
    Verb(
        "ps",
        "show the processes in a container",
        usage="ID [PS-OPTION...]",
        arguments=(1, 1 << 20),
        options=lambda: (_table_or_json("print what ps prints of them, or their ids as json"),),
        details="The table is made by the host's ps, with the options given, by default -ef.",
        greedy=True,
    ),
    Verb(
        "events",
        "print what a container uses, and each time it runs out of memory",
        options=lambda: (
            Option("interval", "time between statistics, like 500ms or 1m30s", default="5s", metavar="TIME"),
            Option("stats", "print the statistics once", FLAG),
        ),
        details="One JSON object a line, until the container ends.",
    ),
    Verb(
        "update",
        "change the limits of a container",
        options=lambda: (
            Option("resources", "take all limits from this JSON file, or - for stdin", short="r", metavar="FILE"),
            Option("blkio-weight", "share of block I/O, from 10 to 1000", metavar="N"),
            Option("cpu-period", "period of the CPU quota in microseconds", metavar="N"),
            Option("cpu-quota", "CPU time in a period in microseconds, -1 for no limit", metavar="N"),
            Option("cpu-burst", "CPU time that may be saved up, in microseconds", metavar="N"),
            Option("cpu-share", "share of the CPUs, from 2 to 262144", metavar="N"),
            Option("cpu-rt-period", "period of the real-time budget in microseconds", metavar="N"),
            Option("cpu-rt-runtime", "real-time budget in a period in microseconds", metavar="N"),
            Option("cpu-idle", "1: run only when nothing else does; 0: as usual", metavar="N"),
            Option("cpuset-cpus", "CPUs that may be used: 0-2,4", metavar="LIST"),
            Option("cpuset-mems", "memory nodes that may be used: 0-2,4", metavar="LIST"),
            Option("memory", "limit of memory in bytes, or as 64m or 2g; -1 for none", metavar="SIZE"),
            Option("memory-reservation", "memory that is not reclaimed while the container uses less", metavar="SIZE"),
            Option("memory-swap", "limit of memory and swap together; -1 for none", metavar="SIZE"),
            Option("kernel-memory", "accepted because callers of runc give it; has no effect", metavar="SIZE"),
            Option("kernel-memory-tcp", "accepted because callers of runc give it; has no effect", metavar="SIZE"),
            Option("pids-limit", "how many processes and threads there may be; -1 for no limit", metavar="N"),
            Option("l3-cache-schema", "schema of the L3 cache (Intel RDT)", metavar="TEXT"),
            Option("mem-bw-schema", "schema of the memory bandwidth (Intel RDT)", metavar="TEXT"),
        ),
        details="""\
Limits without an option stay as they are. If the kernel refuses a limit, the limits set
before it are restored. FILE has the form of linux.resources in config.json; with it, the
other options are ignored.""",
    ),
    Verb(
        "checkpoint",
        "write a running container into images, with CRIU",
        options=lambda: (
            *_criu(),
            Option("leave-running", "let the container run afterwards; otherwise it is deleted", FLAG),
            Option("pre-dump", "write only the memory, and let the container run", FLAG),
            Option("parent-path", "images of a pre-dump, relative to those to be made", metavar="DIR"),
            Option("tcp-skip-in-flight", "skip TCP connections that are being made", FLAG),
            Option("link-remap", "allow open files without a name", FLAG),
            Option("page-server", "send memory there", metavar="ADDRESS:PORT"),
            Option("status-fd", "write to this descriptor when lazy pages are ready", metavar="FD"),
        ),
    ),
    Verb(
        "restore",
        "make a container from images, with CRIU",
        options=lambda: (
            *_criu(),
            _BUNDLE,
            Option("console-socket", "send the terminal's master to this AF_UNIX socket", metavar="PATH"),
            Option("pid-file", "write the process id of the container's init to FILE", metavar="FILE"),
            Option("no-pivot", "accepted without effect, as with runc: CRIU changes the root", FLAG),
            Option("detach", "return as soon as it runs", FLAG, short="d"),
            Option("no-subreaper", "do not adopt orphaned processes of the container", FLAG),
            Option("tcp-close", "close the TCP connections that were open", FLAG),
            Option("lsm-profile", "use this LSM label instead of the saved one", metavar="TYPE:NAME"),
            Option("lsm-mount-context", "use this mount context instead of the saved one", metavar="CONTEXT"),
        ),
        details="""\
Give the bundle from which the saved container was created. The hooks prestart and
createRuntime are run when the namespaces exist.""",
    ),
    Verb(
        "spec",
        "write a config.json to start from",
        usage="",
        arguments=(0, 0),
        options=lambda: (
            Option("bundle", "write it into DIR (default: here)", short="b", metavar="DIR"),
            Option("rootfs-from", "make rootfs from this static busybox: a path, or busybox", metavar="FILE"),
            Option("rootless", "write it for the calling user, who need not be root", FLAG),
        ),
        details="""\
The configuration runs `sh` on a terminal in the read-only root filesystem `rootfs`
beside it. An existing config.json is left alone.""",
    ),
    Verb(
        "validate",
        "check config.json and list every error in it",
        usage="[PATH...]",
        arguments=(0, 1 << 20),
        options=lambda: (
            _BUNDLE,
            Option("process", "check process documents, as exec --process takes them", FLAG, short="p"),
            Option("json", "print all findings as JSON, with pointer, line and column", FLAG),
        ),
        details="""\
PATH is a bundle, a configuration, or - for standard input. Every error is listed with
its place in the file and the clause; notes say what is valid and probably not meant: an
unknown member, a program that is not there. Exits with 1 if there is an error. Changes
nothing, and needs no privileges.""",
    ),
    Verb(
        "plan",
        "print the steps that create would take",
        usage="",
        arguments=(0, 0),
        options=lambda: (
            _BUNDLE,
            Option(
                "format",
                "print a table for people, or json",
                short="f",
                default="text",
                metavar="FORMAT",
                choices=("text", "json"),
            ),
            Option(
                "diff", "print how the plan differs from that of OTHER: a bundle, or a config.json", metavar="OTHER"
            ),
        ),
        details="""\
Each line has a step, the element of config.json that asks for it, and the clause of the
runtime-spec. The sections are those of the lifecycle. Changes nothing, and needs no
privileges.""",
    ),
    Verb(
        "explain",
        "explain a clause of the runtime-spec, a property of config.json, or a word",
        usage="CLAUSE|POINTER|WORD...",
        arguments=(1, 100),
        options=lambda: (
            Option("spec", "quote the specification from this clone of it (default: $PYRUNTIME_SPEC)", metavar="DIR"),
        ),
        details="""\
CLAUSE is what errors and plans name: a section, like config.md#mounts, or one of its
clauses, config.md#mounts/listed-order. POINTER is a place in config.json, like
/mounts/3/options. The output has what the runtime-spec requires, in other words, what
pyruntime does, and the code and the tests for it. Any other word, like seccomp or
CAP_NET_ADMIN, is searched for in all of these.""",
    ),
    Verb(
        "timeline",
        "print what a trace of --trace holds: who did what, when",
        usage="FILE",
        options=lambda: (Option("svg", "print it as a picture (SVG)", FLAG),),
        details="""\
FILE was written by `--trace FILE` of any verb, - is standard input. Each line has when
an event began, what it took, the process, what was done, and the element of config.json
that asks for it. Perfetto (ui.perfetto.dev) and chrome://tracing open the same file.""",
    ),
    Verb(
        "features",
        "print what pyruntime supports, as JSON",
        usage="",
        arguments=(0, 0),
        details="""\
The output is the features structure of the runtime-spec. Callers read from it which
properties of config.json and which mount options they may use.""",
    ),
    Verb(
        "doctor",
        "print what this host can do for containers, and what it lacks",
        usage="",
        arguments=(0, 0),
        options=lambda: (Option("json", "print it as JSON", FLAG),),
        details="""\
Checks kernel, namespaces, ids, cgroups, security modules and programs, for the user who
calls. For whatever is missing it prints the consequence and a remedy. Exits with 1 if
containers cannot run. Changes nothing.""",
    ),
    Verb(
        "sandbox",
        "run a program that is not trusted, and leave nothing of it",
        usage="COMMAND [ARGUMENT...]",
        arguments=(1, 1 << 20),
        options=lambda: (
            Option("rootfs", "root filesystem, read-only (default: this host's software)", metavar="DIR"),
            Option("image", "take the root filesystem from an image, oci:LAYOUT:TAG", metavar="IMAGE"),
            Option("memory", "memory that it may use", default="256M", metavar="SIZE"),
            Option("cpus", "processors that it may use at a time", default="1", metavar="N"),
            Option("pids", "processes and threads at a time", default="64", metavar="N"),
            Option("disk", "size of /work, /tmp and /dev/shm, each", default="64M", metavar="SIZE"),
            Option("timeout", "kill it after so many seconds", metavar="SECONDS"),
            Option("output-limit", "with --json: kill it when it writes more", default="1M", metavar="SIZE"),
            Option("network", "join this network namespace (default: a new one without a network)", metavar="PATH"),
            Option("user", "run it as this user of the root filesystem", short="u", default="nobody", metavar="USER"),
            Option("env", "add NAME=VALUE to the environment", LIST, short="e", metavar="NAME=VALUE"),
            Option("ro", "show SOURCE read-only at DESTINATION", LIST, metavar="SOURCE[:DESTINATION]"),
            Option("rw", "show SOURCE at DESTINATION, to be written to", LIST, metavar="SOURCE[:DESTINATION]"),
            Option("hide", "show nothing at PATH", LIST, metavar="PATH"),
            Option("cwd", "working directory (default: /work, which is empty)", metavar="DIR"),
            Option("best-effort", "continue without a limit that cannot be set", FLAG),
            Option("json", "print the result with what the program wrote as JSON", FLAG),
        ),
        details="""\
The program has no network and no privileges, sees only the software of this host, and
has a limit for each resource. Exits with the status of the program, 128+N when signal N
ended it, 124 after the timeout, 137 when it ran out of memory, and 125 when it could not
be run. With --json the status is 0 whatever the program did.""",
        greedy=True,
    ),
    Verb("help", "show help on pyruntime or on one verb", usage="[VERB]", arguments=(0, 1)),
)

VERBS = {verb.name: verb for verb in _VERBS}


def options_of(verb: Verb) -> tuple[Option, ...]:
    """Return the options that may follow `verb`, --help among them."""
    return (*verb.options, _HELP)
