/*
 * lab/wind_law.c - three ways to choose a pace, behind one interface.
 *
 * "ours" is courier/pace.c as the courier uses it. "fixed" is what most engines do: limits from a
 * file, and a hard cut for a time when a block is seen. "postfix" is Postfix's concurrency
 * feedback (its SCHEDULER_README tells the law), which hears of connections only.
 */
#include "lab/wind_law.h"

#include "core/clock.h"
#include "courier/pace.h"

/* ---- ours --------------------------------------------------------------------------------------
 */

static enum pace_word
pace_word_of(enum wind_reply r)
{
    static const enum pace_word words[] = {
        [WIND_TAKEN] = PACE_TAKEN, [WIND_UNKNOWN_USER] = PACE_TAKEN, [WIND_GREYLISTED] = PACE_TAKEN,
        [WIND_RATE] = PACE_SLOWER, [WIND_SESSIONS] = PACE_FEWER,     [WIND_BLOCKED] = PACE_BLOCKED,
        [WIND_AWAY] = PACE_AWAY,
    };
    return words[r];
}

static void
ours_init(void *self, const struct wind_provider_conf *c, uint64_t now)
{
    (void)c; /* what the provider is inside is not for us */
    pace_init(self, &pace_defaults, now);
}

static bool
ours_take(void *self, uint64_t now, unsigned active, uint64_t *ret_at)
{
    return pace_take(self, now, active, ret_at);
}

static void
ours_told(void *self, uint64_t now, uint64_t begun, unsigned active, enum wind_reply r)
{
    pace_told(self, now, begun, active, pace_word_of(r));
}

static uint64_t
ours_gap(void *self, uint64_t now, enum wind_reply r, unsigned attempts)
{
    return pace_retry_gap(self, now, pace_word_of(r), attempts);
}

/* ---- fixed limits -------------------------------------------------------------------------------
 */

/* KumoMTA's shipped shaping (August 2026): connections by provider, 100 messages a second, and its
 * default automation: a message a minute by one connection for 90 minutes after a block. */
static const unsigned fixed_sessions[LIKE_MAX_] = {
    [LIKE_DEFAULT] = 10, [LIKE_GOOGLE] = 5, [LIKE_YAHOO] = 10,   [LIKE_OUTLOOK] = 5,
    [LIKE_APPLE] = 10,   [LIKE_ORANGE] = 2, [LIKE_COMCAST] = 25, [LIKE_GMX] = 4,
};
#define FIXED_RATE      100.0
#define FIXED_CUT_RATE  (1.0 / 60)
#define FIXED_CUT       (90 * 60 * NS_PER_S)
#define FIXED_RETRY     (20 * 60 * NS_PER_S)
#define FIXED_DOUBLINGS 10u

struct fixed {
    unsigned sessions;
    uint64_t cut_until, next_at;
};

static void
fixed_init(void *self, const struct wind_provider_conf *c, uint64_t now)
{
    *(struct fixed *)self = (struct fixed){.sessions = fixed_sessions[c->like], .next_at = now};
}

static bool
fixed_take(void *self, uint64_t now, unsigned active, uint64_t *ret_at)
{
    struct fixed *f = self;
    bool is_cut = now < f->cut_until;

    if (active >= (is_cut ? 1 : f->sessions)) {
        *ret_at = UINT64_MAX;
        return false;
    }
    if (now < f->next_at) {
        *ret_at = f->next_at;
        return false;
    }
    f->next_at = now + (uint64_t)((double)NS_PER_S / (is_cut ? FIXED_CUT_RATE : FIXED_RATE));
    return true;
}

static void
fixed_told(void *self, uint64_t now, uint64_t begun, unsigned active, enum wind_reply r)
{
    (void)begun;
    (void)active;
    if (r == WIND_BLOCKED)
        ((struct fixed *)self)->cut_until = now + FIXED_CUT;
}

static uint64_t
fixed_gap(void *self, uint64_t now, enum wind_reply r, unsigned attempts)
{
    (void)self;
    (void)now;
    (void)r;
    return FIXED_RETRY << MIN(attempts, FIXED_DOUBLINGS);
}

/* ---- Postfix ------------------------------------------------------------------------------------
 */

#define POSTFIX_INITIAL 5.0
#define POSTFIX_LIMIT   20.0
#define POSTFIX_BACKOFF (300 * NS_PER_S)
#define POSTFIX_MOST    (4000 * NS_PER_S)

struct postfix {
    double window;
    double failed_cohorts;
    uint64_t dead_until;
};

static void
postfix_init(void *self, const struct wind_provider_conf *c, uint64_t now)
{
    (void)c;
    (void)now;
    *(struct postfix *)self = (struct postfix){.window = POSTFIX_INITIAL};
}

static bool
postfix_take(void *self, uint64_t now, unsigned active, uint64_t *ret_at)
{
    struct postfix *p = self;

    *ret_at = now < p->dead_until ? p->dead_until : UINT64_MAX;
    return now >= p->dead_until && active < (unsigned)p->window;
}

/* Feedback 1/window either way; a pseudo-cohort of failures makes the destination dead. */
static void
postfix_told(void *self, uint64_t now, uint64_t begun, unsigned active, enum wind_reply r)
{
    struct postfix *p = self;

    (void)begun;
    (void)active;
    if (r != WIND_AWAY && r != WIND_BLOCKED && r != WIND_SESSIONS) {
        p->failed_cohorts = 0;
        p->window = MIN(p->window + 1 / p->window, POSTFIX_LIMIT);
        return;
    }
    p->failed_cohorts += 1 / p->window;
    p->window = MAX(p->window - 1 / p->window, 1.0);
    if (p->failed_cohorts >= 1 && now >= p->dead_until) {
        p->dead_until = now + POSTFIX_BACKOFF;
        p->window = POSTFIX_INITIAL;
        p->failed_cohorts = 0;
    }
}

static uint64_t
postfix_gap(void *self, uint64_t now, enum wind_reply r, unsigned attempts)
{
    (void)self;
    (void)now;
    (void)r;
    return MIN(POSTFIX_BACKOFF << MIN(attempts, 8u), POSTFIX_MOST);
}

const struct wind_law wind_laws[] = {
    {"ours", sizeof(struct pace), ours_init, ours_take, ours_told, ours_gap},
    {"fixed", sizeof(struct fixed), fixed_init, fixed_take, fixed_told, fixed_gap},
    {"postfix", sizeof(struct postfix), postfix_init, postfix_take, postfix_told, postfix_gap},
};
const size_t wind_nlaws = ARRAY_LEN(wind_laws);
