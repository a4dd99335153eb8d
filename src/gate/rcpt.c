/*
 * gate/rcpt.c - from the address in RCPT TO to the addresses that the message is for.
 *
 * Called by session_rcpt.c. In order: SRS bounces, our domains, aliases, postmaster, the recipient
 * itself by table, directory or callout, the same without its extension, catch-all. Never refuses
 * by itself and never asks anybody twice for one recipient: an answer is kept in the query, and
 * the evaluation runs again from the start.
 */
#include "gate/rcpt.h"

#define TARGETS_FIRST 4u

enum known { KNOWN_NO, KNOWN_YES, KNOWN_LATER, KNOWN_REFUSED, KNOWN_ASKED };

struct rcpt_name { /* an address in the form of tables */
    char text[ADDRESS_MAX + 1];
    struct str key, local, domain;
};

static bool
name_of(const struct address *a, struct rcpt_name *ret)
{
    ssize_t n = address_key(a, ret->text, sizeof(ret->text)), at;

    if (n <= 0)
        return false;
    ret->key = str_of(ret->text, (size_t)n);
    at = str_rchr(ret->key, '@');
    ret->local = at < 0 ? ret->key : str_sub(ret->key, 0, (size_t)at);
    ret->domain = at < 0 ? STR_NONE : str_from(ret->key, (size_t)at + 1);
    return true;
}

static bool
name_parse(struct str text, struct rcpt_name *ret)
{
    struct address a;

    return address_parse(text, ADDRESS_ALLOW_UTF8, &a) == 0 && name_of(&a, ret);
}

/* Is it a domain of ours? *ret_domain stays NULL for one that only the store names. */
static bool
rcpt_served(const struct rcpt_query *q, struct str domain, const struct setup_domain **ret_domain)
{
    struct str value;

    *ret_domain = domain.n ? setup_domain(q->setup, domain) : NULL;
    if (*ret_domain)
        return true;
    return domain.n && q->snapshot && snapshot_get(q->snapshot, SNAPSHOT_DOMAIN, domain, &value);
}

static bool
rcpt_end(struct rcpt_query *q, enum stage_rcpt state, uint16_t code, const char *enhanced,
         struct str why)
{
    q->result.state = (uint8_t)state;
    q->result.code = code;
    q->result.enhanced = enhanced;
    q->result.why = why;
    return true;
}

/* ---- targets ---- */

static struct str
target_address(const void *rows, uint32_t i)
{
    return ((const struct rcpt_target *)rows)[i].address;
}

static bool
target_add(struct rcpt_query *q, struct str address, const struct setup_domain *domain, bool inside,
           bool forwarded)
{
    struct rcpt_result *r = &q->result;
    struct rcpt_rows rows = {.rows = r->targets, .n = r->n, .address = target_address};

    if (rcpt_set_find(&q->set, &rows, address) >= 0)
        return true;
    if (r->n == RCPT_TARGETS_MAX)
        return false;
    if (r->n == q->cap) {
        unsigned cap = q->cap ? q->cap * 2 : TARGETS_FIRST;
        struct rcpt_target *more = ARENA_ARRAY(q->arena, struct rcpt_target, cap);

        if (!more)
            return false;
        if (r->n)
            memcpy(more, r->targets, r->n * sizeof(*more));
        r->targets = more;
        q->cap = cap;
    }
    address = arena_str(q->arena, address);
    rows.rows = r->targets;
    if (!address.p || !rcpt_set_add(&q->set, q->arena, &rows, r->n, address))
        return false;
    r->targets[r->n++] = (struct rcpt_target){
        .address = address, .domain = domain, .inside = inside, .forwarded = forwarded};
    return true;
}

/* One alias on the way down: an address that is among its own ancestors stands for itself. */
struct rcpt_chain {
    const struct rcpt_chain *up;
    struct str key;
    unsigned depth;
};

static bool
chain_has(const struct rcpt_chain *c, struct str key)
{
    for (; c; c = c->up) {
        if (str_ieq(c->key, key))
            return true;
    }
    return false;
}

static bool
alias_of(const struct rcpt_query *q, struct str key, struct str *ret)
{
    return q->snapshot && snapshot_address(q->snapshot, SNAPSHOT_ALIAS, key, ret) && ret->n;
}

static bool expand(struct rcpt_query *q, struct str list, const struct rcpt_chain *up);

/* An alias's target: another alias, an address of ours, or one outside. */
static bool
expand_one(struct rcpt_query *q, struct str text, const struct rcpt_chain *up)
{
    const struct setup_domain *domain;
    struct rcpt_name name;
    struct str list;
    bool inside;

    if (!name_parse(text, &name))
        return true; /* the keeper publishes addresses only; a damaged entry leads nowhere */
    inside = rcpt_served(q, name.domain, &domain);
    if (inside && !chain_has(up, name.key) && up->depth < RCPT_DEPTH &&
        alias_of(q, name.key, &list)) {
        struct rcpt_chain chain = {.up = up, .key = name.key, .depth = up->depth + 1};

        return expand(q, list, &chain);
    }
    return target_add(q, text, domain, inside, true);
}

static bool
expand(struct rcpt_query *q, struct str list, const struct rcpt_chain *up)
{
    while (list.n) {
        struct str one = str_cut(list, '\0', &list);

        if (one.n && (q->work++ >= RCPT_WORK_MAX || !expand_one(q, one, up)))
            return false;
    }
    return true;
}

/* Ends the query with what an expansion gave. */
static bool
rcpt_expanded(struct rcpt_query *q, bool whole)
{
    if (!whole)
        return rcpt_end(q, STAGE_RCPT_LATER, 451, "4.3.5",
                        STR("This address stands for too many others"));
    if (!q->result.n)
        return rcpt_end(q, STAGE_RCPT_LATER, 451, "4.3.5",
                        STR("This address leads nowhere; its owner should be told"));
    for (unsigned i = 0; i < q->result.n; i++) {
        if (!q->result.targets[i].inside && !q->setup->srs.domain.n && !q->may_relay)
            return rcpt_end(q, STAGE_RCPT_LATER, 451, "4.3.5",
                            STR("This address is forwarded, and forwarding is not set up here"));
    }
    return rcpt_end(q, STAGE_RCPT_TAKEN, 0, NULL, STR_NONE);
}

/* Ends the query with the targets of an alias (or of a directory's answer). */
static bool
rcpt_forward(struct rcpt_query *q, struct str key, struct str list)
{
    struct rcpt_chain chain = {.key = key};

    q->result.n = 0;
    return rcpt_expanded(q, expand(q, list, &chain));
}

static bool
rcpt_single(struct rcpt_query *q, struct str address, const struct setup_domain *domain,
            bool inside, bool forwarded)
{
    q->result.n = 0;
    if (!target_add(q, address, domain, inside, forwarded))
        return rcpt_end(q, STAGE_RCPT_LATER, 452, "4.5.3",
                        STR("Too many recipients, send the rest in another message"));
    return rcpt_end(q, STAGE_RCPT_TAKEN, 0, NULL, STR_NONE);
}

/* ---- does it exist? ---- */

static void
rcpt_answered(void *ctx, const struct lookup_answer *answer)
{
    struct rcpt_query *q = ctx;
    struct lookup_answer *kept = &q->answers[q->asking].answer;

    *kept = *answer;
    kept->text = answer->text.n ? arena_str(q->arena, answer->text) : STR_NONE;
    kept->addresses = answer->addresses.n ? arena_str(q->arena, answer->addresses) : STR_NONE;
    if ((answer->text.n && !kept->text.p) || (answer->addresses.n && !kept->addresses.p))
        *kept = (struct lookup_answer){.result = LOOKUP_TEMPORARY};
    q->answers[q->asking].known = true;
    if (rcpt_resolve(q))
        q->done(q->ctx);
}

static enum known
ask(struct rcpt_query *q, enum lookup_kind kind, struct str domain, struct str key, unsigned which)
{
    const struct lookup_answer *cached;
    struct lookup_answer *kept = &q->answers[which].answer;
    int rc = 0;

    if (!q->answers[which].known) {
        if (!q->lookup)
            return KNOWN_LATER;
        q->asking = (uint8_t)which;
        q->put_off = q->crowded && !lookup_knows(q->lookup, kind, domain, key);
        if (q->put_off)
            return KNOWN_ASKED;
        rc = lookup_get(q->lookup, kind, domain, key, &q->wait, rcpt_answered, q, &cached);
        if (rc == 0)
            return KNOWN_ASKED;
        if (rc < 0)
            return KNOWN_LATER;
        *kept = *cached;
        kept->text = arena_str(q->arena, cached->text);
        kept->addresses = arena_str(q->arena, cached->addresses);
        if (!kept->text.p || !kept->addresses.p)
            return KNOWN_LATER;
        q->answers[which].known = true;
    }
    switch (kept->result) {
    case LOOKUP_FOUND:
        return KNOWN_YES;
    case LOOKUP_UNKNOWN:
        return KNOWN_NO;
    case LOOKUP_REFUSED:
        return KNOWN_REFUSED;
    default:
        return KNOWN_LATER;
    }
}

/* "x%far.test"@us, "x@far.test"@us, far.test!x@us: many an inside server takes our domain off and
 * sends the rest on, since it trusts us. A stranger's mail would be relayed so. */
static bool
is_routed(const struct rcpt_query *q, const struct rcpt_name *name)
{
    for (size_t i = 0; i < name->local.n && !q->may_relay; i++) {
        if (memchr("@%!", name->local.p[i], 3))
            return true;
    }
    return false;
}

/* Does nobody but the inside server know who exists? */
static bool
is_unlisted(const struct setup_domain *d)
{
    return d &&
           (d->conf->recipients == RECIPIENTS_ANY || d->conf->recipients == RECIPIENTS_CALLOUT);
}

static enum known
exists(struct rcpt_query *q, const struct setup_domain *d, const struct rcpt_name *name,
       unsigned which)
{
    struct str value;
    bool listed = q->snapshot && snapshot_address(q->snapshot, SNAPSHOT_RCPT, name->key, &value);

    if (listed)
        return KNOWN_YES;
    if (!d) /* a domain of the store: what it lists is all there is */
        return KNOWN_NO;
    if (is_unlisted(d) && is_routed(q, name))
        return KNOWN_NO;
    switch (d->conf->recipients) {
    case RECIPIENTS_ANY:
        return KNOWN_YES;
    case RECIPIENTS_TABLE:
        /* Without a snapshot the table is not known yet: that is not "no such recipient". */
        return q->snapshot ? KNOWN_NO : KNOWN_LATER;
    case RECIPIENTS_SQLITE:
    case RECIPIENTS_LDAP:
        return ask(q, LOOKUP_DIRECTORY, d->name, name->key, which);
    case RECIPIENTS_CALLOUT:
        return ask(q, LOOKUP_CALLOUT, d->name, name->key, which);
    default:
        return KNOWN_LATER;
    }
}

/* What a name in our domain means if it is known in some way; false: go on with the next way. */
static bool
rcpt_known(struct rcpt_query *q, const struct setup_domain *d, const struct rcpt_name *name,
           struct str as_written, unsigned which, enum known *ret_known)
{
    const struct lookup_answer *a = &q->answers[which].answer;
    struct str list;

    *ret_known = KNOWN_NO;
    if (alias_of(q, name->key, &list)) {
        *ret_known = KNOWN_YES;
        return rcpt_forward(q, name->key, list);
    }
    *ret_known = exists(q, d, name, which);
    if (*ret_known == KNOWN_YES) {
        if (q->answers[which].known && a->addresses.n)
            return rcpt_forward(q, name->key, a->addresses);
        return rcpt_single(q, as_written, d, true, false);
    }
    if (*ret_known == KNOWN_REFUSED)
        return rcpt_end(q, STAGE_RCPT_UNKNOWN, a->code / 100 == 5 ? a->code : 550, "5.7.1",
                        a->text);
    return false;
}

/* The name without what follows the first delimiter, if there is such a one. */
static bool
without_extension(const struct setup_domain *d, const struct rcpt_name *name, struct rcpt_name *ret)
{
    struct str set = d ? d->conf->delimiter : STR_NONE;
    size_t n = 0;

    if (name->local.n && name->local.p[0] == '"')
        return false;
    while (n < name->local.n && str_chr(set, name->local.p[n]) < 0)
        n++;
    if (n == 0 || n == name->local.n)
        return false;
    n = str_fmt(ret->text, sizeof(ret->text), "%.*s@%.*s", (int)n, name->local.p,
                STR_ARG(name->domain));
    ret->key = str_of(ret->text, n);
    ret->domain = name->domain;
    ret->local = str_sub(ret->key, 0, n - name->domain.n - 1);
    return true;
}

/* postmaster is always there (RFC 5321 4.5.1). */
static bool
rcpt_postmaster(struct rcpt_query *q, const struct setup_domain *d, struct str address)
{
    struct str to = q->setup->main->postmaster;
    struct rcpt_chain chain = {.key = address};

    if (!to.n)
        return rcpt_single(q, address, d, true, false);
    q->result.n = 0;
    return rcpt_expanded(q, expand_one(q, to, &chain));
}

/* Who takes what nobody else does; false: nobody. */
static bool
rcpt_catch_all(struct rcpt_query *q, const struct setup_domain *d, const struct rcpt_name *name)
{
    char key[ADDRESS_MAX + 2];
    size_t n = str_fmt(key, sizeof(key), "@%.*s", STR_ARG(name->domain));
    struct rcpt_chain chain = {.key = name->key};
    struct str list;

    if (alias_of(q, str_of(key, n), &list))
        return rcpt_forward(q, name->key, list);
    if (!d || !d->conf->catch_all.n)
        return false;
    q->result.n = 0;
    return rcpt_expanded(q, expand_one(q, d->conf->catch_all, &chain));
}

/* Mail there is read for its reports and then dropped: it needs no mailbox. */
static bool
rcpt_dropped(const struct rcpt_query *q)
{
    const struct settings_reports *r = q->setup->reports;

    return r && r->mail == REPORTS_MAIL_DROP && settings_reports_find(r, q->address.text).n;
}

static bool
rcpt_in_domain(struct rcpt_query *q, const struct setup_domain *d, const struct rcpt_name *name)
{
    struct rcpt_name base;
    enum known known;

    if (rcpt_dropped(q))
        return rcpt_single(q, q->address.text, d, true, false);
    if (str_ieq(name->local, STR("postmaster"))) {
        struct str list;

        if (alias_of(q, name->key, &list))
            return rcpt_forward(q, name->key, list);
        return rcpt_postmaster(q, d, q->address.text);
    }
    if (rcpt_known(q, d, name, q->address.text, 0, &known))
        return true;
    if (known == KNOWN_NO && without_extension(d, name, &base) &&
        rcpt_known(q, d, &base, base.key, 1, &known))
        return true;
    if (known == KNOWN_ASKED)
        return false;
    if (known == KNOWN_LATER)
        return rcpt_end(q, STAGE_RCPT_LATER, 451, "4.4.3",
                        STR("The recipient cannot be verified now, try again later"));
    if (rcpt_catch_all(q, d, name))
        return true;
    if (is_unlisted(d) && is_routed(q, name))
        return rcpt_end(q, STAGE_RCPT_UNKNOWN, 550, "5.7.1",
                        STR("a name with @, % or ! in it may be a way to other servers, which is "
                            "not open to strangers; use the recipient's own address"));
    return rcpt_end(q, STAGE_RCPT_UNKNOWN, 0, NULL, q->answers[0].answer.text);
}

/* A bounce to a sender that we rewrote goes to whom it was rewritten for, and nothing else does. */
static bool
rcpt_srs(struct rcpt_query *q, const struct rcpt_name *name)
{
    char room[SRS_MAX + 1];
    struct rcpt_name to;
    const struct setup_domain *domain;
    ssize_t n = srs_reverse(&q->setup->srs, name->local, q->now_s, room, sizeof(room));
    bool inside;

    if (n < 0)
        return rcpt_end(q, STAGE_RCPT_UNKNOWN, 550, "5.1.1",
                        n == ERR_STALE ? STR("This return address has expired")
                                       : STR("This return address was not made here"));
    if (!q->null_sender)
        return rcpt_end(q, STAGE_RCPT_UNKNOWN, 550, "5.7.1",
                        STR("Only delivery reports (MAIL FROM:<>) go to this return address"));
    if (!name_parse(str_of(room, (size_t)n), &to))
        return rcpt_end(q, STAGE_RCPT_UNKNOWN, 550, "5.1.1",
                        STR("This return address does not hold an address"));
    inside = rcpt_served(q, to.domain, &domain);
    q->result.srs = true;
    return rcpt_single(q, str_of(room, (size_t)n), domain, inside, true);
}

/* <postmaster> without a domain: ours. */
static bool
rcpt_bare_postmaster(struct rcpt_query *q)
{
    struct str host = q->setup->main->hostname;
    const struct setup_domain *d = setup_domain(q->setup, host);
    char room[ADDRESS_MAX + 1];
    size_t at = 0;
    struct str name;

    if (q->setup->main->postmaster.n)
        return rcpt_postmaster(q, NULL, q->address.text);
    if (!d)
        d = map_next(&q->setup->domains, &at, &name);
    if (!d)
        return rcpt_end(q, STAGE_RCPT_UNKNOWN, 550, "5.1.1", STR("No postmaster is set up here"));
    return rcpt_single(
        q, str_of(room, str_fmt(room, sizeof(room), "postmaster@%.*s", STR_ARG(d->name))), d, true,
        false);
}

/* <postmaster@[our address]> is ours as well (RFC 5321 4.5.1); at other addresses it is relayed or
 * refused like anybody. */
static bool
rcpt_literal_postmaster(const struct rcpt_query *q)
{
    struct str text = q->address.domain;
    struct addr a;

    if (!q->address.literal || !str_ieq(q->address.local, STR("postmaster")) || text.n < 2)
        return false;
    text = str_sub(text, 1, text.n - 2);
    if (str_istarts(text, STR("IPv6:")))
        text = str_from(text, 5);
    return addr_parse(text, &a) == 0 && addr_eq(&a, &q->local);
}

bool
rcpt_resolve(struct rcpt_query *q)
{
    const struct setup_domain *domain;
    struct rcpt_name name;

    q->work = 0;
    if (!q->address.domain.n || rcpt_literal_postmaster(q))
        return rcpt_bare_postmaster(q);
    if (!name_of(&q->address, &name))
        return rcpt_end(q, STAGE_RCPT_UNKNOWN, 553, "5.1.3", STR("Bad recipient address"));
    if (q->setup->srs.domain.n && srs_is(name.local) && str_ieq(name.domain, q->setup->srs.domain))
        return rcpt_srs(q, &name);
    if (!rcpt_served(q, name.domain, &domain)) {
        if (q->may_relay)
            return rcpt_single(q, q->address.text, NULL, false, false);
        return rcpt_end(q, STAGE_RCPT_NOT_SERVED, 0, NULL, STR_NONE);
    }
    q->result.owner = domain ? domain->tenant : 0;
    return rcpt_in_domain(q, domain, &name);
}

void
rcpt_cancel(struct rcpt_query *q)
{
    lookup_cancel(&q->wait);
}
