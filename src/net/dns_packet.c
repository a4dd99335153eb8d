/*
 * net/dns_packet.c - reads DNS messages (RFC 1035 4) into answers.
 *
 * Called by the resolver role only, on what libunbound hands out, which is still a stranger's
 * doing. Pure; every count, pointer and length is checked against the message.
 */
#include "net/dns.h"

#define DNS_HEADER     12u
#define DNS_WIRE_MAX   255u
#define DNS_JUMPS_MAX  64u
#define DNS_CNAMES_MAX 16u
#define DNS_TYPE_SOA   6u
#define DNS_CLASS_IN   1u
#define DNS_FLAG_TC    0x0200u /* RFC 1035 4.1.1: cut off */
#define DNS_DATA_MAX   16384u  /* of one TXT or TLSA record, joined */
#define DNS_BYTES_MAX  49152u  /* of all names and data of an answer: it must fit a channel */

struct dns_packet {
    const uint8_t *p;
    size_t n;
};

struct dns_name { /* uncompressed, lower case, with the root's empty label */
    uint8_t b[DNS_WIRE_MAX];
    size_t n;
};

struct dns_rr {
    struct dns_name owner;
    uint16_t type, class;
    uint32_t ttl;
    size_t data, data_n; /* where in the packet */
};

static bool
dns_u16(const struct dns_packet *m, size_t at, uint16_t *ret)
{
    if (at > m->n || m->n - at < 2)
        return false;
    *ret = (uint16_t)(m->p[at] << 8 | m->p[at + 1]);
    return true;
}

static bool
dns_u32(const struct dns_packet *m, size_t at, uint32_t *ret)
{
    uint16_t high, low;

    if (!dns_u16(m, at, &high) || !dns_u16(m, at + 2, &low))
        return false;
    *ret = (uint32_t)high << 16 | low;
    return true;
}

/* Reads the name at *at and moves *at behind it. Pointers may only go back. */
static bool
dns_name_read(const struct dns_packet *m, size_t *at, struct dns_name *ret)
{
    size_t pos = *at, lowest = *at, jumps = 0;

    ret->n = 0;
    for (;;) {
        uint8_t len;

        if (pos >= m->n)
            return false;
        len = m->p[pos];
        if (len >= 0xc0) {
            uint16_t to;

            if (!dns_u16(m, pos, &to) || ++jumps > DNS_JUMPS_MAX)
                return false;
            to &= 0x3fff;
            if (jumps == 1)
                *at = pos + 2;
            if (to >= lowest)
                return false;
            pos = lowest = to;
            continue;
        }
        if (len > 63 || m->n - pos < (size_t)len + 1 || ret->n + len + 1 > DNS_WIRE_MAX)
            return false;
        memcpy(ret->b + ret->n, m->p + pos, (size_t)len + 1);
        str_lower((char *)ret->b + ret->n + 1, len);
        ret->n += (size_t)len + 1;
        pos += (size_t)len + 1;
        if (len == 0)
            break;
    }
    if (jumps == 0)
        *at = pos;
    return true;
}

static bool
dns_name_of_text(struct str text, struct dns_name *ret)
{
    ret->n = 0;
    while (text.n) {
        struct str label = str_cut(text, '.', &text);

        if (label.n == 0 || label.n > 63 || ret->n + label.n + 2 > DNS_WIRE_MAX)
            return false;
        ret->b[ret->n++] = (uint8_t)label.n;
        memcpy(ret->b + ret->n, label.p, label.n);
        ret->n += label.n;
    }
    ret->b[ret->n++] = 0;
    return true;
}

static bool
dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
    return a->n == b->n && memcmp(a->b, b->b, a->n) == 0;
}

/* As text in the arena. False for names that have no plain text (a dot or escape in a label). */
static bool
dns_name_text(const struct dns_name *name, struct arena *arena, struct str *ret)
{
    char text[DNS_WIRE_MAX], normal[256];
    size_t n = 0, normal_n;

    for (size_t at = 0; name->b[at]; at += (size_t)name->b[at] + 1) {
        if (n)
            text[n++] = '.';
        if (memchr(name->b + at + 1, '.', name->b[at]))
            return false;
        memcpy(text + n, name->b + at + 1, name->b[at]);
        n += name->b[at];
    }
    if (!dns_name_normal(str_of(text, n), normal, &normal_n))
        return false;
    *ret = arena_str(arena, str_of(normal, normal_n));
    return ret->p != NULL;
}

static bool
dns_rr_read(const struct dns_packet *m, size_t *at, struct dns_rr *ret)
{
    uint16_t len;

    if (!dns_name_read(m, at, &ret->owner) || !dns_u16(m, *at, &ret->type) ||
        !dns_u16(m, *at + 2, &ret->class) || !dns_u32(m, *at + 4, &ret->ttl) ||
        !dns_u16(m, *at + 8, &len))
        return false;
    *at += 10;
    if (m->n - *at < len)
        return false;
    if (ret->ttl > INT32_MAX) /* RFC 2181 8 */
        ret->ttl = 0;
    ret->data = *at;
    ret->data_n = len;
    *at += len;
    return true;
}

/* The name in a record's data; it must fill the data from `skip` on. */
static bool
dns_rr_name(const struct dns_packet *m, const struct dns_rr *rr, size_t skip, struct dns_name *ret)
{
    size_t at = rr->data + skip;

    return rr->data_n > skip && dns_name_read(m, &at, ret) && at == rr->data + rr->data_n;
}

static bool
dns_take_txt(const uint8_t *p, size_t n, struct arena *arena, struct dns_record *r)
{
    struct buf joined;
    bool good = true;

    buf_init(&joined, DNS_DATA_MAX);
    for (size_t at = 0; at < n && good; at += (size_t)p[at] + 1) {
        good = n - at > p[at];
        if (good)
            buf_add(&joined, p + at + 1, p[at]);
    }
    good = good && !joined.failed;
    if (good)
        r->data = arena_str(arena, buf_view(&joined));
    buf_done(&joined);
    return good && r->data.p;
}

/* 1 taken, 0 left out (not usable by us), negative: the message is broken. */
static int
dns_take_record(const struct dns_packet *m, const struct dns_rr *rr, struct arena *arena,
                struct dns_record *r)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *data = m->p + rr->data;
    struct dns_name name;

    *r = (struct dns_record){.type = rr->type};
    switch (r->type) {
    case DNS_A:
        if (rr->data_n != 4)
            return ERR_CORRUPT;
        memcpy(r->addr.b, mapped, 12);
        memcpy(r->addr.b + 12, data, 4);
        return 1;
    case DNS_AAAA:
        if (rr->data_n != 16)
            return ERR_CORRUPT;
        memcpy(r->addr.b, data, 16);
        return !addr_is_v4(&r->addr); /* a mapped address is no IPv6 host */
    case DNS_MX:
        if (!dns_rr_name(m, rr, 2, &name) || !dns_u16(m, rr->data, &r->preference))
            return ERR_CORRUPT;
        return dns_name_text(&name, arena, &r->name);
    case DNS_CNAME:
    case DNS_PTR:
        if (!dns_rr_name(m, rr, 0, &name))
            return ERR_CORRUPT;
        return dns_name_text(&name, arena, &r->name);
    case DNS_TXT:
        return dns_take_txt(data, rr->data_n, arena, r);
    case DNS_TLSA:
        if (rr->data_n < 4 || rr->data_n > DNS_DATA_MAX)
            return 0;
        r->data = arena_str(arena, str_of(data, rr->data_n));
        return r->data.p != NULL;
    }
    return 0;
}

/* The end of the CNAME chain that begins at *name. */
static int
dns_follow(const struct dns_packet *m, size_t answers, unsigned n, struct dns_name *name,
           struct dns_answer *a)
{
    for (unsigned hop = 0; hop < DNS_CNAMES_MAX; hop++) {
        size_t at = answers;
        bool moved = false;

        for (unsigned i = 0; i < n && !moved; i++) {
            struct dns_rr rr;

            if (!dns_rr_read(m, &at, &rr))
                return ERR_CORRUPT;
            if (rr.type != DNS_CNAME || rr.class != DNS_CLASS_IN || !dns_name_eq(&rr.owner, name))
                continue;
            if (!dns_rr_name(m, &rr, 0, name))
                return ERR_CORRUPT;
            a->cname = true;
            a->ttl = MIN(a->ttl, rr.ttl);
            moved = true;
        }
        if (!moved)
            return 0;
    }
    return ERR_CORRUPT; /* a ring, or as good as one */
}

/* Takes the records of (name, a->type); *at moves behind the answer section. */
static int
dns_collect(const struct dns_packet *m, size_t *at, unsigned n, const struct dns_name *name,
            struct arena *arena, struct dns_answer *a)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < n; i++) {
        struct dns_record r;
        struct dns_rr rr;
        int took;

        if (!dns_rr_read(m, at, &rr))
            return ERR_CORRUPT;
        if (rr.type != (uint16_t)a->type || rr.class != DNS_CLASS_IN ||
            !dns_name_eq(&rr.owner, name) || a->n >= DNS_RECORDS_MAX)
            continue;
        took = dns_take_record(m, &rr, arena, &r);
        if (took < 0)
            return took;
        bytes += r.name.n + r.data.n + 32;
        if (took == 0 || bytes > DNS_BYTES_MAX)
            continue;
        a->records[a->n++] = r;
        a->ttl = MIN(a->ttl, rr.ttl);
    }
    return 0;
}

/* RFC 2308 5: the SOA of the authority section says how long "no" lasts. */
static void
dns_negative_ttl(const struct dns_packet *m, size_t at, unsigned n, struct dns_answer *a)
{
    uint32_t ttl = 0, minimum;

    for (unsigned i = 0; i < n; i++) {
        struct dns_rr rr;

        if (!dns_rr_read(m, &at, &rr))
            break;
        if (rr.type != DNS_TYPE_SOA || rr.data_n < 22 ||
            !dns_u32(m, rr.data + rr.data_n - 4, &minimum))
            continue;
        ttl = MIN(rr.ttl, minimum);
        break;
    }
    a->ttl = MIN(a->ttl, ttl);
}

int
dns_packet_parse(const void *packet, size_t size, struct str name, enum dns_type type,
                 struct arena *arena, struct dns_answer *ret)
{
    struct dns_packet m = {packet, size};
    struct dns_answer a = {.type = type, .ttl = UINT32_MAX};
    struct dns_name owner;
    uint16_t flags, questions, answers, authority;
    size_t at = DNS_HEADER;
    int err;

    if (!dns_name_of_text(name, &owner) || !dns_u16(&m, 2, &flags) || !dns_u16(&m, 4, &questions) ||
        !dns_u16(&m, 6, &answers) || !dns_u16(&m, 8, &authority) || m.n < DNS_HEADER)
        return ERR_CORRUPT;
    for (unsigned i = 0; i < questions; i++) {
        struct dns_name ignored;

        if (!dns_name_read(&m, &at, &ignored) || m.n - at < 4)
            return ERR_CORRUPT;
        at += 4;
    }
    a.name = arena_str(arena, name);
    a.records = ARENA_ARRAY(arena, struct dns_record, MIN(answers, DNS_RECORDS_MAX) + 1u);
    if (!a.name.p || !a.records)
        return ERR_NOMEM;
    err = type == DNS_CNAME ? 0 : dns_follow(&m, at, answers, &owner, &a);
    if (!err)
        err = dns_collect(&m, &at, answers, &owner, arena, &a);
    if (err)
        return err;
    /* What was cut off is no answer: a list without its end, or "no such record" for want of room.
     */
    switch (flags & DNS_FLAG_TC ? 2 : flags & 15) {
    case 0:
        a.status = a.n ? DNS_OK : DNS_NODATA;
        break;
    case 3:
        a.status = DNS_NXDOMAIN;
        a.n = 0;
        break;
    default:
        a.status = DNS_TEMPORARY;
        a.n = 0;
        break;
    }
    if (a.status == DNS_TEMPORARY)
        a.ttl = 0;
    else if (a.status != DNS_OK)
        dns_negative_ttl(&m, at, authority, &a);
    *ret = a;
    return 0;
}
