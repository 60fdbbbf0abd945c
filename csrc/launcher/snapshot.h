/* A started interpreter as part of the program: snapshot.c. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <stdbool.h>

/* Whether this program holds an interpreter that was started when it was built. */
bool snapshot_present(void);

/* From here on, keep what is allocated where the snapshot can take it along. Before the first call of libpython. */
void snapshot_begin(void);

/* Write to `path` what csrc/build/snapshot.py makes the program of; return 0, or -1 with errno. */
int snapshot_write(const char *path);

/* Make the interpreter of the snapshot that of this process and thread. */
void snapshot_wake(void);

#endif
