/*
 * courier/warmup.c - curves of warm-up as data, and the judgement of a day.
 *
 * Called by the courier's plan and by forecasts. It sees counts and day numbers only.
 */
#include "courier/warmup.h"

#include <math.h>

#include "core/err.h"
#include "core/str.h"

/* A day must be used to prove anything, and its mail must have been welcome. Shares of what was
 * sent; the thresholds are those at which senders are paused by large platforms, halved. */
#define USED_SHARE     0.9 /* of the day's limit: SparkPost's rule */
#define FEW            50u /* messages that say little of shares */
#define DEFERRED_BAD   0.20
#define DEFERRED_HOLD  0.08
#define BOUNCED_BAD    0.05
#define BOUNCED_HOLD   0.02
#define COMPLAINT_BAD  0.003 /* Gmail's and Yahoo's limit */
#define COMPLAINT_HOLD 0.001 /* their goal */
#define BLOCKED_BAD    0.01
#define BACK_STAGES    3u
#define IDLE_DAYS      30u
#define CLOCK_BACK     2u /* days that are still the same day; more: the clock was wrong before */
#define FORECAST_DAYS  3660u /* further nobody looks */
/* Without complaint data a good day is half a proof: growth goes on at its square root. */
#define HALF_PROOF 0.5
#define ENCODED    1u

/* Sources: the vendors' published schedules, messages a day for one address. */
const struct warmup_curve warmup_curves[] = {
    {"default", {50, 100, 200, 400, 600}, 1.35, 250000},
    {"sparkpost", {200, 500, 1000, 2000, 5000, 10000, 20000, 40000, 54000, 75000}, 1.3, 10000000},
    {"sendgrid", {480, 672, 936, 1320, 1848, 2592, 3624, 5064, 7080, 9912}, 1.4, 5000000},
    {"mailtrap", {300, 390, 510, 660, 860, 1100, 1400, 1900, 2450, 3200}, 1.3, 57000},
    {"ses", {50, 100, 200, 300, 450}, 1.17, 50000},
};
const size_t warmup_ncurves = ARRAY_LEN(warmup_curves);
const char *const warmup_move_names[] = {"advanced", "held", "stepped back", "began again", "done"};

const struct warmup_curve *
warmup_curve_find(struct str name)
{
    for (size_t i = 0; i < warmup_ncurves; i++) {
        if (str_eq(name, str_c(warmup_curves[i].name)))
            return &warmup_curves[i];
    }
    return NULL;
}

/* Messages of that day of the curve. */
static uint64_t
limit_of(const struct warmup_curve *c, uint32_t stage)
{
    uint32_t steps = 0;

    while (steps < WARMUP_STEPS_MAX && c->steps[steps])
        steps++;
    if (stage < steps)
        return c->steps[stage];
    double limit = c->steps[steps - 1] * pow(c->growth, stage - steps + 1);
    return limit < (double)c->done ? (uint64_t)limit : c->done;
}

void
warmup_init(struct warmup *w, const struct warmup_curve *curve)
{
    *w = (struct warmup){.curve = curve, .limit = limit_of(curve, 0)};
    str_fmt(w->reason, sizeof(w->reason), "the first day");
}

/* ---- the judgement ------------------------------------------------------------------------------
 */

struct sign {
    const char *what;
    uint64_t count;
    double bad, hold; /* shares of what was sent */
};

static enum warmup_move
judge_signs(const struct warmup_day *d, char *reason, size_t cap)
{
    const struct sign signs[] = {
        {"complaints", d->complaints, COMPLAINT_BAD, COMPLAINT_HOLD},
        {"refused as spam or by reputation", d->blocked, BLOCKED_BAD, BLOCKED_BAD / 2},
        {"unknown recipients", d->bounced, BOUNCED_BAD, BOUNCED_HOLD},
        {"deferred", d->deferred, DEFERRED_BAD, DEFERRED_HOLD},
    };
    enum warmup_move move = WARMUP_ADVANCED;

    for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
        double share = (double)signs[i].count / (double)MAX(d->sent, (uint64_t)1);
        enum warmup_move says = share > signs[i].bad    ? WARMUP_STEPPED_BACK
                                : share > signs[i].hold ? WARMUP_HELD
                                                        : WARMUP_ADVANCED;
        if (says <= move)
            continue;
        move = says;
        str_fmt(reason, cap, "%.2f %% %s (more than %.2f %%)", share * 100, signs[i].what,
                100 * (says == WARMUP_HELD ? signs[i].hold : signs[i].bad));
    }
    return move;
}

/* The judgement alone: where a day with that limit leads, and why. */
static enum warmup_move
warmup_judge(const struct warmup_day *d, uint64_t limit, char *reason, size_t cap)
{
    enum warmup_move move;

    if (d->sent < MIN((uint64_t)FEW, limit / 2)) {
        str_fmt(reason, cap, "only %llu messages: too few to judge", (unsigned long long)d->sent);
        return WARMUP_HELD;
    }
    move = judge_signs(d, reason, cap);
    if (move != WARMUP_ADVANCED)
        return move;
    if ((double)(d->sent - MIN(d->deferred, d->sent)) < USED_SHARE * (double)limit) {
        str_fmt(reason, cap, "%llu of %llu messages were taken: less than 90 %%",
                (unsigned long long)(d->sent - MIN(d->deferred, d->sent)),
                (unsigned long long)limit);
        return WARMUP_HELD;
    }
    str_fmt(reason, cap, "a good day%s",
            d->complaint_data ? "" : ", as far as can be seen: no complaint data");
    return WARMUP_ADVANCED;
}

/* ---- days ---------------------------------------------------------------------------------------
 */

/* The first stage of at least that limit. */
static uint32_t
stage_of(const struct warmup_curve *c, uint64_t limit)
{
    uint32_t stage = 0;

    while (limit_of(c, stage) < limit && limit_of(c, stage) < c->done)
        stage++;
    return stage;
}

static void
advance(struct warmup *w)
{
    uint64_t next = limit_of(w->curve, w->stage + 1);

    if (w->today.complaint_data) {
        w->stage++;
        w->limit = MAX(next, w->limit);
    } else {
        double whole = (double)next / (double)limit_of(w->curve, w->stage);
        w->limit = (uint64_t)((double)w->limit * pow(whole, HALF_PROOF) + 1);
        if (w->limit >= next)
            w->stage++;
    }
    if (w->limit < w->curve->done)
        return;
    w->limit = w->curve->done;
    w->done = true;
    str_fmt(w->reason, sizeof(w->reason), "warm: %llu messages a day went well",
            (unsigned long long)w->curve->done);
}

static bool
is_idle(const struct warmup *w, uint32_t day)
{
    return w->last && day > w->last && day - w->last > IDLE_DAYS;
}

static void
new_day(struct warmup *w, uint32_t day)
{
    bool idle = is_idle(w, day);
    enum warmup_move move = warmup_judge(&w->today, w->limit, w->reason, sizeof(w->reason));

    if (idle) {
        w->done = false;
        w->stage = 0;
        w->limit = limit_of(w->curve, 0);
        str_fmt(w->reason, sizeof(w->reason), "began again after %u days without mail",
                day - w->last);
    } else if (move == WARMUP_STEPPED_BACK) {
        w->done = false;
        w->stage = stage_of(w->curve, w->limit);
        w->stage -= MIN(w->stage, BACK_STAGES);
        w->limit = limit_of(w->curve, w->stage);
    } else if (move == WARMUP_ADVANCED && !w->done) {
        advance(w);
    }
    w->today = (struct warmup_day){.complaint_data = w->today.complaint_data};
    w->day = day;
    if (idle)
        w->last = 0;
}

uint64_t
warmup_left(struct warmup *w, uint32_t day)
{
    /* Only days with mail are sending days. A clock that goes back is the same day, so nothing is
     * gained by it; one that was far ahead does not hold us until it is reached again. */
    if (day > w->day && (w->today.sent || is_idle(w, day)))
        new_day(w, day);
    else if (day > w->day || w->day - day > CLOCK_BACK)
        w->day = day;
    w->last = MIN(w->last, w->day);
    if (w->done)
        return UINT64_MAX;
    return w->limit - MIN(w->today.sent, w->limit);
}

void
warmup_told(struct warmup *w, uint32_t day, const struct warmup_day *more)
{
    warmup_left(w, day);
    if (more->sent)
        w->last = MAX(w->last, day);
    w->today.sent += more->sent;
    w->today.deferred += more->deferred;
    w->today.bounced += more->bounced;
    w->today.blocked += more->blocked;
    w->today.complaints += more->complaints;
    w->today.complaint_data |= more->complaint_data;
}

uint32_t
warmup_days_for(const struct warmup *w, uint64_t messages)
{
    struct warmup copy = *w;
    uint32_t day = MAX(w->day, 1u), days = 0;

    while (messages && days < FORECAST_DAYS) {
        uint64_t left = warmup_left(&copy, day++);
        struct warmup_day good = {.sent = MIN(left, messages),
                                  .complaint_data = w->today.complaint_data};
        days++;
        if (left == UINT64_MAX)
            break;
        messages -= good.sent;
        warmup_told(&copy, day - 1, &good);
    }
    return days;
}

/* ---- over a restart ----------------------------------------------------------------------------
 */

void
warmup_encode(struct buf *out, const struct warmup *w)
{
    put_u8(out, ENCODED);
    put_str16(out, str_c(w->curve->name));
    put_u32(out, w->stage);
    put_u32(out, w->day);
    put_u32(out, w->last);
    put_u64(out, w->limit);
    put_u8(out, w->done);
    put_u8(out, w->today.complaint_data);
    put_u64(out, w->today.sent);
    put_u64(out, w->today.deferred);
    put_u64(out, w->today.bounced);
    put_u64(out, w->today.blocked);
    put_u64(out, w->today.complaints);
    put_str16(out, str_c(w->reason));
}

int
warmup_decode(struct warmup *w, struct wire *r)
{
    uint8_t version = wire_u8(r);
    const struct warmup_curve *curve = warmup_curve_find(wire_str16(r));

    if (version != ENCODED || !curve)
        return ERR_SYNTAX;
    warmup_init(w, curve);
    w->stage = wire_u32(r);
    w->day = wire_u32(r);
    w->last = wire_u32(r);
    w->limit = wire_u64(r);
    w->done = wire_u8(r);
    w->today.complaint_data = wire_u8(r);
    w->today.sent = wire_u64(r);
    w->today.deferred = wire_u64(r);
    w->today.bounced = wire_u64(r);
    w->today.blocked = wire_u64(r);
    w->today.complaints = wire_u64(r);
    struct str reason = wire_str16(r);
    if (r->failed || w->stage > 1000 || !w->limit || w->limit > curve->done ||
        !str_copy(reason, w->reason, sizeof(w->reason)))
        return ERR_SYNTAX;
    return 0;
}
