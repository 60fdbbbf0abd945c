/* What a process of exec has of the host's memory: the stub, the C library, the stack, and what it was told to do.
 *
 * The rest (Python's heap, the configuration) it neither needs nor should have where processes of the container can see
 * it. To leave it out also costs less than to copy its page tables twice, and to copy each page that the host writes to
 * afterwards. So what the process reads is gathered in a mapping of its own, and the large writable mappings are marked
 * as not to be forked (madvise(2)) for as long as the clone takes. Without either of it the process has a copy of all.
 */
#include "detach.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "filter.h"
#include "stub.h"

enum { LARGE = 128 << 10, NEAR = 64 << 10, PAGE = 4096, INSTRUCTION = 8 };

/* ---- Gathering ---- */

struct region {
    char *base;               /* NULL while only the size is wanted */
    size_t used;
};

/* A copy of it in the region; the thing itself while only the size is wanted. */
static void *keep(struct region *region, const void *thing, size_t size) {
    size_t at = (region->used + 15) & ~(size_t)15;
    region->used = at + size;
    if (!region->base || !thing)
        return (void *)(uintptr_t)thing;
    return memcpy(region->base + at, thing, size);
}

/* `spare` more places follow the strings and their NULL. */
static char **keep_vector(struct region *region, char *const *vector, size_t spare) {
    size_t count = 0;
    while (vector[count])
        count++;
    char **kept = keep(region, vector, (count + 1 + spare) * sizeof *vector);
    for (size_t i = 0; i < count; i++)
        kept[i] = keep(region, kept[i], strlen(kept[i]) + 1);
    return kept;
}

static struct execution *keep_execution(struct region *region, const struct execution *execution) {
    struct execution *kept = keep(region, execution, sizeof *execution);
    kept->argv = keep_vector(region, kept->argv, 0);
    kept->env = keep_vector(region, kept->env, 1);
    kept->limits = keep(region, kept->limits, kept->limit_count * sizeof *kept->limits);
    struct filter *filter = kept->filter = keep(region, kept->filter, sizeof *kept->filter);
    filter->program = keep(region, filter->program, (size_t)filter->length * INSTRUCTION);
    filter->message = keep(region, filter->message, filter->size);
    return kept;
}

static struct spawn *keep_spawn(struct region *region, const struct spawn *spawn) {
    struct spawn *kept = keep(region, spawn, sizeof *spawn);
    kept->tasks = keep(region, kept->tasks, kept->task_count * sizeof *kept->tasks);
    kept->joins = keep(region, kept->joins, kept->join_count * sizeof *kept->joins);
    kept->build = keep(region, kept->build, kept->build_count * sizeof *kept->build);
    kept->process = keep(region, kept->process, kept->process_count * sizeof *kept->process);
    kept->execution = keep_execution(region, kept->execution);
    return kept;
}

static struct stub *keep_stub(struct region *region, const struct stub *stub) {
    struct stub *kept = keep(region, stub, sizeof *stub);
    kept->arena = keep(region, kept->arena, kept->arena_size);
    return kept;
}

/* Replaces both by copies in a mapping that the caller unmaps: `region` and its size. */
static bool gather(struct detached *detached, struct spawn **spawn, struct stub **stub) {
    struct region region = {0};
    keep_spawn(&region, *spawn);
    keep_stub(&region, *stub);
    void *base = mmap(NULL, region.used, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return false;
    detached->region = base;
    detached->size = region.used;
    region = (struct region){.base = base};
    *spawn = keep_spawn(&region, *spawn);
    *stub = keep_stub(&region, *stub);
    return true;
}

/* ---- Leaving out ---- */

/* Of the program with the interpreter in it (csrc/launcher/arena.c); nowhere else is it known what the C library and the
 * dynamic linker have in the heap. */
extern uintptr_t arena_base(void) __attribute__((weak));

struct mapping {
    uintptr_t start, end;
    bool writable;            /* and private */
    bool named;               /* a file, or the stack */
    bool heap;
};

/* A line of /proc/self/maps (proc_pid_maps(5)). */
static bool parse(const char *line, struct mapping *mapping) {
    char *rest;
    mapping->start = strtoul(line, &rest, 16);
    if (*rest != '-')
        return false;
    mapping->end = strtoul(rest + 1, &rest, 16);
    size_t length = strcspn(rest, "\n");
    if (*rest != ' ' || length < 6)
        return false;
    mapping->writable = rest[2] == 'w' && rest[4] == 'p';
    mapping->heap = rest[length - 1] == ']' && memmem(rest, length, "[heap]", 6);
    mapping->named = memchr(rest, '/', length) || memchr(rest, '[', length);
    return true;
}

static void leave_out(struct detached *detached, uintptr_t start, uintptr_t end) {
    if (end < start + LARGE || detached->count == DETACHED_LIMIT ||
        madvise((void *)start, end - start, MADV_DONTFORK) < 0)
        return;
    detached->start[detached->count] = start;
    detached->length[detached->count++] = end - start;
}

/* What is Python's: the arena of the snapshot, the heap, and large anonymous mappings. One right behind a file's is that
 * file's .bss; where thread-local variables are, the dynamic linker has what it needs, too. */
static void choose(struct detached *detached, const char *maps) {
    struct mapping before = {0}, mapping;
    uintptr_t arena = arena_base(), variables = (uintptr_t)&errno - NEAR;
    for (const char *line = maps; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (!parse(line, &mapping))
            return;
        bool bss = !mapping.named && before.named && before.end == mapping.start;
        before = mapping;
        if (!mapping.writable || bss)
            continue;
        if (arena > mapping.start && arena < mapping.end)
            leave_out(detached, arena, mapping.end);
        else if (mapping.heap)
            leave_out(detached, mapping.start, mapping.end);
        else if (!mapping.named && mapping.start <= variables && variables < mapping.end)
            leave_out(detached, mapping.start, variables & ~(uintptr_t)(PAGE - 1));
        else if (!mapping.named && (uintptr_t)detached->region - mapping.start >= mapping.end - mapping.start &&
                 (mapping.end < variables || mapping.start > variables + 2 * (uintptr_t)NEAR))
            leave_out(detached, mapping.start, mapping.end);
    }
}

void detach(struct detached *detached, struct spawn **spawn, struct stub **stub) {
    *detached = (struct detached){0};
    if (!arena_base || !gather(detached, spawn, stub))
        return;
    static char maps[32 << 10];
    cleanup_close int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t size = 0, got = 0;
    while (file >= 0 && size < (ssize_t)sizeof maps - 1 &&
           (got = read(file, maps + size, sizeof maps - 1 - (size_t)size)) > 0)
        size += got;
    maps[size] = '\0';
    if (file >= 0 && got == 0)
        choose(detached, maps);
}

void attach_again(struct detached *detached) {
    for (int i = 0; i < detached->count; i++)
        madvise((void *)detached->start[i], detached->length[i], MADV_DOFORK);
    if (detached->region)
        munmap(detached->region, detached->size);
}
