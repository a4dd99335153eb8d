/*
 * submit/letter.c - the header as it goes out.
 *
 * Called by sendmail.c when the server has told its name. Never adds what is there already, and
 * never touches fields that hold no addresses.
 */
#include "submit/letter.h"

#include <sys/random.h>

#include "core/clock.h"
#include "core/codec.h"
#include "mail/address.h"
#include "mail/date.h"
#include "mail/header.h"
#include "submit/mailboxes.h"

enum field {
    FIELD_OTHER,
    FIELD_PEOPLE, /* addresses */
    FIELD_TO,     /* addresses that are recipients */
    FIELD_BCC,
    FIELD_GONE /* not the sender's to say */
};
static const struct {
    const char *name;
    enum field kind;
    bool resent;
} fields[] = {
    {"from", FIELD_PEOPLE, false},
    {"sender", FIELD_PEOPLE, false},
    {"reply-to", FIELD_PEOPLE, false},
    {"to", FIELD_TO, false},
    {"cc", FIELD_TO, false},
    {"bcc", FIELD_BCC, false},
    {"resent-from", FIELD_PEOPLE, true},
    {"resent-sender", FIELD_PEOPLE, true},
    {"resent-to", FIELD_TO, true},
    {"resent-cc", FIELD_TO, true},
    {"resent-bcc", FIELD_BCC, true},
    {"return-path", FIELD_GONE, false},
};

static enum field
field_kind(struct str name, bool *ret_resent)
{
    *ret_resent = false;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!str_ieq(name, str_c(fields[i].name)))
            continue;
        *ret_resent = fields[i].resent;
        return fields[i].kind;
    }
    return FIELD_OTHER;
}

/* ---- recipients ---- */

void
rcpts_done(struct rcpts *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->items[i]);
    free(r->items);
    *r = (struct rcpts){0};
}

static bool
rcpts_has(const struct rcpts *r, struct str address)
{
    for (size_t i = 0; i < r->n; i++)
        if (str_eq(str_c(r->items[i]), address))
            return true;
    return false;
}

static int
rcpts_put(void *ctx, struct str address)
{
    struct rcpts *r = ctx;
    struct address parsed;

    if (address_parse(address, ADDRESS_ALLOW_UTF8, &parsed) < 0)
        return ERR_SYNTAX;
    if (rcpts_has(r, address))
        return 0;
    if (r->n == LETTER_RCPTS_MAX)
        return ERR_LIMIT;
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        char **grown = realloc(r->items, cap * sizeof(*grown));

        if (!grown)
            return ERR_NOMEM;
        r->items = grown;
        r->cap = cap;
    }
    r->items[r->n] = str_dup(address);
    if (!r->items[r->n])
        return ERR_NOMEM;
    r->n++;
    return 0;
}

int
rcpts_add(struct rcpts *r, struct str typed, struct str origin)
{
    CLEANUP(buf_done) struct buf whole = {0};
    int rc;

    buf_init(&whole, 64u << 10);
    mailboxes_qualify(&whole, typed, origin);
    if (whole.failed)
        return ERR_LIMIT;
    rc = mailboxes_each(buf_view(&whole), rcpts_put, r);
    return rc == 0 ? ERR_SYNTAX : MIN(rc, 0);
}

/* ---- the header ---- */

static int
gather(struct rcpts *to, struct str name, struct str list, struct why *why)
{
    int rc = mailboxes_each(list, rcpts_put, to);

    if (rc >= 0)
        return 0;
    return why_set(why, rc, "the addresses in the field %.*s cannot be read: %s; nothing was sent",
                   STR_ARG(str_sub(name, 0, 40)), err_text(rc));
}

static int
copy_field(struct buf *out, const struct header_field *f, bool resent,
           const struct letter_conf *conf, struct why *why)
{
    CLEANUP(buf_done) struct buf list = {0};
    bool of_resent;
    enum field kind = field_kind(f->name, &of_resent);
    int rc = 0;

    if (kind == FIELD_OTHER) {
        buf_str(out, f->line);
        return 0;
    }
    if (kind == FIELD_GONE)
        return 0;
    buf_init(&list, 1u << 20);
    mailboxes_qualify(&list, f->value, conf->origin);
    if (list.failed)
        return why_set(why, ERR_LIMIT, "the header is too long; nothing was sent");
    if (conf->gather && kind != FIELD_PEOPLE && of_resent == resent)
        rc = gather(conf->gather, f->name, buf_view(&list), why);
    if (kind == FIELD_BCC)
        return rc;
    buf_str(out, f->name);
    buf_char(out, ':');
    buf_str(out, buf_view(&list));
    buf_c(out, "\r\n");
    return rc;
}

/* A display name: quoted if it is plain text, else an encoded word (RFC 2047). */
static void
put_name(struct buf *out, struct str name)
{
    name = str_sub(name, 0, 40); /* an encoded word has at most 75 bytes */
    while (name.n && !str_is_utf8(name))
        name.n--;
    if (!str_is_ascii(name)) {
        buf_c(out, "=?UTF-8?B?");
        codec_base64(out, name);
        buf_c(out, "?= ");
        return;
    }
    buf_char(out, '"');
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '"' || name.p[i] == '\\')
            buf_char(out, '\\');
        if (name.p[i] >= ' ' && name.p[i] != 127)
            buf_char(out, name.p[i]);
    }
    buf_c(out, "\" ");
}

static void
put_from(struct buf *out, const struct letter_conf *conf)
{
    buf_c(out, "From: ");
    if (conf->name && conf->name[0])
        put_name(out, str_c(conf->name));
    buf_fmt(out, "<%.*s>\r\n", STR_ARG(conf->from));
}

static void
put_message_id(struct buf *out, const struct letter_conf *conf)
{
    uint64_t random = 0;

    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK); /* the time alone is nearly unique */
    buf_fmt(out, "Message-ID: <%llx.%llx@%.*s>\r\n", (unsigned long long)(conf->wall / NS_PER_US),
            (unsigned long long)random, STR_ARG(conf->origin));
}

int
letter_header(struct buf *out, struct str header, const struct letter_conf *conf, struct why *why)
{
    struct header_field f;
    char date[40];
    bool resent = false, is_resent;
    size_t at = 0;
    int got, rc;

    while ((got = header_next(header, &at, &f)) != 0)
        if (got == 1 && field_kind(f.name, &is_resent) >= FIELD_TO)
            resent |= is_resent;
    for (at = 0; (got = header_next(header, &at, &f)) != 0;) {
        if (got < 0)
            continue;
        rc = copy_field(out, &f, resent, conf, why);
        if (rc < 0)
            return rc;
    }
    if (!header_find(header, STR("From"), &f))
        put_from(out, conf);
    if (!header_find(header, STR("Date"), &f)) {
        date_show(conf->wall / NS_PER_S, date);
        buf_fmt(out, "Date: %s\r\n", date);
    }
    if (!header_find(header, STR("Message-ID"), &f))
        put_message_id(out, conf);
    buf_c(out, "\r\n");
    return out->failed ? why_set(why, ERR_LIMIT, "the header is too long; nothing was sent") : 0;
}
