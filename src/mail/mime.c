/*
 * mail/mime.c - lines, boundaries and levels: where one part ends and the next one begins.
 *
 * Called by whoever reads messages. A body is searched for line ends followed by "--" and handed on
 * in as large pieces as came; only such lines are looked at. The line end in front of a boundary
 * belongs to it (RFC 2046 5.1.1), so it is held back until the next line is known.
 */
#include "mail/mime.h"

#include <stdlib.h>

#include "core/err.h"
#include "mail/mime_inner.h"

const struct mime_limits mime_limits_default = {
    .depth = 32, .parts = 1000, .header_bytes = 256u << 10, .memory = 8u << 20, .tnef = 16u << 20};

void
mime_odd_told(struct mime *m, const struct mime_part *part, enum mime_odd odd, struct str taken,
              struct str other)
{
    bool nested = m->nboundaries > 1 || m->outer; /* whose boundary it is matters then alone */
    uint32_t others = mime_odd_readings(odd);

    if (odd == MIME_ODD_UNCLOSED && !nested)
        others &= ~(uint32_t)MIME_READ_INNERMOST;
    if (odd == MIME_ODD_ENCODING && !other.n)
        others = 0; /* it resembles nothing */
    if (odd == MIME_ODD_ENCODED_MULTIPART && part->encoding == TRANSFER_UNKNOWN)
        others = 0;
    m->plausible |= others;
    if (m->sink->odd)
        m->sink->odd(m->ctx, part, odd, taken, other);
}

/* ---- levels ------------------------------------------------------------------------------------
 */

static struct mime_level *
top(struct mime *m)
{
    return m->nlevels ? &m->stack[m->nlevels - 1] : NULL;
}

static void
header_begin(struct mime *m, uint32_t parent)
{
    m->in_header = true;
    m->header_cut = m->field_seen = false;
    m->parent = parent;
    m->header_at = m->at;
    m->leaf = NULL;
    m->nhold = 0;
    m->line_n = m->kept_n = 0;
    m->neol = 0;
    buf_clear(&m->header);
}

static void
pop(struct mime *m, uint64_t end_at)
{
    struct mime_level *l = top(m);

    if (l->boundary.n) {
        if (!l->seen)
            mime_odd_told(m, l->part, MIME_ODD_NO_PARTS, l->boundary, STR_NONE);
        else if (!l->closed)
            mime_odd_told(m, l->part, MIME_ODD_UNCLOSED, l->boundary, STR_NONE);
        m->nboundaries--;
    }
    m->nlevels--;
    if (!l->borrowed)
        mime_part_end(m, l->part, end_at);
}

static void
leaf_end(struct mime *m, uint64_t end_at)
{
    struct mime_part *leaf = m->leaf;

    if (!leaf)
        return;
    mime_content_end(m);
    m->leaf = NULL;
    if (leaf->kind != MIME_MULTIPART || leaf->encoding != TRANSFER_IDENTITY)
        mime_part_end(m, leaf, end_at); /* of others parts follow */
}

static void
push(struct mime *m, struct mime_part *part)
{
    struct mime_level *l = &m->stack[m->nlevels++];

    *l = (struct mime_level){.part = part, .boundary = part->boundary};
    if (part->kind == MIME_MULTIPART) {
        l->digest = str_eq(part->subtype, STR("digest"));
        m->nboundaries++;
    }
}

void
mime_enter(struct mime *m, struct mime_part *multipart)
{
    m->in_header = false;
    m->line_start = true;
    push(m, multipart);
    top(m)->borrowed = true;
}

/* What comes is content of that part. */
static void
content_begin(struct mime *m, struct mime_part *part)
{
    m->leaf = part;
    transfer_init(&m->transfer, part->encoding);
    m->undecided = (m->readings & MIME_READ_UNDECODED) && part->encoding == TRANSFER_BASE64;
    m->transfer.stop = m->readings & MIME_READ_STOP_AT_PAD;
    m->uu = (struct mime_uu){.line_start = true};
    mime_tnef_begin(m);
}

/* The header's end: content, parts or a message follow, from offset `at` on. */
static void
header_end(struct mime *m, uint64_t at)
{
    const struct mime_level *around = top(m);
    struct mime_part *part = mime_part_make(m, around && around->digest);

    m->in_header = false;
    m->line_start = true;
    m->nhold = 0;
    if (!part)
        return; /* what comes is nobody's content */
    part->body_at = at;
    if (part->kind == MIME_MULTIPART && part->encoding == TRANSFER_IDENTITY) {
        push(m, part);
        if (m->readings & MIME_READ_PREAMBLE)
            content_begin(m, part);
    } else if (part->kind == MIME_MESSAGE && part->encoding == TRANSFER_IDENTITY) {
        push(m, part);
        header_begin(m, part->number);
    } else {
        content_begin(m, part);
    }
}

/* ---- boundaries --------------------------------------------------------------------------------
 */

struct boundary {
    unsigned level;     /* index into the stack */
    bool closing, tail; /* tail: text behind it */
};

static bool
is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r' && p[i] != '\n')
            return false;
    }
    return true;
}

static bool
is_shut(const struct mime *m, unsigned level)
{
    return m->stack[level].closed && !(m->readings & MIME_READ_REOPEN);
}

/* What stands behind the boundary on its line is ignored (RFC 2046 5.1.1, note to implementors). If
 * several fit, the longest is meant: one may begin as another. */
static bool
boundary_match(const struct mime *m, struct str line, struct boundary *ret)
{
    unsigned floor = 0;
    size_t best = 0;

    if (line.n < 3 || line.p[0] != '-' || line.p[1] != '-')
        return false;
    for (unsigned i = m->nlevels; i-- > floor;) {
        struct str b = m->stack[i].boundary;
        bool last = (m->readings & MIME_READ_INNERMOST) && b.n && !m->stack[i].closed;
        floor = last ? i : floor;
        /* Of two multiparts with one boundary, behind the inner one's end the outer one is meant.
         */
        bool again = best && b.n == best && is_shut(m, ret->level);
        if ((b.n <= best && !again) || line.n < 2 + b.n || memcmp(line.p + 2, b.p, b.n) != 0)
            continue;
        const char *rest = line.p + 2 + b.n;
        size_t left = line.n - 2 - b.n;
        bool closing = left >= 2 && rest[0] == '-' && rest[1] == '-';
        bool tail = !is_blank(rest + 2 * closing, left - 2 * (size_t)closing);
        if (tail && (m->readings & MIME_READ_EXACT_BOUNDARY))
            continue;
        *ret = (struct boundary){i, closing, tail};
        best = b.n;
    }
    return best > 0;
}

/* A line that is a boundary, or the beginning of a very long one; false: it is content after all.
 * `at`: where it began; m->at stands behind what is known of it. */
static bool
boundary_line(struct mime *m, struct str line, uint64_t at)
{
    struct boundary b;

    if (!boundary_match(m, line, &b))
        return false;
    if (is_shut(m, b.level)) {
        mime_odd_told(m, m->stack[b.level].part, MIME_ODD_AFTER_CLOSE, line, STR_NONE);
        return false;
    }
    uint64_t end_at = at - m->neol;
    m->neol = 0;
    leaf_end(m, end_at);
    while (m->nlevels > b.level + 1)
        pop(m, end_at);
    struct mime_level *l = top(m);
    l->seen = true;
    l->closed = b.closing;
    if (b.tail)
        mime_odd_told(m, l->part, MIME_ODD_BOUNDARY_TAIL, line, STR_NONE);
    m->skip_line = line.p[line.n - 1] != '\n';
    m->line_start = true;
    if (!b.closing)
        header_begin(m, l->part->number);
    return true;
}

/* ---- header lines ------------------------------------------------------------------------------
 */

/* A field has a name of printable characters and a colon; a continuation begins with space. */
static bool
is_field(struct str line)
{
    size_t i = 0;

    while (i < line.n && line.p[i] > ' ' && line.p[i] < 127 && line.p[i] != ':')
        i++;
    size_t name = i;
    while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
        i++; /* an old form: "Subject : text" */
    return name > 0 && i < line.n && line.p[i] == ':';
}

/* This line is no field: it is the body's first. It is fed again. */
static void
header_is_over(struct mime *m)
{
    __attribute__((uninitialized)) char copy[MIME_HOLD];
    size_t n = m->nhold;

    memcpy(copy, m->hold, n);
    m->header.n -= m->kept_n;
    m->at -= n;
    header_end(m, m->at);
    mime_feed(m, copy, n);
}

/* A boundary within a header: the part has that header, and no body. */
static void
header_cut_off(struct mime *m)
{
    __attribute__((uninitialized)) char copy[MIME_HOLD];
    size_t n = m->nhold;
    uint64_t line_at = m->at - m->line_n;

    memcpy(copy, m->hold, n);
    m->header.n -= m->kept_n;
    if (!(m->readings & MIME_READ_STRICT) || !top(m)->boundary.n)
        header_end(m, line_at);
    m->in_header = false; /* of a message that has not even begun */
    mime_odd_told(m, m->leaf ? m->leaf : top(m)->part, MIME_ODD_HEADER_UNENDED, STR_NONE, STR_NONE);
    boundary_line(m, str_of(copy, n), line_at);
    m->skip_line = false; /* the line was read to its end here */
}

/* m->hold has the line, or its beginning if it is long. */
static void
header_line(struct mime *m)
{
    struct str line = str_of(m->hold, m->nhold);
    bool whole = m->line_n == m->nhold;
    bool folded = m->field_seen && (line.p[0] == ' ' || line.p[0] == '\t');
    struct boundary b;

    if (whole && (line.p[0] == '\n' || line.p[0] == '\r') && is_blank(line.p, line.n)) {
        header_end(m, m->at);
    } else if (!folded && !(m->readings & MIME_READ_LONG_HEADER) && boundary_match(m, line, &b) &&
               !is_shut(m, b.level)) {
        header_cut_off(m);
    } else if (folded || is_field(line)) {
        m->field_seen = true;
    } else {
        bool early = (m->readings & MIME_READ_EARLY_BODY) || (!m->field_seen && m->nlevels);
        mime_odd_told(m, NULL, MIME_ODD_NO_COLON, line, STR_NONE);
        /* Of the message itself only the blank line ends the header: mail/README.md. */
        if (early && whole && !str_starts(line, STR("From ")) && !str_starts(line, STR(">From ")))
            header_is_over(m);
    }
    m->nhold = 0;
    m->line_n = m->kept_n = 0;
}

static size_t
header_bytes(struct mime *m, const char *p, size_t n)
{
    const char *end = memchr(p, '\n', n);
    size_t take = end ? (size_t)(end - p) + 1 : n;
    size_t hold = MIN(take, sizeof(m->hold) - m->nhold);
    size_t keep = MIN(take, m->limits.header_bytes - m->header.n);

    memcpy(m->hold + m->nhold, p, hold);
    m->nhold += hold;
    buf_add(&m->header, p, keep);
    m->header_cut |= take > keep;
    m->line_n += take;
    m->kept_n += keep;
    m->at += take;
    if (end)
        header_line(m);
    return take;
}

/* ---- bodies ------------------------------------------------------------------------------------
 */

static void
flush_eol(struct mime *m)
{
    if (m->neol)
        mime_content(m, m->eol, m->neol);
    m->neol = 0;
}

/* Keeps the line end at the end of p back, or a CR that may begin one; hands the rest on. */
static void
content_piece(struct mime *m, const char *p, size_t n)
{
    char last = p[n - 1];
    size_t neol = last == '\n' ? 1 + (n > 1 && p[n - 2] == '\r') : last == '\r';

    if (n == 1 && last == '\n' && m->neol == 1 && m->eol[0] == '\r') {
        m->eol[1] = '\n';
        m->neol = 2;
        return;
    }
    flush_eol(m);
    mime_content(m, p, n - neol);
    if (neol) {
        memcpy(m->eol, p + n - neol, neol);
        m->neol = (uint8_t)neol;
    }
}

/* A line that begins with "-" is gathered; the bytes taken. */
static size_t
hold_bytes(struct mime *m, const char *p, size_t n)
{
    if ((m->readings & MIME_READ_MIDLINE) && m->nhold + n >= 2 && m->nhold < 2 &&
        p[1 - m->nhold] != '-') { /* one "-" alone */
        size_t fresh = 1 - m->nhold;
        m->nhold = 0;
        m->at += fresh;
        content_piece(m, "-", 1);
        return fresh;
    }
    const char *end = memchr(p, '\n', n);
    size_t take = end ? (size_t)(end - p) + 1 : n;

    take = MIN(take, sizeof(m->hold) - m->nhold);
    memcpy(m->hold + m->nhold, p, take);
    m->nhold += take;
    m->at += take;
    bool whole = m->nhold && m->hold[m->nhold - 1] == '\n';
    bool other = m->nhold >= 2 && m->hold[1] != '-';
    if (!whole && !other && m->nhold < sizeof(m->hold))
        return take;
    size_t held = m->nhold;
    m->nhold = 0;
    if (!other && boundary_line(m, str_of(m->hold, held), m->at - held))
        return take;
    content_piece(m, m->hold, held);
    m->line_start = whole || (m->readings & MIME_READ_MIDLINE);
    return take;
}

/* Each byte may be where a boundary begins: content up to the next "-". */
static size_t
midline_bytes(struct mime *m, const char *p, size_t n)
{
    const char *dash = memchr(p, '-', n);
    size_t take = dash ? (size_t)(dash - p) : n;

    m->line_start = true;
    m->at += take;
    content_piece(m, p, take);
    return take;
}

/* Content up to a line that begins with "-", or to the end. */
static size_t
bulk_bytes(struct mime *m, const char *p, size_t n)
{
    const char *found = n > 2 ? memmem(p, n, "\n--", 3) : NULL;
    size_t take = found ? (size_t)(found - p) + 1 : n;

    m->line_start = found != NULL;
    if (!found && p[n - 1] == '\n') {
        m->line_start = true;
    } else if (!found && n > 1 && p[n - 1] == '-' && p[n - 2] == '\n') {
        take = n - 1;
        m->line_start = true;
    }
    m->at += take;
    content_piece(m, p, take);
    return take;
}

static size_t
body_bytes(struct mime *m, const char *p, size_t n)
{
    if (m->nboundaries == 0) {
        m->at += n;
        mime_content(m, p, n);
        return n;
    }
    if (m->nhold || (m->line_start && *p == '-'))
        return hold_bytes(m, p, n);
    return m->readings & MIME_READ_MIDLINE ? midline_bytes(m, p, n) : bulk_bytes(m, p, n);
}

/* The rest of a boundary's line, which means nothing. */
static size_t
skip_bytes(struct mime *m, const char *p, size_t n)
{
    const char *end = memchr(p, '\n', n);
    size_t take = end ? (size_t)(end - p) + 1 : n;

    m->skip_line = !end;
    m->at += take;
    if (m->in_header)
        m->header_at = m->at;
    return take;
}

/* ---- from outside ------------------------------------------------------------------------------
 */

int
mime_create(struct mime **ret, const struct mime_limits *limits, const struct mime_sink *sink,
            void *ctx)
{
    struct mime *m = malloc(sizeof(*m));

    *ret = m;
    if (!m)
        return ERR_NOMEM;
    memset(m, 0, offsetof(struct mime, stack)); /* the rest is written before it is read */
    m->limits = *limits;
    m->limits.depth = MIN(limits->depth, MIME_DEPTH_MAX);
    m->sink = sink;
    m->ctx = ctx;
    m->base_parent = MIME_NO_PART;
    arena_init(&m->arena, limits->memory);
    buf_init(&m->header, limits->header_bytes);
    header_begin(m, MIME_NO_PART);
    return 0;
}

void
mime_read_as(struct mime *m, uint32_t readings)
{
    m->readings = readings;
}

uint32_t
mime_readings(const struct mime *m)
{
    return m->plausible & ~m->readings;
}

void
mime_feed(struct mime *m, const char *p, size_t n)
{
    while (n) {
        size_t take = m->skip_line   ? skip_bytes(m, p, n)
                      : m->in_header ? header_bytes(m, p, n)
                                     : body_bytes(m, p, n);
        p += take;
        n -= take;
    }
}

/* A header that the end cut off. A boundary with nothing behind it makes no part. */
static void
header_unended(struct mime *m)
{
    struct boundary b;
    bool between = m->nlevels && m->stack[m->nlevels - 1].boundary.n;

    if (boundary_match(m, str_of(m->hold, m->nhold), &b))
        m->header.n -= m->kept_n;
    m->in_header = false;
    if (between && ((!m->field_seen && !m->header.n) || (m->readings & MIME_READ_STRICT)))
        return;
    bool unended = m->nlevels > 0 || m->header.n > 0;
    header_end(m, m->at);
    m->in_header = false;
    if (unended && (m->leaf || top(m)))
        mime_odd_told(m, m->leaf ? m->leaf : top(m)->part, MIME_ODD_HEADER_UNENDED, STR_NONE,
                      STR_NONE);
}

void
mime_end(struct mime *m)
{
    if (m->ended)
        return;
    m->ended = true;
    if (!m->in_header && m->nhold) { /* a last line without its end may be a boundary */
        size_t held = m->nhold;
        m->nhold = 0;
        if (!boundary_line(m, str_of(m->hold, held), m->at - held)) {
            flush_eol(m);
            mime_content(m, m->hold, held);
        }
    }
    if (m->in_header)
        header_unended(m);
    flush_eol(m);
    leaf_end(m, m->at);
    while (m->nlevels)
        pop(m, m->at);
}

bool
mime_is_whole(const struct mime *m)
{
    return !m->incomplete;
}

void
mime_free(struct mime *m)
{
    if (!m)
        return;
    mime_free(m->inner);
    arena_done(&m->arena);
    buf_done(&m->header);
    buf_done(&m->tnef.bytes);
    free(m);
}
