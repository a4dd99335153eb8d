/*
 * lab/tell.h - events as sentences for a person who watches: own mail line by line, sample mail as
 * a sum. Pure: objects in, text out.
 */
#ifndef GAPURA_LAB_TELL_H
#define GAPURA_LAB_TELL_H

#include <jansson.h>

#include "core/buf.h"
#include "lab/traffic.h"

#define TELL_IDS                                                                                   \
    512u /* messages of the person that are remembered; older ones count as samples                \
          */
enum tell_kind { TELL_ACCEPTED, TELL_REFUSED, TELL_DELIVERED, TELL_WAITS, TELL_FAILED, TELL_KINDS };
struct tell {
    const struct traffic *traffic; /* knows sample mail */
    struct str login;              /* the person's */
    bool all;                      /* samples line by line as well */
    char ids[TELL_IDS][32];
    unsigned nids;
    uint64_t samples[TELL_KINDS]; /* since the last sum */
};
enum tell_whose { TELL_NOBODY, TELL_SAMPLE, TELL_OWN };
/* Appends a line with its end if there is something to say. id (32 bytes) is the message's if the
 * person's own mail was just accepted, else empty. */
enum tell_whose tell_event(struct tell *, const json_t *, struct buf *out, char id[32]);
/* A line about sample mail since the last call; nothing if there was none. */
void tell_sum(struct tell *, struct buf *out);

#endif
