/*
 * tests/unit/test_spool_doubt.c - what a reader must not take at its word: the mark of a segment
 * that was never written to when its first batch was lost, and how far a tail had searched another
 * file.
 */
#include "spool_rig.h"

#define SEGMENT (64u * SPOOL_UNIT)

static struct twin twin;
static struct rig rig;
static struct finding found;

static void
begin(size_t segment)
{
    twin_init(&twin);
    rig_init(&rig, &twin, 5, segment, 0);
    OK(rig_ready(&rig), "ready");
}

static void
finish(void)
{
    rig_finish(&rig, &found);
}

/* A batch each. */
static void
write_batches(unsigned n, size_t body)
{
    while (n--) {
        struct note *note = rig_note(&rig, 10, body);
        ENSURE(spool_writer_add(rig.writer, &note->out) == 0 && rig_settle(&rig));
    }
}

static unsigned
in_segment(uint64_t seq)
{
    unsigned n = 0;

    for (size_t i = 0; i < found.n; i++)
        n += found.items[i].segment.seq == seq;
    return n;
}

/* The device kept the mark where the segment's first unit was written. */
static void
lose_first_unit(unsigned file)
{
    struct spool_segment s;

    ENSURE(spool_segment_decode(twin.files[file].now, &s) == 0);
    spool_fresh_encode(&s, twin.files[file].now + SPOOL_UNIT);
}

static void
test_lost_first_unit(void)
{
    unsigned there[3];

    for (unsigned lost = 0; lost < 3; lost++) {
        begin(SEGMENT);
        write_batches(50, 9000); /* three units each: 21 of them fill a segment */
        rig_done(&rig);
        IS(finding_read(&found, &twin), 0, "read");
        OK(found.n == 50 && found.damages == 0, "all of it");
        for (unsigned i = 0; i < 3; i++)
            there[i] = in_segment(i);
        OK(there[0] > 1 && there[1] > 1 && there[2] > 1, "in three segments");
        lose_first_unit(lost);
        IS(finding_read(&found, &twin), 0, "read again");
        IS(found.n, 49, "segment %u: one batch is lost, and nothing else", lost);
        IS(in_segment(lost), there[lost] - 1, "what lies behind it is found");
        IS(found.damages, 1, "and the damage is told");
        finish();
    }
}

/* A mark in a segment whose writing failed before anything reached it. */
static void
test_failed_first_write(void)
{
    begin(SEGMENT);
    write_batches(21, 9000);
    pthread_mutex_lock(&twin.lock);
    twin.fail_at = twin.calls; /* the write of a segment's first batch */
    pthread_mutex_unlock(&twin.lock);
    rig_note(&rig, 10, 9000);
    ENSURE(spool_writer_add(rig.writer, &rig.notes[rig.nnotes - 1]->out) == 0);
    OK(rig_settle(&rig) && rig_ready(&rig), "fails");
    write_batches(5, 9000);
    rig_done(&rig);
    IS(finding_read(&found, &twin), 0, "read");
    OK(found.n == 26 && found.damages == 0, "nothing is missed, nothing is told");
    finish();
}

/* A tail that searches a gap when the table forgets its segment begins the next file afresh. */
static void
test_gap_forgotten(void)
{
    const size_t size = 12u << 20;
    struct spool_share *share, reader;
    struct spool_segment second;
    struct spool_tail *tail;
    uint64_t start;
    int got;

    begin(size);
    share = spool_writer_share(rig.writer);
    IS(spool_share_attach(&reader, fcntl(share->fd, F_DUPFD_CLOEXEC, 0),
                          fcntl(share->wake_fd, F_DUPFD_CLOEXEC, 0)),
       0, "share");
    IS(spool_tail_create(&tail, twin.dir, reader, &twin.io, &finding_ops, &found), 0, "tail");
    write_batches(2, 100);
    IS(spool_tail_run(tail, 10), 2, "two batches");
    write_batches(60, 250000);
    memset(twin.files[0].now + 3 * SPOOL_UNIT, 0, 40 * (size_t)250000);
    IS(spool_tail_run(tail, 1), 1, "a step into the gap");
    IS(found.n, 2, "and no end of it");
    IS(spool_share_segment_at(share, atomic_load(&share->page->durable) - 1, &second, &start), 0,
       "the second segment");
    for (unsigned i = 0; i < SPOOL_SHARE_SEGMENTS; i++)
        spool_share_enter(share, start, &second);
    while ((got = spool_tail_run(tail, 10)) > 0)
        continue;
    IS(got, 0, "read to its end");
    OK(found.n > 20 && found.damages == 1, "%zu records, the damage told", found.n);
    write_batches(1, 100);
    IS(spool_tail_run(tail, 10), 1, "the next batch");
    IS(found.items[found.n - 1].record.seq, rig.notes[rig.nnotes - 1]->seq, "is the last one");
    rig_done(&rig);
    spool_tail_free(tail);
    finish();
}

int
main(void)
{
    test_lost_first_unit();
    test_failed_first_write();
    test_gap_forgotten();
    return tap_done();
}
