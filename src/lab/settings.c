/*
 * lab/settings.c - rows of lab.conf: the lab itself, providers, sample mail.
 *
 * Read by lab/lab.c and by `gapura --print-settings lab`, which makes docs/lab-settings.md.
 */
#include "lab/settings.h"

#include "lab/words.h"

static const struct conf_row lab_rows[] = {
    {.name = "mx",
     CONF_ROW(ENDPOINT, struct settings_lab, mx, .min = 25, .flags = CONF_REQUIRED,
              .doc = "Where the gateway takes mail of strangers: sample mail goes there.")},
    {.name = "submission",
     CONF_ROW(ENDPOINT, struct settings_lab, submission, .min = 587, .flags = CONF_REQUIRED,
              .doc = "Where the gateway takes mail of people with a login.")},
    {.name = "login",
     CONF_ROW(TEXT, struct settings_lab, login, .flags = CONF_REQUIRED,
              .doc = "Your login. The lab adds it to the gateway at the first start.")},
    {.name = "password",
     CONF_ROW(TEXT, struct settings_lab, password, .flags = CONF_REQUIRED,
              .doc =
                  "Password of both logins. It is written here for all to read: this is a lab.")},
    {.name = "robot",
     CONF_ROW(TEXT, struct settings_lab, robot, .flags = CONF_REQUIRED,
              .doc = "Login that sample mail is submitted with.")},
    {.name = "traffic",
     CONF_ROW(BOOL, struct settings_lab, traffic, .def = "yes",
              .doc = "Sample mail flows from the start.")},
    {.name = "max_sessions",
     CONF_ROW(U64, struct settings_lab, max_sessions, .def = "500", .min = 1, .max = 100000,
              .doc = "Connections to all providers at once; more are closed.")},
    {.name = "max_message",
     CONF_ROW(SIZE, struct settings_lab, max_message, .def = "256 KB", .min = 4096,
              .max = 16u << 20,
              .doc = "Bytes of a message that a provider keeps and judges; the rest is counted.")},
    {.name = "keep",
     CONF_ROW(U64, struct settings_lab, keep, .def = "50", .max = 100000,
              .doc = "Messages kept in a folder, DIR/mail/PROVIDER/inbox and spam; the oldest is "
                     "written over. 0 keeps none.")},
    {.name = "memory",
     CONF_ROW(U64, struct settings_lab, memory, .def = "10000", .min = 16, .max = 10000000,
              .doc = "Senders and recipients that a greylist remembers.")},
    {.name = "summary",
     CONF_ROW(DURATION, struct settings_lab, summary, .def = "10s", .min = 1000000000u,
              .doc = "Time between two lines about sample mail.")},
};
static const struct conf_block lab_block = {
    .name = "",
    .size = sizeof(struct settings_lab),
    .rows = lab_rows,
    .nrows = ARRAY_LEN(lab_rows),
    .doc = "The lab itself.",
};

static void
check_reply(const struct conf_section *s, struct conf_errors *errs, const char *row,
            struct str text, bool good)
{
    struct lab_reply r;

    if (lab_reply_parse(text, good, &r) < 0)
        conf_fail_row(
            errs, s, row,
            "provider %.*s: `%s` must be a code of %s, an enhanced code if wanted, and at "
            "most 400 bytes of text, for example: %s",
            STR_ARG(s->label), row, good ? "2yz" : "4yz or 5yz",
            good ? "250 2.0.0 Thank you" : "450 4.2.0 Come again later");
}

static void
check_provider(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_provider *p = s->data;
    const struct str *o = p->opinion.items;
    enum lab_opinion at;
    uint32_t points;

    check_reply(s, errs, "sessions_reply", p->sessions_reply, false);
    check_reply(s, errs, "per_session_reply", p->per_session_reply, false);
    check_reply(s, errs, "rate_reply", p->rate_reply, false);
    check_reply(s, errs, "greylist_reply", p->greylist_reply, false);
    check_reply(s, errs, "unknown_reply", p->unknown_reply, false);
    check_reply(s, errs, "full_reply", p->full_reply, false);
    check_reply(s, errs, "accept_reply", p->accept_reply, true);
    for (size_t i = 0; i < p->opinion.n; i++) {
        if (lab_opinion_parse(o[i], &at, &points) < 0)
            conf_fail_row(errs, s, "opinion",
                          "provider %.*s: `opinion` %.*s is not NAME POINTS with one of unsigned, "
                          "clear, foreign, guessing, hasty, shouting, words, nameless",
                          STR_ARG(s->label), STR_ARG(o[i]));
    }
    if (!addr_is_loopback(&p->address.addr))
        conf_fail_row(errs, s, "address",
                      "provider %.*s: its address must be a loopback one: the lab stays on this "
                      "machine",
                      STR_ARG(s->label));
}

static const char *const tls_words[] = {"yes", "no", "broken", NULL};
static const char *const stage_words[] = {"connect", "helo", "mail", "rcpt",
                                          "data",    "body", "dot",  NULL};
static const struct conf_row provider_rows[] = {
    {.name = "about",
     CONF_ROW(TEXT, struct settings_provider, about, .doc = "What it is like, for the banner.")},
    {.name = "domains",
     CONF_ROW(TEXTS, struct settings_provider, domains,
              .doc = "Domains whose mailboxes it has, for the banner. The zone leads them here.")},
    {.name = "address",
     CONF_ROW(ENDPOINT, struct settings_provider, address, .min = 2500, .flags = CONF_REQUIRED,
              .doc = "Where it listens: a loopback address, so that each has its own.")},
    {.name = "hostname",
     CONF_ROW(DOMAIN, struct settings_provider, hostname, .flags = CONF_REQUIRED,
              .doc = "Its name in the greeting and in its certificate.")},
    {.name = "lmtp",
     CONF_ROW(BOOL, struct settings_provider, lmtp, .def = "no",
              .doc = "It speaks LMTP: a mail server of our own, behind the gateway.")},
    {.name = "tls",
     CONF_ROW(WORD, struct settings_provider, tls, .def = "yes", .words = tls_words,
              .doc = "STARTTLS is offered (yes), not offered (no), or offered and then answered "
                     "with something that is not TLS (broken).")},
    {.name = "latency",
     CONF_ROW(DURATION, struct settings_provider, latency, .max = UINT64_C(600000000000),
              .doc = "How long it thinks before each reply.")},
    {.name = "max_size",
     CONF_ROW(SIZE, struct settings_provider, max_size, .def = "20 MB", .min = 4096,
              .doc = "Largest message, told as SIZE.")},
    {.name = "drop",
     CONF_ROW(FLAGS, struct settings_provider, drop, .words = stage_words,
              .doc = "Stages where it hangs up without a word: the first session at the first of "
                     "them, the next one at the next, then one session is let through. At `dot` "
                     "the message was taken, and the client cannot know it.")},
    {.name = "sessions_per_client",
     CONF_ROW(U64, struct settings_provider, sessions_per_client, .max = 100000,
              .doc = "Connections at once from one address; 0 sets no limit.")},
    {.name = "sessions_reply",
     CONF_ROW(TEXT, struct settings_provider, sessions_reply,
              .def = "421 4.7.0 Too many connections from your address", .doc = "Said beyond it.")},
    {.name = "rate",
     CONF_ROW(RATE, struct settings_provider, rate, .def = "none",
              .doc = "Messages over time, of all clients together.")},
    {.name = "rate_reply",
     CONF_ROW(TEXT, struct settings_provider, rate_reply,
              .def = "450 4.7.1 You are sending too fast", .doc = "Said to MAIL beyond it.")},
    {.name = "messages_per_session",
     CONF_ROW(U64, struct settings_provider, messages_per_session, .max = 1000000,
              .doc = "Messages on one connection; 0 sets no limit.")},
    {.name = "per_session_reply",
     CONF_ROW(TEXT, struct settings_provider, per_session_reply,
              .def = "421 4.7.0 Enough for one connection", .doc = "Said to MAIL beyond it.")},
    {.name = "greylist",
     CONF_ROW(DURATION, struct settings_provider, greylist,
              .doc = "How long a sender and recipient that it has not seen from this network "
                     "before must wait; 0: not at all.")},
    {.name = "greylist_reply",
     CONF_ROW(TEXT, struct settings_provider, greylist_reply,
              .def = "450 4.7.1 Greylisted. Please come again", .doc = "Said to RCPT until then.")},
    {.name = "unknown",
     CONF_ROW(TEXTS, struct settings_provider, unknown,
              .doc = "Local parts that do not exist; * stands for any text.")},
    {.name = "unknown_reply",
     CONF_ROW(TEXT, struct settings_provider, unknown_reply,
              .def = "550 5.1.1 There is no such mailbox", .doc = "Said to RCPT.")},
    {.name = "full",
     CONF_ROW(TEXTS, struct settings_provider, full,
              .doc = "Local parts whose mailbox is full; * stands for any text.")},
    {.name = "full_reply",
     CONF_ROW(TEXT, struct settings_provider, full_reply, .def = "452 4.2.2 The mailbox is full",
              .doc = "Said to RCPT.")},
    {.name = "opinion",
     CONF_ROW(TEXTS, struct settings_provider, opinion,
              .doc = "What it holds against a message, and how much: NAME POINTS, with commas. "
                     "unsigned: no DKIM-Signature; clear: it came without TLS; foreign: From is of "
                     "another domain than the envelope; guessing: over a tenth of the client's "
                     "recipients are unknown; hasty: over 20 messages within two minutes of the "
                     "first; shouting: a subject in capitals; words: one of `words`; nameless: no "
                     "Message-ID or Date. Without this it has no opinion.")},
    {.name = "words",
     CONF_ROW(TEXTS, struct settings_provider, words,
              .doc = "Words and phrases that it does not like in subject and text.")},
    {.name = "spam_at",
     CONF_ROW(U64, struct settings_provider, spam_at, .def = "5", .min = 1, .max = 1000,
              .doc = "Points from which on a message is filed into spam instead of the inbox.")},
    {.name = "accept_reply",
     CONF_ROW(TEXT, struct settings_provider, accept_reply, .def = "250 2.0.0 Thank you",
              .doc = "Said when it has the message. One with an opinion adds the folder and why, "
                     "which no real provider does.")},
};
static const struct conf_block provider_block = {
    .name = "provider",
    .labelled = true,
    .size = sizeof(struct settings_provider),
    .rows = provider_rows,
    .nrows = ARRAY_LEN(provider_rows),
    .doc = "A fake mailbox provider. Its label names its folder in DIR/mail.",
    .check = check_provider,
};

static void
check_mail(const struct conf_section *s, struct conf_errors *errs)
{
    const struct settings_mail *m = s->data;

    if (m->to.n == 0)
        conf_fail_row(errs, s, "to", "mail %.*s: `to` needs at least one address",
                      STR_ARG(s->label));
    if (m->rate.count && m->rate.period_ns / m->rate.count < UINT64_C(10000000))
        conf_fail_row(errs, s, "rate", "mail %.*s: `rate` is over 100/s; use `make bench` for that",
                      STR_ARG(s->label));
    if (!addr_is_loopback(&m->client))
        conf_fail_row(errs, s, "client", "mail %.*s: `client` must be a loopback address",
                      STR_ARG(s->label));
}

static const char *const wing_words[] = {"out", "in", NULL};
static const struct conf_row mail_rows[] = {
    {.name = "wing",
     CONF_ROW(WORD, struct settings_mail, wing, .def = "out", .words = wing_words,
              .doc = "out: submitted with the login `robot`. in: brought to `mx` as a stranger.")},
    {.name = "from",
     CONF_ROW(TEXT, struct settings_mail, from, .flags = CONF_REQUIRED,
              .doc = "Sender, in the envelope and in From.")},
    {.name = "to", CONF_ROW(TEXTS, struct settings_mail, to, .doc = "Recipients, taken in turn.")},
    {.name = "subject",
     CONF_ROW(TEXT, struct settings_mail, subject, .def = "Sample mail", .doc = "Its subject.")},
    {.name = "text",
     CONF_ROW(TEXT, struct settings_mail, text, .def = "This is sample mail of the lab.",
              .doc = "Its text.")},
    {.name = "helo",
     CONF_ROW(TEXT, struct settings_mail, helo, .def = "sample.lab.test",
              .doc = "Name that the sender gives in EHLO.")},
    {.name = "client",
     CONF_ROW(ADDR, struct settings_mail, client, .def = "127.0.0.1",
              .doc = "Address that it is sent from.")},
    {.name = "rate",
     CONF_ROW(RATE, struct settings_mail, rate, .def = "6/min",
              .doc = "How many, for example 6/min; none: never.")},
};
static const struct conf_block mail_block = {
    .name = "mail",
    .labelled = true,
    .size = sizeof(struct settings_mail),
    .rows = mail_rows,
    .nrows = ARRAY_LEN(mail_rows),
    .doc = "Sample mail of one kind.",
    .check = check_mail,
};

const struct conf_block *const lab_blocks[LAB_NBLOCKS] = {&lab_block, &provider_block, &mail_block};
