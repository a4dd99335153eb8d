/*
 * tests/support/lib/cases_robin.c - dialogue cases in JSON5: envelopes and protocol assertions.
 *
 * The twin stands for the server behind the engine: "nonexistent" is unknown, all else is taken.
 * What asks a mailbox, a log service, a content verdict or an XCLIENT is skipped with its name.
 */
#include <regex.h>

#include "cases.h"
#include "smtp_twin.h"

struct robin {
    const char *path, *name;
    const json_t *envelope;
    struct twin t;
    struct buf body;
    unsigned asserted; /* assertions looked at so far, by place in the list */
};

static bool
matches(const char *pattern, struct str text)
{
    char copy[4096];
    regex_t re;
    bool hit;

    str_copy(str_sub(text, 0, sizeof(copy) - 1), copy, sizeof(copy));
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE) != 0)
        return false;
    hit = regexec(&re, copy, 0, NULL, 0) == 0;
    regfree(&re);
    return hit;
}

/* Sends a line of three pieces and gives the reply, which stands until the next one. */
static struct str
say(struct robin *r, const char *before, const char *arg, const char *behind)
{
    char line[1200];

    buf_clear(&r->t.out);
    twin_feed(&r->t, str_of(line, str_fmt(line, sizeof(line), "%s%s%s\r\n", before, arg, behind)),
              0);
    return buf_view(&r->t.out);
}

/* The reply against the nth assertion for that verb (0 first); none there: nothing to compare. */
static void
compare(struct robin *r, const json_t *list, const char *verb, unsigned nth, struct str reply)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *pattern = json_string_value(json_array_get(one, 1));

        if (!str_eq(str_c(json_string_value(json_array_get(one, 0))), str_c(verb)) || nth--)
            continue;
        if (!pattern)
            return;
        cases_ok(matches(pattern, reply), "robin %s %s ~ %s", r->name, verb, pattern);
        if (!matches(pattern, reply))
            cases_note("reply %.*s", STR_ARG(str_sub(reply, 0, 100)));
        return;
    }
}

/* The message file: named from the suite's root, found beside the case's own "cases" folder. */
static bool
load_file(struct robin *r)
{
    const char *file = json_string_value(json_object_get(r->envelope, "file"));
    const char *from = file ? strstr(file, "cases/") : NULL;
    char path[1024];
    ssize_t at = -1;

    buf_init(&r->body, 16u << 20);
    for (const char *p = r->path; from && (p = strstr(p, "cases/")); p++)
        at = p - r->path;
    if (at < 0)
        return false;
    str_fmt(path, sizeof(path), "%.*s%s", (int)at, r->path, from);
    return cases_read(path, &r->body);
}

static const char *
pattern_of(const json_t *list, const char *verb)
{
    const json_t *one;
    size_t i;

    json_array_foreach(
        list, i, one) if (str_eq(str_c(json_string_value(json_array_get(one, 0))),
                                 str_c(verb))) return json_string_value(json_array_get(one, 1));
    return NULL;
}

/* Why the content's verdict cannot be had from the engine alone; NULL if it can. */
static const char *
needs_more(const struct robin *r, const json_t *list)
{
    const char *data = pattern_of(list, "DATA");

    if (str_find(buf_view(&r->body), STR("X-Robin-Chaos")) >= 0)
        return "needs a delivery agent or storage that fails on demand";
    if (data && data[0] == '^' && data[1] != '2')
        return "needs a content verdict of the scan worker";
    return NULL;
}

static struct str
send_body(struct robin *r, bool chunks)
{
    struct str rest = buf_view(&r->body);

    if (chunks) {
        char head[64];

        buf_clear(&r->t.out);
        twin_feed(&r->t, str_of(head, str_fmt(head, sizeof(head), "BDAT %zu LAST\r\n", rest.n)), 0);
        twin_feed(&r->t, rest, 0);
        return buf_view(&r->t.out);
    }
    say(r, "DATA", "", "");
    buf_clear(&r->t.out);
    while (rest.n) {
        struct str line = str_cut(rest, '\n', &rest);

        if (line.n && line.p[0] == '.')
            twin_feed(&r->t, STR("."), 0);
        twin_feed(&r->t, line, 0);
        twin_feed(&r->t, line.n && line.p[line.n - 1] == '\r' ? STR("\n") : STR("\r\n"), 0);
    }
    twin_feed(&r->t, STR(".\r\n"), 0);
    return buf_view(&r->t.out);
}

static void
run_envelope(struct robin *r)
{
    const json_t *list = json_object_get(json_object_get(r->envelope, "assertions"), "protocol");
    const json_t *rcpts = json_object_get(r->envelope, "rcpt");
    const char *from = json_string_value(json_object_get(r->envelope, "mail")), *why;
    bool chunks = json_object_get(r->envelope, "chunkSize") != NULL;
    unsigned n = rcpts ? (unsigned)json_array_size(rcpts) : 1;
    struct str reply;

    if (!load_file(r)) {
        cases_skip("the message is built by that test tool itself", "robin %s", r->name);
        return;
    }
    reply = say(r, "MAIL FROM:<", from ? from : "sender@example.com", ">");
    compare(r, list, "MAIL", 0, reply);
    if (reply.p[0] != '2')
        return;
    for (unsigned i = 0; i < n; i++) {
        const char *to = json_string_value(json_array_get(rcpts, i));

        compare(r, list, "RCPT", i, say(r, "RCPT TO:<", to ? to : "rcpt@example.com", ">"));
    }
    why = needs_more(r, list);
    if (why) {
        cases_skip(why, "robin %s DATA", r->name);
        return;
    }
    if (!r->t.rcpts)
        return;
    reply = send_body(r, chunks);
    compare(r, list, "DATA", 0, reply);
    compare(r, list, "DATA", 1, reply);
    compare(r, list, "BDAT", 0, reply);
}

static void
skip_external(const struct robin *r)
{
    const json_t *list = json_object_get(json_object_get(r->envelope, "assertions"), "external");
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        struct str type = cases_text(one, "type");

        if (str_eq(type, STR("imap")))
            cases_skip("needs an IMAP mailbox behind the gate", "robin %s imap", r->name);
        else
            cases_skip("asks that server's own log service", "robin %s %.*s", r->name,
                       STR_ARG(type));
    }
}

static void
run_case(struct robin *r, const json_t *root)
{
    const json_t *list = json_object_get(json_object_get(root, "assertions"), "protocol");
    const json_t *envelopes = json_object_get(root, "envelopes");
    struct smtp_server_conf conf = twin_conf();
    size_t i;

    conf.auth_mechs = STR_NONE;
    twin_open(&r->t, &conf, false);
    compare(r, list, "SMTP", 0, buf_view(&r->t.out));
    compare(r, list, "EHLO", 0, say(r, "EHLO ", "client.example.com", ""));
    if (json_is_true(json_object_get(root, "tls"))) {
        say(r, "STARTTLS", "", "");
        cases_ok(str_starts(say(r, "EHLO ", "client.example.com", ""), STR("250")),
                 "robin %s EHLO inside TLS", r->name);
    }
    json_array_foreach(envelopes, i, r->envelope)
    {
        run_envelope(r);
        skip_external(r);
        say(r, "RSET", "", "");
        buf_done(&r->body);
    }
    compare(r, list, "QUIT", 0, say(r, "QUIT", "", ""));
    twin_close(&r->t);
}

void
cases_robin(const char *path)
{
    const char *base = strrchr(path, '/');
    struct robin r = {.path = path, .name = base ? base + 1 : path};
    struct buf file, json;
    json_error_t error = {0};
    json_t *root;

    buf_init(&json, 16u << 20);
    cases_read(path, &file);
    cases_json5(buf_view(&file), &json);
    root = json_loadb(json.p ? json.p : "", json.n, JSON_ALLOW_NUL, &error);
    if (!root)
        cases_ok(false, "robin %s: line %d: %s", r.name, error.line, error.text);
    else if (json_object_get(root, "xclient"))
        cases_skip("XCLIENT is not offered (PROXY protocol is)", "robin %s", r.name);
    else if (json_object_get(root, "behaviour"))
        cases_skip("STARTTLS inside a transaction; RFC 3207 makes it void", "robin %s", r.name);
    else
        run_case(&r, root);
    json_decref(root);
    buf_done(&file);
    buf_done(&json);
}
