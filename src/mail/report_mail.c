/*
 * mail/report_mail.c - which report a mail carries: its parts looked through, the right one read.
 *
 * Called by whoever gets mail for a report address. Looks only at parts of the mail itself: what
 * stands in a forwarded or returned mail is another mail's.
 */
#include <stdlib.h>

#include "mail/mime.h"
#include "mail/report_inner.h"

#define PARTS_MAX  200u
#define BLOCK_MAX  (64u << 10)
#define HEADER_MAX (64u << 10)

static const struct mime_limits mime_limits = {
    .depth = 8, .parts = PARTS_MAX, .header_bytes = HEADER_MAX, .memory = 2u << 20};

enum use { USE_NONE, USE_BLOCK, USE_TEXT, USE_ORIGINAL, USE_FILE };

struct report_mail {
    struct report_limits limits; /* `bytes` for all files of the mail together */
    bool spent;                  /* they are more */
    struct arena *arena;
    struct mime *mime;
    bool foreign[PARTS_MAX]; /* in a mail within the mail */
    enum use use;
    uint32_t part;  /* whose content it is */
    bool of_report; /* multipart/report */
    bool tls_mail;  /* report-type=tlsrpt */
    bool wants;     /* an attachment looks like a report by its name or type */
    enum report_kind wanted;
    struct buf block, text, original;
    struct report_reader *reader;
    struct report found;
    int failed; /* of the first attachment that is a report and bad */
    struct why why;
};

/* ---- what a part is ----------------------------------------------------------------------------
 */

static bool
type_is(const struct mime_part *p, const char *type)
{
    struct str rest, major = str_cut(str_c(type), '/', &rest);

    return str_eq(p->type, major) && str_eq(p->subtype, rest);
}

/* "receiver!domain!begin!end...": what both RFCs want as a name. */
static bool
name_is_told(struct str name)
{
    unsigned marks = 0;

    for (size_t i = 0; i < name.n; i++)
        marks += name.p[i] == '!';
    return marks >= 3;
}

/* May a report be in it? Senders call it anything, so its first bytes decide in the end. */
static bool
is_candidate(const struct mime_part *p)
{
    static const char *const endings[] = {".xml", ".gz", ".gzip", ".zip", ".json"};

    if (str_eq(p->type, STR("application")) || type_is(p, "text/xml"))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        if (str_iends(p->filename, str_c(endings[i])))
            return true;
    }
    return false;
}

static void
want(struct report_mail *m, const struct mime_part *p)
{
    bool tls = str_starts(p->subtype, STR("tlsrpt+"));
    bool json = str_find(p->filename, STR(".json")) >= 0;

    if (!tls && !m->tls_mail && !name_is_told(p->filename))
        return;
    if (!m->wants)
        m->wanted = tls || m->tls_mail || json ? REPORT_TLS : REPORT_DMARC_AGGREGATE;
    m->wants = true;
}

static void
file_begin(struct report_mail *m, const struct mime_part *p)
{
    if (m->found.kind != REPORT_OTHER || m->reader)
        return; /* one report a mail */
    want(m, p);
    if (m->spent) { /* a mail of a few KB holds a thousand bombs */
        if (m->wants && !m->failed)
            m->failed = why_set(&m->why, ERR_LIMIT,
                                "its files together unpack to more than is read of one mail");
        return;
    }
    if (report_open(&m->reader, &m->limits, m->arena) < 0) {
        m->failed = why_set(&m->why, ERR_NOMEM, "no memory to read it");
        return;
    }
    m->use = USE_FILE;
}

static void
on_begin(void *ctx, const struct mime_part *p)
{
    struct report_mail *m = ctx;
    bool inner = p->parent != MIME_NO_PART && m->foreign[p->parent];

    m->foreign[p->number] = inner || p->kind == MIME_MESSAGE;
    if (p->parent != MIME_NO_PART && inner && p->parent == m->part && m->use == USE_ORIGINAL) {
        buf_str(&m->original, p->header); /* the mail that failed */
        m->use = USE_NONE;
    }
    if (inner || p->kind >= MIME_UUENCODED)
        return;
    if (p->number == 0 && type_is(p, "multipart/report")) {
        m->of_report = true;
        m->tls_mail = str_ieq(params_find(p->type_params, STR("report-type")), STR("tlsrpt"));
    }
    if (p->kind == MIME_MULTIPART)
        return;
    m->part = p->number;
    m->use = USE_NONE;
    if (type_is(p, "message/feedback-report") && !m->block.n)
        m->use = USE_BLOCK;
    else if (p->kind == MIME_MESSAGE || type_is(p, "text/rfc822-headers"))
        m->use = m->original.n ? USE_NONE : USE_ORIGINAL;
    else if (is_candidate(p))
        file_begin(m, p);
    else if (type_is(p, "text/plain") && !m->text.n)
        m->use = USE_TEXT;
}

static void
add(struct buf *b, const char *p, size_t n)
{
    buf_add(b, p, MIN(n, b->max - b->n));
}

static void
on_data(void *ctx, const struct mime_part *p, const char *data, size_t n)
{
    struct report_mail *m = ctx;

    if (p->number != m->part || p->kind >= MIME_UUENCODED)
        return;
    if (m->use == USE_FILE)
        report_feed(m->reader, data, n);
    else if (m->use == USE_BLOCK)
        add(&m->block, data, n);
    else if (m->use == USE_TEXT)
        add(&m->text, data, n);
    else if (m->use == USE_ORIGINAL && p->kind == MIME_LEAF)
        add(&m->original, data, n);
}

static void
on_end(void *ctx, const struct mime_part *p)
{
    struct report_mail *m = ctx;
    struct report got;
    struct why why = {.text = ""};

    if (p->number != m->part || m->use != USE_FILE || !m->reader)
        return;
    m->use = USE_NONE;
    int did = report_end(m->reader, &got, &why);
    uint64_t spent = report_spent(m->reader);
    m->spent = spent >= m->limits.bytes;
    m->limits.bytes -= MIN(spent, m->limits.bytes);
    report_close(m->reader);
    m->reader = NULL;
    if (did == 0) {
        m->found = got;
    } else if (!m->failed && (got.kind != REPORT_OTHER || m->wants)) {
        m->failed = did;
        m->why = why;
        m->wanted = got.kind != REPORT_OTHER ? got.kind : m->wanted;
        m->wants = true;
    }
}

static const struct mime_sink sink = {.begin = on_begin, .data = on_data, .end = on_end};

/* ---- from outside ------------------------------------------------------------------------------
 */

int
report_mail_open(struct report_mail **ret, const struct report_limits *limits, struct arena *arena)
{
    struct report_mail *m = calloc(1, sizeof(*m));

    *ret = m;
    if (!m)
        return ERR_NOMEM;
    m->limits = *limits;
    m->arena = arena;
    m->part = MIME_NO_PART;
    buf_init(&m->block, BLOCK_MAX);
    buf_init(&m->text, BLOCK_MAX);
    buf_init(&m->original, HEADER_MAX);
    if (mime_create(&m->mime, &mime_limits, &sink, m) < 0) {
        report_mail_close(m);
        *ret = NULL;
        return ERR_NOMEM;
    }
    return 0;
}

void
report_mail_close(struct report_mail *m)
{
    if (!m)
        return;
    mime_free(m->mime);
    report_close(m->reader);
    buf_done(&m->block);
    buf_done(&m->text);
    buf_done(&m->original);
    free(m);
}

void
report_mail_feed(struct report_mail *m, const char *p, size_t n)
{
    mime_feed(m->mime, p, n);
}

/* A failure report: 1 read, 0 none, or an error. */
static int
failure_end(struct report_mail *m, struct report *ret, struct why *why)
{
    struct report_failure *f = ARENA_NEW(m->arena, struct report_failure);
    bool ours =
        f && (m->block.n ? report_failure_read(buf_view(&m->block), m->arena, f)
                         : m->of_report && report_failure_text(buf_view(&m->text), m->arena, f));

    if (!f)
        return why_set(why, ERR_NOMEM, "no memory to read it");
    if (!ours)
        return 0;
    ret->kind = REPORT_DMARC_FAILURE;
    if (m->original.n)
        report_failure_original(buf_view(&m->original), m->arena, f);
    if (!f->reported_domain.n && !f->arf.source_text.n)
        return why_set(why, ERR_SYNTAX,
                       "the failure report has neither Reported-Domain nor Source-IP");
    ret->failure = f;
    return 1;
}

int
report_mail_end(struct report_mail *m, struct report *ret, struct why *why)
{
    mime_end(m->mime);
    *ret = m->found;
    if (ret->kind != REPORT_OTHER)
        return 0;
    int did = failure_end(m, ret, why);
    if (did != 0)
        return MIN(did, 0);
    if (m->failed) {
        if (why)
            *why = m->why;
        ret->kind = m->wants ? m->wanted : REPORT_OTHER;
        return m->failed;
    }
    if (m->tls_mail) {
        ret->kind = REPORT_TLS;
        return why_set(why, ERR_SYNTAX, "the mail says that it is a TLS report and has none");
    }
    return why_set(why, ERR_NOTFOUND, "the mail carries no report");
}

enum report_kind
report_mail_kind(struct str mail, const struct report_limits *limits)
{
    struct arena arena;
    struct report_mail *m;
    struct report r = {.kind = REPORT_OTHER};

    arena_init(&arena, 4u << 20);
    if (report_mail_open(&m, limits, &arena) == 0) {
        report_mail_feed(m, mail.p, mail.n);
        report_mail_end(m, &r, NULL);
        report_mail_close(m);
    }
    arena_done(&arena);
    return r.kind;
}
