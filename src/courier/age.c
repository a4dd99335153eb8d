/*
 * courier/age.c - how old mail is, whatever the clock of the machine does.
 *
 * Called by intake, and by all that ends mail for its age. The law: age counts by the steady clock
 * (courier_wall: the wall clock at our start, and what passed since), and the stamps of gates are
 * moved over to it where the wall clock was set meanwhile. A start has only the wall clock to go
 * by, and that may be wrong for a while. So mail that was there before is over only if the clock
 * still says so now, and either it was tried often, or this run has had it for some hours (its
 * whole life, if that is shorter). Times that a sender set himself (m->expires) are moved over in
 * the same way, and are the clock's alone at a start. What is written down goes by the clock as it
 * is set then.
 */
#include "courier/age.h"

#include "core/event.h"

#define SET_BY     (300 * NS_PER_S) /* less is no setting: clocks are trimmed */
#define TRIES      8u
#define HAD        (UINT64_C(4) * 3600 * NS_PER_S)
#define DAY        (UINT64_C(86400) * NS_PER_S)
#define SANE       (UINT64_C(1735689600) * NS_PER_S) /* 2025: before it no clock was right */
#define LOG_BEHIND (300 * NS_PER_S)                  /* no slip of a few seconds */
#define FAR        ((uint64_t)INT64_MAX / 2)         /* no clock says that */

uint32_t
age_received(const struct courier *c, const struct spool_envelope *env)
{
    uint64_t now = courier_wall(c), at = MIN(env->received, FAR);

    if (at < SANE && now >= SANE)
        return (uint32_t)(now / NS_PER_S);
    at = (uint64_t)MAX((int64_t)at + c->clock_behind, 0);
    return (uint32_t)(MIN(at, now + SET_BY) / NS_PER_S);
}

/* Less than a setting of the clock is none: a time that was told stays what it is. */
static uint64_t
moved_by(uint64_t at, int64_t by)
{
    if (at == 0 || at > FAR || (by < (int64_t)SET_BY && by > -(int64_t)SET_BY))
        return at;
    return (uint64_t)MAX((int64_t)at + by, 1);
}

uint64_t
age_stamp(const struct index_message *m, const struct spool_envelope *env, uint64_t at)
{
    return moved_by(at, (int64_t)(m->received * NS_PER_S) - (int64_t)MIN(env->received, FAR));
}

uint64_t
age_clock(const struct courier *c, uint64_t at)
{
    return moved_by(at, (int64_t)(clock_wall() - courier_wall(c)));
}

bool
age_is_over(const struct courier *c, const struct index_message *m, uint64_t end, unsigned attempts)
{
    uint64_t received = m->received * NS_PER_S, had = clock_mono() - c->mono0;

    if (courier_wall(c) < end)
        return false;
    if (m->expires || received > c->wall0)
        return true;
    if (clock_wall() < end)
        return false;
    return attempts >= TRIES || had >= MIN(HAD, end > received ? end - received : 0);
}

void
age_tick(struct courier *c)
{
    int64_t behind = (int64_t)(courier_wall(c) - clock_wall());
    int64_t step = behind - c->clock_behind;
    char by[32];

    if (step < (int64_t)SET_BY && step > -(int64_t)SET_BY)
        return;
    c->clock_behind = behind < (int64_t)SET_BY && behind > -(int64_t)SET_BY ? 0 : behind;
    event_warning(
        "the clock was set %s by %s while mail waits: no mail is returned for it, ages are "
        "counted by the time that passed; what is told of times is by the new clock after "
        "a restart of the courier",
        step > 0 ? "back" : "forward", str_show_duration((uint64_t)(step > 0 ? step : -step), by));
}

void
age_check(const struct courier *c)
{
    uint64_t now = courier_wall(c);
    char off[32];

    if (c->log_wall > now && c->log_wall - now > LOG_BEHIND)
        event_alarm("the clock is %s behind the newest record of the log: mail waits no longer "
                    "than was meant, but times that are told are wrong and old mail is kept too "
                    "long; set the clock, then restart",
                    str_show_duration(c->log_wall - now, off));
    if (c->log_wall && now > c->log_wall && now - c->log_wall > DAY && c->index.rows.count > 0)
        event_alarm(
            "the clock is %s ahead of the newest record of the log, and mail waits: if this "
            "machine was not off for so long, set the clock. Until then no mail is returned "
            "for its age before it was tried %u times or %u hours have passed",
            str_show_duration(now - c->log_wall, off), TRIES, (unsigned)(HAD / NS_PER_S / 3600));
}
