/* Leaves Python's memory out of a process that runs until its program without Python.
 *
 * Such a process does not need this memory, and processes of the container should not be able to read it. Leaving it
 * out is also faster than copying its page tables, and than copying each page that the host writes to afterwards. The
 * list of what is left out comes from Python's own allocator (csrc/launcher/cpython.c). The C library and the dynamic
 * linker keep their data elsewhere: in their own segments, on the stack and in the heap. The orders for the process are
 * in Python's memory, so they are copied to a mapping of their own first. If any of this is not possible, for example
 * in an interpreter without the list, the process gets a copy of all memory.
 */
#include "detach.h"

#include <sys/auxv.h>
#include <sys/mman.h>

#include "seccomp_filter.h"
#include "stub.h"

enum { INSTRUCTION = 8 /* bytes of a struct sock_filter */ };

/* ---- Gathering ---- */

struct region {
    char *base;               /* NULL while only the size is wanted */
    size_t used;
};

/* Returns a copy of `thing` in the region; `thing` itself while only the size is counted. */
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
    kept->enter = keep(region, kept->enter, kept->enter_count * sizeof *kept->enter);
    kept->process = keep(region, kept->process, kept->process_count * sizeof *kept->process);
    if (kept->time_offsets)
        kept->time_offsets = keep(region, kept->time_offsets, strlen(kept->time_offsets) + 1);
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

void detach(struct detached *detached, struct spawn **spawn, struct stub **stub) {
    *detached = (struct detached){0};
    if (!python_memory || !gather(detached, spawn, stub))
        return;
    detached->memory = python_memory();
    for (const struct extent *extent = detached->memory; extent->begin; extent++)
        (void)!madvise((void *)extent->begin, extent->end - extent->begin, MADV_DONTFORK);
}

void attach_again(const struct detached *detached) {
    if (!detached->region)
        return;
    for (const struct extent *extent = detached->memory; extent->begin; extent++)
        (void)!madvise((void *)extent->begin, extent->end - extent->begin, MADV_DOFORK);
    munmap(detached->region, detached->size);
}

/* ---- The command line ---- */

/* Of the GNU C library: where the stack of the process began, at argc, which the pointers of argv follow; and the same
 * pointers, which only a program sees that is linked statically with it. There the stack is said to begin elsewhere. */
extern void *__libc_stack_end __attribute__((weak));
extern char **__libc_argv __attribute__((weak));

/* Returns argv as execve(2) has put it there, or NULL. */
static char **first_words(void) {
    if (&__libc_argv)
        return __libc_argv;
    return &__libc_stack_end ? (char **)__libc_stack_end + 1 : NULL;
}

/* Overwrites the command line, the environment and the path of the program, where execve(2) has put them and /proc shows
 * them: every process that sees this one can read the command line, and it names directories of the host. To be called in
 * a child with memory of its own. The strings that Python and libc have copied are not changed. */
void clear_command_line(void) {
    static const char title[] = "pyruntime init";
    char *program = (char *)getauxval(AT_EXECFN); /* NOLINT: the kernel gives a number */
    char **words = first_words();
    if (!words || !program)
        return;
    long count;
    memcpy(&count, words - 1, sizeof count);
    /* In this order: the words, the environment, the path. */
    if (count < 1 || words[count] || words[0] >= program)
        return;
    char *last = words[count - 1] + strlen(words[count - 1]);
    memset(words[0], 0, (size_t)(program + strlen(program) - words[0]));
    if ((size_t)(program - words[0]) < sizeof title)
        return;
    memcpy(words[0], title, sizeof title);
    /* If the last byte of the command line is not NUL, /proc/PID/cmdline ends at the first NUL, as for programs with
     * setproctitle(3). */
    if (last >= words[0] + sizeof title)
        *last = ' ';
}
