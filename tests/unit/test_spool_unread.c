/*
 * tests/unit/test_spool_unread.c - a disk that does not give what it holds, for a while: the file
 * is set aside and touched by nobody, all others are served, and what is read later is neither
 * twice nor left out. Nor may a tail wait for a role that lies.
 */
#include <dirent.h>
#include <dlfcn.h>

#include "spool/pool.h"
#include "spool_rig.h"

#define SEGMENT (64u * SPOOL_UNIT)
#define BIG     (4u << 20)
#define GATE    (SPOOL_STREAM_GATE * 256)
#define COURIER (SPOOL_STREAM_COURIER * 256)

/* --- the pool --- */

static char dir[64];

static void
file_path(uint64_t number, const char *behind, char path[128])
{
    str_fmt(path, 128, "%s/seg/%08llu.seg%s", dir, (unsigned long long)number, behind);
}

/* A directory in its place: it opens, and every read of it fails. */
static void
file_away(uint64_t number, bool away)
{
    char path[128], aside[128];

    file_path(number, "", path);
    file_path(number, ".away", aside);
    if (away)
        ENSURE(rename(path, aside) == 0 && mkdir(path, 0700) == 0);
    else
        ENSURE(rmdir(path) == 0 && rename(aside, path) == 0);
}

static void
file_drop(uint64_t number)
{
    char path[128];

    file_path(number, "", path);
    unlink(path);
}

/* A directory whose blocks the disk does not give: after so many entries; -1: it gives them. */
static long entries = -1;

struct dirent *
readdir(DIR *d)
{
    struct dirent *(*of_system)(DIR *) = NULL;
    void *found = dlsym(RTLD_NEXT, "readdir");

    memcpy(&of_system, &found, sizeof found);
    if (entries == 0) {
        errno = EIO;
        return NULL;
    }
    entries -= entries > 0;
    return of_system(d);
}

static void
dir_drop(void)
{
    static const char *const names[] = {"node", "node.new", "lock", "seg", ""};
    char path[128];

    for (uint64_t i = 1; i < 20; i++)
        file_drop(i);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        str_fmt(path, sizeof path, "%s/%s", dir, names[i]);
        if (unlink(path) < 0)
            rmdir(path);
    }
}

static struct spool_pool_conf
conf(void)
{
    str_fmt(dir, sizeof dir, "/tmp/gapura-unread-XXXXXX");
    ENSURE(mkdtemp(dir));
    return (struct spool_pool_conf){.dir = dir, .segment_size = BIG, .ready = 2};
}

static bool
names(const char *text, uint64_t number)
{
    char name[32];

    return strstr(text, spool_segment_name(number, name)) != NULL;
}

static void
test_pool(void)
{
    struct spool_pool_conf c = conf();
    struct spool_segment a, b, again;
    struct spool_listing list;
    struct spool_space space;
    struct spool_pool *p;
    struct why why = {0};
    char path[128];
    int fd;

    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, GATE), 1, "epoch");
    IS(spool_pool_take(p, GATE, 1, &fd, &a), 0, "a segment");
    fd_close(&fd);
    IS(spool_pool_take(p, GATE, 1, &fd, &b), 0, "another");
    fd_close(&fd);
    spool_pool_close(p);
    file_away(b.number, true);
    IS(spool_pool_open(&p, &c, &why), 0, "opens without what cannot be read: %s", why.text);
    OK(names(why.text, b.number), "and names it: %s", why.text);
    spool_pool_space(p, &space);
    OK(space.segments_unreadable == 1 && space.segments_used == 1, "set aside");
    IS(spool_list(dir, NULL, &list, &why), 0, "a listing goes on");
    OK(list.n == 1 && list.nunread == 1 && list.unread[0].number == b.number, "and says which");
    OK(spool_is_disk_error(list.unread[0].err), "and why: %s", err_text(list.unread[0].err));
    spool_listing_done(&list);
    OK(spool_is_disk_error(spool_header_try(dir, b.number, NULL)), "it cannot be read yet");
    IS(spool_pool_free(p, b.number, b.generation), ERR_STATE, "it is not taken for freed");
    IS(spool_pool_take(p, GATE, 1, &fd, &again), 0, "its writer lives on");
    fd_close(&fd);
    OK(again.seq > b.seq && again.number != b.number, "behind what cannot be read");
    IS(spool_pool_again(p), 0, "nothing can be read yet");
    file_away(b.number, false);
    file_path(b.number, "", path);
    ENSURE(truncate(path, BIG - 1) == 0);
    IS(spool_header_try(dir, b.number, NULL), -EIO, "nor half a copy of it");
    ENSURE(truncate(path, BIG) == 0);
    IS(spool_header_try(dir, b.number, NULL), 1, "it can be read again");
    IS(spool_pool_again(p), 1, "and is in the books");
    spool_pool_space(p, &space);
    OK(space.segments_unreadable == 0 && space.segments_used == 3, "as it was");
    IS(spool_pool_free(p, b.number, b.generation), 0, "and is freed as any other");
    spool_pool_close(p);
    dir_drop();
}

/* What is voided in a segment must not come back with one that nobody can see now. */
static void
test_void_outlives(void)
{
    struct spool_pool_conf c = conf();
    static _Alignas(4096) uint8_t page[SPOOL_UNIT];
    struct spool_batch voids = {.length = SPOOL_UNIT, .flags = SPOOL_BATCH_VOID};
    struct spool_segment a, b;
    struct spool_pool *p;
    struct why why = {0};
    int fd;

    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, GATE), 1, "epoch");
    IS(spool_pool_take(p, GATE, 1, &fd, &a), 0, "a segment whose last batch failed");
    fd_close(&fd);
    IS(spool_pool_take(p, GATE, 1, &fd, &b), 0, "one that voids it");
    spool_batch_encode(&voids, &b, page);
    IS(spool_io_system.pwrite(NULL, fd, page, sizeof page, SPOOL_UNIT), SPOOL_UNIT, "on disk");
    fd_close(&fd);
    spool_pool_close(p);
    file_away(a.number, true);
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_free(p, b.number, b.generation), ERR_STATE, "it stays");
    file_away(a.number, false);
    IS(spool_pool_again(p), 1, "the first is read");
    IS(spool_pool_free(p, b.number, b.generation), ERR_STATE, "and goes first");
    IS(spool_pool_free(p, a.number, a.generation), 0, "now");
    IS(spool_pool_free(p, b.number, b.generation), 0, "then the other");
    spool_pool_close(p);
    dir_drop();
}

/* A sector that the disk lost reads as zeros: that is no file whose making was cut short. */
static void
test_lost_header(void)
{
    static _Alignas(4096) uint8_t zeros[SPOOL_UNIT];
    struct spool_pool_conf c = conf();
    struct spool_listing list;
    struct spool_space space;
    struct spool_segment a;
    struct spool_pool *p;
    struct why why = {0};
    char path[128];
    int fd;

    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, GATE), 1, "epoch");
    IS(spool_pool_take(p, GATE, 1, &fd, &a), 0, "a segment");
    fd_close(&fd);
    spool_pool_close(p);
    file_path(a.number, "", path);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    ENSURE(fd >= 0 && pwrite(fd, zeros, sizeof zeros, 0) == sizeof zeros);
    fd_close(&fd);
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    spool_pool_space(p, &space);
    OK(access(path, F_OK) == 0 && space.segments_unreadable == 1, "it is kept, and set aside");
    IS(spool_list(dir, NULL, &list, &why), 0, "listed");
    OK(list.unreadable == 1 && list.n == 0, "nor passed over in silence");
    spool_listing_done(&list);
    spool_pool_close(p);
    dir_drop();
}

/* A listing of half the files would leave out mail, and what was said of mail. */
static void
test_lost_names(void)
{
    struct spool_pool_conf c = conf();
    struct spool_listing list;
    struct spool_segment a;
    struct spool_pool *p;
    struct why why = {0};
    int fd;

    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, GATE), 1, "epoch");
    for (int i = 0; i < 3; i++) {
        IS(spool_pool_take(p, GATE, 1, &fd, &a), 0, "a segment");
        fd_close(&fd);
    }
    spool_pool_close(p);
    for (entries = 0; entries < 4;) {
        long given = entries;
        IS(spool_list(dir, NULL, &list, &why), -EIO, "%ld names are no listing", given);
        OK(strstr(why.text, "Input/output error") != NULL, "and it says why: %s", why.text);
        entries = given;
        IS(spool_pool_open(&p, &c, &why), -EIO, "nor the books");
        entries = given + 1;
    }
    entries = -1;
    IS(spool_list(dir, NULL, &list, &why), 0, "all of them are");
    IS(list.n, 3, "three");
    spool_listing_done(&list);
    IS(spool_pool_open(&p, &c, &why), 0, "and the books");
    spool_pool_close(p);
    dir_drop();
}

static ssize_t
zeros_then_nothing(void *ctx, int fd, void *room, size_t n, uint64_t off)
{
    (void)ctx;
    (void)fd;
    if (off > 0 || n > SPOOL_UNIT)
        return -EIO;
    memset(room, 0, n);
    return (ssize_t)n;
}

/* A header that reads as zeros, and nothing behind it that reads: it may be read later. */
static void
test_lost_file(void)
{
    struct spool_pool_conf c = conf();
    struct spool_io io = spool_io_system;
    struct spool_listing list;
    struct spool_segment a;
    struct spool_pool *p;
    struct why why = {0};
    int fd;

    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, GATE), 1, "epoch");
    IS(spool_pool_take(p, GATE, 1, &fd, &a), 0, "a segment");
    fd_close(&fd);
    spool_pool_close(p);
    io.pread = zeros_then_nothing;
    IS(spool_list(dir, &io, &list, &why), 0, "listed");
    OK(list.unreadable == 0 && list.nunread >= 1, "as one that may be read later");
    spool_listing_done(&list);
    dir_drop();
}

/* --- reading --- */

static struct twin twin;
static struct rig rig;
static struct finding found;
static long reads, fail_at;
/* What a failure leads to: the next try succeeds; the open file is of no use any more, another is
 * in its place; somebody has the file away to mend it; the copy in its place is not all there yet.
 */
static enum trouble { PASSES, REPLACED, AWAY, HALF } trouble;
static int dead_fd, away;

static ssize_t
failing_pread(void *ctx, int fd, void *p, size_t n, uint64_t off)
{
    if (fd == dead_fd)
        return -EIO;
    if (n == 1 && away > 0) { /* its last byte */
        away--;
        return 0;
    }
    if (reads++ != fail_at)
        return twin_pread(ctx, fd, p, n, off);
    dead_fd = trouble == PASSES ? -1 : fd;
    away = trouble >= AWAY ? 2 : 0;
    return -EIO;
}

static int
failing_open(void *ctx, int dirfd, const char *name, int flags, unsigned mode)
{
    dead_fd = -1;
    if (trouble == AWAY && away > 0) {
        away--;
        return -ENOENT;
    }
    if (reads++ != fail_at)
        return twin_open(ctx, dirfd, name, flags, mode);
    away = trouble >= AWAY ? 2 : 0;
    return -EIO;
}

/* Segments of several batches; one batch of the middle is lost, the last is torn. */
static void
write_epoch(void)
{
    struct note *n;

    twin_init(&twin);
    rig_init(&rig, &twin, 5, SEGMENT, 0);
    OK(rig_ready(&rig), "ready");
    for (unsigned i = 0; i < 60; i++) {
        n = rig_note(&rig, 10, 12000);
        ENSURE(spool_writer_add(rig.writer, &n->out) == 0 && rig_settle(&rig));
    }
    memset(twin.files[1].now + rig.notes[20]->out.loc.offset, 0x55, 64);
    memset(twin.files[rig.files - 2].now + SPOOL_UNIT, 0x55, 64);
}

static uint64_t
sum_of(const struct finding *f)
{
    uint64_t sum = f->n + 1000 * f->damages + 100000 * (uint64_t)f->ends;

    for (size_t i = 0; i < f->n; i++)
        sum = sum * 31 + f->items[i].record.seq;
    return sum;
}

static int
read_epoch(const struct spool_io *io, unsigned *ret_errors)
{
    struct spool_listing all;
    struct spool_epoch *e = NULL;
    unsigned tries = 0;
    int got;

    *ret_errors = 0;
    dead_fd = -1;
    away = 0;
    found.n = found.nvoids = 0;
    found.damages = found.ends = 0;
    IS(spool_list(twin.dir, &twin.io, &all, NULL), 0, "listed");
    IS(spool_epoch_open(&e, twin.dir, all.items, all.n, io, &finding_ops, &found), 0, "open");
    do {
        got = spool_epoch_step(e);
        *ret_errors += got < 0;
    } while (got == 1 || (spool_is_disk_error(got) && tries++ < 3));
    spool_epoch_close(e);
    spool_listing_done(&all);
    return got;
}

/* Each read in turn fails once, and its step is tried again. */
static void
test_steps_again(enum trouble kind)
{
    struct spool_io io;
    uint64_t right;
    unsigned errors, wrong = 0, failed = 0;
    long total;

    write_epoch();
    io = twin.io;
    io.pread = failing_pread;
    io.open = failing_open;
    fail_at = -1;
    reads = 0;
    IS(read_epoch(&io, &errors), 0, "read");
    right = sum_of(&found);
    total = reads;
    OK(found.n > 50 && found.damages >= 1 && total > 30, "%zu records, %u damaged, %ld reads",
       found.n, found.damages, total);
    trouble = kind;
    for (fail_at = 0; fail_at < total; fail_at++) {
        reads = 0;
        if (read_epoch(&io, &errors) != 0 || sum_of(&found) != right) {
            wrong++;
            printf("# read %ld: %zu records, %u damaged, %u ends\n", fail_at, found.n,
                   found.damages, found.ends);
        }
        failed += errors;
    }
    IS(wrong, 0, "nothing twice, nothing left out");
    IS(failed, kind >= AWAY ? 3 * total : total, "each was told");
    trouble = PASSES;
    rig_finish(&rig, &found);
}

static struct spool_share
attach(int wake)
{
    struct spool_share *of = spool_writer_share(rig.writer), share;

    OK(spool_share_attach(&share, fcntl(of->fd, F_DUPFD_CLOEXEC, 0),
                          wake >= 0 ? wake : fcntl(of->wake_fd, F_DUPFD_CLOEXEC, 0)) == 0,
       "attached");
    return share;
}

/* A tail that reads its past off a disk that fails goes on where it stood. */
static void
test_tail_again(enum trouble kind)
{
    struct spool_io io;
    unsigned wrong = 0;
    uint64_t right = 0;
    long total = 0;

    write_epoch();
    io = twin.io;
    io.pread = failing_pread;
    io.open = failing_open;
    for (fail_at = -1; fail_at < MAX(total, 1L); fail_at++) {
        struct spool_tail *t;
        unsigned errors = 0;
        int got;
        found.n = found.nvoids = 0;
        found.damages = found.ends = 0;
        reads = 0;
        dead_fd = -1;
        trouble = kind;
        ENSURE(spool_tail_create(&t, twin.dir, attach(-1), &io, &finding_ops, &found) == 0);
        do {
            got = spool_tail_run(t, 4);
            errors += got < 0;
        } while (got > 0 || (spool_is_disk_error(got) && errors < 4));
        spool_tail_free(t);
        if (fail_at < 0) {
            right = sum_of(&found);
            total = reads;
            continue;
        }
        wrong += got != 0 || sum_of(&found) != right;
    }
    OK(found.n > 50, "%zu records", found.n);
    IS(wrong, 0, "nothing twice, nothing left out, whichever of %ld reads failed", total);
    trouble = PASSES;
    rig_finish(&rig, &found);
}

/* Who has the other end of what wakes us may make a read of it wait for ever. */
static void
test_wake_that_blocks(void)
{
    int fds[2];
    struct spool_tail *t;

    twin_init(&twin);
    rig_init(&rig, &twin, 5, SEGMENT, 0);
    OK(rig_ready(&rig), "ready");
    ENSURE(pipe2(fds, O_CLOEXEC) == 0);
    ENSURE(spool_tail_create(&t, twin.dir, attach(fds[0]), &twin.io, &finding_ops, &found) == 0);
    OK(spool_tail_sleep(t), "it sleeps");
    alarm(20);
    IS(spool_tail_run(t, 4), 0, "woken by something else, it reads nothing that waits");
    alarm(0);
    spool_tail_free(t);
    fd_close(&fds[1]);
    rig_finish(&rig, &found);
}

int
main(void)
{
    test_pool();
    test_void_outlives();
    test_lost_header();
    test_lost_names();
    test_lost_file();
    test_steps_again(PASSES);
    test_steps_again(REPLACED);
    test_steps_again(AWAY);
    test_steps_again(HALF);
    test_tail_again(PASSES);
    test_tail_again(REPLACED);
    test_wake_that_blocks();
    return tap_done();
}
