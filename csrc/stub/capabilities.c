/* Capabilities of the calling process: the five sets of config.md#linux-process (capabilities(7)). */
#include "capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "stub.h"

/* All but the steps return 0 or -errno. */

int set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(effective >> (32 * i));
        data[i].permitted = (uint32_t)(permitted >> (32 * i));
        data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
    }
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int pyr_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    *effective = data[0].effective | (uint64_t)data[1].effective << 32;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    *inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

/* Drops from the bounding set all capabilities of this kernel that are not in `keep`. */
static int drop_from_bounding(uint64_t keep) {
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (keep >> capability & 1 || prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
            continue;
        int error = errno;
        int held = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
        if (held < 0)
            break; /* beyond the last capability of this kernel */
        /* Without CAP_SETPCAP there may be nothing to drop. */
        if (held)
            return -error;
    }
    return 0;
}

int do_bounding(struct stub *stub, const struct step *step) {
    /* The capabilities survive the change of the user only with this; OP_CAPSET reduces them right after. */
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        return failed(stub, "prctl(PR_SET_KEEPCAPS)");
    return result_of(stub, "prctl(PR_CAPBSET_DROP)", drop_from_bounding(step->value[VALUE_KEEP]));
}

int do_capset(struct stub *stub, const struct step *step) {
    const uint64_t *value = step->value;
    int answer = set_capabilities(value[VALUE_EFFECTIVE], value[VALUE_PERMITTED] | value[VALUE_UNTIL_EXEC],
                                  value[VALUE_INHERITABLE]);
    if (answer < 0)
        return result_of(stub, "capset", answer);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return failed(stub, "prctl(PR_CAP_AMBIENT_CLEAR_ALL)");
    for (unsigned long number = 0; number < 64; number++)
        if (value[VALUE_AMBIENT] >> number & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0) {
            snprintf(stub->text, sizeof stub->text, "capability %lu", number);
            return failed(stub, "prctl(PR_CAP_AMBIENT_RAISE)");
        }
    return 0;
}
