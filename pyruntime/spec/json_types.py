"""The shapes of config.json and state.json, for type checkers only: never imported at run time.

One file, because it is read beside one text: names and order are those of config.md and config-linux.md. All members
are optional here; the schema defines which members a validated document always has.
"""

from typing import Any, Literal, TypedDict


class Root(TypedDict, total=False):
    """config.md#root."""

    path: str
    readonly: bool


class IDMapping(TypedDict):
    """config-linux.md#user-namespace-mappings."""

    containerID: int
    hostID: int
    size: int


class Mount(TypedDict, total=False):
    """config.md#mounts."""

    destination: str
    source: str
    options: list[str]
    type: str
    uidMappings: list[IDMapping]
    gidMappings: list[IDMapping]


class ConsoleSize(TypedDict):
    """config.md#process, in characters."""

    height: int
    width: int


class Rlimit(TypedDict):
    """config.md#posix-process."""

    type: str
    soft: int
    hard: int


class User(TypedDict, total=False):
    """config.md#posix-platform-user."""

    uid: int
    gid: int
    umask: int
    additionalGids: list[int]


class Capabilities(TypedDict, total=False):
    """config.md#linux-process."""

    effective: list[str]
    bounding: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]


class Scheduler(TypedDict, total=False):
    """config.md#linux-process; runtime, deadline and period in nanoseconds."""

    policy: str
    nice: int
    priority: int
    flags: list[str]
    runtime: int
    deadline: int
    period: int


# "class" is a word of Python, so this one is written as a call.
IOPriority = TypedDict("IOPriority", {"class": str, "priority": int})


class ExecCPUAffinity(TypedDict, total=False):
    """config.md#linux-process."""

    initial: str
    final: str


class Process(TypedDict, total=False):
    """config.md#process."""

    terminal: bool
    consoleSize: ConsoleSize
    cwd: str
    env: list[str]
    args: list[str]
    rlimits: list[Rlimit]
    apparmorProfile: str
    capabilities: Capabilities
    noNewPrivileges: bool
    oomScoreAdj: int
    scheduler: Scheduler
    selinuxLabel: str
    ioPriority: IOPriority
    execCPUAffinity: ExecCPUAffinity
    user: User


class Hook(TypedDict, total=False):
    """config.md#posix-platform-hooks; timeout in seconds."""

    path: str
    args: list[str]
    env: list[str]
    timeout: int


class Hooks(TypedDict, total=False):
    """config.md#posix-platform-hooks."""

    prestart: list[Hook]
    createRuntime: list[Hook]
    createContainer: list[Hook]
    startContainer: list[Hook]
    poststart: list[Hook]
    poststop: list[Hook]


NamespaceType = Literal["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]


class Namespace(TypedDict, total=False):
    """config-linux.md#namespaces."""

    type: NamespaceType
    path: str


class TimeOffset(TypedDict, total=False):
    """config-linux.md#offset-for-time-namespace."""

    secs: int
    nanosecs: int


class Device(TypedDict, total=False):
    """config-linux.md#devices."""

    type: Literal["c", "b", "u", "p"]
    path: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class NetDevice(TypedDict, total=False):
    """config-linux.md#network-devices."""

    name: str


class DeviceRule(TypedDict, total=False):
    """config-linux.md#allowed-device-list."""

    allow: bool
    type: Literal["a", "c", "b"]
    major: int
    minor: int
    access: str


class Memory(TypedDict, total=False):
    """config-linux.md#memory; limits in bytes, -1 for unlimited."""

    limit: int
    reservation: int
    swap: int
    kernel: int
    kernelTCP: int
    swappiness: int
    disableOOMKiller: bool
    useHierarchy: bool
    checkBeforeUpdate: bool


class CPU(TypedDict, total=False):
    """config-linux.md#cpu; times in microseconds."""

    shares: int
    quota: int
    burst: int
    period: int
    realtimeRuntime: int
    realtimePeriod: int
    cpus: str
    mems: str
    idle: int


class WeightDevice(TypedDict, total=False):
    """config-linux.md#block-io."""

    major: int
    minor: int
    weight: int
    leafWeight: int


class ThrottleDevice(TypedDict):
    """config-linux.md#block-io; rate in bytes or operations a second."""

    major: int
    minor: int
    rate: int


class BlockIO(TypedDict, total=False):
    """config-linux.md#block-io."""

    weight: int
    leafWeight: int
    weightDevice: list[WeightDevice]
    throttleReadBpsDevice: list[ThrottleDevice]
    throttleWriteBpsDevice: list[ThrottleDevice]
    throttleReadIOPSDevice: list[ThrottleDevice]
    throttleWriteIOPSDevice: list[ThrottleDevice]


class HugepageLimit(TypedDict):
    """config-linux.md#huge-page-limits; limit in bytes."""

    pageSize: str
    limit: int


class InterfacePriority(TypedDict):
    """config-linux.md#network."""

    name: str
    priority: int


class Network(TypedDict, total=False):
    """config-linux.md#network."""

    classID: int
    priorities: list[InterfacePriority]


class Pids(TypedDict, total=False):
    """config-linux.md#pids."""

    limit: int


class Rdma(TypedDict, total=False):
    """config-linux.md#rdma."""

    hcaHandles: int
    hcaObjects: int


class Resources(TypedDict, total=False):
    """config-linux.md#control-groups."""

    devices: list[DeviceRule]
    memory: Memory
    cpu: CPU
    blockIO: BlockIO
    hugepageLimits: list[HugepageLimit]
    network: Network
    pids: Pids
    rdma: dict[str, Rdma]
    unified: dict[str, str]


class IntelRdt(TypedDict, total=False):
    """config-linux.md#intelrdt."""

    closID: str
    l3CacheSchema: str
    memBwSchema: str
    schemata: list[str]
    enableMonitoring: bool


class MemoryPolicy(TypedDict, total=False):
    """config-linux.md#memory-policy."""

    mode: str
    nodes: str
    flags: list[str]


class SyscallArg(TypedDict, total=False):
    """config-linux.md#seccomp."""

    index: int
    value: int
    valueTwo: int
    op: str


class Syscall(TypedDict, total=False):
    """config-linux.md#seccomp."""

    names: list[str]
    action: str
    errnoRet: int
    args: list[SyscallArg]


class Seccomp(TypedDict, total=False):
    """config-linux.md#seccomp."""

    defaultAction: str
    defaultErrnoRet: int
    architectures: list[str]
    flags: list[str]
    listenerPath: str
    listenerMetadata: str
    syscalls: list[Syscall]


class Personality(TypedDict, total=False):
    """config-linux.md#personality."""

    domain: Literal["LINUX", "LINUX32"]
    flags: list[str]


class Linux(TypedDict, total=False):
    """config-linux.md."""

    namespaces: list[Namespace]
    uidMappings: list[IDMapping]
    gidMappings: list[IDMapping]
    timeOffsets: dict[str, TimeOffset]
    devices: list[Device]
    netDevices: dict[str, NetDevice]
    cgroupsPath: str
    resources: Resources
    intelRdt: IntelRdt
    memoryPolicy: MemoryPolicy
    sysctl: dict[str, str]
    seccomp: Seccomp
    rootfsPropagation: str
    maskedPaths: list[str]
    readonlyPaths: list[str]
    mountLabel: str
    personality: Personality


class Config(TypedDict, total=False):
    """config.md."""

    ociVersion: str
    root: Root
    mounts: list[Mount]
    process: Process
    hostname: str
    domainname: str
    hooks: Hooks
    annotations: dict[str, str]
    linux: Linux


class State(TypedDict, total=False):
    """runtime.md#state."""

    ociVersion: str
    id: str
    status: str
    pid: int
    bundle: str
    annotations: dict[str, str]


class RootMount(TypedDict):
    """Where the root filesystem was mounted over itself (engine/root_mount.py)."""

    path: str
    namespace: str
    inode: int
    below: int
    root: list[int]


class _Later(TypedDict, total=False):
    """Members that a state gets when there is a reason."""

    copies_files: bool


class StateFile(_Later):
    """What the store keeps of a container: the state of runtime.md#state, and what the verbs after create need."""

    ociVersion: str
    id: str
    status: str
    pid: int
    bundle: str
    annotations: dict[str, str]
    version: int
    start_time: int
    created: str
    rootfs: str
    root_mount: RootMount | None
    owner: int
    process: bool
    cgroup: dict[str, Any]
    intel_rdt: dict[str, Any]
    keyring: str | bool
    hooks: Hooks
