/* The step format: the one header that Python (through cffi) and C share. */
#ifndef PYRUNTIME_PLAN_H
#define PYRUNTIME_PLAN_H

#include <stdint.h>

/* cdef: from here on the text is also read by cffi. */

enum op {
    OP_PROPAGATION,      /* propagation of every mount of the namespace */
    OP_ROOT,             /* take the root filesystem `source` (or the tree `fd`) as the new root */
    OP_MOUNT,            /* a new filesystem `fstype` at `path` */
    OP_BIND,             /* the tree at host path `source` (or the tree `fd`) at `path` */
    OP_BIND_INSIDE,      /* the tree at container path `source` at `path` */
    OP_REMOUNT,          /* other flags and data for the mount at `path` */
    OP_SETATTR,          /* other attributes for the mount at `path` */
    OP_MKDIR,            /* directory `path` and what leads to it */
    OP_SYMLINK,          /* link `path` to `source` */
    OP_MKNOD,            /* device or FIFO `path` */
    OP_CONSOLE,          /* pseudoterminal; its slave at `path` */
    OP_MASK,             /* nothing of `path` can be read */
    OP_READONLY,         /* nothing of `path` can be written */
    OP_SYSCTL,           /* `data` into /proc/sys/`path` */
    OP_HOSTNAME,         /* `data` */
    OP_DOMAINNAME,       /* `data` */
    OP_LOOPBACK,         /* the interface lo up */
    OP_PIVOT_ROOT,       /* the new root becomes /, the old one is gone */
    OP_MOVE_ROOT,        /* the same where the old root cannot be pivoted (initramfs) */
    OP_CHROOT,           /* without a mount namespace of its own */
    OP_HERE,             /* exec: the root is that of the joined namespace, or of `fd` */
    OP_VERIFY,           /* what the container sees at masked and read-only paths is what the steps before put there */
    /* What a process does to itself (process.c). All but OP_SETSID is inherited by a child. */
    OP_LABEL,            /* `source` into the first of the attributes `data` of /proc/self/attr that there is */
    OP_KEYRING,          /* a session keyring called `data` */
    OP_TERMINAL,         /* the pseudoterminal's slave as the standard streams */
    OP_PERSONALITY,
    OP_SCHED_SETATTR,
    OP_SCHED_SETAFFINITY,
    OP_IOPRIO_SET,
    OP_SET_MEMPOLICY,
    OP_STDIO,            /* the standard streams belong to `uid` */
    OP_CHDIR,            /* `path` */
    OP_UMASK,
    OP_BOUNDING,
    OP_USER,
    OP_CAPSET,
    OP_NO_NEW_PRIVS,
    OP_SETSID,           /* a session, and its controlling terminal */
    OP_LANDLOCK_CREATE_RULESET,
    OP_LANDLOCK_ADD_PATH,
    OP_LANDLOCK_ADD_PORT,
    OP_LANDLOCK_RESTRICT_SELF, /* before the filter, and not yet */
    OP_PRLIMIT,
    OP_OOM_SCORE_ADJ,
    OP_EXECVE            /* never run as a step: see execute.c */
};

/* Where the steps above have their numbers: struct step.value. */
enum value {
    VALUE_EFFECTIVE = 0, VALUE_PERMITTED, VALUE_INHERITABLE, VALUE_AMBIENT, VALUE_UNTIL_EXEC, /* OP_CAPSET */
    VALUE_KEEP = 0,                                                                           /* OP_BOUNDING */
    VALUE_MADE = 0,                                                                           /* OP_STDIO */
    VALUE_SETGROUPS = 0,                                                                      /* OP_USER */
    VALUE_TOLERANT = 0,                                                                       /* OP_CHDIR */
    VALUE_MASK = 0,                                                                           /* OP_UMASK */
    VALUE_ROWS = 0, VALUE_COLUMNS,                                                            /* OP_TERMINAL */
    VALUE_CONTROLLING = 0,                                                                    /* OP_SETSID */
    VALUE_PERSONA = 0,                                                                        /* OP_PERSONALITY */
    VALUE_POLICY = 0, VALUE_SCHED_FLAGS, VALUE_NICE, VALUE_PRIORITY, VALUE_RUNTIME, VALUE_DEADLINE,
    VALUE_PERIOD,                                                                             /* OP_SCHED_SETATTR */
    VALUE_IOCLASS = 0, VALUE_LEVEL,                                                           /* OP_IOPRIO_SET */
    VALUE_HANDLED_FS = 0, VALUE_HANDLED_NET, VALUE_SCOPED,                      /* OP_LANDLOCK_CREATE_RULESET */
    VALUE_ALLOWED = 0, VALUE_PORT,                                              /* OP_LANDLOCK_ADD_… */
    VALUE_MODE = 0,                                                                           /* OP_SET_MEMPOLICY */
    VALUE_RESOURCE = 0, VALUE_SOFT, VALUE_HARD,                                               /* OP_PRLIMIT */
    VALUE_SCORE = 0,                                                                          /* OP_OOM_SCORE_ADJ */
    VALUES = 7
};

enum step_flag {
    STEP_RECURSIVE = 1,       /* bind: with the mounts below */
    STEP_COPY_UP = 2,         /* tmpfs: starts with the contents of the directory it covers */
    STEP_IF_PRESENT = 4,      /* symlink: only where what it names exists */
    STEP_REPLACE = 8,         /* symlink: instead of what stands there */
    STEP_DEVICE = 16,         /* bind: the source must be the device node `mode`, `dev` */
    STEP_DIRECTORY = 32,      /* bind: the source is a directory (known where `fd` is given) */
    STEP_NOFOLLOW = 64,       /* the last component of the destination is not followed */
    STEP_IDMAP = 128,         /* `userns` maps the owners of the files in the tree */
    STEP_IDMAP_RECURSIVE = 256,
    STEP_IN_PLACE = 1024,     /* root: over the original, because the mount namespace is not the container's */
    STEP_OPTIONAL = 512,      /* failing is no error: the spec says SHOULD */
    STEP_NAMED_ONLY = 2048,   /* bind: attributes that it does not name are off, unless the kernel has locked them */
    STEP_SOURCE_NOFOLLOW = 4096, /* bind: the last component of the source is not followed */
    STEP_COPY_SYMLINK = 8192, /* bind: a source that is a symbolic link is copied (by the host: then the operation is
                                 symlink, and what stands there must be that link) */
    STEP_MADE = 16384         /* bind: `fd` is a filesystem that the host made for this device alone */
};

/* Strings are offsets into the arena; offset 0 is the empty string and means "not given". */
struct step {
    uint32_t op;
    uint32_t flags;
    uint32_t path;            /* destination, absolute, in the container */
    uint32_t source;          /* on the host, a name for the filesystem, or a link's target */
    uint32_t fstype;
    uint32_t data;            /* file systems: options "key=value", each ended by NUL, the last one empty */
    uint32_t label;           /* mount: SELinux label of the root, for a filesystem without an option for it */
    int32_t fd;               /* detached tree made by the host, a filesystem context, the mount to change, or -1 */
    int32_t userns;           /* user namespace whose maps an idmapped mount takes, or -1 */
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint64_t dev;
    uint64_t sb_flags;        /* MS_* that belong to the superblock */
    uint64_t attr_set;        /* MOUNT_ATTR_* for this mount */
    uint64_t attr_clr;
    uint64_t rec_set;         /* MOUNT_ATTR_* for this mount and those below */
    uint64_t rec_clr;
    uint32_t propagation;     /* MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE; 0 leaves it */
    uint32_t rec_propagation; /* the same for this mount and those below, first */
    uint32_t list;            /* OP_USER: groups, uint32_t each; CPUs or nodes as bits of uint64_t: offset into the arena */
    uint32_t list_size;       /* how many of them */
    uint64_t value[7];        /* see enum value */
    uint32_t number;          /* of the step in the plan, for struct message_mark */
};

/* What a step put at /proc or /sys of the container. */
struct view {
    int fd;                   /* 0 while there is nothing */
    uint64_t mount;           /* its mount ID */
};

/* What the steps act on. One a container; the caller owns it. */
struct stub {
    const char *arena;
    uint32_t arena_size;
    struct step *steps;       /* those that pyr_run runs */
    uint32_t step_count, step_index; /* how many, and which of them runs */
    const struct step *wrong; /* the step that failed, where it is not the one that found out */
    int root;                 /* the new root's mount, once OP_ROOT made it */
    uint64_t root_mount;      /* its mount ID */
    int proc;                 /* a procfs that the container cannot have touched */
    uint64_t pid_namespace;   /* inode number of the joined one, where another process opens its procfs: procfs.c */
    struct view views[2];     /* at /proc and at /sys: mount_targets.c */
    int empty;                /* the filesystem that masks directories, 0 while there is none */
    uint64_t empty_device;    /* its device number */
    int console_socket;       /* takes the pseudoterminal's master, or -1 */
    int terminal;             /* the pseudoterminal's slave, once OP_CONSOLE made it */
    int ruleset;              /* Landlock's, once it is made */
    int restriction;          /* the same, if it is to be enforced */
    int marks;                /* the socket that takes a struct message_mark for each step, or -1 */
    uint32_t entered;         /* the working directory that OP_CHDIR entered as root */
    uint32_t failed_list;     /* which list of steps failed (enum list), and which of them: execute.c */
    int32_t failed_index;
    const char *call;         /* the system call that failed */
    char text[512];           /* what the kernel's mount log said of it */
};

struct join {
    int fd;
    int type;                 /* CLONE_NEW* */
};

enum spawn_flag {
    SPAWN_VIA = 1,            /* through an intermediate process: see spawn.c */
    SPAWN_MAPS = 2,           /* a new user namespace, whose maps the host writes */
    SPAWN_BECOME_ROOT = 4,    /* uid and gid 0 of that namespace */
    SPAWN_CGROUP = 8,         /* a new cgroup namespace, made once the process is in its cgroups */
    SPAWN_WAIT = 16,          /* the steps begin at the host's word: it moves network devices in */
    SPAWN_ALL_CPUS = 32,      /* the process may use all CPUs of its cgroup, whatever its caller may use */
    SPAWN_EXEC = 128,         /* a process of exec, in a container that there is */
    SPAWN_HOOKS = 256,        /* init waits for the host once it has mounted */
    SPAWN_LATE = 512,         /* the host moves init into the group that limits its memory once it is ready; with
                                 SPAWN_EXEC the intermediate process, into all groups that only the host can join */
    SPAWN_AT_ONCE = 1024,     /* the host itself starts it, and nobody comes to the gate */
    SPAWN_TELL = 2048,        /* the process says MESSAGE_BEGUN before all else, or when it is in its group */
    SPAWN_COPY_FILES = 4096,  /* processes of the container could open the files that are mapped: mapped_files.c */
    SPAWN_CROSS = 64          /* with SPAWN_VIA: the intermediate process goes on as init, as far as pyr_cross */
};

/* How a process comes to its program: what process.c leaves to execute.c. */
struct execution {
    char *const *argv;
    char **env;               /* with room for one more than it has: HOME */
    const struct step *limits;/* OP_PRLIMIT, or another operation, which is the host's */
    uint32_t limit_count;
    uint32_t preserve;        /* descriptors from 3 on that the program inherits */
    struct filter *filter;
    char home[4096];          /* "HOME=…"; after a refused execve(2) the beginning of the program */
    char path[4096];          /* the program, as it was found */
};

struct spawn {
    uint64_t clone_flags;     /* CLONE_NEW* of the namespaces to make, without CLONE_NEWCGROUP */
    uint32_t flags;
    int sync;                 /* SOCK_SEQPACKET to the host */
    int host_sync;            /* the host's end, closed in the child */
    int cgroup;               /* cgroup v2 to start in, or -1 */
    const int *tasks;         /* `tasks` files of the cgroup v1 groups to join */
    uint32_t task_count;
    struct step *build;       /* the steps of the root filesystem */
    uint32_t build_count;
    struct step *enter;       /* of init, with `execution`: hidden paths, the new root, labels */
    uint32_t enter_count;
    struct step *process;     /* with `execution`: what the process becomes */
    uint32_t process_count;
    struct execution *execution; /* what it executes then; NULL where Python's init goes on (pyruntime/init/main.py) */
    int gate;                 /* of init: the socket at which it waits for start; otherwise -1 */
    int back;                 /* `tasks` or cgroup.procs of the group to go back to once SPAWN_CGROUP is done, or -1 */
    const struct join *joins;
    uint32_t join_count;
    const char *time_offsets; /* text for /proc/self/timens_offsets, or NULL */
};

/* Messages from the child to the host. */
enum message {
    MESSAGE_BEGUN = 'B',      /* the process runs, and is in its group of cgroup v2 */
    MESSAGE_MAPS = 'U',       /* in its user namespace, waits for the maps */
    MESSAGE_PID = 'P',        /* the intermediate process tells who is in the new namespaces: init's pid, or its own */
    MESSAGE_CROWDED = 'C',    /* the intermediate process cannot clone: the container has too many processes */
    MESSAGE_STEP = 'E',       /* a step failed */
    MESSAGE_SPAWN = 'S',      /* something before the first step failed */
    MESSAGE_MOUNTED = 'M',    /* init has made the mounts, and waits for hooks of the host */
    MESSAGE_WAITS = 'W',      /* init waits for start, in all of its groups */
    MESSAGE_READY = 'R',      /* and the numbers of the limits that only the host may set, a byte each */
    MESSAGE_EXECUTES = 'X',   /* the program is next */
    MESSAGE_LISTENER = 'L',   /* with the filter's listener */
    MESSAGE_MARK = 'T',       /* a step was done: only where the host asked for it, and at any time */
    MESSAGE_PROGRAM = 0       /* after the failure of execve(2), as the last one: the beginning of the program */
};

/* Messages from the host and from `start`. */
enum word { MESSAGE_GO = 'G' };

enum list { LIST_BUILD, LIST_ENTER, LIST_PROCESS, LIST_LIMITS, LIST_FILTER, LIST_EXECUTE };

/* What a process does before its steps: struct message_mark.step. */
enum stage { STAGE_NAMESPACES = 0x40000000, STAGE_CGROUPS, STAGE_PROGRAM };

struct message_mark {
    uint32_t kind;
    uint32_t step;            /* struct step.number, or enum stage */
    uint64_t begin, end;      /* CLOCK_REALTIME, in nanoseconds */
};

struct message_step {
    uint32_t kind;
    uint32_t list;            /* which list of steps it is about: enum list */
    int32_t index;            /* of the step; of the join for MESSAGE_SPAWN, or -1 */
    int32_t error;            /* errno */
    char call[32];
    char text[512];
};

int pyr_spawn(struct spawn *spawn, struct stub *stub, int *pidfd);
int pyr_cross(int sync);
int pyr_run(struct stub *stub, struct step *steps, uint32_t count);
int pyr_device_filesystem(uint32_t mode, uint64_t dev, uint32_t uid, uint32_t gid);
int pyr_clone_tree(int dirfd, const char *path, uint32_t flags);
int pyr_write_attribute(int proc, const char *path, const char *text);
int pyr_idmap_tree(int tree, int userns, int recursive);
int pyr_has_mount_setattr(void);
#endif
