/*
 * gate/session_rcpt.c - RCPT: who the recipient is, what its inside server can take, yes or no.
 *
 * Called by the engine. The resolver (rcpt.c) says what is known, the checks may refuse, and what
 * nobody refused but is not ours is refused here: the last wall before an open relay.
 */
#include "core/clock.h"
#include "core/metric.h"
#include "gate/inner.h"
#include "gate/session.h"

#define RCPT_PAUSE    (50 * NS_PER_MS) /* until a crowded network's next try */
#define RCPT_PATIENCE (60 * NS_PER_S)  /* as long as one question may take (gate/lookup.c) */

static void rcpt_resolved(void *ctx);

/* What was found against a recipient that the message does not have is in the event of its refusal
 * and weighs on nobody else's mail. */
static void
rcpt_refuse(struct session *s, int code, const char *enhanced, struct str text)
{
    metric_add(METRIC_REFUSED_RCPT, 1);
    report_refused(s, "RCPT", code, enhanced, text, s->tx->rcpt.to.text);
    verdict_forget_since(&s->tx->verdict, STAGE_RCPT, s->tx->rcpt_mark);
    session_reply(s, code, enhanced, "%.*s", STR_ARG(text));
}

/* Nothing was found against it: the message has no room for it. */
static void
rcpt_put_off(struct session *s, struct str address)
{
    static const char text[] = "Too many recipients, send the rest in another message";

    metric_add(METRIC_REFUSED_RCPT, 1);
    report_unjudged(s, "RCPT", 452, "4.5.3", text, address);
    session_say(s, 452, "4.5.3", text);
}

/* ---- what inside servers can take ---- */

struct rcpt_obstacle {
    int code;
    const char *enhanced;
    const char *text;
};
static const struct rcpt_obstacle obstacle_size = {
    552, "5.3.4", "The message is larger than this recipient's server takes"};
static const struct rcpt_obstacle obstacle_utf8 = {
    550, "5.6.7", "This recipient's server does not take SMTPUTF8 mail; send to it without"};
static const struct rcpt_obstacle obstacle_8bit = {
    550, "5.6.3",
    "This recipient's server does not take 8BITMIME, and mail is not converted here; send it "
    "as 7 bit (quoted-printable or base64)"};

static const struct rcpt_obstacle obstacle_binary = {
    550, "5.6.1",
    "This recipient's server does not take BINARYMIME, and mail is not converted here; send it "
    "with a content transfer encoding"};

/* The least of two sizes of which 0 is none. */
static uint64_t
least(uint64_t a, uint64_t b)
{
    if (!a || !b)
        return a ? a : b;
    return MIN(a, b);
}

static const struct rcpt_obstacle *
rcpt_inside(struct session *s, const struct rcpt_target *t)
{
    struct tx *tx = s->tx;
    struct lookup_inside inside = {0};
    uint64_t max = t->domain ? t->domain->conf->max_size : 0;
    struct str domain = t->domain ? t->domain->name : session_key_domain(t->address);

    if (lookup_inside(s->gate->lookup, domain, &inside))
        max = least(max, inside.max_size);
    if (max && tx->declared > max)
        return &obstacle_size;
    if ((inside.bits & INSIDE_KNOWN) && tx->utf8 && !(inside.bits & INSIDE_SMTPUTF8))
        return &obstacle_utf8;
    if ((inside.bits & INSIDE_KNOWN) && tx->binary && !(inside.bits & INSIDE_BINARYMIME))
        return &obstacle_binary;
    if ((inside.bits & INSIDE_KNOWN) && tx->body_8bit && !(inside.bits & INSIDE_8BITMIME))
        return &obstacle_8bit;
    tx->inside_max = least(tx->inside_max, max);
    return NULL;
}

static const struct rcpt_obstacle *
rcpt_obstacles(struct session *s)
{
    const struct rcpt_result *r = &s->tx->query.result;
    const struct rcpt_obstacle *o = NULL;

    for (unsigned i = 0; i < r->n && !o; i++) {
        if (r->targets[i].inside)
            o = rcpt_inside(s, &r->targets[i]);
    }
    return o;
}

/* ---- the recipient's way ---- */

static bool
rcpt_flood(struct session *s)
{
    const struct rate *rate = &s->setup->smtp->unknown_rcpts_network;
    struct limit *l = session_customer(s);

    return !s->tx->may_relay && l && rate->count &&
           bucket_peek(&l->unknown_rcpts, rate, clock_mono()) > 0;
}

/* Is what the message has of its recipients as much as one may have now? The rest comes in another
 * one. */
static bool
rcpt_too_many(const struct session *s)
{
    return s->tx->work >= RCPT_WORK_ALL ||
           (s->tx->arena.used >= BODY_BESIDE && block_pool_short(&s->gate->blocks));
}

/* Resolves it, or waits until its network asks less. */
static void
rcpt_ask(struct session *s)
{
    struct rcpt_query *q = &s->tx->query;
    bool again = q->put_off;

    q->crowded = !session_may_ask(s);
    if (q->crowded && clock_mono() - s->tx->asked_at >= RCPT_PATIENCE) {
        q->result.state = STAGE_RCPT_LATER;
        rcpt_resolved(s);
    } else if (q->crowded && again) { /* many may wait: that costs next to nothing */
        session_wait(s, RCPT_PAUSE, rcpt_ask);
    } else if (rcpt_resolve(q)) {
        rcpt_resolved(s);
    } else if (q->put_off) {
        session_wait(s, RCPT_PAUSE, rcpt_ask);
    } else {
        session_asks(s, true);
    }
}

void
session_rcpt(void *ctx, const struct smtp_rcpt_params *p)
{
    struct session *s = ctx;
    struct tx *tx = s->tx;
    struct rcpt_query *q = &tx->query;

    tx->rcpt = *p;
    tx->rcpt.orcpt = p->orcpt.n ? arena_str(&tx->arena, p->orcpt) : STR_NONE;
    body_beside(&tx->body, &s->gate->blocks, tx->arena.used);
    if (rcpt_too_many(s) || !session_copy_address(&tx->arena, &p->to, &tx->rcpt.to) ||
        (p->orcpt.n && !tx->rcpt.orcpt.p)) {
        rcpt_put_off(s, p->to.text);
        return;
    }
    s->facts.rcpt = &tx->rcpt.to;
    s->facts.rcpt_number = tx->nrcpt + 1;
    s->facts.rcpt_flood = rcpt_flood(s);
    *q = (struct rcpt_query){.setup = s->setup,
                             .snapshot = s->gate->snapshot,
                             .lookup = s->gate->lookup,
                             .arena = &tx->arena,
                             .may_relay = tx->may_relay,
                             .null_sender = tx->sender.null,
                             .now_s = clock_wall_s(),
                             .local = s->own,
                             .address = tx->rcpt.to,
                             .done = rcpt_resolved,
                             .ctx = s};
    if (s->facts.rcpt_flood) {
        q->result.state = STAGE_RCPT_LATER;
        rcpt_resolved(s);
        return;
    }
    tx->asked_at = clock_mono();
    rcpt_ask(s);
}

static void
rcpt_resolved(void *ctx)
{
    struct session *s = ctx;
    const struct rcpt_result *r = &s->tx->query.result;
    struct limit *l = session_customer(s);

    session_asks(s, false);
    s->tx->work += s->tx->query.work;
    s->facts.rcpt_state = r->state;
    s->facts.rcpt_why = r->why;
    s->facts.rcpt_code = r->code;
    s->facts.rcpt_enhanced = r->enhanced;
    if (r->state == STAGE_RCPT_UNKNOWN && l)
        (void)bucket_take(&l->unknown_rcpts, &s->setup->smtp->unknown_rcpts_network, clock_mono());
    s->tx->rcpt_mark = s->tx->verdict.last;
    session_stage(s, SESSION_RCPT, &s->tx->verdict);
}

/* What no check refused and is still not ours to take. */
static bool
rcpt_wall(struct session *s)
{
    static const struct {
        uint16_t code;
        const char *enhanced, *text;
    } walls[] = {
        [STAGE_RCPT_NOT_SERVED] = {550, "5.7.1", "Relaying is not allowed from here"},
        [STAGE_RCPT_UNKNOWN] = {550, "5.1.1", "No such recipient here"},
        [STAGE_RCPT_LATER] = {451, "4.3.0", "The recipient cannot be checked now, try later"},
    };
    const struct rcpt_result *r = &s->tx->query.result;

    if (r->state == STAGE_RCPT_TAKEN)
        return false;
    rcpt_refuse(s, r->code ? r->code : walls[r->state].code,
                r->enhanced ? r->enhanced : walls[r->state].enhanced,
                r->why.n ? r->why : str_c(walls[r->state].text));
    return true;
}

/* Which record of the message carries that target. */
static struct tx_variant *
rcpt_variant(struct session *s, const struct rcpt_target *t, uint32_t owner)
{
    struct tx *tx = s->tx;
    bool rewritten = false;

    /* A forwarded message whose sender is ours needs no other one: its SPF names us. */
    if (t->forwarded && !t->inside && !tx->sender.null && s->setup->srs.domain.n)
        rewritten = !setup_domain(s->setup, session_key_domain(tx->sender_key));
    if (tx->may_relay)
        return tx_variant(tx, tx->tenant, tx->class, rewritten);
    if (t->inside)
        return tx_variant(tx, t->domain ? t->domain->tenant : 0, SPOOL_CLASS_INSIDE, false);
    return tx_variant(tx, owner, SPOOL_CLASS_TRANSACTIONAL, rewritten);
}

/* A backup domain's mail goes on to better MX hosts, as mail for the outside does. */
static struct str
rcpt_via(const struct rcpt_target *t)
{
    if (!t->inside || (t->domain && t->domain->conf->role == DOMAIN_BACKUP))
        return STR_NONE;
    return STR("inside");
}

static int
rcpt_add_one(struct session *s, struct tx_variant *v, struct str address, struct str via,
             uint8_t notify)
{
    struct tx *tx = s->tx;
    struct spool_rcpt rcpt = {
        .address = address, .orcpt = tx->rcpt.orcpt, .via = via, .notify = notify};
    int rc = v ? tx_add_rcpt(tx, v, &rcpt) : ERR_LIMIT;

    return rc < 0 ? rc : judge_aim(tx, v, (uint32_t)rc);
}

/* A further way for the same address: through the reader of reports (courier/reading.c). It is
 * written as in the settings, so that a message has one for each of them at most. It says
 * nothing to the sender, unless it is the only way: then what cannot be read is a failure, whatever
 * the sender asked for. */
static int
rcpt_add_reader(struct session *s, struct str address, uint32_t owner, bool only)
{
    struct tx *tx = s->tx;
    struct tx_variant *v = tx->may_relay ? tx_variant(tx, tx->tenant, tx->class, false)
                                         : tx_variant(tx, owner, SPOOL_CLASS_INSIDE, false);

    return rcpt_add_one(s, v, address, STR(REPORTS_VIA),
                        only ? tx->rcpt.notify & (uint8_t)~SPOOL_NOTIFY_NEVER : SPOOL_NOTIFY_NEVER);
}

static int
rcpt_add_all(struct session *s)
{
    struct tx *tx = s->tx;
    const struct settings_reports *reports = s->setup->reports;
    const struct rcpt_result *r = &tx->query.result;
    struct str reader = settings_reports_find(reports, tx->rcpt.to.text);
    bool drop = reader.n && reports->mail == REPORTS_MAIL_DROP;
    int rc = 0;

    for (unsigned i = 0; i < r->n && rc == 0 && !drop; i++) {
        const struct rcpt_target *t = &r->targets[i];

        rc =
            rcpt_add_one(s, rcpt_variant(s, t, r->owner), t->address, rcpt_via(t), tx->rcpt.notify);
    }
    if (rc == 0 && reader.n)
        rc = rcpt_add_reader(s, reader, r->owner, drop);
    return rc < 0 ? rc : judge_given(tx);
}

/* All targets of the recipient or none: the client will send again to what it is told no for. */
static int
rcpt_add(struct session *s)
{
    struct tx *tx = s->tx;
    unsigned nvariants = tx->nvariants;
    uint32_t before[TX_VARIANTS], naims = tx->judging.naims;
    int rc;

    for (unsigned i = 0; i < nvariants; i++)
        before[i] = tx->variants[i].n;
    rc = rcpt_add_all(s);
    if (rc == 0)
        return 0;
    for (unsigned i = 0; i < tx->nvariants; i++)
        tx->variants[i].n = i < nvariants ? before[i] : 0;
    tx->nvariants = nvariants;
    tx->judging.naims = naims;
    return rc;
}

/* Recipients who must be reachable (RFC 5321 4.5.1, RFC 2142) and those whom reports are sent to.
 */
static void
rcpt_count(struct session *s)
{
    const struct settings_verify *verify = s->setup->verify;
    const struct address *to = &s->tx->rcpt.to;
    const struct str *reports = verify ? verify->reports.items : NULL;

    if (!s->facts.auth)
        return;
    if (str_ieq(to->local, STR("postmaster")) || str_ieq(to->local, STR("abuse"))) {
        s->tx->noffice++;
        return;
    }
    if (settings_reports_find(s->setup->reports, to->text).n) {
        s->tx->nreports++;
        return;
    }
    for (size_t i = 0; verify && i < verify->reports.n; i++) {
        if (str_ieq(reports[i], to->text)) {
            s->tx->nreports++;
            return;
        }
    }
}

void
session_rcpt_staged(struct session *s, const struct finding *f)
{
    struct tx *tx = s->tx;
    const struct rcpt_obstacle *o;

    if (f) {
        rcpt_refuse(s, f->code, f->enhanced, f->text);
        return;
    }
    if (rcpt_wall(s))
        return;
    o = rcpt_obstacles(s);
    if (o) {
        rcpt_refuse(s, o->code, o->enhanced, str_c(o->text));
        return;
    }
    if (rcpt_add(s) < 0) { /* what was found of it is nobody's: the next one has its number */
        verdict_forget_since(&tx->verdict, STAGE_RCPT, tx->rcpt_mark);
        rcpt_put_off(s, tx->rcpt.to.text);
        return;
    }
    rcpt_count(s);
    tx->nsrs += tx->query.result.srs;
    if (tx->nrcpt++ == 0)
        tx->first_rcpt = tx->rcpt.to.text;
    session_say(s, 250, "2.1.5", "Recipient ok");
}

/* ---- VRFY ---- */

void
session_vrfy(void *ctx, struct str arg)
{
    struct session *s = ctx;
    struct address a;
    struct str rest;
    struct arena arena;
    struct rcpt_query q = {.setup = s->setup, .snapshot = s->gate->snapshot, .arena = &arena};
    unsigned flags = ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_POSTMASTER;

    if (s->setup->smtp->vrfy == VRFY_OFF) {
        session_say(s, 502, "5.5.1", "VRFY is not available");
        return;
    }
    if (s->setup->smtp->vrfy == VRFY_VAGUE || !s->trusted) {
        session_say(s, 252, "2.0.0", "Cannot verify, send the mail and see");
        return;
    }
    if (address_path(arg, flags, &a, &rest) < 0 && address_parse(arg, flags, &a) < 0) {
        session_say(s, 501, "5.1.3", "An address is wanted: VRFY user@example.com");
        return;
    }
    arena_init(&arena, 1u << 20);
    q.address = a;
    q.now_s = clock_wall_s();
    q.local = s->own;
    /* No lookup is given: only what is known without asking is told. */
    if (!rcpt_resolve(&q) || q.result.state == STAGE_RCPT_LATER)
        session_say(s, 252, "2.0.0", "Cannot verify now");
    else if (q.result.state == STAGE_RCPT_TAKEN)
        session_reply(s, 250, "2.1.5", "<%.*s>", STR_ARG(a.text));
    else
        session_reply(s, 550, "5.1.1", "<%.*s> is not a recipient here", STR_ARG(a.text));
    arena_done(&arena);
}
