/*
 * courier/report.c - the event of an attempt, with the fields that KumoMTA's log records have.
 *
 * Called by outcome for every group of recipients that shares an answer. One line for the group:
 * `recipient` is the first address, `recipients` lists all when there are more.
 */
#include "core/crc32c.h"
#include "core/event.h"
#include "courier/age.h"
#include "courier/outcome.h"

#define REPORT_RCPTS 200u

/* The letter of the attempt, or the message read again into `own`. NULL: cannot be read. */
static const struct letter *
report_letter(struct courier *c, uint32_t message, const struct attempt *a, struct letter *own)
{
    if (a->letter)
        return a->letter->bytes.n ? a->letter : NULL;
    letter_init(own);
    return letter_load(c, message, own) == 0 ? own : NULL;
}

static void
report_rcpts(struct event *e, const struct courier *c, const struct letter *l, const uint32_t *rows,
             uint32_t n)
{
    struct letter_walk w = letter_seek(l, n ? index_row(&c->index, rows[0])->ordinal : 0);
    struct spool_rcpt r;
    uint32_t ordinal, i = 0;
    bool listing = false;

    while (i < MIN(n, REPORT_RCPTS) && letter_next(l, &w, &ordinal, &r) == 1) {
        if (index_row(&c->index, rows[i])->ordinal != ordinal)
            continue;
        if (i == 0)
            event_text(e, "recipient", r.address);
        if (i == 0 && n > 1) {
            event_u64(e, "recipient_count", n);
            event_array(e, "recipients");
            listing = true;
        }
        if (listing)
            event_text(e, "", r.address);
        i++;
    }
    if (listing)
        event_end(e);
}

static void
report_response(struct event *e, const struct attempt *a, const struct result *r)
{
    char enhanced[24];

    event_object(e, "response");
    event_u64(e, "code", r->code);
    if (r->enhanced[0]) {
        str_fmt(enhanced, sizeof enhanced, "%u.%u.%u", r->enhanced[0], r->enhanced[1],
                r->enhanced[2]);
        event_c(e, "enhanced_code", enhanced);
    }
    event_text(e, "content", r->text);
    if (a->command && a->command[0])
        event_c(e, "command", a->command);
    event_end(e);
}

static void
report_peer(struct event *e, const struct attempt *a)
{
    char text[56];

    if (!a->peer || !a->host)
        return;
    event_object(e, "peer_address");
    event_c(e, "name", a->host);
    if (a->peer->port)
        event_c(e, "addr", addr_show(&a->peer->addr, text));
    event_end(e);
    if (a->local && a->local->port)
        event_c(e, "source_address", endpoint_show(a->local, text));
}

static void
report_signatures(struct event *e, const struct attempt *a)
{
    struct str rest = str_c(a->signed_by), key;

    if (str_starts(rest, STR("arc="))) {
        event_text(e, "arc", str_from(rest, 4));
    } else if (rest.n) {
        event_array(e, "dkim");
        while ((key = str_word(&rest)).n)
            event_text(e, "", key);
        event_end(e);
    }
    if (a->unsigned_why)
        event_c(e, a->forwarded ? "arc_none" : "dkim_none", a->unsigned_why);
}

static void
report_letter_fields(struct event *e, const struct letter *l)
{
    event_text(e, "sender", l->env.sender);
    event_u64(e, "size", l->env.size);
    if (l->env.message_id.n)
        event_text(e, "message_id", l->env.message_id);
    if (l->env.user.n)
        event_text(e, "user", l->env.user);
}

/* What it means, and, where a reply said so, how we know and what should follow. */
static void
report_class(struct event *e, const char *type, const struct result *r)
{
    if (r->class == REPLY_CLASS_DELIVERED && strcmp(type, "Delivery") != 0)
        return; /* an operator's doing: nobody answered */
    event_c(e, "bounce_classification", reply_class_name(r->class));
    if (r->confidence == 0)
        return;
    event_c(e, "bounce_type", r->hard ? "hard" : "soft");
    event_c(e, "bounce_scope", reply_scope_name(r->scope));
    event_u64(e, "bounce_confidence", r->confidence);
    event_text(e, "bounce_pattern", r->pattern);
    if (r->advice.suppress)
        event_c(e, "suppress", reply_scope_name(r->advice.suppress));
    if (r->advice.suppress && r->advice.suppress_s != REPLY_FOREVER)
        event_u64(e, "suppress_seconds", r->advice.suppress_s);
}

/* As session_plan.c takes it: the route's pool, else the tenant's. */
static const char *
report_pool(const struct courier *c, const struct index_message *m, const struct attempt *a)
{
    uint32_t pool = c->sources.tenants[m->tenant].pool;

    if (a->pool && a->pool[0])
        return a->pool;
    return pool == POOL_NONE ? "default" : c->sources.pools[pool].name;
}

void
report_event(struct courier *c, const char *type, uint32_t message, const uint32_t *rows,
             uint32_t n, const struct attempt *a, const struct result *r)
{
    const struct index_message *m = index_message(&c->index, message);
    const struct index_row *row = index_row(&c->index, rows[0]);
    const struct index_dest *d = index_dest(&c->index, row->dest);
    struct spool_id id = courier_id(c, m);
    struct letter own = {0};
    const struct letter *l = report_letter(c, message, a, &own);
    struct event *e;
    uint8_t bytes[16];

    spool_id_bytes(&id, bytes);
    e = event_open(type);
    event_id(e, "id", bytes);
    if (l) {
        report_letter_fields(e, l);
        report_rcpts(e, c, l, rows, n);
    }
    event_text(e, "queue", index_dest_domain(d));
    if (a->site)
        event_c(e, "site", a->site);
    report_response(e, a, r);
    report_peer(e, a);
    event_u64(e, "created", m->received);
    event_u64(e, "num_attempts", row->attempts);
    report_class(e, type, r);
    event_c(e, "tenant", c->sources.tenants[m->tenant].name);
    if (a->source) {
        event_c(e, "egress_pool", report_pool(c, m, a));
        event_c(e, "egress_source", a->source->name);
    }
    if (a->tls) {
        event_c(e, "tls_protocol_version", a->tls->version);
        event_c(e, "tls_cipher", a->tls->cipher);
        event_c(e, "tls_peer_subject_name", a->tls->peer_name);
        event_bool(e, "tls_verified", a->tls->verified);
    }
    report_signatures(e, a);
    if (a->session)
        event_u64(e, "session_id", a->session);
    if (r->due)
        event_u64(e, "next_due", age_clock(c, r->due) / NS_PER_S); /* as the record has it */
    event_send(e);
    letter_done(&own);
}
