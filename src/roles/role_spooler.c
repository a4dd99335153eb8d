/*
 * roles/role_spooler.c - opens, pre-writes, recycles segments; hands out descriptors and epochs.
 *
 * Reads nothing from outside, has no network. Everything here may block: nobody waits for it but
 * writers that have another segment in hand.
 */
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/metric.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "roles/settings.h"
#include "roles/stream_link.h"
#include "spool/admission.h"
#include "spool/pool.h"
#include "store/asks.h"

#define PREPARE_PAUSE       NS_PER_MS /* between two segments being pre-written */
#define PREPARE_AFTER_ERROR (5 * NS_PER_S)
#define FULL_AFTER          (2 * NS_PER_S)
#define LOOK_EVERY          (2 * NS_PER_S) /* others take and give space of the same disk */
#define ASIDE_EVERY         (60 * NS_PER_S)

#define LATER_MAX 1024u

struct spooler {
    struct role *role;
    /* Given back, but an earlier segment of its epoch must go first (spool/pool.h). */
    struct {
        uint64_t number, generation;
        bool empty;
    } later[LATER_MAX];
    unsigned nlater;
    struct spool_pool *pool;
    struct loop_timer prepare, full, look, aside;
    struct spool_space told;
};

/* By the law of the gate (spool/admission.h): strangers are the first who are put off. */
static bool
space_is_short(const struct spool_space *now)
{
    const struct admission_limits none = {0};
    struct admission_input in = {.spool_bytes_left = now->intake_open ? now->intake_bytes : 0,
                                 .spool_bytes_total = now->bytes_total,
                                 .writer_ready = true};

    return !now->intake_open || admission(ADMISSION_STRANGER, &in, &none).verdict == ADMIT_LATER;
}

static void
tell_space(struct spooler *s)
{
    struct spool_space now;
    spool_pool_space(s->pool, &now);
    metric_set(METRIC_SEGMENTS_FREE, now.segments_free);
    metric_set(METRIC_SEGMENTS_USED, now.segments_used);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    put_u64(&b, now.intake_bytes);
    put_u64(&b, now.bytes_total);
    put_u8(&b, now.intake_open);
    if (role_has(s->role, ROLE_GATE))
        chan_send(role_chan(s->role, ROLE_GATE), TELL_SPACE, 0, &b, -1);
    if (role_has(s->role, ROLE_COURIER))
        chan_send(role_chan(s->role, ROLE_COURIER), TELL_SPACE, 0, &b, -1);
    /* At a start each writer takes a new segment before the old ones come back: what lasts a moment
     * is no reason to wake anybody. */
    if (!space_is_short(&now))
        loop_timer_stop(&s->full);
    else if (!space_is_short(&s->told) || (s->told.intake_open && !now.intake_open))
        loop_timer_set(&s->full, FULL_AFTER);
    s->told = now;
}

/* Nobody tells us when the disk has space again, or none any more. */
static void
on_look(void *ctx)
{
    struct spooler *s = ctx;
    struct spool_space now;

    loop_timer_set(&s->look, LOOK_EVERY);
    spool_pool_space(s->pool, &now);
    if (now.intake_bytes == s->told.intake_bytes && now.intake_open == s->told.intake_open)
        return;
    tell_space(s);
    loop_timer_set(&s->prepare, PREPARE_PAUSE);
}

static void
on_full(void *ctx)
{
    struct spooler *s = ctx;
    struct spool_space now;
    spool_pool_space(s->pool, &now);
    if (!now.intake_open)
        event_alarm("the spool is full: new mail is answered with 452 4.3.1, what was accepted is "
                    "safe and is delivered. Intake opens by itself when there is space again; give "
                    "the disk space or raise spool.quota.");
    else if (space_is_short(&now))
        event_alarm("the spool is nearly full: mail of strangers is answered with 452 4.3.1, what "
                    "is left is kept for mail of ours; what was accepted is safe and is delivered. "
                    "Give the disk space or raise spool.quota.");
}

static void
on_prepare(void *ctx)
{
    struct spooler *s = ctx;
    int rc = spool_pool_prepare(s->pool);
    if (rc > 0) {
        tell_space(s);
        loop_timer_set(&s->prepare, PREPARE_PAUSE);
    } else if (rc < 0) {
        loop_timer_set(&s->prepare, PREPARE_AFTER_ERROR);
    }
}

static void on_aside(void *ctx);

static int
spooler_start(struct role *r, struct why *why)
{
    const struct settings_spool *sp = conf_get(r->conf, "spool");
    struct spooler *s = calloc(1, sizeof *s);
    ENSURE(s);
    s->role = r;
    r->self = s;
    char *dir = str_dup(sp->dir);
    struct sandbox_path paths[] = {{dir, SANDBOX_READ | SANDBOX_WRITE}};
    int rc = sandbox_enter(r->row->sandbox, paths, ARRAY_LEN(paths), why);
    if (rc)
        return rc;
    struct spool_pool_conf conf = {
        .dir = dir,
        .segment_size = sp->segment,
        .quota = sp->quota,
        .min_free = sp->min_free,
        .reserve = (unsigned)sp->reserve,
        .ready = (unsigned)sp->ready,
    };
    rc = spool_pool_open(&s->pool, &conf, why);
    if (rc)
        return rc;
    loop_timer_init(&s->prepare, r->loop, on_prepare, s);
    loop_timer_set(&s->prepare, PREPARE_PAUSE);
    loop_timer_init(&s->full, r->loop, on_full, s);
    loop_timer_init(&s->look, r->loop, on_look, s);
    loop_timer_set(&s->look, LOOK_EVERY);
    loop_timer_init(&s->aside, r->loop, on_aside, s);
    loop_timer_set(&s->aside, ASIDE_EVERY);
    spool_pool_space(s->pool, &s->told);
    if (space_is_short(&s->told))
        loop_timer_set(&s->full, FULL_AFTER);
    if (!s->told.direct)
        event_notice("the spool's device takes no direct writes (%s): buffered writes and syncs "
                     "are used, which is as safe and slower",
                     s->told.direct_why);
    tell_space(s);
    role_ready(r);
    return 0;
}

/* Nobody writes into another's stream: what the courier's says decides what becomes of all mail.
 * Told by the body's end, as of any message that cannot be read. */
static uint16_t
own_stream(enum role_id from, struct wire *body)
{
    uint16_t stream = wire_u16(body);
    enum spool_stream_kind own = from == ROLE_COURIER ? SPOOL_STREAM_COURIER : SPOOL_STREAM_GATE;
    body->failed = body->failed || stream >> 8 != own;
    return stream;
}

static void
answer_epoch(struct spooler *s, enum role_id from, uint64_t id, struct wire *body)
{
    uint16_t stream = own_stream(from, body); /* epochs of all come from one row of numbers */

    CLEANUP(buf_done) struct buf b;
    if (!wire_end(body))
        return;
    buf_init(&b, 64);
    put_u64(&b, (uint64_t)spool_pool_epoch(s->pool, stream));
    put_u32(&b, spool_pool_node(s->pool));
    put_u8(&b, s->told.direct);
    chan_send(role_chan(s->role, from), ASK_EPOCH_ANSWER, id, &b, -1);
    tell_space(s);
}

static void
answer_segment(struct spooler *s, enum role_id from, uint64_t id, struct wire *body)
{
    uint16_t stream = own_stream(from, body);
    uint32_t epoch = wire_u32(body);
    CLEANUP(buf_done) struct buf b;
    CLEANUP(fd_close) int fd = -1;
    struct spool_segment seg = {0};
    if (!wire_end(body))
        return;
    int rc = spool_pool_take(s->pool, stream, epoch, &fd, &seg);
    if (rc && rc != ERR_FULL)
        event_warning("no segment could be handed out: %s; the writer asks again", err_text(rc));
    buf_init(&b, 256);
    put_u32(&b, (uint32_t)rc);
    stream_link_put_segment(&b, &seg);
    chan_send(role_chan(s->role, from), ASK_SEGMENT_ANSWER, id, &b, fd);
    tell_space(s);
    loop_timer_set(&s->prepare, PREPARE_PAUSE);
}

/* True if the segment is free now (or was before): the courier may drop its outcomes. */
static bool
recycle(struct spooler *s, uint64_t number, uint64_t generation, bool empty)
{
    int rc = empty ? spool_pool_free_empty(s->pool, number, generation)
                   : spool_pool_free(s->pool, number, generation);
    if (rc == ERR_STATE)
        return false;
    if (rc && rc != ERR_STALE && rc != ERR_NOTFOUND) {
        event_warning("segment %llu could not be recycled: %s; its space stays used for now, and "
                      "it is tried again",
                      (unsigned long long)number, err_text(rc));
        return false;
    }
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 64);
    put_u64(&b, number);
    put_u64(&b, generation);
    if (role_has(s->role, ROLE_COURIER)) /* else its next life reads what there is */
        chan_send(role_chan(s->role, ROLE_COURIER), TELL_FREED, 0, &b, -1);
    return true;
}

/* Each once: the courier says it again until it is done. */
static void
keep_for_later(struct spooler *s, uint64_t number, uint64_t generation, bool empty)
{
    unsigned i = 0;

    while (i < s->nlater && (s->later[i].number != number || s->later[i].generation != generation))
        i++;
    if (i == LATER_MAX)
        return;
    s->later[i].number = number;
    s->later[i].generation = generation;
    s->later[i].empty = empty;
    s->nlater = MAX(s->nlater, i + 1);
}

static void
recycle_later(struct spooler *s)
{
    for (unsigned i = 0; i < s->nlater;) {
        if (recycle(s, s->later[i].number, s->later[i].generation, s->later[i].empty))
            s->later[i] = s->later[--s->nlater];
        else
            i++;
    }
}

/* Files that the disk did not give. */
static void
on_aside(void *ctx)
{
    struct spooler *s = ctx;
    unsigned n = s->told.segments_unreadable > 0 ? spool_pool_again(s->pool) : 0;

    loop_timer_set(&s->aside, ASIDE_EVERY);
    if (n == 0)
        return;
    event_notice("%u segment files that were set aside can be read again", n);
    recycle_later(s);
    tell_space(s);
}

static void
take_back(struct spooler *s, struct wire *body)
{
    uint64_t number = wire_u64(body), generation = wire_u64(body);
    bool empty = wire_u8(body);
    if (!wire_end(body))
        return;
    if (!recycle(s, number, generation, empty)) {
        keep_for_later(s, number, generation, empty);
        return;
    }
    recycle_later(s);
    tell_space(s);
}

static void
spooler_message(struct role *r, enum role_id from, uint16_t type, uint64_t id, struct wire *body,
                int fd)
{
    struct spooler *s = r->self;
    fd_close(&fd);
    if (!s || !s->pool)
        return;
    switch (type) {
    case ASK_EPOCH:
        answer_epoch(s, from, id, body);
        break;
    case ASK_SEGMENT:
        answer_segment(s, from, id, body);
        break;
    case TELL_FREE:
        take_back(s, body);
        break;
    default:
        event_warning("unknown message %#x from %s", type, role_table[from].name);
    }
}

static void
spooler_peer(struct role *r, enum role_id id)
{
    struct spooler *s = r->self;
    (void)id;
    if (s && s->pool)
        tell_space(s);
}

static void
spooler_stop(struct role *r)
{
    struct spooler *s = r->self;
    spool_pool_close(s->pool);
    role_exit(r, 0);
}

const struct role_ops role_spooler_ops = {
    .start = spooler_start,
    .message = spooler_message,
    .peer = spooler_peer,
    .stop = spooler_stop,
};
