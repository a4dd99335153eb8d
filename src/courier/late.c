/*
 * courier/late.c - see courier/late.h.
 *
 * Called by its own timer. Never tries anything, never changes what waits but to end
 * it; one message is told of once, and a turn takes no more than its slice of the loop.
 */
#include "courier/late.h"

#include "courier/age.h"
#include "courier/deadline.h"
#include "courier/outcome.h"
#include "courier/retry.h"
#include "courier/site_way.h"

#define TICK       NS_PER_S
#define TICK_SOON  (50 * NS_PER_MS) /* there was more than a slice */
#define SLICE      (5 * NS_PER_MS)
#define ROWS_MAX   1024u /* of one report or outcome */
#define LOOK_LEAST 4096u /* rows that a turn looks at; all of them in some minutes */
#define LOOK_MOST  65536u
#define LOOK_PARTS 256u
#define SIBLINGS   4096u /* looked at for those that go the same way */
#define AGAIN_S    30u   /* a session had it just then */

struct late {
    uint32_t cursor;
    struct loop_timer timer;
};

/* --- telling --- */

static struct site *
row_site(const struct courier *c, const struct index_row *r)
{
    return index_dest(&c->index, r->dest)->site;
}

/* It waits for its turn, and nothing but that holds it. */
static bool
is_in_turn(const struct courier *c, const struct index_row *r)
{
    const struct site *s;

    if (r->state != ROW_READY || !index_lane(&c->index, r->due)->joined)
        return false;
    s = row_site(c, r);
    return s && !s->retired && s->kind == SITE_HOSTS;
}

static void
tell(struct courier *c, uint32_t message, const uint32_t *rows, uint32_t n, bool over)
{
    const struct index_message *m = index_message(&c->index, message);
    const struct index_dest *d = index_dest(&c->index, index_row(&c->index, rows[0])->dest);
    const struct site *s = d->site;
    struct attempt a = {.site = s ? s->name : NULL, .route_expire = s ? s->expire : 0};
    struct retry_message rm = {.received = m->received * NS_PER_S,
                               .expires = m->expires * NS_PER_S,
                               .route_expire = a.route_expire,
                               .class = m->class};
    struct result r = {
        .result = SPOOL_RETRY, .class = REPLY_CLASS_TEMPORARY, .enhanced = {4, 4, 7}};
    char why[400];

    dest_why(c, d, why, sizeof why);
    r.text = str_c(why);
    if (over) {
        for (uint32_t i = 0; i < n; i++)
            index_set(&c->index, rows[i], ROW_ACTIVE);
        outcome_rows(c, message, rows, n, &a, &r); /* finds that its time is over */
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        index_row(&c->index, rows[i])->flags |= ROW_WARNED;
    bounce_rows(c, BOUNCE_DELAYED, message, rows, n, &a, &r, retry_expiry(c->delivery, &rm));
    for (uint32_t i = 0; i < n; i++)
        outcome_told(c, rows[i]);
}

/* --- times that senders set --- */

/* Rows of the message that wait, in the order of their ordinals; *ret_busy: a session has some. */
static uint32_t
rows_waiting(const struct courier *c, const struct index_message *m, uint32_t *rows, bool *ret_busy)
{
    uint32_t n = 0;

    for (uint32_t at = m->rows; at != INDEX_NONE && n < ROWS_MAX;) {
        const struct index_row *r = index_row(&c->index, at);
        uint32_t row = at;
        at = r->sibling;
        *ret_busy = *ret_busy || r->state == ROW_ACTIVE;
        if ((r->state != ROW_READY && r->state != ROW_WAITING) || (r->flags & ROW_ASIDE))
            continue;
        if (m->notify && (r->flags & ROW_WARNED))
            continue;
        rows[n++] = row;
    }
    return n;
}

static void
entry_due(struct courier *c, struct deadline e)
{
    uint32_t rows[ROWS_MAX], n = 0;
    bool busy = false, notify;

    if (!deadline_is(c, &e))
        return;
    notify = index_message(&c->index, e.message)->notify;
    do {
        n = rows_waiting(c, index_message(&c->index, e.message), rows, &busy);
        if (n > 0)
            tell(c, e.message, rows, n, !notify);
    } while (n == ROWS_MAX && deadline_is(c, &e));
    if (!busy)
        return;
    e.by = (uint32_t)(courier_wall(c) / NS_PER_S) + AGAIN_S;
    deadlines_push(&c->deadlines, &e);
}

/* False: the slice is over. */
static bool
entries_run(struct courier *c, uint64_t until)
{
    uint64_t now = courier_wall(c) / NS_PER_S;
    struct deadline e;

    while (clock_mono() < until) {
        if (!deadlines_pop(&c->deadlines, now, &e))
            return true;
        entry_due(c, e);
    }
    return false;
}

/* --- times of the settings --- */

/* It was never tried, its site is not known to fail, and it has not waited long: it gets one try,
 * whatever held it before. */
static bool
is_owed_a_try(const struct courier *c, const struct index_row *r, const struct index_message *m)
{
    const struct index_lane *l = index_lane(&c->index, r->due);
    uint32_t now = courier_tick(c);
    uint64_t waited = (uint64_t)(now - MIN(l->since, now)) << TICK_SHIFT;

    return r->attempts == 0 && !m->expires && !m->unsigned_yet &&
           !site_blocked_for(row_site(c, r), c->sources.tenants[m->tenant].number, clock_mono()) &&
           waited < c->delivery->retry_max;
}

static bool
row_is_over(const struct courier *c, const struct index_row *r, const struct index_message *m)
{
    struct retry_message rm = {.received = m->received * NS_PER_S,
                               .expires = m->expires * NS_PER_S,
                               .route_expire = row_site(c, r)->expire,
                               .class = m->class};

    return age_is_over(c, m, retry_expiry(c->delivery, &rm), r->attempts) &&
           !is_owed_a_try(c, r, m);
}

static bool
row_is_late(const struct courier *c, const struct index_row *r, const struct index_message *m)
{
    return c->delivery->warn_after && !m->notify && !(r->flags & ROW_WARNED) &&
           (m->flags & SPOOL_MAIL_SUBMITTED) &&
           courier_wall(c) > m->received * NS_PER_S + c->delivery->warn_after;
}

/* The row, and those of the message behind it that are as late and go the same way; those before
 * it had their turn. No further than some: recipients at as many sites would be looked at by each
 * of them. */
static void
row_due(struct courier *c, uint32_t first, bool over)
{
    uint32_t message = index_row(&c->index, first)->message, rows[ROWS_MAX], n = 0, look = SIBLINGS;
    const struct index_message *m = index_message(&c->index, message);
    const struct site *s = row_site(c, index_row(&c->index, first));

    for (uint32_t at = first; at != INDEX_NONE && n < ROWS_MAX && look > 0; look--) {
        const struct index_row *r = index_row(&c->index, at);
        if (is_in_turn(c, r) && row_site(c, r) == s &&
            (over ? row_is_over(c, r, m) : row_is_late(c, r, m)))
            rows[n++] = at;
        at = r->sibling;
    }
    if (n > 0)
        tell(c, message, rows, n, over);
}

/* False: the slice is over. */
static bool
rows_look(struct courier *c, uint64_t until)
{
    struct late *l = c->late;
    uint32_t look = MIN(MAX(c->index.rows.next / LOOK_PARTS, LOOK_LEAST), LOOK_MOST);

    if (l->cursor >= c->index.rows.next)
        l->cursor = 0;
    for (; look > 0 && l->cursor < c->index.rows.next; look--) {
        const struct index_row *r = index_row(&c->index, l->cursor++);
        const struct index_message *m;
        bool over;
        if (!is_in_turn(c, r))
            continue;
        m = index_message(&c->index, r->message);
        over = row_is_over(c, r, m);
        if (!over && !row_is_late(c, r, m))
            continue;
        row_due(c, l->cursor - 1, over);
        if (clock_mono() >= until)
            return false;
    }
    return true;
}

static void
late_run(void *ctx)
{
    struct courier *c = ctx;
    uint64_t until = clock_mono() + SLICE;
    bool all;

    if (c->stopping)
        return;
    all = entries_run(c, until) && rows_look(c, until);
    loop_timer_set(&c->late->timer, all ? TICK : TICK_SOON);
}

/* --- */

struct late *
late_create(struct courier *c)
{
    struct late *l = calloc(1, sizeof *l);

    if (l)
        loop_timer_init(&l->timer, c->loop, late_run, c);
    return l;
}

void
late_free(struct courier *c)
{
    struct late *l = c->late;

    if (!l)
        return;
    loop_timer_stop(&l->timer);
    free(l);
    c->late = NULL;
}

void
late_opened(struct courier *c)
{
    loop_timer_set(&c->late->timer, TICK);
}
