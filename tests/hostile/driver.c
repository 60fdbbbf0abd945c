/* Takes hold of a process of its pid namespace, as CAP_SYS_PTRACE allows, and makes system calls in its name.
 *   driver PID
 * Says what /proc has of the process's capabilities and filter, and what came of each call: 0 or -errno.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

static pid_t pid;

static void show(void) {
    char name[64], line[256];
    snprintf(name, sizeof name, "/proc/%d/status", pid);
    FILE *status = fopen(name, "r");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, "CapPrm:", 7) == 0 || strncmp(line, "CapEff:", 7) == 0 || strncmp(line, "Seccomp:", 8) == 0)
            fputs(line, stdout);
}

/* One system call of the process, at the place where it has been stopped; the registers and the code are put back. */
static long call(long number, unsigned long first, unsigned long second, unsigned long third, unsigned long fourth) {
    struct user_regs_struct before, registers;
    ptrace(PTRACE_GETREGS, pid, 0, &before);
    registers = before;
    void *place = (void *)before.rip;
    long code = ptrace(PTRACE_PEEKTEXT, pid, place, 0);
    ptrace(PTRACE_POKETEXT, pid, place, (code & ~0xffffL) | 0x050f); /* syscall */
    registers.rax = (unsigned long)number;
    registers.orig_rax = -1UL; /* no interrupted call is begun again */
    registers.rdi = first;
    registers.rsi = second;
    registers.rdx = third;
    registers.r10 = fourth;
    registers.r8 = 0;
    ptrace(PTRACE_SETREGS, pid, 0, &registers);
    ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
    int status;
    waitpid(pid, &status, __WALL);
    ptrace(PTRACE_GETREGS, pid, 0, &registers);
    ptrace(PTRACE_POKETEXT, pid, place, code);
    ptrace(PTRACE_SETREGS, pid, 0, &before);
    return (long)registers.rax;
}

static void put(unsigned long place, const void *data, size_t size) {
    for (size_t i = 0; i < size; i += sizeof(long)) {
        long word;
        memcpy(&word, (const char *)data + i, sizeof word);
        ptrace(PTRACE_POKEDATA, pid, place + i, word);
    }
}

int main(int count, char **words) {
    if (count != 2)
        return 2;
    pid = atoi(words[1]);
    show();
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0) {
        perror("driver: PTRACE_SEIZE");
        return 1;
    }
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    int status;
    waitpid(pid, &status, __WALL);
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, pid, 0, &registers);
    struct {
        uint32_t version, process;
        uint32_t sets[6]; /* effective, permitted, inheritable; then the upper halves */
        char source[8], target[8], type[8];
    } data = {.version = 0x20080522, .source = "none", .target = "/tmp", .type = "tmpfs"};
    unsigned long place = (registers.rsp - 4096) & ~15UL, sets = place + 8, names = place + 32;
    put(place, &data, sizeof data);
    call(SYS_capget, place, sets, 0, 0);
    for (size_t i = 0; i < sizeof data.sets; i += sizeof(long)) {
        long word = ptrace(PTRACE_PEEKDATA, pid, sets + i, 0);
        memcpy((char *)data.sets + i, &word, sizeof word);
    }
    data.sets[0] = data.sets[1];
    data.sets[3] = data.sets[4];
    put(sets, data.sets, sizeof data.sets);
    printf("capset %ld\n", call(SYS_capset, place, sets, 0, 0));
    printf("mount %ld\n", call(SYS_mount, names, names + 8, names + 16, 0));
    printf("sethostname %ld\n", call(SYS_sethostname, names, 4, 0, 0));
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return 0;
}
