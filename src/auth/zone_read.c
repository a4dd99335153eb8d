/*
 * auth/zone_read.c - the text of a zone file (RFC 1035 5) into records.
 *
 * Called by zone_read() alone. Refuses what it does not know, with the line: a file that is half
 * understood would give answers that nobody published.
 */
#include "auth/zone_inner.h"

#define FIELDS_MAX 64u
#define ENTRY_MAX  65536u

struct entry {
    struct str fields[FIELDS_MAX]; /* escapes undone, quotes off */
    bool quoted[FIELDS_MAX];
    unsigned n;
    bool indented; /* no owner: that of the entry before */
    unsigned line; /* where it began */
    char text[ENTRY_MAX];
    size_t used;
};
struct reader {
    struct zone *zone;
    struct str in;
    size_t at;
    unsigned line;
    char origin[256], owner[256];
    struct entry entry;
};

static bool
is_end(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ';' || c == '(' || c == ')';
}

/* One byte of a field, escapes undone: \DDD or \X. Negative at the end of the input. */
static int
take_byte(struct reader *r)
{
    const char *p = r->in.p + r->at;
    size_t left = r->in.n - r->at;
    int code = 0;

    if (!left)
        return ERR_SYNTAX;
    if (*p != '\\') {
        r->at++;
        return (unsigned char)*p;
    }
    if (left < 2)
        return ERR_SYNTAX;
    if (p[1] < '0' || p[1] > '9') {
        r->at += 2;
        return (unsigned char)p[1];
    }
    if (left < 4)
        return ERR_SYNTAX;
    for (int i = 1; i < 4; i++) {
        if (p[i] < '0' || p[i] > '9')
            return ERR_SYNTAX;
        code = code * 10 + (p[i] - '0');
    }
    r->at += 4;
    return code > 255 ? ERR_SYNTAX : code;
}

static int
take_field(struct reader *r)
{
    struct entry *e = &r->entry;
    bool quoted = r->in.p[r->at] == '"';
    size_t start = e->used;

    if (e->n == FIELDS_MAX)
        return ERR_LIMIT;
    r->at += quoted;
    for (;;) {
        int c;

        if (r->at >= r->in.n && quoted)
            return ERR_SYNTAX;
        if (r->at >= r->in.n || (!quoted && is_end(r->in.p[r->at])))
            break;
        if (quoted && r->in.p[r->at] == '"') {
            r->at++;
            break;
        }
        r->line += r->in.p[r->at] == '\n';
        c = take_byte(r);
        if (c < 0)
            return c;
        if (e->used == ENTRY_MAX)
            return ERR_LIMIT;
        e->text[e->used++] = (char)c;
    }
    e->quoted[e->n] = quoted;
    e->fields[e->n++] = str_of(e->text + start, e->used - start);
    return 0;
}

/* The next line that says something, parentheses joined. 1 got one, 0 at the end. */
static int
take_entry(struct reader *r)
{
    struct entry *e = &r->entry;
    bool open = false, fresh = true;
    int rc;

    e->n = 0;
    e->used = 0;
    e->indented = false;
    while (r->at < r->in.n) {
        char c = r->in.p[r->at];

        if (c == '\n') {
            r->at++;
            r->line++;
            if (e->n && !open)
                return 1;
            if (!open) {
                fresh = true;
                e->indented = false;
            }
            continue;
        }
        if (c == ';') {
            while (r->at < r->in.n && r->in.p[r->at] != '\n')
                r->at++;
            continue;
        }
        if (c == ' ' || c == '\t' || c == '\r') {
            e->indented = e->indented || (fresh && !open);
            r->at++;
        } else if (c == '(' || c == ')') {
            if (open == (c == '('))
                return ERR_SYNTAX;
            open = c == '(';
            r->at++;
        } else {
            if (!e->n)
                e->line = r->line;
            rc = take_field(r);
            if (rc < 0)
                return rc;
        }
        fresh = false;
    }
    return open ? ERR_SYNTAX : e->n > 0;
}

/* A name as written into dst: absolute, or below the origin. */
static int
full_name(const struct reader *r, struct str name, char dst[256])
{
    int n;

    if (str_eq(name, STR("@")))
        n = snprintf(dst, 256, "%s", r->origin);
    else if (str_ends(name, STR(".")) || !r->origin[0])
        n = snprintf(dst, 256, "%.*s", STR_ARG(name));
    else
        n = snprintf(dst, 256, "%.*s.%s", STR_ARG(name), r->origin);
    return n > 0 && n < 256 ? 0 : ERR_SYNTAX;
}

static int
add_address(struct reader *r, struct dns_record *record, uint32_t ttl)
{
    struct str text = r->entry.fields[0];

    if (r->entry.n != 1 || addr_parse(text, &record->addr) < 0 ||
        addr_is_v4(&record->addr) != (record->type == DNS_A))
        return ERR_SYNTAX;
    return zone_add(r->zone, str_c(r->owner), record, ttl);
}

static int
add_named(struct reader *r, struct dns_record *record, uint32_t ttl)
{
    char name[256];
    unsigned i = 0;
    uint64_t number;

    if (record->type == DNS_MX) {
        if (r->entry.n < 2 || str_u64(r->entry.fields[i++], &number) < 0 || number > UINT16_MAX)
            return ERR_SYNTAX;
        record->preference = (uint16_t)number;
    }
    if (r->entry.n != i + 1 || full_name(r, r->entry.fields[i], name) < 0)
        return ERR_SYNTAX;
    record->name = str_c(name);
    return zone_add(r->zone, str_c(r->owner), record, ttl);
}

static int
add_text(struct reader *r, struct dns_record *record, uint32_t ttl)
{
    struct entry *e = &r->entry;
    char *joined = e->text;
    size_t n = 0;

    if (!e->n)
        return ERR_SYNTAX;
    /* The strings stand in this order in text, so they can move down one after another. */
    for (unsigned i = 0; i < e->n; i++) {
        memmove(joined + n, e->fields[i].p, e->fields[i].n);
        n += e->fields[i].n;
    }
    record->data = str_of(joined, n);
    return zone_add(r->zone, str_c(r->owner), record, ttl);
}

static const struct {
    const char *name;
    int (*add)(struct reader *, struct dns_record *, uint32_t ttl); /* NULL: a failure */
    enum dns_type type;
    enum dns_status failure;
} types[] = {
    {"A", add_address, DNS_A, 0},        {"AAAA", add_address, DNS_AAAA, 0},
    {"MX", add_named, DNS_MX, 0},        {"PTR", add_named, DNS_PTR, 0},
    {"CNAME", add_named, DNS_CNAME, 0},  {"TXT", add_text, DNS_TXT, 0},
    {"TIMEOUT", NULL, 0, DNS_TEMPORARY}, {"SERVFAIL", NULL, 0, DNS_TEMPORARY},
    {"BOGUS", NULL, 0, DNS_BOGUS},
};
/* Kinds that a real zone has and no evaluator asks for: skipped. */
static const char *const others[] = {"SOA",   "NS",    "SRV",  "CAA",   "TLSA",  "DNSKEY",
                                     "DS",    "RRSIG", "NSEC", "NSEC3", "HINFO", "LOC",
                                     "SSHFP", "HTTPS", "SVCB", "NAPTR", "DNAME"};

static void
drop_fields(struct entry *e, unsigned n)
{
    memmove(e->fields, e->fields + n, (e->n - n) * sizeof(e->fields[0]));
    memmove(e->quoted, e->quoted + n, (e->n - n) * sizeof(e->quoted[0]));
    e->n -= n;
}

static bool
take_ttl(struct str field, uint32_t *ret)
{
    uint64_t ns;

    if (!field.n || field.p[0] < '0' || field.p[0] > '9' || str_duration(field, &ns) < 0)
        return false;
    ns /= UINT64_C(1000000000);
    *ret = (uint32_t)MIN(ns, (uint64_t)INT32_MAX);
    return true;
}

static int
add_entry(struct reader *r)
{
    struct entry *e = &r->entry;
    uint32_t ttl = r->zone->ttl;

    if (!e->indented) {
        if (full_name(r, e->fields[0], r->owner) < 0)
            return ERR_SYNTAX;
        drop_fields(e, 1);
    }
    /* TTL and class, in either order. */
    while (e->n && !e->quoted[0] &&
           (take_ttl(e->fields[0], &ttl) || str_ieq(e->fields[0], STR("IN"))))
        drop_fields(e, 1);
    if (!e->n || !r->owner[0])
        return ERR_SYNTAX;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct dns_record record = {.type = types[i].type};

        if (!str_ieq(e->fields[0], str_c(types[i].name)))
            continue;
        drop_fields(e, 1);
        if (!types[i].add)
            return zone_add_failure(r->zone, str_c(r->owner), types[i].failure);
        return types[i].add(r, &record, ttl);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (str_ieq(e->fields[0], str_c(others[i])))
            return zone_add_empty(r->zone, str_c(r->owner));
    return ERR_SYNTAX;
}

static int
directive(struct reader *r)
{
    struct entry *e = &r->entry;
    char name[256];

    if (e->n == 2 && str_ieq(e->fields[0], STR("$ORIGIN"))) {
        if (full_name(r, e->fields[1], name) < 0)
            return ERR_SYNTAX;
        if (!str_eq(str_c(name), STR(".")))
            memcpy(r->origin, name, sizeof(r->origin));
        else
            r->origin[0] = '\0';
        return 0;
    }
    if (e->n == 2 && str_ieq(e->fields[0], STR("$TTL")) && take_ttl(e->fields[1], &r->zone->ttl))
        return 0;
    return ERR_SYNTAX;
}

int
zone_read(struct zone *z, struct str text, struct why *why)
{
    struct reader *r = calloc(1, sizeof(*r));
    int rc;

    if (!r)
        return why_set(why, ERR_NOMEM, "no memory to read the zone");
    r->zone = z;
    r->in = text;
    r->line = 1;
    while ((rc = take_entry(r)) > 0) {
        bool dollar = r->entry.fields[0].n && r->entry.fields[0].p[0] == '$';

        rc = dollar && !r->entry.indented ? directive(r) : add_entry(r);
        if (rc < 0)
            break;
    }
    if (rc == ERR_LIMIT)
        why_set(why, rc, "line %u: more than this zone may hold", r->entry.line);
    else if (rc < 0)
        why_set(why, rc, "line %u: not a record (owner [TTL] [IN] A|AAAA|MX|PTR|CNAME|TXT ...)",
                r->entry.n ? r->entry.line : r->line);
    free(r);
    return rc < 0 ? rc : 0;
}
