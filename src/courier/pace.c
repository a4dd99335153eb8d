/*
 * courier/pace.c - the law of pace: steps of growth, cuts, slow probes, blocks.
 *
 * Called with each beginning and each reply. It keeps no list and asks no clock.
 *
 * A step is a time with one rate. It ends well when enough was taken at that rate, and the next one
 * is faster. A refusal ends it badly: the rate falls at once, and replies to what was sent before
 * the cut say nothing new. Below the rate that was refused growth is quick; beyond it, by probes
 * that become rarer with each one that fails and larger with each one that holds, since limits
 * move.
 */
#include "courier/pace.h"

#include <math.h>

#include "core/clock.h"
#include "core/err.h"

#define STEP_TIME       (4 * NS_PER_S) /* shortest step */
#define STEP_TIME_NEW   (2 * NS_PER_S) /* the same while no refusal is known */
#define STEP_TAKEN      8u             /* messages that prove a rate, at least */
#define STEP_TAKEN_SLOW 4u             /* the same below STEP_SLOW a second */
#define STEP_SLOW       2.0
#define STEP_MOST       (120 * NS_PER_S) /* a rate that is proven by few messages, slowly */
#define GROW_FIRST      2.0              /* below GROW_SMALL a second */
#define GROW_SMALL      16.0
#define GROW_UNKNOWN    1.5 /* no refusal known */
#define GROW_KNOWN      1.25
#define NEAR_BAD        0.92 /* of `bad`: what is held without probing */
#define PROBE_FIRST     1.04
#define PROBE_MOST      1.35
#define PROBE_GAP_FIRST (20 * NS_PER_S)
#define PROBE_GAP_MOST  (600 * NS_PER_S)
#define SAME_WALL       1.05
#define CUT_FIRST       0.80
#define CUT_AGAIN       0.55
#define BLOCK_GAP_FIRST (300 * NS_PER_S)
#define BLOCK_GAP_MOST  (3600 * NS_PER_S)
#define BLOCK_RATE      0.4 /* of the rate that brought the block: where growth begins again */
#define AWAY_GAP        (15 * NS_PER_S)
#define AWAY_GAP_MOST   (300 * NS_PER_S)
#define REFUSALS_DOUBLE 3.75   /* so many more double the least gap between probes */
#define REFUSALS_FORGET 3600.0 /* seconds that take 63 % of them away */
#define REFUSAL_MOST    (2 * NS_PER_S)
#define BURST_S         0.25 /* seconds of the rate that may go at once */
#define LATENCY_WEIGHT  0.1
#define LATENCY_MOST    (3600.0 * NS_PER_S) /* that is believed after a restart */
#define LATENCY_WARNING 2.5 /* times the usual: growth goes on by the smallest steps */
#define SESSIONS_SPARE  1.5 /* over what rate and latency ask for */
#define ENCODED_VERSION 1u

const struct pace_bounds pace_defaults = {
    .floor = 1.0 / 600, .start = 1, .ceiling = 2000, .sessions_max = 500};

static double
bounded(const struct pace *p, double rate)
{
    return MAX(p->bounds.floor, MIN(rate, p->bounds.ceiling));
}

static void
step_begin(struct pace *p, uint64_t now, double rate)
{
    p->rate = bounded(p, rate);
    p->step_at = now;
    p->taken = p->begun = 0;
}

void
pace_init(struct pace *p, const struct pace_bounds *bounds, uint64_t now)
{
    *p = (struct pace){.bounds = *bounds,
                       .step = PROBE_FIRST,
                       .probe_gap = PROBE_GAP_FIRST,
                       .widen_gap = PROBE_GAP_FIRST,
                       .block_gap = BLOCK_GAP_FIRST,
                       .filled_at = now,
                       .tokens = 1,
                       .sessions = 2};
    p->bounds.sessions_max = MAX(p->bounds.sessions_max, 1u);
    step_begin(p, now, bounds->start);
}

/* What the rate asks for by Little's law, within what is known to be too many. */
static void
sessions_fit(struct pace *p)
{
    double wanted = p->rate * p->latency / (double)NS_PER_S * SESSIONS_SPARE + 2;
    uint32_t most = p->bounds.sessions_max;

    if (p->sessions_bad)
        most = MIN(most, MAX(p->sessions_bad - 1, 1u));
    p->sessions = wanted < most ? (uint32_t)wanted : most;
}

/* ---- permission --------------------------------------------------------------------------------
 */

static void
fill(struct pace *p, uint64_t now)
{
    double burst = MAX(1.0, p->rate * BURST_S);

    if (now > p->filled_at)
        p->tokens += p->rate * (double)(now - p->filled_at) / (double)NS_PER_S;
    p->filled_at = MAX(p->filled_at, now);
    p->tokens = MIN(p->tokens, burst);
}

bool
pace_take(struct pace *p, uint64_t now, unsigned active, uint64_t *ret_at)
{
    if (now < p->until) {
        *ret_at = p->until;
        return false;
    }
    if (active >= (p->trial ? 1 : p->sessions)) {
        *ret_at = UINT64_MAX;
        return false;
    }
    fill(p, now);
    if (p->tokens < 1) {
        *ret_at = now + (uint64_t)((1 - p->tokens) / p->rate * (double)NS_PER_S) + 1;
        return false;
    }
    p->tokens -= 1;
    p->begun++;
    return true;
}

/* ---- growth ------------------------------------------------------------------------------------
 */

/* Refusals are what blocks are made of: who had some of late, or was blocked, probes more rarely.
 */
static uint64_t
gap_least(const struct pace *p)
{
    return (uint64_t)((double)PROBE_GAP_FIRST * exp2(MIN(p->refusals / REFUSALS_DOUBLE, 5.0)));
}

static uint64_t
gap_most(const struct pace *p)
{
    return PROBE_GAP_MOST << MIN(p->blocks, 3u);
}

static bool
is_slow_now(const struct pace *p)
{
    return p->latency_low > 0 && p->latency > LATENCY_WARNING * p->latency_low;
}

/* A clean step: `good` is known, and the next rate. */
static void
grow(struct pace *p, uint64_t now, double held)
{
    double next;

    p->good = MAX(p->good, MIN(held, p->rate));
    p->cuts = 0;
    p->block_gap = MAX(p->block_gap / 2, BLOCK_GAP_FIRST);
    if (!p->bad) {
        next = p->rate * (p->rate < GROW_SMALL ? GROW_FIRST : GROW_UNKNOWN);
        if (is_slow_now(p))
            next = p->rate * PROBE_FIRST;
    } else if (p->rate * GROW_KNOWN < p->bad * NEAR_BAD) {
        next = p->rate * GROW_KNOWN;
    } else if (p->rate < p->bad * NEAR_BAD) {
        next = p->bad * NEAR_BAD;
    } else if (now < p->probe_at) {
        p->base = next = p->rate;
    } else { /* a probe, or one more behind a probe that held */
        if (p->rate > p->bad) {
            p->bad = p->rate;
            p->probe_gap = MAX(p->probe_gap / 2, gap_least(p));
        }
        next = p->rate * (is_slow_now(p) ? PROBE_FIRST : p->step);
        p->step = MIN(1 + (p->step - 1) * 1.3, PROBE_MOST);
    }
    step_begin(p, now, next);
    sessions_fit(p);
}

/* Connections are what holds us: so many were too many some time ago. */
static bool
is_narrow(const struct pace *p)
{
    return p->sessions_bad && !p->widening && p->sessions + 1 >= p->sessions_bad &&
           p->sessions_bad <= p->bounds.sessions_max;
}

static void
widen(struct pace *p, uint64_t now)
{
    p->widening = p->sessions_bad;
    p->sessions_bad += 1 + p->sessions_bad / 16;
    p->widen_at = now + p->widen_gap / 2;
    step_begin(p, now, p->rate);
    sessions_fit(p);
}

static uint32_t
step_needs(const struct pace *p)
{
    return p->rate < STEP_SLOW ? STEP_TAKEN_SLOW : STEP_TAKEN;
}

static void
step_look(struct pace *p, uint64_t now)
{
    uint64_t lasted = now - p->step_at;
    double seconds = (double)lasted / (double)NS_PER_S;

    if (lasted < (p->bad ? STEP_TIME : STEP_TIME_NEW) + 2 * (uint64_t)p->latency ||
        p->taken < step_needs(p))
        return;
    /* What began in the last moments has no reply yet. */
    double held = p->taken / (seconds - p->latency / (double)NS_PER_S);
    /* Only a rate that was used is proven: few messages say little of a fast one. */
    if (held < 0.7 * p->rate) {
        if (is_narrow(p) && now >= p->widen_at)
            widen(p, now);
        else if (lasted > STEP_MOST)
            step_begin(p, now, p->rate);
        return;
    }
    if (is_narrow(p) && now >= p->widen_at)
        widen(p, now);
    grow(p, now, held);
}

/* ---- refusals ----------------------------------------------------------------------------------
 */

/* A probe that failed where the last one failed: the limit has not moved, and its burst hid it for
 * a while. Back to where the probes began. */
static bool
is_same_wall(const struct pace *p)
{
    return !p->cuts && p->base && p->rate > p->base && p->rate <= p->failed * SAME_WALL;
}

static void
cut(struct pace *p, uint64_t now, double factor)
{
    double seconds = (double)(now - p->step_at) / (double)NS_PER_S;
    double held = seconds > 1 && p->taken >= STEP_TAKEN ? p->taken / seconds : p->rate;
    double from = MIN(p->rate, MAX(held, p->rate * 0.5));
    double next = from * factor;

    p->bad = p->bad && p->cuts ? MIN(p->bad, p->rate) : p->rate;
    if (is_same_wall(p)) {
        p->bad = p->base / NEAR_BAD;
        next = MIN(p->base * NEAR_BAD, next);
    } else {
        p->base = 0;
    }
    p->step = PROBE_FIRST;
    p->probe_gap = MAX(p->probe_gap, gap_least(p));
    p->probe_at = now + p->probe_gap;
    if (!p->cuts) { /* cuts one behind another are one probe that failed */
        p->failed = p->rate;
        p->probe_gap = MIN(p->probe_gap * 2, gap_most(p));
    }
    p->cuts = (uint8_t)MIN(p->cuts + 1, 200);
    p->cut_at = now;
    p->good = MIN(p->good, from);
    step_begin(p, now, next);
    p->tokens = 0;
    p->filled_at = now;
    sessions_fit(p);
}

/* Nothing begins for as long as the refusal took: until then nobody has told that it is over. */
static void
fewer(struct pace *p, uint64_t now, uint64_t took)
{
    p->widening = 0;
    p->cut_at = now;
    p->until = MAX(p->until, now + MIN(took, (uint64_t)REFUSAL_MOST));
    p->widen_gap = MAX(p->widen_gap, gap_least(p));
    p->widen_at = now + p->widen_gap;
    p->widen_gap = MIN(p->widen_gap * 2, gap_most(p));
}

/* The first refusal of a block costs pace; those of its trials only say that it lasts. */
static void
block(struct pace *p, uint64_t now)
{
    if (!p->in_block) {
        p->blocks++;
        p->base = 0;
        cut(p, now, BLOCK_RATE);
        p->probe_gap = p->widen_gap = gap_most(p);
        p->probe_at = p->widen_at = now + p->probe_gap;
        p->widening = 0;
    }
    p->in_block = p->trial = true;
    p->cut_at = now;
    p->until = now + p->block_gap;
    p->block_gap = MIN(p->block_gap * 2, BLOCK_GAP_MOST);
    p->filled_at = p->until;
    step_begin(p, p->until, p->rate);
}

/* An outage is waited for, with a message now and then; it teaches nothing of limits. */
static void
away(struct pace *p, uint64_t now)
{
    uint64_t gap = AWAY_GAP << MIN(p->away, 5u);

    p->away++;
    p->cut_at = now;
    p->until = now + MIN(gap, AWAY_GAP_MOST);
    p->trial = true;
    step_begin(p, p->until, p->rate);
}

static void
open_way(struct pace *p, uint64_t now, uint64_t begun, unsigned active)
{
    double took = now > begun ? (double)(now - begun) : 0;

    if (begun >= p->cut_at) { /* what began before the way was closed says nothing of it */
        p->away = 0;
        p->in_block = false;
        if (p->trial) {
            p->trial = false;
            step_begin(p, now, p->rate);
        }
    }
    p->latency += p->latency ? (took - p->latency) * LATENCY_WEIGHT : took;
    if (!p->latency_low || p->latency < p->latency_low)
        p->latency_low = p->latency;
    else
        p->latency_low *= 1.0001;
    if (begun >= p->step_at)
        p->taken++;
    if (p->widening && active >= p->widening) { /* what was tried has held */
        p->widening = 0;
        p->widen_gap = MAX(p->widen_gap / 4, gap_least(p));
    }
    sessions_fit(p);
    step_look(p, now);
}

static void
count_refusal(struct pace *p, uint64_t now)
{
    double seconds = (double)(now - p->refused_at) / (double)NS_PER_S;

    p->refusals = p->refusals * exp(-seconds / REFUSALS_FORGET) + 1;
    p->refused_at = now;
}

void
pace_told(struct pace *p, uint64_t now, uint64_t begun, unsigned active, enum pace_word word)
{
    if (word == PACE_TAKEN) {
        open_way(p, now, begun, active);
        return;
    }
    if (word != PACE_AWAY)
        count_refusal(p, now);
    if (word == PACE_FEWER) {
        p->sessions_bad = MIN(p->sessions_bad ? p->sessions_bad : UINT32_MAX, MAX(active, 2u));
        sessions_fit(p);
    }
    if (begun < p->cut_at || now < p->until)
        return; /* sent before the cut that answered it */
    switch (word) {
    case PACE_SLOWER:
        p->trial = false;
        cut(p, now, p->cuts ? CUT_AGAIN : CUT_FIRST);
        break;
    case PACE_FEWER:
        fewer(p, now, now > begun ? now - begun : 0);
        break;
    case PACE_BLOCKED:
        block(p, now);
        break;
    default:
        away(p, now);
    }
}

uint64_t
pace_retry_gap(const struct pace *p, uint64_t now, enum pace_word word, unsigned attempts)
{
    /* Greylisting and kin: tries after 2, 5, 10, 15, 30 minutes, where their waits end. */
    static const uint64_t own[] = {120, 180, 300, 300, 900, 1800, 3600};
    uint64_t wait = p->until > now ? p->until - now : 0;

    if (word == PACE_TAKEN)
        return own[MIN(attempts, (unsigned)ARRAY_LEN(own) - 1)] * NS_PER_S;
    /* The pace holds the way; the message itself need not wait long behind it. */
    return wait + (5 * NS_PER_S) * MIN(attempts + 1, 12u);
}

/* ---- over a restart ----------------------------------------------------------------------------
 */

static uint64_t
milli(double v)
{
    return (uint64_t)(v * 1000);
}

void
pace_encode(struct buf *out, const struct pace *p, uint64_t now)
{
    put_u8(out, ENCODED_VERSION);
    put_u64(out, milli(p->rate));
    put_u64(out, milli(p->good));
    put_u64(out, milli(p->bad));
    put_u64(out, (uint64_t)MIN(p->latency_low, LATENCY_MOST));
    put_u64(out, p->until > now ? MIN(p->until - now, BLOCK_GAP_MOST) : 0);
    put_u64(out, p->block_gap);
    put_u64(out, p->probe_gap);
    put_u32(out, p->sessions_bad);
    put_u32(out, p->blocks);
}

int
pace_decode(struct pace *p, struct wire *w, const struct pace_bounds *bounds, uint64_t now)
{
    if (wire_u8(w) != ENCODED_VERSION)
        return ERR_SYNTAX;
    double rate = (double)wire_u64(w) / 1000, good = (double)wire_u64(w) / 1000;
    double bad = (double)wire_u64(w) / 1000;
    uint64_t latency = wire_u64(w), until = wire_u64(w), block_gap = wire_u64(w);
    uint64_t probe_gap = wire_u64(w);
    uint32_t sessions_bad = wire_u32(w), blocks = wire_u32(w);
    if (w->failed || latency > (uint64_t)LATENCY_MOST || until > BLOCK_GAP_MOST)
        return ERR_SYNTAX;
    pace_init(p, bounds, now);
    p->good = bounded(p, good);
    p->bad = bad > 0 ? bounded(p, bad) : 0;
    p->latency = p->latency_low = (double)latency;
    p->until = until ? now + until : 0;
    p->trial = until != 0;
    p->block_gap = MAX(BLOCK_GAP_FIRST, MIN(block_gap, BLOCK_GAP_MOST));
    p->probe_gap = MAX(PROBE_GAP_FIRST, MIN(probe_gap, PROBE_GAP_MOST));
    p->sessions_bad = MIN(sessions_bad, bounds->sessions_max);
    p->blocks = blocks;
    step_begin(p, MAX(now, p->until), MIN(rate, MAX(good, bounds->start)) * 0.75);
    sessions_fit(p);
    return 0;
}
