/*
 * spool/listing.c - which used segments a spool has, by the headers of its files.
 *
 * Called by the courier and the spooler at their start, and by those who look again for a file that
 * the disk did not give. A header that cannot be read is told, never taken for "no segment".
 */
#include "spool/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "spool/walk.h"

/* 1: a used segment, 0: none to list, ERR_CORRUPT, ERR_VERSION, -errno. */
static int
list_one(int segdir, const char *name, uint64_t number, const struct spool_io *io,
         struct spool_segment *ret)
{
    int err, blank, fd = io->open(io->ctx, segdir, name, O_RDONLY, 0);

    if (fd < 0)
        return fd;
    err = walk_header(io, fd, ret);
    blank = err == ERR_CORRUPT ? walk_is_blank(io, fd) : 0;
    fd_close(&fd);
    if (blank != 0) /* or nobody can tell now */
        return blank > 0 ? 0 : blank;
    if (err < 0)
        return err;
    if (ret->number != number)
        return ERR_CORRUPT;
    return ret->state == SPOOL_SEGMENT_USED;
}

bool
spool_is_disk_error(int err)
{
    return err < 0 && err > ERR_SYNTAX && err != -ENOMEM && err != -EMFILE && err != -ENFILE;
}

int
spool_header_try(const char *dir, uint64_t number, const struct spool_io *io)
{
    struct spool_segment s;
    int got, whole, fd, segdir = walk_segdir(dir);
    char name[32];

    if (segdir < 0)
        return segdir;
    io = io ? io : &spool_io_system;
    got = list_one(segdir, spool_segment_name(number, name), number, io, &s);
    if (got == 1) {
        fd = io->open(io->ctx, segdir, name, O_RDONLY, 0);
        whole = fd < 0 ? fd : walk_is_whole(io, fd, s.size);
        fd_close(&fd);
        got = whole < 0 ? whole : 1;
    }
    fd_close(&segdir);
    return got;
}

static int
compare_segments(const void *a, const void *b)
{
    const struct spool_segment *x = a, *y = b;

    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? -1 : 1;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int
listing_add(struct spool_listing *l, size_t *cap, const struct spool_segment *s)
{
    if (l->n == *cap) {
        size_t more = *cap ? *cap * 2 : 64;
        void *p = reallocarray(l->items, more, sizeof *l->items);
        if (!p)
            return ERR_NOMEM;
        l->items = p;
        *cap = more;
    }
    l->items[l->n++] = *s;
    return 0;
}

static int
listing_add_unread(struct spool_listing *l, uint64_t number, int err)
{
    void *p = reallocarray(l->unread, l->nunread + 1, sizeof *l->unread);

    if (!p)
        return ERR_NOMEM;
    l->unread = p;
    l->unread[l->nunread++] = (struct spool_unread){number, err};
    return 0;
}

static int
list_all(DIR *d, const struct spool_io *io, struct spool_listing *l, struct why *why)
{
    struct spool_segment s = {0};
    struct dirent *e;
    size_t cap = 0;
    uint64_t number;
    int got;

    while ((errno = 0, e = readdir(d))) {
        if (spool_segment_name_parse(str_c(e->d_name), &number) < 0)
            continue;
        got = list_one(dirfd(d), e->d_name, number, io, &s);
        if (got == -ENOENT) /* gone meanwhile */
            continue;
        if (got == ERR_VERSION)
            return why_set(why, got,
                           "seg/%s was written by a newer Gapura; this one must not "
                           "read it: install that version, or drain the spool with it",
                           e->d_name);
        if (got == ERR_CORRUPT) {
            l->unreadable++;
            why_set(why, got, "seg/%s: header does not check out; set aside", e->d_name);
        } else if (spool_is_disk_error(got)) {
            why_set(why, got, "seg/%s: %s", e->d_name, err_text(got));
            got = listing_add_unread(l, number, got);
        } else if (got == 1) {
            got = listing_add(l, &cap, &s);
        }
        if (got < 0 && got != ERR_CORRUPT)
            return why_set(why, got, "seg/%s: %s", e->d_name, err_text(got));
    }
    got = -errno; /* half of a listing would pass for all there is */
    return got < 0 ? why_set(why, got, "seg: %s", err_text(got)) : 0;
}

int
spool_list(const char *dir, const struct spool_io *io, struct spool_listing *ret, struct why *why)
{
    struct spool_listing l = {0};
    int err, segdir = walk_segdir(dir);
    DIR *d;

    if (segdir < 0)
        return why_set(why, segdir, "%s/seg: %s", dir, err_text(segdir));
    d = fdopendir(segdir);
    if (!d) {
        err = -errno;
        fd_close(&segdir);
        return err;
    }
    err = list_all(d, io ? io : &spool_io_system, &l, why);
    closedir(d);
    if (err < 0) {
        spool_listing_done(&l);
        return err;
    }
    if (l.n > 1)
        qsort(l.items, l.n, sizeof *l.items, compare_segments);
    *ret = l;
    return 0;
}

void
spool_listing_done(struct spool_listing *l)
{
    free(l->items);
    free(l->unread);
    *l = (struct spool_listing){0};
}
