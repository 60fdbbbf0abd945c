/* Seals the launcher, so that /proc/self/exe never leads to a writable file of the host (CVE-2019-5736).

   A process of a container can open the runtime's program through /proc/PID/exe, or execute it with a script that begins
   with `#!/proc/self/exe`. There are two ways to make that harmless.

   In place, if the caller has CAP_SYS_ADMIN in its user namespace:

   1. A detached overlay of two lower directories and no upper one is mounted; the first is the program's. Without an
      upper directory the *superblock* is read-only, and overlayfs refuses to change that, so neither mount_setattr nor
      fspick nor a new mount of it makes anything writable. A read-only bind mount is not enough, because read-only is
      only a flag of that mount, and the host's superblock below it stays writable.
   2. The segments of the program are mapped again at the same addresses, from the same file in the overlay.
   3. prctl(PR_SET_MM) makes the overlay's file the one that /proc/self/exe shows. The kernel allows that only if no
      page of the former file is mapped any more.

   The program is not executed again. A second execution would need an argument, a variable or a descriptor that says
   that the program is sealed already, and others could pass the same. Here the process itself has made the calls that
   seal it. Nothing is copied either.

   As a sealed copy, for all other callers: the program copies itself into a memfd, seals the memfd and executes it. The
   path of the original follows the ELF image in the copy. A program is taken for sealed only if its file has the kernel's
   seals and this path. A program on an overlay of the host, read-only or not, is sealed like any other.

   The copy has its own pages. The overlay shares those of the host's file, as each image layer does that a container
   reads. A fault of the kernel that writes to pages of a file that is open read-only would affect both. */
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "syscalls.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* ---- Sealing in place ---- */

static int configure(int context, unsigned command, const char *key, const char *value) {
    return (int)syscall(SYS_fsconfig, context, command, key, value, 0);
}

/* Return a descriptor of the root of a detached, read-only overlay of two directories, or -1. */
static int overlay(int first, int second) {
    /* By descriptor: a path could be too long for fsconfig, and would need escapes. */
    char layers[64];
    snprintf(layers, sizeof layers, "/proc/self/fd/%d:/proc/self/fd/%d", first, second);
    int context = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC), mount = -1;
    if (context < 0)
        return -1;
    /* overlayfs refuses a single lower directory. xino=off: same_file compares inode numbers with those of the layer. */
    if (configure(context, FSCONFIG_SET_STRING, "lowerdir", layers) == 0 &&
        configure(context, FSCONFIG_SET_STRING, "xino", "off") == 0 &&
        configure(context, FSCONFIG_CMD_CREATE, NULL, NULL) == 0)
        mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                             MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    close(context);
    return mount;
}

/* Return whether two descriptors are of the same file. Their devices differ, because one is in the overlay. */
static bool same_file(int one, int other) {
    struct stat a, b;
    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_ino == b.st_ino && a.st_size == b.st_size &&
           a.st_mode == b.st_mode && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
           a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

int read_only_view(int file, const char *path, const char *beside) {
    const char *name = strrchr(path, '/');
    char directory[PATH_MAX];
    if (!name || name == path || name - path >= PATH_MAX)
        return -1;
    snprintf(directory, sizeof directory, "%.*s", (int)(name - path), path);
    int first = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int second = open(beside, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int root = first < 0 || second < 0 ? -1 : overlay(first, second);
    int view = root < 0 ? -1 : openat(root, name + 1, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    /* It is another file if the program's was replaced after it was executed, or if a file is mounted over it. */
    if (view >= 0 && !same_file(file, view)) {
        close(view);
        view = -1;
    }
    const int done[] = {root, second, first};
    for (size_t index = 0; index < sizeof done / sizeof *done; index++)
        if (done[index] >= 0)
            close(done[index]);
    return view;
}

/* Bits of an entry in /proc/PID/pagemap: the page is the file's; the page is present or swapped out. */
#define PAGE_OF_FILE (1ULL << 61)
#define PAGE_THERE (3ULL << 62)

/* So many pages are copied without looking at them first. */
#define FEW_PAGES 4

/* Copy the pages that were written to from one private mapping of a file to another of the same bytes. */
static void carry_over(char *to, const char *from, size_t length, size_t page) {
    uint64_t entries[2048];
    int map = length > FEW_PAGES * page ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
    for (size_t done = 0; done < length;) {
        size_t count = (length - done) / page;
        if (count > sizeof entries / sizeof *entries)
            count = sizeof entries / sizeof *entries;
        ssize_t size = count * sizeof *entries;
        off_t place = ((uintptr_t)from + done) / page * sizeof *entries;
        bool known = map >= 0 && pread(map, entries, size, place) == size;
        for (size_t index = 0; index < count; index++, done += page)
            if (!known || ((entries[index] & PAGE_THERE) && !(entries[index] & PAGE_OF_FILE)))
                memcpy(to + done, from + done, page);
    }
    if (map >= 0)
        close(map);
}

/* Map the segment from `file`, at the same address. */
static bool map_again(const ElfW(Phdr) *segment, ElfW(Addr) base, int file, size_t page) {
    uintptr_t begin = (base + segment->p_vaddr) & -page;
    size_t length = ((base + segment->p_vaddr + segment->p_filesz + page - 1) & -page) - begin;
    int protection = (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0) |
                     (segment->p_flags & PF_X ? PROT_EXEC : 0);
    char *copy = mmap(NULL, length, protection, MAP_PRIVATE, file, (off_t)(segment->p_offset & -page));
    if (copy == MAP_FAILED)
        return false;
    if (segment->p_flags & PF_W)
        carry_over(copy, (const char *)begin, length, page);
    /* In one step, because this replaces the code that is running and its data. */
    return mremap(copy, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)begin) == (void *)begin;
}

/* For dl_iterate_phdr, whose first object is the program: map all of it again from the file *data. */
static int map_program_again(struct dl_phdr_info *program, size_t size, void *data) {
    (void)size;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bool done = true;
    for (int index = 0; index < program->dlpi_phnum; index++)
        if (program->dlpi_phdr[index].p_type == PT_LOAD)
            done = done && map_again(&program->dlpi_phdr[index], program->dlpi_addr, *(int *)data, page);
    for (int index = 0; index < program->dlpi_phnum; index++) {
        const ElfW(Phdr) *fixed = &program->dlpi_phdr[index];
        uintptr_t begin = (program->dlpi_addr + fixed->p_vaddr) & -page;
        uintptr_t end = (program->dlpi_addr + fixed->p_vaddr + fixed->p_memsz) & -page;
        if (fixed->p_type == PT_GNU_RELRO && begin < end) /* writable for the start of the C library only */
            done = mprotect((void *)begin, end - begin, PROT_READ) == 0 && done;
    }
    return done ? 1 : -1;
}

/* Make /proc/self/exe show `file`; return 0, or -1 with errno. PR_SET_MM_MAP (prctl(2)) sets all addresses of the
   program's memory as well, so it gets the present ones: fields of /proc/self/stat, by their numbers in proc(5). */
static int show_as_program(int file) {
    enum { STATE = 3, START_CODE = 26, END_CODE, START_STACK, START_DATA = 45, END_DATA, START_BRK, ARG_START, ARG_END,
           ENV_START, ENV_END, FIELDS };
    unsigned long long field[FIELDS] = {0};
    char text[2048];
    int stat = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t size = stat < 0 ? -1 : read(stat, text, sizeof text - 1);
    if (stat >= 0)
        close(stat);
    text[size < 0 ? 0 : size] = '\0';
    char *word = strrchr(text, ')'); /* the end of the name, which may have any characters */
    for (int index = STATE; word && index < FIELDS; index++) {
        word = strchr(word, ' ');
        if (word)
            field[index] = strtoull(++word, NULL, 10);
    }
    if (!word) {
        errno = EINVAL;
        return -1;
    }
    struct prctl_mm_map map = {
        .start_code = field[START_CODE],
        .end_code = field[END_CODE],
        .start_data = field[START_DATA],
        .end_data = field[END_DATA],
        .start_brk = field[START_BRK],
        .brk = (uintptr_t)sbrk(0),
        .start_stack = field[START_STACK],
        .arg_start = field[ARG_START],
        .arg_end = field[ARG_END],
        .env_start = field[ENV_START],
        .env_end = field[ENV_END],
        .exe_fd = (uint32_t)file,
    };
    return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

bool seal_in_place(int self, const char *origin, const char *beside) {
    int view = read_only_view(self, origin, beside);
    if (view < 0)
        return false;
    bool sealed = dl_iterate_phdr(map_program_again, &view) == 1 && show_as_program(view) == 0;
    close(view);
    return sealed;
}

/* ---- Sealed copy ---- */

/* The end of a sealed copy. It follows the ELF image and the path of the original. */
struct trailer {
    uint64_t path_length; /* bytes, without a terminating NUL */
    char magic[8];
};
static const char MAGIC[8] = {'p', 'y', 'r', 'u', 'n', 't', 'm', '1'};

static void write_all(int fd, const void *data, size_t size) {
    const char *bytes = data;
    while (size) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0)
            fail_errno("write to the sealed copy");
        bytes += written;
        size -= written;
    }
}

/* Return an executable memfd with this name. With the sysctl vm.memfd_noexec at 2 that is an error, which names it. */
static int executable_memfd(const char *name) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 memfds are always executable and the flag is unknown */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        fail_errno(errno == EACCES ? "memfd_create (sysctl vm.memfd_noexec is 2)" : "memfd_create");
    return fd;
}

int sealed_copy(int file, const char *name, const char *origin) {
    struct stat info;
    if (fstat(file, &info) < 0)
        fail_errno("fstat of the executable");
    int copy = executable_memfd(name);
    char *image = mmap(NULL, info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (image == MAP_FAILED)
        fail_errno("mmap of the executable");
    write_all(copy, image, info.st_size);
    munmap(image, info.st_size);
    if (origin) {
        struct trailer trailer = {.path_length = strlen(origin)};
        memcpy(trailer.magic, MAGIC, sizeof MAGIC);
        write_all(copy, origin, trailer.path_length);
        write_all(copy, &trailer, sizeof trailer);
    }
    /* F_SEAL_EXEC keeps the execute bits of the mode; kernels before 6.3 do not have it. */
    if (fcntl(copy, F_ADD_SEALS, SEALS | F_SEAL_EXEC) < 0 && fcntl(copy, F_ADD_SEALS, SEALS) < 0)
        fail_errno("F_ADD_SEALS");
    return copy;
}

_Noreturn void execute(int fd, char **argv) {
    extern char **environ;
    syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
    fail_errno("execveat of the sealed copy");
}

/* Return whether `self` is a sealed copy, and fill `origin` with the path of its original. */
static bool is_sealed_copy(int self, char origin[PATH_MAX]) {
    struct trailer trailer;
    struct stat info;
    int seals = fcntl(self, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS)
        return false;
    if (fstat(self, &info) == 0 && info.st_size > (off_t)sizeof trailer &&
        pread(self, &trailer, sizeof trailer, info.st_size - sizeof trailer) == sizeof trailer &&
        memcmp(trailer.magic, MAGIC, sizeof MAGIC) == 0 && trailer.path_length < PATH_MAX) {
        off_t start = info.st_size - sizeof trailer - trailer.path_length;
        if (pread(self, origin, trailer.path_length, start) == (ssize_t)trailer.path_length) {
            origin[trailer.path_length] = '\0';
            return true;
        }
    }
    fail("sealed copy", "it does not name its original");
}

bool find_origin(char origin[PATH_MAX]) {
    static const char memfd[] = "/memfd:"; /* how the kernel's path of each memfd begins */
    ssize_t length = readlink("/proc/self/exe", origin, PATH_MAX - 1);
    if (length < 0)
        fail_errno("readlink /proc/self/exe");
    origin[length] = '\0';
    if (strncmp(origin, memfd, sizeof memfd - 1) != 0)
        return false;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (self < 0)
        fail_errno("open /proc/self/exe");
    bool sealed = is_sealed_copy(self, origin);
    close(self);
    return sealed;
}
