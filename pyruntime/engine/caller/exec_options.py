"""The options of the caller of `exec` for the process."""

# Member of /process -> the attribute of ExecOptions that replaces it or adds to it. The first match counts.
BY_MEMBER = {
    "args": "args",
    "cwd": "cwd",
    "user/additionalGids": "additional_gids",
    "user": "user",
    "env": "env",
    "apparmorProfile": "apparmor",
    "selinuxLabel": "process_label",
    "capabilities": "capabilities",
}


def from_options(options: "ExecOptions", pointer: str) -> bool:
    """Tell whether the value at `pointer`, a JSON pointer into the process, comes from the options."""
    member = next((member for member in BY_MEMBER if f"{pointer}/".startswith(f"/{member}/")), None)
    return bool(member and getattr(options, BY_MEMBER[member]))


class ExecOptions:
    """The caller's options for the process.

    args            its arguments; empty with `process_file`
    process_file    a JSON document with the whole process, or None: the container's own process is the template
    cwd, user, apparmor, process_label   replace values of the template; None keeps them. `user` is "UID[:GID]"
    env, additional_gids, capabilities   are added to the template's
    no_new_privs    replaces the template's; None keeps it
    terminal        give it a pseudoterminal
    detach          return when it runs
    console_socket  path of the socket that receives the terminal's master, or None
    pidfd_socket    path of the socket that receives a pidfd of it, or None
    pid_file        where to write its pid, or None
    preserve_fds    how many descriptors from 3 on it inherits
    cgroups         "[CONTROLLER,…:]PATH" below the container's cgroup
    ignore_paused   allow a paused container; the process then runs after resume
    """

    def __init__(
        self,
        args: "list[str]",
        *,
        process_file: str | None = None,
        cwd: str | None = None,
        user: str | None = None,
        apparmor: str | None = None,
        process_label: str | None = None,
        env: "tuple[str, ...]" = (),
        additional_gids: "tuple[int, ...]" = (),
        capabilities: "tuple[str, ...]" = (),
        no_new_privs: bool | None = None,
        terminal: bool = False,
        detach: bool = False,
        console_socket: str | None = None,
        pid_file: str | None = None,
        pidfd_socket: str | None = None,
        preserve_fds: int = 0,
        cgroups: "tuple[str, ...]" = (),
        ignore_paused: bool = False,
    ) -> None:
        self.args = args
        self.process_file = process_file
        self.cwd = cwd
        self.user = user
        self.apparmor = apparmor
        self.process_label = process_label
        self.env = env
        self.additional_gids = additional_gids
        self.capabilities = capabilities
        self.no_new_privs = no_new_privs
        self.terminal = terminal
        self.detach = detach
        self.console_socket = console_socket
        self.pid_file = pid_file
        self.pidfd_socket = pidfd_socket
        self.preserve_fds = preserve_fds
        self.cgroups = cgroups
        self.ignore_paused = ignore_paused
