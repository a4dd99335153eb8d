/*
 * courier/bounce_class.c - classes of what reports say (courier/bounce.c writes our own ones).
 *
 * Called for each recipient of a report that was found to speak of mail of ours. A report is
 * another server's story of a reply, so less is certain than in our own sessions: it may leave out
 * what was answered, and what it quotes may have come after the data. Never looks anything up.
 */
#include "courier/bounce_class.h"
#include "courier/reply_class_inner.h"

#define SURE  85u /* confidence that needs no reply code beside it */
#define VAGUE 50u /* less: the reporting server knew more than it told */

static const uint8_t phases[] = {
    [DSN_PHASE_UNKNOWN] = REPLY_PHASE_UNKNOWN, [DSN_PHASE_CONNECT] = REPLY_PHASE_CONNECT,
    [DSN_PHASE_HELO] = REPLY_PHASE_CONNECT,    [DSN_PHASE_MAIL] = REPLY_PHASE_MAIL,
    [DSN_PHASE_RCPT] = REPLY_PHASE_RCPT,       [DSN_PHASE_DATA] = REPLY_PHASE_DATA,
    [DSN_PHASE_DOT] = REPLY_PHASE_DOT,
};

/* Kinds that are no failure have their class from what they are. */
static const struct {
    enum dsn_kind kind;
    uint8_t class;
} kinds[] = {
    {DSN_KIND_DELIVERY, REPLY_CLASS_DELIVERED},  {DSN_KIND_RELAY, REPLY_CLASS_DELIVERED},
    {DSN_KIND_EXPANSION, REPLY_CLASS_DELIVERED}, {DSN_KIND_AUTO_REPLY, REPLY_CLASS_AUTOREPLY},
    {DSN_KIND_CHALLENGE, REPLY_CLASS_AUTOREPLY}, {DSN_KIND_FEEDBACK, REPLY_CLASS_FEEDBACK},
};

/* Categories in which PowerMTA and those who took its words file a failure. */
static const struct {
    const char *name;
    uint8_t class;
} categories[] = {
    {"bad-mailbox", REPLY_CLASS_MAILBOX},       {"bad-domain", REPLY_CLASS_DOMAIN},
    {"inactive-mailbox", REPLY_CLASS_INACTIVE}, {"quota-issues", REPLY_CLASS_FULL},
    {"spam-related", REPLY_CLASS_SPAM},         {"virus-related", REPLY_CLASS_VIRUS},
    {"content-related", REPLY_CLASS_CONTENT},   {"policy-related", REPLY_CLASS_POLICY},
    {"message-expired", REPLY_CLASS_EXPIRED},   {"routing-errors", REPLY_CLASS_ROUTE},
    {"relaying-issues", REPLY_CLASS_RELAY},     {"invalid-sender", REPLY_CLASS_SENDER},
    {"bad-connection", REPLY_CLASS_HOST},       {"no-answer-from-host", REPLY_CLASS_HOST},
    {"protocol-errors", REPLY_CLASS_PROTOCOL},
};

static struct str
domain_of(struct str address)
{
    ssize_t at = str_rchr(address, '@');

    return at < 0 ? STR_NONE : str_from(address, (size_t)at + 1);
}

static int
class_of_category(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(categories); i++)
        if (str_ieq(name, str_c(categories[i].name)))
            return categories[i].class;
    return -1;
}

static void
set_class(struct reply_class_result *ret, uint8_t class, uint8_t severity)
{
    ret->class = class;
    reply_law_advise(ret, NULL, REPLY_TIER_TEXT_WEAK, severity);
}

/* The law of replies (reply_class.c) asks for RCPT or a code of addresses where there is a code;
 * a report may have no code at all, and then only words that leave no doubt count. */
static bool
is_certain(const struct dsn_outcome *o, const struct reply_class_result *r)
{
    if (o->code || o->phase == DSN_PHASE_RCPT || o->status[2] == '1')
        return true;
    return (!o->status[0] || !strcmp(o->status + 1, ".0.0")) && r->confidence >= SURE;
}

/* Who filed a failure as a bad mailbox knew where it was said. */
static void
by_category(struct reply_class_result *ret, const struct dsn_outcome *o, uint8_t severity)
{
    int category = class_of_category(o->category);

    if (category < 0)
        return;
    if (ret->confidence < VAGUE)
        set_class(ret, (uint8_t)category, severity);
    else if (ret->class == REPLY_CLASS_FILTERED && category == REPLY_CLASS_MAILBOX)
        set_class(ret, !strcmp(o->status + 1, ".2.1") ? REPLY_CLASS_INACTIVE : REPLY_CLASS_MAILBOX,
                  severity);
}

static void
suppress_nobody(struct reply_class_result *ret)
{
    ret->advice.suppress = REPLY_SCOPE_NONE;
    ret->advice.suppress_s = 0;
}

static void
classify_failure(const struct reply_classes *classes, const struct dsn_outcome *o,
                 struct reply_class_result *ret)
{
    struct reply_input in = {.text = o->reply,
                             .code = o->code,
                             .enhanced = str_c(o->status),
                             .host = o->remote_mta,
                             .domain = domain_of(o->final),
                             .phase = phases[o->phase]};
    uint8_t severity = o->status[0] == '4' ? 4 : 5;

    reply_classify(classes, &in, ret);
    by_category(ret, o, severity);
    if (ret->class == REPLY_CLASS_MAILBOX && !is_certain(o, ret))
        set_class(ret, REPLY_CLASS_FILTERED, severity);
    /* What a server calls temporary gives no domain up, whatever its words are. */
    if (o->action != DSN_FAILED || (ret->class == REPLY_CLASS_NO_MAIL && severity == 4)) {
        ret->hard = false;
        suppress_nobody(ret);
    }
    ret->advice.other_source = false;
    if (o->action == DSN_FAILED) {
        ret->advice.retry = REPLY_RETRY_NO;
        ret->advice.retry_s = 0;
    }
}

/* Does the report speak of the recipient that it is proven for? Forwarders tell whom they sent to
 * beside whom they gave it to; a text for people, and complaints, may name nobody. */
static bool
is_about(const struct dsn_report *report, const struct dsn_outcome *o, struct str sent_to)
{
    if (sent_to.n == 0)
        return false;
    if (report->nrcpt == 1 &&
        (report->kind == DSN_KIND_FEEDBACK || (o->final.n == 0 && o->original.n == 0)))
        return true;
    return str_ieq(o->final, sent_to) || str_ieq(o->original, sent_to);
}

static void
steer_nobody(struct reply_class_result *ret)
{
    struct reply_advice *a = &ret->advice;

    a->slow = a->hold = REPLY_SCOPE_NONE;
    a->slow_percent = 100;
    a->slow_s = a->hold_s = 0;
    if (a->suppress == REPLY_SCOPE_DOMAIN)
        a->suppress = REPLY_SCOPE_RECIPIENT;
}

void
bounce_classify(const struct reply_classes *classes, const struct dsn_report *report,
                const struct dsn_outcome *o, struct str sent_to, struct reply_class_result *ret)
{
    size_t kind = 0;

    while (kind < ARRAY_LEN(kinds) && kinds[kind].kind != report->kind)
        kind++;
    if (kind == ARRAY_LEN(kinds)) {
        classify_failure(classes, o, ret);
    } else {
        *ret = (struct reply_class_result){.code = o->code, .confidence = 99};
        ret->class = kinds[kind].class;
        reply_law_advise(ret, NULL, REPLY_TIER_PROVIDER, 2);
    }
    steer_nobody(ret);
    /* A complaint is a feedback report; what only reads like one is anybody's letter. */
    if (!is_about(report, o, sent_to) || (report->kind == DSN_KIND_FEEDBACK && !report->machine))
        suppress_nobody(ret);
}
