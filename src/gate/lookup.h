/*
 * gate/lookup.h - answers of other roles about recipients, remembered: directories by the keeper,
 * callouts by the courier; and what inside servers can take.
 *
 * Equal questions under way are joined. The table has a ceiling (least recently used first), every
 * answer a life. Callbacks come from the loop, never before lookup_get returns.
 */
#ifndef GAPURA_GATE_LOOKUP_H
#define GAPURA_GATE_LOOKUP_H

#include "gate/links.h"
#include "gate/settings.h"
#include "store/asks.h"

enum lookup_kind { LOOKUP_DIRECTORY, LOOKUP_CALLOUT, LOOKUP_KINDS };

struct lookup_answer {
    uint8_t result;       /* enum lookup_result */
    uint16_t code;        /* of the inside server; 0 if none */
    struct str text;      /* its words, clean */
    struct str addresses; /* NUL-terminated each; empty: the recipient itself */
};
struct lookup_entry;
struct lookup_wait { /* embedded by the asker; cancel before freeing */
    void (*fn)(void *ctx, const struct lookup_answer *); /* valid during the call */
    void *ctx;
    struct lookup_wait *next, **prev; /* prev NULL: not waiting */
};
struct lookup;
struct lookup *lookup_create(const struct gate_links *);
void lookup_free(struct lookup *);
void lookup_conf(struct lookup *, const struct settings_smtp *);
/* 1: *ret is set, valid until the next call. 0: fn will be called. ERR_CLOSED, ERR_LIMIT: nobody to
 * ask, or too many questions. */
int lookup_get(struct lookup *, enum lookup_kind, struct str domain, struct str address,
               struct lookup_wait *, void (*fn)(void *ctx, const struct lookup_answer *), void *ctx,
               const struct lookup_answer **ret);
/* Would lookup_get have the answer at once? */
bool lookup_knows(const struct lookup *, enum lookup_kind, struct str domain, struct str address);
void lookup_cancel(struct lookup_wait *);
/* The role at the other end is gone: what was asked of it ends LOOKUP_TEMPORARY. */
void lookup_lost(struct lookup *, enum lookup_kind);
/* True if the message was an answer, or TELL_INSIDE. */
bool lookup_message(struct lookup *, uint16_t type, uint64_t id, struct wire *body);

struct lookup_inside {
    uint64_t max_size; /* 0: none told */
    uint8_t bits;      /* INSIDE_* */
};
/* What that domain's inside server said; false: nothing is known. */
bool lookup_inside(const struct lookup *, struct str domain, struct lookup_inside *ret);

#endif
