"""The headings of runtime-spec 1.3.0 that a clause can name, as the anchors they have on the web."""

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
}

CLAUSES = frozenset(f"{file}#{anchor}" for file, anchors in HEADINGS.items() for anchor in anchors.split())
