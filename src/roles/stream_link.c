/*
 * roles/stream_link.c - a writer's supply of segments, by channel from the spooler.
 */
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/metric.h"
#include "roles/settings.h"
#include "roles/stream_link.h"
#include "store/asks.h"

#define FULL_PAUSE   NS_PER_S
#define FAILED_PAUSE (25 * NS_PER_MS)
#define FAILED_MOST  (5 * NS_PER_S)

static void
ask_epoch(struct stream_link *l)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    put_u16(&b, l->stream);
    chan_send(role_chan(l->role, ROLE_SPOOLER), ASK_EPOCH, 0, &b, -1);
}

/* Asks for what is wanted and not asked for yet. A spooler that is not there is asked when it comes
 * back: a question left in the channel and asked once more would cost a segment. */
static void
ask_segments(struct stream_link *l)
{
    while (l->asked < l->wanted && role_has(l->role, ROLE_SPOOLER)) {
        CLEANUP(buf_done) struct buf b;
        buf_init(&b, 64);
        put_u16(&b, l->stream);
        put_u32(&b, l->epoch);
        if (chan_send(role_chan(l->role, ROLE_SPOOLER), ASK_SEGMENT, 0, &b, -1)) {
            loop_timer_set(&l->again, FULL_PAUSE);
            return;
        }
        l->asked++;
    }
}

static void
on_need(void *ctx)
{
    struct stream_link *l = ctx;
    l->wanted++;
    if (l->failures) /* a sick disk must not eat a segment a millisecond */
        loop_timer_set(&l->again, MIN(FAILED_PAUSE << MIN(l->failures, 8u), FAILED_MOST));
    else
        ask_segments(l);
}

static void
on_left(void *ctx, uint64_t number, bool failed)
{
    struct stream_link *l = ctx;
    struct spool_writer_stats stats;
    spool_writer_stats(l->writer, &stats);
    l->failures = failed ? l->failures + 1 : 0;
    l->batches_failed = stats.batches;
    if (failed)
        event_alarm("segment %llu failed to write or sync and is left as it was last durable; "
                    "clients of that batch got 451, what was accepted before is safe. Look at the "
                    "disk.",
                    (unsigned long long)number);
}

/* While a disk is sick each of these would stay used until the stream's next life. Of a gate's the
 * courier tells: nobody else may say that what strangers sent can go. */
static void
on_empty(void *ctx, uint64_t number, uint64_t generation)
{
    struct stream_link *l = ctx;
    CLEANUP(buf_done) struct buf b;
    if (l->stream >> 8 != SPOOL_STREAM_COURIER || !role_has(l->role, ROLE_SPOOLER))
        return;
    buf_init(&b, 64);
    put_u64(&b, number);
    put_u64(&b, generation);
    put_u8(&b, 1);
    chan_send(role_chan(l->role, ROLE_SPOOLER), TELL_FREE, 0, &b, -1);
}

static void
on_wake(void *ctx) /* committer thread */
{
    struct stream_link *l = ctx;
    loop_wake(l->waker);
}

static void
on_woken(void *ctx)
{
    struct stream_link *l = ctx;
    struct spool_writer_stats stats;
    if (!l->writer)
        return;
    spool_writer_poll(l->writer);
    spool_writer_stats(l->writer, &stats);
    metric_add(METRIC_SYNCS, stats.syncs - l->counted.syncs);
    metric_add(METRIC_BATCHES, stats.batches - l->counted.batches);
    metric_add(METRIC_SPOOL_BYTES, stats.bytes - l->counted.bytes);
    metric_add(METRIC_SPOOL_ERRORS, stats.errors - l->counted.errors);
    l->counted = stats;
    if (!l->failures || spool_writer_state(l->writer) != SPOOL_WRITER_READY)
        return;
    if (stats.batches > l->batches_failed)
        l->failures = 0; /* the disk takes what is written again */
}

static void
on_again(void *ctx)
{
    ask_segments(ctx);
}

int
stream_link_open(struct stream_link *l, struct role *r, uint16_t stream,
                 void (*opened)(struct role *))
{
    l->role = r;
    l->stream = stream;
    l->opened = opened;
    l->waker = loop_waker_create(r->loop, on_woken, l);
    loop_timer_init(&l->again, r->loop, on_again, l);
    if (!l->waker)
        return ERR_NOMEM;
    if (role_has(r, ROLE_SPOOLER)) /* else when it is there */
        ask_epoch(l);
    return 0;
}

static void
take_epoch(struct stream_link *l, struct wire *body)
{
    static const struct spool_writer_ops ops = {on_need, on_left, on_wake, on_empty};
    const struct settings_spool *sp = conf_get(l->role->conf, "spool");
    int64_t epoch = (int64_t)wire_u64(body);
    if (l->writer) { /* a repeated question's answer: an epoch unused is harmless */
        wire_skip(body, wire_left(body));
        return;
    }
    if (epoch < 0) {
        event_alarm("the spooler gives no epoch: %s", err_text((int)epoch));
        role_exit(l->role, 1);
    }
    l->epoch = (uint32_t)epoch;
    l->node = wire_u32(body);
    wire_u8(body); /* whether the device takes direct writes: the spooler has said so */
    struct spool_writer_conf conf = {
        .node = l->node,
        .epoch = l->epoch,
        .stream = l->stream,
        .max_batch = settings_spool_room(sp),
        .ring_size = sp->ring,
        .standby = 2,
        .start_later = true, /* behind sandbox_enter() */
    };
    int rc = spool_writer_create(&l->writer, &conf, &ops, l);
    if (rc) {
        event_alarm("the spool writer cannot start: %s", err_text(rc));
        role_exit(l->role, 1);
    }
    spool_writer_poll(l->writer);
}

/* The first answer on segments, good or bad: who comes in from now on gets a true reply. */
static void
tell_opened(struct stream_link *l)
{
    if (l->told_opened)
        return;
    l->told_opened = true;
    l->opened(l->role);
}

static void
take_segment(struct stream_link *l, struct wire *body, int fd)
{
    int rc = (int)wire_u32(body);
    struct spool_segment s = {0};
    if (l->asked)
        l->asked--;
    if (rc || !l->writer) {
        wire_skip(body, wire_left(body));
        fd_close(&fd);
        loop_timer_set(&l->again, FULL_PAUSE);
        if (!l->writer)
            return;
        spool_writer_starve(l->writer);
        tell_opened(l);
        return;
    }
    stream_link_get_segment(body, &s);
    if (l->wanted)
        l->wanted--;
    spool_writer_give(l->writer, fd, &s);
    spool_writer_poll(l->writer);
    tell_opened(l);
}

bool
stream_link_message(struct stream_link *l, uint16_t type, struct wire *body, int fd)
{
    switch (type) {
    case ASK_EPOCH_ANSWER:
        fd_close(&fd);
        take_epoch(l, body);
        return true;
    case ASK_SEGMENT_ANSWER:
        take_segment(l, body, fd);
        return true;
    default:
        return false;
    }
}

void
stream_link_renewed(struct stream_link *l)
{
    if (!l->role)
        return;
    if (!l->writer)
        ask_epoch(l);
    l->asked = 0; /* what the former one was asked for, it will not answer */
    ask_segments(l);
}

void
stream_link_put_segment(struct buf *b, const struct spool_segment *s)
{
    put_u64(b, s->number);
    put_u64(b, s->generation);
    put_u64(b, s->size);
    put_u64(b, s->seq);
    put_u32(b, s->node);
    put_u32(b, s->epoch);
    put_u16(b, s->stream);
    put_u16(b, s->version);
    put_u8(b, s->state);
    put_u32(b, s->compatible);
    put_u32(b, s->incompatible);
}

void
stream_link_get_segment(struct wire *w, struct spool_segment *ret)
{
    ret->number = wire_u64(w);
    ret->generation = wire_u64(w);
    ret->size = wire_u64(w);
    ret->seq = wire_u64(w);
    ret->node = wire_u32(w);
    ret->epoch = wire_u32(w);
    ret->stream = wire_u16(w);
    ret->version = wire_u16(w);
    ret->state = wire_u8(w);
    ret->compatible = wire_u32(w);
    ret->incompatible = wire_u32(w);
}
