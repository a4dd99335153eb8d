/*
 * courier/service.c - the courier as a whole: made, recovered, stopped.
 *
 * Called by the role alone. All work is elsewhere; here are the clock's ticks and the ends of
 * channels.
 */
#include "core/event.h"
#include "core/metric.h"
#include "courier/age.h"
#include "courier/callout.h"
#include "courier/compaction.h"
#include "courier/control.h"
#include "courier/dest.h"
#include "courier/explain.h"
#include "courier/follow.h"
#include "courier/intake.h"
#include "courier/late.h"
#include "courier/outcome.h"
#include "courier/outs.h"
#include "courier/purge.h"
#include "courier/recover.h"
#include "courier/replies_unknown.h"
#include "courier/reply_class_shape.h"
#include "courier/scope.h"
#include "courier/session.h"
#include "courier/session_plan.h"
#include "courier/session_sign.h"
#include "courier/unseen.h"
#include "store/asks.h"

#define DUE_PER_TURN 4096u /* rows that become ready in one go */
#define OPEN_FILES   64u

/* --- the wheel --- */

static void
wheel_run(void *ctx)
{
    struct courier *c = ctx;
    uint32_t now = courier_tick(c), row, next;
    uint64_t wait;

    for (unsigned i = 0; i < DUE_PER_TURN; i++) {
        row = index_due(&c->index, now);
        if (row == INDEX_NONE)
            break;
        outcome_due(c, row);
    }
    next = wheel_next(&c->index.wheel);
    if (next == UINT32_MAX) {
        loop_timer_stop(&c->wheel_timer);
        return;
    }
    wait = next > now ? ((uint64_t)(next - now) << TICK_SHIFT) : 0;
    if (wait == 0)
        loop_defer(c->loop, &c->wheel_call);
    else
        loop_timer_set(&c->wheel_timer, wait);
}

void
courier_wheel_soon(struct courier *c)
{
    if (!c->recovering && !c->freeing)
        loop_defer(c->loop, &c->wheel_call);
}

uint32_t
courier_tick_of(const struct courier *c, uint64_t wall)
{
    uint64_t zero = COURIER_TICK_ZERO(c), ticks;

    if (wall <= zero)
        return 16;
    ticks = ((wall - zero + (1u << TICK_SHIFT) - 1) >> TICK_SHIFT) + 16;
    return ticks > UINT32_MAX - 16 ? UINT32_MAX - 16 : (uint32_t)ticks;
}
/* --- each second --- */

static void
load_tick(struct courier *c)
{
    struct courier_load *l = &c->load;

    l->rate_delivered = l->delivered - l->last_delivered;
    l->rate_deferred = l->deferred - l->last_deferred;
    l->rate_bounced = l->bounced - l->last_bounced;
    l->rate_taken = l->taken - l->last_taken;
    l->last_delivered = l->delivered;
    l->last_deferred = l->deferred;
    l->last_bounced = l->bounced;
    l->last_taken = l->taken;
    metric_set(METRIC_WAITING, c->index.rows.count);
    metric_set(METRIC_WAITING_MSGS, c->index.messages.count);
    metric_set(METRIC_HELD, c->index.count[ROW_HELD] + c->index.count[ROW_SCOPED]);
}

static void
second(void *ctx)
{
    struct courier *c = ctx;

    load_tick(c);
    outs_again(c);
    segments_tick(&c->segments, clock_mono());
    scopes_tick(c);
    age_tick(c);
    courier_wheel_soon(c); /* what is idle or stale counts by the wheel's time */
    dests_sweep(c);
    callouts_tick(c);
    compaction_tick(c);
    loop_timer_set(&c->second_timer, NS_PER_S);
}

static void
tell_free(void *ctx, uint64_t number, uint64_t generation)
{
    struct courier *c = ctx;
    struct buf b;

    if (!c->links.spooler || c->freeing)
        return;
    buf_init(&b, 64);
    put_u64(&b, number);
    put_u64(&b, generation);
    put_u8(&b, 0);
    if (c->files)
        spool_files_forget(c->files, number);
    chan_send(c->links.spooler, TELL_FREE, 0, &b, -1); /* lost or full: told again later */
    buf_done(&b);
}

static void
note_dropped(void *ctx, uint32_t own)
{
    struct courier *c = ctx;

    segments_unpin(&c->segments, own);
}

/* --- made and ended --- */

static void
links_read(struct courier *c, const struct courier_links *links)
{
    const struct spool_share_page *page = spool_writer_share(links->writer)->page;

    c->links = *links;
    c->loop = links->loop;
    c->own_epoch = page->epoch;
    c->own_stream = page->stream;
}

/* The former set stays if there is an error; roles/check.c told of it before. The shipped one is
 * compiled when the first reply asks for it: a start should not wait for that. */
static int
replies_take(struct courier *c, struct why *why)
{
    struct str text = STR_NONE, path = c->delivery->replies;
    struct reply_classes *fresh = NULL;
    int err;

    if (path.n && c->links.file)
        text = c->links.file(c->links.file_ctx, path);
    err = text.n ? reply_classes_load(&fresh, text, why) : 0;
    if (err < 0)
        return err;
    reply_classes_free(c->replies);
    c->replies = fresh;
    return 0;
}

static int
conf_take(struct courier *c, const struct conf *conf, struct why *why)
{
    int err;

    c->conf = conf;
    c->main = conf_get(conf, "");
    c->delivery = conf_get(conf, "delivery");
    err = source_load(&c->sources, conf);
    if (err < 0)
        return why_set(why, err, "sources and pools: %s", err_text(err));
    err = replies_take(c, why);
    if (err < 0)
        return err;
    err = replies_unknown_take(c);
    if (err < 0)
        return why_set(why, err, "no memory to count unknown replies");
    return sessions_tls(c, why);
}

int
courier_create(struct courier **ret, const struct courier_links *links, const struct conf *conf,
               struct why *why)
{
    struct courier *c = calloc(1, sizeof *c);
    int err;

    if (!c)
        return why_set(why, ERR_NOMEM, "no memory");
    links_read(c, links);
    c->mono0 = clock_mono();
    c->wall0 = MAX(clock_wall(), 2 * 3600 * NS_PER_S); /* tick 0 is an hour before */
    c->clock_behind = (int64_t)(c->wall0 - clock_wall());
    c->seed = c->wall0 ^ c->own_epoch;
    c->own_segment = SEGMENT_NONE;
    c->after_crash = outcome_after_crash;
    c->purged = outcome_purged;
    index_init(&c->index, COURIER_MAX_ROWS, courier_tick(c));
    c->index.lane_changed = dest_lane_changed;
    c->index.ctx = c;
    segments_init(&c->segments);
    early_init(&c->early, note_dropped, c);
    c->unseen = unseen_create(c);
    reasons_init(&c->reasons);
    c->segments.free = tell_free;
    c->segments.ctx = c;
    map_init(&c->chunk_segments, 10000000, false);
    loop_timer_init(&c->wheel_timer, c->loop, wheel_run, c);
    loop_timer_init(&c->second_timer, c->loop, second, c);
    c->plan_call = (struct loop_call){.fn = plan_run, .ctx = c};
    c->wheel_call = (struct loop_call){.fn = wheel_run, .ctx = c};
    c->files = spool_files_create(links->spool_dir, OPEN_FILES, NULL);
    c->sites = sites_create(c);
    c->outs = outs_create(c);
    c->scopes = scopes_create();
    c->callouts = callouts_create(c);
    c->compaction = compaction_create(c);
    c->reading = reading_create(c);
    c->late = late_create(c);
    err = signing_create(c) == 0 && c->reading && c->files && c->sites && c->outs && c->scopes &&
                  c->callouts && c->compaction && c->late && c->unseen
              ? sessions_create(&c->sessions, c, why)
              : why_set(why, ERR_NOMEM, "no memory");
    if (err == 0)
        err = conf_take(c, conf, why);
    if (err < 0) {
        courier_free(c);
        return err;
    }
    loop_timer_set(&c->second_timer, NS_PER_S);
    *ret = c;
    return 0;
}

static void
sessions_end_all(struct courier *c)
{
    struct str key;
    struct site *s;
    size_t at = 0;

    while ((s = map_next(&c->sites->names, &at, &key)) != NULL) {
        s->dests++; /* stays while its sessions go */
        while (s->all)
            session_end(s->all, false);
        s->dests--;
    }
}

void
courier_free(struct courier *c)
{
    if (!c)
        return;
    c->freeing = true;
    controls_free(c);
    explain_readers_free(c);
    maildirs_free(c);
    reading_free(c);
    loop_timer_stop(&c->wheel_timer);
    loop_timer_stop(&c->second_timer);
    loop_timer_stop(&c->stop_timer);
    loop_call_cancel(c->loop, &c->plan_call);
    loop_call_cancel(c->loop, &c->wheel_call);
    recover_free(c);
    follow_done(c);
    unseen_free(c->unseen);
    c->unseen = NULL;
    c->index.lane_changed = NULL;
    if (c->sites && c->sessions)
        sessions_end_all(c);
    callouts_free(c);
    compaction_free(c);
    late_free(c);
    deadlines_done(&c->deadlines);
    source_reverse_cancel(c);
    dests_forget(c);
    sites_free(c);
    sessions_free(c);
    signing_free(c); /* readers hold messages of the index */
    if (c->outs)
        outs_orphan(c);
    scopes_free(c->scopes);
    purges_free(c);
    early_done(&c->early);
    intake_done(c);
    segments_done(&c->segments);
    index_done(&c->index);
    source_done(&c->sources);
    reasons_done(&c->reasons);
    windows_done(&c->windows);
    reply_classes_free(c->replies);
    reply_shapes_free(c->unknown);
    spool_files_free(c->files);
    snapshot_unmap(&c->keys);
    free(c);
}

int
courier_set_conf(struct courier *c, const struct conf *conf, struct why *why)
{
    int err = conf_take(c, conf, why);

    if (err < 0)
        return err;
    callouts_reset(c);
    plan_retire(c);
    dests_reroute(c);
    scopes_apply(c);
    courier_wheel_soon(c);
    return 0;
}

int
courier_set_keys(struct courier *c, int fd)
{
    struct snapshot fresh;
    int err = snapshot_map(&fresh, fd);

    if (err < 0)
        return err;
    snapshot_unmap(&c->keys);
    c->keys = fresh;
    signing_keys(c);
    return 0;
}

void
courier_keyring_lost(struct courier *c)
{
    signing_lost(c);
}

void
courier_scan_lost(struct courier *c)
{
    reading_lost(c);
}

void
courier_set_gate(struct courier *c, struct chan *gate)
{
    c->links.gate = gate;
    callouts_tell_all(c);
}

/* --- the start --- */

static void
delivery_opened(void *ctx, int status, const struct why *why)
{
    struct courier *c = ctx;

    c->opened = status == 0;
    if (c->opened) {
        late_opened(c);
        follow_opened(c);
    }
    courier_wheel_soon(c);
    if (c->opened_fn)
        c->opened_fn(c->opened_ctx, status, why);
}

int
courier_recover(struct courier *c, const uint32_t *live_epochs, unsigned nlive,
                void (*opened)(void *ctx, int status, const struct why *why), void *ctx,
                struct why *why)
{
    struct recover_told told = {delivery_opened, c};

    c->opened_fn = opened;
    c->opened_ctx = ctx;
    return recover_begin(c, live_epochs, nlive, &told, why);
}

/* --- messages --- */

bool
courier_message(struct courier *c, struct chan *from, uint16_t type, uint64_t id, struct wire *body)
{
    uint64_t number, generation;

    switch (type) {
    case TELL_FREED:
        number = wire_u64(body);
        generation = wire_u64(body);
        if (wire_end(body))
            segments_freed(&c->segments, number, generation);
        return true;
    case TELL_SPACE:
        compaction_space(c, body);
        return true;
    case ASK_SIGN_ANSWER:
        signing_answer(c, id, body);
        return true;
    case ASK_READ_ANSWER:
        reading_answer(c, id, body);
        return true;
    case ASK_CALLOUT:
        callout_ask(c, from, id, body);
        return true;
    default:
        return false;
    }
}

/* --- the end --- */

static void
stop_check(void *ctx)
{
    struct courier *c = ctx;
    void (*stopped)(void *) = c->stopped;

    if (!stopped)
        return;
    if ((c->sessions->n > 0 || c->maildir_jobs > 0 || outs_open(c) > 0) &&
        clock_mono() < c->stop_until) {
        loop_timer_set(&c->stop_timer, 20 * NS_PER_MS);
        return;
    }
    c->stopped = NULL;
    stopped(c->stopped_ctx);
}

void
courier_stop(struct courier *c, uint64_t grace_ns, void (*stopped)(void *ctx), void *ctx)
{
    struct str key;
    struct site *s;
    size_t at = 0;

    if (c->stopping) /* it ends already */
        return;
    c->stopping = true;
    c->stopped = stopped;
    c->stopped_ctx = ctx;
    c->stop_until = clock_mono() + grace_ns;
    while ((s = map_next(&c->sites->names, &at, &key)) != NULL)
        plan_close_idle(s);
    loop_timer_init(&c->stop_timer, c->loop, stop_check, c);
    loop_timer_set(&c->stop_timer, NS_PER_MS);
}
