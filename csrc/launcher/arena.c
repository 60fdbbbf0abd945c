/* malloc, calloc, realloc and free of the program: the linker directs its calls here (ld(1), --wrap). The C library
   itself still calls its own functions. */
#include "arena.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "fail.h"

/* The arena is the last part of the program's data, so that its unused end need not be stored. */
#define PAGE 4096UL
#define ARENA_SIZE (64UL << 20)
/* The compiler would say that the section has contents; the assembler takes the rest of the line for a comment. */
#ifdef __aarch64__
#define NOT_IN_THE_FILE(name) name ",\"aw\",%nobits//"
#else
#define NOT_IN_THE_FILE(name) name ",\"aw\",@nobits#"
#endif
static char arena[ARENA_SIZE] __attribute__((section(NOT_IN_THE_FILE(".arena")), aligned(PAGE)));
static bool recording;

/* The usable size of each piece is stored before it. A piece that is freed while the snapshot is taken is used again, so
   that the arena stays dense. A piece that is freed later is not used again. */
#define UNIT 16UL
#define SPARE (PAGE / UNIT)
static void *spare[SPARE]; /* by size with its head, in units: the first free piece, which points to the next */

/* Free memory from which other pieces are cut, in this order. The head of a gap's first piece is the last word of the
   gap's first unit, so that all pieces are aligned. */
#define GAPS 64
static struct gap {
    char *begin, *end;
} gaps[GAPS];
static size_t gap_count;
static char *limit = arena; /* of all pieces */

/* Adds a gap before all others. If there are too many, its memory is not used again. */
static void add_gap(char *begin, char *end) {
    if (gap_count == GAPS)
        return;
    memmove(gaps + 1, gaps, gap_count++ * sizeof *gaps);
    gaps[0] = (struct gap){begin, end};
}

/* The memory of groups, and which piece is the next of one. */
#define GROUPS 8
static struct gap groups[GROUPS];
static size_t group_count;
static struct {
    size_t group, units;
} next;

void arena_begin(const size_t *sizes, size_t count) {
    char *begin = arena;
    for (group_count = 0; group_count < count && group_count < GROUPS; group_count++) {
        groups[group_count] = (struct gap){begin, begin + sizes[group_count] / UNIT * UNIT};
        begin = groups[group_count].end;
    }
    /* The last piece ends behind its gap, because of the head. */
    add_gap(begin, arena + sizeof arena - UNIT);
    recording = true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);

void arena_end(void) { recording = false; }

uintptr_t arena_begins(void) { return (uintptr_t)arena; }

uintptr_t arena_limit(void) { return ((uintptr_t)limit + PAGE - 1) & -PAGE; }

bool arena_holds(const void *memory) { return (const char *)memory > arena && (const char *)memory <= limit; }

static size_t *size_of(void *memory) { return (size_t *)memory - 1; }

/* Return a new piece of `size` bytes, its head included, from a gap; NULL if it is too small. */
static void *cut(struct gap *gap, size_t size) {
    if (size > (size_t)(gap->end - gap->begin))
        return NULL;
    char *memory = gap->begin + UNIT;
    gap->begin += size;
    if (limit < gap->begin + UNIT)
        limit = gap->begin + UNIT;
    return memory;
}

/* Return a new piece of `size` bytes, its head included, or NULL if the arena is full. */
static void *take(size_t size) {
    void *memory = NULL;
    for (struct gap *gap = gaps; !memory && gap < gaps + gap_count; gap++)
        memory = cut(gap, size);
    return memory;
}

static size_t units_of(size_t size) { return (sizeof(size_t) + size + UNIT - 1) / UNIT; }

void arena_next_in_group(size_t group, size_t size) {
    next.group = group <= group_count ? group : 0;
    next.units = units_of(size);
}

void *__wrap_malloc(size_t size) {
    if (!recording)
        return __real_malloc(size);
    size_t units = units_of(size);
    void *memory = NULL;
    if (next.group && units == next.units) {
        memory = cut(&groups[next.group - 1], units * UNIT);
        next.group = 0;
    } else if (units < SPARE && (memory = spare[units])) {
        spare[units] = *(void **)memory;
        return memory;
    }
    if (memory || (memory = take(units * UNIT)))
        *size_of(memory) = units * UNIT - sizeof(size_t);
    return memory;
}

void *__wrap_calloc(size_t count, size_t size) {
    size_t whole;
    if (!recording)
        return __real_calloc(count, size);
    void *memory = __builtin_mul_overflow(count, size, &whole) ? NULL : __wrap_malloc(whole);
    return memory ? memset(memory, 0, whole) : NULL;
}

void *__wrap_realloc(void *memory, size_t size) {
    if (!arena_holds(memory))
        return memory || !recording ? __real_realloc(memory, size) : __wrap_malloc(size);
    size_t former = *size_of(memory);
    if (size <= former)
        return memory;
    void *larger = __wrap_malloc(size);
    if (!larger)
        return NULL;
    memcpy(larger, memory, former);
    __wrap_free(memory);
    return larger;
}

void __wrap_free(void *memory) {
    if (!arena_holds(memory)) {
        __real_free(memory);
    } else if (recording) {
        size_t size = *size_of(memory), units = (size + sizeof(size_t)) / UNIT;
        memset(memory, 0, size); /* so that two snapshots are equal */
        if (units < SPARE) {
            *(void **)memory = spare[units];
            spare[units] = memory;
        } else {
            add_gap((char *)memory - UNIT, (char *)memory - UNIT + units * UNIT);
        }
    }
}

/* libpython stores the id of the thread in its locks. A constant id makes all snapshots equal. */
pthread_t __real_pthread_self(void);
pthread_t __wrap_pthread_self(void) { return recording ? 1 : __real_pthread_self(); }

int __real_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes);
int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    return __real_pthread_getattr_np(recording ? __real_pthread_self() : thread, attributes);
}

/* ---- In a process that continues from the snapshot ---- */

/* The kernel maps memory for one large page behind the arena and ARENA_ROOM (csrc/build/snapshot.py). */
#define LARGE_PAGE (2UL << 20)
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

static void *at_boundary(void *memory) { return (void *)(((uintptr_t)memory + LARGE_PAGE - 1) & -LARGE_PAGE); }

/* Writes to the first byte. If the kernel gives a large page for it, the last byte is in memory too (mincore(2)). */
static bool given(char *memory) {
    unsigned char there = 0;
    *(volatile char *)memory = 0;
    return mincore(memory + LARGE_PAGE - PAGE, PAGE, &there) == 0 && there & 1;
}

void arena_take_large_page(void) {
    char *part = at_boundary(arena), *page = at_boundary((void *)(arena_limit() + ARENA_ROOM));
    if (part + LARGE_PAGE > limit)
        return;
    (void)!madvise(page, LARGE_PAGE, MADV_HUGEPAGE);
    if (!given(page))
        return;
    (void)!madvise(part, LARGE_PAGE, MADV_POPULATE_READ); /* saves page faults; since Linux 5.14 */
    memcpy(page, part, LARGE_PAGE);
    if (mremap(page, LARGE_PAGE, LARGE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, part) != part)
        fail_errno("mremap"); /* what was at `part` may be unmapped */
}
