/* New filesystems, made detached by fsopen(2), or by mount(2) if only mount(2) takes the options. */
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#include "stub.h"
#include "syscalls.h"

static const struct {
    unsigned long flag;
    const char *name;
} superblock_flags[] = {
    {MS_RDONLY, "ro"}, {MS_SYNCHRONOUS, "sync"}, {MS_DIRSYNC, "dirsync"}, {MS_MANDLOCK, "mand"}, {MS_LAZYTIME, "lazytime"},
};

/* fsconfig(2) takes values of up to 256 bytes and does not have every superblock flag. mount(2) is used for the
 * rest. */
static bool needs_mount2(const struct stub *stub, const struct step *step) {
    unsigned long known = 0;
    for (size_t i = 0; i < sizeof superblock_flags / sizeof *superblock_flags; i++)
        known |= superblock_flags[i].flag;
    if (step->sb_flags & ~known)
        return true;
    for (const char *item = stub_string(stub, step->data); *item; item += strlen(item) + 1) {
        const char *value = strchr(item, '=');
        if (strlen(value ? value + 1 : item) > 255 || (value && value - item > 255))
            return true;
    }
    return strlen(stub_string(stub, step->source)) > 255;
}

/* Copies the kernel's message about the error, without the level prefix ("e "). */
static void read_log(struct stub *stub, int context) {
    char line[sizeof stub->text];
    size_t used = 0;
    for (;;) {
        ssize_t size = read(context, line, sizeof line - 1);
        if (size <= 2)
            break;
        line[size] = '\0';
        if (line[size - 1] == '\n')
            line[size - 1] = '\0';
        int wrote = snprintf(stub->text + used, sizeof stub->text - used, "%s%s", used ? "; " : "", line + 2);
        used += wrote > 0 ? (size_t)wrote : 0;
        if (used >= sizeof stub->text - 1)
            break;
    }
}

static int configure(struct stub *stub, int context, const struct step *step) {
    const char *source = stub_string(stub, step->source);
    if (*source && sys_fsconfig(context, FSCONFIG_SET_STRING, "source", source) < 0)
        return failed(stub, "fsconfig(source)");
    for (size_t i = 0; i < sizeof superblock_flags / sizeof *superblock_flags; i++)
        if (step->sb_flags & superblock_flags[i].flag &&
            sys_fsconfig(context, FSCONFIG_SET_FLAG, superblock_flags[i].name, NULL) < 0)
            return failed(stub, "fsconfig(flag)");
    for (const char *item = stub_string(stub, step->data); *item; item += strlen(item) + 1) {
        const char *value = strchr(item, '=');
        int result = -1;
        char key[256]; /* fsconfig(2) takes no longer ones */
        if (!value) {
            result = sys_fsconfig(context, FSCONFIG_SET_FLAG, item, NULL);
        } else if ((size_t)(value - item) >= sizeof key) {
            errno = EINVAL;
        } else {
            memcpy(key, item, (size_t)(value - item));
            key[value - item] = '\0';
            result = sys_fsconfig(context, FSCONFIG_SET_STRING, key, value + 1);
        }
        if (result < 0) {
            snprintf(stub->text, sizeof stub->text, "option %.200s", item);
            return failed(stub, "fsconfig");
        }
    }
    char mode[8];
    snprintf(mode, sizeof mode, "%o", step->mode & 07777);
    if (step->mode && sys_fsconfig(context, FSCONFIG_SET_STRING, "mode", mode) < 0)
        return failed(stub, "fsconfig(mode)");
    if (sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
        return failed(stub, "fsconfig(create)");
    return 0;
}

/* The attributes that fsmount(2) takes on every kernel that has it. */
enum { FSMOUNT_ATTRIBUTES = 0xff };

/* Returns the step with the attributes that the new mount does not have yet: mount(2) sets all. A new filesystem has no
 * attribute that was not set. */
static struct step without_set(const struct step *step, bool by_mount2) {
    struct step rest = *step;
    rest.attr_set &= by_mount2 ? 0 : ~(uint64_t)FSMOUNT_ATTRIBUTES;
    rest.attr_clr = 0;
    return rest;
}

/* Checks a filesystem that was made of a context which another process has sent (procfs.c). A process of the joined
 * namespace that may trace that process can send its own context: of another filesystem, or of another pid namespace. */
static int check_procfs(struct stub *stub, int mount) {
    struct statfs filesystem;
    if (fstatfs(mount, &filesystem) < 0)
        return failed(stub, "fstatfs");
    struct stat status;
    bool wrong = filesystem.f_type != PROC_SUPER_MAGIC;
    if (!wrong && fstatat(mount, "1/ns/pid", &status, 0) < 0) {
        /* The kernel does not show the namespaces of a process that the caller may not inspect (ptrace(2)). */
        if (errno != EACCES && errno != EPERM)
            return failed(stub, "fstatat(1/ns/pid)");
    } else if (!wrong) {
        wrong = status.st_ino != stub->pid_namespace;
    }
    if (!wrong)
        return 0;
    snprintf(stub->text, sizeof stub->text, "a process of the pid namespace sent another filesystem");
    errno = EXDEV;
    return failed(stub, "check");
}

/* A new filesystem as a detached mount, with those attributes. */
int new_filesystem(struct stub *stub, const struct step *step) {
    /* For a procfs, the context may already exist: procfs.c. */
    cleanup_close int context = step->fd >= 0 ? step->fd : sys_fsopen(stub_string(stub, step->fstype));
    if (context < 0)
        return failed(stub, "fsopen");
    if (configure(stub, context, step) < 0) {
        int saved = errno;
        char own[sizeof stub->text];
        memcpy(own, stub->text, sizeof own);
        stub->text[0] = '\0';
        read_log(stub, context);
        if (!stub->text[0])
            memcpy(stub->text, own, sizeof own);
        errno = saved;
        return -1;
    }
    int mount = sys_fsmount(context, (unsigned)(step->attr_set & FSMOUNT_ATTRIBUTES));
    if (mount < 0) {
        int saved = errno;
        read_log(stub, context);
        errno = saved;
        return failed(stub, "fsmount");
    }
    if (step->fd >= 0 && stub->pid_namespace && check_procfs(stub, mount) < 0) {
        close_fd(&mount);
        return -1;
    }
    return mount;
}

/* Joins the options as mount(2) takes them: separated by commas, at most one page. */
int join_options(struct stub *stub, const struct step *step, char data[4096]) {
    size_t used = 0;
    data[0] = '\0';
    if (step->mode)
        used = (size_t)snprintf(data, 4096, "mode=%o", step->mode & 07777);
    for (const char *item = stub_string(stub, step->data); *item; item += strlen(item) + 1) {
        const char *comma = strchr(item, ','), *value = strchr(item, '=');
        const char *separator = used ? "," : "";
        /* Quotes protect a comma in a value, for example of an SELinux label, unless a backslash protects it
         * already. */
        if (value && comma && comma > value && comma[-1] != '\\')
            used += (size_t)snprintf(data + used, 4096 - used, "%s%.*s\"%s\"", separator, (int)(value + 1 - item), item,
                                     value + 1);
        else
            used += (size_t)snprintf(data + used, 4096 - used, "%s%s", separator, item);
        if (used >= 4096) {
            errno = E2BIG;
            return failed(stub, "mount");
        }
    }
    return 0;
}

/* mount(2) returns no descriptor of its mount, and its path may lead to another mount by then: a process that shares
 * the root filesystem can rename directories. So the filesystem is mounted over the root, by its descriptor, where ".."
 * leads to it without a name, and a copy of the mount is returned, detached like that of fsmount(2). */
static int new_filesystem_by_mount2(struct stub *stub, const struct step *step) {
    char data[4096];
    if (join_options(stub, step, data) < 0)
        return -1;
    const char *source = stub_string(stub, step->source);
    unsigned long flags = (unsigned long)step->sb_flags | apply_attributes(0, step->attr_set, step->attr_clr);
    if (mount_on(stub, stub->root, *source ? source : "none", stub_string(stub, step->fstype), flags, data) < 0)
        return failed(stub, "mount");
    cleanup_close int mounted = sys_openat2(stub->root, "..", O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
    uint64_t id;
    if (mounted < 0)
        return failed(stub, "openat2");
    if (mount_id(stub, mounted, &id) < 0)
        return -1;
    if (id == stub->root_mount)
        return refuse(stub, "the new mount is not at the root, where it was made");
    int copy = clone_inside(stub, mounted, false);
    if (unmount_from(stub, mounted) < 0) {
        close_fd(&copy);
        return failed(stub, "umount2");
    }
    return copy;
}

/* Tells whether the data of the step sets one of the options `names`, which end with NULL. */
static bool has_option(const struct stub *stub, const struct step *step, const char *const names[]) {
    for (const char *item = stub_string(stub, step->data); *item; item += strlen(item) + 1)
        for (size_t i = 0; names[i]; i++)
            if (strncmp(item, names[i], strlen(names[i])) == 0)
                return true;
    return false;
}

/* A tmpfs gets the mode of the directory that it covers, unless an option sets one. If there was no directory, it keeps
 * its default, 1777. */
static struct step with_mode(const struct stub *stub, const struct step *step, const struct place *place) {
    static const char *const mode[] = {"mode=", NULL};
    struct step result = *step;
    if (strcmp(stub_string(stub, step->fstype), "tmpfs") == 0 && !place->made && !has_option(stub, step, mode))
        result.mode = place->mode;
    return result;
}

/* tmpcopyup: also the owner of the directory that it covers, unless the options set one. */
static int fill(struct stub *stub, const struct step *step, int from, int to) {
    static const char *const owner[] = {"uid=", "gid=", NULL};
    return step->flags & STEP_COPY_UP ? copy_up(stub, from, to, !has_option(stub, step, owner)) : 0;
}

static int set_label(struct stub *stub, const struct step *step, int mounted) {
    const char *label = stub_string(stub, step->label);
    if (!*label)
        return 0;
    cleanup_close int root = openat(mounted, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return failed(stub, "openat");
    return fsetxattr(root, "security.selinux", label, strlen(label), 0) < 0 ? failed(stub, "fsetxattr") : 0;
}

int do_mount(struct stub *stub, const struct step *configured) {
    struct place place;
    cleanup_close int destination = destination_of(stub, configured, WANT_DIRECTORY, &place);
    if (destination < 0)
        return -1;
    const struct step step = with_mode(stub, configured, &place);
    /* Options that only mount(2) takes have no effect on a procfs, and mount(2) cannot take its pid namespace. */
    bool by_mount2 = step.fd < 0 && needs_mount2(stub, &step);
    cleanup_close int mount = by_mount2 ? new_filesystem_by_mount2(stub, &step) : new_filesystem(stub, &step);
    if (mount < 0 || fill(stub, &step, destination, mount) < 0 || set_label(stub, &step, mount) < 0)
        return -1;
    const struct step rest = without_set(&step, by_mount2);
    if (attach(stub, mount, &rest, destination) < 0)
        return -1;
    return update_views(stub, &step, &place, mount) < 0 ? -1 : keep_for_changes(stub, &step, mount);
}
