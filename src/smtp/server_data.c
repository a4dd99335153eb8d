/*
 * smtp/server_data.c - DATA and BDAT: the body on its way to ops.body, and its end.
 *
 * What the engine itself refuses (size, loop, line ends, header) is found here while the bytes
 * pass; from then on they are thrown away, and the reply comes where the protocol has room for it.
 */
#include <inttypes.h>

#include "core/err.h"
#include "smtp/server_inner.h"

#define CHUNK_DIGITS_MAX 20u         /* RFC 3030 2 */
#define THROWN_EXTRA     (16u << 20) /* beyond twice the largest message */

static const struct smtp_refusal need_mail = {503, "5.5.1", "Say MAIL first"};
static const struct smtp_refusal no_rcpts = {554, "5.5.1", "No valid recipients"};
static const struct smtp_refusal need_rcpt = {503, "5.5.1", "No valid recipients"};
static const struct smtp_refusal mixed = {503, "5.5.1", "BDAT has begun; DATA may not come behind"};
static const struct smtp_refusal no_arg = {501, "5.5.4", "DATA takes no argument"};
static const struct smtp_refusal not_offered = {502, "5.5.1", "CHUNKING is not offered"};
static const struct smtp_refusal bdat_form = {
    501, "5.5.4", "The form is BDAT size [LAST]; nobody can tell where this chunk ends: closing"};
static const struct smtp_refusal too_big = {552, "5.3.4", "Message is larger than is taken here"};
static const struct smtp_refusal loop = {554, "5.4.6", "Mail loop: too many Received fields"};
static const struct smtp_refusal bare = {554, "5.6.0",
                                         "Bare CR or LF in the message; lines end in CRLF"};
static const struct smtp_refusal header = {552, "5.3.4", "Message header is too long"};
static const struct smtp_refusal not_binary = {503, "5.5.1", "BODY=BINARYMIME goes by BDAT"};
static const struct smtp_refusal bare_header = {
    554, "5.6.0", "Bare CR or LF in the header; its lines end in CRLF, whatever the body holds"};
static const struct smtp_refusal said = {0, NULL, NULL}; /* ops.data has given the reply */

const struct smtp_refusal *
smtp_may_data(struct smtp_server *s, struct str arg)
{
    if (!s->txn)
        return &need_mail;
    if (s->txn->bdat)
        return &mixed;
    if (s->txn->binary)
        return &not_binary;
    if (arg.n)
        return &no_arg;
    if (!s->txn->accepted)
        return s->conf->lmtp ? &need_rcpt : &no_rcpts; /* RFC 2033 4.2 */
    return NULL;
}

const struct smtp_refusal *
smtp_may_bdat(struct smtp_server *s, struct str arg)
{
    (void)arg;
    if (!(s->conf->offer & SMTP_EXT_CHUNKING))
        return &not_offered;
    if (!s->txn)
        return &need_mail;
    return s->txn->accepted ? NULL : &need_rcpt;
}

/* What the engine has against the message so far. */
static const struct smtp_refusal *
judge(const struct smtp_server *s)
{
    const struct smtp_server_conf *c = s->conf;
    const struct smtp_txn *t = s->txn;

    if (c->bare_refuse && t->framer.bare)
        return &bare;
    if (c->max_size && t->body_bytes > c->max_size)
        return &too_big;
    if (c->max_received && t->scan.received > c->max_received)
        return &loop;
    if (c->max_header && t->scan.bytes > c->max_header)
        return &header;
    return NULL;
}

/* Content that is refused is read to its end, so that the reply is seen; but not for ever. */
static void
throw_away(struct smtp_server *s, size_t n, const struct smtp_refusal *r)
{
    uint64_t max = s->conf->max_size;

    s->thrown += n;
    if (!max || s->thrown <= 2 * max + THROWN_EXTRA || s->state == SMTP_CLOSED)
        return;
    if (!r->code)
        r = &too_big;
    if (s->txn)
        smtp_tell_refused(s, "DATA", r, STR_NONE);
    smtp_say(s, r);
    smtp_hang_up(s);
}

/* Of octets that nobody puts into lines: the header must have some all the same. */
static bool
header_lines_ok(struct smtp_txn *t, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((p[i] == '\n') != t->last_cr)
            return false;
        t->last_cr = p[i] == '\r';
    }
    return true;
}

/* The framer's sink. */
static void
pass_on(void *ctx, const char *p, size_t n)
{
    struct smtp_server *s = ctx;
    struct smtp_txn *t = s->txn;
    uint64_t header;

    if (t->refusal) {
        throw_away(s, n, t->refusal);
        return;
    }
    if (s->state == SMTP_CLOSED)
        return;
    t->body_bytes += n;
    header = t->scan.bytes;
    header_scan_feed(&t->scan, p, n);
    t->refusal = judge(s);
    if (!t->refusal && t->binary && !header_lines_ok(t, p, MIN(n, t->scan.bytes - header)))
        t->refusal = &bare_header;
    if (!t->refusal)
        s->ops->body(s->ctx, p, n);
    else if (s->ops->body_void)
        s->ops->body_void(s->ctx);
}

static void
open_body(struct smtp_server *s, bool dots)
{
    header_scan_init(&s->txn->scan);
    smtp_framer_init(&s->txn->framer, dots, pass_on, s);
}

/* The whole body is here. */
static void
end_body(struct smtp_server *s)
{
    struct smtp_txn *t = s->txn;
    unsigned replies = s->conf->lmtp ? t->accepted : 1;

    if (!t->refusal)
        t->refusal = judge(s);
    if (!t->refusal) {
        t->replies_due = replies;
        smtp_owe(s, OWES_END);
        s->ops->data_end(s->ctx, &t->scan);
        return;
    }
    smtp_tell_refused(s, "DATA", t->refusal, STR_NONE);
    while (replies--)
        smtp_say(s, t->refusal);
    smtp_txn_end(s);
}

void
smtp_replied_end(struct smtp_server *s, int code)
{
    if (code / 100 == 2)
        s->errors = s->idle = s->put_off = 0;
    if (--s->txn->replies_due)
        smtp_owe(s, OWES_END);
    else
        smtp_txn_end(s);
}

void
smtp_do_data(struct smtp_server *s, struct str arg)
{
    (void)arg;
    smtp_owe(s, OWES_DATA);
    s->ops->data(s->ctx);
}

void
smtp_replied_data(struct smtp_server *s, int code)
{
    if (code / 100 != 3)
        return;
    open_body(s, true);
    smtp_to(s, SMTP_DATA);
}

size_t
smtp_body_data(struct smtp_server *s, const char *p, size_t n)
{
    size_t used = smtp_framer_feed(&s->txn->framer, p, n);

    if (s->txn->framer.ended && s->state == SMTP_DATA)
        end_body(s);
    return used;
}

/* The chunk's octets are all here. */
static void
end_chunk(struct smtp_server *s)
{
    const struct smtp_refusal *r = s->chunk_refusal;

    s->chunk_refusal = NULL;
    smtp_to(s, !s->txn            ? (s->greeted ? SMTP_READY : SMTP_GREETED)
               : s->txn->accepted ? SMTP_RCPT
                                  : SMTP_MAIL);
    if (!r && s->chunk_last) {
        if (!s->txn->binary)
            smtp_framer_finish(&s->txn->framer);
        end_body(s);
        return;
    }
    if (!r)
        r = s->txn->refusal;
    if (!r) {
        char text[48];

        smtp_say_text(s, 250, "2.0.0",
                      str_of(text, str_fmt(text, sizeof(text), "%" PRIu64 " octets received",
                                           s->chunk_size)));
        return;
    }
    if (r->code && s->txn && s->txn->bdat)
        smtp_tell_refused(s, "DATA", r, STR_NONE);
    if (r->code)
        smtp_say(s, r);
    if (s->txn && s->txn->bdat)
        smtp_txn_end(s); /* a message that misses a chunk is none */
}

static void
begin_chunk(struct smtp_server *s)
{
    s->chunk_left = s->chunk_size;
    smtp_to(s, SMTP_BDAT);
    if (!s->chunk_left)
        end_chunk(s);
}

size_t
smtp_body_bdat(struct smtp_server *s, const char *p, size_t n)
{
    if (n > s->chunk_left)
        n = (size_t)s->chunk_left;
    if (!s->chunk_refusal && s->txn->binary)
        pass_on(s, p, n);
    else if (!s->chunk_refusal)
        smtp_framer_feed(&s->txn->framer, p, n);
    else
        throw_away(s, n, s->chunk_refusal);
    s->chunk_left -= n;
    if (!s->chunk_left && s->state == SMTP_BDAT)
        end_chunk(s);
    return n;
}

/* "size [LAST]" into the session. */
static bool
read_bdat(struct smtp_server *s, struct str arg)
{
    struct str size = str_word(&arg), last = str_word(&arg);

    if (!size.n || size.n > CHUNK_DIGITS_MAX || size.p[0] < '0' || size.p[0] > '9' ||
        str_u64(size, &s->chunk_size) < 0)
        return false;
    s->chunk_last = last.n > 0;
    return !arg.n && (!last.n || str_ieq(last, STR("LAST")));
}

void
smtp_bdat_refused(struct smtp_server *s, struct str arg, const struct smtp_refusal *r)
{
    if (!read_bdat(s, arg)) { /* its octets must not be read as commands */
        smtp_tell_refused(s, s->txn ? "DATA" : "CONNECT", &bdat_form, STR_NONE);
        smtp_say(s, &bdat_form);
        smtp_hang_up(s);
        return;
    }
    s->chunk_refusal = r;
    begin_chunk(s);
}

void
smtp_do_bdat(struct smtp_server *s, struct str arg)
{
    struct smtp_txn *t = s->txn;
    uint64_t max = s->conf->max_size;

    if (!read_bdat(s, arg)) {
        smtp_bdat_refused(s, arg, NULL);
        return;
    }
    if (max && (s->chunk_size > max || t->body_bytes > max - s->chunk_size)) {
        t->bdat = true;
        smtp_bdat_refused(s, arg, &too_big);
        return;
    }
    if (t->bdat) {
        begin_chunk(s);
        return;
    }
    t->bdat = true;
    smtp_owe(s, OWES_BDAT);
    s->ops->data(s->ctx);
}

bool
smtp_bdat_may_go_on(struct smtp_server *s, int code)
{
    if (code / 100 == 2 || code / 100 == 3) {
        open_body(s, false);
        begin_chunk(s);
        return true;
    }
    return false;
}

void
smtp_replied_bdat(struct smtp_server *s, int code)
{
    (void)code;
    s->chunk_refusal = &said;
    begin_chunk(s);
}
