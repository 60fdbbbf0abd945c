"""The input of every module of the plan: the configuration, the host's facts, and what follows from both."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.cgroup.cgroup import CgroupPlan
    from pyruntime.plan.facts import Facts
    from pyruntime.plan.step import Step
    from pyruntime.spec.json_types import Config, User


class Context:
    """The input of a plan.

    config         the validated configuration
    facts          what the host is and allows (plan/facts.py)
    bundle         absolute path of the bundle
    container_id   the container's id
    no_pivot       change the root without pivot_root(2)
    new_keyring    give the container a session keyring of its own
    keyring        its name, which nobody can guess; "" where nobody is to join it later
    systemd_cgroup let systemd make the cgroup
    keep_groups    the process keeps the caller's supplementary groups (plan/annotations.py)
    landlock       the process is restricted with Landlock (plan/annotations.py)
    cgroup         the cgroup's part of the plan
    destinations   of /mounts, as absolute paths; set by plan/mounts.py
    late           steps that must wait until everything is in place: read-only filesystems
    warnings       what the spec wants logged and not refused (runtime.md#warnings)
    """

    __slots__ = (
        "bundle",
        "cgroup",
        "config",
        "container_id",
        "destinations",
        "facts",
        "keep_groups",
        "keyring",
        "landlock",
        "late",
        "namespaces",
        "new_keyring",
        "no_pivot",
        "systemd_cgroup",
        "warnings",
    )

    def __init__(
        self,
        config: "Config",
        facts: "Facts",
        bundle: str,
        container_id: str,
        *,
        no_pivot: bool = False,
        new_keyring: bool = True,
        keyring: str = "",
        systemd_cgroup: bool = False,
    ) -> None:
        self.config = config
        self.facts = facts
        self.bundle = bundle
        self.container_id = container_id
        self.no_pivot = no_pivot
        self.new_keyring = new_keyring
        self.keyring = keyring
        self.systemd_cgroup = systemd_cgroup
        self.keep_groups = False
        self.landlock = False
        self.destinations: list[str] = []
        self.late: list[Step] = []
        self.warnings: list[str] = []
        self.cgroup: CgroupPlan  # compiled first, by compile_plan
        linux = config.get("linux") or {}
        self.namespaces: dict[str, str] = {
            entry["type"]: entry.get("path") or "" for entry in linux.get("namespaces") or ()
        }

    def new_namespace(self, kind: str) -> bool:
        """Tell whether the container gets a new namespace of type `kind` ("mount", "network", …)."""
        return self.namespaces.get(kind) == ""

    @property
    def user_namespace(self) -> bool:
        """Tell whether the container runs in a user namespace other than the runtime's."""
        return "user" in self.namespaces

    @property
    def user(self) -> "User":
        """Return process.user; root where the configuration names none."""
        return (self.config.get("process") or {}).get("user") or {"uid": 0, "gid": 0}

    @property
    def foreign_mounts(self) -> bool:
        """Tell whether the host must open its paths: the child may have no access, or would find other files."""
        return self.user_namespace or bool(self.namespaces.get("mount"))

    @property
    def shares_mounts(self) -> bool:
        """Tell whether mounts may propagate to the host: rootfsPropagation says shared."""
        linux = self.config.get("linux") or {}
        return linux.get("rootfsPropagation") in ("shared", "rshared")

    @property
    def can_mknod(self) -> bool:
        """Tell whether device nodes can be made: the kernel lets only the initial user namespace do it."""
        return not self.user_namespace and self.facts.holds("CAP_MKNOD") and not self.facts.in_user_namespace

    @property
    def available_capabilities(self) -> int:
        """Return the capabilities that the container's process can get, as a bit mask: all in a new user namespace."""
        return self.facts.known_capabilities & (~0 if self.user_namespace else self.facts.capabilities)
