/* Opens every file that process 1 of its pid namespace has mapped, by the links of /proc/1/map_files: writes "writes LINK"
 * or "reads LINK" for each. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    DIR *links = opendir("/proc/1/map_files");
    for (struct dirent *entry; links && (entry = readdir(links));) {
        char target[4096] = "";
        int writes = openat(dirfd(links), entry->d_name, O_RDWR | O_CLOEXEC | O_NONBLOCK);
        int reads = openat(dirfd(links), entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (reads >= 0 && readlinkat(dirfd(links), entry->d_name, target, sizeof target - 1) > 0)
            printf("%s %s\n", writes >= 0 ? "writes" : "reads", target);
        close(writes);
        close(reads);
    }
    return links ? 0 : 1;
}
