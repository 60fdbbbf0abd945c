/* Does one thing that Landlock may forbid, below /tmp, and prints "ok" or the number of the error. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int execute(const char *path) {
    int status;
    if (fork() == 0) {
        execl(path, path, NULL);
        _exit(errno);
    }
    wait(&status);
    errno = WEXITSTATUS(status);
    return errno ? -1 : 0;
}

static int tcp(const char *port, int (*call)(int, const struct sockaddr *, socklen_t)) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), result = call(fd, (struct sockaddr *)&address, sizeof address);
    return result < 0 && errno == ECONNREFUSED ? 0 : result; /* nobody listens: it was let through */
}

static int local(const char *path, int (*call)(int, const struct sockaddr *, socklen_t), int abstract) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path + abstract, path);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
    return call(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, size);
}

static int try(const char *access, const char *argument) {
    if (!strcmp(access, "execute"))
        return execute(argument);
    if (!strcmp(access, "write_file"))
        return open("/tmp/file", O_WRONLY);
    if (!strcmp(access, "read_file"))
        return open("/tmp/file", O_RDONLY);
    if (!strcmp(access, "read_dir"))
        return open("/tmp", O_RDONLY | O_DIRECTORY);
    if (!strcmp(access, "remove_dir"))
        return rmdir("/tmp/empty");
    if (!strcmp(access, "remove_file"))
        return unlink("/tmp/file");
    if (!strcmp(access, "make_char"))
        return mknod("/tmp/new", S_IFCHR | 0600, makedev(1, 3));
    if (!strcmp(access, "make_dir"))
        return mkdir("/tmp/new", 0700);
    if (!strcmp(access, "make_reg"))
        return open("/tmp/new", O_WRONLY | O_CREAT, 0600);
    if (!strcmp(access, "make_sock"))
        return local("/tmp/new", bind, 0);
    if (!strcmp(access, "make_fifo"))
        return mkfifo("/tmp/new", 0600);
    if (!strcmp(access, "make_block"))
        return mknod("/tmp/new", S_IFBLK | 0600, makedev(7, 0));
    if (!strcmp(access, "make_sym"))
        return symlink("/", "/tmp/new");
    if (!strcmp(access, "refer"))
        return rename("/tmp/file", "/tmp/directory/file");
    if (!strcmp(access, "truncate"))
        return truncate("/tmp/file", 1);
    if (!strcmp(access, "ioctl_dev")) {
        int fd = open("/dev/random", O_RDONLY), bits;
        return ioctl(fd, 0x80045200 /* RNDGETENTCNT */, &bits);
    }
    if (!strcmp(access, "bind_tcp"))
        return tcp(argument, bind);
    if (!strcmp(access, "connect_tcp"))
        return tcp(argument, connect);
    if (!strcmp(access, "abstract_unix_socket"))
        return local(argument, connect, 1);
    if (!strcmp(access, "signal"))
        return kill(atoi(argument), 0);
    errno = 9999;
    return -1;
}

int main(int count, char **words) {
    if (count == 1)
        return 0;
    if (try(words[1], count > 2 ? words[2] : "") < 0)
        printf("%d\n", errno);
    else
        printf("ok\n");
    return 0;
}
