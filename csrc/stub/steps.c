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
    [OP_VERIFY] = do_verify,
    [OP_HERE] = do_here,               [OP_LABEL] = do_label,
    [OP_KEYRING] = do_keyring,         [OP_TERMINAL] = do_terminal,
    [OP_PERSONALITY] = do_personality, [OP_SCHED_SETATTR] = do_sched_setattr,
    [OP_STDIO] = do_stdio,             [OP_SCHED_SETAFFINITY] = do_sched_setaffinity,
    [OP_CHDIR] = do_chdir,             [OP_IOPRIO_SET] = do_ioprio_set,
    [OP_UMASK] = do_umask,             [OP_SET_MEMPOLICY] = do_set_mempolicy,
    [OP_BOUNDING] = do_bounding,       [OP_USER] = do_user,
    [OP_CAPSET] = do_capset,           [OP_NO_NEW_PRIVS] = do_no_new_privs,
    [OP_SETSID] = do_setsid,           [OP_PRLIMIT] = do_prlimit,
    [OP_OOM_SCORE_ADJ] = do_oom_score_adj,
    [OP_LANDLOCK_CREATE_RULESET] = do_landlock_ruleset,
    [OP_LANDLOCK_ADD_PATH] = do_landlock_path,
    [OP_LANDLOCK_ADD_PORT] = do_landlock_port,
    [OP_LANDLOCK_RESTRICT_SELF] = do_landlock_restrict,
};

/* Returns `count` when all went well, otherwise the index of the step that failed, with errno and stub->call set. */
int pyr_run(struct stub *stub, struct step *steps, uint32_t count) {
    stub->steps = steps;
    stub->step_count = count;
    stub->wrong = NULL;
    uint64_t begin = mark_begin(stub);
    for (uint32_t i = 0; i < count; i++) {
        stub->step_index = i;
        stub->call = "";
        stub->text[0] = '\0';
        if (operations[steps[i].op](stub, &steps[i]) < 0 && !(steps[i].flags & STEP_OPTIONAL))
            return stub->wrong ? (int)(stub->wrong - steps) : (int)i;
        begin = mark(stub, steps[i].number, begin);
    }
    return (int)count;
}
