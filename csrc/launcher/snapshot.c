/* A started interpreter as part of the program.

   To start CPython and import the package gives the same objects each time. So the build does it once, imports the
   modules of the hot verbs, and stores the resulting memory in the program as its initialized data. The kernel maps that
   data when the program is executed, and reads a page only when it is used. (Emacs starts in the same way.)

   This works because the program is linked statically with libpython and at fixed addresses: the code, the data of
   libpython, and the memory that it allocates are at the same addresses in each process. The heap and the stack are at
   different addresses, and the snapshot contains no part of them and no pointer to them:

   - While the snapshot is taken, libpython allocates from the arena, the last part of the program's data (arena.c).
   - The C library is linked in too, but its data is not part of the snapshot (csrc/build/c_library.ld): in each process it
     has just been started. So nothing is left to a dynamic linker, and there is none (loader.c).
   - The extension modules that verbs use are linked in (csrc/build/extensions.py). What needs another one runs in a
     process of the interpreter's own (pyruntime/base/interpreter.py).
   - The build takes two snapshots, with the heap and the stack at different addresses, and fails if they differ.

   The interpreter is started through CPython's documented interface. cpython.c sets the parts of its state that depend
   on the process; take_environment below sets the environment. */
#include "snapshot.h"

#include "cpython.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "fail.h"
#include "places.h"
#include "waiter.h"

/* From the build: FROZEN, the modules of the package; EXTENSIONS(use), the names of the extension modules that are linked
   in and of their functions; EXTENSION_DATA(use), what begins and ends the data of those that are no objects;
   CODE_GROUPS, the sizes of the groups of code. */
#include "modules.h"

static PyThreadState *present;

bool snapshot_present(void) { return present != NULL; }

/* ---- Taking a snapshot ---- */

static void check(PyStatus status) {
    if (PyStatus_Exception(status))
        fail(status.func ? status.func : "interpreter", status.err_msg ? status.err_msg : "no reason given");
}

static void append_path(PyConfig *config, const char *folder, const char *name) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s%s", folder, name) >= (int)sizeof path)
        fail("the path is too long", folder);
    wchar_t *wide = Py_DecodeLocale(path, NULL);
    if (!wide)
        fail("cannot decode", path);
    check(PyWideStringList_Append(&config->module_search_paths, wide));
}

/* Start the interpreter, isolated from the environment of this process (PEP 587). */
static void start(const char *library) {
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.allocator = PYMEM_ALLOCATOR_MALLOC; /* the arena's */
    before.utf8_mode = 1; /* paths are bytes: UTF-8 with surrogateescape, whatever the locale */
    check(Py_PreInitialize(&before));

    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    config.pathconfig_warnings = 0;
    config.parse_argv = 0;
    config.use_hash_seed = 1; /* a snapshot has one seed in any case: docs/design.md */
    config.hash_seed = 0x7079;
#if PY_VERSION_HEX >= 0x030b0000
    config.use_frozen_modules = 1;
#endif
    config.module_search_paths_set = 1;
    append_path(&config, library, "");
    append_path(&config, library, "/lib-dynload");
    /* The paths on the machine that will run the program are not known yet. */
    check(PyConfig_SetBytesString(&config, &config.program_name, "pyruntime"));
    wchar_t **const unknown[] = {&config.executable, &config.base_executable, &config.prefix, &config.base_prefix,
                                 &config.exec_prefix, &config.base_exec_prefix};
    for (size_t index = 0; index < sizeof unknown / sizeof *unknown; index++)
        check(PyConfig_SetBytesString(&config, unknown[index], ""));
    check(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
    PyGC_Disable(); /* the process is short; a collection takes time, and copies pages that the child shares */
}

/* For Python: the directory of the standard library. startup/embedded.py calls it if a module is not in the snapshot. */
static const char *program_path;
static PyObject *library(PyObject *module, PyObject *arguments) {
    char path[PATH_MAX];
    (void)module, (void)arguments;
    find_library(program_path, path);
    return PyUnicode_DecodeFSDefault(path);
}

/* For Python: the path of the interpreter that the program was built for, or None. */
static PyObject *interpreter(PyObject *module, PyObject *arguments) {
    char path[PATH_MAX];
    (void)module, (void)arguments;
    if (!find_interpreter(program_path, path))
        Py_RETURN_NONE;
    return PyUnicode_DecodeFSDefault(path);
}

/* For Python: (status, output_error, terminal_error, directory, text) after a wait without Python, otherwise None. */
static PyObject *ended(PyObject *module, PyObject *arguments) {
    const struct ended *it = waiter_ended();
    (void)module, (void)arguments;
    if (!it)
        Py_RETURN_NONE;
    return Py_BuildValue("iiiis", it->status, it->output_error, it->terminal_error, it->directory, it->text);
}

static PyObject *create_launcher_module(void) {
    static PyMethodDef methods[] = {{"library", library, METH_NOARGS, NULL},
                                    {"interpreter", interpreter, METH_NOARGS, NULL},
                                    {"wait", waiter_wait, METH_VARARGS, NULL},
                                    {"ended", ended, METH_NOARGS, NULL},
                                    {0}};
    static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_launcher", .m_size = -1, .m_methods = methods};
    return PyModule_Create(&definition);
}

#define DECLARE(name, function) PyObject *function(void);
EXTENSIONS(DECLARE)

static void add_modules(void) {
    cpython_add_frozen(FROZEN);
    int failed = PyImport_AppendInittab("_launcher", create_launcher_module);
#define ADD(name, function) failed |= PyImport_AppendInittab(name, function);
    EXTENSIONS(ADD)
    if (failed)
        fail("memory", "PyImport_AppendInittab");
}

/* The snapshot is the memory from the start of .data to the end of the arena, and the ranges of EXTENSION_DATA. */
extern char __data_start;
#define BOUNDS(begin, end) extern char begin, end;
EXTENSION_DATA(BOUNDS)

struct range {
    uint64_t begin, end;
};

/* Write a snapshot: the number of ranges, the addresses of each, and their bytes. */
static void write_to(const char *path) {
    const struct range ranges[] = {
        {(uintptr_t)&__data_start, arena_limit()},
#define RANGE(begin, end) {(uintptr_t)&begin, (uintptr_t)&end},
        EXTENSION_DATA(RANGE)};
    uint64_t count = sizeof ranges / sizeof *ranges;
    FILE *file = fopen(path, "wxe");
    bool written = file && fwrite(&count, sizeof count, 1, file) == 1 && fwrite(ranges, sizeof ranges, 1, file) == 1;
    for (size_t index = 0; written && index < count; index++)
        written = fwrite((void *)ranges[index].begin, ranges[index].end - ranges[index].begin, 1, file) == 1;
    if (!written || fclose(file) != 0)
        fail_errno(path);
}

_Noreturn void snapshot_take(const char *path, const char *library) {
    static const size_t groups[] = {CODE_GROUPS};
    arena_begin(groups, sizeof groups / sizeof *groups);
    cpython_begin();
    add_modules();
    start(library);
    PyObject *program = PyImport_ImportModule("pyruntime.startup.embedded");
    PyObject *objects = program ? PyObject_CallMethod(program, "prepare", NULL) : NULL;
    if (!objects) {
        PyErr_Print();
        _exit(1);
    }
    cpython_prepare(objects);
    Py_DECREF(objects);
    if (!PyObject_CallMethod(program, "settle", NULL)) {
        PyErr_Print();
        _exit(1);
    }
    present = cpython_leave();
    write_to(path);
    _exit(0);
}

/* ---- Continuing it ---- */

/* Fill posix.environ with this process's environment; the snapshot's is empty. */
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

_Noreturn void snapshot_run(int argc, char **argv, const char *origin, const char *packages) {
    /* Few calls of brk(2): the heap grows in large pieces and never shrinks. */
    mallopt(M_TOP_PAD, 192 << 10);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    if (!present)
        fail("the program is not whole", "it holds no interpreter");
    program_path = origin;
    waiter_begin(argv, origin, packages);
#if PY_VERSION_HEX < 0x030c0000
    /* Before 3.12, CPython counts the references to every object, so it writes to most pages of the arena. */
    arena_take_large_page();
#endif
    cpython_enter(present);
    take_environment();
    PyObject *words = PyList_New(argc), *program = PyImport_ImportModule("pyruntime.startup.embedded");
    for (int index = 0; words && index < argc; index++) {
        PyObject *word = PyUnicode_DecodeFSDefault(argv[index]);
        if (!word)
            fail("memory", "no room for the command line");
        PyList_SET_ITEM(words, index, word);
    }
    if (words && program)
        PyObject_CallMethod(program, "program", "NNN", words, PyUnicode_DecodeFSDefault(origin),
                            PyUnicode_DecodeFSDefault(packages));
    PyErr_Print();
    _exit(1);
}
