/* What the program answers where libpython, cffi and the C library would call the dynamic linker. It is linked with the C
   library and has none: ld(1), --wrap. An extension module that is a file cannot be imported; the import fails with the
   words below. Name services are shared objects as well (nsswitch.conf(5)): no user, group, host or service is known by
   name. */
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <shadow.h>
#include <stddef.h>

/* ---- Shared objects ---- */

void *__wrap_dlopen(const char *path, int flags);
void *__wrap_dlsym(void *handle, const char *name);
int __wrap_dlclose(void *handle);
char *__wrap_dlerror(void);

void *__wrap_dlopen(const char *path, int flags) {
    (void)path, (void)flags;
    return NULL;
}

void *__wrap_dlsym(void *handle, const char *name) {
    (void)handle, (void)name;
    return NULL;
}

int __wrap_dlclose(void *handle) {
    (void)handle;
    return -1;
}

char *__wrap_dlerror(void) {
    static char words[] = "the program is linked statically, and loads no shared objects";
    return words;
}

/* ---- Name services ---- */

/* getpwuid_r(3): success without an entry. */
#define NO_ENTRY(function, type, key)                                                                                  \
    int __wrap_##function(key, struct type *entry, char *buffer, size_t size, struct type **result);                   \
    int __wrap_##function(key wanted, struct type *entry, char *buffer, size_t size, struct type **result) {           \
        (void)wanted, (void)entry, (void)buffer, (void)size;                                                           \
        *result = NULL;                                                                                                \
        return 0;                                                                                                      \
    }
NO_ENTRY(getpwuid_r, passwd, uid_t)
NO_ENTRY(getpwnam_r, passwd, const char *)
NO_ENTRY(getgrgid_r, group, gid_t)
NO_ENTRY(getgrnam_r, group, const char *)

/* getpwent(3): the end of the list, and nothing to begin or to end. */
#define NO_LIST(next, type, first, last)                                                                               \
    struct type *__wrap_##next(void);                                                                                  \
    struct type *__wrap_##next(void) { return NULL; }                                                                  \
    void __wrap_##first(void);                                                                                         \
    void __wrap_##first(void) {}                                                                                       \
    void __wrap_##last(void);                                                                                          \
    void __wrap_##last(void) {}
NO_LIST(getpwent, passwd, setpwent, endpwent)
NO_LIST(getgrent, group, setgrent, endgrent)
NO_LIST(getspent, spwd, setspent, endspent)

/* getservbyname(3) and others: none. */
#define NO_NAME(function, type, ...)                                                                                   \
    struct type *__wrap_##function(__VA_ARGS__);                                                                       \
    struct type *__wrap_##function(__VA_ARGS__)
NO_NAME(getspnam, spwd, const char *name) {
    (void)name;
    return NULL;
}
NO_NAME(getprotobyname, protoent, const char *name) {
    (void)name;
    return NULL;
}
NO_NAME(getservbyname, servent, const char *name, const char *protocol) {
    (void)name, (void)protocol;
    return NULL;
}
NO_NAME(getservbyport, servent, int port, const char *protocol) {
    (void)port, (void)protocol;
    return NULL;
}

int __wrap_getgrouplist(const char *user, gid_t group, gid_t *groups, int *count);
int __wrap_initgroups(const char *user, gid_t group);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result);
int __wrap_gethostbyname_r(const char *name, struct hostent *host, char *buffer, size_t size, struct hostent **result,
                           int *error);
int __wrap_gethostbyaddr_r(const void *address, socklen_t length, int family, struct hostent *host, char *buffer,
                           size_t size, struct hostent **result, int *error);

int __wrap_getgrouplist(const char *user, gid_t group, gid_t *groups, int *count) {
    (void)user, (void)group, (void)groups, (void)count;
    return -1;
}

int __wrap_initgroups(const char *user, gid_t group) {
    (void)user, (void)group;
    errno = ENOSYS;
    return -1;
}

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    (void)node, (void)service, (void)hints, (void)result;
    return EAI_FAIL;
}

static int no_host(struct hostent **result, int *error) {
    *result = NULL;
    *error = NO_RECOVERY;
    return ENOSYS;
}

int __wrap_gethostbyname_r(const char *name, struct hostent *host, char *buffer, size_t size, struct hostent **result,
                           int *error) {
    (void)name, (void)host, (void)buffer, (void)size;
    return no_host(result, error);
}

int __wrap_gethostbyaddr_r(const void *address, socklen_t length, int family, struct hostent *host, char *buffer,
                           size_t size, struct hostent **result, int *error) {
    (void)address, (void)length, (void)family, (void)host, (void)buffer, (void)size;
    return no_host(result, error);
}
