/*
 * The law of compaction in calm: which segment is emptied, and when there is an end.
 */
#include "courier/slack.h"

#include "core/clock.h"
#include "core/err.h"
#include "tap.h"

#define MIB  (UINT64_C(1) << 20)
#define SIZE (64 * MIB)

static struct segments all;
static unsigned gone;

static void
on_free(void *ctx, uint64_t number, uint64_t generation)
{
    (void)ctx;
    (void)number;
    (void)generation;
    gone++;
}

/* A closed segment that once held `was` and still holds `live` MiB. */
static uint32_t
closed(uint64_t number, uint64_t was, uint64_t live, bool own)
{
    struct spool_segment s = {.number = number, .generation = 7, .size = SIZE};
    uint32_t slot = segments_get(&all, &s, own);

    for (uint64_t i = 0; i < was; i++)
        segments_hold(&all, slot, MIB);
    if (live == 0)
        segments_pin(&all, slot);
    for (uint64_t i = live; i < was; i++)
        segments_release(&all, slot, MIB);
    segments_left(&all, slot);
    return slot;
}

static void
begin(void)
{
    segments_init(&all);
    all.free = on_free;
    gone = 0;
}

static void
test_order(void)
{
    uint32_t half, tenth;

    begin();
    half = closed(1, 64, 32, false);
    tenth = closed(2, 64, 6, false);
    closed(3, 64, 63, false);
    IS(slack_victim(&all, 5, NS_PER_S), tenth, "the emptiest goes first");
    segments_at(&all, tenth)->tried = NS_PER_S;
    IS(slack_victim(&all, 5, 2 * NS_PER_S), half, "one that was tried just now is left alone");
    IS(slack_victim(&all, 5, 70 * NS_PER_S), tenth, "and taken again later");
    IS(slack_victim(&all, 80, 70 * NS_PER_S), SEGMENT_NONE, "unless there is slack enough");
    segments_pin(&all, tenth);
    IS(slack_victim(&all, 5, 70 * NS_PER_S), half, "a pinned one is no victim");
    segments_done(&all);
}

static void
test_end(void)
{
    begin();
    closed(1, 64, 63, false);
    closed(2, 64, 62, false);
    IS(slack_victim(&all, 5, NS_PER_S), SEGMENT_NONE, "dense enough: nothing is copied");
    segments_done(&all);

    begin(); /* copies of small mail: a fifth is what records and reasons cost */
    uint32_t copies = closed(1, 52, 52, true);
    IS(slack_victim(&all, 5, NS_PER_S), copies, "such a segment from before the start is a victim");
    segments_at(&all, copies)->dense = 4096;
    IS(slack_victim(&all, 5, NS_PER_S), SEGMENT_NONE, "copying copies wins nothing");
    for (int i = 0; i < 10; i++)
        segments_release(&all, copies, MIB);
    IS(slack_victim(&all, 5, NS_PER_S), copies, "but when some of them are settled it does");
    segments_done(&all);
}

/* Outcomes cannot be copied away: the nearly full segments that they speak of are emptied instead.
 */
static void
test_outcomes(void)
{
    uint32_t mail, other, outcomes;

    begin();
    mail = closed(1, 64, 63, false);
    other = closed(2, 64, 63, false);
    outcomes = closed(3, 1, 0, true);
    segments_refer(&all, outcomes, mail);
    segments_unpin(&all, outcomes);
    IS(gone, 0, "outcomes stay as long as what they speak of");
    IS(slack_victim(&all, 5, NS_PER_S), mail, "the segment that keeps the outcomes goes");
    segments_refer(&all, outcomes, other);
    segments_at(&all, mail)->told = 1;
    IS(slack_victim(&all, 5, NS_PER_S), other, "what is told to be free keeps nothing any more");
    segments_at(&all, other)->told = 1;
    IS(slack_victim(&all, 5, NS_PER_S), SEGMENT_NONE, "then the outcomes go by themselves");
    segments_done(&all);
}

int
main(void)
{
    test_order();
    test_end();
    test_outcomes();
    return tap_done();
}
