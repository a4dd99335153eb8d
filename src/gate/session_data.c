/*
 * gate/session_data.c - DATA and BDAT: the body into blocks and chunks, the header's judgement, and
 * on to accept.c.
 *
 * Called by the engine with clean bytes. Stops reading the client while the log is behind; drops
 * what comes after a failure and answers with it at the end.
 */
#include "core/clock.h"
#include "core/metric.h"
#include "gate/inner.h"
#include "gate/session.h"
#include "store/keys.h"
#include "store/users.h"

/* What may come is a report that somebody else's server sends back to the one recipient: is it
 * about mail that he sent through us? */
static void
data_expect_report(struct session *s)
{
    struct tx *tx = s->tx;
    struct address to;
    char key[ADDRESS_MAX + 1];
    ssize_t n;

    tx->returned.keys = NULL;
    if (!tx->sender.null || !s->facts.auth || tx->nrcpt != 1 || !setup_returns(s->setup) ||
        address_parse(tx->first_rcpt, ADDRESS_ALLOW_UTF8, &to) < 0)
        return;
    n = address_key(&to, key, sizeof(key));
    if (n > 0)
        returned_begin(&tx->returned, &s->gate->returns, s->setup->main->hostname,
                       str_of(key, (size_t)n), tx->received / NS_PER_S,
                       setup_returns(s->setup) / NS_PER_S);
}

/* enum stage_returns */
static uint8_t
data_returns(const struct session *s)
{
    const struct tx *tx = s->tx;

    if (tx->nsrs && tx->nsrs == tx->nrcpt && tx->sender.null)
        return STAGE_RETURNS_OURS; /* the digest in the address says so */
    if (!tx->returned.keys)
        return STAGE_RETURNS_NOT;
    if (tx->returned.found)
        return STAGE_RETURNS_OURS;
    return tx->returned.keys->n ? STAGE_RETURNS_NOT : STAGE_RETURNS_UNKNOWN;
}

void
session_data(void *ctx)
{
    struct session *s = ctx;
    struct tx *tx = s->tx;

    tx->received = clock_wall();
    body_beside(&tx->body, &s->gate->blocks, tx->arena.used);
    for (unsigned i = 0; i < tx->nvariants; i++)
        tx->variants[i].id = (struct spool_id){.node = s->gate->node,
                                               .epoch = s->gate->epoch,
                                               .seq = spool_writer_seq(s->gate->links.writer)};
    data_expect_report(s);
    s->since = clock_mono();
    session_say(s, 354, NULL, "End data with <CRLF>.<CRLF>");
}

/* Bytes that may stand in memory before they go into the log. The first piece holds the whole
 * header (smtp.max_header is no more than BODY_WHOLE): what is missing there can be told then. */
static uint32_t
data_whole(const struct tx *tx)
{
    if (!block_pool_short(&tx->gate->blocks))
        return BODY_WHOLE;
    return tx->body.chunked || body_has_header(&tx->body) ? BLOCK_ROOM : BODY_HEADER_SHORT;
}

/* A header that does not end, while others have no memory left: clients who drip it could hold all
 * there is. */
static bool
data_hoards(const struct tx *tx)
{
    return tx->body.held >= BODY_HEADER_SHORT && !tx->body.chunked && !body_has_header(&tx->body) &&
           block_pool_short(&tx->gate->blocks);
}

/* Is so much of the message still on its way to the disk that the client has to wait? When memory
 * is short, any piece: each session goes on when its own piece is written. */
bool
tx_pauses(const struct tx *tx, uint64_t limit)
{
    if (block_pool_short(&tx->gate->blocks))
        limit = 1;
    return tx->pending_bytes >= limit;
}

/* A piece of a large message leaves. The header is kept, for the judgement at the end. */
static void
data_flush(struct session *s)
{
    struct tx *tx = s->tx;

    if (!tx->body.chunked) {
        struct header_field f;

        front_view(tx, true);
        tx->has_date = header_find(tx->header, STR("Date"), &f);
        tx->has_message_id = header_find(tx->header, STR("Message-ID"), &f);
        front_write(tx);
    } else {
        front_feed(tx, 0);
    }
    chunk_flush(tx);
    if (!s->paused && tx_pauses(tx, BODY_PENDING)) {
        s->paused = true;
        stream_pause(s->stream);
    }
}

void
session_body(void *ctx, const char *p, size_t n)
{
    struct session *s = ctx;
    struct tx *tx = s->tx;

    if (!tx)
        return;
    while (n && tx->status == 0) {
        uint32_t whole = data_whole(tx);
        size_t take = MIN(n, tx->body.held < whole ? whole - tx->body.held : 1u);

        if (!body_add(&tx->body, &s->gate->blocks, p, take) || data_hoards(tx)) {
            tx->status = ERR_NOMEM;
            break;
        }
        p += take;
        n -= take;
        if (tx->body.held >= whole)
            data_flush(s);
    }
    if (tx->status < 0)
        session_body_void(s);
}

/* Whatever still comes of it is not kept; what was kept until now need not wait for the end, which
 * is the client's to choose. */
void
session_body_void(void *ctx)
{
    struct session *s = ctx;

    if (s->tx)
        body_drop(&s->tx->body, &s->gate->blocks);
}

/* ---- the From field of those who submit ---- */

struct from_check {
    const struct session *s;
    struct user_rights rights;
    bool refused;
    char shown[ADDRESS_MAX + 1];
};

static int
from_mailbox(void *ctx, struct str mailbox)
{
    struct from_check *c = ctx;
    struct str entries = c->rights.from.n ? c->rights.from : c->rights.envelope;
    char key[ADDRESS_MAX + 1];
    struct address a;
    ssize_t n = ERR_SYNTAX;

    if (address_parse(mailbox, ADDRESS_ALLOW_UTF8, &a) == 0)
        n = address_key(&a, key, sizeof(key));
    if (n > 0 && user_may_use(entries, str_of(key, (size_t)n), c->s->facts.user))
        return 0;
    c->refused = true;
    str_fmt(c->shown, sizeof(c->shown), "%.*s", STR_ARG(mailbox));
    return 0;
}

/* Every mailbox of the one From field must be the login's to use. NULL if so. */
static const char *
from_refusal(const struct session *s, char *text, size_t cap)
{
    struct from_check c = {.s = s};
    struct header_field f;
    unsigned fields = 0;
    size_t at = 0;
    int rc, n = 0;

    session_rights(s, &c.rights);
    while ((rc = header_next(s->tx->header, &at, &f)) != 0) {
        if (rc < 0 || !str_ieq(f.name, STR("From")))
            continue;
        fields++;
        n = header_mailboxes(f.value, from_mailbox, &c);
        if (n <= 0)
            return "The From field does not hold an address";
    }
    if (fields != 1)
        return fields ? "The message has more than one From field"
                      : "The message has no From field";
    if (!c.refused)
        return NULL;
    str_fmt(text, cap, "%.*s may not write as <%s> in the From field; use your own address",
            STR_ARG(s->facts.user), c.shown);
    return text;
}

/* ---- the end ---- */

static void
data_refuse(struct session *s, int code, const char *enhanced, struct str text)
{
    metric_add(code < 500 ? METRIC_TEMPFAIL : METRIC_REFUSED_MSG, 1);
    report_refused(s, "DATA", code, enhanced, text, STR_NONE);
    session_reply(s, code, enhanced, "%.*s", STR_ARG(text));
}

void
session_data_end(void *ctx, const struct header_scan *scan)
{
    struct session *s = ctx;
    struct tx *tx = s->tx;
    char room[2 * ADDRESS_MAX + 128];
    const char *text;

    tx->eight_bit = scan->eight_bit;
    if (tx->inside_max && tx->body.size > tx->inside_max) {
        data_refuse(s, 552, "5.3.4", STR("The message is larger than a recipient's server takes"));
        return;
    }
    if (!tx->message_id.n && header_scan_message_id(scan).n)
        tx->message_id = arena_str(&tx->arena, header_scan_message_id(scan));
    if (tx->status == 0 && !tx->body.chunked) {
        tx->has_date = scan->has_date;
        tx->has_message_id = scan->has_message_id;
        front_view(tx, false);
    } else if (tx->status == 0) {
        front_feed(tx, 0);
    }
    if (tx->status == 0 && s->facts.user.n) {
        text = from_refusal(s, room, sizeof(room));
        if (text) {
            data_refuse(s, 550, "5.7.1", str_c(text));
            return;
        }
    }
    if (tx->status < 0) { /* not all of it was seen, by our own fault: nothing may be judged */
        accept_end(tx);
        return;
    }
    s->facts.header = tx->header;
    s->facts.rcpts_office = tx->noffice == tx->nrcpt;
    s->facts.rcpts_reports = tx->nreports && tx->noffice + tx->nreports == tx->nrcpt;
    s->facts.returns = data_returns(s);
    s->facts.tenant = tx->tenant;
    s->facts.keys = NULL;
    s->facts.dkim = conf_get(s->setup->conf, "dkim");
    if (tx->may_relay && s->gate->snapshot && keys_any(s->gate->snapshot))
        s->facts.keys = s->gate->snapshot; /* rows look there before this call returns */
    session_stage(s, SESSION_HEADER, &tx->verdict);
}

void
session_header_staged(struct session *s, const struct finding *f)
{
    if (f)
        data_refuse(s, f->code, f->enhanced, f->text);
    else
        session_stage(s, SESSION_BODY, &s->tx->verdict);
}

void
session_body_staged(struct session *s, const struct finding *f)
{
    struct judge_reply no;

    if (f)
        data_refuse(s, f->code, f->enhanced, f->text);
    else if (!judge_message(s->tx, &no))
        data_refuse(s, no.code, no.enhanced, str_c(no.text));
    else
        accept_end(s->tx);
}
