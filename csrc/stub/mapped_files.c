/* Replaces the mappings of the host's files by copies.
 *
 * The links of /proc/PID/map_files open the mapped files, with the rights of the process that follows them. Processes of
 * a container that have CAP_SYS_PTRACE, and CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, outside of every user namespace could
 * write to the host's C library through a process of the runtime. The program itself stays: nobody can write to its file.
 */
#include "mapped_files.h"

#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "stub.h"

enum { TEXT_SIZE = 1 << 20 /* bytes of /proc/self/maps: some ten thousand mappings */ };

struct mapping {
    uintptr_t begin, end;
    char rights[5];
    unsigned major, minor;
    unsigned long inode;      /* 0 without a file */
};

/* Parses the line at `*text` and goes to the next one; returns false at the end. */
static bool next_mapping(char **text, struct mapping *mapping) {
    unsigned long begin, end;
    if (sscanf(*text, "%lx-%lx %4s %*s %x:%x %lu", &begin, &end, mapping->rights, &mapping->major, &mapping->minor,
               &mapping->inode) != 6)
        return false;
    mapping->begin = begin;
    mapping->end = end;
    *text += strcspn(*text, "\n");
    *text += **text == '\n';
    return true;
}

/* The code that runs here may be in the mapping: mremap(2) replaces it at once, by the same bytes. */
static int replace(struct stub *stub, const struct mapping *mapping) {
    void *place = (void *)mapping->begin; /* NOLINT: the kernel gives a number */
    size_t size = mapping->end - mapping->begin;
    int rights = (mapping->rights[0] == 'r' ? PROT_READ : 0) | (mapping->rights[1] == 'w' ? PROT_WRITE : 0) |
                 (mapping->rights[2] == 'x' ? PROT_EXEC : 0);
    void *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return failed(stub, "mmap");
    if (rights & PROT_READ)
        memcpy(copy, place, size);
    if (mprotect(copy, size, rights) < 0)
        return failed(stub, "mprotect");
    if (mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place)
        return failed(stub, "mremap");
    return 0;
}

static int replace_all(struct stub *stub, char *text) {
    uintptr_t program = getauxval(AT_PHDR);
    struct mapping own = {0}, mapping;
    for (char *line = text; next_mapping(&line, &mapping);)
        if (mapping.begin <= program && program < mapping.end)
            own = mapping;
    for (char *line = text; next_mapping(&line, &mapping);) {
        bool programs = mapping.inode == own.inode && mapping.major == own.major && mapping.minor == own.minor;
        if (mapping.inode && !programs && replace(stub, &mapping) < 0)
            return -1;
    }
    return 0;
}

/* To be called in a new process, before anybody else in a pid namespace of it can see it. */
int copy_mapped_files(struct stub *stub) {
    cleanup_close int maps = openat(stub->proc, "self/maps", O_RDONLY | O_CLOEXEC);
    if (maps < 0)
        return failed(stub, "openat");
    char *text = mmap(NULL, TEXT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED)
        return failed(stub, "mmap");
    size_t used = 0;
    ssize_t size;
    while ((size = read(maps, text + used, TEXT_SIZE - 1 - used)) > 0)
        used += (size_t)size;
    if (size == 0 && used == TEXT_SIZE - 1) {
        errno = E2BIG;
        size = -1;
    }
    int result = size < 0 ? failed(stub, "read") : replace_all(stub, text);
    munmap(text, TEXT_SIZE);
    return result;
}
