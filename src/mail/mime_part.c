/*
 * mail/mime_part.c - from a header block to a part: type, encoding, names, and what is odd in them;
 * the content of a part on its way out.
 *
 * Called by mail/mime.c. Never looks at boundaries in content.
 */
#include <stdlib.h>

#include "core/err.h"
#include "mail/header.h"
#include "mail/mime_inner.h"

#define BOUNDARY_MAX 70u /* RFC 2046 5.1.1 */

/* ---- the fields that matter --------------------------------------------------------------------
 */

struct fields {
    struct str type, encoding, disposition, id;
};

static void
field_take(struct mime *m, struct str *slot, struct str value)
{
    struct str trimmed = value;

    while (trimmed.n && strchr(" \t\r\n", trimmed.p[trimmed.n - 1]))
        trimmed.n--;
    while (trimmed.n && strchr(" \t\r\n", trimmed.p[0]))
        trimmed = str_sub(trimmed, 1, trimmed.n);
    if (!slot->p) {
        *slot = trimmed;
    } else if (!str_eq(*slot, trimmed)) { /* a boundary's case counts */
        bool last = m->readings & MIME_READ_LAST_FIELD;
        mime_odd_told(m, NULL, MIME_ODD_REPEATED_FIELD, last ? trimmed : *slot,
                      last ? *slot : trimmed);
        *slot = last ? trimmed : *slot;
    }
}

static bool
name_is(struct str name, const char *want)
{
    while (name.n && (name.p[name.n - 1] == ' ' || name.p[name.n - 1] == '\t'))
        name.n--;
    return str_ieq(name, str_c(want));
}

/* Where the line at `from` ends: with LF or CRLF, or if so read with a CR alone. */
static size_t
line_end(struct str block, size_t from, bool bare_cr)
{
    const char *lf = bare_cr ? NULL : memchr(block.p + from, '\n', block.n - from);
    size_t end = lf ? (size_t)(lf - block.p) + 1 : block.n;

    for (size_t i = from; bare_cr && i + 1 < end; i++)
        if (block.p[i] == '\n' || (block.p[i] == '\r' && block.p[i + 1] != '\n'))
            return i + 1;
    return end;
}

/* One field from the block, at *at. */
static bool
next_field(struct str block, size_t *at, bool bare_cr, struct str *ret_name, struct str *ret_value)
{
    while (*at < block.n) {
        size_t from = *at, end = from;
        const char *colon;
        do {
            end = line_end(block, end, bare_cr);
        } while (end < block.n && (block.p[end] == ' ' || block.p[end] == '\t'));
        *at = end;
        colon = memchr(block.p + from, ':', end - from);
        if (!colon)
            continue;
        *ret_name = str_of(block.p + from, (size_t)(colon - block.p) - from);
        *ret_value = str_of(colon + 1, end - (size_t)(colon + 1 - block.p));
        return true;
    }
    return false;
}

static void
fields_find(struct mime *m, struct str block, struct fields *ret)
{
    struct str name, value;
    size_t at = 0;

    *ret = (struct fields){.type = STR_NONE};
    while (next_field(block, &at, m->readings & MIME_READ_BARE_CR, &name, &value)) {
        if (name.n < 10 || (name.p[0] | 32) != 'c')
            continue;
        if (name_is(name, "Content-Type"))
            field_take(m, &ret->type, value);
        else if (name_is(name, "Content-Transfer-Encoding"))
            field_take(m, &ret->encoding, value);
        else if (name_is(name, "Content-Disposition"))
            field_take(m, &ret->disposition, value);
        else if (name_is(name, "Content-ID"))
            field_take(m, &ret->id, value);
    }
}

static void
look_for_bytes(struct mime *m, struct str block)
{
    if (block.n && memchr(block.p, '\0', block.n))
        mime_odd_told(m, NULL, MIME_ODD_NUL, STR_NONE, STR_NONE);
    for (size_t i = 0; i + 1 < block.n; i++) {
        const char *cr = memchr(block.p + i, '\r', block.n - 1 - i);
        if (!cr)
            return;
        i = (size_t)(cr - block.p);
        if (cr[1] != '\n') {
            mime_odd_told(m, NULL, MIME_ODD_BARE_CR, STR_NONE, STR_NONE);
            return;
        }
    }
}

/* ---- a part ------------------------------------------------------------------------------------
 */

static void
params_odd(struct mime *m, const struct mime_part *p, const struct params *params)
{
    if (!params->odd)
        return;
    for (unsigned i = 0; i < params->n; i++) {
        if (params->items[i].other.p)
            mime_odd_told(m, p, MIME_ODD_PARAM, params->items[i].value, params->items[i].other);
    }
    if (params->odd & ~(unsigned)(PARAM_ODD_REPEATED | PARAM_ODD_BOTH | PARAM_ODD_WORDS |
                                  PARAM_ODD_BARE | PARAM_ODD_GAP | PARAM_ODD_QUOTES))
        mime_odd_told(m, p, MIME_ODD_PARAM, params->value, STR_NONE);
}

static struct str
param_value(const struct mime *m, const struct params *params, struct str name)
{
    const struct param *p = params_get(params, name);

    if (!p)
        return STR_NONE;
    return p->other.p && (m->readings & MIME_READ_OTHER_PARAM) ? p->other : p->value;
}

/* "text/html" in two; what is not of that form is text/plain (RFC 2045 5.2). */
static void
type_read(struct mime *m, struct mime_part *p, const struct params *params, bool digest)
{
    static const struct {
        const char *word, *type, *subtype;
    } words[] = {{"multipart", "multipart", "mixed"},
                 {"message", "message", "rfc822"},
                 {"html", "text", "html"}};
    struct str v = params->value;
    const char *slash = v.n ? memchr(v.p, '/', v.n) : NULL;

    bool one_word = m->readings & MIME_READ_ONE_WORD;
    bool three = slash && memchr(slash + 1, '/', v.n - (size_t)(slash + 1 - v.p));

    if (!slash || slash == v.p || slash == v.p + v.n - 1 || (three && one_word)) {
        p->type = digest ? STR("message") : STR("text");
        p->subtype = digest ? STR("rfc822") : STR("plain");
        if (v.n)
            mime_odd_told(m, p, MIME_ODD_TYPE, v, STR_NONE);
        for (size_t i = 0; i < ARRAY_LEN(words) && one_word; i++) {
            if (!str_eq(str_sub(v, 0, v.n - (slash && slash != v.p)), str_c(words[i].word)))
                continue;
            p->type = str_c(words[i].type);
            p->subtype = str_c(words[i].subtype);
        }
        return;
    }
    p->type = str_of(v.p, (size_t)(slash - v.p));
    p->subtype = str_sub(v, p->type.n + 1, v.n);
    if (three) /* text/plain to those who count the words */
        mime_odd_told(m, p, MIME_ODD_TYPE, v, STR("text/plain"));
}

static bool
is_message(const struct mime_part *p)
{
    return str_eq(p->type, STR("message")) &&
           (str_eq(p->subtype, STR("rfc822")) || str_eq(p->subtype, STR("global")) ||
            str_eq(p->subtype, STR("news")));
}

static void
encoding_read(struct mime *m, struct mime_part *p, struct str value)
{
    struct str rest = value;

    p->encoding = value.n ? transfer_kind_of(value) : TRANSFER_IDENTITY;
    while (rest.n && !strchr(" \t\r\n;(", rest.p[0]))
        rest = str_from(rest, 1);
    while (rest.n && strchr(" \t\r\n", rest.p[0]))
        rest = str_from(rest, 1);
    bool words = rest.n && !strchr(";(", rest.p[0]);
    if (p->encoding == TRANSFER_UNKNOWN || words) {
        enum transfer_kind like = transfer_kind_like(value);
        if (like == p->encoding && like != TRANSFER_UNKNOWN)
            like = TRANSFER_IDENTITY; /* to those who want one word */
        mime_odd_told(m, p, MIME_ODD_ENCODING, value, str_c(transfer_kind_name(like)));
        if (m->readings & MIME_READ_LIKE_ENCODING)
            p->encoding = like;
    }
    if (p->encoding == TRANSFER_UUENCODE) {
        mime_odd_told(m, p, MIME_ODD_UUENCODE, value, STR_NONE);
        if (m->readings & MIME_READ_UNDECODED)
            p->encoding = TRANSFER_UNKNOWN;
    }
}

static void
boundary_look(struct mime *m, struct mime_part *p)
{
    struct str b = p->boundary;
    bool odd = b.n > BOUNDARY_MAX || (b.n && b.p[b.n - 1] == ' ');

    for (size_t i = 0; i < b.n; i++)
        odd |= (unsigned char)b.p[i] < ' ' || (unsigned char)b.p[i] > '~';
    if (odd)
        mime_odd_told(m, p, MIME_ODD_BOUNDARY_FORM, b, STR_NONE);
    for (unsigned i = 0; i < m->nlevels; i++) {
        struct str around = m->stack[i].boundary;
        if (around.n && (str_starts(b, around) || str_starts(around, b)))
            mime_odd_told(m, p, MIME_ODD_BOUNDARY_LIKE, b, around);
    }
}

static void
kind_choose(struct mime *m, struct mime_part *p)
{
    bool deep = p->depth >= m->limits.depth || m->nlevels >= MIME_DEPTH_MAX;

    p->kind = MIME_LEAF;
    if (str_eq(p->type, STR("multipart"))) {
        struct str b = param_value(m, p->type_params, STR("boundary"));
        if (!b.n) {
            mime_odd_told(m, p, MIME_ODD_NO_BOUNDARY, STR_NONE, STR_NONE);
        } else if (deep) {
            mime_odd_told(m, p, MIME_ODD_DEPTH, STR_NONE, STR_NONE);
        } else {
            p->kind = MIME_MULTIPART;
            p->boundary = b;
            boundary_look(m, p);
            if (p->encoding != TRANSFER_IDENTITY) {
                mime_odd_told(m, p, MIME_ODD_ENCODED_MULTIPART, STR_NONE, STR_NONE);
                if (!(m->readings & MIME_READ_DECODED_MULTIPART) || p->encoding == TRANSFER_UNKNOWN)
                    p->encoding = TRANSFER_IDENTITY;
            }
        }
    } else if (is_message(p)) {
        if (deep)
            mime_odd_told(m, p, MIME_ODD_DEPTH, STR_NONE, STR_NONE);
        else
            p->kind = MIME_MESSAGE;
    }
}

/* filename* before filename before name; two that differ are two readings. */
static void
filename_find(struct mime *m, struct mime_part *p)
{
    struct str file = param_value(m, p->disposition_params, STR("filename"));
    struct str name = param_value(m, p->type_params, STR("name"));

    p->filename = file.n ? file : name.n ? name : STR("");
    if (file.n && name.n && !str_eq(file, name))
        mime_odd_told(m, p, MIME_ODD_FILENAMES, file, name);
}

/* The parser of the whole message: parts are numbered there. */
static struct mime *
mime_root(struct mime *m)
{
    while (m->outer)
        m = m->outer;
    return m;
}

struct mime_part *
mime_part_make(struct mime *m, bool digest)
{
    struct mime_part *p = ARENA_NEW(&m->arena, struct mime_part);
    struct params *type = ARENA_NEW(&m->arena, struct params);
    struct params *disposition = ARENA_NEW(&m->arena, struct params);
    struct mime *root = mime_root(m);
    struct fields f;

    if (!p || !type || !disposition)
        goto fail;
    if (root->nparts >= m->limits.parts) {
        mime_odd_told(m, NULL, MIME_ODD_PARTS, STR_NONE, STR_NONE);
        m->incomplete = true;
        return NULL;
    }
    p->header = arena_str(&m->arena, buf_view(&m->header));
    if (m->header.n && !p->header.p)
        goto fail;
    look_for_bytes(m, p->header);
    fields_find(m, p->header, &f);
    if (params_read(type, f.type, &m->arena) < 0 ||
        params_read(disposition, f.disposition, &m->arena) < 0)
        goto fail;
    if (!disposition->value.n && disposition->n) {
        mime_odd_told(m, NULL, MIME_ODD_DISPOSITION, f.disposition, STR_NONE);
        disposition->n = m->readings & MIME_READ_STRICT ? 0 : disposition->n;
    }
    p->number = root->nparts++;
    p->parent = m->parent == MIME_NO_PART ? m->base_parent : m->parent;
    p->depth = m->base_depth + m->nlevels;
    p->header_at = m->header_at;
    p->in_encoded = m->outer != NULL;
    p->type_params = type;
    p->disposition_params = disposition;
    p->disposition = disposition->value;
    p->content_id = f.id.p ? f.id : STR("");
    type_read(m, p, type, digest);
    p->charset = param_value(m, type, STR("charset"));
    encoding_read(m, p, f.encoding);
    if (m->header_cut)
        mime_odd_told(m, p, MIME_ODD_HEADER_CUT, STR_NONE, STR_NONE);
    params_odd(m, p, type);
    params_odd(m, p, disposition);
    kind_choose(m, p);
    filename_find(m, p);
    if (m->sink->begin)
        m->sink->begin(m->ctx, p);
    return p;
fail:
    m->incomplete = true;
    return NULL;
}

struct mime_part *
mime_part_inside(struct mime *m, uint32_t parent, const struct mime_part *like)
{
    struct mime_part *p = ARENA_NEW(&m->arena, struct mime_part);
    struct params *none = ARENA_NEW(&m->arena, struct params);
    struct mime *root = mime_root(m);

    if (!p || !none || root->nparts >= m->limits.parts) {
        mime_odd_told(m, m->leaf, MIME_ODD_PARTS, STR_NONE, STR_NONE);
        m->incomplete = true;
        return NULL;
    }
    *p = *like;
    p->number = root->nparts++;
    p->parent = parent;
    p->depth = m->leaf->depth + 1;
    p->header_at = p->body_at = m->at;
    p->type_params = p->disposition_params = none;
    p->in_encoded = m->outer != NULL;
    return p;
}

void
mime_part_end(struct mime *m, struct mime_part *p, uint64_t end_at)
{
    p->end_at = end_at;
    if (m->sink->end)
        m->sink->end(m->ctx, p);
}

/* ---- content -----------------------------------------------------------------------------------
 */

/* A message with an encoding, or a multipart that is read so: its decoded bytes have a structure of
 * their own. */
static struct mime *
inner_of(struct mime *m)
{
    struct mime_limits limits = m->limits;
    bool multipart = m->leaf->kind == MIME_MULTIPART && m->leaf->encoding != TRANSFER_IDENTITY;

    if (m->inner || (m->leaf->kind != MIME_MESSAGE && !multipart))
        return m->inner;
    /* However deep they stand in each other, all together have the memory of one. */
    limits.memory = (uint32_t)(m->arena.max - m->arena.used);
    buf_clear(&m->header);
    buf_shrink(&m->header, 0);
    if (mime_create(&m->inner, &limits, m->sink, m->ctx) < 0) {
        m->incomplete = true;
        return NULL;
    }
    m->inner->outer = m;
    m->inner->readings = m->readings;
    m->inner->base_depth = m->leaf->depth + !multipart; /* its level counts as one */
    m->inner->base_parent = m->leaf->number;
    if (multipart)
        mime_enter(m->inner, m->leaf);
    return m->inner;
}

static void
hand_on(struct mime *m, const char *p, size_t n)
{
    struct mime_part *leaf = m->leaf;

    if (!n)
        return;
    leaf->size += n;
    if (leaf->kind != MIME_LEAF && inner_of(m))
        mime_feed(m->inner, p, n);
    if (leaf->kind == MIME_MULTIPART && leaf->encoding != TRANSFER_IDENTITY)
        return; /* its parts have it */
    if (m->sink->data)
        m->sink->data(m->ctx, leaf, p, n);
    if (leaf->kind == MIME_LEAF && str_eq(leaf->type, STR("text")))
        mime_uu_feed(m, p, n);
    if (leaf->kind == MIME_LEAF)
        mime_tnef_feed(m, p, n);
}

/* Readers that give up at what is not base64 show the source. White space that comes before it is
 * decided is nothing in either; its length. */
static size_t
decide(struct mime *m, const char *p, size_t n)
{
    size_t i = 0;

    for (; i < n && m->undecided; i++) {
        char c = p[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            continue;
        m->undecided = false;
        bool digit = c >= '0' && c <= '9', letter = (c | 32) >= 'a' && (c | 32) <= 'z';
        if (!digit && !letter && !strchr("+/=", c))
            m->transfer.kind = TRANSFER_IDENTITY;
        return i;
    }
    return i;
}

void
mime_content(struct mime *m, const char *p, size_t n)
{
    if (!m->leaf || !n)
        return;
    if (m->undecided) {
        size_t white = decide(m, p, n);

        p += white;
        n -= white;
    }
    if (m->transfer.kind == TRANSFER_IDENTITY || m->transfer.kind == TRANSFER_UNKNOWN) {
        hand_on(m, p, n);
        return;
    }
    while (n) {
        size_t take = MIN(n, (size_t)MIME_PIECE);
        hand_on(m, m->out, transfer_feed(&m->transfer, p, take, m->out));
        p += take;
        n -= take;
    }
}

void
mime_content_end(struct mime *m)
{
    hand_on(m, m->out, transfer_end(&m->transfer, m->out));
    if (m->transfer.odd || m->transfer.cut)
        mime_odd_told(m, m->leaf, MIME_ODD_ENCODED_DATA, STR_NONE, STR_NONE);
    if (m->transfer.after_pad)
        mime_odd_told(m, m->leaf, MIME_ODD_BASE64_AFTER_PAD, STR_NONE, STR_NONE);
    mime_uu_finish(m);
    mime_tnef_finish(m);
    if (m->inner) {
        mime_end(m->inner);
        m->incomplete |= m->inner->incomplete;
        m->plausible |= m->inner->plausible;
        mime_free(m->inner);
        m->inner = NULL;
    }
}
