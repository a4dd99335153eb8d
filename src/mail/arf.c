/*
 * mail/arf.c - the fields of a feedback report (RFC 5965 3, RFC 6591 3).
 *
 * Called by mail/dsn for each message/feedback-report part, and by tools that have the fields
 * alone. Pure; unknown fields are skipped, repeated ones are the first unless the RFC allows many.
 */
#include "mail/arf.h"

#include "core/err.h"
#include "mail/date.h"
#include "mail/header.h"

#define ARF_VALUE_MAX 2000u /* bytes of one field taken */

enum arf_form {
    ARF_TEXT,    /* struct str */
    ARF_WORD,    /* struct str, lower case, up to white space */
    ARF_ADDRESS, /* struct str, <> taken off */
    ARF_NAME,    /* struct str, "type;" taken off */
    ARF_LIST,    /* struct arf_list of texts */
    ARF_RCPTS,   /* struct arf_list of addresses */
    ARF_DATE,    /* uint64_t */
    ARF_NUMBER,  /* uint64_t */
};
struct arf_field {
    const char *name;
    enum arf_form form;
    size_t at;
};
#define FIELD(name, form, member)                                                                  \
    {                                                                                              \
        name, form, offsetof(struct arf, member)                                                   \
    }
static const struct arf_field arf_fields[] = {
    FIELD("Feedback-Type", ARF_WORD, type),
    FIELD("Version", ARF_TEXT, version),
    FIELD("User-Agent", ARF_TEXT, user_agent),
    FIELD("Original-Mail-From", ARF_ADDRESS, mail_from),
    FIELD("Original-Rcpt-To", ARF_RCPTS, rcpts),
    FIELD("Removal-Recipient", ARF_RCPTS, rcpts), /* of opt-out reports */
    FIELD("Source-IP", ARF_TEXT, source_text),
    FIELD("Arrival-Date", ARF_DATE, arrival),
    FIELD("Received-Date", ARF_DATE, arrival), /* old drafts */
    FIELD("Reporting-MTA", ARF_NAME, reporting_mta),
    FIELD("Original-Envelope-Id", ARF_TEXT, envid),
    FIELD("Reported-Domain", ARF_LIST, domains),
    FIELD("Reported-URI", ARF_LIST, uris),
    FIELD("Incidents", ARF_NUMBER, incidents),
    FIELD("Authentication-Results", ARF_TEXT, auth_results),
    FIELD("Auth-Failure", ARF_WORD, auth_failure),
    FIELD("Delivery-Result", ARF_WORD, delivery_result),
};

static struct str
arf_unbracket(struct str s)
{
    s = str_trim(s);
    if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
        s = str_sub(s, 1, s.n - 2);
    return str_trim(s);
}

static int
arf_list_add(struct arf_list *list, struct str s, struct arena *arena)
{
    if (!s.n || list->n >= ARF_LIST_MAX)
        return 0;
    if (!list->n || (list->n >= 4 && !(list->n & (list->n - 1)))) { /* full at 4, 8, 16 ... */
        struct str *more = ARENA_ARRAY(arena, struct str, list->n ? 2 * list->n : 4);

        if (!more)
            return ERR_NOMEM;
        if (list->n)
            memcpy(more, list->items, list->n * sizeof(*more));
        list->items = more;
    }
    list->items[list->n] = arena_str(arena, s);
    return list->items[list->n++].p ? 0 : ERR_NOMEM;
}

static int
arf_take(struct arf *a, const struct arf_field *f, struct str value, struct arena *arena)
{
    void *at = (char *)a + f->at;
    struct str *text = at, rest, copy;
    uint64_t *number = at;

    switch (f->form) {
    case ARF_LIST:
        return arf_list_add(at, value, arena);
    case ARF_RCPTS:
        return arf_list_add(at, arf_unbracket(value), arena);
    case ARF_DATE:
        if (!*number)
            (void)date_parse(value, number);
        return 0;
    case ARF_NUMBER:
        (void)str_u64(value, number);
        return 0;
    case ARF_NAME:
        if (str_chr(value, ';') >= 0) {
            (void)str_cut(value, ';', &rest);
            value = str_trim(rest);
        }
        break;
    case ARF_ADDRESS:
        a->has_mail_from = true;
        value = arf_unbracket(value);
        break;
    case ARF_WORD:
        rest = value;
        value = str_word(&rest);
        break;
    case ARF_TEXT:
        break;
    }
    if (text->n || !value.n)
        return 0;
    copy = arena_str(arena, value);
    if (!copy.p)
        return ERR_NOMEM;
    if (f->form == ARF_WORD)
        str_lower((char *)(uintptr_t)copy.p, copy.n); /* our own copy */
    *text = copy;
    return 0;
}

int
arf_parse(struct arf *ret, struct str fields, struct arena *arena)
{
    struct arf a = {.incidents = 1};
    struct header_field f;
    char value[ARF_VALUE_MAX];
    unsigned known = 0;
    size_t at = 0;
    int rc;

    /* Blank lines in front of the fields and between them are skipped: some have them. */
    while (at < fields.n) {
        rc = header_next(fields, &at, &f);
        if (!rc) {
            while (at < fields.n && (fields.p[at] == '\r' || fields.p[at] == '\n'))
                at++;
            continue;
        }
        for (size_t i = 0; rc > 0 && i < ARRAY_LEN(arf_fields); i++) {
            size_t n;

            if (!str_ieq(f.name, str_c(arf_fields[i].name)))
                continue;
            known++;
            n = header_unfold(f.value, value, sizeof(value));
            for (size_t k = 0; k < n; k++)
                value[k] = (unsigned char)value[k] < ' ' || value[k] == 127 ? ' ' : value[k];
            rc = arf_take(&a, &arf_fields[i], str_trim(str_of(value, n)), arena);
            if (rc < 0)
                return rc;
            break;
        }
    }
    a.has_source = a.source_text.n && addr_parse(a.source_text, &a.source) == 0;
    a.whole = a.type.n && a.version.n && a.user_agent.n;
    if (!a.type.n && known < 2)
        return 0;
    *ret = a;
    return 1;
}
