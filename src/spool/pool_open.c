/*
 * spool/pool_open.c - the books of the spool as a start finds them: the node file, a header each.
 *
 * Called by the spooler, once. Only a file whose making was cut short is removed; one that cannot
 * be read is set aside, and pool.c looks at it again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/listing.h"
#include "spool/pool_inner.h"
#include "spool/walk.h"

#define SEGMENT_MIN (UINT64_C(4) << 20)
#define SEGMENT_MAX (UINT64_C(1) << 30)

int
pool_add(struct spool_pool *p, const struct spool_segment *s)
{
    if (p->n == p->cap) {
        size_t more = p->cap ? p->cap * 2 : 64;
        void *grown = reallocarray(p->all, more, sizeof *p->all);
        if (!grown)
            return ERR_NOMEM;
        p->all = grown;
        p->cap = more;
    }
    p->all[p->n++] = *s;
    p->bytes += s->size;
    if (s->state == SPOOL_SEGMENT_FREE)
        p->nfree++;
    return 0;
}

int
pool_set_aside(struct spool_pool *p, uint64_t number)
{
    struct pool_aside *more = reallocarray(p->aside, p->naside + 1, sizeof *more);
    char name[32];
    struct stat st;

    if (!more)
        return ERR_NOMEM;
    p->aside = more;
    if (fstatat(p->disk.segdir, spool_segment_name(number, name), &st, 0) < 0)
        st.st_size = (off_t)p->conf.segment_size;
    more[p->naside++] = (struct pool_aside){number, (uint64_t)st.st_size};
    p->aside_bytes += (uint64_t)st.st_size;
    return 0;
}

int
pool_look(struct spool_pool *p, uint64_t number, struct spool_segment *ret)
{
    const struct spool_io *io = p->disk.io;
    char name[32];
    int err, blank = 0,
             fd = io->open(io->ctx, p->disk.segdir, spool_segment_name(number, name), O_RDONLY, 0);

    if (fd < 0)
        return fd;
    err = walk_header(io, fd, ret);
    if (err == ERR_CORRUPT)
        blank = walk_is_blank(io, fd);
    if (blank != 0) /* or nobody can tell now */
        err = blank > 0 ? ERR_NOTFOUND : blank;
    if (err == 0 && ret->number != number)
        err = ERR_CORRUPT;
    fd_close(&fd);
    return err;
}

static int
pool_read_one(struct spool_pool *p, const char *name, struct why *why)
{
    struct spool_segment s;
    uint64_t number;
    int err;

    if (spool_segment_name_parse(str_c(name), &number) < 0)
        return 0;
    err = pool_look(p, number, &s);
    if (err == 0)
        return pool_add(p, &s);
    if (err == ERR_NOTFOUND)
        return pool_segment_unlink(&p->disk, number);
    if (err == ERR_VERSION)
        return why_set(why, err,
                       "seg/%s was written by a newer Gapura; this one must not read it: "
                       "install that version, or drain the spool with it",
                       name);
    why_set(why, err, "seg/%s: %s; set aside", name,
            err == ERR_CORRUPT ? "header does not check out" : err_text(err));
    return err == ERR_CORRUPT || spool_is_disk_error(err) ? pool_set_aside(p, number) : err;
}

static int
pool_read_all(struct spool_pool *p, struct why *why)
{
    int err = 0, fd = openat(p->disk.dir, "seg", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *e;
    DIR *d;

    if (fd < 0)
        return -errno;
    d = fdopendir(fd);
    if (!d) {
        err = -errno;
        fd_close(&fd);
        return err;
    }
    while (err == 0 && (errno = 0, e = readdir(d)))
        err = pool_read_one(p, e->d_name, why);
    if (err == 0 && errno) { /* half of the files are no books */
        err = -errno;
        why_set(why, err, "seg: %s", err_text(err));
    }
    closedir(d);
    return err;
}

/* The node file, or a new one for an empty spool. */
static int
pool_read_node(struct spool_pool *p, struct why *why)
{
    int err = pool_node_load(&p->disk, &p->node);

    if (err == ERR_NOTFOUND && p->n == 0 && p->naside == 0) {
        do
            p->node.node = pool_random();
        while (p->node.node == 0);
        p->node.next_epoch = 1;
        p->node.next_file = 1;
        err = pool_node_save(&p->disk, &p->node);
        if (err < 0)
            why_set(why, err, "%s/node cannot be written: %s", p->conf.dir, err_text(err));
        return err;
    }
    if (err == ERR_VERSION)
        return why_set(why, err, "%s/node was written by a newer Gapura", p->conf.dir);
    if (err < 0)
        return why_set(why, err,
                       "%s/node: %s; without it epochs would repeat, and ids with them: "
                       "restore it or set the spool aside",
                       p->conf.dir, err_text(err));
    for (size_t i = 0; i < p->n; i++) {
        if (p->all[i].number >= p->node.next_file || p->all[i].epoch >= p->node.next_epoch)
            return why_set(why, ERR_CORRUPT, "%s/node is older than the segments beside it",
                           p->conf.dir);
    }
    return 0;
}

int
spool_pool_open(struct spool_pool **ret, const struct spool_pool_conf *conf, struct why *why)
{
    struct spool_pool *p;
    int err;

    if (conf->segment_size < SEGMENT_MIN || conf->segment_size > SEGMENT_MAX ||
        conf->segment_size % SPOOL_UNIT != 0)
        return why_set(why, ERR_LIMIT, "segment size must be 4 MB to 1 GB, in steps of 4096");
    p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    p->conf = *conf;
    p->conf.dir = strdup(conf->dir);
    p->conf.io = conf->io ? conf->io : &spool_io_system;
    p->disk.dir = p->disk.segdir = p->disk.lock = -1;
    err = p->conf.dir ? 0 : ERR_NOMEM;
    if (err == 0)
        err = pool_disk_open(&p->disk, p->conf.dir, p->conf.io, why);
    if (err == 0)
        err = pool_read_all(p, why);
    if (err == 0)
        err = pool_read_node(p, why);
    if (err < 0) {
        spool_pool_close(p);
        return err;
    }
    *ret = p;
    return 0;
}

void
spool_pool_close(struct spool_pool *p)
{
    if (!p)
        return;
    pool_disk_done(&p->disk);
    free(p->all);
    free(p->aside);
    free((char *)(uintptr_t)p->conf.dir);
    free(p);
}
