/*
 * mail/header.c - fields of a header block as views into its raw bytes, and the incremental scan.
 *
 * Called by the SMTP engine while a body arrives, by the gate and by checks. Never changes a byte,
 * never decodes (mail/encode does), never allocates.
 */
#include "mail/header.h"
#include "core/err.h"

#define HIGH_BITS      UINT64_C(0x8080808080808080)
#define MESSAGE_ID_MAX 255u

enum header_at {
    AT_BOL,
    AT_CR,    /* a CR at the beginning of a line: the blank line, if LF follows */
    AT_NAME,  /* in a field's name */
    AT_SPACE, /* white space between name and colon: obsolete, understood */
    AT_VALUE,
};

static bool
is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

static bool
is_name(char c)
{
    return c > 32 && c < 127 && c != ':';
}

/* Bytes of the line at block[at], its LF included. */
static size_t
line_len(struct str block, size_t at)
{
    const char *nl = memchr(block.p + at, '\n', block.n - at);

    return nl ? (size_t)(nl - (block.p + at)) + 1 : block.n - at;
}

/* Bytes of s without its line end. */
static size_t
without_eol(struct str s)
{
    size_t n = s.n;

    if (n && s.p[n - 1] == '\n')
        n--;
    if (n < s.n && n && s.p[n - 1] == '\r')
        n--;
    return n;
}

int
header_next(struct str block, size_t *at, struct header_field *ret)
{
    size_t start = *at, end, name = 0, colon;
    struct str line;

    if (start >= block.n)
        return 0;
    end = start + line_len(block, start);
    if (!without_eol(str_sub(block, start, end - start)))
        return 0;
    while (end < block.n && is_wsp(block.p[end]))
        end += line_len(block, end);
    *at = end;
    line = str_sub(block, start, end - start);
    while (name < line.n && is_name(line.p[name]))
        name++;
    for (colon = name; colon < line.n && is_wsp(line.p[colon]);)
        colon++;
    if (!name || colon >= line.n || line.p[colon] != ':')
        return ERR_SYNTAX;
    ret->name = str_sub(line, 0, name);
    ret->value = str_sub(line, colon + 1, without_eol(line) - colon - 1);
    ret->line = line;
    return 1;
}

bool
header_find(struct str block, struct str name, struct header_field *ret)
{
    struct header_field f;
    size_t at = 0;
    int rc;

    while ((rc = header_next(block, &at, &f)) != 0) {
        if (rc < 0 || !str_ieq(f.name, name))
            continue;
        *ret = f;
        return true;
    }
    return false;
}

size_t
header_unfold(struct str value, char *dst, size_t cap)
{
    size_t n = 0;

    value = str_trim(value);
    for (size_t i = 0; i < value.n && n < cap; i++)
        if (value.p[i] != '\r' && value.p[i] != '\n')
            dst[n++] = value.p[i];
    while (n && is_wsp(dst[n - 1]))
        n--;
    return n;
}

void
header_scan_init(struct header_scan *h)
{
    memset(h, 0, sizeof(*h));
}

/* Words at a time: most bodies are all ASCII, and then every byte is looked at. */
static bool
has_eight_bit(const char *p, size_t n)
{
    uint64_t a, b, c, d, all = 0;

    for (; n >= 32; p += 32, n -= 32) {
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        memcpy(&c, p + 16, 8);
        memcpy(&d, p + 24, 8);
        all |= a | b | c | d;
    }
    while (n--)
        all |= (unsigned char)p[n];
    return all & HIGH_BITS;
}

/* The name of a field is whole: is it one that is counted? */
static void
scan_field(struct header_scan *h)
{
    struct str name = str_of(h->name, h->name_n);

    h->in_field = true;
    h->in_message_id = false;
    if (str_eq(name, STR("received"))) {
        h->received++;
    } else if (str_eq(name, STR("date"))) {
        h->has_date = true;
    } else if (str_eq(name, STR("from"))) {
        h->has_from = true;
    } else if (str_eq(name, STR("message-id"))) {
        h->in_message_id = !h->has_message_id;
        h->has_message_id = true;
    }
}

/* A line that is no field: skipped with what continues it, as header_next does. */
static void
scan_not_a_field(struct header_scan *h, char c)
{
    h->stray = true;
    h->in_field = true;
    h->in_message_id = false;
    h->at = c == '\n' ? AT_BOL : AT_VALUE;
}

/* One byte at the beginning of a line, in a name or before the colon. */
static void
scan_byte(struct header_scan *h, char c)
{
    switch ((enum header_at)h->at) {
    case AT_BOL:
        h->name_n = 0;
        if (c == '\r') {
            h->at = AT_CR;
        } else if (c == '\n') {
            h->done = true;
        } else if (is_wsp(c) && h->in_field) {
            h->at = AT_VALUE;
        } else if (is_name(c)) {
            h->at = AT_NAME;
            h->name[h->name_n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        } else {
            scan_not_a_field(h, c);
        }
        break;
    case AT_CR:
        if (c == '\n')
            h->done = true;
        else
            scan_not_a_field(h, c);
        break;
    case AT_NAME:
    case AT_SPACE:
        if (c == ':') {
            scan_field(h);
            h->at = AT_VALUE;
        } else if (is_wsp(c)) {
            h->at = AT_SPACE;
        } else if (h->at == AT_NAME && is_name(c)) {
            if (h->name_n < sizeof(h->name))
                h->name[h->name_n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        } else {
            scan_not_a_field(h, c);
        }
        break;
    case AT_VALUE:
        break;
    }
}

/* Gathers a piece of the Message-ID's value. */
static void
scan_message_id(struct header_scan *h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\r' || p[i] == '\n' || (!h->message_id_n && is_wsp(p[i])))
            continue;
        if (h->message_id_n > MESSAGE_ID_MAX)
            return; /* too long, stays marked as such */
        if (h->message_id_n < MESSAGE_ID_MAX)
            h->message_id[h->message_id_n] = p[i];
        h->message_id_n++;
    }
}

void
header_scan_feed(struct header_scan *h, const char *p, size_t n)
{
    if (!h->eight_bit)
        h->eight_bit = has_eight_bit(p, n);
    while (n && !h->done) {
        const char *nl;
        size_t len = 1;

        if (h->at != AT_VALUE) {
            h->bytes++;
            scan_byte(h, *p);
        } else {
            nl = memchr(p, '\n', n);
            len = nl ? (size_t)(nl - p) + 1 : n;
            if (h->in_message_id)
                scan_message_id(h, p, len);
            h->bytes += len;
            if (nl)
                h->at = AT_BOL;
        }
        p += len;
        n -= len;
    }
}

struct str
header_scan_message_id(const struct header_scan *h)
{
    struct str id;
    ssize_t open, close;

    if (!h->message_id_n || h->message_id_n > MESSAGE_ID_MAX)
        return STR_NONE;
    id = str_trim(str_of(h->message_id, h->message_id_n));
    open = str_chr(id, '<');
    close = str_rchr(id, '>');
    if (open >= 0 && close > open)
        return str_sub(id, (size_t)open, (size_t)(close - open) + 1);
    return id;
}
