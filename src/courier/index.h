/*
 * courier/index.h - the index of waiting recipients: what waits, where, until when.
 *
 * Small on purpose (goal 128 bytes a recipient, ceiling 200): a message is 56 bytes, a recipient
 * row 32, and no address is kept; the record is read from the log when it is due. Things are named
 * by 32-bit numbers (courier/slab.h).
 *
 * A row's way: index_row_add -> READY, in the lane of its (destination, class, tenant), oldest
 * first -> the plan takes it: ACTIVE -> outcome: freed, or WAITING in the wheel until due, or HELD.
 * Lanes of one destination are joined to its site by courier/site.c, which also does the fair
 * choice between tenants. The index knows no site, no session and no clock: time comes in.
 */
#ifndef GAPURA_COURIER_INDEX_H
#define GAPURA_COURIER_INDEX_H

#include "core/err.h"
#include "core/map.h"
#include "courier/slab.h"
#include "courier/wheel.h"

#define INDEX_NONE SLAB_NONE

enum row_state {
    ROW_FREE,
    ROW_READY,    /* in its lane */
    ROW_WAITING,  /* in the wheel, until due */
    ROW_ACTIVE,   /* a session has it */
    ROW_SETTLING, /* its last outcome is on the way to disk */
    ROW_HELD,     /* until somebody releases it */
    ROW_SCOPED,   /* a suspension by sender holds it */
};
#define ROW_INTENT  1u  /* an intent is open: the outcome would be unknown after a crash */
#define ROW_CRASHED 2u  /* one crash left its outcome unknown */
#define ROW_WARNED  4u  /* the sender was told of the delay */
#define ROW_ASIDE   8u  /* will not be delivered, and nobody may be told: removed when due */
#define ROW_ROUTED  16u /* it had hosts to go to once: DNS that fails now ends it no sooner */
#define ROW_FLAGS   31u

struct index_row {
    uint32_t message, ordinal, dest;
    uint32_t due;        /* tick; READY: number of its lane; HELD: of the reason */
    uint32_t next, prev; /* in lane or wheel slot; prev of the first: WHEEL_HEAD | its number */
    uint32_t sibling;    /* next row of the same message */
    uint32_t state : 3, flags : 5, attempts : 8, source : 16; /* source: number + 1 it sticks to */
};

struct index_message {
    uint64_t seq;
    uint32_t epoch;
    uint32_t segment;            /* slot of courier/segments.h */
    uint32_t record, record_len; /* in its file */
    uint32_t body, body_len;     /* in the same file; chunked: 0 */
    uint32_t rows;               /* first row */
    uint32_t open;               /* rows */
    uint32_t received, expires;  /* wall seconds; expires 0: by settings */
    uint16_t tenant;             /* number in courier/source.h's table */
    uint16_t flags;              /* SPOOL_MAIL_* */
    uint16_t pins;               /* sessions that read it */
    uint8_t class : 4;           /* enum spool_class */
    uint8_t rank : 4;            /* inside a destination: the class, moved by its priority */
    uint8_t chunked : 1;         /* segments of its chunks are counted in a side table */
    uint8_t unsigned_yet : 3;    /* enum sign_wait: it waits for its signature */
    uint8_t partial : 1; /* recipients of it are not in the index: never moved, see intake.c */
    uint8_t unread : 2;  /* tries to read it that failed in a row (unread.c) */
    uint8_t notify : 1;  /* its sender is told when the time that he set is over (late.c) */
};

enum dest_state { DEST_NEW, DEST_ASKING, DEST_ROUTED, DEST_FAILED };
struct index_dest { /* one recipient domain (and transport chosen by the gate) */
    char *key;      /* "domain" or "domain\tvia" */
    uint16_t key_n, domain_n;
    uint8_t state; /* enum dest_state */
    bool parked;   /* a suspension by domain */
    uint32_t rows, ready;
    uint32_t lanes;      /* first of its lanes */
    uint32_t fresh;      /* tick until which the routing holds */
    uint32_t idle_since; /* tick of the last row's end */
    void *site;          /* struct site of courier/site.h */
    void *asking;        /* a look-up under way */
    char *why;           /* DEST_FAILED: reason, malloc'd */
};

struct index_lane { /* ready rows of one (destination, rank, tenant), oldest first */
    uint32_t dest;
    uint32_t head, tail, n;
    uint32_t next;  /* of the destination's lanes */
    uint32_t since; /* tick at which it was joined last */
    uint16_t tenant;
    uint8_t class; /* a rank: in it no message is before another */
    bool joined;   /* to a share of a site */
    void *share;
    uint32_t share_next, share_prev;
};

struct index_epoch;
struct index {
    struct slab messages, rows, dests, lanes;
    struct map dest_names;
    struct wheel wheel;
    struct index_epoch **epochs; /* sorted */
    size_t nepochs, epochs_cap;
    uint64_t count[8]; /* rows by state */
    /* A lane got its first row, or lost its last one. */
    void (*lane_changed)(void *ctx, uint32_t lane, bool filled);
    void *ctx;
};

void index_init(struct index *, uint32_t max_rows, uint32_t now_tick);
void index_done(struct index *);
size_t index_memory(const struct index *); /* bytes, names and tables included */

static inline struct index_row *
index_row(const struct index *ix, uint32_t i)
{
    return slab_at(&ix->rows, i);
}
static inline struct index_message *
index_message(const struct index *ix, uint32_t i)
{
    return slab_at(&ix->messages, i);
}
static inline struct index_dest *
index_dest(const struct index *ix, uint32_t i)
{
    return slab_at(&ix->dests, i);
}
static inline struct index_lane *
index_lane(const struct index *ix, uint32_t i)
{
    return slab_at(&ix->lanes, i);
}
static inline struct str
index_dest_domain(const struct index_dest *d)
{
    return (struct str){d->key, d->domain_n};
}
static inline struct str
index_dest_via(const struct index_dest *d)
{
    if (d->key_n == d->domain_n)
        return STR_NONE;
    return (struct str){d->key + d->domain_n + 1, (size_t)d->key_n - d->domain_n - 1};
}

/* Messages by id. index_message_add: INDEX_NONE if it is there already or memory is out. */
uint32_t index_message_add(struct index *, uint32_t epoch, uint64_t seq);
uint32_t index_message_find(const struct index *, uint32_t epoch, uint64_t seq);
/* First message of the epoch with a sequence of at least seq. */
uint32_t index_message_from(const struct index *, uint32_t epoch, uint64_t seq);
/* The first epoch of at least `from` that has open messages, and the last sequence there. */
bool index_epoch_last(const struct index *, uint32_t from, uint32_t *ret_epoch, uint64_t *ret_seq);
void index_message_drop(struct index *, uint32_t message); /* its rows are freed as well */

/* Finds or makes the destination; domain in lower-case A-labels. INDEX_NONE: ceiling. */
uint32_t index_dest_get(struct index *, struct str domain, struct str via);
void index_dest_drop(struct index *, uint32_t dest); /* has no rows; site and asking are gone */

/* A new row, HELD at first. `hint`: number of the message's former row or INDEX_NONE. */
uint32_t index_row_add(struct index *, uint32_t message, uint32_t ordinal, uint32_t dest,
                       uint32_t hint);
uint32_t index_row_find(const struct index *, uint32_t message, uint32_t ordinal);
void index_row_free(struct index *, uint32_t row);
/* Changes of state; each leaves the list that the row was in. */
void index_ready(struct index *, uint32_t row);
void index_ready_first(struct index *, uint32_t row); /* at its lane's front: it was taken before */
void index_wait(struct index *, uint32_t row, uint32_t due);
void index_set(struct index *, uint32_t row, enum row_state); /* ACTIVE SETTLING HELD SCOPED */
/* Takes rows that are due out of the wheel one after the other; INDEX_NONE when none is left. The
 * row is HELD then, the caller says what becomes of it. */
uint32_t index_due(struct index *, uint32_t now_tick);

#endif
