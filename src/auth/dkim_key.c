/*
 * auth/dkim_key.c - key records into public keys, and a small cache of them.
 *
 * Called by verifier and ARC validator with what DNS said: strangers' data. Every size is judged
 * before the crypto library sees a byte.
 */
#include "auth/dkim_key.h"
#include "auth/dkim_tag.h"
#include "core/err.h"

#define DER_MAX 1200u /* an RSA key of 8192 bits is 1062 bytes */
#define WAYS    4u

static void
dkim_key_done(struct dkim_key *k)
{
    dkim_pub_free(k->pub);
    k->pub = NULL;
}

bool
dkim_key_is_record(struct str record)
{
    struct dkim_tags tags;

    return dkim_tags_parse(record, &tags) == 0 && dkim_tags_find(&tags, STR("p"));
}

static struct str
value_or(const struct dkim_tags *tags, struct str name, struct str otherwise)
{
    const struct dkim_tag *t = dkim_tags_find(tags, name);

    return t ? t->value : otherwise;
}

static enum dkim_reason
make_rsa(struct str der, const struct dkim_limits *limits, struct dkim_key *k)
{
    struct dkim_rsa rsa;

    if (dkim_rsa_parse(der, &rsa) < 0)
        return DKIM_KEY_SYNTAX;
    k->bits = rsa.bits;
    if (rsa.bits > limits->max_bits)
        return DKIM_KEY_TOO_LARGE;
    if (rsa.bits < limits->min_bits)
        return DKIM_WEAK_KEY;
    switch (dkim_pub_rsa(&rsa, &k->pub)) {
    case 0:
        return DKIM_OK;
    case ERR_NOMEM:
        return DKIM_INTERNAL;
    default:
        return DKIM_KEY_SYNTAX;
    }
}

static enum dkim_reason
make_key(struct str p, const struct dkim_limits *limits, struct dkim_key *k)
{
    uint8_t der[DER_MAX];
    ssize_t n = dkim_base64(p, der, sizeof(der));

    if (n == ERR_LIMIT)
        return DKIM_KEY_TOO_LARGE;
    if (n <= 0)
        return DKIM_KEY_SYNTAX;
    if (!k->ed25519)
        return make_rsa(str_of(der, (size_t)n), limits, k);
    if (n != 32)
        return DKIM_KEY_SYNTAX;
    k->bits = 256;
    return dkim_pub_ed25519(der, &k->pub) < 0 ? DKIM_INTERNAL : DKIM_OK;
}

static enum dkim_reason
parse(struct str record, const struct dkim_limits *limits, struct dkim_key *k)
{
    struct dkim_tags tags;
    struct str type, hashes, services, flags;
    const struct dkim_tag *p;

    if (record.n > limits->record_bytes)
        return DKIM_KEY_TOO_LARGE;
    if (dkim_tags_parse(record, &tags) < 0)
        return DKIM_KEY_SYNTAX;
    p = dkim_tags_find(&tags, STR("p"));
    if (!p)
        return DKIM_KEY_SYNTAX;
    /* v= must come first if it is there at all. */
    for (unsigned i = 0; i < tags.n; i++)
        if (str_eq(tags.items[i].name, STR("v")) &&
            (i || !str_eq(tags.items[i].value, STR("DKIM1"))))
            return DKIM_KEY_SYNTAX;
    flags = value_or(&tags, STR("t"), STR(""));
    k->testing = dkim_list_has(flags, STR("y"));
    k->strict = dkim_list_has(flags, STR("s"));
    if (!p->value.n)
        return DKIM_KEY_REVOKED;
    type = value_or(&tags, STR("k"), STR("rsa"));
    hashes = value_or(&tags, STR("h"), STR("sha256:sha1"));
    services = value_or(&tags, STR("s"), STR("*"));
    k->sha256 = dkim_list_has(hashes, STR("sha256"));
    k->sha1 = dkim_list_has(hashes, STR("sha1"));
    k->mail = dkim_list_has(services, STR("*")) || dkim_list_has(services, STR("email"));
    k->ed25519 = str_eq(type, STR("ed25519"));
    if (!k->ed25519 && !str_eq(type, STR("rsa")))
        return DKIM_KEY_TYPE;
    return make_key(p->value, limits, k);
}

void
dkim_key_parse(struct str record, const struct dkim_limits *limits, struct dkim_key *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->bad = parse(record, limits, ret);
}

/* --- the cache: sets of four, the least recently used of a set goes --- */

struct entry {
    char *record;
    size_t n;
    uint64_t hash, used;
    struct dkim_key key;
};
struct dkim_keys {
    struct entry *entries;
    size_t sets;
    uint64_t seed, clock;
    struct dkim_limits limits;
};

struct dkim_keys *
dkim_keys_create(unsigned max, uint64_t seed, const struct dkim_limits *limits)
{
    struct dkim_keys *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->sets = MAX(max / WAYS, 1u);
    c->seed = seed;
    c->limits = *limits;
    c->entries = calloc(c->sets * WAYS, sizeof(*c->entries));
    if (!c->entries) {
        free(c);
        return NULL;
    }
    return c;
}

static void
entry_clear(struct entry *e)
{
    dkim_key_done(&e->key);
    free(e->record);
    memset(e, 0, sizeof(*e));
}

void
dkim_keys_free(struct dkim_keys *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->sets * WAYS; i++)
        entry_clear(&c->entries[i]);
    free(c->entries);
    free(c);
}

const struct dkim_key *
dkim_keys_get(struct dkim_keys *c, struct str record)
{
    uint64_t hash = str_hash(record, c->seed);
    struct entry *set = &c->entries[hash % c->sets * WAYS], *oldest = set;

    for (struct entry *e = set; e < set + WAYS; e++) {
        if (e->record && e->hash == hash && str_eq((struct str){e->record, e->n}, record)) {
            e->used = ++c->clock;
            return &e->key;
        }
        if (e->used < oldest->used)
            oldest = e;
    }
    entry_clear(oldest);
    /* Not kept: a record over the ceiling would let strangers choose how much memory this takes. */
    if (record.n > c->limits.record_bytes) {
        dkim_key_parse(record, &c->limits, &oldest->key);
        return &oldest->key;
    }
    oldest->record = malloc(record.n + 1);
    if (!oldest->record)
        return NULL;
    if (record.n)
        memcpy(oldest->record, record.p, record.n);
    oldest->n = record.n;
    oldest->hash = hash;
    oldest->used = ++c->clock;
    dkim_key_parse(record, &c->limits, &oldest->key);
    if (oldest->key.bad == DKIM_INTERNAL)
        oldest->hash = ~hash; /* memory may be there the next time */
    return &oldest->key;
}
