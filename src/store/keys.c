/*
 * store/keys.c - the table of DKIM keys, and what roles are told of it.
 *
 * Called by the keeper; the readers of snapshots by keyring, courier and gate. Never sees a private
 * key that is not sealed.
 */
#include "store/keys.h"

#include <sqlite3.h>

#include "core/clock.h"
#include "core/wire.h"
#include "mail/address.h"
#include "store/settings.h"
#include "store/store.h"

#define SHOWN(s)   (int)MIN((s).n, (size_t)80), (s).p ? (s).p : ""
#define ABOUT_MAX  1024u
#define TENANT_MAX 255u
#define SEALED_MAX 60000u   /* bytes of a row's value in a snapshot, with room to spare */
#define ANY        STR("*") /* the key under which an index says that it is not empty */

const char *
keys_alg_name(uint8_t alg)
{
    return alg == KEYS_ED25519 ? "ed25519" : "rsa";
}

const char *
keys_seen_name(enum keys_seen s)
{
    static const char *const names[] = {"unknown", "ok", "missing", "different"};

    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "?";
}

int
keys_domain(struct str name, char *dst, struct str *ret)
{
    ssize_t n = address_domain_ok(name) ? address_domain_ascii(name, dst, 256) : -1;

    if (n <= 0)
        return ERR_SYNTAX;
    str_lower(dst, (size_t)n);
    *ret = str_of(dst, (size_t)n);
    return 0;
}

bool
keys_selector_ok(struct str s)
{
    if (!s.n || s.n > KEYS_SELECTOR_MAX || s.p[0] == '-' || s.p[s.n - 1] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') ||
              s.p[i] == '-' || s.p[i] == '_'))
            return false;
    return true;
}

void
keys_about(struct buf *out, struct str domain, struct str selector, struct str tenant)
{
    buf_str(out, domain);
    buf_char(out, '\0');
    buf_str(out, selector);
    buf_char(out, '\0');
    buf_str(out, tenant);
}

static int
bind_row(struct sqlite3_stmt *st, const struct keys_row *k, uint64_t number)
{
    const struct str texts[] = {k->domain, k->selector, k->tenant, k->public};
    const uint64_t numbers[] = {number, k->alg, k->bits, k->state, k->created, k->since};
    int r = 0;

    for (unsigned i = 0; r == 0 && i < ARRAY_LEN(texts); i++)
        r = store_bind(st, (int)i + 1, texts[i]);
    for (unsigned i = 0; i < ARRAY_LEN(numbers); i++)
        sqlite3_bind_int64(st, (int)(ARRAY_LEN(texts) + i) + 1, (sqlite3_int64)numbers[i]);
    if (sqlite3_bind_blob(st, 11, k->sealed.p, (int)k->sealed.n, SQLITE_TRANSIENT) != SQLITE_OK)
        r = ERR_NOMEM;
    return r;
}

static int
insert(struct store *s, const struct keys_row *k, uint64_t number, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "INSERT INTO dkim_keys(domain, selector, tenant, public, number, alg, "
                          "bits, state, created, since, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, "
                          "?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING",
                          &st, why);

    r = r < 0 ? r : bind_row(st, k, number);
    r = r < 0 ? r : store_step(s, st, why);
    if (r == 0 && sqlite3_changes(store_db(s)) == 0)
        return why_set(why, ERR_EXISTS,
                       "%.*s has a key of the selector %.*s already; choose another: receivers may "
                       "still remember the record of that one",
                       SHOWN(k->domain), SHOWN(k->selector));
    return r;
}

/* Within the transaction, since two that add may both have looked before: one owner, and a ceiling.
 */
static int
may_add(struct store *s, const struct keys_row *k, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "SELECT count(*), coalesce(sum(tenant <> ?2), 0) FROM dkim_keys WHERE "
                          "domain = ?1 AND state <> 3", /* KEYS_RETIRED */
                          &st, why);

    r = r < 0 ? r : store_bind(st, 1, k->domain);
    r = r < 0 ? r : store_bind(st, 2, k->tenant);
    r = r < 0 ? r : store_step(s, st, why);
    if (r < 0)
        return r;
    if (sqlite3_column_int64(st, 1))
        return why_set(why, ERR_EXISTS,
                       "%.*s has keys of another owner; a domain has one: retire or remove these "
                       "first (`gapura domain dkim list`)",
                       SHOWN(k->domain));
    if (sqlite3_column_int64(st, 0) >= (int64_t)KEYS_PER_DOMAIN)
        return why_set(why, ERR_LIMIT,
                       "%.*s has many keys; remove some first (`gapura domain dkim list`)",
                       SHOWN(k->domain));
    return 0;
}

_Static_assert(KEYS_RETIRED == 3, "the number stands in a statement");

int
keys_add(struct store *s, const struct keys_row *k, struct why *why)
{
    uint64_t number = 0;
    int r = store_begin(s, why);

    if (r < 0)
        return r;
    r = may_add(s, k, why);
    r = r < 0 ? r : store_next(s, "dkim_key", &number, why);
    r = r < 0 ? r : insert(s, k, number, why);
    r = r < 0 ? r : store_note(s, "dkim.add", k->domain, k->selector, why);
    return store_end(s, r, why);
}

static void
read_row(struct sqlite3_stmt *st, struct keys_row *k)
{
    *k = (struct keys_row){
        .domain = store_column(st, 0),
        .selector = store_column(st, 1),
        .tenant = store_column(st, 2),
        .public = store_column(st, 3),
        .number = (uint64_t)sqlite3_column_int64(st, 4),
        .alg = (uint8_t)sqlite3_column_int(st, 5),
        .bits = (unsigned)sqlite3_column_int(st, 6),
        .state = (uint8_t)sqlite3_column_int(st, 7),
        .created = (uint64_t)sqlite3_column_int64(st, 8),
        .since = (uint64_t)sqlite3_column_int64(st, 9),
        .seen = (uint64_t)sqlite3_column_int64(st, 10),
        .checked = (uint64_t)sqlite3_column_int64(st, 11),
        .found = (uint8_t)sqlite3_column_int(st, 12),
        .reason = store_column(st, 13),
    };
    k->sealed = str_of(sqlite3_column_blob(st, 14), (size_t)sqlite3_column_bytes(st, 14));
}

int
keys_each(struct store *s, struct str domain, int (*row)(void *ctx, const struct keys_row *),
          void *ctx)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s,
                          "SELECT domain, selector, tenant, public, number, alg, bits, state, "
                          "created, since, seen, checked, found, reason, sealed FROM dkim_keys "
                          "WHERE ?1 = '' OR domain = ?1 ORDER BY domain, number",
                          &st, NULL);

    r = r < 0 ? r : store_bind(st, 1, domain);
    while (r >= 0 && (r = store_step(s, st, NULL)) == 1) {
        struct keys_row k;
        int got;

        read_row(st, &k);
        got = row(ctx, &k);
        if (got < 0)
            return got;
    }
    return r;
}

/* Runs a statement of ?1 domain, ?2 selector, ?3 and ?4 numbers, ?5 text; it must change a row. */
static int
change(struct store *s, const char *sql, struct str domain, struct str selector,
       const uint64_t numbers[2], struct str text, struct why *why)
{
    CLEANUP(store_finalize) struct sqlite3_stmt *st = NULL;
    int r = store_prepare(s, sql, &st, why);

    r = r < 0 ? r : store_bind(st, 1, domain);
    r = r < 0 ? r : store_bind(st, 2, selector);
    if (r == 0 && numbers) {
        sqlite3_bind_int64(st, 3, (sqlite3_int64)numbers[0]);
        sqlite3_bind_int64(st, 4, (sqlite3_int64)numbers[1]);
        r = store_bind(st, 5, text);
    }
    r = r < 0 ? r : store_step(s, st, why);
    if (r == 0 && sqlite3_changes(store_db(s)) == 0)
        return why_set(why, ERR_NOTFOUND,
                       "%.*s has no key of the selector %.*s; `gapura domain dkim list` shows all",
                       SHOWN(domain), SHOWN(selector));
    return r;
}

int
keys_change(struct store *s, struct str domain, struct str selector, enum keys_state state,
            uint64_t now, struct str reason, struct why *why)
{
    char what[32];
    const uint64_t numbers[2] = {state, now};
    int r = store_begin(s, why);

    if (r < 0)
        return r;
    str_fmt(what, sizeof(what), "dkim.%s", keys_state_name(state));
    r = change(s,
               state == KEYS_RETIRED
                   ? "UPDATE dkim_keys SET state = ?3, since = ?4, reason = ?5, sealed = x'' WHERE "
                     "domain = ?1 AND selector = ?2"
                   : "UPDATE dkim_keys SET state = ?3, since = ?4, reason = ?5 WHERE domain = ?1 "
                     "AND selector = ?2 AND length(sealed) > 0",
               domain, selector, numbers, reason, why);
    r = r < 0 ? r : store_note(s, what, domain, selector, why);
    return store_end(s, r, why);
}

int
keys_found(struct store *s, struct str domain, struct str selector, enum keys_seen found,
           uint64_t now)
{
    const uint64_t numbers[2] = {found, now};

    /* What could not be looked up now is as it was. */
    return change(s,
                  found == KEYS_UNCHECKED
                      ? "UPDATE dkim_keys SET checked = ?4 WHERE domain = ?1 AND "
                        "selector = ?2 AND ?3 = 0 AND ?5 = ''"
                  : found == KEYS_PUBLISHED
                      ? "UPDATE dkim_keys SET checked = ?4, found = ?3, seen = CASE WHEN seen = 0 "
                        "THEN ?4 ELSE seen END WHERE domain = ?1 AND selector = ?2 AND ?5 = ''"
                      : "UPDATE dkim_keys SET checked = ?4, found = ?3, seen = 0 WHERE domain = ?1 "
                        "AND selector = ?2 AND ?5 = ''",
                  domain, selector, numbers, STR_NONE, NULL);
}

int
keys_remove(struct store *s, struct str domain, struct str selector, struct str reason,
            struct why *why)
{
    int r = store_begin(s, why);

    if (r < 0)
        return r;
    r = change(s, "DELETE FROM dkim_keys WHERE domain = ?1 AND selector = ?2", domain, selector,
               NULL, STR_NONE, why);
    r = r < 0 ? r : store_note(s, "dkim.remove", domain, reason, why);
    return store_end(s, r, why);
}

/* --- snapshots --- */

struct publish {
    const struct conf *conf;
    struct snapshot_builder *to;
    struct buf key, value;
    char domain[256];
    unsigned n; /* keys in value */
    bool any;
    void (*left_out)(void *ctx, const struct keys_row *, const char *why);
    void *ctx;
};

/* What no writer of ours puts there: a row that was damaged, or changed by hand. */
static const char *
row_fault(const struct keys_row *k)
{
    char room[256];
    struct str domain;

    if (keys_domain(k->domain, room, &domain) < 0 || !str_eq(domain, k->domain))
        return "its domain is no domain name in the form of the store";
    if (!keys_selector_ok(k->selector))
        return "its selector is none";
    if (k->alg > KEYS_ED25519 || k->state > KEYS_RETIRED || k->found > KEYS_DIFFERENT)
        return "its algorithm or state is none that is known";
    if (k->tenant.n > TENANT_MAX || k->sealed.n > SEALED_MAX)
        return "it is larger than any key";
    return NULL;
}

static bool
publishable(struct publish *p, const struct keys_row *k)
{
    const char *why = row_fault(k);

    if (why && p->left_out)
        p->left_out(p->ctx, k, why);
    return !why;
}

static int
publish_sealed(void *ctx, const struct keys_row *k)
{
    struct publish *p = ctx;

    if (!k->sealed.n || !publishable(p, k))
        return 0;
    buf_clear(&p->key);
    buf_clear(&p->value);
    keys_about(&p->key, k->domain, k->selector, STR_NONE);
    put_str(&p->value, k->tenant);
    put_u8(&p->value, k->alg);
    put_str(&p->value, k->sealed);
    if (p->key.failed || p->value.failed)
        return ERR_LIMIT;
    return snapshot_add(p->to, SNAPSHOT_KEY, buf_view(&p->key), buf_view(&p->value));
}

static int
publish_flush(struct publish *p)
{
    int r = 0;

    if (p->n)
        r = p->value.failed
                ? ERR_LIMIT
                : snapshot_add(p->to, SNAPSHOT_SIGN, str_c(p->domain), buf_view(&p->value));
    p->n = 0;
    buf_clear(&p->value);
    return r;
}

static int
publish_public(void *ctx, const struct keys_row *k)
{
    struct publish *p = ctx;
    const struct conf_section *t = k->tenant.n ? conf_find(p->conf, "tenant", k->tenant) : NULL;
    uint32_t tenant = t             ? (uint32_t)((const struct settings_tenant *)t->data)->number
                      : k->tenant.n ? KEYS_NO_TENANT
                                    : 0;
    int r = 0;

    if (!publishable(p, k))
        return 0;
    if (!str_eq(str_c(p->domain), k->domain))
        r = publish_flush(p);
    if (r < 0 || k->state == KEYS_RETIRED || p->n == KEYS_PER_DOMAIN ||
        !str_copy(k->domain, p->domain, sizeof(p->domain)))
        return r;
    put_str16(&p->value, k->selector);
    put_u32(&p->value, tenant);
    put_u8(&p->value, k->alg);
    put_u8(&p->value, k->state);
    put_u8(&p->value, k->found);
    p->n++;
    p->any = true;
    return 0;
}

int
keys_publish(struct store *s, const struct conf *conf, struct snapshot_builder *to, bool sealed,
             void (*left_out)(void *ctx, const struct keys_row *, const char *why), void *ctx)
{
    struct publish p = {.conf = conf, .to = to, .left_out = left_out, .ctx = ctx};
    int r;

    buf_init(&p.key, ABOUT_MAX);
    buf_init(&p.value, 64u << 10);
    r = keys_each(s, STR_NONE, sealed ? publish_sealed : publish_public, &p);
    if (r == 0 && !sealed)
        r = publish_flush(&p);
    if (r == 0 && p.any)
        r = snapshot_add(to, SNAPSHOT_SIGN, ANY, STR_NONE);
    buf_done(&p.key);
    buf_done(&p.value);
    return r;
}

bool
keys_sealed_find(const struct snapshot *s, struct str domain, struct str selector,
                 struct keys_sealed *ret)
{
    CLEANUP(buf_done) struct buf key = {0};
    struct str value;
    struct wire w;

    buf_init(&key, ABOUT_MAX);
    keys_about(&key, domain, selector, STR_NONE);
    if (key.failed || !snapshot_get(s, SNAPSHOT_KEY, buf_view(&key), &value))
        return false;
    wire_init(&w, value.p, value.n);
    ret->tenant = wire_str(&w);
    ret->alg = wire_u8(&w);
    ret->sealed = wire_str(&w);
    return wire_end(&w);
}

bool
keys_any(const struct snapshot *s)
{
    struct str value;

    return s->base && snapshot_get(s, SNAPSHOT_SIGN, ANY, &value);
}

bool
keys_find(const struct snapshot *s, struct str domain, struct keys_set *ret)
{
    struct str value;
    struct wire w;

    ret->n = 0;
    if (!s->base || !snapshot_get(s, SNAPSHOT_SIGN, domain, &value))
        return false;
    wire_init(&w, value.p, value.n);
    while (wire_left(&w) && ret->n < KEYS_PER_DOMAIN) {
        struct keys_public *k = &ret->items[ret->n];

        k->selector = wire_str16(&w);
        k->tenant = wire_u32(&w);
        k->alg = wire_u8(&w);
        k->state = wire_u8(&w);
        k->found = wire_u8(&w);
        if (w.failed)
            return false;
        ret->n++;
    }
    return ret->n > 0;
}

/* --- the record --- */

void
keys_record(const struct keys_row *k, struct buf *out)
{
    buf_fmt(out, "v=DKIM1; k=%s; p=%.*s", keys_alg_name(k->alg), STR_ARG(k->public));
}

static bool
same_base64(struct str a, struct str b)
{
    size_t i = 0, j = 0;

    for (;;) {
        while (i < a.n && (a.p[i] == ' ' || a.p[i] == '\t'))
            i++;
        if (i == a.n || j == b.n)
            return i == a.n && j == b.n;
        if (a.p[i++] != b.p[j++])
            return false;
    }
}

enum keys_seen
keys_record_compare(struct str text, const struct keys_row *k)
{
    enum keys_seen seen = KEYS_MISSING;
    bool type = k->alg == KEYS_RSA; /* the default of k= */

    while (text.n) {
        struct str value, name = str_trim(str_cut(str_cut(text, ';', &text), '=', &value));

        value = str_trim(value);
        if (str_eq(name, STR("k")))
            type = str_ieq(value, str_c(keys_alg_name(k->alg)));
        if (str_eq(name, STR("p")))
            seen = same_base64(value, k->public) ? KEYS_PUBLISHED : KEYS_DIFFERENT;
    }
    return seen == KEYS_PUBLISHED && !type ? KEYS_DIFFERENT : seen;
}
