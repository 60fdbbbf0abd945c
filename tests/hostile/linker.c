/* The dynamic linker of a hostile root filesystem: what executes a program of the host in there is this. It tries to
 * write to that program, and says so. Without a C library, whose start would expect the program to be its own. */
#include <fcntl.h>
#include <sys/syscall.h>

static long call(long number, long first, long second, long third, long fourth) {
    long result;
    register long last __asm__("r10") = fourth;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third), "r"(last)
                     : "rcx", "r11", "memory");
    return result;
}

static void say(const char *text) {
    long size = 0;
    while (text[size])
        size++;
    call(SYS_write, 1, (long)text, size, 0);
}

void _start(void) {
    static const int flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC};
    say("the attacker's linker\n");
    if (call(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", O_RDONLY, 0) < 0)
        say("cannot even read\n");
    for (int index = 0; index < 3; index++)
        if (call(SYS_openat, AT_FDCWD, (long)"/proc/self/exe", flags[index], 0) >= 0)
            say("writable\n");
    call(SYS_exit_group, 0, 0, 0, 0);
}
