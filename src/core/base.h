/*
 * core/base.h - what every file of Gapura may rely on: attributes, bounds, cleanup of locals.
 *
 * Headers only; nothing here knows of mail or of I/O.
 */
#ifndef GAPURA_CORE_BASE_H
#define GAPURA_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/banned.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The struct that embeds `member` at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED                 __attribute__((unused))
#define NORETURN               __attribute__((noreturn))

/* A local that runs `fn(&local)` when its scope ends. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Closes *fd if it is open and leaves -1; errno is kept. For CLEANUP and for destructors. */
void fd_close(int *fd);
/* free(*(void **)p) and leaves NULL. For CLEANUP. */
void free_ptr(void *p);

/* Rounds up to a multiple of `unit`, a power of two. */
static inline uint64_t
round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

/*
 * A broken invariant of our own: says where and aborts (a role may die at any moment, the
 * supervisor starts it again). Never reached by anything that a peer sends.
 */
NORETURN void base_broken(const char *file, int line, const char *what);
#define ENSURE(cond) ((cond) ? (void)0 : base_broken(__FILE__, __LINE__, #cond))

#endif
