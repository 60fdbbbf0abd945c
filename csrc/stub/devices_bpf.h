/* The device filter of a cgroup v2. */
#ifndef PYRUNTIME_DEVICES_BPF_H
#define PYRUNTIME_DEVICES_BPF_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

/* Makes the eBPF program of `count` instructions (struct bpf_insn, 8 bytes each) at `instructions` the device filter
 * of the cgroup, in place of the one that an earlier call attached; filters of others, systemd's for example, stay.
 * Returns 0 or a negative errno; `call` then names the bpf(2) command, `log` what the verifier said. */
int pyr_bpf_device_attach(int cgroup, const void *instructions, uint32_t count, const char **call, char *log,
                          uint32_t log_size);
#endif
