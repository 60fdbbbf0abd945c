/* Kernel parameters of the new namespaces: sysctl, host and domain name, the loopback interface. */
#include <linux/magic.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "stub.h"
#include "syscalls.h"

/* Through the host's procfs, opened before the namespaces were joined: /proc/sys shows the parameters of the process
 * that reads it. */
static int check_proc(struct stub *stub) {
    struct statfs filesystem;
    if (fstatfs(stub->proc, &filesystem) < 0)
        return failed(stub, "fstatfs(/proc)");
    if (filesystem.f_type == PROC_SUPER_MAGIC)
        return 0;
    errno = ENODEV;
    return failed(stub, "fstatfs(/proc)");
}

int do_sysctl(struct stub *stub, const struct step *step) {
    if (check_proc(stub) < 0)
        return -1;
    cleanup_close int sys = sys_openat2(stub->proc, "sys", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_XDEV);
    if (sys < 0)
        return failed(stub, "openat2(/proc/sys)");
    cleanup_close int file = sys_openat2(sys, stub_string(stub, step->path), O_WRONLY | O_CLOEXEC, 0,
                                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (file < 0)
        return failed(stub, "openat2");
    const char *value = stub_string(stub, step->data);
    ssize_t size = (ssize_t)strlen(value), used = write(file, value, (size_t)size);
    if (used == size)
        return 0;
    if (used >= 0) { /* more numbers than the parameter has */
        snprintf(stub->text, sizeof stub->text, "the kernel takes no more of the value than \"%.*s\"", (int)used, value);
        errno = EINVAL;
        return failed(stub, "check");
    }
    return failed(stub, "write");
}

/* Writes `text` to an attribute of the calling process in the procfs `proc` (proc_pid_attr(5)). Returns 0 or -errno:
 * -ENXIO if this kernel has no such attribute, to tell it from the -ENOENT of a label that does not exist. */
int pyr_write_attribute(int proc, const char *path, const char *text) {
    struct statfs filesystem;
    if (fstatfs(proc, &filesystem) < 0)
        return -errno;
    if (filesystem.f_type != PROC_SUPER_MAGIC)
        return -ENODEV;
    cleanup_close int file = sys_openat2(proc, path, O_WRONLY | O_CLOEXEC, 0,
                                         RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
    if (file < 0)
        return errno == ENOENT ? -ENXIO : -errno;
    return write(file, text, strlen(text)) < 0 ? -errno : 0;
}

int do_hostname(struct stub *stub, const struct step *step) {
    const char *name = stub_string(stub, step->data);
    return sethostname(name, strlen(name)) < 0 ? failed(stub, "sethostname") : 0;
}

int do_domainname(struct stub *stub, const struct step *step) {
    const char *name = stub_string(stub, step->data);
    return setdomainname(name, strlen(name)) < 0 ? failed(stub, "setdomainname") : 0;
}

int do_loopback(struct stub *stub, const struct step *step) {
    (void)step;
    cleanup_close int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return failed(stub, "socket");
    struct ifreq request = {.ifr_name = "lo"};
    if (ioctl(probe, SIOCGIFFLAGS, &request) < 0)
        return failed(stub, "ioctl(SIOCGIFFLAGS)");
    request.ifr_flags |= IFF_UP;
    return ioctl(probe, SIOCSIFFLAGS, &request) < 0 ? failed(stub, "ioctl(SIOCSIFFLAGS)") : 0;
}
