/*
 * store/keeper_report.c - received reports come from the scan role, and stay for their time.
 *
 * Called by the keeper's role with messages. Takes what another role says of strangers' bytes from
 * a sealed memfd, bounded; parses no mail.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "store/keeper_inner.h"
#include "store/reports.h"
#include "store/settings_reports.h"

#define SEALS     (F_SEAL_WRITE | F_SEAL_SHRINK)
#define LOOK      (3600 * NS_PER_S)
#define LOOK_KEPT NS_PER_S
#define LOOK_SOON (NS_PER_S / 10)
#define SOME_ROWS 2000u /* in one go, some hundredths of a second: others have their turn then */
#define WAITING   8u    /* as many as the scan role asks about */
#define ALARM_GAP (60 * NS_PER_S)

struct incoming {
    struct chan *from; /* NULL: who asked is gone */
    uint64_t id;
    int fd;
};
struct keeper_reports {
    struct keeper *keeper;
    struct loop_timer look;
    struct loop_call go;
    bool soon; /* the look is on its way: no report puts it off */
    struct incoming waiting[WAITING];
    unsigned nwaiting;
    struct incoming now; /* that is being written; fd -1: none */
    struct reports_write *write;
    struct reports_kept kept;
    void *base;
    size_t size;
    uint64_t alarm_at, unsaid; /* mono ns; since then */
    uint64_t wall0, mono0;     /* at our start: a clock that jumps makes no report old */
};

/* --- old ones --- */

static void
on_look(void *ctx)
{
    struct keeper_reports *x = ctx;
    struct keeper *k = x->keeper;
    const struct settings_reports *conf = settings_reports(k->conf);
    struct why why = {{0}};
    bool more = false;

    if (conf) {
        struct reports_law law = {.now = (x->wall0 + clock_mono() - x->mono0) / NS_PER_S,
                                  .keep = conf->keep / NS_PER_S,
                                  .records = conf->keep_records,
                                  .being_written = reports_number(x->write),
                                  .most = SOME_ROWS};

        if (reports_expire(k->store, &law, &more, &why) < 0)
            keeper_problem(k,
                           "old reports cannot be taken out of the store: %s; they stay, and it is "
                           "tried again in an hour",
                           why.text);
    }
    x->soon = more;
    loop_timer_set(&x->look, more ? LOOK_SOON : LOOK);
}

static void
look_soon(struct keeper_reports *x)
{
    if (x->soon)
        return;
    x->soon = true;
    loop_timer_set(&x->look, LOOK_KEPT);
}

/* --- new ones --- */

static void
answer(const struct incoming *to, const struct reports_kept *kept, const char *text)
{
    struct buf b;

    if (!to->from)
        return;
    buf_init(&b, CHAN_BODY_MAX);
    put_u8(&b, (uint8_t)kept->said);
    put_u64(&b, kept->number);
    put_str(&b, str_c(text));
    /* a full channel loses the answer: the asker's timeout makes it "later" */
    (void)chan_send(to->from, ASK_KEEP_ANSWER, to->id, &b, -1);
    buf_done(&b);
}

/* A store that takes nothing refuses each report of each try: one alarm a minute says so. */
static void
tell_problem(struct keeper_reports *x, const char *why)
{
    uint64_t now = clock_mono();

    if (x->alarm_at && now - x->alarm_at < ALARM_GAP) {
        x->unsaid++;
        return;
    }
    if (x->unsaid)
        keeper_problem(x->keeper,
                       "a report (and %llu others before it) cannot be kept: %s; their mail is "
                       "safe, and they are tried again",
                       (unsigned long long)x->unsaid, why);
    else
        keeper_problem(x->keeper,
                       "a report cannot be kept: %s; its mail is safe, and it is tried again", why);
    x->alarm_at = now;
    x->unsaid = 0;
}

/* What failed for now, and what will fail again. */
static void
not_kept(struct keeper_reports *x, const struct incoming *to, int err, const struct why *why)
{
    struct reports_kept kept = {.said = err == ERR_SYNTAX ? KEEP_REFUSED : KEEP_LATER};
    const char *text = why->text[0] ? why->text : err_text(err);

    if (kept.said == KEEP_LATER)
        tell_problem(x, text);
    answer(to, &kept, text);
}

static void
let_go(struct keeper_reports *x)
{
    reports_write_free(x->write);
    x->write = NULL;
    if (x->base)
        munmap(x->base, x->size);
    x->base = NULL;
    fd_close(&x->now.fd);
}

static void
kept(struct keeper_reports *x)
{
    char text[64];

    str_fmt(text, sizeof(text), "%s",
            x->kept.replaced ? "in place of one whose sender was not proved" : "");
    answer(&x->now, &x->kept, text);
    look_soon(x);
}

/* The next piece of the one that is being written. True: there is more of it. */
static bool
write_some(struct keeper_reports *x)
{
    struct why why = {{0}};
    int r = reports_go(x->write, SOME_ROWS, &why);

    if (r == 1)
        return true;
    if (r == 0) {
        kept(x);
    } else {
        not_kept(x, &x->now, r, &why);
        look_soon(x); /* what was written of it goes */
    }
    return false;
}

static bool
is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & SEALS) == SEALS;
}

static int
map_bytes(struct keeper_reports *x, struct why *why)
{
    struct stat st;

    if (!is_sealed(x->now.fd) || fstat(x->now.fd, &st) < 0 || st.st_size < 1 ||
        st.st_size > (off_t)REPORT_WIRE_MAX)
        return why_set(why, ERR_SYNTAX, "what the scan role handed over is not of its form");
    x->size = (size_t)st.st_size;
    x->base = mmap(NULL, x->size, PROT_READ, MAP_SHARED, x->now.fd, 0);
    if (x->base != MAP_FAILED)
        return 0;
    x->base = NULL;
    return why_set(why, -errno, "no memory to read it");
}

/* Takes up the first that waits. True: there is more of it to write. */
static bool
write_next(struct keeper_reports *x)
{
    struct why why = {{0}};
    int r;

    x->now = x->waiting[0];
    x->nwaiting--;
    memmove(x->waiting, x->waiting + 1, x->nwaiting * sizeof(x->waiting[0]));
    r = map_bytes(x, &why);
    if (r == 0)
        r = reports_begin(x->keeper->store, str_of(x->base, x->size), &x->write, &x->kept, &why);
    if (r == 1)
        return write_some(x);
    if (r == 0)
        kept(x);
    else
        not_kept(x, &x->now, r, &why);
    return false;
}

static void
on_go(void *ctx)
{
    struct keeper_reports *x = ctx;
    bool more = x->write ? write_some(x) : x->nwaiting > 0 && write_next(x);

    if (!more)
        let_go(x);
    if (more || x->nwaiting)
        loop_defer_next(x->keeper->links.loop, &x->go);
}

void
keeper_report(struct keeper *k, struct chan *from, uint64_t id, int fd)
{
    struct keeper_reports *x = k->reports;
    struct incoming in = {from, id, fd};
    struct reports_kept later = {.said = KEEP_LATER};

    if (x->nwaiting == WAITING) {
        answer(&in, &later, "others are being written; it is tried again");
        fd_close(&in.fd);
        return;
    }
    x->waiting[x->nwaiting++] = in;
    if (x->write || x->nwaiting > 1)
        return; /* its turn comes */
    on_go(x);
}

/* Who asked has ended, and the one after it counts its questions anew. */
void
keeper_reports_lost(struct keeper *k, const struct chan *from)
{
    struct keeper_reports *x = k->reports;

    if (x->now.from == from)
        x->now.from = NULL;
    for (unsigned i = 0; i < x->nwaiting; i++)
        if (x->waiting[i].from == from)
            x->waiting[i].from = NULL;
}

/* --- */

int
keeper_reports_create(struct keeper *k)
{
    struct keeper_reports *x = calloc(1, sizeof(*x));

    if (!x)
        return ERR_NOMEM;
    x->keeper = k;
    x->now.fd = -1;
    x->wall0 = clock_wall();
    x->mono0 = clock_mono();
    x->go = (struct loop_call){.fn = on_go, .ctx = x};
    loop_timer_init(&x->look, k->links.loop, on_look, x);
    loop_timer_set(&x->look, LOOK_SOON);
    k->reports = x;
    return 0;
}

void
keeper_reports_free(struct keeper *k)
{
    struct keeper_reports *x = k->reports;

    if (!x)
        return;
    loop_timer_stop(&x->look);
    loop_call_cancel(k->links.loop, &x->go);
    let_go(x);
    while (x->nwaiting)
        fd_close(&x->waiting[--x->nwaiting].fd);
    free(x);
    k->reports = NULL;
}
