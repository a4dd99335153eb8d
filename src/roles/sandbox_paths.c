/*
 * roles/sandbox_paths.c - lists of paths for the sandbox, gathered from settings.
 *
 * Called by roles before they close their sandbox, and at reload to see whether it still fits.
 */
#include "roles/sandbox.h"

void
sandbox_paths_add(struct sandbox_paths *to, struct str path, unsigned rights)
{
    if (!path.n || memchr(path.p, 0, path.n))
        return;
    for (unsigned i = 0; i < to->n; i++) {
        if (!str_eq(str_c(to->items[i].path), path))
            continue;
        to->items[i].rights |= rights;
        return;
    }
    struct sandbox_path *items = realloc(to->items, (to->n + 1) * sizeof *items);
    char *copy = str_dup(path);
    ENSURE(items && copy);
    to->items = items;
    to->items[to->n++] = (struct sandbox_path){copy, rights};
}

static bool
covered(const struct sandbox_paths *by, const struct sandbox_path *p)
{
    for (unsigned i = 0; i < by->n; i++)
        if (!strcmp(by->items[i].path, p->path) && !(p->rights & ~by->items[i].rights))
            return true;
    return false;
}

bool
sandbox_paths_cover(const struct sandbox_paths *a, const struct sandbox_paths *b)
{
    for (unsigned i = 0; i < b->n; i++)
        if (!covered(a, &b->items[i]))
            return false;
    return true;
}

void
sandbox_paths_done(struct sandbox_paths *l)
{
    for (unsigned i = 0; i < l->n; i++)
        free((char *)(uintptr_t)l->items[i].path);
    free(l->items);
    *l = (struct sandbox_paths){0};
}
