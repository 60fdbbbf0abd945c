"""What a mark can name: a section of runtime-spec 1.3.0, as the anchor it has on the web, or a clause in it.

A mark is a claim: the test fails when pyruntime does not do what the clause says.
"""

from pyruntime.spec.clauses import catalogue

# File -> anchors.
HEADINGS = {
    "bundle.md": """
        filesystem-bundle container-format
    """,
    "runtime.md": """
        runtime-and-lifecycle scope-of-a-container state lifecycle errors warnings operations query-state create
        start kill delete hooks
    """,
    "runtime-linux.md": """
        linux-runtime file-descriptors dev-symbolic-links
    """,
    "config.md": """
        configuration specification-version root mounts linux-mount-options posix-platform-mounts process
        posix-process linux-process zos-process user posix-platform-user windows-user hostname domainname
        platform-specific-configuration posix-platform-hooks prestart createruntime-hooks createcontainer-hooks
        startcontainer-hooks poststart poststop annotations extensibility valid-values
        configuration-schema-example
    """,
    "config-linux.md": """
        linux-container-configuration default-filesystems namespaces user-namespace-mappings
        offset-for-time-namespace devices default-devices network-devices
        namespace-lifecycle-and-container-termination
        moving-a-device-with-a-renamed-interface-inside-the-container control-groups cgroups-path
        cgroup-ownership allowed-device-list memory cpu block-io huge-page-limits network pids rdma unified
        intelrdt memory-policy sysctl seccomp the-container-process-state rootfs-mount-propagation masked-paths
        readonly-paths mount-label personality
    """,
    "features.md": """
        features-structure specification-version hooks mount-options platform-specific-features annotations
        unsafe-annotations-in-configjson
    """,
    "features-linux.md": """
        linux-features-structure namespaces capabilities cgroup seccomp apparmor selinux memorypolicy intel-rdt
        mountextensions netdevices
    """,
}

SECTIONS = frozenset(f"{file}#{anchor}" for file, anchors in HEADINGS.items() for anchor in anchors.split())
CLAUSES = SECTIONS | catalogue().keys()
