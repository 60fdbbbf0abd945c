/* While a snapshot is stored, no thread runs the interpreter and no lock is held. These parts of its state belong to the
   process that took the snapshot. They are cleared then, and set again in each process that continues the snapshot:

   |                                         | 3.10, 3.11                    | 3.12, 3.13         | 3.14               |
   |-----------------------------------------|-------------------------------|--------------------|--------------------|
   | keys of thread-local storage            | _PyRuntime.gilstate.autoTSSkey| _PyRuntime.*TSSkey | _PyRuntime.*TSSkey |
   | the ids of this and the main thread     | thread_id, main_thread        | the same           | the same           |
   | the limit of the stack                  | counted                       | counted            | addresses          |
   | the reference count of immortal objects | -                             | 32 bits of ones    | 3 << 30            |

   setup.py refuses other versions; with one, this file would not compile. */
#define Py_BUILD_CORE 1
#include "cpython.h"

#include <internal/pycore_ceval.h>
#include <internal/pycore_code.h>
#if PY_VERSION_HEX >= 0x030c0000
#include <internal/pycore_dict.h>
#endif
#if PY_VERSION_HEX >= 0x030c0000
#include <internal/pycore_function.h>
#endif
#include <internal/pycore_interp.h>
#if PY_VERSION_HEX >= 0x030b0000 && PY_VERSION_HEX < 0x030c0000
#include <internal/pycore_opcode.h>
#include <opcode.h>
#endif
#include <internal/pycore_pymem.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_runtime.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "arena.h"
#include "detach.h"
#include "fail.h"

#if PY_VERSION_HEX < 0x030a0000 || PY_VERSION_HEX >= 0x030f0000 || defined(Py_GIL_DISABLED)
#error "no snapshot of this CPython"
#endif

/* ---- Taking a snapshot ---- */

static void *pages(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* The memory that Python has from mmap(2); there is room for two more extents and an empty one. If the table is full, a
   piece is not recorded. */
#define EXTENTS 64
static struct extent mapped[EXTENTS + 3];
static size_t mapped_count;

/* CPython allocates the stack of its frames and the arenas of its objects with this function. The first ones are memory
   that the kernel has mapped with the program. */
static void *map(void *context, size_t size) {
    (void)context;
    void *memory = arena_take_room(size);
    if (memory)
        return memory;
    memory = pages(size);
    if (memory && mapped_count < EXTENTS)
        mapped[mapped_count++] = (struct extent){(uintptr_t)memory, (uintptr_t)memory + size};
    return memory;
}

static void unmap(void *context, void *memory, size_t size) {
    (void)context;
    if (arena_holds(memory)) {
        free(memory);
        return;
    }
    for (size_t index = 0; index < mapped_count; index++)
        if (mapped[index].begin == (uintptr_t)memory)
            mapped[index] = mapped[--mapped_count];
    munmap(memory, size);
}

/* csrc/build/c_library.ld: behind libpython's data are the C library's and our own, which children need. */
extern char __data_start, c_library_begin, own_end;

/* The caller holds the GIL, so nothing is allocated meanwhile. */
const struct extent *python_memory(void) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    mapped[mapped_count] =
        (struct extent){((uintptr_t)&__data_start + page - 1) & -page, (uintptr_t)&c_library_begin & -page};
    mapped[mapped_count + 1] = (struct extent){((uintptr_t)&own_end + page - 1) & -page, arena_limit() + ARENA_ROOM};
    mapped[mapped_count + 2] = (struct extent){0};
    return mapped;
}

static void *map_in_arena(void *context, size_t size) {
    (void)context;
    return malloc(size);
}

void cpython_begin(void) {
    PyObjectArenaAllocator allocator = {NULL, map_in_arena, unmap};
    PyObject_SetArenaAllocator(&allocator);
}

void cpython_add_frozen(const struct _frozen *modules) {
#if PY_VERSION_HEX >= 0x030b0000
    PyImport_FrozenModules = modules;
#else
    /* CPython 3.10 has its own frozen modules in the same table. */
    size_t own = 0, added = 0;
    while (PyImport_FrozenModules[own].name)
        own++;
    while (modules[added].name)
        added++;
    struct _frozen *table = malloc((own + added + 1) * sizeof *table);
    if (!table)
        fail("memory", "no room for the frozen modules");
    memcpy(table, PyImport_FrozenModules, own * sizeof *table);
    memcpy(table + own, modules, (added + 1) * sizeof *table);
    PyImport_FrozenModules = table;
#endif
}

#if PY_VERSION_HEX >= 0x030b0000
/* CPython writes to code that runs: it counts until it specializes an instruction, and 3.13 keeps which way each branch
   went. Therefore code that hot verbs run lies together, in groups, which csrc/build/freeze.py has put into the flags. */
#define GROUP_SHIFT 28
#define GROUP_MASK (7 << GROUP_SHIFT)

PyCodeObject *__real__PyCode_New(struct _PyCodeConstructor *parts);
PyCodeObject *__wrap__PyCode_New(struct _PyCodeConstructor *parts) {
    size_t group = (size_t)(parts->flags & GROUP_MASK) >> GROUP_SHIFT;
    parts->flags &= ~GROUP_MASK;
    if (group)
        arena_next_in_group(group, _PyObject_VAR_SIZE(&PyCode_Type, PyBytes_GET_SIZE(parts->code) / sizeof(_Py_CODEUNIT)));
    return __real__PyCode_New(parts);
}
#endif

PyThreadState *cpython_leave(void) {
    PyThreadState *state = PyEval_SaveThread();
    state->thread_id = 0;
    _PyRuntime.main_thread = 0;
#if PY_VERSION_HEX >= 0x030b0000
    state->native_thread_id = 0; /* it stays 0, because only debuggers of other processes read it */
#endif
#if PY_VERSION_HEX >= 0x030b0000
    /* Frames of functions that have returned left values there, such as addresses of the stack. */
    memset(state->datastack_top, 0, (char *)state->datastack_limit - (char *)state->datastack_top);
#endif
    arena_end();
    /* Until here malloc allocated everything, one piece after the other (snapshot.c), so that related objects are on the
       same pages. From now on Python's own allocator is used. It passes on pieces that are not its own. */
    _PyMem_SetupAllocators(PYMEM_ALLOCATOR_PYMALLOC);
    PyObjectArenaAllocator allocator = {NULL, map, unmap};
    PyObject_SetArenaAllocator(&allocator);
#if PY_VERSION_HEX >= 0x030e0000
    _PyThreadStateImpl *whole = (_PyThreadStateImpl *)state;
    whole->c_stack_top = whole->c_stack_soft_limit = whole->c_stack_hard_limit = 0;
#if PY_VERSION_HEX >= 0x030e0100
    whole->c_stack_init_base = whole->c_stack_init_top = 0;
#endif
#endif
    return state;
}

#if PY_VERSION_HEX < 0x030b0000
void cpython_prepare(PyObject *objects) { (void)objects; }
#elif PY_VERSION_HEX < 0x030c0000
/* ---- Specialized code ---- */

/* CPython looks a global name up in two dictionaries, until it has specialized the instruction (PEP 659). It does that in
   functions that run often, and most functions run once in a process. So all of them are prepared here, by CPython's own
   functions: instructions that load a global, or an attribute of a module that is one. The others wait for 31 executions,
   as after an attempt that failed, so that no process specializes what it will not run again. */

static void specialize(PyFunctionObject *function, PyCodeObject *code) {
    _Py_CODEUNIT *const first = _PyCode_CODE(code);
    PyObject *module = NULL; /* which the instruction before has loaded */
    int argument = 0;
    for (Py_ssize_t index = 0; index < Py_SIZE(code); index++) {
        _Py_CODEUNIT *instruction = first + index;
        int base = _PyOpcode_Deopt[_Py_OPCODE(*instruction)];
        argument = argument << 8 | _Py_OPARG(*instruction);
        if (base == EXTENDED_ARG)
            continue;
        PyObject *loaded = NULL;
        if (_PyOpcode_Adaptive[base] && _Py_OPCODE(*instruction) == _PyOpcode_Adaptive[base]) {
            instruction[1] = adaptive_counter_start();
            PyObject *name = NULL;
            if (base == LOAD_GLOBAL || (module && (base == LOAD_ATTR || base == LOAD_METHOD)))
                name = PyTuple_GET_ITEM(code->co_names, base == LOAD_GLOBAL ? argument >> 1 : argument);
            if (name && base == LOAD_GLOBAL) {
                loaded = PyDict_GetItem(function->func_globals, name);
                if (loaded || PyDict_GetItem(function->func_builtins, name))
                    _Py_Specialize_LoadGlobal(function->func_globals, function->func_builtins, instruction, name);
            } else if (name && PyDict_GetItem(PyModule_GetDict(module), name)) {
                (base == LOAD_ATTR ? _Py_Specialize_LoadAttr : _Py_Specialize_LoadMethod)(module, instruction, name);
            }
        }
        module = loaded && PyModule_CheckExact(loaded) ? loaded : NULL;
        index += _PyOpcode_Caches[base];
        argument = 0;
    }
}

/* Prepares `code` of a function, and what it defines. */
static void prepare_code(PyFunctionObject *function, PyCodeObject *code) {
    if (code->co_warmup < 0) { /* it has not run often */
        code->co_warmup = 0;
        _PyCode_Quicken(code);
        specialize(function, code);
    }
    for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(code->co_consts); index++)
        if (PyCode_Check(PyTuple_GET_ITEM(code->co_consts, index)))
            prepare_code(function, (PyCodeObject *)PyTuple_GET_ITEM(code->co_consts, index));
}

void cpython_prepare(PyObject *objects) {
    for (Py_ssize_t index = 0; index < PyList_GET_SIZE(objects); index++) {
        PyObject *object = PyList_GET_ITEM(objects, index);
        if (PyFunction_Check(object))
            prepare_code((PyFunctionObject *)object, (PyCodeObject *)PyFunction_GET_CODE(object));
    }
}
#else
/* ---- Immortal objects ---- */

#if PY_VERSION_HEX >= 0x030e0000
#define FOREVER ((uint32_t)_Py_IMMORTAL_INITIAL_REFCNT)
#else
#define FOREVER _Py_IMMORTAL_REFCNT
#endif

/* The objects that were found, and those of them that are not visited yet. Neither table is in the arena. */
#define FOUND (1UL << 20)
static struct {
    PyObject **found, **waiting;
    size_t count, left;
} walk;

static int visit(PyObject *object, void *context) {
    (void)context;
    if (!object)
        return 0;
    size_t place = ((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15UL >> 44;
    for (; walk.found[place]; place = (place + 1) % FOUND)
        if (walk.found[place] == object)
            return 0;
    if (++walk.count > FOUND / 4 * 3)
        fail("snapshot", "it has too many objects");
    walk.found[place] = walk.waiting[walk.left++] = object;
    return 0;
}

/* Visits the objects of a code object, which the garbage collector does not traverse. */
static void visit_code(PyCodeObject *code) {
    PyObject *const parts[] = {code->co_consts,   code->co_names, code->co_exceptiontable, code->co_localsplusnames,
                               code->co_localspluskinds, code->co_filename, code->co_name, code->co_qualname,
                               code->co_linetable};
    for (size_t index = 0; index < sizeof parts / sizeof *parts; index++)
        visit(parts[index], NULL);
}

static void visit_parts(PyObject *object) {
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (PyCode_Check(object))
        visit_code((PyCodeObject *)object);
    if (PyDict_Check(object)) /* the garbage collector does not traverse keys that are strings */
        while (PyDict_Next(object, &position, &key, &value)) {
            visit(key, NULL);
            visit(value, NULL);
        }
    if (PyObject_IS_GC(object) && Py_TYPE(object)->tp_traverse)
        Py_TYPE(object)->tp_traverse(object, visit, NULL);
    visit((PyObject *)Py_TYPE(object), NULL);
    /* Each instance counts a reference to the names of its attributes. */
    if (PyType_Check(object) && ((PyTypeObject *)object)->tp_flags & Py_TPFLAGS_HEAPTYPE) {
        PyDictKeysObject *names = ((PyHeapTypeObject *)object)->ht_cached_keys;
        if (names)
            names->dk_refcnt = FOREVER;
    }
}

/* Computes what CPython would otherwise compute, and write, when it first needs it: the hash of a string, and versions,
   which it compares to use what it has cached. */
static void complete(PyObject *object) {
    if (PyUnicode_CheckExact(object))
        (void)PyObject_Hash(object);
    else if (PyType_Check(object))
        (void)PyUnstable_Type_AssignVersionTag((PyTypeObject *)object);
    else if (PyFunction_Check(object))
        (void)_PyFunction_GetVersionForCurrentState((PyFunctionObject *)object);
#if PY_VERSION_HEX < 0x030e0000
    else if (PyDict_Check(object))
        (void)_PyDictKeys_GetVersionForCurrentState(PyInterpreterState_Get(), ((PyDictObject *)object)->ma_keys);
#endif
}

void cpython_prepare(PyObject *objects) {
    size_t size = FOUND * sizeof *walk.found;
    walk.found = pages(2 * size);
    if (!walk.found)
        fail_errno("memory");
    walk.waiting = walk.found + FOUND;
    for (Py_ssize_t index = 0; index < PyList_GET_SIZE(objects); index++)
        visit(PyList_GET_ITEM(objects, index), NULL);
    while (walk.left)
        visit_parts(walk.waiting[--walk.left]);
    for (size_t place = 0; place < FOUND; place++)
        if (walk.found[place] && walk.found[place] != objects) {
            walk.found[place]->ob_refcnt = FOREVER;
            complete(walk.found[place]);
        }
    munmap(walk.found, 2 * size);
    memset(&walk, 0, sizeof walk);
}
#endif

/* ---- Continuing it ---- */

/* Creates a key of thread-local storage again: the stored one is another process's. */
static void renew(Py_tss_t *key) {
    if (!PyThread_tss_is_created(key))
        return;
    *key = (Py_tss_t)Py_tss_NEEDS_INIT;
    if (PyThread_tss_create(key) != 0)
        fail("interpreter", "no thread-local storage");
}

#if PY_VERSION_HEX >= 0x030e0000
/* CPython would ask pthread_getattr_np(3), which reads /proc/self/maps: ten system calls. But the main thread's stack ends
   with the program's path (fs/exec.c of Linux), and begins where the limit says. */
#define MOST_OF_STACK (8UL << 20)

static void limit_stack(_PyThreadStateImpl *state) {
    const char *path = (const char *)getauxval(AT_EXECFN);
    struct rlimit limit;
    if (!path || getrlimit(RLIMIT_STACK, &limit) < 0) {
        _Py_InitializeRecursionLimits(&state->base);
        return;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t end = ((uintptr_t)path + strlen(path) + page) & ~(page - 1);
    uintptr_t begin = end - (limit.rlim_cur < MOST_OF_STACK ? limit.rlim_cur : MOST_OF_STACK);
    state->c_stack_top = end;
    state->c_stack_hard_limit = begin + _PyOS_STACK_MARGIN_BYTES;
    state->c_stack_soft_limit = begin + 2 * _PyOS_STACK_MARGIN_BYTES;
}
#endif

void cpython_enter(PyThreadState *state) {
#if PY_VERSION_HEX < 0x030c0000
    Py_tss_t *key = &_PyRuntime.gilstate.autoTSSkey;
#else
    Py_tss_t *key = &_PyRuntime.autoTSSkey;
    renew(&_PyRuntime.trashTSSkey);
#endif
    renew(key);
    if (PyThread_tss_set(key, state) != 0)
        fail("interpreter", "no thread-local storage");
    state->thread_id = PyThread_get_thread_ident();
    _PyRuntime.main_thread = state->thread_id;
#if PY_VERSION_HEX >= 0x030e0000
    limit_stack((_PyThreadStateImpl *)state);
#endif
    PyEval_RestoreThread(state);
}
