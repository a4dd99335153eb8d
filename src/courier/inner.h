/*
 * courier/inner.h - the courier as its own files see it: one struct, its clock, its lists.
 *
 * Private to this folder. Everything runs in the loop's thread. Rows and messages are numbers of
 * courier/index.h; whoever keeps one over a turn of the loop owns the row's state (ACTIVE,
 * SETTLING), so that it cannot vanish.
 */
#ifndef GAPURA_COURIER_INNER_H
#define GAPURA_COURIER_INNER_H

#include "core/clock.h"
#include "courier/courier.h"
#include "courier/deadlines.h"
#include "courier/early.h"
#include "courier/index.h"
#include "courier/reasons.h"
#include "courier/segments.h"
#include "courier/settings.h"
#include "courier/source.h"
#include "courier/tail.h"
#include "courier/window.h"
#include "spool/id.h"
#include "store/settings.h"

#define COURIER_MAX_ROWS 200000000u /* recipients in the index */

/* Text of the UNKNOWN outcome that recovery writes: it is how a second crash is told from a lost
 * connection. Never change it: it is compared with what older logs hold. */
#define OUTCOME_CRASH_TEXT "the courier ended between the message and its outcome"

struct scopes;
struct purge;
struct late;
struct callouts;
struct sites;
struct sessions;
struct outs;
struct compaction;
struct signing;
struct reading;
struct recover;
struct control_call;
struct worker;
struct unseen;

struct courier_load { /* numbers for `top` and TELL_LOAD, over the last seconds */
    uint64_t delivered, deferred, bounced, unknown, taken;
    uint64_t last_delivered, last_deferred, last_bounced, last_taken;
    uint64_t rate_delivered, rate_deferred, rate_bounced, rate_taken; /* of the last second */
};

struct courier {
    struct courier_links links;
    struct loop *loop;
    const struct conf *conf;
    const struct settings_main *main;
    const struct settings_delivery *delivery;
    uint32_t own_epoch;
    uint16_t own_stream;
    uint32_t foreign_epoch; /* the last writer that wrote what is not its to say */
    uint64_t mono0, wall0;  /* the steady clock: a jump of the wall clock expires nothing */
    int64_t clock_behind;   /* ns that the wall clock is behind it; 0 as long as nobody set it */

    struct index index;
    struct segments segments;
    struct early early;
    struct reasons reasons;
    struct sources sources;
    struct reply_classes *replies; /* NULL: the shipped set, not compiled yet */
    bool replies_told;             /* that it cannot be compiled */
    struct reply_shapes *unknown;  /* courier/replies_unknown.h; NULL: not counted */
    uint64_t unknown_max;
    struct sites *sites;
    struct sessions *sessions;
    struct outs *outs;
    struct bounce *bounce; /* being gathered, see bounce_begin() */
    struct out *report;    /* just written: outcomes that it tells of stand behind it */
    struct scopes *scopes;
    struct purge *purges; /* courier/purge.h */
    size_t npurges;
    struct loop_call written; /* verbs that wait for their records look again */
    bool written_wanted;
    struct loop_call *purge_waiter; /* of the verb that makes one now: what it wrote stays pinned */
    struct late *late;
    struct deadlines deadlines;
    struct callouts *callouts;
    struct compaction *compaction;
    struct snapshot keys; /* of domains that we sign for */
    struct signing *signing;
    struct reading *reading;    /* courier/reading.c */
    struct control_call *calls; /* control verbs that go on */
    struct worker *readers;     /* threads of explain, made when first needed */
    struct worker *writers;     /* threads of Maildirs, the same */
    unsigned maildir_jobs;
    struct spool_files *files;
    struct windows windows;
    struct map chunk_segments; /* see courier/intake.c */
    struct courier_tail tails[COURIER_TAILS];
    uint32_t own_segment; /* slot that our writer writes, SEGMENT_NONE at first */

    struct loop_timer wheel_timer, second_timer;
    struct loop_call plan_call, wheel_call;
    void (*after_crash)(struct courier *, uint32_t row); /* outcome_after_crash */
    void (*purged)(struct courier *, uint32_t message, const uint32_t *rows, uint32_t n,
                   struct str reason);  /* outcome_purged */
    struct recover *recover;            /* until all is read */
    uint64_t read_messages, read_rcpts; /* out of records, from dead epochs or tails */
    uint64_t log_wall;                  /* the latest time that a record which was read tells */
    unsigned recover_steps;             /* of a slice, of tails too, for tests; 0: by time alone */
    unsigned unread;                    /* epochs, files and messages that wait to be read */
    struct unseen *unseen;              /* courier/unseen.h */
    bool recovering;                    /* our own dead epochs are being read: no row is opened */
    bool opened;                        /* they are read: delivery is open */
    bool recovered;                     /* everything is: the index is whole */
    bool stopping, freeing;
    void (*opened_fn)(void *ctx, int status, const struct why *why);
    void *opened_ctx;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    struct loop_timer stop_timer;
    uint64_t stop_until;
    uint64_t seed; /* of jitter */
    struct courier_load load;
};

/* Wall time that follows the monotonic clock from our start on. */
static inline uint64_t
courier_wall(const struct courier *c)
{
    return c->wall0 + (clock_mono() - c->mono0);
}
/* Tick 16 is an hour before our start. */
#define COURIER_TICK_ZERO(c) ((c)->wall0 - 3600 * NS_PER_S)
/* Rounds up: a row that is due at that time is never taken before it. */
uint32_t courier_tick_of(const struct courier *, uint64_t wall);
static inline uint64_t
courier_tick_wall(const struct courier *c, uint32_t tick)
{
    return COURIER_TICK_ZERO(c) + ((uint64_t)(tick < 16 ? 0 : tick - 16) << TICK_SHIFT);
}
/* Rounds down: a row due at tick t is not taken before t has begun. */
static inline uint32_t
courier_tick(const struct courier *c)
{
    return (uint32_t)((courier_wall(c) - COURIER_TICK_ZERO(c)) >> TICK_SHIFT) + 16;
}
static inline struct spool_id
courier_id(const struct courier *c, const struct index_message *m)
{
    return (struct spool_id){c->links.node, m->epoch, m->seq};
}

/* service.c */
void courier_wheel_soon(struct courier *); /* a row was put into the wheel */

#endif
