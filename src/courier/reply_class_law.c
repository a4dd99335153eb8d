/*
 * courier/reply_class_law.c - what follows from a class: one table, and what no data may change.
 *
 * Called by the classifier. Two things hold whatever a data file says: a refusal of us (spam,
 * reputation, volume, policy, authentication) never advises another source, since that is how a
 * block becomes the block of a network; and nothing but a dead address or domain is suppressed for
 * ever, since nobody notices a good recipient who gets no mail.
 */
#include "courier/reply_class_inner.h"

#define MINUTES(n) ((n)*60u)
#define HOURS(n)   ((n)*3600u)
#define DAYS(n)    ((n)*86400u)

#define PROBATION_S DAYS(30) /* not proven: one mail more after that */

#define NO    REPLY_RETRY_NO
#define LAW   REPLY_RETRY_LAW
#define HOST  REPLY_RETRY_HOST
#define SAME  REPLY_RETRY_SAME
#define LATER REPLY_RETRY_LATER

#define RECIPIENT REPLY_SCOPE_RECIPIENT
#define MESSAGE   REPLY_SCOPE_MESSAGE
#define SOURCE    REPLY_SCOPE_SOURCE
#define DOMAIN_   REPLY_SCOPE_DOMAIN
#define SENDER    REPLY_SCOPE_SENDER
#define TENANT    REPLY_SCOPE_TENANT

/* Rank: a refusal of us before the recipient's state, that before the recipient's absence: among
 * equals the class decides that cannot suppress by mistake. */
const struct reply_law reply_laws[REPLY_CLASS_COUNT] = {
    [REPLY_CLASS_DELIVERED] = {.name = "Delivered", .rank = 1},
    [REPLY_CLASS_UNKNOWN] =
        {.name = "OutcomeUnknown", .rank = 1, .scope = MESSAGE, .retry_4 = LAW, .retry_5 = LAW},
    [REPLY_CLASS_TEMPORARY] = {.name = "TransientFailure",
                               .rank = 8,
                               .scope = MESSAGE,
                               .retry_4 = LAW,
                               .retry_5 = LATER,
                               .retry_s = HOURS(1)},
    [REPLY_CLASS_GREYLIST] =
        {.name = "Greylisted", .rank = 38, .scope = SOURCE, .retry_4 = SAME, .retry_5 = SAME},
    [REPLY_CLASS_FULL] = {.name = "QuotaIssues",
                          .rank = 25,
                          .scope = RECIPIENT,
                          .retry_4 = LATER,
                          .retry_5 = LATER,
                          .retry_s = HOURS(1)},
    [REPLY_CLASS_HOST] =
        {.name = "BadConnection", .rank = 13, .scope = DOMAIN_, .retry_4 = HOST, .retry_5 = HOST},
    [REPLY_CLASS_DNS] =
        {.name = "DNSFailure", .rank = 12, .scope = DOMAIN_, .retry_4 = LAW, .retry_5 = LAW},
    [REPLY_CLASS_RATE] = {.name = "RateLimited",
                          .refusal = true,
                          .rank = 33,
                          .scope = SOURCE,
                          .retry_4 = LATER,
                          .retry_5 = LATER,
                          .retry_s = MINUTES(15),
                          .slow = SOURCE,
                          .slow_percent = 50,
                          .slow_s = MINUTES(30)},
    [REPLY_CLASS_SYSTEM] =
        {.name = "SystemError", .rank = 11, .scope = DOMAIN_, .retry_4 = HOST, .retry_5 = NO},
    [REPLY_CLASS_DISK] = {.name = "SystemFull",
                          .rank = 17,
                          .scope = DOMAIN_,
                          .retry_4 = LATER,
                          .retry_5 = LATER,
                          .retry_s = MINUTES(30)},
    [REPLY_CLASS_ROUTE] = {.name = "RoutingErrors",
                           .rank = 18,
                           .scope = DOMAIN_,
                           .retry_4 = LAW,
                           .retry_5 = NO,
                           .tell = true},
    [REPLY_CLASS_EXPIRED] =
        {.name = "MessageExpired", .rank = 10, .scope = DOMAIN_, .retry_4 = LAW, .retry_5 = NO},
    [REPLY_CLASS_PERMANENT] =
        {.name = "Uncategorized", .rank = 2, .scope = MESSAGE, .retry_4 = LAW, .retry_5 = NO},
    [REPLY_CLASS_MAILBOX] = {.name = "InvalidRecipient",
                             .hard = true,
                             .rank = 14,
                             .scope = RECIPIENT,
                             .retry_4 = LAW,
                             .retry_5 = NO,
                             .suppress_s = REPLY_FOREVER},
    [REPLY_CLASS_DOMAIN] = {.name = "BadDomain",
                            .hard = true,
                            .rank = 15,
                            .scope = DOMAIN_,
                            .retry_4 = LAW,
                            .retry_5 = NO,
                            .suppress_s = DAYS(30)},
    [REPLY_CLASS_NO_MAIL] = {.name = "DomainRefusesMail",
                             .hard = true,
                             .rank = 16,
                             .scope = DOMAIN_,
                             .retry_4 = LAW,
                             .retry_5 = NO,
                             .suppress_s = DAYS(90)},
    [REPLY_CLASS_MOVED] = {.name = "RecipientMoved",
                           .hard = true,
                           .rank = 20,
                           .scope = RECIPIENT,
                           .retry_4 = LAW,
                           .retry_5 = NO,
                           .suppress_s = REPLY_FOREVER},
    [REPLY_CLASS_INACTIVE] = {.name = "InactiveMailbox",
                              .rank = 24,
                              .scope = RECIPIENT,
                              .retry_4 = LAW,
                              .retry_5 = NO,
                              .suppress_s = DAYS(30)},
    [REPLY_CLASS_FILTERED] = {.name = "RecipientRefused",
                              .rank = 21,
                              .scope = RECIPIENT,
                              .retry_4 = LAW,
                              .retry_5 = NO,
                              .suppress_s = DAYS(14)},
    [REPLY_CLASS_SIZE] = {.name = "MessageTooLarge", .rank = 27, .scope = MESSAGE, .retry_4 = LAW},
    [REPLY_CLASS_SPAM] = {.name = "SpamContent",
                          .refusal = true,
                          .rank = 31,
                          .scope = MESSAGE,
                          .retry_4 = LATER,
                          .retry_5 = NO,
                          .retry_s = HOURS(1),
                          .slow = TENANT,
                          .slow_percent = 50,
                          .slow_s = HOURS(1),
                          .hold = MESSAGE,
                          .hold_s = HOURS(1)},
    [REPLY_CLASS_VIRUS] = {.name = "VirusRelated",
                           .refusal = true,
                           .rank = 37,
                           .scope = MESSAGE,
                           .retry_4 = NO,
                           .retry_5 = NO,
                           .hold = MESSAGE,
                           .hold_s = REPLY_FOREVER,
                           .tell = true},
    [REPLY_CLASS_CONTENT] = {.name = "ContentRelated",
                             .refusal = true,
                             .rank = 30,
                             .scope = MESSAGE,
                             .retry_4 = LAW,
                             .retry_5 = NO,
                             .hold = MESSAGE,
                             .hold_s = HOURS(1)},
    [REPLY_CLASS_MALFORMED] = {.name = "MessageMalformed",
                               .rank = 29,
                               .scope = MESSAGE,
                               .retry_4 = LAW,
                               .retry_5 = NO,
                               .tell = true},
    [REPLY_CLASS_PROTOCOL] =
        {.name = "ProtocolErrors", .rank = 9, .scope = MESSAGE, .retry_4 = LAW, .retry_5 = NO},
    [REPLY_CLASS_POLICY] = {.name = "PolicyRelated",
                            .refusal = true,
                            .rank = 19,
                            .scope = MESSAGE,
                            .retry_4 = LATER,
                            .retry_5 = NO,
                            .retry_s = MINUTES(30)},
    [REPLY_CLASS_AUTH] = {.name = "AuthenticationFailed",
                          .refusal = true,
                          .rank = 36,
                          .scope = SENDER,
                          .retry_4 = LATER,
                          .retry_5 = NO,
                          .retry_s = HOURS(1),
                          .hold = SENDER,
                          .hold_s = HOURS(1),
                          .tell = true},
    [REPLY_CLASS_BLOCK] = {.name = "SpamBlock",
                           .refusal = true,
                           .rank = 32,
                           .scope = SOURCE,
                           .retry_4 = LATER,
                           .retry_5 = NO,
                           .retry_s = HOURS(1),
                           .slow = SOURCE,
                           .slow_percent = 10,
                           .slow_s = HOURS(2),
                           .hold = SOURCE,
                           .hold_s = HOURS(2),
                           .tell = true},
    [REPLY_CLASS_REPUTATION] = {.name = "BadReputation",
                                .refusal = true,
                                .rank = 35,
                                .scope = SOURCE,
                                .retry_4 = LATER,
                                .retry_5 = NO,
                                .retry_s = HOURS(1),
                                .slow = SOURCE,
                                .slow_percent = 25,
                                .slow_s = HOURS(2),
                                .tell = true},
    [REPLY_CLASS_PTR] = {.name = "ReverseNameMissing",
                         .refusal = true,
                         .rank = 34,
                         .scope = SOURCE,
                         .retry_4 = LATER,
                         .retry_5 = NO,
                         .retry_s = MINUTES(30),
                         .hold = SOURCE,
                         .hold_s = HOURS(1),
                         .tell = true},
    [REPLY_CLASS_SENDER] = {.name = "InvalidSender",
                            .refusal = true,
                            .rank = 28,
                            .scope = SENDER,
                            .retry_4 = LAW,
                            .retry_5 = NO,
                            .tell = true},
    [REPLY_CLASS_RELAY] = {.name = "RelayDenied", .rank = 23, .scope = DOMAIN_, .retry_4 = LAW},
    [REPLY_CLASS_ACCESS] = {.name = "AccessDenied",
                            .refusal = true,
                            .rank = 22,
                            .scope = SENDER,
                            .retry_4 = LAW,
                            .retry_5 = NO},
    [REPLY_CLASS_TLS] = {.name = "TlsFailed",
                         .rank = 26,
                         .scope = DOMAIN_,
                         .retry_4 = LAW,
                         .retry_5 = NO,
                         .tell = true},
    /* Known by the kind of the mail alone. */
    [REPLY_CLASS_AUTOREPLY] = {.name = "AutoReply"},
    [REPLY_CLASS_FEEDBACK] = {.name = "Feedback", .scope = RECIPIENT, .suppress_s = REPLY_FOREVER},
};

static const char *const scopes[REPLY_SCOPE_COUNT] = {"none",   "recipient", "message", "source",
                                                      "domain", "sender",    "tenant"};
static const char *const retries[] = {"no", "by the law", "another host", "same source", "later"};

const char *
reply_class_name(uint8_t class)
{
    return class < REPLY_CLASS_COUNT ? reply_laws[class].name : "?";
}

const char *
reply_scope_name(uint8_t scope)
{
    return scope < ARRAY_LEN(scopes) ? scopes[scope] : "?";
}

const char *
reply_retry_name(uint8_t retry)
{
    return retry < ARRAY_LEN(retries) ? retries[retry] : "?";
}

bool
reply_class_is_refusal(uint8_t class)
{
    return class < REPLY_CLASS_COUNT && reply_laws[class].refusal;
}

bool
reply_class_is_hard(uint8_t class)
{
    return class < REPLY_CLASS_COUNT && reply_laws[class].hard;
}

int
reply_law_class(struct str name)
{
    for (int i = 0; i < REPLY_CLASS_COUNT; i++) {
        if (str_ieq(str_c(reply_laws[i].name), name))
            return i;
    }
    return -1;
}

/* Only a dead address or domain, said for good and said clearly. */
static void
suppress(struct reply_class_result *ret, const struct reply_law *law, uint8_t tier,
         uint8_t severity)
{
    ret->advice.suppress = REPLY_SCOPE_NONE;
    ret->advice.suppress_s = 0;
    if (law->suppress_s == 0 || ret->advice.retry != REPLY_RETRY_NO || severity == 4 ||
        tier < REPLY_TIER_ENHANCED)
        return;
    ret->advice.suppress =
        law->scope == REPLY_SCOPE_DOMAIN ? REPLY_SCOPE_DOMAIN : REPLY_SCOPE_RECIPIENT;
    ret->advice.suppress_s = law->suppress_s;
}

void
reply_law_probation(struct reply_class_result *ret)
{
    if (ret->advice.suppress_s == REPLY_FOREVER)
        ret->advice.suppress_s = PROBATION_S;
}

bool
reply_law_is_said(uint8_t class)
{
    return class != REPLY_CLASS_DELIVERED && class != REPLY_CLASS_UNKNOWN &&
           class != REPLY_CLASS_AUTOREPLY && class != REPLY_CLASS_FEEDBACK;
}

void
reply_law_advise(struct reply_class_result *ret, const struct reply_override *o, uint8_t tier,
                 uint8_t severity)
{
    const struct reply_law *law = &reply_laws[ret->class];
    bool for_good = severity != 4;
    struct reply_advice *a = &ret->advice;

    ret->hard = law->hard && tier > REPLY_TIER_CODE; /* a bare 550 says too little */
    ret->scope = law->scope;
    *a = (struct reply_advice){.retry = for_good ? law->retry_5 : law->retry_4,
                               .slow = law->slow,
                               .slow_percent = law->slow ? law->slow_percent : 100,
                               .slow_s = law->slow_s,
                               .hold = law->hold,
                               .hold_s = law->hold_s,
                               .tell = law->tell};
    a->retry_s = a->retry == REPLY_RETRY_LATER ? law->retry_s : 0;
    if (o && o->sets & REPLY_SETS_SCOPE)
        ret->scope = o->scope;
    if (o && o->sets & REPLY_SETS_RETRY) {
        a->retry = o->advice.retry;
        a->retry_s = o->advice.retry_s;
    }
    if (o && o->sets & REPLY_SETS_SLOW) {
        a->slow = o->advice.slow;
        a->slow_percent = o->advice.slow_percent;
        a->slow_s = o->advice.slow_s;
    }
    if (o && o->sets & REPLY_SETS_HOLD) {
        a->hold = o->advice.hold;
        a->hold_s = o->advice.hold_s;
    }
    if (severity == 4 && a->retry == REPLY_RETRY_NO) { /* the server said: come again */
        a->retry = REPLY_RETRY_LAW;
        a->retry_s = 0;
    }
    if (tier < REPLY_TIER_ENHANCED && a->hold_s == REPLY_FOREVER)
        a->hold_s = HOURS(1); /* a word that is used for anything holds nobody for good */
    suppress(ret, law, tier, severity);
    if (o && o->sets & REPLY_SETS_SUPPRESS && a->suppress)
        a->suppress_s = MIN(a->suppress_s, o->advice.suppress_s);
    /* Nobody said anything: the way is broken, and another source may have another one. */
    a->other_source = ret->class == REPLY_CLASS_HOST && ret->code == 0;
}
