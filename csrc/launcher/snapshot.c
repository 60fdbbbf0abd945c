/* A started interpreter as part of the program.

   Starting CPython and importing the package gives the same objects each time. So the build starts it once, imports
   what the hot verbs use, and stores the memory that came of it in the program, as its initialized data: the kernel
   maps it when the program is executed, and a page that nobody touches is never read. Emacs is started that way.

   It works because the program is linked without position independence and with libpython in it: the code, the data of
   libpython, and what it allocates are at the same addresses in each process. What is not at the same address is the C
   library and the stack. Of those the snapshot holds nothing:

   - what libpython allocates while it is taken comes from ARENA, the last part of the program's own data. --wrap
     directs the calls of malloc here (setup.py); the C library itself keeps using its own.
   - the tables by which the program calls the C library are not part of it, nor are the variables that it shares with
     it, such as `environ`: the dynamic linker fills both in when the program is executed, as always.
   - extension modules are files, and not loaded yet (pyruntime/startup/embedded.py).
   - the build takes two snapshots, with the C library and the stack at different addresses, and fails if they differ.

   For the interpreter, waking up is what it is to be the child of a fork: the same memory, another process. */
#define Py_BUILD_CORE 1
#include <Python.h>
#include <internal/pycore_pymem.h>
#include <internal/pycore_runtime.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot.h"

_Noreturn void fail(const char *what, const char *detail);

/* Behind everything else that the program has, so that what is not used of it need not be stored. */
#define PAGE 4096UL
#define ARENA_SIZE (64UL << 20)
static char arena[ARENA_SIZE] __attribute__((section(".lbss,\"aw\",@nobits#"), aligned(PAGE)));
static size_t used;
static bool recording;
static PyThreadState *present;

/* Where the data begins that is stored: the linker's name for the start of .data. */
extern char __data_start;

/* What stands before the data in the file: both are addresses. */
struct header {
    uint64_t begin, end;
};

static bool in_arena(const void *memory) { return (const char *)memory > arena && (const char *)memory <= arena + used; }

/* ---- malloc and its like, as the program calls them ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);

/* Each piece has its usable size before it. Those given back while the snapshot is taken are used again, so that what is
   left lies close together; one that is given back later stays where it is. */
#define UNIT 16UL
#define SPARE 4096
static void *spare[SPARE]; /* the first of each size with its head, in units; each piece holds the next */

static size_t *size_of(void *memory) { return (size_t *)memory - 1; }

/* Return the next piece of `size` bytes with its head, or NULL when the arena is full. */
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
    if (!in_arena(memory))
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
    if (!in_arena(memory)) {
        __real_free(memory);
    } else if (recording) {
        size_t size = *size_of(memory), units = (size + sizeof(size_t)) / UNIT;
        memset(memory, 0, size); /* what is left must not depend on what was there */
        if (units < SPARE) {
            *(void **)memory = spare[units];
            spare[units] = memory;
        }
    }
}

/* The stack of Python's frames is asked for as memory of the kernel. */
static void *map(void *context, size_t size) {
    (void)context;
    if (recording)
        return __wrap_malloc(size);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(void *context, void *memory, size_t size) {
    (void)context;
    if (!in_arena(memory))
        munmap(memory, size);
}

/* Locks hold the thread that took them; the numbers that libpython makes of it would be different in each snapshot. */
pthread_t __real_pthread_self(void);
pthread_t __wrap_pthread_self(void) { return recording ? 1 : __real_pthread_self(); }

/* ---- Taken and woken ---- */

bool snapshot_present(void) { return present != NULL; }

void snapshot_begin(void) {
    PyObjectArenaAllocator allocator = {NULL, map, unmap};
    recording = true;
    PyObject_SetArenaAllocator(&allocator);
}

int snapshot_write(const char *path) {
    present = PyThreadState_Get();
    recording = false;
    /* Until here malloc gave out everything, one piece behind the other (launcher.c): what belongs together lies together.
       What is allocated from now on comes from Python's own allocator, which passes on what is not its own. */
    _PyMem_SetupAllocators(PYMEM_ALLOCATOR_PYMALLOC);
    present->native_thread_id = 0; /* of this process, and set anew in each */
    /* The last piece ends beyond `used`, by the head of a next one; the rest of its page is part of it as well. */
    struct header header = {(uintptr_t)&__data_start, ((uintptr_t)arena + used + UNIT + PAGE - 1) & -PAGE};
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 || write(file, &header, sizeof header) != sizeof header)
        return -1;
    for (uintptr_t place = header.begin; place < header.end;) {
        ssize_t written = write(file, (void *)place, header.end - place);
        if (written < 0)
            return -1;
        place += written;
    }
    return close(file);
}

/* Fill posix.environ, which was filled in another process. */
static void take_environment(void) {
    extern char **environ;
    PyObject *posix = PyImport_ImportModule("posix"), *variables = posix ? PyObject_GetAttrString(posix, "environ") : NULL;
    for (char **variable = environ; variables && *variable; variable++) {
        const char *equals = strchr(*variable, '=');
        if (!equals)
            continue;
        PyObject *name = PyBytes_FromStringAndSize(*variable, equals - *variable), *value = PyBytes_FromString(equals + 1);
        if (!name || !value || !PyDict_SetDefault(variables, name, value))
            break;
        Py_DECREF(name);
        Py_DECREF(value);
    }
    if (PyErr_Occurred())
        fail("interpreter", "no environment");
}

void snapshot_wake(void) {
    /* The key of thread-local storage was of another process. */
    Py_tss_t *key = &_PyRuntime.gilstate.autoTSSkey;
    *key = (Py_tss_t)Py_tss_NEEDS_INIT;
    if (PyThread_tss_create(key) != 0 || PyThread_tss_set(key, present) != 0)
        fail("interpreter", "no thread-local storage");
    present->thread_id = PyThread_get_thread_ident();
    PyOS_AfterFork_Child();
    take_environment();
}
