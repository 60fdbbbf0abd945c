/* The interpreter: runs an array of steps in order and stops at the first that fails. */
#include "stub.h"

static int (*const operations[])(struct stub *, const struct step *) = {
    [OP_PROPAGATION] = do_propagation, [OP_ROOT] = do_root,
    [OP_MOUNT] = do_mount,             [OP_BIND] = do_bind,
    [OP_BIND_INSIDE] = do_bind_inside, [OP_REMOUNT] = do_remount,
    [OP_SETATTR] = do_setattr,         [OP_MKDIR] = do_mkdir,
    [OP_SYMLINK] = do_symlink,         [OP_MKNOD] = do_mknod,
    [OP_CONSOLE] = do_console,         [OP_MASK] = do_mask,
    [OP_READONLY] = do_readonly,       [OP_SYSCTL] = do_sysctl,
    [OP_HOSTNAME] = do_hostname,       [OP_DOMAINNAME] = do_domainname,
    [OP_LOOPBACK] = do_loopback,       [OP_PIVOT_ROOT] = do_pivot_root,
    [OP_MOVE_ROOT] = do_move_root,     [OP_CHROOT] = do_chroot,
    [OP_HERE] = do_here,               [OP_VERIFY] = do_verify,
};

/* Returns `count` when all went well, otherwise the index of the step that failed, with errno and stub->call set. */
int pyr_run(struct stub *stub, const struct step *steps, uint32_t count) {
    stub->steps = steps;
    stub->wrong = NULL;
    for (uint32_t i = 0; i < count; i++) {
        stub->call = "";
        stub->text[0] = '\0';
        if (operations[steps[i].op](stub, &steps[i]) < 0 && !(steps[i].flags & STEP_OPTIONAL))
            return stub->wrong ? (int)(stub->wrong - steps) : (int)i;
    }
    return (int)count;
}
