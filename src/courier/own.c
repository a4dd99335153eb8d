/*
 * courier/own.c - learns the segments that our writer writes.
 *
 * Called from the completions of our records. The writer's share tells where a segment stands in
 * the epoch, so that its bodies can be read from the ring.
 */
#include "courier/own.h"

uint32_t
own_segment(struct courier *c, const struct spool_loc *loc, uint64_t generation)
{
    uint32_t slot = segments_find(&c->segments, loc->segment, generation);
    struct spool_segment s = {.number = loc->segment,
                              .generation = generation,
                              .node = c->links.node,
                              .epoch = c->own_epoch,
                              .stream = c->own_stream};
    const struct spool_share_page *page = spool_writer_share(c->links.writer)->page;
    uint64_t n = atomic_load(&page->nsegments), start = SEGMENT_START_UNKNOWN;

    if (slot != SEGMENT_NONE)
        return slot;
    for (uint64_t i = n; i-- > (n > SPOOL_SHARE_SEGMENTS ? n - SPOOL_SHARE_SEGMENTS : 0);) {
        const struct spool_share_segment *e = &page->segments[i % SPOOL_SHARE_SEGMENTS];
        if (atomic_load(&e->number) != loc->segment || atomic_load(&e->generation) != generation)
            continue;
        s.seq = atomic_load(&e->seq);
        s.size = atomic_load(&e->size);
        start = atomic_load(&e->start);
        break;
    }
    slot = segments_get(&c->segments, &s, true);
    if (slot == SEGMENT_NONE)
        return slot;
    segments_at(&c->segments, slot)->start = start;
    if (c->own_segment != SEGMENT_NONE && c->own_segment != slot)
        segments_left(&c->segments, c->own_segment);
    c->own_segment = slot;
    return slot;
}
