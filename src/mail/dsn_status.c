/*
 * mail/dsn_status.c - the fields of message/delivery-status (RFC 3464 2, RFC 6533 3) and of what
 * servers write in their place.
 *
 * Called by mail/dsn for the parts that are declared so, and for text in which such fields stand.
 * Tolerates missing blank lines, any order of fields, missing types, and comments. Pure.
 */
#include "mail/dsn_inner.h"

#include "mail/date.h"
#include "mail/header.h"

#define VALUE_MAX     8000u /* bytes of one field taken */
#define RECIPIENT_MAX 1000u /* of an address of whatever kind */

enum field {
    F_FINAL,
    F_ORIGINAL,
    F_ACTUAL,
    F_ACTION,
    F_STATUS,
    F_DIAGNOSTIC,
    F_REMOTE,
    F_LAST,
    F_RETRY,
    F_CATEGORY,
    F_REPORTING,
    F_ENVID,
    F_ARRIVAL,
    F_MESSAGE_ID,
    F_FIELDS
};
static const char *const field_names[] = {
    [F_FINAL] = "Final-Recipient",
    [F_ORIGINAL] = "Original-Recipient",
    [F_ACTUAL] = "X-Actual-Recipient",
    [F_ACTION] = "Action",
    [F_STATUS] = "Status",
    [F_DIAGNOSTIC] = "Diagnostic-Code",
    [F_REMOTE] = "Remote-MTA",
    [F_LAST] = "Last-Attempt-Date",
    [F_RETRY] = "Will-Retry-Until",
    [F_REPORTING] = "Reporting-MTA",
    [F_ENVID] = "Original-Envelope-Id",
    [F_ARRIVAL] = "Arrival-Date",
    [F_MESSAGE_ID] = "X-Original-Message-ID",
    [F_CATEGORY] = "X-PowerMTA-BounceCategory",
};
#define PER_MESSAGE F_REPORTING

static const struct {
    const char *word;
    enum dsn_action action;
} actions[] = {
    {"failed", DSN_FAILED},         {"failure", DSN_FAILED},  {"expired", DSN_FAILED},
    {"deliverable", DSN_DELIVERED}, {"error", DSN_FAILED},    {"delayed", DSN_DELAYED},
    {"delivered", DSN_DELIVERED},   {"relayed", DSN_RELAYED}, {"expanded", DSN_EXPANDED},
    {"deferred", DSN_DELAYED},
};

struct group { /* the fields of one recipient */
    struct str value[F_FIELDS];
    bool any;
};

/* "type; text": the text; the type, lower case, in *ret_type (may be NULL). */
static struct str
typed(struct str s, struct arena *arena, struct str *ret_type)
{
    struct str rest, type = str_trim(str_cut(s, ';', &rest));
    bool is_type = str_chr(s, ';') >= 0 && type.n && type.n <= 40;

    for (size_t i = 0; is_type && i < type.n; i++)
        is_type = type.p[i] > ' ' && !strchr("@<>\"(", type.p[i]);
    if (ret_type)
        *ret_type = STR_NONE;
    if (!is_type)
        return str_trim(s);
    if (ret_type && (*ret_type = arena_str(arena, type)).p)
        str_lower((char *)(uintptr_t)ret_type->p, ret_type->n); /* our own copy */
    return str_trim(rest);
}

/* RFC 6533 3: "\\x{E9}" in an address of type utf-8 where the report had to be ASCII. */
static struct str
unescaped(struct str s, struct arena *arena)
{
    struct buf out;
    struct str ret = s;

    if (str_find(s, STR("\\x{")) < 0)
        return s;
    buf_init(&out, s.n + 8);
    for (size_t at = 0; at < s.n;) {
        struct str rest = str_from(s, at);
        ssize_t end = str_starts(rest, STR("\\x{")) ? str_chr(str_sub(rest, 0, 10), '}') : -1;
        uint64_t point;

        if (end > 3 && str_hex64(str_sub(rest, 3, (size_t)end - 3), &point) == 0 && point > 32) {
            dsn_point(&out, (uint32_t)MIN(point, UINT64_C(0x110000)));
            at += (size_t)end + 1;
        } else {
            buf_char(&out, s.p[at++]);
        }
    }
    if (!out.failed)
        ret = arena_str(arena, buf_view(&out));
    buf_done(&out);
    return ret;
}

/* The address of a recipient field: without type, comments, <> and a source route. */
static struct str
recipient(struct str s, struct arena *arena)
{
    struct str type;
    ssize_t at;

    s = typed(s, arena, &type);
    if (s.n && s.p[0] == '<' && (at = str_rchr(s, '>')) > 0)
        s = str_sub(s, 1, (size_t)at - 1);
    if (s.n && s.p[0] == '@' && (at = str_chr(s, ':')) > 0)
        s = str_from(s, (size_t)at + 1);
    if (s.n > RECIPIENT_MAX || str_has_ctl(s) || (str_chr(s, '@') < 0 && str_chr(s, ' ') >= 0))
        return STR_NONE;
    return str_eq(type, STR("utf-8")) ? unescaped(s, arena) : s;
}

/* "example.com (192.0.2.1)": the name. */
static struct str
mta(struct str s)
{
    s = typed(s, NULL, NULL);
    s = str_word(&s);
    if (s.n && s.p[0] == '[' && s.p[s.n - 1] == ']')
        s = str_sub(s, 1, s.n - 2);
    return s;
}

static enum dsn_action
action_of(const struct group *g)
{
    struct str rest = g->value[F_ACTION], word = str_word(&rest);

    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (str_ieq(word, str_c(actions[i].word)))
            return actions[i].action;
    return g->value[F_STATUS].n && g->value[F_STATUS].p[0] == '2' ? DSN_DELIVERED : DSN_FAILED;
}

static bool
has_letter(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') || s.p[i] < 0)
            return true;
    return false;
}

/* A status may carry its reason as a comment: "4.2.2 (Over quota)". */
static struct str
comment(struct str s)
{
    ssize_t open = str_chr(s, '('), close = str_rchr(s, ')');

    return open >= 0 && close > open ? str_sub(s, (size_t)open + 1, (size_t)(close - open) - 1)
                                     : STR_NONE;
}

static void
outcome(struct dsn_list *list, const struct group *g)
{
    const struct str *v = g->value;
    struct str original = recipient(v[F_ORIGINAL], list->arena);
    struct str final = recipient(v[F_FINAL], list->arena);
    struct str diagnostic, type = STR_NONE, from_field;
    struct dsn_outcome *o;
    char status[12] = "";

    if (!final.n || final.p[0] == '@') /* "@host": no address, the original one tells more */
        final = original.n ? original : recipient(v[F_ACTUAL], list->arena);
    if (!final.n && !v[F_STATUS].n && !v[F_DIAGNOSTIC].n)
        return;
    o = dsn_list_add(list);
    if (!o)
        return;
    o->final = final;
    o->original = original;
    o->action = action_of(g);
    o->remote_mta = mta(v[F_REMOTE]);
    o->category = v[F_CATEGORY];
    (void)date_parse(v[F_LAST], &o->last_attempt);
    (void)date_parse(v[F_RETRY], &o->will_retry_until);
    diagnostic = typed(v[F_DIAGNOSTIC], list->arena, &type);
    o->diagnostic_type = type;
    o->diagnostic = diagnostic;
    if (has_letter(diagnostic) || diagnostic.n > 4)
        dsn_explain(list, o, diagnostic);
    dsn_status_set(status, v[F_STATUS]);
    if (status[0] && dsn_status_vague(o->status) && !(o->status[0] && dsn_status_vague(status)))
        memcpy(o->status, status, sizeof(status));
    from_field = comment(v[F_STATUS]);
    if (!o->reply.n && from_field.n)
        o->reply = dsn_one_line(from_field, list->limits->reply, list->arena);
}

static void
message_fields(const struct group *g, struct dsn_report *report, struct arena *arena)
{
    const struct str *v = g->value;

    if (!report->reporting_mta.n)
        report->reporting_mta = mta(v[F_REPORTING]);
    if (!report->envid.n)
        report->envid = v[F_ENVID];
    if (!report->arrival)
        (void)date_parse(v[F_ARRIVAL], &report->arrival);
    if (!report->message_id.n)
        report->message_id = dsn_one_line(v[F_MESSAGE_ID], 998, arena);
}

static void
group_end(struct dsn_list *list, struct group *g, struct dsn_report *report)
{
    if (g->any)
        outcome(list, g);
    message_fields(g, report, list->arena);
    *g = (struct group){.any = false};
}

/* Some write further lines of a reply without white space in front: "550-..." in a column. */
static bool
reply_goes_on(struct group *g, int last, struct str line, struct arena *arena)
{
    struct str *value = &g->value[F_DIAGNOSTIC];
    size_t digits = 0;

    while (digits < line.n && line.p[digits] >= '0' && line.p[digits] <= '9')
        digits++;
    if (last != F_DIAGNOSTIC || digits != 3 || line.n < 5 || !strchr(" -", line.p[3]) ||
        value->n + line.n > VALUE_MAX)
        return false;
    *value = arena_fmt(arena, "%.*s %.*s", STR_ARG(*value), STR_ARG(line));
    return true;
}

static int
field_of(struct str name)
{
    for (int i = 0; i < F_FIELDS; i++)
        if (str_ieq(name, str_c(field_names[i])))
            return i;
    return -1;
}

/* Does the field begin another recipient though no blank line parts them? */
static bool
begins_next(const struct group *g, int field)
{
    return g->any && g->value[field].n && field < PER_MESSAGE &&
           (g->value[F_FINAL].n || g->value[F_ORIGINAL].n);
}

void
dsn_status_read(struct dsn_list *list, struct str fields, bool loose, struct dsn_report *report)
{
    struct group g = {.any = false};
    size_t at = 0, from;
    int last = -1;

    while (at < fields.n) {
        struct header_field f;
        char value[VALUE_MAX];
        int rc, field;

        from = at;
        rc = header_next(fields, &at, &f);

        if (!rc) { /* a blank line ends a group that has a recipient */
            while (at < fields.n && strchr("\r\n", fields.p[at]))
                at++;
            if (g.value[F_FINAL].n || g.value[F_ORIGINAL].n || (!loose && g.any))
                group_end(list, &g, report);
            continue;
        }
        if (reply_goes_on(&g, last, str_sub(fields, from, at - from), list->arena))
            continue;
        field = last = rc > 0 ? field_of(f.name) : -1;
        if (field < 0) {
            if (loose && g.any && rc < 0)
                group_end(list, &g, report);
            continue;
        }
        if (begins_next(&g, field))
            group_end(list, &g, report);
        if (g.value[field].n)
            continue;
        g.value[field] =
            arena_str(list->arena, str_of(value, header_unfold(f.value, value, sizeof(value))));
        g.any |= field < PER_MESSAGE;
    }
    group_end(list, &g, report);
}
