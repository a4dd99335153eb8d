/*
 * courier/window.c - see courier/window.h.
 *
 * Called by letter.c, which reads messages back. Never checks what it read.
 */
#include "courier/window.h"

#include <stdlib.h>

static bool
window_has(const struct window *w, const struct spool_segment *s, uint64_t offset, size_t n)
{
    return w->p && w->segment == s->number && w->generation == s->generation && offset >= w->at &&
           offset + n <= w->at + w->n;
}

const char *
windows_read(struct windows *all, struct spool_files *files, const struct spool_segment *s,
             uint64_t offset, size_t n)
{
    struct window *oldest = &all->items[0];

    for (size_t i = 0; i < WINDOWS; i++) {
        struct window *w = &all->items[i];
        if (window_has(w, s, offset, n)) {
            w->used = ++all->tick;
            return w->p + (offset - w->at);
        }
        if (w->used < oldest->used)
            oldest = w;
    }
    if (!oldest->p)
        oldest->p = malloc(WINDOW_SIZE);
    if (!oldest->p)
        return NULL;
    oldest->segment = s->number;
    oldest->generation = s->generation;
    oldest->at = offset;
    oldest->n = s->size > offset ? (size_t)MIN(WINDOW_SIZE, s->size - offset) : 0;
    oldest->used = ++all->tick;
    if (oldest->n < n || spool_files_read(files, &(struct spool_loc){s->number, offset},
                                          s->generation, oldest->p, oldest->n) < 0) {
        oldest->n = 0;
        return NULL;
    }
    return oldest->p;
}

void
windows_done(struct windows *all)
{
    for (size_t i = 0; i < WINDOWS; i++)
        free(all->items[i].p);
    *all = (struct windows){0};
}
