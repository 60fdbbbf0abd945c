/* Loading and attaching the device filter of a cgroup v2: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE. */
#include "devices_bpf.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The name by which a later call finds the filter to replace. */
static const char filter_name[] = "pyruntime_dev";

/* The kernel's limit of programs attached to one cgroup. */
enum { MAX_ATTACHED = 64 };

static int sys_bpf(enum bpf_cmd command, union bpf_attr *attr) {
    return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static uint64_t pointer(const void *address) { return (uint64_t)(uintptr_t)address; }

static int load(const void *instructions, uint32_t count, char *log, uint32_t log_size) {
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = pointer(instructions);
    attr.insn_cnt = count;
    attr.license = pointer("Apache-2.0");
    memcpy(attr.prog_name, filter_name, sizeof filter_name);
    int program = sys_bpf(BPF_PROG_LOAD, &attr);
    if (program < 0 && errno == EPERM) {
        /* Before Linux 5.11 the program counts as locked memory. */
        struct rlimit old, unlimited = {RLIM_INFINITY, RLIM_INFINITY};
        if (getrlimit(RLIMIT_MEMLOCK, &old) == 0 && setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0) {
            program = sys_bpf(BPF_PROG_LOAD, &attr);
            int saved = errno;
            setrlimit(RLIMIT_MEMLOCK, &old);
            errno = saved;
        }
    }
    if (program < 0 && errno == EINVAL && log_size) {
        /* Only after a failure, because the verifier's log makes loading slower. */
        attr.log_level = 1;
        attr.log_buf = pointer(log);
        attr.log_size = log_size;
        program = sys_bpf(BPF_PROG_LOAD, &attr);
    }
    return program;
}

static int is_ours(int program) {
    struct bpf_prog_info info;
    union bpf_attr attr;
    memset(&info, 0, sizeof info);
    memset(&attr, 0, sizeof attr);
    attr.info.bpf_fd = (uint32_t)program;
    attr.info.info_len = sizeof info;
    attr.info.info = pointer(&info);
    if (sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) < 0)
        return -1;
    return strcmp(info.name, filter_name) == 0;
}

/* Stores descriptors of the filters that earlier calls attached; returns how many, or -1. */
static int find_ours(int cgroup, int found[MAX_ATTACHED]) {
    uint32_t ids[MAX_ATTACHED];
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.query.target_fd = (uint32_t)cgroup;
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_ids = pointer(ids);
    attr.query.prog_cnt = MAX_ATTACHED;
    if (sys_bpf(BPF_PROG_QUERY, &attr) < 0)
        return -1;
    uint32_t attached = attr.query.prog_cnt;
    int ours = 0;
    for (uint32_t index = 0; index < attached; index++) {
        memset(&attr, 0, sizeof attr);
        attr.prog_id = ids[index];
        int program = sys_bpf(BPF_PROG_GET_FD_BY_ID, &attr);
        if (program < 0)
            continue; /* removed meanwhile, or hidden by a security module: it is not ours */
        if (is_ours(program) == 1)
            found[ours++] = program;
        else
            close(program);
    }
    return ours;
}

static int attach(int cgroup, int program, int replaced) {
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    if (replaced >= 0) {
        attr.attach_flags |= BPF_F_REPLACE;
        attr.replace_bpf_fd = (uint32_t)replaced;
    }
    return sys_bpf(BPF_PROG_ATTACH, &attr);
}

static int detach(int cgroup, int program) {
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    return sys_bpf(BPF_PROG_DETACH, &attr);
}

int pyr_bpf_device_attach(int cgroup, const void *instructions, uint32_t count, const char **call, char *log,
                          uint32_t log_size) {
    int ours[MAX_ATTACHED];
    if (log_size)
        log[0] = '\0';
    *call = "BPF_PROG_LOAD";
    int program = load(instructions, count, log, log_size);
    if (program < 0)
        return -errno;
    *call = "BPF_PROG_QUERY";
    int found = find_ours(cgroup, ours);
    int result = found < 0 ? -errno : 0;
    if (result == 0) {
        *call = "BPF_PROG_ATTACH";
        /* At every moment one of both filters is in force. */
        if (attach(cgroup, program, found ? ours[0] : -1) < 0)
            result = -errno;
        for (int index = 1; result == 0 && index < found; index++) {
            *call = "BPF_PROG_DETACH";
            if (detach(cgroup, ours[index]) < 0 && errno != ENOENT)
                result = -errno;
        }
    }
    for (int index = 0; index < found; index++)
        close(ours[index]);
    close(program);
    return result;
}
