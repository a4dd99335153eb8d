/*
 * core/base.c - the few functions behind base.h: closing, freeing, and dying on a broken invariant.
 *
 * Called from everywhere. Never reports through events: base_broken must work when nothing else
 * does.
 */
#include <errno.h>
#include <unistd.h>

#include "core/base.h"

void
fd_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd); /* Linux frees the number even when this fails: never tried twice */
    *fd = -1;
    errno = saved;
}

void
free_ptr(void *p)
{
    void *memory;

    memcpy(&memory, p, sizeof(memory)); /* p is the address of a pointer of any type */
    free(memory);
    memory = NULL;
    memcpy(p, &memory, sizeof(memory));
}

void
base_broken(const char *file, int line, const char *what)
{
    char text[512];
    int n =
        snprintf(text, sizeof(text), "gapura: broken invariant at %s:%d: %s\n", file, line, what);

    if (n > 0) {
        size_t len = MIN((size_t)n, sizeof(text) - 1);
        ssize_t written = write(STDERR_FILENO, text, len);
        (void)written;
    }
    abort();
}
