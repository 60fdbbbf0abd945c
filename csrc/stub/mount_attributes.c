/* Attributes of mounts: read-only, nosuid, propagation and the like, by mount_setattr(2), or by mount(2) before Linux 5.12. */
#include <sys/vfs.h>

#include "stub.h"
#include "syscalls.h"

/* The attributes of a mount before a change by mount(2), which replaces all of them at once. */
unsigned long flags_of(int mount) {
    struct statfs status;
    if (fstatfs(mount, &status) < 0)
        return 0;
    /* The ST_* flags of statfs(2) have the values of the MS_* flags, except relatime. */
    unsigned long flags = (unsigned long)status.f_flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
    if (status.f_flags & 0x1000)
        flags |= MS_RELATIME;
    if (status.f_flags & 0x2000)
        flags |= MS_NOSYMFOLLOW;
    return flags;
}

unsigned long apply_attributes(unsigned long flags, uint64_t set, uint64_t clr) {
    static const struct {
        uint64_t attribute;
        unsigned long flag;
    } table[] = {
        {MOUNT_ATTR_RDONLY, MS_RDONLY},         {MOUNT_ATTR_NOSUID, MS_NOSUID},
        {MOUNT_ATTR_NODEV, MS_NODEV},           {MOUNT_ATTR_NOEXEC, MS_NOEXEC},
        {MOUNT_ATTR_NODIRATIME, MS_NODIRATIME}, {MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (clr & table[i].attribute)
            flags &= ~table[i].flag;
        if (set & table[i].attribute)
            flags |= table[i].flag;
    }
    if (clr & MOUNT_ATTR__ATIME) {
        flags &= ~(unsigned long)(MS_NOATIME | MS_RELATIME | MS_STRICTATIME);
        if ((set & MOUNT_ATTR__ATIME) == MOUNT_ATTR_NOATIME)
            flags |= MS_NOATIME;
        else if ((set & MOUNT_ATTR__ATIME) == MOUNT_ATTR_STRICTATIME)
            flags |= MS_STRICTATIME;
        else
            flags |= MS_RELATIME;
    }
    return flags;
}

/* Linux before 5.12 changes only attached mounts, one at a time. */
static int set_attributes_by_mount(struct stub *stub, int mounted, uint64_t set, uint64_t clr, uint64_t propagation) {
    if (set | clr) {
        unsigned long flags = apply_attributes(flags_of(mounted), set, clr);
        if (mount_on(stub, mounted, NULL, NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0)
            return failed(stub, "mount(remount)");
    }
    if (propagation && mount_on(stub, mounted, NULL, NULL, propagation, NULL) < 0)
        return failed(stub, "mount(propagation)");
    return 0;
}

/* Returns the attributes that a bind mount inherits from its source and that its options do not name. They are cleared:
 * docs/mounts.md says why. */
static uint64_t not_named(const struct step *step) {
    uint64_t all = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;
    return step->flags & STEP_NAMED_ONLY ? all & ~(step->attr_set | step->attr_clr | step->rec_set | step->rec_clr) : 0;
}

int set_attributes(struct stub *stub, int mount, const struct step *step, bool attached, bool *later) {
    *later = false;
    uint64_t rec_set = step->rec_set;
    if (step->rec_set | step->rec_clr | step->rec_propagation) {
        if (sys_mount_setattr(mount, AT_RECURSIVE, rec_set, step->rec_clr, step->rec_propagation, -1) < 0) {
            if (errno != ENOSYS || (rec_set | step->rec_clr))
                return failed(stub, "mount_setattr");
            if (!attached) {
                *later = true;
                return 0;
            }
            if (set_attributes_by_mount(stub, mount, 0, 0, step->rec_propagation | MS_REC) < 0)
                return -1;
        }
    }
    if (step->userns >= 0) {
        unsigned depth = step->flags & STEP_IDMAP_RECURSIVE ? AT_RECURSIVE : 0;
        if (sys_mount_setattr(mount, depth, MOUNT_ATTR_IDMAP, 0, 0, step->userns) < 0)
            return failed(stub, "mount_setattr(MOUNT_ATTR_IDMAP)");
    }
    uint64_t off = not_named(step);
    if (!(step->attr_set | step->attr_clr | off | step->propagation))
        return 0;
    int result = sys_mount_setattr(mount, 0, step->attr_set, step->attr_clr | off, step->propagation, -1);
    if (result < 0 && errno == EPERM && off) {
        off = 0;
        result = sys_mount_setattr(mount, 0, step->attr_set, step->attr_clr, step->propagation, -1);
    }
    if (result == 0)
        return 0;
    if (errno != ENOSYS)
        return failed(stub, "mount_setattr");
    *later = !attached;
    if (*later)
        return 0;
    if (off && set_attributes_by_mount(stub, mount, step->attr_set, step->attr_clr | off, step->propagation) == 0)
        return 0;
    if (off && errno != EPERM)
        return -1;
    return set_attributes_by_mount(stub, mount, step->attr_set, step->attr_clr, step->propagation);
}
