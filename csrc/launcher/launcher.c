/* The `pyruntime` executable: starts the interpreter isolated, and seals itself where that matters.

   Three things are decided here, before any Python runs:

   1. What /proc/self/exe shows. A container's process must never find a writable host file there (CVE-2019-5736), so
      for every verb that can enter a container the program is sealed first: seal.c says how.
   2. Which code runs. No PYTHON* variable, no `site`, no .pth file, no current directory: the search path is the
      standard library of the interpreter this was built for and the one directory in which the package lies.
   3. How it ends: with _exit. There is nothing worth tearing down.

   There are two builds. With STATIC_PYTHON libpython is part of the program; that starts fastest. The other one loads
   it by name. It is the program where there is no archive of libpython; otherwise it lies in the package as SMALL, and
   is what is copied where the program cannot be sealed in place, because a copy costs by its size. Where the
   interpreter has no shared library, or it is gone, the interpreter itself is executed with the same isolation, sealed
   as well. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seal.h"
#include "snapshot.h"
#include "sockets.h"

/* From the build: LIBPYTHON ("" without a shared library), INTERPRETER, STDLIB, DYNLOAD, SYSTEM_PACKAGES. */

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define PYTHON_X_Y "python" STRING(PY_MAJOR_VERSION) "." STRING(PY_MINOR_VERSION)

/* The modules of the package, as the build found them: csrc/build/freeze.py wrote this. Where Python is embedded they come
   from here and not from files; 3.10 keeps its own boot modules in the same table and so does without, and 3.13 no longer
   starts in two halves. */
#define FROZEN_START (PY_VERSION_HEX >= 0x030b0000 && PY_VERSION_HEX < 0x030d0000)
#if FROZEN_START
#include "frozen.h"
#endif

/* The same words for both ways to start. It leaves by _exit; only a broken installation lets an exception through. */
static const char PROGRAM[] = "from pyruntime.cli.main import program\nprogram()\n";

_Noreturn void fail(const char *what, const char *detail) {
    fprintf(stderr, "pyruntime: cannot start: %s: %s\n", what, detail);
    _exit(1);
}

_Noreturn void fail_errno(const char *what) { fail(what, strerror(errno)); }

/* This execution of the program: its command line, its path, and the directory that holds the package. */
static struct {
    int argc;
    char **argv;
    char origin[PATH_MAX], packages[PATH_MAX];
} self;

/* ---- Which verbs stay outside ---- */

/* Verbs that only talk to a container from the host. Whatever is not named here runs sealed. */
static const char *const OUTSIDE[] = {"state", "start", "kill",   "delete",   "list",     "ps",      "spec", "validate",
                                      "plan",  "pause", "resume", "features", "explain",  "help",    NULL};
/* Global options before the verb: those with a value of their own, and those without. */
static const char *const VALUED[] = {"--root", "--log", "--log-format", "--rootless", "--criu", NULL};
/* Those that print and exit are taken back by a later "=false", so the verb counts for them too. */
static const char *const PLAIN[] = {"--debug", "--systemd-cgroup", "--version", "-v", "--help", "-h", NULL};

static bool one_of(const char *const *words, const char *word) {
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

/* Whether `option` is "--name=value" for a name of VALUED, or an option of PLAIN with a value. */
static bool has_inline_value(const char *option) {
    const char *equals = strchr(option, '=');
    char name[32];
    if (!equals || (size_t)(equals - option) >= sizeof name)
        return false;
    memcpy(name, option, equals - option);
    name[equals - option] = '\0';
    return one_of(VALUED, name) || one_of(PLAIN, name);
}

/* Whether this command line stays outside of containers for certain. In doubt it does not. */
static bool stays_outside(char **argv) {
    for (argv++; *argv; argv++) {
        if (one_of(VALUED, *argv)) {
            if (!*++argv)
                return true;
        } else if (!one_of(PLAIN, *argv) && !has_inline_value(*argv)) {
            return one_of(OUTSIDE, *argv);
        }
    }
    return true;
}

/* ---- Where the package lies ---- */

/* Directories beside the program's prefix in which pip and distributions put packages; the first that has it wins. */
static const char *const PACKAGES[] = {
    "lib/" PYTHON_X_Y "/site-packages", "lib/" PYTHON_X_Y "/dist-packages", "lib64/" PYTHON_X_Y "/site-packages",
    "lib/python3/dist-packages",        NULL,
};

/* Fill `packages` with the directory that holds the package, found from the program's path PREFIX/bin/pyruntime. */
static void find_packages(const char *origin, char packages[PATH_MAX]) {
    int prefix = (int)strlen(origin);
    for (int up = 0; up < 2; up++)
        while (prefix > 0 && origin[--prefix] != '/')
            ;
    for (const char *const *place = PACKAGES; *place; place++) {
        char probe[PATH_MAX];
        int length = snprintf(packages, PATH_MAX, "%.*s/%s", prefix, origin, *place);
        if (length < PATH_MAX && snprintf(probe, sizeof probe, "%.*s/pyruntime/__init__.py", length, packages) <
                                     (int)sizeof probe &&
            access(probe, F_OK) == 0)
            return;
    }
    fail("the package pyruntime is not installed beside", origin);
}

/* ---- The interpreter: embedded ---- */

/* What is used of libpython. The variables have the names of the functions, called through them below. */
#define PYTHON_API(use)                                                                                               \
    use(PyPreConfig_InitIsolatedConfig) use(Py_PreInitialize) use(PyConfig_InitIsolatedConfig)                        \
        use(PyConfig_SetBytesString) use(PyConfig_SetBytesArgv) use(PyWideStringList_Append) use(Py_DecodeLocale)     \
            use(Py_InitializeFromConfig) use(PyStatus_Exception) use(PyGC_Disable) use(PyRun_SimpleStringFlags)       \
                PYTHON_API_OF_HALVES(use)
#if FROZEN_START
#define PYTHON_API_OF_HALVES(use)                                                                                     \
    use(_Py_InitializeMain) use(PyImport_AppendInittab) use(PyModule_Create2) use(Py_BuildValue)                      \
        use(PyImport_ImportModule) use(PyObject_CallMethod) use(PyUnicode_DecodeFSDefault) use(PySys_SetObject)       \
            use(PyList_New) use(PyList_Append) use(PyErr_Fetch) use(PyErr_Restore) use(PyErr_Print)                   \
                use(PyImport_Inittab) use(PyArg_ParseTuple) use(PyInterpreterState_Get)                               \
                    use(_PyInterpreterState_GetConfig)
#else
#define PYTHON_API_OF_HALVES(use)
#endif
#define DECLARE(name) static __typeof__(&name) api_##name;
PYTHON_API(DECLARE)

#ifdef STATIC_PYTHON
/* It is part of the program, whose symbols are global as extension modules expect them. Return true. */
static bool load_python(void) {
#define LOAD(name) api_##name = &name;
    PYTHON_API(LOAD)
#if FROZEN_START
    PyImport_FrozenModules = FROZEN;
#endif
    return true;
}
#else
/* Load libpython with its symbols global, as extension modules expect them. Return whether that worked. */
static bool load_python(void) {
    void *library = *LIBPYTHON ? dlopen(LIBPYTHON, RTLD_LAZY | RTLD_GLOBAL) : NULL;
    if (!library)
        return false;
#define LOAD(name)                                                                                                    \
    *(void **)&api_##name = dlsym(library, #name);                                                                    \
    if (!api_##name)                                                                                                  \
        return false;
    PYTHON_API(LOAD)
#if FROZEN_START
    const struct _frozen **table = dlsym(library, "PyImport_FrozenModules");
    if (!table)
        return false;
    *table = FROZEN;
#endif
    return true;
}
#endif

static void check(PyStatus status) {
    if (api_PyStatus_Exception(status))
        fail(status.func ? status.func : "interpreter", status.err_msg ? status.err_msg : "no reason given");
}

static void append_path(PyConfig *config, const char *directory) {
    wchar_t *wide = api_Py_DecodeLocale(directory, NULL);
    if (!wide)
        fail("cannot decode", directory);
    check(api_PyWideStringList_Append(&config->module_search_paths, wide));
}

/* Tell the interpreter what is known of this process alone. */
static void set_place(PyConfig *config) {
    check(api_PyConfig_SetBytesArgv(config, self.argc, self.argv));
    check(api_PyConfig_SetBytesString(config, &config->program_name, self.origin));
    check(api_PyConfig_SetBytesString(config, &config->executable, self.origin));
    append_path(config, STDLIB);
    append_path(config, DYNLOAD);
    if (*SYSTEM_PACKAGES && strstr(self.packages, "dist-packages"))
        append_path(config, SYSTEM_PACKAGES);
    append_path(config, self.packages);
}

#if FROZEN_START
/* The second half of the interpreter's start. */
static bool finished;
static void finish_start(void) {
    finished = true;
    set_place((PyConfig *)api__PyInterpreterState_GetConfig(api_PyInterpreterState_Get()));
    check(api__Py_InitializeMain());
}

/* Called by pyruntime/startup/embedded.py when something needs it. */
static PyObject *finish(PyObject *module, PyObject *arguments) {
    (void)module, (void)arguments;
    finish_start();
    return api_Py_BuildValue("");
}

/* Signals are set up in the second half; without that, importing their module crashes. */
static PyObject *(*create_real_signal_module)(void);
static PyObject *create_signal_module(void) {
    PyObject *start = finished ? NULL : api_PyImport_ImportModule("pyruntime.startup.embedded");
    if (!finished && (!start || !api_PyObject_CallMethod(start, "finish", NULL)))
        return NULL;
    return create_real_signal_module();
}

/* What pyruntime/base/syscalls.py says; each returns as the function of the stub does. */
static PyObject *call_connect(PyObject *module, PyObject *arguments) {
    const char *path;
    (void)module;
    return api_PyArg_ParseTuple(arguments, "y", &path) ? api_Py_BuildValue("i", pyr_connect(path)) : NULL;
}

static PyObject *answer(long result) { return api_Py_BuildValue("i", result < 0 ? -errno : (int)result); }

static PyObject *call_pidfd_open(PyObject *module, PyObject *arguments) {
    int pid;
    (void)module;
    return api_PyArg_ParseTuple(arguments, "i", &pid) ? answer(syscall(SYS_pidfd_open, pid, 0)) : NULL;
}

static PyObject *call_pidfd_send_signal(PyObject *module, PyObject *arguments) {
    int pidfd, number;
    (void)module;
    if (!api_PyArg_ParseTuple(arguments, "ii", &pidfd, &number))
        return NULL;
    return answer(syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0));
}

static PyObject *create_launcher_module(void) {
    static PyMethodDef methods[] = {{"finish", finish, METH_NOARGS, NULL},
                                    {"connect", call_connect, METH_VARARGS, NULL},
                                    {"pidfd_open", call_pidfd_open, METH_VARARGS, NULL},
                                    {"pidfd_send_signal", call_pidfd_send_signal, METH_VARARGS, NULL},
                                    {0}};
    static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_launcher", .m_size = -1, .m_methods = methods};
    return api_PyModule_Create2(&definition, PYTHON_API_VERSION);
}

static void prepare_modules(void) {
    for (struct _inittab *module = *api_PyImport_Inittab; module->name; module++)
        if (strcmp(module->name, "_signal") == 0) {
            create_real_signal_module = module->initfunc;
            module->initfunc = create_signal_module;
        }
    if (api_PyImport_AppendInittab("_launcher", create_launcher_module) < 0)
        fail("memory", "PyImport_AppendInittab");
}

/* Run the program in the half that is started. Return only with an exception. */
static void run_frozen(void) {
    const char *system = strstr(self.packages, "dist-packages") ? SYSTEM_PACKAGES : "";
    PyObject *words = api_PyList_New(0), *start = api_PyImport_ImportModule("pyruntime.startup.embedded");
    for (int index = 0; words && index < self.argc; index++) {
        PyObject *word = api_PyUnicode_DecodeFSDefault(self.argv[index]);
        if (!word || api_PyList_Append(words, word) < 0)
            return;
    }
    if (words && start && api_PySys_SetObject("argv", words) == 0)
        api_PyObject_CallMethod(start, "program", "NNN", api_PyUnicode_DecodeFSDefault(DYNLOAD),
                                api_PyUnicode_DecodeFSDefault(self.packages), api_PyUnicode_DecodeFSDefault(system));
}

/* Print the exception, which only the other half can. */
static void print_exception(void) {
    PyObject *type, *value, *traceback;
    api_PyErr_Fetch(&type, &value, &traceback);
    if (!finished)
        finish_start();
    api_PyErr_Restore(type, value, traceback);
    api_PyErr_Print();
}
#endif

/* Start the interpreter in this process, as far as all command lines have it in common. */
static void start_python(void) {
    PyPreConfig before;
    api_PyPreConfig_InitIsolatedConfig(&before);
#ifdef SNAPSHOT
    before.allocator = PYMEM_ALLOCATOR_MALLOC; /* for the snapshot: csrc/launcher/snapshot.c */
#endif
    before.utf8_mode = 1; /* paths are bytes: UTF-8 with surrogateescape, whatever the locale */
    check(api_Py_PreInitialize(&before));

    PyConfig config;
    api_PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    config.pathconfig_warnings = 0;
    config.parse_argv = 0;
    config.module_search_paths_set = 1;
    /* Everything that the search for paths would find is given, so that it looks at nothing. */
    check(api_PyConfig_SetBytesString(&config, &config.base_executable, INTERPRETER));
    check(api_PyConfig_SetBytesString(&config, &config.prefix, PREFIX));
    check(api_PyConfig_SetBytesString(&config, &config.base_prefix, PREFIX));
    check(api_PyConfig_SetBytesString(&config, &config.exec_prefix, PREFIX));
    check(api_PyConfig_SetBytesString(&config, &config.base_exec_prefix, PREFIX));
#if FROZEN_START
    check(api_PyConfig_SetBytesString(&config, &config.stdlib_dir, STDLIB));
    config.use_frozen_modules = 1;
#ifdef SNAPSHOT
    config.use_hash_seed = 1; /* the same in each process in any case: docs/design.md */
    config.hash_seed = 0x7079;
#endif
    config._init_main = 0;
    prepare_modules();
#else
    set_place(&config);
#endif
    check(api_Py_InitializeFromConfig(&config));
    api_PyGC_Disable(); /* a short life: collecting costs time, and copies pages that the child shares */
}

/* Run the program in an interpreter inside this process. Never returns. */
static _Noreturn void embed(void) {
    /* A short life: memory is asked for in few pieces and given back at its end. The first must stay smaller than the map
       of memory of Python's allocator, 256 KiB of zeros, which then costs nothing until it is used. */
    mallopt(M_TOP_PAD, 192 << 10);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
#ifdef SNAPSHOT
    if (snapshot_present())
        snapshot_wake();
    else
#endif
        start_python();
#if FROZEN_START
    run_frozen();
    print_exception();
#else
    api_PyRun_SimpleStringFlags(PROGRAM, NULL);
#endif
    _exit(1);
}

/* ---- The interpreter: executed ---- */

/* Execute the interpreter with the same isolation: -I -S -B, UTF-8, and the package's directory in the program. */
static _Noreturn void run_interpreter(bool sealed) {
    static const char SETTING[] = "import sys\nsys.path.append(b'%s'.decode('utf-8', 'surrogateescape'))\n%s";
    char quoted[4 * PATH_MAX + 1], *to = quoted;
    for (const char *from = self.packages; *from; from++)
        to += sprintf(to, "\\x%02x", (unsigned char)*from);
    char *program;
    if (asprintf(&program, SETTING, quoted, PROGRAM) < 0)
        fail_errno("memory");
    char *flags[] = {INTERPRETER, "-I", "-S", "-B", "-X", "utf8", "-c", program};
    size_t count = sizeof flags / sizeof *flags;
    char **command = calloc(count + self.argc + 1, sizeof *command);
    if (!command)
        fail_errno("memory");
    memcpy(command, flags, sizeof flags);
    memcpy(command + count, self.argv + 1, self.argc * sizeof *self.argv); /* with the terminating NULL */
    if (sealed) {
        int file = open(INTERPRETER, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            fail_errno(INTERPRETER);
        int view = read_only_view(file, INTERPRETER, self.packages);
        execute(view < 0 ? sealed_copy(file, "python", NULL) : view, command);
    }
    execv(INTERPRETER, command);
    fail_errno(INTERPRETER);
}

/* Return a sealed copy of this `program`, or of the small build of it. */
static int copy_of_program(int program) {
#ifdef STATIC_PYTHON
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/pyruntime/" SMALL, self.packages);
    int small = length < PATH_MAX ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (small < 0)
        fail_errno(path);
    program = small;
#endif
    return sealed_copy(program, "pyruntime", self.origin);
}

#ifdef SNAPSHOT
/* The build calls this: csrc/build/snapshot.py. */
static _Noreturn void take_snapshot(const char *path) {
    snapshot_begin();
    load_python();
    start_python();
    PyObject *start = api_PyImport_ImportModule("pyruntime.startup.embedded");
    if (!start || !api_PyObject_CallMethod(start, "prepare", NULL))
        print_exception();
    else if (snapshot_write(path) < 0)
        fail_errno(path);
    else
        _exit(0);
    _exit(1);
}
#endif

int main(int argc, char **argv) {
    if (argc < 1)
        fail("argv", "it is empty");
#ifdef SNAPSHOT
    if (!snapshot_present() && argc == 3 && strcmp(argv[1], "--snapshot") == 0)
        take_snapshot(argv[2]);
#endif
    self.argc = argc, self.argv = argv;
    /* O_CLOEXEC: whoever executes next must not inherit it. */
    int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (program < 0)
        fail_errno("open /proc/self/exe");
    bool sealed = find_origin(program, self.origin);
    bool outside = sealed || stays_outside(argv);
    find_packages(self.origin, self.packages);
    if (!outside && *LIBPYTHON && !seal_in_place(program, self.origin, self.packages))
        execute(copy_of_program(program), argv);
    close(program);

    /* A write to a caller who has gone is an error to handle (and to clean up after), not a death half-way. As in
       every Python program; what runs in the container and as a hook gets the default back. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* and so is a write beyond the caller's limit on the size of files */
    if (load_python())
        embed();
    run_interpreter(sealed || !outside);
}
