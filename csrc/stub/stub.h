/* What the files of the stub share among themselves. */
#ifndef PYRUNTIME_STUB_H
#define PYRUNTIME_STUB_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan.h"

static inline void close_fd(int *fd) {
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}
#define cleanup_close __attribute__((cleanup(close_fd)))

/* A path that names a descriptor to the calls that take only paths. It is relative to stub->proc: what is at /proc is up
 * to whoever made the mount namespace, and may lead to another file. */
struct fd_path {
    char text[32];
};
static inline struct fd_path fd_path(int fd) {
    struct fd_path path;
    snprintf(path.text, sizeof path.text, "self/fd/%d", fd);
    return path;
}

static inline const char *stub_string(const struct stub *stub, uint32_t offset) { return stub->arena + offset; }

/* Every function below returns 0 or a descriptor, or -1 with errno, and names the call that failed in stub->call. */
static inline int failed(struct stub *stub, const char *call) {
    stub->call = call;
    return -1;
}

/* The same for the answer of a function that returns -errno. */
static inline int result_of(struct stub *stub, const char *call, int answer) {
    if (answer >= 0)
        return 0;
    errno = -answer;
    return failed(stub, call);
}

/* syscalls.c: calls the C library of the oldest supported system does not wrap */
int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int sys_open_tree(int dirfd, const char *path, unsigned flags);
int sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags);
int sys_mount_setattr(int fd, unsigned flags, uint64_t set, uint64_t clr, uint64_t propagation, int userns);
int sys_fsopen(const char *fstype);
int sys_fsconfig(int fd, unsigned command, const char *key, const char *value);
int sys_fsmount(int fd, unsigned attributes);
int sys_pivot_root(const char *new_root, const char *put_old);

/* mount2.c: mount(2) and umount2(2) of a descriptor */
int mount_on(const struct stub *stub, int fd, const char *source, const char *fstype, unsigned long flags, const char *data);
int unmount_from(const struct stub *stub, int fd);

/* trace.c */
uint64_t mark_begin(const struct stub *stub);
uint64_t mark(const struct stub *stub, uint32_t step, uint64_t begin);

/* paths.c */
enum want { WANT_EXISTING, WANT_DIRECTORY, WANT_FILE };
int resolve(struct stub *stub, const char *path, enum want want, bool follow);
int resolve_without_links(struct stub *stub, const char *path);
int resolve_or_make(struct stub *stub, const char *path, enum want want, bool follow, bool *made);
int resolve_parent(struct stub *stub, const char *path, char name[256]);

/* mount_attributes.c */
unsigned long flags_of(int mount);
unsigned long apply_attributes(unsigned long flags, uint64_t set, uint64_t clr);
int set_attributes(struct stub *stub, int mount, const struct step *step, bool attached, bool *later);

/* mount_targets.c */
struct place {
    uint64_t mount;        /* the mount it lies in */
    bool root;             /* whether it is the root of that mount */
    bool made;             /* whether it was missing: destination_of made it */
    mode_t mode;
};
int refuse(struct stub *stub, const char *words);
int mount_id(struct stub *stub, int fd, uint64_t *id);
int look_at(struct stub *stub, int fd, struct place *place);
int check_destination(struct stub *stub, const struct step *step, int destination, struct place *place);
int destination_of(struct stub *stub, const struct step *step, enum want want, struct place *place);
int check_source(struct stub *stub, const struct step *step, int tree, const struct stat *status);
int update_views(struct stub *stub, const struct step *step, const struct place *place, int mount);
int keep_for_changes(struct stub *stub, const struct step *step, int mount);
int mount_to_change(struct stub *stub, const struct step *step);
const struct view *view_above(const struct stub *stub, const char *path, const char **rest);

/* filesystems.c */
int new_filesystem(struct stub *stub, const struct step *step);
int join_options(struct stub *stub, const struct step *step, char data[4096]);
int do_mount(struct stub *stub, const struct step *step);

/* procfs.c */
int open_procfs(struct stub *stub, struct step *steps, uint32_t count, int pid_namespace);

/* bind_mounts.c */
int move_onto(struct stub *stub, int tree, int destination);
int attach(struct stub *stub, int tree, const struct step *step, int destination);
int clone_inside(struct stub *stub, int place, bool recursive);
int do_root(struct stub *stub, const struct step *step);
int do_bind(struct stub *stub, const struct step *step);
int do_bind_inside(struct stub *stub, const struct step *step);
int do_remount(struct stub *stub, const struct step *step);
int do_setattr(struct stub *stub, const struct step *step);

/* masked_paths.c */
int do_mask(struct stub *stub, const struct step *step);
int do_readonly(struct stub *stub, const struct step *step);
int do_verify(struct stub *stub, const struct step *step);

/* copyup.c */
int copy_up(struct stub *stub, int from, int to, bool with_owner);

/* devices.c */
int do_mkdir(struct stub *stub, const struct step *step);
int do_symlink(struct stub *stub, const struct step *step);
int do_mknod(struct stub *stub, const struct step *step);
int device_tree(struct stub *stub, int filesystem);

/* console.c */
int do_console(struct stub *stub, const struct step *step);

/* no_pivot.c */
int leave_root(struct stub *stub, int top);

/* root.c */
int do_propagation(struct stub *stub, const struct step *step);
int do_pivot_root(struct stub *stub, const struct step *step);
int do_move_root(struct stub *stub, const struct step *step);
int do_chroot(struct stub *stub, const struct step *step);
int do_here(struct stub *stub, const struct step *step);

/* sysctl.c */
int do_sysctl(struct stub *stub, const struct step *step);
int do_hostname(struct stub *stub, const struct step *step);
int do_domainname(struct stub *stub, const struct step *step);
int do_loopback(struct stub *stub, const struct step *step);

/* process.c */
int do_label(struct stub *stub, const struct step *step);
int do_keyring(struct stub *stub, const struct step *step);
int do_terminal(struct stub *stub, const struct step *step);
int do_personality(struct stub *stub, const struct step *step);
int do_sched_setattr(struct stub *stub, const struct step *step);
int do_sched_setaffinity(struct stub *stub, const struct step *step);
int do_ioprio_set(struct stub *stub, const struct step *step);
int do_set_mempolicy(struct stub *stub, const struct step *step);
int do_stdio(struct stub *stub, const struct step *step);
int do_chdir(struct stub *stub, const struct step *step);
int do_umask(struct stub *stub, const struct step *step);
int do_user(struct stub *stub, const struct step *step);
int do_no_new_privs(struct stub *stub, const struct step *step);
int do_setsid(struct stub *stub, const struct step *step);
int do_oom_score_adj(struct stub *stub, const struct step *step);
int do_prlimit(struct stub *stub, const struct step *step);

/* capabilities.c */
int do_bounding(struct stub *stub, const struct step *step);
int do_capset(struct stub *stub, const struct step *step);

/* landlock.c */
int do_landlock_ruleset(struct stub *stub, const struct step *step);
int do_landlock_path(struct stub *stub, const struct step *step);
int do_landlock_port(struct stub *stub, const struct step *step);
int do_landlock_restrict(struct stub *stub, const struct step *step);

#endif
