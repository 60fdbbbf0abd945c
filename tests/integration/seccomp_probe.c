/* Makes system calls, each in a process of its own, and writes what came of it: "ABI NUMBER FIRST-ARGUMENT OUTCOME".
 *
 * `seccomp_probe all` makes every call of each ABI with nonsense for arguments; `seccomp_probe 64:1:2 …` makes the named
 * ones: ABI, number and first argument. The outcome is "ok", "errno N" or "signal N".
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAST = 480 };
static const long X32 = 0x40000000;

static long call(int abi, long number, long first) {
    long result;
    if (abi == 32) {
        /* The kernel may clear r8 to r11 here, and rbx is not ours to clobber. */
        register long saved __asm__("r12") = first & 0xffffffff;
        __asm__ volatile("xchg %%rbx, %1; int $0x80; xchg %%rbx, %1"
                         : "=a"(result), "+r"(saved)
                         : "a"(number), "c"(-1L), "d"(-1L), "S"(-1L), "D"(-1L)
                         : "memory", "cc", "r8", "r9", "r10", "r11");
        return (int)result;
    }
    result = syscall(number | (abi == 33 ? X32 : 0), first, first, first, first, first, first);
    return result == -1 ? -errno : result;
}

/* As `call`, with all but the first argument zero: for calls whose first argument decides. */
static long call_one(int abi, long number, long first) {
    if (abi != 64)
        return call(abi, number, first);
    long result = syscall(number, first, 0L, 0L, 0L, 0L, 0L);
    return result == -1 ? -errno : result;
}

static void probe(int abi, long number, long first, int one) {
    int pipes[2];
    if (pipe(pipes) < 0)
        exit(2);
    pid_t child = fork();
    if (child == 0) {
        /* Who waits for ever was let through; so was who cannot return. */
        struct itimerval limit = {.it_value = {.tv_usec = 300000}};
        setitimer(ITIMER_REAL, &limit, NULL);
        pid_t before = getpid();
        long result = one ? call_one(abi, number, first) : call(abi, number, first);
        if (getpid() != before)
            _exit(0); /* the child of fork, vfork or clone */
        write(pipes[1], &result, sizeof result);
        _exit(0);
    }
    close(pipes[1]);
    long result = 0;
    int answered = read(pipes[0], &result, sizeof result) == sizeof result;
    close(pipes[0]);
    int status = 0;
    waitpid(child, &status, 0);
    printf("%d %ld %#lx ", abi, number, first);
    if (answered && result < 0 && result > -4096)
        printf("errno %ld\n", -result);
    else if (answered || !WIFSIGNALED(status) || WTERMSIG(status) == SIGALRM)
        printf("ok\n");
    else
        printf("signal %d\n", WTERMSIG(status));
    fflush(stdout);
}

int main(int count, char **words) {
    static const int abis[] = {64, 32, 33};
    for (int i = 1; i < count; i++) {
        int abi;
        long number, first;
        if (strcmp(words[i], "all") == 0) {
            for (int a = 0; a < 3; a++)
                for (number = 0; number <= LAST; number++)
                    probe(abis[a], number, -1, 0);
        } else if (sscanf(words[i], "%d:%ld:%li", &abi, &number, &first) == 3) {
            probe(abi, number, first, 1);
        } else {
            return 2;
        }
    }
    return 0;
}
