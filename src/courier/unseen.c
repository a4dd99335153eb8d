/*
 * courier/unseen.c - segment files whose header the disk does not give.
 *
 * Called by recover.c and follow.c with their listings. Whose such a file is nobody knows: mail of
 * a gate, or what we said of mail. So while there is one, nothing that was said of mail is let go
 * (intake_is_later, intake_caught_up), and when it can be read the courier starts anew: a start
 * reads all in the right order. Never opens anything but headers.
 */
#include "courier/unseen.h"

#include "core/event.h"
#include "courier/retry.h"

#define NAMES 4u /* in an Alarm */

struct unseen {
    uint64_t *numbers;
    size_t n;
    struct loop_timer timer;
    unsigned tries;
};

/* 1: it holds something that only a start reads; 0: it holds nothing; negative: not yet, as while
 * somebody has it away to mend it. */
static int
try_one(const struct courier *c, uint64_t number)
{
    int got = spool_header_try(c->links.spool_dir, number, NULL);
    char name[32];

    if (got == 1)
        event_notice("seg/%s can be read again: the courier starts anew to deliver what it holds",
                     spool_segment_name(number, name));
    return got;
}

static void
unseen_run(void *ctx)
{
    struct courier *c = ctx;
    struct unseen *u = c->unseen;
    bool anew = false;

    for (size_t i = 0; i < u->n && !anew;) {
        int got = try_one(c, u->numbers[i]);
        anew = got == 1;
        if (got == 0) {
            u->numbers[i] = u->numbers[--u->n];
            c->unread--;
        } else {
            i++;
        }
    }
    if (anew && c->links.restart)
        c->links.restart(c->links.restart_ctx);
    else if (u->n > 0)
        loop_timer_set(&u->timer, retry_disk(&u->tries));
}

struct unseen *
unseen_create(struct courier *c)
{
    struct unseen *u = calloc(1, sizeof *u);

    if (u)
        loop_timer_init(&u->timer, c->loop, unseen_run, c);
    return u;
}

void
unseen_free(struct unseen *u)
{
    if (!u)
        return;
    loop_timer_stop(&u->timer);
    free(u->numbers);
    free(u);
}

bool
unseen_any(const struct courier *c)
{
    return c->unseen->n > 0;
}

static bool
unseen_has(const struct unseen *u, uint64_t number)
{
    for (size_t i = 0; i < u->n; i++) {
        if (u->numbers[i] == number)
            return true;
    }
    return false;
}

static void
unseen_told(const struct unseen *u, size_t first, int err)
{
    char names[NAMES * 32] = "", name[32];
    size_t n = 0, fresh = u->n - first;

    for (size_t i = 0; i < MIN(fresh, (size_t)NAMES); i++)
        n += str_fmt(names + n, sizeof names - n, "%sseg/%s", i ? ", " : "",
                     spool_segment_name(u->numbers[first + i], name));
    event_alarm("the disk does not give the header of %zu segment files (%s%s: %s). Mail that they "
                "hold waits and all other is delivered; they are kept as they are, and read as "
                "soon as the disk gives them: mend it, or restore them. If one is of the courier's "
                "own stream, some mail may be sent twice meanwhile",
                fresh, names, fresh > NAMES ? " ..." : "", err_text(err));
}

int
unseen_note(struct courier *c, const struct spool_listing *l)
{
    struct unseen *u = c->unseen;
    size_t first = u->n;
    uint64_t *more;

    if (l->nunread == 0)
        return 0;
    more = reallocarray(u->numbers, u->n + l->nunread, sizeof *more);
    if (!more)
        return ERR_NOMEM;
    u->numbers = more;
    for (size_t i = 0; i < l->nunread; i++) {
        if (!unseen_has(u, l->unread[i].number)) {
            u->numbers[u->n++] = l->unread[i].number;
            c->unread++;
        }
    }
    if (u->n == first)
        return 0;
    unseen_told(u, first, l->unread[0].err);
    u->tries = 0;
    loop_timer_set(&u->timer, retry_disk(&u->tries));
    return 0;
}
