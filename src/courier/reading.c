/*
 * courier/reading.c - mail that brings reports: one message at a time goes to the scan role, and
 * its word becomes the outcome.
 *
 * The gate writes such a recipient a further time, with the transport `reports`. That row goes
 * through the queue like any other: dest.c joins it to one site, plan calls here, the mail is
 * copied into a sealed memfd and asked about (ASK_READ). A reader that ends in the middle is a
 * failed try, and the row is due again by the law. Copies in pieces, so that other mail goes on;
 * looks into none of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/event.h"
#include "courier/fit.h"
#include "courier/session.h"
#include "courier/session_pick.h"
#include "store/asks.h"
#include "store/settings_reports.h"

#define ROWS_MAX   16u
#define TURN_BYTES (512u << 10)
#define WAIT       (120 * NS_PER_S) /* the largest report takes a second or two */
#define AWAY_GAP   NS_PER_S
#define BUSY_MOST  (600 * NS_PER_S) /* an answer that comes later than this does not come */
#define SUSPECTS   32u
#define ENDS_MOST  3u /* readers that one mail may cost */
#define SEALS      (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct suspect { /* a mail that the reader ended over */
    uint32_t epoch, ends;
    uint64_t seq;
};
struct reading {
    struct courier *c;
    struct chan_asks *asks;
    struct loop_call again;
    struct site *site; /* of the message in hand; NULL: none */
    struct letter letter;
    struct body body;
    int fd;
    uint64_t size, ask;
    uint32_t message, n, rows[ROWS_MAX];
    uint64_t busy_until; /* mono ns: the reader still has what it was asked before; 0: no */
    struct suspect suspects[SUSPECTS];
    unsigned nsuspects; /* ever; the oldest gives way */
};

static void reading_pieces(void *ctx);

struct reading *
reading_create(struct courier *c)
{
    struct reading *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->c = c;
    r->fd = -1;
    r->again = (struct loop_call){.fn = reading_pieces, .ctx = r};
    r->asks = chan_asks_create(c->loop, 1);
    if (!r->asks) {
        free(r);
        return NULL;
    }
    return r;
}

static void
reading_let_go(struct reading *r)
{
    loop_call_cancel(r->c->loop, &r->again);
    fd_close(&r->fd);
    letter_body_done(&r->body);
    letter_done(&r->letter);
}

void
reading_free(struct courier *c)
{
    struct reading *r = c->reading;

    if (!r)
        return;
    if (r->site) /* its rows are read again at the next start */
        reading_let_go(r);
    chan_asks_free(r->asks);
    free(r);
    c->reading = NULL;
}

/* The message in hand is over; the next one has its turn. */
static void
reading_next(struct reading *r)
{
    struct site *s = r->site;

    r->site = NULL;
    r->ask = 0;
    reading_let_go(r);
    s->sessions--;
    s->busy--;
    site_queue(s);
    site_release(s);
}

static void
reading_end(struct reading *r, const struct result *res)
{
    struct courier *c = r->c;
    struct site *s = r->site;
    struct attempt a = {.letter = &r->letter,
                        .site = s->name,
                        .command = REPORTS_VIA,
                        .tried = true,
                        .final = true};

    index_message(&c->index, r->message)->pins--;
    if (res->result == SPOOL_DELIVERED)
        s->delivered += r->n;
    else if (res->result == SPOOL_RETRY)
        s->deferred += r->n;
    outcome_rows(c, r->message, r->rows, r->n, &a, res);
    reading_next(r);
}

static void
reading_later(struct reading *r, struct str why)
{
    struct result res = {
        .result = SPOOL_RETRY, .class = REPLY_CLASS_HOST, .enhanced = {4, 3, 0}, .text = why};

    reading_end(r, &res);
}

/* The log did not give the mail: held if its bytes are damaged. */
static void
reading_failed(struct reading *r, int err)
{
    if (err != ERR_CORRUPT) {
        reading_later(r, STR("the log cannot be read now; it is tried again"));
        return;
    }
    index_message(&r->c->index, r->message)->pins--;
    outcome_unreadable(r->c, r->message, r->rows, r->n, err);
    reading_next(r);
}

/* What was not read stays in the log for a while, if the mail is nowhere else. */
static void
reading_unread(struct reading *r, bool bad, struct str text)
{
    struct result res = {.result = bad ? SPOOL_FAILED : SPOOL_DELIVERED,
                         .class = bad ? REPLY_CLASS_MALFORMED : REPLY_CLASS_DELIVERED,
                         .code = bad ? 554 : 250,
                         .enhanced = {bad ? 5 : 2, bad ? 6 : 0, 0},
                         .text = text};

    if (fit_only_read(r->c, r->rows, r->n, &r->letter)) {
        res.result = SPOOL_ASIDE;
        res.due = courier_wall(r->c) + r->c->delivery->expire;
    }
    reading_end(r, &res);
}

/* How many readers that mail has cost, this one included. */
static uint32_t
suspect_ends(struct reading *r)
{
    const struct index_message *m = index_message(&r->c->index, r->message);
    struct suspect *s;

    for (unsigned i = 0; i < MIN(r->nsuspects, SUSPECTS); i++) {
        s = &r->suspects[i];
        if (s->epoch == m->epoch && s->seq == m->seq)
            return ++s->ends;
    }
    r->suspects[r->nsuspects++ % SUSPECTS] = (struct suspect){m->epoch, 1, m->seq};
    return 1;
}

/* A mail that ends the reader each time would take it from all others for as long as it is tried.
 */
static void
reading_killed(struct reading *r)
{
    struct spool_id id = courier_id(r->c, index_message(&r->c->index, r->message));
    char text[SPOOL_ID_TEXT];

    if (suspect_ends(r) < ENDS_MOST) {
        reading_later(r, STR("the reader of reports ended meanwhile; it is tried again"));
        return;
    }
    event_alarm("the reader of reports (role scan) ended %u times over message %s, which is not "
                "read again. The mail is safe: it is delivered, or set aside in the queue; "
                "`gapura explain` tells where it is. Please send it to those who make Gapura",
                ENDS_MOST, spool_id_show(&id, text));
    reading_unread(r, true, STR("the reader of reports ended each time that it read this"));
}

static void
reading_said(void *ctx, int status, struct wire *body, int fd)
{
    struct reading *r = ctx;
    uint8_t said = wire_u8(body);
    struct str text = wire_str(body);

    fd_close(&fd);
    r->ask = 0;
    if (status == ERR_TIMEOUT) { /* the next one would wait behind it, and not be read in time */
        r->busy_until = clock_mono() + BUSY_MOST;
        reading_later(r, STR("the reader of reports did not answer in time; it is tried again"));
        return;
    }
    if (status < 0 || !wire_end(body)) {
        reading_killed(r);
        return;
    }
    if (said == READ_KEPT || said == READ_AGAIN) {
        struct result res = {.result = SPOOL_DELIVERED,
                             .class = REPLY_CLASS_DELIVERED,
                             .code = 250,
                             .enhanced = {2, 0, 0},
                             .text = text};
        reading_end(r, &res);
    } else if (said == READ_NONE || said == READ_BAD) {
        reading_unread(r, said == READ_BAD, text);
    } else {
        reading_later(r, text);
    }
}

static void
reading_ask(struct reading *r)
{
    const struct index_message *m = index_message(&r->c->index, r->message);
    struct spool_id id = courier_id(r->c, m);
    char text[SPOOL_ID_TEXT];
    struct buf b;
    int err = fcntl(r->fd, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;

    buf_init(&b, 256);
    put_str(&b, str_c(spool_id_show(&id, text)));
    put_u64(&b, r->letter.env.received / NS_PER_S);
    put_u64(&b, r->size);
    r->ask = err < 0 ? 0 : chan_ask_add(r->asks, WAIT, reading_said, r);
    if (err == 0)
        err = r->ask ? chan_send(r->c->links.scan, ASK_READ, r->ask, &b, r->fd) : ERR_LIMIT;
    buf_done(&b);
    if (err == 0) {
        fd_close(&r->fd);
        return;
    }
    chan_ask_cancel(r->asks, r->ask);
    reading_later(r, STR("the reader of reports cannot be asked now; it is tried again"));
}

static int
write_piece(struct reading *r, struct str piece)
{
    while (piece.n) {
        ssize_t put = write(r->fd, piece.p, piece.n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        piece = str_from(piece, (size_t)put);
        r->size += (uint64_t)put;
    }
    return 0;
}

static void
reading_pieces(void *ctx)
{
    struct reading *r = ctx;
    uint64_t until = r->size + TURN_BYTES;
    struct str piece = STR_NONE;
    int err;

    do {
        err = letter_body_pull(&r->body, &piece);
        if (err == 0 && piece.n == 0) {
            reading_ask(r);
            return;
        }
        if (err == 0 && write_piece(r, piece) < 0) {
            reading_later(r, STR("no memory to hand the mail to the reader of reports; it is tried "
                                 "again"));
            return;
        }
    } while (err == 0 && r->size < until);
    if (err == 0)
        loop_defer_next(r->c->loop, &r->again);
    else
        reading_failed(r, err);
}

/* Takes the site's next message, if there is one. */
static void
reading_take(struct reading *r, struct site *s)
{
    struct courier *c = r->c;
    int err;

    r->n = pick_rows(s, UINT32_MAX, r->rows, ROWS_MAX, &r->message);
    if (r->n == 0)
        return;
    letter_init(&r->letter);
    letter_body_init(&r->body, c);
    r->site = s;
    r->size = 0;
    index_message(&c->index, r->message)->pins++;
    s->sessions++;
    s->busy++;
    err = letter_load(c, r->message, &r->letter);
    if (err == 0)
        err = letter_body_open(&r->body, r->message, &r->letter);
    if (err == 0)
        r->fd = memfd_create("gapura-mail", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (err == 0 && r->fd >= 0)
        loop_defer(c->loop, &r->again);
    else
        reading_failed(r, err);
}

void
reading_run(struct site *s)
{
    struct reading *r = s->c->reading;

    if (r->site)
        return; /* its end queues the site again */
    if (!s->c->links.scan || !chan_open(s->c->links.scan)) {
        str_fmt(s->why, sizeof s->why, "the reader of reports (role scan) is not there");
        loop_timer_set(&s->timer, AWAY_GAP);
        return;
    }
    if (r->busy_until > clock_mono()) {
        str_fmt(s->why, sizeof s->why,
                "the reader of reports (role scan) is busy with a mail that it was given before");
        loop_timer_set(&s->timer, AWAY_GAP);
        return;
    }
    r->busy_until = 0;
    s->why[0] = '\0';
    reading_take(r, s);
}

void
reading_answer(struct courier *c, uint64_t id, struct wire *body)
{
    c->reading->busy_until = 0;
    chan_ask_answer(c->reading->asks, id, body, -1);
}

void
reading_lost(struct courier *c)
{
    c->reading->busy_until = 0;
    chan_asks_fail(c->reading->asks, ERR_CLOSED);
}
