/*
 * courier/classify.c - replies to classes, first match wins.
 *
 * Called by sessions. Pure: the same reply at the same stage always means the same.
 */
#include "courier/classify.h"

const struct reply_class_row reply_classes[REPLY_CLASSES] = {
    [REPLY_DELIVERED] = {"Delivered", false},    [REPLY_TEMPORARY] = {"TransientFailure", false},
    [REPLY_GREYLIST] = {"Greylisted", false},    [REPLY_FULL] = {"QuotaIssues", false},
    [REPLY_HOST] = {"BadConnection", false},     [REPLY_RATE] = {"RateLimited", false},
    [REPLY_PERMANENT] = {"Uncategorized", true}, [REPLY_MAILBOX] = {"InvalidRecipient", true},
    [REPLY_POLICY] = {"PolicyRelated", true},    [REPLY_UNSUPPORTED] = {"ProtocolErrors", true},
    [REPLY_UNKNOWN] = {"OutcomeUnknown", false},
};

#define ANY       0xffffu
#define AT(stage) (1u << (stage))
#define EARLY                                                                                      \
    (AT(SMTP_AT_CONNECT) | AT(SMTP_AT_BANNER) | AT(SMTP_AT_EHLO) | AT(SMTP_AT_STARTTLS) |          \
     AT(SMTP_AT_AUTH) | AT(SMTP_AT_RSET) | AT(SMTP_AT_QUIT))
#define ENVELOPE (AT(SMTP_AT_MAIL) | AT(SMTP_AT_RCPT) | AT(SMTP_AT_DATA))
#define ALL      0xffffffffu

/* `text`: lower-case part of the reply, for receivers whose codes lie; NULL any. */
static const struct {
    uint32_t stages;
    uint16_t code_from, code_to;
    uint16_t class, subject, detail; /* enhanced */
    const char *text;
    enum reply_class is;
} rules[] = {
    {ALL, 200, 299, ANY, ANY, ANY, NULL, REPLY_DELIVERED},
    /* Before the envelope nothing was said about the message: even 5yz speaks of the connection. */
    {EARLY, 400, 499, 4, 7, ANY, NULL, REPLY_RATE},
    {EARLY, 0, 599, ANY, ANY, ANY, NULL, REPLY_HOST},
    {ALL, 421, 421, ANY, ANY, ANY, NULL, REPLY_HOST},
    /* 552 at RCPT and 5.2.2 mean a full mailbox, which may be emptied (RFC 5321 4.5.3.1.10). */
    {ENVELOPE, 400, 599, ANY, 2, 2, NULL, REPLY_FULL},
    {AT(SMTP_AT_RCPT), 552, 552, 0, ANY, ANY, NULL, REPLY_FULL},
    {AT(SMTP_AT_RCPT), 452, 452, ANY, ANY, ANY, NULL, REPLY_TEMPORARY},
    {ENVELOPE, 400, 499, ANY, ANY, ANY, "greylist", REPLY_GREYLIST},
    {ENVELOPE, 400, 499, ANY, ANY, ANY, "graylist", REPLY_GREYLIST},
    {ALL, 400, 499, ANY, ANY, ANY, "rate", REPLY_RATE},
    {ALL, 400, 499, ANY, ANY, ANY, "too many", REPLY_RATE},
    {ALL, 400, 499, 4, 7, 28, NULL, REPLY_RATE},
    {AT(SMTP_AT_RCPT) | AT(SMTP_AT_DATA), 450, 451, 4, 7, ANY, NULL, REPLY_GREYLIST},
    {AT(SMTP_AT_RCPT) | AT(SMTP_AT_DATA), 450, 451, ANY, ANY, ANY, NULL, REPLY_GREYLIST},
    {ALL, 400, 499, ANY, ANY, ANY, NULL, REPLY_TEMPORARY},
    {ALL, 500, 599, 5, 1, ANY, NULL, REPLY_MAILBOX},
    {ALL, 500, 599, 5, 2, 1, NULL, REPLY_MAILBOX},
    {ALL, 500, 599, 5, 7, ANY, NULL, REPLY_POLICY},
    {ALL, 500, 599, 5, 6, ANY, NULL, REPLY_UNSUPPORTED},
    {AT(SMTP_AT_RCPT), 550, 551, 0, ANY, ANY, NULL, REPLY_MAILBOX},
    {AT(SMTP_AT_RCPT), 553, 553, 0, ANY, ANY, NULL, REPLY_MAILBOX},
    {ALL, 554, 554, 0, ANY, ANY, "spam", REPLY_POLICY},
    {ALL, 500, 599, ANY, ANY, ANY, NULL, REPLY_PERMANENT},
};

static bool
text_has(struct str text, const char *word)
{
    struct str w = str_c(word);

    for (size_t i = 0; i + w.n <= text.n; i++) {
        if (str_ieq(str_sub(text, i, w.n), w))
            return true;
    }
    return false;
}

static bool
part_is(uint16_t want, uint16_t got)
{
    return want == ANY || want == got;
}

enum reply_class
classify(enum smtp_client_stage stage, const struct smtp_reply *r)
{
    if (r->code == 0 && stage == SMTP_AT_DOT)
        return REPLY_UNKNOWN;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (!(rules[i].stages & AT(stage)) || r->code < rules[i].code_from ||
            r->code > rules[i].code_to || !part_is(rules[i].class, r->enhanced[0]) ||
            !part_is(rules[i].subject, r->enhanced[1]) || !part_is(rules[i].detail, r->enhanced[2]))
            continue;
        if (rules[i].text && !text_has(r->text, rules[i].text))
            continue;
        return rules[i].is;
    }
    return REPLY_HOST; /* lost, or a code that no RFC knows here */
}
