/*
 * tests/unit/test_spool_pool.c - epochs, segments and space; every write and sync of the pool made
 * to fail in turn; the admission law.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/admission.h"
#include "spool/pool.h"
#include "spool/reader.h"
#include "spool/writer.h"
#include "tap.h"

#define GATE    (SPOOL_STREAM_GATE << 8)
#define COURIER (SPOOL_STREAM_COURIER << 8)
#define SEGMENT (UINT64_C(4) << 20)

static char dir[64];

static void
dir_make(void)
{
    str_fmt(dir, sizeof dir, "/tmp/gapura-pool-XXXXXX");
    ENSURE(mkdtemp(dir));
}

static void
dir_drop(void)
{
    static const char *const names[] = {"node", "node.new", "lock", "probe"};
    char path[128];

    for (unsigned i = 0; i < 200; i++) {
        str_fmt(path, sizeof path, "%s/seg/%08u.seg", dir, i);
        unlink(path);
    }
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        str_fmt(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    str_fmt(path, sizeof path, "%s/seg", dir);
    rmdir(path);
    rmdir(dir);
}

static struct spool_pool_conf
conf(unsigned ready, unsigned reserve, uint64_t quota)
{
    return (struct spool_pool_conf){
        .dir = dir, .segment_size = SEGMENT, .quota = quota, .ready = ready, .reserve = reserve};
}

static void
test_life(void)
{
    struct spool_pool_conf c = conf(2, 1, 0);
    struct spool_segment a, b, again;
    struct spool_pool *p, *other;
    struct spool_space space;
    struct spool_listing list;
    struct why why;
    uint32_t node;
    int fd, fd2;

    dir_make();
    IS(spool_pool_open(&p, &c, &why), 0, "opens an empty directory");
    IS(spool_pool_open(&other, &c, &why), -EWOULDBLOCK, "a second instance is kept out");
    node = spool_pool_node(p);
    OK(node != 0, "it has a node id");
    IS(spool_pool_epoch(p, GATE), 1, "first epoch");
    for (int i = 0; i < 3; i++)
        IS(spool_pool_prepare(p), 1, "prepared");
    IS(spool_pool_prepare(p), 0, "enough");
    spool_pool_space(p, &space);
    OK(space.segments_free == 3 && space.segments_used == 0 && space.bytes_total == 3 * SEGMENT,
       "space");
    OK(space.intake_open && space.intake_bytes > 0, "intake is open");
    IS(spool_pool_take(p, GATE, 1, &fd, &a), 0, "take");
    OK(a.seq == 0 && a.epoch == 1 && a.stream == GATE && a.node == node, "its header");
    OK(a.compatible & SPOOL_SEGMENT_PREWRITTEN, "a pre-written one");
    IS(spool_pool_take(p, GATE, 1, &fd2, &b), 0, "take another");
    OK(b.seq == 1 && b.number != a.number && b.generation != a.generation, "the next in sequence");
    fd_close(&fd);
    fd_close(&fd2);
    IS(spool_list(dir, NULL, &list, &why), 0, "listed");
    OK(list.n == 2 && list.items[0].number == a.number && list.items[1].number == b.number,
       "used ones, in order");
    spool_listing_done(&list);
    IS(spool_pool_free(p, a.number, a.generation + 1), ERR_STALE, "stale pin");
    IS(spool_pool_free(p, 999, 1), ERR_NOTFOUND, "no such segment");
    IS(spool_pool_free(p, a.number, a.generation), 0, "free");
    IS(spool_pool_free(p, a.number, a.generation), ERR_STALE, "once");
    spool_pool_close(p);
    IS(spool_pool_open(&p, &c, &why), 0, "opens again");
    IS(spool_pool_node(p), node, "same node");
    IS(spool_pool_last_epoch(p), 1, "remembers its epoch");
    IS(spool_pool_epoch(p, COURIER), 2, "never gives one twice");
    spool_pool_space(p, &space);
    OK(space.segments_free == 2 && space.segments_used == 1, "remembers its segments");
    IS(spool_pool_take(p, GATE, 1, &fd, &again), 0, "the writer lived on");
    IS(again.seq, 2, "its sequence goes on");
    fd_close(&fd);
    spool_pool_close(p);
    spool_pool_close(NULL);
    dir_drop();
}

static void
test_space(void)
{
    struct spool_pool_conf c = conf(2, 2, 5 * SEGMENT);
    struct spool_segment s[5];
    struct spool_space space;
    struct spool_pool *p;
    struct why why;
    int fd;

    dir_make();
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    while (spool_pool_prepare(p) == 1)
        continue;
    for (int i = 0; i < 3; i++) {
        IS(spool_pool_take(p, GATE, 1, &fd, &s[i]), 0, "intake takes");
        fd_close(&fd);
    }
    IS(spool_pool_take(p, GATE, 1, &fd, &s[3]), ERR_FULL, "only the reserve is left: intake stops");
    spool_pool_space(p, &space);
    OK(!space.intake_open && space.intake_bytes == 0 && space.segments_free == 2, "and is told");
    IS(spool_pool_take(p, COURIER, 2, &fd, &s[3]), 0, "outcomes may use the reserve");
    fd_close(&fd);
    IS(spool_pool_take(p, COURIER, 2, &fd, &s[4]), 0, "all of it");
    fd_close(&fd);
    IS(spool_pool_take(p, COURIER, 2, &fd, &s[4]), ERR_FULL, "and no more");
    IS(spool_pool_prepare(p), 0, "quota: nothing to prepare");
    IS(spool_pool_free(p, s[0].number, s[0].generation), 0, "freed");
    IS(spool_pool_take(p, GATE, 1, &fd, &s[0]), ERR_FULL, "the reserve is filled first");
    spool_pool_close(p);
    dir_drop();
    dir_make();
    c = conf(1, 0, 0);
    c.min_free = UINT64_C(1) << 60;
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_prepare(p), 0, "min_free holds");
    IS(spool_pool_take(p, COURIER, 1, &fd, &s[0]), ERR_FULL, "for all");
    spool_pool_close(p);
    c = conf(1, 0, 0);
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_take(p, GATE, 1, &fd, &s[0]), 0, "without a prepared one a file is made");
    OK(!(s[0].compatible & SPOOL_SEGMENT_PREWRITTEN), "not pre-written");
    fd_close(&fd);
    IS(spool_pool_free(p, s[0].number, s[0].generation), 0, "freed");
    IS(spool_pool_prepare(p), 1, "and written when there is time");
    IS(spool_pool_take(p, GATE, 1, &fd, &s[0]), 0, "taken again");
    OK(s[0].compatible & SPOOL_SEGMENT_PREWRITTEN, "pre-written now");
    fd_close(&fd);
    for (int i = 0; i < 4; i++) {
        IS(spool_pool_take(p, GATE, 1, &fd, &s[i]), 0, "take");
        fd_close(&fd);
    }
    for (int i = 0; i < 4; i++)
        IS(spool_pool_free(p, s[i].number, s[i].generation), 0, "free");
    spool_pool_space(p, &space);
    IS(space.segments_free, 2, "above the high mark files go");
    spool_pool_close(p);
    dir_drop();
}

static void
overwrite(const char *name, const char *text, size_t n, off_t at)
{
    char path[128];
    int fd;

    str_fmt(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ENSURE(fd >= 0 && pwrite(fd, text, n, at) == (ssize_t)n);
    fd_close(&fd);
}

static void
test_refusals(void)
{
    static const char zeros[SPOOL_UNIT];
    struct spool_pool_conf c = conf(1, 0, 0);
    struct spool_segment s, newer;
    struct spool_listing list;
    struct spool_space space;
    struct spool_pool *p;
    uint8_t page[SPOOL_UNIT];
    struct why why = {0};
    char path[128];
    int fd;

    dir_make();
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, GATE), 1, "epoch");
    IS(spool_pool_take(p, GATE, 1, &fd, &s), 0, "take");
    fd_close(&fd);
    IS(spool_pool_prepare(p), 1, "prepare");
    spool_pool_close(p);
    overwrite("seg/00000002.seg", zeros, sizeof zeros, 0);
    IS(spool_pool_open(&p, &c, &why), 0, "an unfinished file");
    spool_pool_space(p, &space);
    OK(space.segments_free == 0 && space.segments_unreadable == 0, "is removed");
    spool_pool_close(p);
    overwrite("seg/00000001.seg", "x", 1, 100);
    IS(spool_pool_open(&p, &c, &why), 0, "a damaged header");
    spool_pool_space(p, &space);
    OK(space.segments_unreadable == 1 && why.text[0], "is set aside and named");
    IS(spool_list(dir, NULL, &list, &why), 0, "listing goes on");
    OK(list.unreadable == 1 && list.n == 0, "without it");
    spool_listing_done(&list);
    spool_pool_close(p);
    newer = s;
    newer.incompatible = 4;
    spool_segment_encode(&newer, page);
    overwrite("seg/00000001.seg", (char *)page, sizeof page, 0);
    IS(spool_pool_open(&p, &c, &why), ERR_VERSION, "a newer format refuses the start");
    OK(str_find(str_c(why.text), STR("newer")) >= 0, "clearly: %s", why.text);
    IS(spool_list(dir, NULL, &list, &why), ERR_VERSION, "for readers too");
    spool_segment_encode(&s, page);
    overwrite("seg/00000001.seg", (char *)page, sizeof page, 0);
    overwrite("node", "x", 1, 20);
    IS(spool_pool_open(&p, &c, &why), ERR_CORRUPT, "a damaged node file refuses the start");
    str_fmt(path, sizeof path, "%s/node", dir);
    unlink(path);
    IS(spool_pool_open(&p, &c, &why), ERR_NOTFOUND, "a missing one beside segments too");
    OK(why.text[0], "clearly: %s", why.text);
    dir_drop();
}

/* An operator who wants space takes what looks old. */
static void
remove_file(uint64_t number)
{
    char path[128];

    str_fmt(path, sizeof path, "%s/seg/%08llu.seg", dir, (unsigned long long)number);
    ENSURE(unlink(path) == 0);
}

static void
test_removed_files(void)
{
    struct spool_pool_conf c = conf(3, 1, 0);
    struct spool_segment a, b;
    struct spool_space space;
    struct spool_pool *p;
    struct why why;
    int fd;

    dir_make();
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_take(p, GATE, 1, &fd, &a), 0, "one is used");
    fd_close(&fd);
    while (spool_pool_prepare(p) == 1)
        continue;
    for (uint64_t i = 1; i <= 5; i++) {
        if (i != a.number)
            remove_file(i);
    }
    IS(spool_pool_take(p, GATE, 1, &fd, &b), 0, "free files that were removed: another is made");
    fd_close(&fd);
    IS(b.seq, 1, "the next in its row");
    while (spool_pool_prepare(p) == 1)
        continue;
    spool_pool_space(p, &space);
    OK(space.segments_free == 4 && space.bytes_total == 6 * SEGMENT, "the books are right again");
    remove_file(a.number);
    IS(spool_pool_free(p, a.number, a.generation), ERR_NOTFOUND, "a used one that was removed");
    spool_pool_space(p, &space);
    OK(space.segments_used == 1 && space.bytes_total == 5 * SEGMENT, "is in the books no more");
    spool_pool_close(p);
    dir_drop();
}

/* The system, but what is written fails for as long as `sick`. */
static bool sick;

static ssize_t
sick_pwrite(void *ctx, int fd, const void *p, size_t n, uint64_t off)
{
    return sick ? -EIO : spool_io_system.pwrite(ctx, fd, p, n, off);
}

static void
test_sick_for_a_while(void)
{
    struct spool_io io = spool_io_system;
    struct spool_pool_conf c = conf(3, 1, 4 * SEGMENT);
    struct spool_segment s;
    struct spool_space space;
    struct spool_pool *p;
    struct why why;
    int fd = -1;

    dir_make();
    io.pwrite = sick_pwrite;
    c.io = &io;
    sick = false;
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, COURIER), 1, "epoch");
    while (spool_pool_prepare(p) == 1)
        continue;
    sick = true;
    for (int i = 0; i < 8; i++)
        OK(spool_pool_take(p, COURIER, 1, &fd, &s) < 0, "no header can be written");
    OK(spool_pool_prepare(p) < 0, "nor made good");
    sick = false;
    while (spool_pool_prepare(p) == 1)
        continue;
    spool_pool_space(p, &space);
    OK(space.segments_free == 4 && space.segments_unreadable == 0 && space.intake_open,
       "the disk is well again: so are all segments, without a restart");
    IS(spool_pool_take(p, COURIER, 1, &fd, &s), 0, "taken");
    fd_close(&fd);
    spool_pool_close(p);
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    spool_pool_space(p, &space);
    OK(space.segments_free == 3 && space.segments_used == 1, "the disk says the same");
    spool_pool_close(p);
    dir_drop();
}

/* Of a writer that died before it wrote: without this, one that dies at each start (a courier that
 * cannot read its log) fills the disk with segments that hold nothing. */
static void
test_unwritten_come_back(void)
{
    struct spool_pool_conf c = conf(2, 2, 12 * SEGMENT);
    static _Alignas(4096) uint8_t page[SPOOL_UNIT];
    struct spool_batch b = {.length = SPOOL_UNIT};
    struct spool_segment s[3], other;
    struct spool_space space;
    struct spool_pool *p;
    struct why why;
    int fd;

    dir_make();
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, GATE), 1, "another stream's epoch");
    IS(spool_pool_take(p, GATE, 1, &fd, &other), 0, "with a segment");
    fd_close(&fd);
    for (uint32_t life = 2; life < 20; life++) {
        IS(spool_pool_epoch(p, COURIER), life, "a life");
        for (unsigned i = 0; i < 3; i++) {
            IS(spool_pool_take(p, COURIER, life, &fd, &s[i]), 0, "three segments");
            fd_close(&fd);
        }
    }
    spool_pool_space(p, &space);
    IS(space.segments_used, 4, "those of the lives before are free");
    IS(spool_pool_epoch(p, COURIER), 20, "a life that writes");
    IS(spool_pool_take(p, COURIER, 20, &fd, &s[0]), 0, "a segment");
    spool_batch_encode(&b, &s[0], page);
    IS(spool_io_system.pwrite(NULL, fd, page, sizeof page, SPOOL_UNIT), SPOOL_UNIT, "a batch");
    fd_close(&fd);
    IS(spool_pool_take(p, COURIER, 20, &fd, &s[1]), 0, "and one more segment");
    fd_close(&fd);
    IS(spool_pool_epoch(p, COURIER), 21, "the next life");
    spool_pool_space(p, &space);
    IS(space.segments_used, 2, "what is behind the batch is free");
    IS(spool_pool_free(p, s[1].number, s[1].generation), ERR_STALE, "the other one is gone");
    IS(spool_pool_free(p, s[0].number, s[0].generation), 0, "what was written is as it was");
    IS(spool_pool_free(p, other.number, other.generation), 0, "other streams are let alone");
    spool_pool_close(p);
    dir_drop();
}

/* A device lost the first write: the mark is there, and a second batch behind it. */
static void
test_unwritten_is_doubted(void)
{
    struct spool_pool_conf c = conf(2, 2, 0);
    static _Alignas(4096) uint8_t page[SPOOL_UNIT];
    struct spool_batch b = {.length = SPOOL_UNIT, .position = 3 * SPOOL_UNIT};
    struct spool_segment s;
    struct spool_pool *p;
    struct why why;
    int fd;

    dir_make();
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_epoch(p, COURIER), 1, "epoch");
    IS(spool_pool_take(p, COURIER, 1, &fd, &s), 0, "taken");
    b.dir_crc = spool_salt(&s); /* of nothing */
    spool_batch_encode(&b, &s, page);
    ENSURE(spool_io_system.pwrite(NULL, fd, page, sizeof page, 4 * SPOOL_UNIT) == SPOOL_UNIT);
    fd_close(&fd);
    IS(spool_pool_epoch(p, COURIER), 2, "the next life");
    IS(spool_pool_free(p, s.number, s.generation), 0, "it was not taken for unwritten");
    spool_pool_close(p);
    dir_drop();
}

/* The system, but one call fails. */
static long calls, fail_at;

static bool
fails(void)
{
    return calls++ == fail_at;
}
static int
f_open(void *ctx, int dirfd, const char *name, int flags, unsigned mode)
{
    return fails() ? -EIO : spool_io_system.open(ctx, dirfd, name, flags, mode);
}
static ssize_t
f_pwrite(void *ctx, int fd, const void *p, size_t n, uint64_t off)
{
    return fails() ? -ENOSPC : spool_io_system.pwrite(ctx, fd, p, n, off);
}
static ssize_t
f_pread(void *ctx, int fd, void *p, size_t n, uint64_t off)
{
    return fails() ? -EIO : spool_io_system.pread(ctx, fd, p, n, off);
}
static int
f_sync(void *ctx, int fd)
{
    return fails() ? -EIO : spool_io_system.sync(ctx, fd);
}
static int
f_sync_full(void *ctx, int fd)
{
    return fails() ? -EIO : spool_io_system.sync_full(ctx, fd);
}
static int
f_rename(void *ctx, int a, const char *b, int c, const char *d)
{
    return fails() ? -EIO : spool_io_system.rename(ctx, a, b, c, d);
}
static int
f_unlink(void *ctx, int dirfd, const char *name)
{
    return fails() ? -EIO : spool_io_system.unlink(ctx, dirfd, name);
}
static int
f_truncate(void *ctx, int fd, uint64_t size)
{
    return fails() ? -EIO : spool_io_system.truncate(ctx, fd, size);
}

static void
test_failures(void)
{
    static const struct spool_io io = {f_open,   f_pwrite, f_pread,    f_sync, f_sync_full,
                                       f_rename, f_unlink, f_truncate, NULL};
    struct spool_pool_conf c = conf(1, 0, 0);
    int64_t best = 0;
    bool good = true, reached = true;
    struct why why;
    long at;

    dir_make();
    for (at = 0; reached && at < 200; at++) {
        struct spool_pool *p = NULL;
        struct spool_segment s;
        int64_t epoch;
        int fd = -1;
        calls = 0;
        fail_at = at;
        c.io = &io;
        if (spool_pool_open(&p, &c, &why) == 0) {
            epoch = spool_pool_epoch(p, GATE);
            good = good && (epoch < 0 || epoch > best);
            best = MAX(best, epoch);
            (void)spool_pool_prepare(p);
            if (epoch > 0 && spool_pool_take(p, GATE, (uint32_t)epoch, &fd, &s) == 0) {
                fd_close(&fd);
                (void)spool_pool_free(p, s.number, s.generation);
            }
            spool_pool_close(p);
        }
        reached = calls > at;
        c.io = NULL;
        good = good && spool_pool_open(&p, &c, &why) == 0;
        if (!good) {
            printf("# after failure %ld: %s\n", at, why.text);
            break;
        }
        epoch = spool_pool_epoch(p, GATE);
        good = good && epoch > best;
        best = epoch;
        spool_pool_close(p);
    }
    OK(good, "each call failed once: no epoch given twice, the spool opens again");
    OK(!reached && at > 15, "%ld calls", at);
    dir_drop();
}

static int
cached_open(void *ctx, int dirfd, const char *name, int flags, unsigned mode)
{
    return flags & O_DIRECT ? -EINVAL : spool_io_system.open(ctx, dirfd, name, flags, mode);
}

static void
test_no_direct(void)
{
    struct spool_io io = spool_io_system;
    struct spool_pool_conf c = conf(1, 0, 0);
    struct spool_space space;
    struct spool_segment s;
    struct spool_pool *p;
    struct why why;
    int fd;

    dir_make();
    io.open = cached_open;
    c.io = &io;
    IS(spool_pool_open(&p, &c, &why), 0, "a file system without O_DIRECT");
    spool_pool_space(p, &space);
    OK(!space.direct && space.direct_why[0], "is told: %s", space.direct_why);
    IS(spool_pool_prepare(p), 1, "works through the cache");
    IS(spool_pool_take(p, GATE, 1, &fd, &s), 0, "take");
    OK((fcntl(fd, F_GETFL) & O_DIRECT) == 0, "without O_DIRECT");
    fd_close(&fd);
    spool_pool_close(p);
    dir_drop();
}

/* A segment that begins with VOIDs outlives the failed one. */
static void
test_hold_back(void)
{
    struct spool_pool_conf c = conf(3, 0, 0);
    struct spool_batch b = {.length = SPOOL_UNIT, .flags = SPOOL_BATCH_VOID};
    static _Alignas(4096) uint8_t page[SPOOL_UNIT];
    struct spool_segment failed, voids;
    struct spool_space space;
    struct spool_pool *p;
    struct why why;
    int fd, fd2;

    dir_make();
    IS(spool_pool_open(&p, &c, &why), 0, "open");
    IS(spool_pool_take(p, GATE, 1, &fd, &failed), 0, "one that fails");
    IS(spool_pool_take(p, GATE, 1, &fd2, &voids), 0, "one that voids");
    spool_batch_encode(&b, &voids, page);
    IS(spool_io_system.pwrite(NULL, fd2, page, sizeof page, SPOOL_UNIT), SPOOL_UNIT, "written");
    fd_close(&fd);
    fd_close(&fd2);
    IS(spool_pool_free(p, voids.number, voids.generation), ERR_STATE, "is held back");
    spool_pool_space(p, &space);
    IS(space.segments_used, 2, "still used");
    IS(spool_pool_free(p, failed.number, failed.generation), 0, "the failed one goes");
    IS(spool_pool_free(p, voids.number, voids.generation), 0, "and then the other");
    spool_pool_space(p, &space);
    IS(space.segments_used, 0, "none is used");
    spool_pool_close(p);
    dir_drop();
}

static void
test_admission(void)
{
    struct admission_input in = {
        .writer_ready = true, .spool_bytes_left = 100 << 20, .spool_bytes_total = 1000 << 20};
    struct admission_limits limits = {.unsynced_slow_ns = 100, .unsynced_stop_ns = 1000};
    struct admission_result r;

    limits.waiting[ADMISSION_BULK_API] = 50;
    TEXT(str_c(admission(ADMISSION_INSIDE, &in, &limits).limit), "", "inside mail is let in");
    r = admission(ADMISSION_BULK_API, &in, &limits);
    TEXT(str_c(r.limit), "spool-space", "bulk leaves the last 30 %% of space");
    IS(r.verdict, ADMIT_LATER, "with 452");
    in.spool_bytes_left = 900 << 20;
    in.waiting = 50;
    TEXT(str_c(admission(ADMISSION_BULK_API, &in, &limits).limit), "waiting", "waiting");
    IS(admission(ADMISSION_STRANGER, &in, &limits).verdict, ADMIT, "0 disables");
    in.message_bytes = UINT64_C(1) << 40;
    TEXT(str_c(admission(ADMISSION_INSIDE, &in, &limits).limit), "spool-space", "too large");
    in.message_bytes = 0;
    in.oldest_unsynced_ns = 500;
    r = admission(ADMISSION_INSIDE, &in, &limits);
    OK(r.verdict == ADMIT_SLOWLY && r.slow_ns > 0, "an old sync slows");
    in.oldest_unsynced_ns = 5000;
    IS(admission(ADMISSION_INSIDE, &in, &limits).verdict, ADMIT_LATER, "a very old one stops");
    in.oldest_unsynced_ns = 0;
    limits.keeper_lag_ns = 10;
    in.keeper_lag_ns = 11;
    TEXT(str_c(admission(ADMISSION_BULK_SUBMISSION, &in, &limits).limit), "keeper-lag", "lag");
    IS(admission(ADMISSION_TRANSACTIONAL, &in, &limits).verdict, ADMIT, "hurts bulk alone");
    in.memory_used = 96;
    in.memory_limit = 100;
    IS(admission(ADMISSION_STRANGER, &in, &limits).verdict, ADMIT_NONE, "memory: 421");
    IS(admission(ADMISSION_INSIDE, &in, &limits).verdict, ADMIT, "inside goes on to 98 %%");
    in.descriptors_used = in.descriptors_limit = 10;
    TEXT(str_c(admission(ADMISSION_INSIDE, &in, &limits).limit), "descriptors", "descriptors");
    in.writer_ready = false;
    TEXT(str_c(admission(ADMISSION_INSIDE, &in, &limits).limit), "spool-writer", "no writer");
}

int
main(void)
{
    test_life();
    test_space();
    test_refusals();
    test_removed_files();
    test_sick_for_a_while();
    test_unwritten_come_back();
    test_unwritten_is_doubted();
    test_no_direct();
    test_hold_back();
    test_failures();
    test_admission();
    return tap_done();
}
