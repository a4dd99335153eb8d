/*
 * mail/report.c - a report file from its first bytes on: unpacked, and given to the reader of XML
 * or of JSON.
 *
 * Called by mail/report_mail.c and by whoever has a file. Never does I/O.
 */
#include "mail/report.h"

#include <stdlib.h>

#include "mail/report_inner.h"

const struct report_limits report_limits_default = {
    .packed = 10u << 20, .bytes = 64u << 20, .rows = 50000, .depth = 16, .text = 4096};

const char *
report_kind_name(enum report_kind kind)
{
    static const char *const names[] = {"other", "dmarc_aggregate", "dmarc_failure", "tls"};

    return kind < ARRAY_LEN(names) ? names[kind] : "unknown";
}

void
report_spaces(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)p[i] < ' ' || p[i] == 127)
            p[i] = ' ';
    }
}

struct report_reader {
    struct report_limits limits;
    struct arena *arena;
    struct report_unpack *unpack;
    struct report_xml *xml; /* it is XML */
    struct buf json;        /* it is JSON */
    bool is_json;
    int failed;
    struct why why;
};

/* The first byte that counts says what it is. */
static int
choose(struct report_reader *r, const char *p, size_t n, struct why *why)
{
    for (size_t i = 0; i < n && !r->xml && !r->is_json; i++) {
        if (strchr(" \t\r\n\xef\xbb\xbf", p[i]) && p[i])
            continue;
        if (p[i] == '{')
            r->is_json = true;
        else if (report_xml_open(&r->xml, &r->limits, r->arena) < 0)
            return why_set(why, ERR_NOMEM, "no memory to read it");
    }
    return 0;
}

static int
on_bytes(void *ctx, const char *p, size_t n, struct why *why)
{
    struct report_reader *r = ctx;

    if (!r->xml) { /* white space is kept until it is known whose it is */
        int did = r->is_json ? 0 : choose(r, p, n, why);
        if (did < 0)
            return did;
        buf_add(&r->json, p, n);
        if (r->json.failed)
            return why_set(why, ERR_LIMIT, "it has more than %zu bytes", r->json.max);
        if (!r->xml)
            return 0;
        did = report_xml_feed(r->xml, r->json.p, r->json.n, why);
        buf_clear(&r->json);
        return did;
    }
    return report_xml_feed(r->xml, p, n, why);
}

int
report_open(struct report_reader **ret, const struct report_limits *limits, struct arena *arena)
{
    struct report_reader *r = calloc(1, sizeof(*r));

    *ret = r;
    if (!r)
        return ERR_NOMEM;
    r->limits = *limits;
    r->arena = arena;
    buf_init(&r->json, (size_t)MIN(limits->bytes, (uint64_t)SIZE_MAX / 4));
    if (report_unpack_open(&r->unpack, limits, on_bytes, r) < 0) {
        report_close(r);
        *ret = NULL;
        return ERR_NOMEM;
    }
    return 0;
}

void
report_close(struct report_reader *r)
{
    if (!r)
        return;
    report_unpack_close(r->unpack);
    report_xml_close(r->xml);
    buf_done(&r->json);
    free(r);
}

uint64_t
report_spent(const struct report_reader *r)
{
    return report_unpack_spent(r->unpack);
}

int
report_feed(struct report_reader *r, const char *p, size_t n)
{
    if (!r->failed)
        r->failed = report_unpack_feed(r->unpack, p, n, &r->why);
    return r->failed;
}

static int
finish(struct report_reader *r, struct report *ret, struct why *why)
{
    struct str json = buf_view(&r->json);
    bool ours = false;
    int did;

    if (r->xml) {
        did = report_xml_end(r->xml, &ret->dmarc, why);
        ret->kind = report_xml_is_report(r->xml) ? REPORT_DMARC_AGGREGATE : REPORT_OTHER;
        return did;
    }
    if (!r->is_json)
        return why_set(why, ERR_SYNTAX, "it is empty");
    while (json.p[0] != '{') /* a byte order mark is no part of JSON */
        json = str_from(json, 1);
    while (json.n && !json.p[json.n - 1])
        json.n--;
    did = report_json_read(json, &r->limits, r->arena, &ret->tls, &ours, why);
    ret->kind = ours ? REPORT_TLS : REPORT_OTHER;
    return did;
}

int
report_end(struct report_reader *r, struct report *ret, struct why *why)
{
    *ret = (struct report){.kind = REPORT_OTHER};
    if (!r->failed)
        r->failed = report_unpack_end(r->unpack, &r->why);
    if (!r->failed) {
        r->failed = finish(r, ret, &r->why);
    } else if (r->xml) { /* what came of it says what it is */
        report_xml_end(r->xml, &ret->dmarc, NULL);
        ret->dmarc = NULL;
        ret->kind = report_xml_is_report(r->xml) ? REPORT_DMARC_AGGREGATE : REPORT_OTHER;
    }
    if (r->failed && why)
        *why = r->why;
    return r->failed;
}

/* A mail begins with a field's name; a file with a bracket, or with the mark of its packing. */
static bool
is_mail(struct str s)
{
    size_t i = 0;

    while (i < s.n && strchr(" \t\r\n\xef\xbb\xbf", s.p[i]) && s.p[i])
        i++;
    return i < s.n && s.p[i] > ' ' && s.p[i] < 127 && s.p[i] != '<' && s.p[i] != '{' &&
           !str_starts(s, STR("PK\3\4"));
}

static int
read_mail(struct str text, const struct report_limits *limits, struct arena *arena,
          struct report *ret, struct why *why)
{
    struct report_mail *m;

    if (report_mail_open(&m, limits, arena) < 0)
        return why_set(why, ERR_NOMEM, "no memory to read it");
    report_mail_feed(m, text.p, text.n);
    int did = report_mail_end(m, ret, why);
    report_mail_close(m);
    return did;
}

int
report_read(struct str text, const struct report_limits *limits, struct arena *arena,
            struct report *ret, struct why *why)
{
    struct report_reader *r;

    *ret = (struct report){.kind = REPORT_OTHER};
    if (is_mail(text))
        return read_mail(text, limits, arena, ret, why);
    if (report_open(&r, limits, arena) < 0)
        return why_set(why, ERR_NOMEM, "no memory to read it");
    report_feed(r, text.p, text.n);
    int did = report_end(r, ret, why);
    report_close(r);
    return did;
}
