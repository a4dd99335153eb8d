/*
 * net/dns_answer.c - names, and answers as they go over a channel.
 *
 * Called by both sides. Pure. The resolver talks to strangers, so what it says is checked like any
 * other input.
 */
#include "net/dns.h"

#define DNS_NAME_MAX    253u
#define DNS_FLAG_SECURE 1u
#define DNS_FLAG_CNAME  2u
#define DNS_FLAG_LATER  4u

bool
dns_name_normal(struct str name, char *dst, size_t *ret_n)
{
    size_t label = 0;

    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        /* A backslash would be an escape, the others mean something in zone file text. */
        if (c <= ' ' || c > '~' || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' ||
            c == '@' || c == '$')
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63 || (c == '.' && (i == 0 || name.p[i - 1] == '.')))
            return false;
        dst[i] = c;
    }
    if (name.n && label == 0)
        return false;
    str_lower(dst, name.n);
    *ret_n = name.n;
    return true;
}

static void
dns_record_encode(struct buf *out, const struct dns_record *r)
{
    put_u16(out, (uint16_t)r->type);
    switch (r->type) {
    case DNS_A:
    case DNS_AAAA:
        buf_add(out, r->addr.b, sizeof(r->addr.b));
        break;
    case DNS_MX:
        put_u16(out, r->preference);
        put_str16(out, r->name);
        break;
    case DNS_CNAME:
    case DNS_PTR:
        put_str16(out, r->name);
        break;
    case DNS_TXT:
    case DNS_TLSA:
        put_str16(out, r->data);
        break;
    }
}

void
dns_answer_encode(struct buf *out, const struct dns_answer *a)
{
    size_t count_at, n = 0;

    put_u16(out, (uint16_t)a->type);
    put_u8(out, (uint8_t)a->status);
    put_u8(out, (uint8_t)((a->secure ? DNS_FLAG_SECURE : 0) | (a->cname ? DNS_FLAG_CNAME : 0) |
                          (a->later ? DNS_FLAG_LATER : 0)));
    put_u32(out, a->ttl);
    put_str16(out, a->name);
    count_at = out->n;
    put_u8(out, 0);
    if (out->failed)
        return;
    for (; n < a->n && n < DNS_RECORDS_MAX; n++) {
        const struct dns_record *r = &a->records[n];

        if (out->n + 32 + r->name.n + r->data.n > MIN(out->max, (size_t)CHAN_BODY_MAX))
            break;
        dns_record_encode(out, r);
    }
    if (!out->failed)
        out->p[count_at] = (char)n;
}

static bool
dns_take_name(struct wire *w, struct arena *arena, struct str *ret)
{
    struct str s = wire_str16(w);
    char normal[256];
    size_t n;

    if (w->failed || !dns_name_normal(s, normal, &n) || !str_eq(s, str_of(normal, n)))
        return false;
    *ret = arena_str(arena, s);
    return ret->p != NULL;
}

static bool
dns_record_decode(struct wire *w, struct arena *arena, struct dns_record *r)
{
    struct str s;

    switch (r->type) {
    case DNS_A:
    case DNS_AAAA:
        s = wire_bytes(w, sizeof(r->addr.b));
        if (w->failed)
            return false;
        memcpy(r->addr.b, s.p, sizeof(r->addr.b));
        return addr_is_v4(&r->addr) == (r->type == DNS_A);
    case DNS_MX:
        r->preference = wire_u16(w);
        return dns_take_name(w, arena, &r->name);
    case DNS_CNAME:
    case DNS_PTR:
        return dns_take_name(w, arena, &r->name);
    case DNS_TXT:
    case DNS_TLSA:
        s = wire_str16(w);
        r->data = arena_str(arena, s);
        return !w->failed && r->data.p != NULL;
    }
    return false;
}

static int
dns_answer_refuse(struct wire *w)
{
    w->failed = true; /* so that the channel's owner sees it, too */
    return ERR_SYNTAX;
}

int
dns_answer_decode(struct wire *w, struct arena *arena, struct dns_answer *ret)
{
    struct dns_answer a = {0};
    uint8_t status, flags;

    a.type = wire_u16(w);
    status = wire_u8(w);
    flags = wire_u8(w);
    a.ttl = wire_u32(w);
    if (status > DNS_BOGUS || flags > (DNS_FLAG_SECURE | DNS_FLAG_CNAME | DNS_FLAG_LATER) ||
        ((flags & DNS_FLAG_LATER) && status != DNS_TEMPORARY) || !dns_take_name(w, arena, &a.name))
        return dns_answer_refuse(w);
    a.status = status;
    a.secure = flags & DNS_FLAG_SECURE;
    a.cname = flags & DNS_FLAG_CNAME;
    a.later = flags & DNS_FLAG_LATER;
    a.n = wire_u8(w);
    if (w->failed || a.n > DNS_RECORDS_MAX || (a.n > 0) != (status == DNS_OK))
        return dns_answer_refuse(w);
    a.records = a.n ? ARENA_ARRAY(arena, struct dns_record, a.n) : NULL;
    if (a.n && !a.records)
        return ERR_NOMEM;
    for (size_t i = 0; i < a.n; i++) {
        a.records[i].type = wire_u16(w);
        if (w->failed || a.records[i].type != a.type || !dns_record_decode(w, arena, &a.records[i]))
            return dns_answer_refuse(w);
    }
    if (!wire_end(w))
        return dns_answer_refuse(w);
    *ret = a;
    return 0;
}
