/*
 * courier/bounce.c - reports to senders (RFC 3461, 3464), written as messages of our own stream.
 *
 * Called by outcome. The backscatter law: a report goes only to a sender that logged in or whose
 * domain was authenticated; never for the null sender. A report is added to the log before the
 * outcome that it tells of, so that a crash may double it and cannot lose it. It always fits a
 * batch of the log: recipients that do not fit one report go into the next, and a large original is
 * told by its header.
 */
#include "core/event.h"
#include "courier/age.h"
#include "courier/intake.h"
#include "courier/outcome.h"
#include "courier/outs.h"
#include "mail/dsn_write.h"

#define BOUNCE_RCPTS 1000u
#define BOUNCE_TEXT  (1u << 20) /* on recipients, in one report */
#define BOUNCE_REPLY 900u       /* of what a server said */
#define BOUNCE_ARENA (8u << 20)
#define BOUNCE_TO    32u /* whom one report goes to, where the sender is an alias of many */

struct bounce {
    struct dsn dsn;
    struct dsn_rcpt *rcpts;
    size_t nrcpt, text; /* bytes that they take at most */
    struct arena arena;
    struct buf original;
    bool eight_bit, utf8, read;
    uint32_t message;
    const struct letter *letter;
    enum bounce_kind kind;
    struct out *last; /* report that was written */
};

/* Most bytes of the original, and of what is said of recipients: together they fit a record. */
static size_t
original_max(const struct courier *c)
{
    uint64_t room = spool_writer_max(c->links.writer) / 2;

    return (size_t)MIN(MAX(c->delivery->dsn_max_original, DELIVERY_REPORT_HEADER), room);
}

static size_t
text_max(const struct courier *c)
{
    uint64_t room = spool_writer_max(c->links.writer),
             used = original_max(c) + DELIVERY_REPORT_HEAD;

    return (size_t)MIN(BOUNCE_TEXT, room > used ? room - used : 0);
}

/* What a recipient adds to a report at most: each text stands in two parts, and is folded. */
static size_t
rcpt_bytes(const struct spool_rcpt *rcpt, const struct attempt *a, const struct result *r)
{
    size_t host = a->host ? MIN(strlen(a->host), 255) : 0;
    size_t text = MIN(r->text.n, BOUNCE_REPLY) + 100;

    return 512 + rcpt->orcpt.n + 2 * (rcpt->address.n + host + text) * 5 / 4;
}

/* Does this recipient want a report of that kind? Without NOTIFY failures and delays are told. */
static bool
wants(enum bounce_kind kind, uint8_t notify)
{
    if (notify & SPOOL_NOTIFY_NEVER)
        return false;
    if (kind == BOUNCE_SUCCESS)
        return (notify & SPOOL_NOTIFY_SUCCESS) != 0;
    if (notify == 0 || kind == BOUNCE_TRACE) /* RFC 2852: all but NEVER */
        return true;
    return (notify & (kind == BOUNCE_FAILED ? SPOOL_NOTIFY_FAILURE : SPOOL_NOTIFY_DELAY)) != 0;
}

/* The time that its sender set is over (RFC 2852). */
static bool
is_late(const struct courier *c, uint32_t message, const struct letter *l)
{
    const struct index_message *m = index_message(&c->index, message);

    return l->env.by_mode &&
           courier_wall(c) / NS_PER_S >= age_stamp(m, &l->env, l->env.deliver_by) / NS_PER_S;
}

static void
status_fill(char dst[12], enum bounce_kind kind, const struct result *r, bool late)
{
    unsigned class = kind == BOUNCE_FAILED ? 5 : kind == BOUNCE_DELAYED ? 4 : 2;

    if (r->result == SPOOL_EXPIRED || (kind == BOUNCE_DELAYED && late))
        str_fmt(dst, 12, r->result == SPOOL_EXPIRED && late ? "5.4.7" : "4.4.7");
    else if (r->enhanced[0])
        str_fmt(dst, 12, "%u.%u.%u", class, MIN(r->enhanced[1], 999u), MIN(r->enhanced[2], 999u));
    else
        str_fmt(dst, 12, "%u.0.0", class);
}

static const char *
reason_of(enum bounce_kind kind, const struct attempt *a, const struct result *r, bool late)
{
    if (kind == BOUNCE_TRACE)
        return "handed on to the next host";
    if (kind == BOUNCE_DELAYED && late)
        return "not delivered within the time that was asked for; it is still tried";
    if (r->result == SPOOL_EXPIRED && late)
        return "not delivered within the time that was asked for";
    if (kind == BOUNCE_SUCCESS)
        return a->final ? "delivered to the mailbox"
                        : "handed on to a host that sends no reports: there will be no other";
    if (kind == BOUNCE_DELAYED)
        return "not delivered yet; it is still tried, you need not send it again";
    return r->result == SPOOL_EXPIRED ? "the time for delivery is over" : "the message was refused";
}

static void
rcpt_fill(struct bounce *b, enum bounce_kind kind, const struct spool_rcpt *from,
          const struct attempt *a, const struct result *r, uint64_t until, bool late)
{
    struct dsn_rcpt *d = &b->rcpts[b->nrcpt++];
    char code[32];

    *d = (struct dsn_rcpt){
        .address = from->address,
        .orcpt = from->orcpt,
        .action = kind == BOUNCE_FAILED    ? DSN_FAILED
                  : kind == BOUNCE_DELAYED ? DSN_DELAYED
                  : a->final               ? DSN_DELIVERED
                                           : DSN_RELAYED,
        .reason = str_c(reason_of(kind, a, r, late)),
        .last_attempt = clock_wall_s(),
        .will_retry_until = until / NS_PER_S,
    };
    status_fill(d->status, kind, r, late);
    if (a->peer && a->peer->port && a->host)
        d->remote_mta = str_c(a->host);
    if (r->code && a->peer) {
        if (r->enhanced[0])
            str_fmt(code, sizeof code, "%u %u.%u.%u", r->code, r->enhanced[0], r->enhanced[1],
                    r->enhanced[2]);
        else
            str_fmt(code, sizeof code, "%u", r->code);
        d->diagnostic =
            arena_fmt(&b->arena, "%s %.*s", code, STR_ARG(str_sub(r->text, 0, BOUNCE_REPLY)));
    } else if (r->text.n) {
        d->reason = arena_fmt(&b->arena, "%s: %.*s", reason_of(kind, a, r, late),
                              STR_ARG(str_sub(r->text, 0, BOUNCE_REPLY)));
    }
    if (!str_is_ascii(from->address) || !str_is_ascii(from->orcpt))
        b->utf8 = true;
}

/* The original's bytes: all of it if it is small and wanted, else its header. */
static void
original_read(struct courier *c, struct bounce *b, const struct letter *l)
{
    size_t most = original_max(c);
    /* A report may go in clear text: of mail that may not, the header alone (RFC 8689 5). */
    bool whole =
        b->kind == BOUNCE_FAILED && !(l->env.flags & (SPOOL_MAIL_BINARY | SPOOL_MAIL_REQUIRETLS)) &&
        l->env.ret != SPOOL_RET_HDRS && l->env.size <= MIN(c->delivery->dsn_max_original, most);
    size_t max = whole ? most : MIN(DELIVERY_REPORT_HEADER, most);
    struct body body;
    struct str piece;
    ssize_t end;

    if (b->read) /* by the report before this one */
        return;
    b->read = true;
    buf_init(&b->original, max);
    letter_body_init(&body, c);
    if (letter_body_open(&body, b->message, l) == 0) {
        while (b->original.n < max && letter_body_pull(&body, &piece) == 0 && piece.n) {
            buf_str(&b->original, str_sub(piece, 0, max - b->original.n));
            if (!whole && str_find(buf_view(&b->original), STR("\r\n\r\n")) >= 0)
                break;
        }
    }
    letter_body_done(&body);
    if (!whole) {
        end = str_find(buf_view(&b->original), STR("\r\n\r\n"));
        if (end >= 0)
            b->original.n = (size_t)end + 2;
    }
    b->dsn.original = buf_view(&b->original);
    b->dsn.original_whole = whole;
    b->eight_bit = !str_is_ascii(b->dsn.original);
    end = str_find(b->dsn.original, STR("\r\n\r\n"));
    b->dsn.original_utf8 =
        (l->env.flags & SPOOL_MAIL_UTF8) &&
        !str_is_ascii(end < 0 ? b->dsn.original : str_sub(b->dsn.original, 0, (size_t)end));
}

static void
bounce_durable(struct out *o, int status)
{
    struct intake_own own = {
        .type = SPOOL_MESSAGE,
        .seq = o->o.seq,
        .loc = o->o.loc,
        .body_loc = o->o.body_loc,
        .generation = o->o.generation,
        .payload = buf_view(&o->payload),
        .record_len = (uint32_t)SPOOL_RECORD_SIZE(o->payload.n),
        .body_len = o->o.body_len,
        .body_crc = o->o.body_crc,
    };

    if (status == 0)
        intake_own_message(o->c, &own);
    out_give(o);
}

/* The sender, or whom the gate found behind him. */
static uint32_t
bounce_to(const struct letter *l, struct spool_rcpt to[BOUNCE_TO])
{
    struct str rest = l->env.report_to;
    uint32_t n = 0;

    while (rest.n && n < BOUNCE_TO) {
        struct str one = str_cut(rest, '\0', &rest);
        if (one.n)
            to[n++] = (struct spool_rcpt){.address = one};
    }
    if (n == 0)
        to[n++] = (struct spool_rcpt){.address = l->env.sender};
    return n;
}

/* Writes the report as a message of class SYSTEM with the null sender. */
static bool
bounce_write(struct courier *c, struct bounce *b, const struct letter *l)
{
    size_t max = spool_writer_max(c->links.writer) - DELIVERY_REPORT_HEAD / 2;
    struct spool_id id = {c->links.node, c->own_epoch, spool_writer_seq(c->links.writer)};
    struct out *o = out_take(c, SPOOL_MESSAGE);
    struct spool_rcpt to[BOUNCE_TO];
    uint32_t nto = bounce_to(l, to);
    struct spool_envelope env = {.id = id,
                                 .class = SPOOL_CLASS_SYSTEM,
                                 .tenant = TENANT_SYSTEM,
                                 .received = clock_wall(),
                                 .nrcpt = nto,
                                 .settings = c->conf->generation};
    char text[SPOOL_ID_TEXT], original[SPOOL_ID_TEXT];

    if (!o)
        return false;
    original_read(c, b, l);
    spool_id_show(&id, text);
    b->dsn.reporting_mta = c->main->hostname;
    b->dsn.from = arena_fmt(&b->arena, "Mail Delivery System <mailer-daemon@%.*s>",
                            STR_ARG(c->main->hostname));
    b->dsn.to = nto == 1 ? to[0].address : l->env.sender;
    b->dsn.envid = l->env.envid;
    b->dsn.id = str_c(spool_id_show(&l->env.id, original));
    b->dsn.message_id = arena_fmt(&b->arena, "<%s@%.*s>", text, STR_ARG(c->main->hostname));
    b->dsn.arrival = l->env.received / NS_PER_S;
    b->dsn.deliver_by = l->env.by_mode ? l->env.deliver_by / NS_PER_S : 0;
    b->dsn.now = clock_wall_s();
    b->dsn.rcpts = b->rcpts;
    b->dsn.nrcpt = b->nrcpt;
    b->dsn.utf8 = b->utf8 || !str_is_ascii(b->dsn.to);
    for (uint32_t i = 0; i < nto; i++)
        b->dsn.utf8 = b->dsn.utf8 || !str_is_ascii(to[i].address);
    dsn_write(&o->body, &b->dsn);
    if (o->body.n > max) { /* never, by what was counted: then without the original */
        b->dsn.original = STR_NONE;
        b->dsn.original_whole = false;
        buf_clear(&o->body);
        dsn_write(&o->body, &b->dsn);
    }
    env.size = o->body.n;
    env.message_id = b->dsn.message_id;
    if (b->eight_bit || b->dsn.utf8)
        env.flags |= SPOOL_MAIL_8BIT;
    if (b->dsn.utf8)
        env.flags |= SPOOL_MAIL_UTF8;
    spool_envelope_encode(&o->payload, &env, to, NULL);
    o->o.seq = id.seq;
    o->durable = bounce_durable;
    if (out_add(o) < 0) {
        out_give(o);
        return false;
    }
    b->last = o;
    return true;
}

/* Writes what is gathered; the next recipients begin another report. */
static bool
bounce_flush(struct courier *c, struct bounce *b, const struct letter *l)
{
    bool gathering = c->bounce == b, done;

    if (gathering)
        outs_open_first(c);
    done = bounce_write(c, b, l);
    if (gathering)
        outs_hold(c);
    arena_done(&b->arena);
    arena_init(&b->arena, BOUNCE_ARENA);
    b->rcpts = NULL;
    b->nrcpt = b->text = 0;
    b->utf8 = false;
    return done;
}

static void
bounce_done(struct bounce *b)
{
    if (b->read)
        buf_done(&b->original);
    arena_done(&b->arena);
}

static bool
rcpts_room(struct bounce *b)
{
    if (!b->rcpts)
        b->rcpts = arena_array(&b->arena, sizeof *b->rcpts, BOUNCE_RCPTS);
    return b->rcpts != NULL;
}

/* Gathers the recipients that want a report; false: out of memory. */
static bool
bounce_gather(struct courier *c, struct bounce *b, const struct letter *l, const uint32_t *rows,
              uint32_t n, const struct attempt *a, const struct result *r, uint64_t until)
{
    struct letter_walk w = letter_seek(l, n ? index_row(&c->index, rows[0])->ordinal : 0);
    struct spool_rcpt rcpt;
    uint32_t ordinal, i = 0;
    size_t max = text_max(c), bytes;

    while (i < n && letter_next(l, &w, &ordinal, &rcpt) == 1) {
        if (index_row(&c->index, rows[i])->ordinal != ordinal)
            continue;
        i++;
        if (!wants(b->kind, rcpt.notify))
            continue;
        bytes = rcpt_bytes(&rcpt, a, r);
        if (b->nrcpt > 0 && (b->nrcpt == BOUNCE_RCPTS || b->text + bytes > max) &&
            !bounce_flush(c, b, l))
            return false;
        if (!rcpts_room(b))
            return false;
        b->text += bytes;
        rcpt_fill(b, b->kind, &rcpt, a, r, age_clock(c, until), is_late(c, b->message, l));
    }
    return true;
}

static bool
may_tell(const struct letter *l)
{
    return (l->env.flags & (SPOOL_MAIL_DSN_OK | SPOOL_MAIL_SUBMITTED)) != 0;
}

/* Does one of these recipients want to be told of? */
static bool
any_wants(struct courier *c, enum bounce_kind kind, const struct letter *l, const uint32_t *rows,
          uint32_t n)
{
    struct letter_walk w = letter_seek(l, n ? index_row(&c->index, rows[0])->ordinal : 0);
    struct spool_rcpt rcpt;
    uint32_t ordinal, i = 0;

    while (i < n && letter_next(l, &w, &ordinal, &rcpt) == 1) {
        if (index_row(&c->index, rows[i])->ordinal != ordinal)
            continue;
        i++;
        if (wants(kind, rcpt.notify))
            return true;
    }
    return false;
}

static bool
bounce_make(struct courier *c, enum bounce_kind kind, uint32_t message, const struct letter *l,
            const uint32_t *rows, uint32_t n, const struct attempt *a, const struct result *r,
            uint64_t until)
{
    struct bounce b = {.message = message, .kind = kind};
    bool done;

    if (l->env.sender.n == 0 || !any_wants(c, kind, l, rows, n))
        return true; /* nobody to tell, or nobody who asked */
    if (!may_tell(l))
        return false; /* backscatter law */
    if (c->bounce && c->bounce->message == message && kind == BOUNCE_FAILED)
        return bounce_gather(c, c->bounce, l, rows, n, a, r, until);
    arena_init(&b.arena, BOUNCE_ARENA);
    done = bounce_gather(c, &b, l, rows, n, a, r, until);
    if (done && b.nrcpt > 0)
        done = bounce_write(c, &b, l);
    bounce_done(&b);
    if (done)
        c->report = b.last;
    return done;
}

void
bounce_begin(struct courier *c, uint32_t message, const struct letter *l)
{
    struct bounce *b = calloc(1, sizeof *b);

    if (!b)
        return; /* then each failure has its own report */
    arena_init(&b->arena, BOUNCE_ARENA);
    b->message = message;
    b->letter = l;
    b->kind = BOUNCE_FAILED;
    c->bounce = b;
    outs_hold(c);
}

void
bounce_end(struct courier *c)
{
    struct bounce *b = c->bounce;

    if (!b)
        return;
    c->bounce = NULL;
    c->report = NULL;
    outs_open_first(c);
    if (b->nrcpt > 0 && !bounce_write(c, b, b->letter))
        event_alarm("no memory for a report to a sender; its recipients' outcomes are recorded "
                    "and in the events");
    outs_release(c, b->last);
    bounce_done(b);
    free(b);
}

bool
bounce_rows(struct courier *c, enum bounce_kind kind, uint32_t message, const uint32_t *rows,
            uint32_t n, const struct attempt *a, const struct result *r, uint64_t until)
{
    struct letter own;
    bool done;

    if (a->letter && kind == BOUNCE_SUCCESS && !letter_wants(a->letter, SPOOL_NOTIFY_SUCCESS))
        return true; /* as nearly always */
    if (a->letter && a->letter->bytes.n)
        return bounce_make(c, kind, message, a->letter, rows, n, a, r, until);
    letter_init(&own);
    done = letter_load(c, message, &own) == 0 &&
           bounce_make(c, kind, message, &own, rows, n, a, r, until);
    letter_done(&own);
    return done;
}
