/* Lies in wait in a container's pid namespace: tries to get into every other process as soon as it can be seen, and
 * writes to the file of its argument what it got into: "pid N WAY exe=FILE". */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "newcomers.h"

static FILE *notes;

static void caught(int pid, const char *way) {
    char path[64], exe[256];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t size = readlink(path, exe, sizeof exe - 1);
    /* Gone, or not to be seen any more: whatever was open is then nothing either. */
    if (size < 0)
        return;
    exe[size] = '\0';
    fprintf(notes, "pid %d %s exe=%s\n", pid, way, exe);
    fflush(notes);
}

static void try(int pid) {
    static const char *const ways[] = {"mem", "environ", "exe", "root", "cwd", "fd", "fd/0", "fd/3", "fd/5", "maps"};
    char path[64];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, ways[i]);
        int fd = open(path, O_RDONLY | O_NONBLOCK);
        if (fd >= 0) {
            char byte;
            /* Of a process that has none yet, these open and are empty. */
            int text = !strcmp(ways[i], "environ") || !strcmp(ways[i], "maps");
            if (!text || read(fd, &byte, 1) == 1)
                caught(pid, ways[i]);
            close(fd);
        }
    }
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0) {
        caught(pid, "ptrace");
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
        int status;
        waitpid(pid, &status, __WALL);
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }
}

int main(int argc, char **argv) {
    notes = fopen(argv[argc - 1], "a");
    if (!notes)
        return 1;
    look_at_newcomers(try);
}
