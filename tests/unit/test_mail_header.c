/*
 * tests/unit/test_mail_header.c - fields, unfolding, mailboxes of From, and the scan in pieces.
 */
#include "core/err.h"
#include "mail/header.h"
#include "tap.h"

static const char block[] = "Received: one\r\n"
                            "RECEIVED : two\r\n"
                            "Subject: a\r\n folded\r\n\tline\r\n"
                            "no field here\r\n"
                            "Message-ID:\r\n <id@x.example>\r\n"
                            "Empty:\r\n"
                            "\r\n"
                            "Not: a field\r\n";

static void
test_next(void)
{
    static const struct {
        int rc;
        const char *name, *value;
    } rows[] = {
        {1, "Received", " one"},
        {1, "RECEIVED", " two"},
        {1, "Subject", " a\r\n folded\r\n\tline"},
        {ERR_SYNTAX, NULL, NULL},
        {1, "Message-ID", "\r\n <id@x.example>"},
        {1, "Empty", ""},
        {0, NULL, NULL},
        {0, NULL, NULL},
    };
    struct header_field f;
    size_t at = 0;
    char flat[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        IS(header_next(STR(block), &at, &f), rows[i].rc, "field %zu", i);
        if (rows[i].rc <= 0)
            continue;
        TEXT(f.name, rows[i].name, "its name");
        TEXT(f.value, rows[i].value, "its value");
        OK(str_ends(f.line, STR("\r\n")), "its line is whole");
    }
    OK(header_find(STR(block), STR("subject"), &f), "found");
    TEXT(str_of(flat, header_unfold(f.value, flat, sizeof(flat))), "a folded\tline", "unfolded");
    IS(header_unfold(f.value, flat, 3), 3, "clipped");
    OK(!header_find(STR(block), STR("not"), &f), "not behind the blank line");
    at = 0;
    IS(header_next(STR("X: y"), &at, &f), 1, "no line end at the end");
    TEXT(f.value, " y", "its value");
    at = 0;
    IS(header_next(STR(" x\r\n"), &at, &f), ERR_SYNTAX, "starts with a fold");
    at = 0;
    IS(header_next(STR(""), &at, &f), 0, "nothing");
}

struct scan_row {
    const char *text;
    struct header_scan want; /* bytes, received, done and the flags */
    const char *id;
};

static const struct scan_row scans[] = {
    {block,
     {.bytes = sizeof(block) - 1 - 14,
      .received = 2,
      .done = true,
      .stray = true,
      .has_message_id = true},
     "<id@x.example>"},
    {"Date: x\r\nFrom: y\r\nMessage-Id: <a@b>\r\n\r\nReceived: no\r\n\xff",
     {.bytes = 39,
      .done = true,
      .has_date = true,
      .has_from = true,
      .has_message_id = true,
      .eight_bit = true},
     "<a@b>"},
    {"Message-ID: <a\r\n b@c> (x)\r\nMessage-ID: <second>\r\n\r\n",
     {.bytes = 51, .done = true, .has_message_id = true},
     "<ab@c>"},
    {"\r\nbody", {.bytes = 2, .done = true}, ""},
    {"no field\r\nFrom: x\r\n\r\nDate: y\r\n",
     {.bytes = 21, .done = true, .stray = true, .has_from = true},
     ""},
    {"body at once\r\n", {.bytes = 14, .stray = true}, ""},
    {"X: y\r\nno field\r\nReceived: z\r\n", {.bytes = 29, .received = 1, .stray = true}, ""},
    {"Message-ID: <a@b>\r\nno field\r\n more\r\n\r\n",
     {.bytes = 38, .done = true, .stray = true, .has_message_id = true},
     "<a@b>"},
    {"X: y\r\n\rz\r\nDate: x\r\n", {.bytes = 19, .stray = true, .has_date = true}, ""},
    {" fold first: x\r\n\tmore\r\nDate: x\r\n\r\n",
     {.bytes = 34, .done = true, .stray = true, .has_date = true},
     ""},
    {"From user@x Mon\r\nX: y\r\n", {.bytes = 23, .stray = true}, ""},
    {"no field\nReceived: x\n\nReceived: y\n",
     {.bytes = 22, .received = 1, .done = true, .stray = true},
     ""},
    {"From\t: x\r\nDate: y\n\nz",
     {.bytes = 19, .done = true, .has_from = true, .has_date = true},
     ""},
    {"X-A-Name-That-Is-Longer-Than-The-Place-For-It: y\r\nReceived: z",
     {.bytes = 61, .received = 1},
     ""},
};

static bool
scan_same(const struct header_scan *a, const struct header_scan *b)
{
    return a->bytes == b->bytes && a->received == b->received && a->done == b->done &&
           a->has_date == b->has_date && a->has_message_id == b->has_message_id &&
           a->has_from == b->has_from && a->stray == b->stray && a->eight_bit == b->eight_bit;
}

static void
test_scan(void)
{
    for (size_t i = 0; i < sizeof(scans) / sizeof(scans[0]); i++) {
        struct str text = str_c(scans[i].text);
        struct header_scan h, cut;
        unsigned bad = 0;

        header_scan_init(&h);
        header_scan_feed(&h, text.p, text.n);
        if (!OK(scan_same(&h, &scans[i].want), "scan %zu", i))
            printf("#   bytes %llu received %u done %d\n", (unsigned long long)h.bytes, h.received,
                   h.done);
        TEXT(header_scan_message_id(&h), scans[i].id, "its Message-ID");
        for (size_t k = 0; k <= text.n; k++) {
            header_scan_init(&cut);
            header_scan_feed(&cut, text.p, k);
            header_scan_feed(&cut, text.p + k, text.n - k);
            bad += !scan_same(&cut, &h) ||
                   !str_eq(header_scan_message_id(&cut), header_scan_message_id(&h));
        }
        IS(bad, 0, "scan %zu cut at every byte", i);
    }
}

/* The scan and the walk over the whole block see the same fields. */
static void
test_one_law(void)
{
    for (size_t i = 0; i < ARRAY_LEN(scans); i++) {
        struct str text = str_c(scans[i].text);
        unsigned received = 0, stray = 0;
        struct header_field f;
        size_t at = 0;
        int rc;

        while ((rc = header_next(text, &at, &f)) != 0) {
            stray += rc < 0;
            received += rc > 0 && str_ieq(f.name, STR("received"));
        }
        IS(received, scans[i].want.received, "scan %zu: as many Received fields", i);
        IS(stray > 0, scans[i].want.stray, "lines that are no fields");
        IS(header_find(text, STR("from"), &f), scans[i].want.has_from, "From or none");
    }
}

static void
test_scan_long_id(void)
{
    char id[300];
    struct header_scan h;

    memset(id, 'a', sizeof(id));
    header_scan_init(&h);
    header_scan_feed(&h, "Message-ID: <", 13);
    header_scan_feed(&h, id, sizeof(id));
    header_scan_feed(&h, ">\r\n\r\n", 5);
    OK(h.has_message_id && h.done, "a Message-ID over 255 bytes");
    IS(header_scan_message_id(&h).n, 0, "counts as none");
}

static char found[600];
static int
note(void *ctx, struct str mailbox)
{
    size_t n = strlen(found);

    (void)ctx;
    str_fmt(found + n, sizeof(found) - n, "%s%.*s", n ? "|" : "", STR_ARG(mailbox));
    return 0;
}

static const struct {
    const char *value;
    int rc;
    const char *want;
} lists[] = {
    {" a@b.example", 1, "a@b.example"},
    {"John Q. Public <a@b.example>", 1, "a@b.example"},
    {"\"Public, John\" <a@b.example>, c@d.example", 2, "a@b.example|c@d.example"},
    {"(comment (nested \\) x)) a@b.example (y)", 1, "a@b.example"},
    {"a (x) . b (y) @ c . example", 1, "a.b@c.example"},
    {"\"a b\"@c.example", 1, "\"a b\"@c.example"},
    {"x <\"a>b\"@c.example>", 1, "\"a>b\"@c.example"},
    {"<@r.example,@s.example:a@b.example>", 1, "a@b.example"},
    {"Team: a@b.example, X <c@d.example>;, e@f.example", 3, "a@b.example|c@d.example|e@f.example"},
    {"undisclosed-recipients:;", 0, ""},
    {"a@[192.0.2.1]", 1, "a@[192.0.2.1]"},
    {"=?utf-8?q?x?= <jos\xc3\xa9@b.example>", 1, "jos\xc3\xa9@b.example"},
    {"a@b.example,,c@d.example,", 2, "a@b.example|c@d.example"},
    {"", 0, ""},
    {"John", ERR_SYNTAX, ""},
    {"John a@b.example", ERR_SYNTAX, ""},
    {"a@b.example <c@d.example>", ERR_SYNTAX, ""},
    {"<a@b.example> x", ERR_SYNTAX, NULL},
    {"<a@b.example", ERR_SYNTAX, ""},
    {"<>", ERR_SYNTAX, ""},
    {"\"a@b.example", ERR_SYNTAX, ""},
    {"(a@b.example", ERR_SYNTAX, ""},
    {"a@b@c.example", ERR_SYNTAX, ""},
    {"a)b@c.example", ERR_SYNTAX, ""},
    {"Team: a@b.example", ERR_SYNTAX, NULL},
    {"@b.example", ERR_SYNTAX, ""},
    {"a@", ERR_SYNTAX, ""},
    /* Two readers see two domains. */
    {"<ceo@bank.example@evil.example>", ERR_SYNTAX, ""},
    {"<ceo@bank.example,x@evil.example>", ERR_SYNTAX, ""},
    {"<ceo@bank.example:x@evil.example>", ERR_SYNTAX, ""},
    {"<ceo,x@evil.example>", ERR_SYNTAX, ""},
    {"<ceo:x@evil.example>", ERR_SYNTAX, ""},
    {"<@r.example:@s.example:a@b.example>", ERR_SYNTAX, ""},
    {"<@r.example:a@b.example@c.example>", ERR_SYNTAX, ""},
    {"<@r.example>", ERR_SYNTAX, ""},
    {"<@r.example:>", ERR_SYNTAX, ""},
    {"<[ceo@bank.example]@evil.example>", ERR_SYNTAX, ""},
    {"[ceo]@evil.example", ERR_SYNTAX, ""},
    {"<a\\b@evil.example>", ERR_SYNTAX, ""},
    {"<a\x01@evil.example>", ERR_SYNTAX, ""},
    {"<\"ceo@bank.example\"x@evil.example>", ERR_SYNTAX, ""},
    {"<a.\"b c\"@b.example>", 1, "a.\"b c\"@b.example"},
    {"<a..b.@b.example>", 1, "a..b.@b.example"},
    {"<\"a\\\"@\"@b.example>", 1, "\"a\\\"@\"@b.example"},
};

static void
test_mailboxes(void)
{
    char many[3000];
    size_t n = 0;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        found[0] = '\0';
        IS(header_mailboxes(str_c(lists[i].value), note, NULL), lists[i].rc, "From: %s",
           lists[i].value);
        if (lists[i].want)
            TEXT(str_c(found), lists[i].want, "its mailboxes");
    }
    for (int i = 0; i < 101; i++)
        n += str_fmt(many + n, sizeof(many) - n, "a@b.example,");
    found[0] = '\0';
    IS(header_mailboxes(str_of(many, n), note, NULL), ERR_LIMIT, "101 mailboxes");
    memset(many, '(', sizeof(many));
    IS(header_mailboxes(str_of(many, sizeof(many)), note, NULL), ERR_SYNTAX, "nesting is bounded");
    memset(many, 'x', sizeof(many));
    memcpy(many + 1000, " <a@b.example>", 14);
    many[700] = ' '; /* a word longer than any address, then another one */
    found[0] = '\0';
    IS(header_mailboxes(str_of(many, 1014), note, NULL), 1, "a long display name is fine");
}

static int
note_shown(void *ctx, struct str mailbox)
{
    size_t n = strlen(found);

    (void)ctx;
    str_fmt(found + n, sizeof(found) - n, "%s(%.*s)", n ? "|" : "", STR_ARG(mailbox));
    return 0;
}

static void
test_address_in_place_of_a_name(void)
{
    static const struct {
        const char *value;
        int rc;
        const char *want;
    } rows[] = {
        {"a@b.example <c@d.example>", 1, "(a@b.example)|c@d.example"},
        {"a@b.example <c@d.example>, e@f.example", 2, "(a@b.example)|c@d.example|e@f.example"},
        {"Ceo a@b.example <c@d.example>", ERR_SYNTAX, ""},
        {"a@b@c.example <c@d.example>", ERR_SYNTAX, ""},
        {"a@b.example <c@d.example> <e@f.example>", ERR_SYNTAX, NULL},
        {"a@b.example <c@d.example@e.example>", ERR_SYNTAX, NULL},
        {"a@ <c@d.example>", ERR_SYNTAX, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        found[0] = '\0';
        IS(header_mailboxes_shown(str_c(rows[i].value), note, note_shown, NULL), rows[i].rc,
           "shown: %s", rows[i].value);
        if (rows[i].want)
            TEXT(str_c(found), rows[i].want, "its mailboxes");
    }
}

int
main(void)
{
    test_next();
    test_scan();
    test_one_law();
    test_scan_long_id();
    test_mailboxes();
    test_address_in_place_of_a_name();
    return tap_done();
}
