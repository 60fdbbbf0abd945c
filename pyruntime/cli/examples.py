"""Examples and exit statuses of each verb, for help and man pages. Nothing else imports this."""

# Verb -> (command without the program's name, what it does).
EXAMPLES: "dict[str, tuple[tuple[str, str], ...]]" = {
    "create": (("create --bundle /bundles/web web", "Create a container; its program runs at start."),),
    "start": (("start web", "Run the program of a created container."),),
    "run": (
        ("run --bundle /bundles/web web", "Run a container in the foreground; delete it at its end."),
        ("run --trace run.json web", "Write a timeline for `pyruntime timeline`."),
        ("run --detach --pid-file /run/web.pid web", "Run the bundle of this directory in the background."),
    ),
    "state": (("state web", "Print the state as JSON."),),
    "kill": (
        ("kill web", "Ask the container's first process to end (SIGTERM)."),
        ("kill web KILL", "End the container at once."),
    ),
    "exec": (
        ("exec web ps", "Run one more program in a container."),
        ("exec --tty --env TERM=xterm web sh", "Run a shell on a terminal."),
        ("exec --process process.json web", "Run the process that a file describes."),
    ),
    "delete": (
        ("delete web", "Delete a stopped container."),
        ("delete --force web", "Kill it first; succeed if it does not exist."),
    ),
    "pause": (("pause web", "Freeze all processes of a container."),),
    "resume": (("resume web", "Thaw them."),),
    "list": (
        ("list", "Print a table of the containers."),
        ("list --quiet", "Print their ids alone."),
    ),
    "ps": (("ps web", "Show the processes of a container."), ("ps --format json web", "Print their pids as JSON.")),
    "events": (
        ("events --stats web", "Print the resource usage of a container once."),
        ("events --interval 1s web", "Print it each second, and each out-of-memory event."),
    ),
    "update": (
        ("update --memory 64m --pids-limit 100 web", "Change two limits."),
        ("update --resources limits.json web", "Take all limits from a file."),
    ),
    "checkpoint": (("checkpoint --image-path /var/tmp/web web", "Write a container into images, and delete it."),),
    "restore": (
        ("restore --image-path /var/tmp/web --bundle /bundles/web --detach web", "Make it again from the images."),
    ),
    "spec": (
        ("spec", "Write a config.json that runs sh."),
        ("spec --rootfs-from busybox", "Make a whole bundle, with a root filesystem of busybox."),
        ("spec --rootless", "Write one for an ordinary user."),
    ),
    "validate": (
        ("validate", "Check the bundle in this directory."),
        ("validate --json /bundles/web/config.json", "Print the findings as JSON."),
    ),
    "plan": (
        ("plan --bundle /bundles/web", "Print the steps of create and start."),
        ("plan --bundle /bundles/web --diff /bundles/old", "Print which steps differ from those of another bundle."),
    ),
    "sandbox": (
        ("sandbox python3 --version", "Run a program without network, files and privileges."),
        ("sandbox --memory 64M --timeout 5 --ro /srv/data sh job.sh", "With other limits, and a directory to read."),
        ("sandbox --json --output-limit 64K ./program", "Print the result as JSON."),
    ),
    "explain": (
        ("explain config.md#mounts", "Explain a section of the specification."),
        ("explain /process/capabilities", "Explain a property of config.json."),
        ("explain seccomp", "Find the clauses and properties for a word."),
    ),
    "timeline": (
        ("timeline run.json", "Print what `run --trace run.json web` has done, a line for each event."),
        ("timeline --svg run.json", "Print a picture of it."),
    ),
    "doctor": (("doctor", "Print what this host can do, and what it lacks."),),
    "features": (("features", "Print what pyruntime supports, as JSON."),),
    "help": (("help run", "Show the help on run."),),
}

_FAILURE = ("1", "The command failed; the message says where and why.")
_PROGRAM = ("N", "The container's process exited with N, or signal N-128 ended it.")
_SUCCESS = ("0", "The command succeeded.")

# Verb -> (status, when); _USUAL for the others.
_USUAL = (_SUCCESS, _FAILURE)
_STATUSES: "dict[str, tuple[tuple[str, str], ...]]" = {
    "run": (("0", "With --detach: the process runs."), _PROGRAM, _FAILURE),
    "exec": (("0", "With --detach: the process runs."), _PROGRAM, ("255", "The process could not be run.")),
    "restore": (("0", "With --detach: the process runs."), _PROGRAM, _FAILURE),
    "validate": (("0", "Every document is valid."), ("1", "One is not, or cannot be read.")),
    "sandbox": (
        ("N", "The program exited with N, or signal N-128 ended it; 137 also where it ran out of memory."),
        ("124", "The timeout was over."),
        ("125", "It could not be run."),
    ),
    "doctor": (("0", "Containers can run."), ("1", "Containers cannot run.")),
}


def statuses(verb: str) -> "tuple[tuple[str, str], ...]":
    """Return (exit status, when) of a verb."""
    return _STATUSES.get(verb, _USUAL)
