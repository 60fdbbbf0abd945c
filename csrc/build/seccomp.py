"""Builds the extension module pyruntime._seccomp: libseccomp for Python, loaded only where a filter is compiled."""

from cffi import FFI

# As in seccomp.h of libseccomp 2.5.
DECLARATIONS = """
    typedef void *scmp_filter_ctx;

    struct scmp_version { unsigned int major; unsigned int minor; unsigned int micro; ...; };
    struct scmp_arg_cmp { unsigned int arg; unsigned int op; uint64_t datum_a; uint64_t datum_b; ...; };

    #define __NR_SCMP_ERROR ...
    #define SCMP_ARCH_X86_64 ...
    #define SCMP_ARCH_X32 ...
    #define SCMP_FLTATR_CTL_OPTIMIZE ...

    const struct scmp_version *seccomp_version(void);
    uint32_t seccomp_arch_resolve_name(const char *arch_name);
    uint32_t seccomp_arch_native(void);
    int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name);
    int seccomp_syscall_resolve_name(const char *name);

    scmp_filter_ctx seccomp_init(uint32_t def_action);
    void seccomp_release(scmp_filter_ctx ctx);
    int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);
    int seccomp_attr_set(scmp_filter_ctx ctx, int attr, uint32_t value);
    int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int arg_cnt,
                               const struct scmp_arg_cmp *arg_array);
    int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);
"""

ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source(
    "pyruntime._seccomp",
    "#include <seccomp.h>",
    libraries=["seccomp"],
    extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
