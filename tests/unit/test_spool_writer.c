/*
 * tests/unit/test_spool_writer.c - the writer against a disk that waits, fails and fills up; the
 * tail beside it; recovery after it.
 */
#include <sched.h>

#include "spool/writer_inner.h"
#include "spool_rig.h"

#define SEGMENT (32u * SPOOL_UNIT)

static struct twin twin;
static struct rig rig;
static struct finding found;

static void
begin_sized(size_t segment, uint64_t max_batch)
{
    twin_init(&twin);
    rig_init(&rig, &twin, 5, segment, max_batch);
}

static void
begin(uint64_t max_batch)
{
    begin_sized(SEGMENT, max_batch);
}

static void
finish(void)
{
    rig_finish(&rig, &found);
}

static int
offer(size_t payload, size_t body)
{
    struct note *n = rig_note(&rig, payload, body);
    int err = spool_writer_add(rig.writer, &n->out);

    if (err < 0) {
        n->done = true;
        n->status = err;
    }
    return err;
}

/* Many, no faster than segments can be asked for. */
static bool
offer_many(unsigned n, size_t payload, size_t body)
{
    bool good = true;

    for (unsigned i = 0; i < n; i++) {
        good = good && offer(payload + i % 200, body) == 0;
        if (i % 8 == 7)
            good = good && rig_settle(&rig);
    }
    return good && rig_settle(&rig);
}

/* Notes acknowledged are there with their bytes, refused ones are not. */
static bool
all_as_told(struct finding *f)
{
    bool good = true;

    for (unsigned i = 0; i < rig.nnotes; i++) {
        struct note *n = rig.notes[i];
        struct found *got = finding_get(f, n->epoch, n->seq);
        bool there = got && !got->voided;
        if (there != (n->status == 0) || (there && !found_equals(&twin, got, n))) {
            printf("# seq %llu status %d found %d\n", (unsigned long long)n->seq, n->status, there);
            good = false;
        }
    }
    return good;
}

static void
test_round_trip(void)
{
    struct spool_writer_stats stats;

    begin(0);
    IS(offer(10, 10), ERR_FULL, "no segment yet: full");
    OK(rig_ready(&rig), "the first poll asks for segments");
    IS(rig.files, 2, "the current one and a standby");
    for (unsigned i = 0; i < 30; i++)
        OK(offer_many(10, 20 + i, i * 3070 % 9000), "ten records");
    spool_writer_stats(rig.writer, &stats);
    OK(stats.records == 300 && stats.batches == stats.syncs && stats.pending_bytes == 0, "stats");
    OK(stats.batches < 300, "one sync for many: %llu batches", (unsigned long long)stats.batches);
    /* done() runs a moment before the committer says that nothing is in flight any more. */
    for (unsigned i = 0; stats.oldest_wait_ns && i < 100000; i++) {
        sched_yield();
        spool_writer_stats(rig.writer, &stats);
    }
    OK(stats.oldest_wait_ns == 0, "nobody waits");
    IS(rig.nfailed, 0, "no segment failed");
    OK(rig.nleft > 5, "segments were filled and left");
    rig_done(&rig);
    IS(rig.nleft, rig.files, "free() gives back the current one and the standby");
    IS(finding_read(&found, &twin), 0, "recovery");
    OK(all_as_told(&found), "every record with its bytes");
    IS(found.n, 300, "and no other");
    IS(found.damages, 0, "no damage");
    IS(found.ends, rig.files, "every segment ended");
    finish();
}

static void
test_limits(void)
{
    struct note *n;

    begin(16 * SPOOL_UNIT);
    OK(rig_ready(&rig), "ready");
    IS(offer(100, 17 * SPOOL_UNIT), ERR_TOOBIG, "larger than a batch");
    IS(offer(17 * SPOOL_UNIT, 0), ERR_TOOBIG, "payload larger than a batch");
    IS(offer(100, 16 * SPOOL_UNIT - 300), 0, "just a batch");
    OK(rig_settle(&rig) && rig.notes[rig.nnotes - 1]->status == 0, "is written");
    n = rig_note(&rig, 8, 0);
    n->out.seq = 0;
    IS(spool_writer_add(rig.writer, &n->out), 0, "seq 0");
    OK(n->out.seq > 0, "gets one from the writer");
    OK(rig_settle(&rig), "done");
    rig.nnotes--;
    free(n->payload);
    free(n->body);
    free(n);
    finish();
}

static void
test_delay(void)
{
    begin(0);
    OK(rig_ready(&rig), "ready");
    pthread_mutex_lock(&twin.lock);
    twin.hold = true;
    pthread_mutex_unlock(&twin.lock);
    for (int i = 0; i < 5; i++)
        IS(offer(50, 5000), 0, "queued");
    for (int i = 0; i < 20; i++)
        rig_turn(&rig, 5);
    for (unsigned i = 0; i < rig.nnotes; i++)
        OK(!rig.notes[i]->done, "nothing is done while the sync runs");
    IS(atomic_load(&spool_writer_share(rig.writer)->page->durable), 0, "nothing is published");
    pthread_mutex_lock(&twin.lock);
    twin.hold = false;
    pthread_cond_broadcast(&twin.cond);
    pthread_mutex_unlock(&twin.lock);
    OK(rig_settle(&rig), "done once it returns");
    for (unsigned i = 0; i < rig.nnotes; i++)
        IS(rig.notes[i]->status, 0, "well");
    OK(atomic_load(&spool_writer_share(rig.writer)->page->durable) > 0, "and published");
    finish();
}

static void
test_starved(void)
{
    begin(0);
    rig.segments_left = 2;
    OK(rig_ready(&rig), "ready");
    for (int i = 0; i < 40; i++)
        offer(50, 8000);
    OK(rig_settle(&rig), "nobody hangs when segments run out");
    IS(spool_writer_state(rig.writer), SPOOL_WRITER_STARVED, "starved");
    IS(offer(50, 100), ERR_FULL, "and says so");
    rig.segments_left = 3;
    rig_need(&rig);
    IS(spool_writer_state(rig.writer), SPOOL_WRITER_READY, "a segment ends it");
    IS(offer(50, 100), 0, "records are taken again");
    OK(rig_settle(&rig), "and written");
    rig_done(&rig);
    IS(finding_read(&found, &twin), 0, "recovery");
    OK(all_as_told(&found), "acknowledged ones are there, refused ones not");
    finish();
}

/* One write or sync fails, in turn each of the first calls. */
static void
test_failures(int code)
{
    unsigned broken = 0;

    for (long at = 0; at < 12; at++) {
        bool good = true;
        begin(0);
        good = good && rig_ready(&rig);
        pthread_mutex_lock(&twin.lock);
        twin.fail_at = twin.calls + at;
        twin.fail_code = code;
        pthread_mutex_unlock(&twin.lock);
        for (int wave = 0; wave < 6; wave++) {
            for (int i = 0; i < 4; i++)
                offer(60, 3000);
            good = good && rig_settle(&rig) && rig_ready(&rig);
        }
        for (unsigned i = 0; i < rig.nnotes; i++)
            broken += rig.notes[i]->status == code;
        good = good && rig.nfailed == 1;
        rig_done(&rig);
        good = good && finding_read(&found, &twin) == 0 && found.damages == 0 && found.nvoids > 0;
        for (size_t i = 0; i < found.n; i++)
            good = good && !found.items[i].voided; /* the later segment tells: not even shown */
        OK(good && all_as_told(&found), "call %ld fails with %d: refused, voided, went on", at,
           code);
        finish();
    }
    OK(broken >= 12, "the batches that failed were told so");
}

static void
sync_hold(bool hold)
{
    pthread_mutex_lock(&twin.lock);
    twin.hold = hold;
    if (!hold)
        pthread_cond_broadcast(&twin.cond);
    pthread_mutex_unlock(&twin.lock);
}

/* Waits without a poll: the loop thread is busy elsewhere meanwhile. */
static bool
until_held(bool held)
{
    for (int i = 0; i < 5000 && (twin.held > 0) != held; i++)
        usleep(1000);
    return (twin.held > 0) == held;
}

/* What was added behind a batch that fails is never written before its owner knows of the failure
 * and can put both back in their order. */
static void
test_failure_takes_along(void)
{
    unsigned state;

    begin(0);
    rig.segments_left = 4;
    OK(rig_ready(&rig), "ready");
    OK(offer_many(2, 10, 10), "well so far");
    sync_hold(true);
    IS(offer(60, 3000), 0, "in flight");
    OK(until_held(true), "its sync runs");
    IS(offer(60, 3000), 0, "queued behind it");
    IS(offer(60, 3000), 0, "and a third");
    pthread_mutex_lock(&twin.lock);
    twin.fail_at = twin.calls;
    pthread_mutex_unlock(&twin.lock);
    sync_hold(false);
    for (int i = 0; i < 5000; i++) { /* the void is durable, nobody was told of anything yet */
        pthread_mutex_lock(&rig.writer->lock);
        state = rig.writer->state;
        pthread_mutex_unlock(&rig.writer->lock);
        if (state == SPOOL_WRITER_READY && rig.writer->errors)
            break;
        usleep(1000);
    }
    IS(state, SPOOL_WRITER_READY, "the disk is mended");
    OK(offer(60, 3000) < 0, "nothing is taken before the failures are told");
    OK(spool_writer_state(rig.writer) != SPOOL_WRITER_READY, "and that shows");
    OK(rig_settle(&rig), "told");
    IS(rig.notes[2]->status, -EIO, "the batch failed");
    OK(rig.notes[3]->status < 0 && rig.notes[4]->status < 0, "and took along what waited behind");
    OK(rig_ready(&rig), "ready again");
    IS(offer(60, 3000), 0, "takes again");
    OK(rig_settle(&rig) && rig.notes[6]->status == 0, "writes again");
    rig_done(&rig);
    IS(finding_read(&found, &twin), 0, "recovery");
    OK(all_as_told(&found), "as told");
    finish();
}

/* The same when segments run out: one that comes before the poll opens no way past the refused. */
static void
test_starved_in_order(void)
{
    begin(0);
    rig.segments_left = 2;
    OK(rig_ready(&rig), "ready");
    sync_hold(true);
    for (int i = 0; i < 40; i++)
        IS(offer(50, 8000), 0, "queued");
    OK(until_held(true), "the first sync runs");
    sync_hold(false);
    for (int i = 0; i < 5000 && spool_writer_state(rig.writer) != SPOOL_WRITER_STARVED; i++)
        usleep(1000);
    rig.segments_left = 3;
    rig_need(&rig);
    OK(offer(50, 100) < 0, "a new segment, but the refused ones were not told yet");
    OK(rig_settle(&rig) && rig_ready(&rig), "now they are");
    IS(offer(50, 100), 0, "taken");
    OK(rig_settle(&rig) && rig.notes[rig.nnotes - 1]->status == 0, "and written");
    rig_done(&rig);
    IS(finding_read(&found, &twin), 0, "recovery");
    OK(all_as_told(&found), "as told");
    finish();
}

/* A disk that fails for a while, and a spooler that has nothing meanwhile. */
static void
test_broken(void)
{
    begin(0);
    rig.segments_left = 2;
    OK(rig_ready(&rig), "ready");
    pthread_mutex_lock(&twin.lock);
    twin.fail_at = twin.calls + 1;
    twin.fail_more = 1; /* the sync, then the write of the void */
    pthread_mutex_unlock(&twin.lock);
    IS(offer(60, 3000), 0, "queued");
    OK(rig_settle(&rig), "refused");
    for (int i = 0; i < 20; i++)
        rig_turn(&rig, 2);
    IS(rig.nfailed, 2, "two segments left");
    IS(spool_writer_state(rig.writer), SPOOL_WRITER_BROKEN, "broken without a segment");
    IS(offer(60, 3000), ERR_STATE, "takes nothing");
    rig.segments_left = 5;
    rig_need(&rig);
    OK(rig_ready(&rig), "a fresh segment mends it");
    IS(offer(60, 3000), 0, "takes again");
    OK(rig_settle(&rig) && rig.notes[rig.nnotes - 1]->status == 0, "writes again");
    rig_done(&rig);
    IS(finding_read(&found, &twin), 0, "recovery");
    OK(all_as_told(&found) && found.nvoids == 1, "the refused one is voided");
    finish();
}

static void
test_close(void)
{
    unsigned closed = 0, well = 0;

    begin(0);
    OK(rig_ready(&rig), "ready");
    pthread_mutex_lock(&twin.lock);
    twin.hold = true;
    pthread_mutex_unlock(&twin.lock);
    IS(offer(60, 3000), 0, "in flight");
    for (int i = 0; i < 1000 && twin.held == 0; i++)
        usleep(1000);
    for (int i = 0; i < 3; i++)
        IS(offer(60, 3000), 0, "queued behind it");
    pthread_mutex_lock(&rig.writer->lock);
    rig.writer->stopping = true;
    pthread_mutex_unlock(&rig.writer->lock);
    IS(offer(60, 3000), ERR_CLOSED, "closing");
    pthread_mutex_lock(&twin.lock);
    twin.hold = false;
    pthread_cond_broadcast(&twin.cond);
    pthread_mutex_unlock(&twin.lock);
    rig_done(&rig);
    for (unsigned i = 0; i < rig.nnotes; i++) {
        closed += rig.notes[i]->status == ERR_CLOSED;
        well += rig.notes[i]->status == 0;
    }
    OK(well == 1 && closed == 4, "the batch in flight is written, the rest refused");
    finish();
}

static struct spool_share
attach(void)
{
    struct spool_share *own = spool_writer_share(rig.writer), s;

    ENSURE(spool_share_attach(&s, dup(own->fd), dup(own->wake_fd)) == 0);
    return s;
}

static int
tail_finish(struct spool_tail *t)
{
    int got;

    do {
        got = spool_tail_finish(t, 2);
    } while (got == 1);
    return got;
}

static void
test_tail(void)
{
    struct spool_tail *tail, *late;
    struct finding later = {0};
    int got = 0;

    begin(0);
    IS(spool_tail_create(&tail, twin.dir, attach(), &twin.io, &finding_ops, &found), 0, "tail");
    OK(rig_ready(&rig), "ready");
    OK(spool_tail_sleep(tail), "nothing to read: sleep");
    offer(100, 9000);
    OK(rig_settle(&rig), "one record");
    {
        struct pollfd p = {.fd = spool_tail_wake_fd(tail), .events = POLLIN};
        IS(poll(&p, 1, 1000), 1, "the writer wakes the sleeper");
        OK(!spool_tail_sleep(tail), "there is more: do not sleep");
        IS(spool_tail_run(tail, 10), 1, "one batch");
    }
    IS(spool_tail_lag(tail), 0, "caught up");
    OK(rig_settle(&rig) && found.n == 1 && all_as_told(&found), "from the ring");
    OK(offer_many(400, 100, 9000), "4 MB through a ring of one");
    OK(spool_tail_lag(tail) > 1 << 20, "the ring has moved on");
    while ((got = spool_tail_run(tail, 3)) > 0)
        continue;
    IS(got, 0, "read from the files");
    OK(found.n == 401 && all_as_told(&found), "nothing missed, nothing twice");
    OK(found.ends > 10, "segments left behind are told");
    IS(spool_tail_create(&late, twin.dir, attach(), &twin.io, &finding_ops, &later), 0,
       "late tail");
    OK(!spool_tail_sleep(late), "it has a past to read");
    while (spool_tail_run(late, 100) > 0)
        continue;
    OK(later.n == 401 && all_as_told(&later), "a late tail reads all that is still there");
    OK(later.ends <= found.ends + 1, "and does not end the segment in use");
    offer(100, 20);
    OK(rig_settle(&rig), "one more");
    rig_done(&rig);
    IS(tail_finish(tail), 0, "the writer has gone");
    IS(tail_finish(late), 0, "for both");
    OK(found.n == 402 && later.n == 402, "the last one is read");
    spool_tail_free(tail);
    spool_tail_free(late);
    free(later.items);
    finish();
}

/* A failed batch is not shown to a tail, and what follows is. */
static void
test_tail_over_failure(void)
{
    struct spool_tail *tail;

    begin(0);
    IS(spool_tail_create(&tail, twin.dir, attach(), &twin.io, &finding_ops, &found), 0, "tail");
    OK(rig_ready(&rig), "ready");
    offer(10, 100);
    OK(rig_settle(&rig), "first");
    pthread_mutex_lock(&twin.lock);
    twin.fail_at = twin.calls + 1;
    pthread_mutex_unlock(&twin.lock);
    offer(10, 200);
    OK(rig_settle(&rig) && rig_ready(&rig), "second fails");
    offer(10, 300);
    OK(rig_settle(&rig), "third");
    IS(spool_tail_run(tail, 100), 3, "two batches and a void");
    OK(found.n == 2 && found.nvoids == 1 && all_as_told(&found), "the failed one was never seen");
    rig_done(&rig);
    IS(tail_finish(tail), 0, "finish");
    OK(found.n == 2, "nor by the last look");
    spool_tail_free(tail);
    finish();
}

/* Written and synced, but the writer died before it published. */
static void
test_tail_unpublished(void)
{
    struct spool_tail *tail;
    struct spool_share s;

    begin(0);
    OK(rig_ready(&rig), "ready");
    s = attach();
    IS(spool_tail_create(&tail, twin.dir, s, &twin.io, &finding_ops, &found), 0, "tail");
    offer(10, 100);
    OK(rig_settle(&rig), "first");
    offer(10, 100);
    OK(rig_settle(&rig), "second");
    rig_done(&rig);
    atomic_store(&s.page->durable, SPOOL_UNIT);
    IS(spool_tail_run(tail, 100), 1, "one is published");
    IS(found.n, 1, "one is read");
    IS(tail_finish(tail), 0, "the rest as recovery does");
    OK(found.n == 2 && all_as_told(&found), "both are found");
    spool_tail_free(tail);
    finish();
}

/* A segment in reserve that was never written to says so: nobody searches more of it than where a
 * second batch would begin. */
static void
test_reserve_is_not_searched(void)
{
    const size_t size = 24u << 20;

    begin_sized(size, 0);
    OK(rig_ready(&rig), "ready");
    OK(offer_many(3, 10, 100), "written");
    rig_done(&rig);
    IS(rig.files, 2, "one and a reserve");
    twin.bytes_read = 0;
    IS(finding_read(&found, &twin), 0, "recovery");
    OK(found.n == 3 && all_as_told(&found), "all of it");
    OK(twin.bytes_read < size + (5u << 20), "%zu bytes were read", twin.bytes_read);
    finish();
}

/* What nobody can read in the middle of a segment is searched a piece at a time. */
static void
test_gap_in_pieces(void)
{
    const size_t size = 12u << 20;
    struct spool_listing all;
    struct spool_epoch *e;
    size_t most = 0, n = 0;
    int got;

    begin_sized(size, 0);
    OK(rig_ready(&rig), "ready");
    OK(offer_many(2, 10, 100), "the first ones");
    for (int i = 0; i < 44; i++) {
        offer(10, 250000);
        rig_settle(&rig);
    }
    OK(offer_many(2, 10, 100), "and the last ones");
    rig_done(&rig);
    IS(rig.files, 2, "in one segment");
    memset(twin.files[0].now + 4 * SPOOL_UNIT, 0, 43 * (size_t)250000);
    IS(spool_list(twin.dir, &twin.io, &all, NULL), 0, "listed");
    IS(spool_epoch_open(&e, twin.dir, all.items, all.n, &twin.io, &finding_ops, &found), 0, "open");
    do {
        twin.bytes_read = 0;
        got = spool_epoch_step(e);
        most = MAX(most, twin.bytes_read);
        n++;
    } while (got == 1);
    IS(got, 0, "read to its end");
    spool_epoch_close(e);
    spool_listing_done(&all);
    OK(found.n >= 4 && found.damages == 1, "the damage is told, what lies behind is found");
    OK(n > 6 && most < 6u << 20, "%zu steps, none read more than %zu bytes", n, most);
    finish();
}

static void
test_files(void)
{
    struct spool_files *files;
    struct spool_segment s;
    struct note *n;
    uint8_t body[5000];

    begin(0);
    OK(rig_ready(&rig), "ready");
    OK(offer_many(60, 10, 5000), "written");
    files = spool_files_create(twin.dir, 2, &twin.io);
    OK(files, "files");
    for (unsigned i = 0; i < rig.nnotes; i += 7) {
        n = rig.notes[i];
        IS(spool_files_read_body(files, &n->out.body_loc, n->out.generation, body, 5000,
                                 n->out.body_crc),
           0, "body of record %u", i);
        OK(memcmp(body, n->body, 5000) == 0, "is its body");
    }
    n = rig.notes[0];
    IS(spool_files_read_body(files, &n->out.body_loc, n->out.generation, body, 4999,
                             n->out.body_crc),
       ERR_CORRUPT, "checksum");
    IS(spool_files_read(files, &n->out.body_loc, n->out.generation + 1, body, 10), ERR_STALE,
       "another generation");
    IS(spool_files_read(files, &(struct spool_loc){999, 4096}, 1, body, 10), ERR_NOTFOUND,
       "no file");
    IS(spool_files_read(files, &(struct spool_loc){n->out.loc.segment, SEGMENT - 5},
                        n->out.generation, body, 10),
       ERR_CORRUPT, "behind the end");
    {
        int fd = twin_take(&twin, 0, 9, 0, &s);
        fd_close(&fd);
    }
    IS(spool_files_read(files, &rig.notes[0]->out.body_loc, rig.notes[0]->out.generation, body, 10),
       ERR_STALE, "recycled under an open file");
    spool_files_forget(files, 1);
    spool_files_free(files);
    spool_files_free(NULL);
    finish();
}

static void
test_share(void)
{
    struct spool_share s, other;
    uint8_t byte;
    uint64_t generation;
    struct spool_loc loc;

    IS(spool_share_create(&s, 1, 2, 3, 12345), ERR_LIMIT, "ring size");
    IS(spool_share_create(&s, 1, 2, 3, 1 << 20), 0, "share");
    s.ring[5] = 42;
    IS(s.ring[5 + (1 << 20)], 42, "the ring is mirrored");
    IS(spool_share_copy(&s, 0, &byte, 1), ERR_STATE, "nothing durable");
    spool_share_publish(&s, 100);
    IS(spool_share_copy(&s, 5, &byte, 1), 0, "durable");
    IS(byte, 42, "byte");
    IS(spool_share_locate(&s, 0, &loc, &generation), ERR_STALE, "no segment");
    spool_share_enter(&s, 0,
                      &(struct spool_segment){.number = 8, .generation = 9, .size = 1 << 20});
    IS(spool_share_locate(&s, 50, &loc, &generation), 0, "located");
    OK(loc.segment == 8 && loc.offset == SPOOL_UNIT + 50 && generation == 9, "where");
    spool_share_claim(&s, 1 << 20, 10);
    IS(spool_share_copy(&s, 5, &byte, 1), ERR_STALE, "claimed bytes are stale");
    IS(spool_share_copy(&s, 10, &byte, 1), 0, "others not");
    IS(spool_share_attach(&other, open("/dev/null", O_RDWR | O_CLOEXEC), -1), ERR_CORRUPT,
       "not a share");
    spool_share_done(&s);
    spool_share_done(&s);
    spool_writer_free(NULL);
    spool_tail_free(NULL);
}

int
main(void)
{
    test_round_trip();
    test_limits();
    test_delay();
    test_starved();
    test_failures(-EIO);
    test_failures(-ENOSPC);
    test_failure_takes_along();
    test_starved_in_order();
    test_broken();
    test_close();
    test_tail();
    test_tail_over_failure();
    test_tail_unpublished();
    test_reserve_is_not_searched();
    test_gap_in_pieces();
    test_files();
    test_share();
    return tap_done();
}
