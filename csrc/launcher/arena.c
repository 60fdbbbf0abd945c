/* malloc, calloc, realloc and free of the program: the linker directs its calls here (ld(1), --wrap). The C library
   itself still calls its own functions. */
#include "arena.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

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
static size_t used;
static bool recording;

void arena_begin(void) { recording = true; }

void arena_end(void) { recording = false; }

bool arena_holds(const void *memory) {
    return (const char *)memory > arena && (const char *)memory <= arena + used;
}

/* The usable size of each piece is stored before it. A piece that is freed while the snapshot is taken is used again, so
   that the arena stays dense. A piece that is freed later is not used again. */
#define UNIT 16UL
#define SPARE 4096
static void *spare[SPARE]; /* by size with its head, in units: the first free piece, which points to the next */

uintptr_t arena_begins(void) { return (uintptr_t)arena; }

/* The used part ends at `used` and the head of one more piece, rounded up to a page. */
uintptr_t arena_limit(void) { return ((uintptr_t)arena + used + UNIT + PAGE - 1) & -PAGE; }

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);

static size_t *size_of(void *memory) { return (size_t *)memory - 1; }

/* Return a new piece of `size` bytes, its head included, or NULL if the arena is full. */
static void *take(size_t size) {
    if (size > sizeof arena - UNIT - used)
        return NULL;
    used += size;
    return arena + UNIT + used - size;
}

void *__wrap_malloc(size_t size) {
    if (!recording)
        return __real_malloc(size);
    size_t units = (sizeof(size_t) + size + UNIT - 1) / UNIT;
    void *memory = units < SPARE ? spare[units] : NULL;
    if (memory) {
        spare[units] = *(void **)memory;
    } else if ((memory = take(units * UNIT))) {
        *size_of(memory) = units * UNIT - sizeof(size_t);
    }
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
