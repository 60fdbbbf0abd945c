/* Mounts: made detached where the kernel can, attached on a descriptor, never on a path that could change meanwhile. */
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "stub.h"
#include "syscalls.h"

/* Attributes a mount had before they were changed by mount(2), which replaces all of them at once. */
static unsigned long flags_of(int mount) {
    struct statfs status;
    if (fstatfs(mount, &status) < 0)
        return 0;
    /* The ST_* flags that statfs(2) reports have the values of the MS_* flags, save relatime. */
    unsigned long flags = (unsigned long)status.f_flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
    if (status.f_flags & 0x1000)
        flags |= MS_RELATIME;
    if (status.f_flags & 0x2000)
        flags |= MS_NOSYMFOLLOW;
    return flags;
}

static unsigned long apply_attributes(unsigned long flags, uint64_t set, uint64_t clr) {
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
    struct fd_path path = fd_path(mounted);
    if (set | clr) {
        unsigned long flags = apply_attributes(flags_of(mounted), set, clr);
        if (mount(NULL, path.text, NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0)
            return failed(stub, "mount(remount)");
    }
    if (propagation && mount(NULL, path.text, NULL, propagation, NULL) < 0)
        return failed(stub, "mount(propagation)");
    return 0;
}

static int set_attributes(struct stub *stub, int mount, const struct step *step, bool attached, bool *later) {
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
    if (step->attr_set | step->attr_clr | step->propagation) {
        if (sys_mount_setattr(mount, 0, step->attr_set, step->attr_clr, step->propagation, -1) < 0) {
            if (errno != ENOSYS)
                return failed(stub, "mount_setattr");
            if (!attached) {
                *later = true;
                return 0;
            }
            return set_attributes_by_mount(stub, mount, step->attr_set, step->attr_clr, step->propagation);
        }
    }
    return 0;
}

/* Where hidden paths are looked for by descriptor: see open_hidden. */
static const char *const view_paths[] = {"/proc", "/sys"};
enum { VIEWS = sizeof view_paths / sizeof *view_paths };

static int *view_at(struct stub *stub, const struct step *step) {
    for (size_t i = 0; i < VIEWS; i++)
        if (strcmp(stub_string(stub, step->path), view_paths[i]) == 0)
            return &stub->views[i];
    return NULL;
}

/* Something is mounted over it. */
static void forget_view(struct stub *stub, const struct step *step) {
    int *view = view_at(stub, step);
    if (view && *view > 0) {
        close_fd(view);
        *view = 0;
    }
}

static bool is_directory(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
}

static int move_onto(struct stub *stub, int tree, int destination) {
    if (sys_move_mount(tree, "", destination, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0)
        return 0;
    /* The kernel has one number for many reasons; this is the one that config.json or the root filesystem can have. */
    if (errno == EINVAL && is_directory(tree) != is_directory(destination))
        errno = is_directory(tree) ? ENOTDIR : EISDIR;
    return failed(stub, "move_mount");
}

/* Gives the detached `tree` its attributes and attaches it on the descriptor `destination`. */
int attach(struct stub *stub, int tree, const struct step *step, int destination) {
    bool later;
    if (set_attributes(stub, tree, step, false, &later) < 0)
        return -1;
    if (move_onto(stub, tree, destination) < 0)
        return -1;
    forget_view(stub, step);
    return later ? set_attributes(stub, tree, step, true, &later) : 0;
}

/* A detached copy of the step's source, which is a tree the host already cloned or a path in this mount namespace. */
static int source_tree(struct stub *stub, const struct step *step) {
    if (step->fd >= 0) {
        int tree = fcntl(step->fd, F_DUPFD_CLOEXEC, 0);
        return tree < 0 ? failed(stub, "fcntl") : tree;
    }
    int tree = pyr_clone_tree(AT_FDCWD, stub_string(stub, step->source), (step->flags & STEP_RECURSIVE) != 0);
    if (tree < 0) {
        errno = -tree;
        return failed(stub, "open_tree");
    }
    return tree;
}

/* For the host too: a detached copy of the tree at `path`, or -errno. */
int pyr_clone_tree(int dirfd, const char *path, int recursive) {
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
    if (!path[0])
        flags |= AT_EMPTY_PATH;
    int tree = sys_open_tree(dirfd, path, flags);
    return tree < 0 ? -errno : tree;
}

/* Whether the kernel has the call: Linux 5.12. Another refusal of a descriptor that is none says that it has. */
int pyr_has_mount_setattr(void) { return sys_mount_setattr(-1, 0, 0, 0, 0, -1) == 0 || errno != ENOSYS; }

/* For the host too, which has the rights over the filesystem that a container's user namespace has not. 0 or -errno. */
/* Upholds config.md#posix-platform-mounts/uid-mappings-by-setattr, config.md#linux-mount-options/idmap,
   config.md#linux-mount-options/ridmap. */
int pyr_idmap_tree(int tree, int userns, int recursive) {
    return sys_mount_setattr(tree, recursive ? AT_RECURSIVE : 0, MOUNT_ATTR_IDMAP, 0, 0, userns) < 0 ? -errno : 0;
}

static bool is_same_file(int one, int other) {
    struct stat first, second;
    return fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

/* Where the root filesystem is attached until it becomes the root: over its own place, where hooks of create look for
 * it and its mounts, and no bind mount of / meets it. Else over /, a place that is always there and that every user
 * namespace may search. */
static int root_place(struct stub *stub, const struct step *step, int tree) {
    int place = open(stub_string(stub, step->source), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place >= 0 && !is_same_file(place, tree)) {
        close_fd(&place);
        place = -1; /* what lies there now is the host's */
        errno = ESTALE;
    }
    if (place >= 0 || step->flags & STEP_IN_PLACE)
        return place;
    return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Mounts of the host that come later stay out of it, or come in, as rootfsPropagation says. */
int do_root(struct stub *stub, const struct step *step) {
    int tree = source_tree(stub, step);
    if (tree < 0)
        return -1;
    cleanup_close int place = root_place(stub, step, tree);
    if (place < 0) {
        close_fd(&tree);
        return failed(stub, "open");
    }
    if (attach(stub, tree, step, place) < 0) {
        close_fd(&tree);
        return -1;
    }
    stub->root = tree;
    return 0;
}

static const struct {
    unsigned long flag;
    const char *name;
} superblock_flags[] = {
    {MS_RDONLY, "ro"}, {MS_SYNCHRONOUS, "sync"}, {MS_DIRSYNC, "dirsync"}, {MS_MANDLOCK, "mand"}, {MS_LAZYTIME, "lazytime"},
};

/* fsconfig(2) takes values up to 256 bytes and knows not every superblock flag; mount(2) serves the rest. */
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

/* The kernel's own words on what it disliked, without the level prefix ("e "). */
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
    if (sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL) < 0)
        return failed(stub, "fsconfig(create)");
    return 0;
}

/* Those that fsmount(2) takes on every kernel that has it. */
enum { FSMOUNT_ATTRIBUTES = 0xff };

/* What a new filesystem still needs: it has no attribute that nobody gave it. */
static struct step without_fsmount(const struct step *step) {
    struct step rest = *step;
    rest.attr_set &= ~(uint64_t)FSMOUNT_ATTRIBUTES;
    rest.attr_clr = 0;
    return rest;
}

/* A new filesystem as a detached mount, with those attributes. */
static int new_filesystem(struct stub *stub, const struct step *step) {
    cleanup_close int context = sys_fsopen(stub_string(stub, step->fstype));
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
    return mount;
}

/* The options as mount(2) wants them: separated by commas, in one page at most. */
static int join_options(struct stub *stub, const struct step *step, char data[4096]) {
    size_t used = 0;
    data[0] = '\0';
    for (const char *item = stub_string(stub, step->data); *item; item += strlen(item) + 1) {
        const char *comma = strchr(item, ','), *value = strchr(item, '=');
        const char *separator = used ? "," : "";
        /* Quotes protect a comma in a value that no backslash protects already: that of an SELinux label. */
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

static int mount_by_mount2(struct stub *stub, const struct step *step, int destination) {
    char data[4096];
    if (join_options(stub, step, data) < 0)
        return -1;
    const char *source = stub_string(stub, step->source);
    unsigned long flags = (unsigned long)step->sb_flags | apply_attributes(0, step->attr_set, step->attr_clr);
    if (mount(*source ? source : "none", fd_path(destination).text, stub_string(stub, step->fstype), flags, data) < 0)
        return failed(stub, "mount");
    /* The descriptor still names what lies below; the path is asked again, and must lead to a mount's root. */
    int mounted = resolve(stub, stub_string(stub, step->path), WANT_EXISTING, !(step->flags & STEP_NOFOLLOW));
    if (mounted < 0)
        return -1;
    struct statx status;
    if (statx(mounted, "", AT_EMPTY_PATH, 0, &status) == 0 && status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT &&
        !(status.stx_attributes & STATX_ATTR_MOUNT_ROOT)) {
        close_fd(&mounted);
        errno = ESTALE;
        return failed(stub, "statx");
    }
    bool later;
    struct step rest = *step;
    rest.attr_set = rest.attr_clr = 0;
    if (set_attributes(stub, mounted, &rest, true, &later) < 0) {
        close_fd(&mounted);
        return -1;
    }
    return mounted;
}

/* Whether the data of the step sets one of the options `names`, which end with NULL. */
static bool has_option(const struct stub *stub, const struct step *step, const char *const names[]) {
    for (const char *item = stub_string(stub, step->data); *item; item += strlen(item) + 1)
        for (size_t i = 0; names[i]; i++)
            if (strncmp(item, names[i], strlen(names[i])) == 0)
                return true;
    return false;
}

/* With owner and mode of the directory it covers, unless the options give others: /etc must not end up writable for
 * everyone, as a new tmpfs is. */
static int fill(struct stub *stub, const struct step *step, int from, int to) {
    static const char *const own[] = {"mode=", "uid=", "gid=", NULL};
    return copy_up(stub, from, to, !has_option(stub, step, own));
}

/* The kernel's own views of itself stand where they are expected: a link in their place could lead elsewhere by the
 * time that paths below it are masked (CVE-2019-19921, CVE-2023-27561). */
static bool is_kernel_view(const struct stub *stub, const struct step *step) {
    const char *fstype = stub_string(stub, step->fstype);
    return strcmp(fstype, "proc") == 0 || strcmp(fstype, "sysfs") == 0;
}

static int keep_view(struct stub *stub, const struct step *step, int mount) {
    int *view = view_at(stub, step);
    if (!view || !is_kernel_view(stub, step))
        return 0;
    *view = fcntl(mount, F_DUPFD_CLOEXEC, 3);
    return *view < 0 ? failed(stub, "fcntl") : 0;
}

static int check_place(struct stub *stub, int destination, const struct step *step) {
    struct stat status;
    if (!is_kernel_view(stub, step))
        return 0;
    if (fstat(destination, &status) < 0)
        return failed(stub, "fstat");
    if (S_ISDIR(status.st_mode))
        return 0;
    snprintf(stub->text, sizeof stub->text, "%s is mounted on an ordinary directory only",
             stub_string(stub, step->fstype));
    errno = S_ISLNK(status.st_mode) ? ELOOP : ENOTDIR;
    return failed(stub, "fstat");
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

int do_mount(struct stub *stub, const struct step *step) {
    bool follow = !(step->flags & STEP_NOFOLLOW) && !is_kernel_view(stub, step);
    cleanup_close int destination = resolve(stub, stub_string(stub, step->path), WANT_DIRECTORY, follow);
    if (destination < 0 || check_place(stub, destination, step) < 0)
        return -1;
    if (needs_mount2(stub, step)) {
        cleanup_close int mounted = mount_by_mount2(stub, step, destination);
        if (mounted < 0)
            return -1;
        forget_view(stub, step);
        if (step->flags & STEP_COPY_UP && fill(stub, step, destination, mounted) < 0)
            return -1;
        if (set_label(stub, step, mounted) < 0)
            return -1;
        return keep_view(stub, step, mounted);
    }
    cleanup_close int mount = new_filesystem(stub, step);
    if (mount < 0)
        return -1;
    if (step->flags & STEP_COPY_UP && fill(stub, step, destination, mount) < 0)
        return -1;
    if (set_label(stub, step, mount) < 0)
        return -1;
    struct step rest = without_fsmount(step);
    return attach(stub, mount, &rest, destination) < 0 ? -1 : keep_view(stub, step, mount);
}

static int check_device(struct stub *stub, int tree, const struct step *step) {
    struct stat status;
    if (fstat(tree, &status) < 0)
        return failed(stub, "fstat");
    if ((status.st_mode & S_IFMT) != (step->mode & S_IFMT) || status.st_rdev != step->dev) {
        errno = ENXIO;
        snprintf(stub->text, sizeof stub->text, "the host's node is another device (%u:%u)", major(status.st_rdev),
                 minor(status.st_rdev));
        return failed(stub, "fstat");
    }
    return 0;
}

/* As mount(2) puts it: move_mount(2) would say EINVAL. Docker's advice to its user hangs on ENOTDIR. */
static int check_kind(struct stub *stub, int destination, const struct stat *source) {
    struct stat status;
    if (fstat(destination, &status) < 0)
        return failed(stub, "fstat");
    if (S_ISDIR(status.st_mode) == S_ISDIR(source->st_mode))
        return 0;
    errno = ENOTDIR;
    snprintf(stub->text, sizeof stub->text, "%s",
             S_ISDIR(source->st_mode) ? "a directory over a file" : "a file over a directory");
    return failed(stub, "move_mount");
}

int do_bind(struct stub *stub, const struct step *step) {
    cleanup_close int tree = source_tree(stub, step);
    if (tree < 0)
        return -1;
    if (step->flags & STEP_DEVICE && check_device(stub, tree, step) < 0)
        return -1;
    struct stat status;
    if (fstat(tree, &status) < 0)
        return failed(stub, "fstat");
    cleanup_close int destination = resolve(stub, stub_string(stub, step->path),
                                            S_ISDIR(status.st_mode) ? WANT_DIRECTORY : WANT_FILE,
                                            !(step->flags & STEP_NOFOLLOW));
    if (destination < 0 || check_kind(stub, destination, &status) < 0)
        return -1;
    return attach(stub, tree, step, destination);
}

/* The copy of a place in the container, for example of a cgroup hierarchy mounted by an earlier step. */
static int clone_inside(struct stub *stub, int place, bool recursive) {
    int tree = pyr_clone_tree(place, "", recursive);
    if (tree < 0) {
        errno = -tree;
        return failed(stub, "open_tree");
    }
    return tree;
}

int do_bind_inside(struct stub *stub, const struct step *step) {
    cleanup_close int place = resolve(stub, stub_string(stub, step->source), WANT_EXISTING, true);
    if (place < 0)
        return -1;
    cleanup_close int tree = clone_inside(stub, place, (step->flags & STEP_RECURSIVE) != 0);
    if (tree < 0)
        return -1;
    struct step here = *step;
    here.fd = tree;
    return do_bind(stub, &here);
}

int do_remount(struct stub *stub, const struct step *step) {
    cleanup_close int mounted = resolve(stub, stub_string(stub, step->path), WANT_EXISTING, true);
    if (mounted < 0)
        return -1;
    char data[4096];
    if (join_options(stub, step, data) < 0)
        return -1;
    unsigned long flags = apply_attributes(flags_of(mounted), step->attr_set, step->attr_clr);
    if (step->flags & STEP_RECURSIVE || step->sb_flags & MS_BIND)
        flags |= MS_BIND;
    if (mount(NULL, fd_path(mounted).text, NULL, MS_REMOUNT | (unsigned long)step->sb_flags | flags, data) < 0)
        return failed(stub, "mount(remount)");
    bool later;
    struct step rest = *step;
    rest.attr_set = rest.attr_clr = 0;
    return set_attributes(stub, mounted, &rest, true, &later);
}

int do_setattr(struct stub *stub, const struct step *step) {
    cleanup_close int mounted = resolve(stub, stub_string(stub, step->path), WANT_EXISTING, true);
    bool later;
    return mounted < 0 ? -1 : set_attributes(stub, mounted, step, true, &later);
}

static bool absent(int error) { return error == ENOENT || error == ENOTDIR; }

/* The place of a path to hide. Below the container's procfs and sysfs it is looked for from their own descriptors: the
 * directory they are mounted on can be renamed meanwhile by whoever shares the root filesystem, so that the path would
 * lead elsewhere, or nowhere, and all be visible when the name is back (CVE-2023-27561). */
static int open_hidden(struct stub *stub, const struct step *step) {
    const char *path = stub_string(stub, step->path);
    for (size_t i = 0; i < VIEWS; i++) {
        size_t length = strlen(view_paths[i]);
        if (stub->views[i] <= 0 || strncmp(path, view_paths[i], length) != 0 || path[length] != '/')
            continue;
        const char *rest = path + length + strspn(path + length, "/");
        int fd = sys_openat2(stub->views[i], *rest ? rest : ".", O_PATH | O_CLOEXEC, 0,
                             RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
        if (fd < 0 && errno != EXDEV)
            return failed(stub, "openat2");
        if (fd >= 0)
            return fd;
    }
    return resolve(stub, path, WANT_EXISTING, true);
}

int do_mask(struct stub *stub, const struct step *step) {
    cleanup_close int place = open_hidden(stub, step);
    if (place < 0)
        return absent(errno) ? 0 : -1;
    struct stat status;
    if (fstat(place, &status) < 0)
        return failed(stub, "fstat");
    int cover;
    if (S_ISDIR(status.st_mode)) {
        cover = new_filesystem(stub, step);
    } else {
        /* The host's null device: the one in the container could be anything. */
        cover = pyr_clone_tree(AT_FDCWD, "/dev/null", 0);
        if (cover < 0) {
            errno = -cover;
            return failed(stub, "open_tree");
        }
    }
    if (cover < 0)
        return -1;
    cleanup_close int mount = cover;
    return move_onto(stub, mount, place);
}

int do_readonly(struct stub *stub, const struct step *step) {
    cleanup_close int place = open_hidden(stub, step);
    if (place < 0)
        return absent(errno) ? 0 : -1;
    /* Linux before 5.12 changes one mount at a time: what is mounted below is left out there, so that nobody writes to
     * it either. */
    bool recursive = pyr_has_mount_setattr();
    struct step plain = *step;
    if (!recursive) {
        plain.attr_set |= step->rec_set;
        plain.rec_set = 0;
    }
    cleanup_close int tree = clone_inside(stub, place, recursive);
    return tree < 0 ? -1 : attach(stub, tree, &plain, place);
}
