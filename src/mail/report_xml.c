/*
 * mail/report_xml.c - a DMARC aggregate report out of its XML: elements by a table, values by kind.
 *
 * Called by mail/report.c. Elements have the prefix that <feedback> has or none, whatever it stands
 * for; others, and those that no table knows, are passed over with all that is in them, and so is
 * text between elements. A document type is refused, so there are no entities to expand and nothing
 * is ever fetched.
 */
#include <stdlib.h>

#include "mail/charset.h"
#include "mail/report_xml_inner.h"

#define TOKEN_MAX (64u << 10)

/* ---- errors ------------------------------------------------------------------------------------
 */

static unsigned long
report_xml_line(const struct report_xml *x)
{
    return (unsigned long)XML_GetCurrentLineNumber(x->parser) + x->lines;
}

/* The first one stays; nothing more is read. */
void
report_xml_fail(struct report_xml *x, int code, const char *what, struct str value)
{
    if (x->failed)
        return;
    x->failed = code;
    if (value.n)
        why_set(&x->why, code, "line %lu: %s: \"%.*s\"", report_xml_line(x), what,
                (int)MIN(value.n, (size_t)60), value.p);
    else
        why_set(&x->why, code, "line %lu: %s", report_xml_line(x), what);
    XML_StopParser(x->parser, XML_FALSE);
}

/* ---- records -----------------------------------------------------------------------------------
 */

static bool
made(struct report_xml *x, const void *p)
{
    if (!p)
        report_xml_fail(x, ERR_LIMIT, "the report is over the memory for one report", STR_NONE);
    return p != NULL;
}

static void
record_begin(struct report_xml *x)
{
    struct report_row *row;

    if (x->report->nrows >= x->limits.rows) {
        report_xml_fail(x, ERR_LIMIT, "the report has more records than are read", STR_NONE);
        return;
    }
    row = ARENA_NEW(x->arena, struct report_row);
    if (!made(x, row))
        return;
    row->dkim = row->spf = REPORT_RESULT_FAIL;
    row->envelope_to = row->envelope_from = row->header_from = STR("");
    x->row = row;
    x->row_seen = 0;
    x->reason_end = &row->reasons;
    x->dkim_end = &row->dkims;
    x->spf_end = &row->spfs;
}

static void
record_end(struct report_xml *x)
{
    struct report_dmarc *r = x->report;
    struct report_row *row = x->row;
    const char *lack = !(x->row_seen & SEEN_IP)      ? "the record has no <source_ip>"
                       : !(x->row_seen & SEEN_COUNT) ? "the record has no <count>"
                       : !(x->row_seen & SEEN_FROM)  ? "the record has no <header_from>"
                                                     : NULL;

    if (!lack && row->count > INT64_MAX - r->messages)
        lack = "the counts have no sum";
    if (lack) {
        report_xml_fail(x, ERR_SYNTAX, lack, STR_NONE);
        return;
    }
    *x->row_end = row;
    x->row_end = &row->next;
    r->nrows++;
    r->messages += row->count;
    if (row->dkim == REPORT_RESULT_PASS || row->spf == REPORT_RESULT_PASS)
        r->passed += row->count;
}

static void
auth_begin(struct report_xml *x, struct report_auth ***end)
{
    struct report_auth *a = ARENA_NEW(x->arena, struct report_auth);

    if (!made(x, a))
        return;
    a->domain = a->selector = a->human = STR("");
    **end = x->auth = a;
    *end = &a->next;
}

static void
node_begin(struct report_xml *x, uint8_t node)
{
    switch ((enum node)node) {
    case N_FEEDBACK:
        x->root_seen = true;
        break;
    case N_RECORD:
        record_begin(x);
        break;
    case N_REASON:
        x->reason = ARENA_NEW(x->arena, struct report_reason);
        x->reason_typed = false;
        if (made(x, x->reason))
            x->reason->comment = STR("");
        break;
    case N_DKIM:
        auth_begin(x, &x->dkim_end);
        break;
    case N_SPF:
        auth_begin(x, &x->spf_end);
        break;
    default:
        break;
    }
}

static void
node_end(struct report_xml *x, uint8_t node)
{
    if (node == N_RECORD) {
        record_end(x);
    } else if (node == N_REASON) {
        if (!x->reason_typed && !x->reason->comment.n)
            return; /* an empty one, as some always write it, says nothing */
        *x->reason_end = x->reason;
        x->reason_end = &x->reason->next;
    } else if (node == N_FEEDBACK) {
        x->done = true;
        XML_StopParser(x->parser, XML_FALSE);
    }
}

/* ---- Expat -------------------------------------------------------------------------------------
 */

static size_t
prefix_of(const char *name)
{
    const char *colon = strrchr(name, ':');

    return colon ? (size_t)(colon - name) + 1 : 0;
}

static void
look_for_namespace(struct report_xml *x, const XML_Char **attributes)
{
    for (; *attributes; attributes += 2)
        x->report->rfc9990 |= str_starts(str_c(attributes[0]), STR("xmlns")) &&
                              !strcmp(attributes[1], "urn:ietf:params:xml:ns:dmarc-2.0");
}

static void XMLCALL
on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct report_xml *x = ctx;
    const struct report_leaf *row;
    size_t prefix = prefix_of(name);
    uint8_t in = x->nstack ? x->stack[x->nstack - 1] : (uint8_t)N_OUTSIDE;

    if (x->failed || x->done)
        return; /* stopped: Expat may still tell an empty element */
    if (x->nstack + x->skip + x->outside >= x->limits.depth) {
        report_xml_fail(x, ERR_LIMIT, "elements stand too deep in each other", STR_NONE);
        return;
    }
    if (x->skip || x->leaf) {
        x->skip++;
        return;
    }
    row = report_leaf_find(in, name + prefix);
    if (in != N_OUTSIDE && prefix && !str_eq(str_of(name, prefix), x->prefix))
        row = NULL; /* an extension's */
    if (row && row->how != H_NODE) {
        x->leaf = row;
        x->text_cut = false;
        buf_clear(&x->text);
    } else if (row) {
        if (row->node == N_FEEDBACK) {
            x->prefix = arena_str(x->arena, str_of(name, prefix));
            look_for_namespace(x, attributes);
        }
        x->stack[x->nstack++] = row->node;
        node_begin(x, row->node);
    } else if (x->nstack) {
        x->skip++;
    } else {
        x->outside++;
    }
}

static void XMLCALL
on_end(void *ctx, const XML_Char *name)
{
    struct report_xml *x = ctx;

    (void)name;
    if (x->failed || x->done)
        return;
    if (x->skip)
        x->skip--;
    else if (x->leaf)
        report_leaf_end(x);
    else if (x->nstack)
        node_end(x, x->stack[--x->nstack]);
    else if (x->outside)
        x->outside--;
}

static void XMLCALL
on_text(void *ctx, const XML_Char *p, int n)
{
    struct report_xml *x = ctx;

    if (!x->leaf || x->skip || x->failed)
        return;
    size_t take = MIN((size_t)n, (size_t)x->limits.text - x->text.n);
    x->text_cut |= take < (size_t)n;
    buf_add(&x->text, p, take);
}

static void XMLCALL
on_doctype(void *ctx, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
           int internal)
{
    (void)name, (void)system_id, (void)public_id, (void)internal;
    report_xml_fail(ctx, ERR_SYNTAX, "a document type has no place in a report", STR_NONE);
}

/* Charsets of one byte a character, which Expat does not know itself. */
static int XMLCALL
on_encoding(void *ctx, const XML_Char *name, XML_Encoding *ret)
{
    struct buf out;
    bool good = true;

    (void)ctx;
    buf_init(&out, 16);
    for (unsigned i = 0; i < 256 && good; i++) {
        char byte = (char)i;
        buf_clear(&out);
        good = charset_decode(str_c(name), str_of(&byte, 1), &out) == 0;
        size_t n = good ? str_utf8_len(buf_view(&out)) : 0;
        if (i < 128) {
            good &= n == 1 && out.p[0] == byte;
            ret->map[i] = (int)i;
        } else if (n == 2) {
            ret->map[i] = (out.p[0] & 0x1f) << 6 | (out.p[1] & 0x3f);
        } else {
            ret->map[i] =
                n == 3 ? (out.p[0] & 0x0f) << 12 | (out.p[1] & 0x3f) << 6 | (out.p[2] & 0x3f) : -1;
            ret->map[i] = ret->map[i] == 0xfffd ? -1 : ret->map[i];
        }
    }
    buf_done(&out);
    ret->data = NULL;
    ret->convert = NULL;
    ret->release = NULL;
    return good ? XML_STATUS_OK : XML_STATUS_ERROR;
}

/* ---- from outside ------------------------------------------------------------------------------
 */

int
report_xml_open(struct report_xml **ret, const struct report_limits *limits, struct arena *arena)
{
    struct report_xml *x = calloc(1, sizeof(*x));

    *ret = x;
    if (!x)
        return ERR_NOMEM;
    x->limits = *limits;
    x->limits.depth = MIN(limits->depth, 1000u);
    x->arena = arena;
    x->parser = XML_ParserCreate(NULL);
    x->report = ARENA_NEW(arena, struct report_dmarc);
    buf_init(&x->text, (size_t)limits->text + 1);
    if (!x->parser || !x->report) {
        report_xml_close(x);
        *ret = NULL;
        return ERR_NOMEM;
    }
    struct report_dmarc *r = x->report;
    r->version = r->org = r->email = r->contact = r->id = r->generator = r->domain = r->fo =
        STR("");
    r->pct = 100;
    x->row_end = &r->rows;
    x->error_end = &r->errors;
    XML_SetUserData(x->parser, x);
    XML_SetElementHandler(x->parser, on_start, on_end);
    XML_SetCharacterDataHandler(x->parser, on_text);
    XML_SetStartDoctypeDeclHandler(x->parser, on_doctype);
    XML_SetUnknownEncodingHandler(x->parser, on_encoding, NULL);
    return 0;
}

void
report_xml_close(struct report_xml *x)
{
    if (!x)
        return;
    if (x->parser)
        XML_ParserFree(x->parser);
    buf_done(&x->text);
    free(x);
}

/* What the first bytes are counts more than what the declaration says of them: some write UTF-8 and
 * say UTF-16, or the other way round; "utf8" is no name that Expat knows. */
static void
choose_encoding(struct report_xml *x)
{
    struct str head = str_of(x->gathered, x->ngathered);
    ssize_t end = str_find(head, STR("?>"));

    if (head.n >= 2 && (!memcmp(head.p, "\xff\xfe", 2) || !memcmp(head.p, "\xfe\xff", 2))) {
        XML_SetEncoding(x->parser, "UTF-16");
        return;
    }
    if (!str_starts(head, STR("<?xml")) || end < 0)
        return;
    for (size_t i = 0; i < (size_t)end; i++) {
        struct str word = str_from(head, i);
        if (str_istarts(word, STR("utf8")) || str_istarts(word, STR("utf-16")))
            XML_SetEncoding(x->parser, "UTF-8");
    }
}

/* Expat looks at a tag or a comment that is not whole from its beginning each time that more comes:
 * so it gets pieces of some size, and no endless token. */
static void
parse(struct report_xml *x, bool last)
{
    size_t n = x->ngathered;

    if (!x->fed)
        choose_encoding(x);
    x->fed += n;
    x->ngathered = 0;
    if (XML_Parse(x->parser, x->gathered, (int)n, last) != XML_STATUS_ERROR) {
        XML_Index at = XML_GetCurrentByteIndex(x->parser);
        if (x->fed - (uint64_t)MAX(at, 0) > TOKEN_MAX)
            report_xml_fail(x, ERR_LIMIT, "a tag or a comment is too long", STR_NONE);
        return;
    }
    if (x->done || x->failed)
        return;
    x->failed = ERR_SYNTAX;
    why_set(&x->why, ERR_SYNTAX, "line %lu, column %lu: %s", report_xml_line(x),
            (unsigned long)XML_GetCurrentColumnNumber(x->parser) + 1,
            XML_ErrorString(XML_GetErrorCode(x->parser)));
}

int
report_xml_feed(struct report_xml *x, const char *p, size_t n, struct why *why)
{
    /* An XML declaration must be the first thing, but some begin with a line end; UTF-8 is the
     * default without its mark. */
    while (!x->begun && n && *p && strchr(" \t\r\n\xef\xbb\xbf", *p)) {
        x->lines += *p == '\n';
        p++;
        n--;
    }
    x->begun |= n > 0;
    while (n && !x->done && !x->failed) {
        size_t take = MIN(n, sizeof(x->gathered) - x->ngathered);
        memcpy(x->gathered + x->ngathered, p, take);
        x->ngathered += take;
        if (x->ngathered == sizeof(x->gathered))
            parse(x, false);
        p += take;
        n -= take;
    }
    if (x->failed && why)
        *why = x->why;
    return x->failed;
}

bool
report_xml_is_report(const struct report_xml *x)
{
    return x->root_seen;
}

static const char *
lack_of(const struct report_xml *x)
{
    const struct report_dmarc *r = x->report;
    const struct {
        bool is;
        const char *text;
    } lacks[] = {
        {!x->root_seen, "it has no element <feedback>"},
        {!x->done, "it ends before </feedback>"},
        {!r->id.n, "it has no <report_id>"},
        {!(x->seen & SEEN_BEGIN), "it has no <begin>"},
        {!(x->seen & SEEN_END), "it has no <end>"},
        {r->end < r->begin, "its time ends before it begins"},
        {!r->domain.n, "it has no <domain> of the policy"},
        {!r->org.n && !r->email.n, "it has neither <org_name> nor <email>"},
        {!r->nrows, "it has no <record>"},
    };

    for (size_t i = 0; i < ARRAY_LEN(lacks); i++) {
        if (lacks[i].is)
            return lacks[i].text;
    }
    return NULL;
}

int
report_xml_end(struct report_xml *x, struct report_dmarc **ret, struct why *why)
{
    struct report_dmarc *r = x->report;

    if (!x->done && !x->failed)
        parse(x, true);
    const char *lack = x->failed ? NULL : lack_of(x);
    if (lack) {
        x->failed = ERR_SYNTAX;
        why_set(&x->why, ERR_SYNTAX, "%s", lack);
    }
    if (x->failed) {
        if (why)
            *why = x->why;
        return x->failed;
    }
    if (!r->org.n) /* who sends no name has a domain */
        r->org = str_from(r->email, (size_t)(str_rchr(r->email, '@') + 1));
    r->has_sp = x->seen & SEEN_SP;
    r->has_np = x->seen & SEEN_NP;
    r->has_pct = x->seen & SEEN_PCT;
    if (!r->has_sp)
        r->sp = r->p;
    if (!r->has_np)
        r->np = r->sp;
    if (!r->fo.n)
        r->fo = STR("0");
    *ret = r;
    return 0;
}
