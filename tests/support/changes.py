"""Changes of a configuration, to be combined: each function returns one."""

# The resources of process.rlimits, without RLIMIT_ (config.md#posix-process).
LIMITS = (
    "AS",
    "CORE",
    "CPU",
    "DATA",
    "FSIZE",
    "LOCKS",
    "MEMLOCK",
    "MSGQUEUE",
    "NICE",
    "NOFILE",
    "NPROC",
    "RSS",
    "RTPRIO",
    "RTTIME",
    "SIGPENDING",
    "STACK",
)


def process(**values):
    """Set properties of /process."""
    return lambda config: config["process"].update(values)


def user(**values):
    """Set properties of /process/user."""
    return lambda config: config["process"]["user"].update(values)


def linux(**values):
    """Set properties of /linux."""
    return lambda config: config["linux"].update(values)


def resources(**values):
    """Set limits beside the device rules of the default configuration."""
    return lambda config: config["linux"].setdefault("resources", {}).update(values)


def top(**values):
    """Set properties of the whole."""
    return lambda config: config.update(values)


def without(*pointers):
    """Remove properties: without("linux/maskedPaths")."""

    def change(config):
        for pointer in pointers:
            *way, last = pointer.split("/")
            value = config
            for name in way:
                value = value[name]
            value.pop(last, None)

    return change


def writable(config):
    """The root filesystem can be written."""
    config["root"]["readonly"] = False


def mount(destination, fstype=None, source=None, *options):
    """Add a mount at the end."""

    def change(config):
        entry = {"destination": str(destination)}
        entry.update({name: str(value) for name, value in (("type", fstype), ("source", source)) if value is not None})
        if options:
            entry["options"] = list(options)
        config["mounts"].append(entry)

    return change


def bind(source, destination, *options, kind="bind"):
    """Add a bind mount at the end."""
    return mount(destination, None, source, kind, *options)


def unmount(*destinations):
    """Remove the mounts at `destinations`."""

    def change(config):
        config["mounts"] = [entry for entry in config["mounts"] if entry["destination"] not in destinations]

    return change


def namespace(kind, path=None):
    """Make or join a namespace of type `kind`, whatever was said of that type before."""

    def change(config):
        others = [entry for entry in config["linux"]["namespaces"] if entry["type"] != kind]
        entry = {"type": kind} if path is None else {"type": kind, "path": str(path)}
        config["linux"]["namespaces"] = [*others, entry]

    return change


def inherit(*kinds):
    """Share the namespaces of `kinds` with the runtime."""

    def change(config):
        linux = config["linux"]
        linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] not in kinds]
        if "uts" in kinds:
            config.pop("hostname", None)

    return change


def mapped(first=100000, size=65536):
    """Run in a new user namespace whose ids from 0 on are those of the host from `first` on."""
    entry = {"containerID": 0, "hostID": first, "size": size}

    def change(config):
        namespace("user")(config)
        config["linux"].update(uidMappings=[entry], gidMappings=[dict(entry)])

    return change


def capable(*names):
    """Give the process the capabilities `names` in all sets but the ambient one."""
    names = [f"CAP_{name}" for name in names]
    return process(capabilities=dict.fromkeys(("bounding", "effective", "permitted", "inheritable"), names))


def hook(kind, script, *, args=None, **values):
    """Add a hook that runs `script` in the shell of the host, which is also where the container has one."""

    def change(config):
        entry = {"path": "/bin/sh", "args": args or ["sh", "-c", script], **values}
        config.setdefault("hooks", {}).setdefault(kind, []).append(entry)

    return change
