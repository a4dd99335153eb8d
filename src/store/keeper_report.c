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
#define GONE_MOST 20u /* at a time: each may have many records */

struct keeper_reports {
    struct keeper *keeper;
    struct loop_timer look;
    bool soon; /* the look is on its way: no report puts it off */
};

static void
on_look(void *ctx)
{
    struct keeper_reports *x = ctx;
    struct keeper *k = x->keeper;
    const struct settings_reports *conf = settings_reports(k->conf);
    struct why why = {{0}};
    unsigned gone = 0;

    if (conf) {
        struct reports_law law = {
            .now = clock_wall_s(), .keep = conf->keep / NS_PER_S, .records = conf->keep_records};

        if (reports_expire(k->store, &law, GONE_MOST, &gone, &why) < 0)
            keeper_problem(k,
                           "old reports cannot be taken out of the store: %s; they stay, and it is "
                           "tried again in an hour",
                           why.text);
    }
    x->soon = gone > 0;
    loop_timer_set(&x->look, gone ? LOOK_SOON : LOOK);
}

int
keeper_reports_create(struct keeper *k)
{
    struct keeper_reports *x = calloc(1, sizeof(*x));

    if (!x)
        return ERR_NOMEM;
    x->keeper = k;
    loop_timer_init(&x->look, k->links.loop, on_look, x);
    loop_timer_set(&x->look, LOOK_SOON);
    k->reports = x;
    return 0;
}

void
keeper_reports_free(struct keeper *k)
{
    if (k->reports)
        loop_timer_stop(&k->reports->look);
    free(k->reports);
    k->reports = NULL;
}

static void
answer(struct chan *to, uint64_t id, const struct reports_kept *kept, const char *text)
{
    struct buf b;

    buf_init(&b, CHAN_BODY_MAX);
    put_u8(&b, (uint8_t)kept->said);
    put_u64(&b, kept->number);
    put_str(&b, str_c(text));
    /* a full channel loses the answer: the asker's timeout makes it "later" */
    (void)chan_send(to, ASK_KEEP_ANSWER, id, &b, -1);
    buf_done(&b);
}

/* What failed for now, and what will fail again. */
static void
not_kept(struct keeper *k, struct chan *from, uint64_t id, int err, const struct why *why)
{
    struct reports_kept kept = {.said = err == ERR_CORRUPT ? KEEP_REFUSED : KEEP_LATER};

    if (kept.said == KEEP_LATER)
        keeper_problem(k, "a report cannot be kept: %s; its mail is safe, and it is tried again",
                       why->text);
    answer(from, id, &kept, why->text[0] ? why->text : err_text(err));
}

static bool
is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & SEALS) == SEALS;
}

void
keeper_report(struct keeper *k, struct chan *from, uint64_t id, int fd)
{
    CLEANUP(fd_close) int own = fd;
    struct reports_kept kept = {.said = KEEP_LATER};
    struct why why = {{0}};
    struct stat st;
    char text[64];
    void *base;
    int r;

    if (own < 0 || !is_sealed(own) || fstat(own, &st) < 0 || st.st_size < 1 ||
        st.st_size > (off_t)REPORT_WIRE_MAX) {
        (void)why_set(&why, ERR_CORRUPT, "what the scan role handed over is not of its form");
        not_kept(k, from, id, ERR_CORRUPT, &why);
        return;
    }
    base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, own, 0);
    r = base == MAP_FAILED ? why_set(&why, -errno, "no memory to read it") : 0;
    if (r == 0) {
        r = reports_keep(k->store, str_of(base, (size_t)st.st_size), &kept, &why);
        munmap(base, (size_t)st.st_size);
    }
    if (r < 0) {
        not_kept(k, from, id, r, &why);
        return;
    }
    str_fmt(text, sizeof(text), "%s",
            kept.replaced ? "in place of one whose sender was not proved" : "");
    answer(from, id, &kept, text);
    if (k->reports->soon)
        return;
    k->reports->soon = true;
    loop_timer_set(&k->reports->look, LOOK_KEPT);
}
