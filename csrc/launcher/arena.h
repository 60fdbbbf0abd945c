/* The memory that the program allocates while a snapshot is taken. It becomes part of the snapshot. */
#ifndef PYRUNTIME_ARENA_H
#define PYRUNTIME_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From here on, until `arena_end`, malloc, calloc and realloc return memory of the arena.

   sizes, count  how much of its beginning is kept for groups of pieces, in bytes (arena_next_in_group) */
void arena_begin(const size_t *sizes, size_t count);
void arena_end(void);

/* The next piece of exactly `size` bytes comes from what is kept for a group of pieces, 1 being the first, if there is
   room. */
void arena_next_in_group(size_t group, size_t size);

/* Return whether `memory` is a piece of the arena. */
bool arena_holds(const void *memory);

/* Return the address at which the arena's used part ends, at the end of a page. */
uintptr_t arena_limit(void);

/* The kernel maps zeros behind `arena_limit` (csrc/build/snapshot.py). So much of them is for new objects. */
#define ARENA_ROOM (3UL << 19)

/* Return `size` zeros of them, at the beginning of a page, or NULL if so much is not left. Nothing takes them back. */
void *arena_take_room(size_t size);

/* Copy the part of the arena that most verbs use into one large page (transparent huge page), in its place. One page
   fault and one copy then replace hundreds of page faults. If the kernel gives no large page, nothing changes. COLD in
   csrc/build/program.py decides where the part begins. Ends the program if the copy cannot be put in its place. */
void arena_take_large_page(void);

#endif
