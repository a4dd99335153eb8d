/*
 * gate/front.c - the beginning of a message: its header as it came, what is taken out of it, and
 * our own fields in front.
 *
 * Called by session_data.c when the whole header is here (view), and when the message is about to
 * go into the log (write). Signatures are verified over the header as it came; what is stored lacks
 * the fields that only we may write.
 */
#include "gate/inner.h"
#include "gate/session.h"

#include "core/clock.h"
#include "gate/received.h"
#include "store/keys.h"

/* Date and Message-ID are added for those who submit (RFC 6409 8), for nobody else. */
static void
front_missing(struct tx *tx, struct str id)
{
    struct buf *out = &tx->body.front;

    if (!tx->may_relay)
        return;
    if (!tx->has_date) {
        buf_str(out, STR("Date: "));
        buf_str(out, gate_date(tx->gate, tx->received / NS_PER_S));
        buf_str(out, STR("\r\n"));
    }
    if (!tx->has_message_id) {
        tx->message_id = arena_fmt(&tx->arena, "<%.*s@%.*s>", STR_ARG(id),
                                   STR_ARG(tx->session->setup->main->hostname));
        buf_str(out, STR("Message-ID: "));
        buf_str(out, tx->message_id);
        buf_str(out, STR("\r\n"));
    }
}

/* The TLS of the session, kept for Received and for the event, which may come after the stream. */
static void
front_tls(struct tx *tx)
{
    struct tls_info tls;

    if (!session_tls(tx->session, &tls))
        return;
    tx->tls_version = arena_str(&tx->arena, str_c(tls.version));
    tx->tls_cipher = arena_str(&tx->arena, str_c(tls.cipher));
    tx->tls_peer = arena_str(&tx->arena, str_c(tls.peer_name));
    tx->tls_peer_hash = arena_str(&tx->arena, str_c(tls.peer_hash));
}

/* Does a foreign field in our name leave this message? Always, whatever is verified here: who reads
 * it behind us takes it for ours. Trusted networks may hand on what other gates of ours have
 * written. */
static bool
front_filters(const struct tx *tx)
{
    const struct session *s = tx->session;

    return s->setup->auth && !s->facts.trusted;
}

static bool
front_wants_header(const struct tx *tx)
{
    const struct session *s = tx->session;

    if (front_filters(tx) || s->facts.user.n)
        return true;
    if (!s->facts.trusted) /* settings without the block `verify` */
        return s->setup->header_any;
    return s->setup->header_all ||
           (s->setup->header_keys && s->gate->snapshot && keys_any(s->gate->snapshot));
}

/* Takes away the lines at the top that begin with white space: they would continue our own field,
 * and say in it what we did not. True if all that is held went: more may follow, so a blank line
 * must end our header. */
static bool
front_unfold(struct body *b)
{
    bool inside = false;

    for (struct block *k = b->first; k; k = k->next) {
        uint32_t at = 0;

        while (at < k->n && (inside || k->bytes[at] == ' ' || k->bytes[at] == '\t')) {
            const char *nl = memchr(k->bytes + at, '\n', k->n - at);

            inside = !nl;
            at = nl ? (uint32_t)(nl - k->bytes) + 1 : k->n;
        }
        k->n -= at;
        memmove(k->bytes, k->bytes + at, k->n);
        b->held -= at;
        b->size -= at;
        if (k->n)
            return false;
    }
    return b->first;
}

void
front_feed(struct tx *tx, size_t skip)
{
    if (!auth_evidence_wants_body(&tx->auth) && !tx->returned.keys)
        return;
    for (const struct block *k = tx->body.first; k; k = k->next) {
        size_t from = MIN(skip, (size_t)k->n);

        skip -= from;
        auth_evidence_body(&tx->auth, k->bytes + from, k->n - from);
        returned_feed(&tx->returned, k->bytes + from, k->n - from);
    }
}

void
front_view(struct tx *tx, bool keep)
{
    struct session *s = tx->session;
    struct str header;

    if (tx->viewed) {
        front_feed(tx, 0);
        return;
    }
    tx->viewed = true;
    tx->emptied = front_unfold(&tx->body);
    if (!keep && !front_wants_header(tx))
        return;
    header = body_header(&tx->body, &tx->arena, s->setup->smtp->max_header);
    if (keep && header.n && header.p == tx->body.first->bytes) /* its block is about to leave */
        header = arena_str(&tx->arena, header);
    tx->header = header;
    body_beside(&tx->body, &tx->gate->blocks, tx->arena.used);
    if (keep && header.n > BODY_HEADER_SHORT && block_pool_short(&tx->gate->blocks))
        tx->status = ERR_NOMEM;
    else if (!header.p || (tx->auth.common && auth_evidence_header(&tx->auth, header) < 0))
        tx->status = ERR_NOMEM;
    else
        front_feed(tx, header.n);
}

/* The header without what only we may write, in place of the one in the blocks. */
static void
front_filter(struct tx *tx)
{
    const struct auth_common *auth = tx->session->setup->auth;
    struct body *b = &tx->body;
    struct buf kept;
    unsigned removed;

    if (!tx->header.n || !front_filters(tx) ||
        !(tx->auth.fed ? tx->auth.foreign : auth_evidence_foreign(tx->header)))
        return;
    buf_init(&kept, tx->header.n);
    if (authres_filter(tx->header, auth->ids, auth->nids, &kept, &removed) < 0)
        tx->status = ERR_NOMEM;
    if (tx->status == 0 && removed) {
        b->header = arena_copy(&tx->arena, kept.p ? kept.p : "", kept.n);
        b->header_n = (uint32_t)kept.n;
        b->skip = (uint32_t)tx->header.n;
        b->size -= tx->header.n - kept.n;
        tx->removed = removed;
        if (!b->header)
            tx->status = ERR_NOMEM;
    }
    buf_done(&kept);
}

/* Authentication-Results. Strangers' texts stand in it, and only mail of SMTPUTF8 may have such
 * bytes in a header. */
static void
front_authentication(struct tx *tx, struct buf *out)
{
    struct authres list __attribute__((uninitialized));
    const struct stage_facts *facts = &tx->session->facts;
    size_t from = out->n;
    char ip[48];

    auth_evidence_results(&tx->auth, &list);
    if (facts->client_name.n)
        authres_add_iprev(&list, STR("pass"), addr_show(&facts->client.addr, ip),
                          facts->client_name);
    authres_write(out, &list);
    if (out->failed || tx->utf8 || str_is_ascii(str_sub(buf_view(out), from, out->n - from)))
        return;
    for (size_t i = from; i < out->n; i++) {
        if ((unsigned char)out->p[i] > 126)
            out->p[i] = '?';
    }
}

void
front_results(struct tx *tx, bool must)
{
    struct buf *out = &tx->body.front;
    size_t from = out->n;

    if (tx->auth.common)
        front_authentication(tx, out);
    judge_fields(tx, out, must && !tx->auth.common);
    if (out->failed)
        tx->status = ERR_NOMEM;
    tx->body.size += out->n - from;
}

void
front_write(struct tx *tx)
{
    struct session *s = tx->session;
    struct stage_facts *facts = &s->facts;
    char id[SPOOL_ID_TEXT], tag[RETURNED_TAG];
    struct received r = {
        .helo = facts->helo,
        .client_name = facts->client_name,
        .client = facts->client.addr,
        .local = str_c(s->uid),
        .hostname = s->setup->main->hostname,
        .rcpt = tx->nrcpt == 1 ? tx->first_rcpt : STR_NONE,
        .esmtp = facts->esmtp,
        .utf8 = tx->utf8,
        .auth = facts->user.n > 0,
        .priority = tx->priority,
    };
    size_t from = tx->body.front.n;

    if (tx->body.fronted || tx->body.chunked)
        return;
    if (facts->tls)
        front_tls(tx);
    r.id = str_c(spool_id_show(&tx->variants[0].id, id));
    if (tx->may_relay && !tx->sender.null && setup_returns(s->setup) &&
        returned_tag(&tx->gate->returns, &tx->variants[0].id, tx->sender_key,
                     tx->received / NS_PER_S, tag))
        r.tag = str_c(tag);
    r.date = gate_date(tx->gate, tx->received / NS_PER_S);
    r.tls_version = tx->tls_version;
    r.tls_cipher = tx->tls_cipher;
    front_filter(tx);
    received_write(&tx->body.front, &r);
    front_missing(tx, r.id);
    if (tx->emptied)
        buf_c(&tx->body.front, "\r\n");
    if (tx->body.front.failed) {
        tx->status = ERR_NOMEM;
        return;
    }
    tx->body.fronted = true;
    tx->body.size += tx->body.front.n - from;
}
