/* Watches a container's pid namespace with CAP_SYS_PTRACE: writes to the file of its argument, once each, what every new
 * process shows: "EXE fd N -> LINK", "EXE root LINK", "EXE caps HEX", "EXE writable RANGE FILE"; and for what it
 * reaches through one, "EXE reaches FILE by WAY". FILE is the first of two arguments, a file outside of every container. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "newcomers.h"

static FILE *notes;
static const char *marker;

static void note(const char *line) {
    static char *seen[4096];
    static int count;
    for (int i = 0; i < count; i++)
        if (!strcmp(seen[i], line))
            return;
    if (count < 4096)
        seen[count++] = strdup(line);
    fprintf(notes, "%s\n", line);
    fflush(notes);
}

static int link_of(int pid, const char *name, char *text, size_t size) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    ssize_t length = readlink(path, text, size - 1);
    if (length < 0)
        return 0;
    text[length] = '\0';
    return 1;
}

static void status_of(int pid, const char *exe) {
    char path[64], line[400], said[500];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "CapPrm:", 7)) {
            snprintf(said, sizeof said, "%.60s caps %.16s", exe, line + 8);
            note(said);
        }
    if (file)
        fclose(file);
}

static void maps_of(int pid, const char *exe) {
    char path[64], line[600], said[800];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        char rights[8], name[400] = "";
        if (sscanf(line, "%*s %7s %*s %*s %*s %399s", rights, name) == 2 && rights[1] == 'w' && rights[3] == 's') {
            snprintf(said, sizeof said, "%.60s writable %s", exe, name);
            note(said);
        }
    }
    if (file)
        fclose(file);
}

/* Through the directory that `way` of the process leads to, by name and by going up from it. */
static void reach(int pid, const char *exe, const char *way) {
    static const char *const up[] = {"", "/../../../../../../../../.."};
    for (int i = 0; marker && i < 2; i++) {
        char path[700], said[800];
        snprintf(path, sizeof path, "/proc/%d/%s%s%s", pid, way, up[i], marker);
        if (access(path, F_OK) == 0) {
            snprintf(said, sizeof said, "%.60s reaches %.500s by %.20s%s", exe, marker, way, up[i]);
            note(said);
        }
    }
}

static void look(int pid) {
    char exe[256], text[256], name[280], said[700];
    if (!link_of(pid, "exe", exe, sizeof exe))
        return;
    snprintf(name, sizeof name, "/proc/%d/fd", pid);
    DIR *descriptors = opendir(name);
    for (struct dirent *entry; descriptors && (entry = readdir(descriptors));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "fd/%s", entry->d_name);
        /* Between two looks the process may have become the program: then this is the program's. */
        if (link_of(pid, name, text, sizeof text)) {
            snprintf(said, sizeof said, "%.60s fd %s -> %s", exe, entry->d_name, text);
            note(said);
            reach(pid, exe, name);
        }
    }
    if (descriptors)
        closedir(descriptors);
    static const char *const places[] = {"root", "cwd"};
    for (int i = 0; i < 2; i++)
        if (link_of(pid, places[i], text, sizeof text)) {
            snprintf(said, sizeof said, "%.60s %s %s", exe, places[i], text);
            note(said);
            reach(pid, exe, places[i]);
        }
    status_of(pid, exe);
    maps_of(pid, exe);
}

int main(int argc, char **argv) {
    notes = fopen(argv[argc - 1], "a");
    marker = argc > 2 ? argv[1] : NULL;
    if (!notes)
        return 1;
    look_at_newcomers(look);
}
