/*
 * auth/zone.c - records by name, and the answers that a resolver would make of them.
 *
 * Called by the command line and by tests. The reader of zone files is zone_read.c. It never asks a
 * network; memory ends at the ceiling given at its making.
 */
#include "auth/zone.h"
#include "auth/zone_inner.h"

#define ZONE_ALIASES_MAX 8u
#define ZONE_TTL_NONE    300u /* of an answer that there is nothing */

struct zone *
zone_create(size_t max_bytes)
{
    struct zone *z = calloc(1, sizeof(*z));

    if (!z)
        return NULL;
    arena_init(&z->arena, max_bytes);
    z->ttl = ZONE_TTL;
    return z;
}

void
zone_free(struct zone *z)
{
    if (!z)
        return;
    arena_done(&z->arena);
    free(z);
}

static struct zone_name *
find(const struct zone *z, struct str normal)
{
    uint64_t hash = str_hash(normal, 0);

    for (struct zone_name *n = z->buckets[hash % ARRAY_LEN(z->buckets)]; n; n = n->next)
        if (str_eq(n->name, normal))
            return n;
    return NULL;
}

static struct zone_name *
make(struct zone *z, struct str normal)
{
    struct zone_name *n = find(z, normal), **bucket;

    if (n)
        return n;
    n = ARENA_NEW(&z->arena, struct zone_name);
    if (!n)
        return NULL;
    n->name = arena_str(&z->arena, normal);
    if (!n->name.p)
        return NULL;
    bucket = &z->buckets[str_hash(normal, 0) % ARRAY_LEN(z->buckets)];
    n->next = *bucket;
    *bucket = n;
    return n;
}

/* The name and all above it: a name exists if something stands below it. */
static int
make_all(struct zone *z, struct str name, struct zone_name **ret)
{
    char normal[256];
    struct str rest;
    size_t n;

    if (!auth_name_normal(name, normal, &n))
        return ERR_SYNTAX;
    *ret = make(z, str_of(normal, n));
    (void)str_cut(str_of(normal, n), '.', &rest);
    for (; rest.n; (void)str_cut(rest, '.', &rest))
        if (!make(z, rest))
            return ERR_LIMIT;
    return *ret ? 0 : ERR_LIMIT;
}

int
zone_add(struct zone *z, struct str name, const struct dns_record *record, uint32_t ttl)
{
    struct zone_record *r, **end;
    struct zone_name *at;
    char normal[256];
    size_t n = 0;
    int rc = make_all(z, name, &at);

    if (rc < 0)
        return rc;
    if (record->name.n && !str_eq(record->name, STR(".")) &&
        !auth_name_normal(record->name, normal, &n))
        return ERR_SYNTAX;
    r = ARENA_NEW(&z->arena, struct zone_record);
    if (!r)
        return ERR_LIMIT;
    r->record = *record;
    r->ttl = ttl;
    r->record.name = arena_str(&z->arena, str_of(normal, n));
    r->record.data = arena_str(&z->arena, record->data);
    if (!r->record.name.p || !r->record.data.p)
        return ERR_LIMIT;
    for (end = &at->records; *end;)
        end = &(*end)->next;
    *end = r;
    return 0;
}

int
zone_add_empty(struct zone *z, struct str name)
{
    struct zone_name *at;

    return make_all(z, name, &at);
}

int
zone_add_failure(struct zone *z, struct str name, enum dns_status status)
{
    struct zone_name *at;
    int rc = make_all(z, name, &at);

    if (rc == 0)
        at->failure = status;
    return rc;
}

/* The node that answers for a name: itself, or the wildcard below its closest encloser (RFC 4592).
 */
static const struct zone_name *
node_of(const struct zone *z, struct str normal)
{
    const struct zone_name *n = find(z, normal);
    struct str rest = normal;
    char text[256];

    if (n)
        return n;
    while (rest.n) {
        (void)str_cut(rest, '.', &rest);
        if (rest.n && !find(z, rest))
            continue;
        if (!rest.n)
            return NULL;
        return find(z, str_of(text, str_fmt(text, sizeof(text), "*.%.*s", STR_ARG(rest))));
    }
    return NULL;
}

static size_t
count(const struct zone_name *n, enum dns_type type)
{
    size_t sum = 0;

    for (const struct zone_record *r = n->records; r; r = r->next)
        sum += r->record.type == type;
    return MIN(sum, (size_t)DNS_RECORDS_MAX);
}

static const struct zone_record *
alias_of(const struct zone_name *n)
{
    for (const struct zone_record *r = n->records; r; r = r->next)
        if (r->record.type == DNS_CNAME)
            return r;
    return NULL;
}

/* Fills the answer from the node that the aliases lead to. */
static bool
answer_from(struct zone *z, const struct zone_name *n, struct dns_answer *a)
{
    size_t most = count(n, a->type);

    if (!most) {
        a->status = n->failure ? n->failure : DNS_NODATA;
        return true;
    }
    a->records = ARENA_ARRAY(&z->arena, struct dns_record, most);
    if (!a->records)
        return false;
    a->status = DNS_OK;
    for (const struct zone_record *r = n->records; r && a->n < most; r = r->next) {
        if (r->record.type != a->type)
            continue;
        a->records[a->n++] = r->record;
        a->ttl = MIN(a->ttl, r->ttl);
    }
    return true;
}

const struct dns_answer *
zone_lookup(struct zone *z, struct str name, enum dns_type type)
{
    struct dns_answer *a = ARENA_NEW(&z->arena, struct dns_answer);
    const struct zone_record *alias;
    const struct zone_name *node;
    char normal[256];
    size_t n;

    if (!a || !auth_name_normal(name, normal, &n))
        return NULL;
    a->name = arena_str(&z->arena, str_of(normal, n));
    a->type = type;
    a->ttl = UINT32_MAX;
    if (!a->name.p)
        return NULL;
    node = node_of(z, a->name);
    for (unsigned i = 0; node && !count(node, type) && (alias = alias_of(node)); i++) {
        a->cname = true;
        a->ttl = MIN(a->ttl, alias->ttl);
        node = node_of(z, alias->record.name);
        if (i == ZONE_ALIASES_MAX) {
            a->status = DNS_TEMPORARY; /* a ring: resolvers give up */
            a->ttl = 0;
            return a;
        }
    }
    if (!node)
        a->status = DNS_NXDOMAIN;
    else if (!answer_from(z, node, a))
        return NULL;
    if (a->status != DNS_OK)
        a->ttl = MIN(a->ttl, ZONE_TTL_NONE);
    return a;
}

const struct auth_answers *
zone_answers(const struct zone *z)
{
    return &z->table;
}

int
zone_ask(struct zone *z, struct auth_needs *needs)
{
    if (!needs->n)
        return ERR_LIMIT;
    for (unsigned i = 0; i < needs->n; i++) {
        const struct auth_question *q = &needs->items[i];
        const struct dns_answer *a = zone_lookup(z, str_of(q->name, q->n), q->type);

        if (!a || z->table.n == ZONE_ANSWERS_MAX)
            return ERR_LIMIT;
        z->answers[z->table.n++] = a;
    }
    z->table.items = z->answers;
    needs->n = 0;
    needs->full = false;
    return 0;
}

void
zone_forget(struct zone *z)
{
    z->table.n = 0;
}
