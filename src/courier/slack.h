/*
 * courier/slack.h - which segment compaction empties in calm: a pure law over the counts of
 * segments.
 *
 * slack_victim() returns SEGMENT_NONE when what is settled takes at most `percent` of the closed
 * segments, or when nothing can be won. It writes only `blame` of the segments.
 */
#ifndef GAPURA_COURIER_SLACK_H
#define GAPURA_COURIER_SLACK_H

#include "courier/segments.h"

uint32_t slack_victim(struct segments *, unsigned percent, uint64_t mono);

static inline uint64_t
segment_size(const struct segment *g)
{
    return g->s.size ? g->s.size : g->bytes;
}

#endif
