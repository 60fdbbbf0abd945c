/* Keys of another container: `thief keep` keeps one in its session keyring, `thief take SERIAL NAME...` tries to get at
 * it: by the number of that keyring, and by names. Prints "KEPT SERIAL", or a line for each thing that worked. */
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SESSION KEY_SPEC_SESSION_KEYRING

static long keyctl(int operation, long a, long b, long c, long d) {
    return syscall(SYS_keyctl, operation, a, b, c, d);
}

static long add(long ring, const char *name) { return syscall(SYS_add_key, "user", name, "secret", 6, ring); }

static void worked(const char *what, long result) {
    if (result >= 0)
        printf("%s\n", what);
}

int main(int count, char **words) {
    char text[512];
    setvbuf(stdout, NULL, _IONBF, 0);
    if (count > 1 && strcmp(words[1], "keep") == 0) {
        add(SESSION, "treasure");
        printf("KEPT %ld\n", keyctl(KEYCTL_GET_KEYRING_ID, SESSION, 0, 0, 0));
        for (;;)
            pause();
    }
    if (count > 1 && strcmp(words[1], "look") == 0) {
        worked("found", keyctl(KEYCTL_SEARCH, SESSION, (long)"user", (long)"treasure", 0));
        return 0;
    }
    long ring = atol(words[2]);
    worked("describe", keyctl(KEYCTL_DESCRIBE, ring, (long)text, sizeof text, 0));
    worked("read", keyctl(KEYCTL_READ, ring, (long)text, sizeof text, 0));
    worked("search", keyctl(KEYCTL_SEARCH, ring, (long)"user", (long)"treasure", 0));
    worked("link", keyctl(KEYCTL_LINK, ring, SESSION, 0, 0));
    worked("plant", add(ring, "planted"));
    worked("clear", keyctl(KEYCTL_CLEAR, ring, 0, 0, 0));
    worked("permit", keyctl(KEYCTL_SETPERM, ring, 0x3f3f3f3f, 0, 0));
    for (int i = 3; i < count; i++) {
        keyctl(KEYCTL_JOIN_SESSION_KEYRING, (long)words[i], 0, 0, 0);
        worked(words[i], keyctl(KEYCTL_SEARCH, SESSION, (long)"user", (long)"treasure", 0));
    }
    printf("END\n");
    return 0;
}
