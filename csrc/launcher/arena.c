/* malloc, calloc, realloc and free of the program: the linker directs its calls here (ld(1), --wrap). The C library
   itself still calls its own functions. */
#include "arena.h"

#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* ---- The room behind the arena ---- */

/* CPython's allocator has a map of its memory, whose parts have 128 and 256 KiB. It uses few pages of them, but calloc
   would write zeros to all. */
#define LARGE_PIECE (128UL << 10)
static size_t room_used;

void *arena_take_room(size_t size) {
    size_t pages = (size + PAGE - 1) & -PAGE;
    if (pages < size || pages > ARENA_ROOM - room_used)
        return NULL;
    room_used += pages;
    return (char *)arena_limit() + room_used - pages;
}

/* Whether the size is stored before it. */
static bool is_own(const void *memory) {
    uintptr_t place = (uintptr_t)memory, room = arena_limit();
    return arena_holds(memory) || (place >= room && place < room + room_used);
}

void *__wrap_calloc(size_t count, size_t size) {
    size_t whole;
    if (__builtin_mul_overflow(count, size, &whole))
        return NULL;
    if (!recording) {
        char *place = whole >= LARGE_PIECE && whole < ARENA_ROOM ? arena_take_room(UNIT + whole) : NULL;
        if (!place)
            return __real_calloc(count, size);
        *size_of(place + UNIT) = whole;
        return place + UNIT;
    }
    void *memory = __wrap_malloc(whole);
    return memory ? memset(memory, 0, whole) : NULL;
}

void *__wrap_realloc(void *memory, size_t size) {
    if (!is_own(memory))
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
    if (!is_own(memory)) {
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

static const char ITSELF[] = "/proc/self/exe";

/* The kernel maps memory for one large page behind the arena and ARENA_ROOM (csrc/build/snapshot.py). */
#define LARGE_PAGE (2UL << 20)

static void *at_boundary(void *memory) { return (void *)(((uintptr_t)memory + LARGE_PAGE - 1) & -LARGE_PAGE); }

/* Return whether the page is in memory (mincore(2)). */
static bool there(char *page) {
    unsigned char answer = 0;
    return mincore(page, PAGE, &answer) == 0 && answer & 1;
}

/* Return where in the program's file the address lies, or -1. */
static off_t place_in_file(const void *memory) {
    uintptr_t address = (uintptr_t)memory;
    const ElfW(Phdr) *segment = (const void *)getauxval(AT_PHDR); /* NOLINT: the kernel gives a number */
    for (unsigned long left = segment ? getauxval(AT_PHNUM) : 0; left; left--, segment++)
        if (segment->p_type == PT_LOAD && address >= segment->p_vaddr && address < segment->p_vaddr + segment->p_filesz)
            return (off_t)(segment->p_offset + (address - segment->p_vaddr));
    return -1;
}

/* Fill the page with the file's bytes at `place`: without a page fault and without mapping each of its pages. */
static bool read_page(char *page, off_t place) {
    int file = place < 0 ? -1 : open(ITSELF, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    bool whole = pread(file, page, LARGE_PAGE, place) == (ssize_t)LARGE_PAGE;
    close(file);
    return whole;
}

void arena_take_large_page(void) {
    char *part = at_boundary(arena), *page = at_boundary((void *)(arena_limit() + ARENA_ROOM));
    if (part + LARGE_PAGE > limit)
        return;
    (void)!madvise(page, LARGE_PAGE, MADV_HUGEPAGE);
    *(volatile char *)page = 0;
    /* The last byte is in memory too if the kernel has given a large page for the first. */
    if (!there(page + LARGE_PAGE - PAGE))
        return;
    if (!read_page(page, place_in_file(part)))
        memcpy(page, part, LARGE_PAGE);
    if (mremap(page, LARGE_PAGE, LARGE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, part) != part)
        fail_errno("mremap"); /* what was at `part` may be unmapped */
}
