/*
 * auth/dkim_draft.c - builds signature fields, folded at 76 columns, and closes them.
 *
 * Called by the DKIM signer and the ARC sealer. What was hashed and what is sent are the same bytes
 * but for the value of b=.
 */
#include "auth/dkim_draft.h"
#include "core/codec.h"

#define COLUMNS        76u
#define BASE64_COLUMNS 72u
/* A seal covers the white space within b= of the message signature below it, and the common ARC
 * suite has none there: such a draft has one line (of 684 columns with the longest usual key). */
#define ONE_LINE 900u

void
dkim_draft_begin(struct dkim_draft *d, const char *field_name)
{
    memset(d, 0, sizeof(*d));
    buf_init(&d->text, DKIM_DRAFT_MAX);
    buf_c(&d->text, field_name);
    buf_char(&d->text, ':');
    d->column = d->text.n;
}

void
dkim_draft_done(struct dkim_draft *d)
{
    buf_done(&d->text);
}

static void
fold(struct dkim_draft *d)
{
    buf_c(&d->text, "\r\n\t");
    d->column = 8;
}

static void
add(struct dkim_draft *d, struct str s)
{
    buf_str(&d->text, s);
    d->column += s.n;
}

/* " name=" on this line if what follows has room there, else on the next. */
static void
start(struct dkim_draft *d, const char *name, size_t value_n)
{
    bool first = d->text.n && d->text.p[d->text.n - 1] == ':';

    if (!first)
        add(d, STR(";"));
    if (!first && d->column + strlen(name) + value_n + 3 > COLUMNS)
        fold(d);
    else
        add(d, STR(" "));
    add(d, str_c(name));
    add(d, STR("="));
}

void
dkim_draft_tag(struct dkim_draft *d, const char *name, struct str value)
{
    start(d, name, value.n);
    add(d, value);
}

void
dkim_draft_number(struct dkim_draft *d, const char *name, uint64_t value)
{
    char text[24];
    size_t n = str_fmt(text, sizeof(text), "%llu", (unsigned long long)value);

    dkim_draft_tag(d, name, str_of(text, n));
}

void
dkim_draft_list(struct dkim_draft *d, const char *name, struct str list)
{
    ssize_t colon = str_chr(list, ':');

    /* On one line if it has room there at all: white space inside is signed by seals. */
    start(d, name, colon < 0 || list.n < COLUMNS - 12 ? list.n : (size_t)colon);
    while (list.n) {
        size_t n = colon < 0 ? list.n : (size_t)colon + 1;

        if (d->column + n > COLUMNS)
            fold(d);
        add(d, str_sub(list, 0, n));
        list = str_from(list, n);
        colon = str_chr(list, ':');
    }
}

void
dkim_draft_base64(struct dkim_draft *d, const char *name, struct str bytes)
{
    struct buf CLEANUP(buf_done) text = {0};

    buf_init(&text, 256);
    codec_base64(&text, bytes);
    if (text.failed)
        d->text.failed = true;
    dkim_draft_tag(d, name, buf_view(&text));
}

void
dkim_draft_hole(struct dkim_draft *d)
{
    start(d, "b", COLUMNS);
    d->hole = d->text.n;
    d->column = COLUMNS; /* how long the signature's last line will be is not known yet */
}

int
dkim_draft_digest(struct dkim_draft *d, struct dkim_message *m, enum dkim_canon canon)
{
    struct str line = buf_view(&d->text);
    ssize_t colon = str_chr(line, ':');
    struct header_field f;

    if (d->text.failed)
        return ERR_LIMIT;
    f.name = str_sub(line, 0, (size_t)colon);
    f.value = str_from(line, (size_t)colon + 1);
    f.line = line;
    dkim_hash_own(&m->hash, &f, str_of(line.p + d->hole, 0), canon);
    d->digest_n = dkim_message_digest(m, d->digest);
    return d->digest_n ? 0 : ERR_TLS;
}

int
dkim_draft_finish(const struct dkim_draft *d, const uint8_t *signature, size_t n, struct buf *out)
{
    struct buf CLEANUP(buf_done) text = {0};
    struct str line = buf_view(&d->text), rest;
    size_t columns = d->one_line ? ONE_LINE : BASE64_COLUMNS, room = columns - 2; /* behind "b=" */

    buf_init(&text, 2 * DKIM_SIGNATURE_MAX);
    codec_base64(&text, str_of(signature, n));
    if (text.failed || !n)
        return ERR_LIMIT;
    buf_str(out, str_sub(line, 0, d->hole));
    for (rest = buf_view(&text); rest.n; room = columns) {
        size_t part = MIN(room, rest.n);

        buf_str(out, str_sub(rest, 0, part));
        rest = str_from(rest, part);
        if (rest.n)
            buf_c(out, "\r\n\t");
    }
    buf_str(out, str_from(line, d->hole));
    buf_c(out, "\r\n");
    return out->failed ? ERR_LIMIT : 0;
}
