/* Copies instead of the host's files in memory: mapped_files.c. */
#ifndef PYRUNTIME_MAPPED_FILES_H
#define PYRUNTIME_MAPPED_FILES_H

#include "plan.h"

int copy_mapped_files(struct stub *stub);

#endif
