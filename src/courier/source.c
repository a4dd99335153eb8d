/*
 * courier/source.c - the table of sources, and the choice among a pool's.
 *
 * Called by plan and site. Opens nothing, knows no clock.
 */
#include "courier/source.h"

#include "core/crc32c.h"
#include "core/err.h"
#include "courier/settings.h"
#include "store/settings.h"

static char *
copy_text(struct str s)
{
    char *p = malloc(s.n + 1);

    if (p) {
        memcpy(p, s.p ? s.p : "", s.n);
        p[s.n] = '\0';
    }
    return p;
}

static void
pools_done(struct sources *s)
{
    for (size_t i = 0; i < s->npools; i++) {
        free(s->pools[i].name);
        free(s->pools[i].members);
    }
    free(s->pools);
    s->pools = NULL;
    s->npools = 0;
}

void
source_done(struct sources *s)
{
    pools_done(s);
    for (size_t i = 0; i < s->n; i++) {
        free(s->items[i].name);
        free(s->items[i].ehlo);
    }
    for (size_t i = 0; i < s->ntenants; i++)
        free(s->tenants[i].name);
    free(s->items);
    free(s->tenants);
    *s = (struct sources){0};
}

uint32_t
source_find(const struct sources *s, struct str name)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!s->items[i].gone && str_eq(str_c(s->items[i].name), name))
            return (uint32_t)i;
    }
    return UINT32_MAX;
}

uint32_t
source_pool(const struct sources *s, struct str name)
{
    if (name.n == 0)
        name = STR("default");
    for (size_t i = 0; i < s->npools; i++) {
        if (str_eq(str_c(s->pools[i].name), name))
            return (uint32_t)i;
    }
    return POOL_NONE;
}

uint16_t
source_tenant(struct sources *s, uint32_t number)
{
    struct tenant *t;

    for (size_t i = 0; i < s->ntenants; i++) {
        if (s->tenants[i].number == number)
            return (uint16_t)i;
    }
    if (s->ntenants >= UINT16_MAX - 1)
        return UINT16_MAX;
    if (s->ntenants == s->tenants_cap) {
        size_t cap = s->tenants_cap ? 2 * s->tenants_cap : 16;
        t = reallocarray(s->tenants, cap, sizeof *t);
        if (!t)
            return UINT16_MAX;
        s->tenants = t;
        s->tenants_cap = cap;
    }
    t = &s->tenants[s->ntenants];
    *t = (struct tenant){.number = number, .weight = 1, .pool = POOL_NONE};
    t->name = copy_text(number == TENANT_SYSTEM ? STR("system") : STR(""));
    t->pool = source_pool(s, STR("default"));
    if (!t->name)
        return UINT16_MAX;
    return (uint16_t)s->ntenants++;
}

const char *
source_tenant_name(const struct sources *s, uint32_t number)
{
    for (size_t i = 0; i < s->ntenants; i++) {
        if (s->tenants[i].number == number)
            return s->tenants[i].name;
    }
    return "";
}

/* Finds or appends; numbers of sources stay, since rows may stick to them. */
static struct source *
source_row(struct sources *s, struct str name)
{
    struct source *grown;

    for (size_t i = 0; i < s->n; i++) {
        if (str_eq(str_c(s->items[i].name), name))
            return &s->items[i];
    }
    if (s->n >= SOURCES_MAX)
        return NULL;
    grown = reallocarray(s->items, s->n + 1, sizeof *grown);
    if (!grown)
        return NULL;
    s->items = grown;
    grown = &s->items[s->n];
    *grown = (struct source){.name = copy_text(name), .crc = crc32c(0, name.p, name.n)};
    if (!grown->name)
        return NULL;
    s->n++;
    return grown;
}

static int
source_set(struct sources *s, struct str name, const struct settings_source *from,
           const struct conf *conf)
{
    struct source *row = source_row(s, name);
    const struct conf_section *tenant;
    char *ehlo;

    if (!row)
        return ERR_NOMEM;
    ehlo = copy_text(from->ehlo);
    if (!ehlo)
        return ERR_NOMEM;
    free(row->ehlo);
    row->ehlo = ehlo;
    if (!addr_eq(&row->address, &from->address))
        row->reverse = 0;
    row->address = from->address;
    row->any = true;
    for (size_t i = 0; i < sizeof row->address.b; i++)
        row->any = row->any && row->address.b[i] == 0;
    row->max_sessions = from->max_sessions;
    row->gone = false;
    row->owned = from->exclusive.n > 0;
    row->exclusive = UINT32_MAX; /* an owner that does not exist: carries nobody's */
    tenant = row->owned ? conf_find(conf, "tenant", from->exclusive) : NULL;
    if (tenant)
        row->exclusive = (uint32_t)((const struct settings_tenant *)tenant->data)->number;
    return 0;
}

static int
pool_add(struct sources *s, struct str name, struct pool **ret)
{
    struct pool *grown = reallocarray(s->pools, s->npools + 1, sizeof *grown);

    if (!grown)
        return ERR_NOMEM;
    s->pools = grown;
    *ret = &s->pools[s->npools];
    **ret = (struct pool){.name = copy_text(name)};
    if (!(*ret)->name)
        return ERR_NOMEM;
    s->npools++;
    return 0;
}

static int
member_add(struct pool *p, uint32_t source, uint64_t weight)
{
    struct pool_member *grown = reallocarray(p->members, p->n + 1, sizeof *grown);

    if (!grown)
        return ERR_NOMEM;
    p->members = grown;
    p->members[p->n++] = (struct pool_member){.source = source, .weight = (int64_t)weight};
    return 0;
}

static int
pools_load(struct sources *s, const struct conf *conf)
{
    struct pool *p;
    int err = 0;

    for (const struct conf_section *c = conf_first(conf, "pool"); c && err == 0; c = conf_next(c)) {
        const struct settings_pool *from = c->data;
        const struct str *items = from->sources.items;
        err = pool_add(s, c->label, &p);
        for (size_t i = 0; i < from->sources.n && err == 0; i++) {
            struct str rest, name = str_cut(items[i], '*', &rest);
            uint64_t weight = 1;
            uint32_t source = source_find(s, name);
            (void)str_u64(rest, &weight);
            if (source != UINT32_MAX)
                err = member_add(p, source, weight);
        }
    }
    if (err < 0 || source_pool(s, STR("default")) != POOL_NONE)
        return err;
    err = pool_add(s, STR("default"), &p);
    for (size_t i = 0; i < s->n && err == 0; i++) {
        if (!s->items[i].gone && !s->items[i].owned)
            err = member_add(p, (uint32_t)i, 1);
    }
    return err;
}

#define GROUP_OWNED (UINT64_C(1) << 32)

/* A tenant's own sources are a group, and so are all others that one pool names first. */
static void
groups_set(struct sources *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->items[i].group = s->items[i].owned ? GROUP_OWNED | s->items[i].exclusive : POOL_NONE;
    for (size_t p = s->npools; p-- > 0;) {
        for (size_t i = 0; i < s->pools[p].n; i++) {
            struct source *src = &s->items[s->pools[p].members[i].source];
            if (!src->owned)
                src->group = p;
        }
    }
}

bool
source_group_carries(uint64_t group, uint32_t tenant_number)
{
    return group < GROUP_OWNED || group == (GROUP_OWNED | tenant_number);
}

static int
tenants_load(struct sources *s, const struct conf *conf)
{
    for (const struct conf_section *c = conf_first(conf, "tenant"); c; c = conf_next(c)) {
        const struct settings_tenant *from = c->data;
        uint16_t at = source_tenant(s, (uint32_t)from->number);
        char *name = copy_text(c->label);
        if (at == UINT16_MAX || !name) {
            free(name);
            return ERR_NOMEM;
        }
        free(s->tenants[at].name);
        s->tenants[at].name = name;
        s->tenants[at].weight = (uint32_t)MAX(1, MIN(from->weight, 1000000));
        s->tenants[at].pool = source_pool(s, from->pool);
    }
    return 0;
}

int
source_load(struct sources *s, const struct conf *conf)
{
    static const struct settings_source plain = {.max_sessions = 100000};
    int err = 0;

    for (size_t i = 0; i < s->n; i++)
        s->items[i].gone = true;
    pools_done(s);
    for (const struct conf_section *c = conf_first(conf, "source"); c && err == 0; c = conf_next(c))
        err = source_set(s, c->label, c->data, conf);
    if (err == 0 && !conf_first(conf, "source"))
        err = source_set(s, STR("default"), &plain, conf);
    if (err == 0)
        err = pools_load(s, conf);
    if (err < 0)
        return err;
    groups_set(s);
    for (size_t i = 0; i < s->ntenants; i++)
        s->tenants[i].pool = source_pool(s, STR("default"));
    (void)source_tenant(s, TENANT_SYSTEM);
    return tenants_load(s, conf);
}

bool
source_allows(const struct source *s, uint32_t tenant_number)
{
    return !s->owned || s->exclusive == tenant_number;
}

bool
pool_has(const struct sources *s, uint32_t pool, uint32_t source)
{
    if (pool == POOL_NONE)
        return false;
    for (size_t i = 0; i < s->pools[pool].n; i++) {
        if (s->pools[pool].members[i].source == source)
            return true;
    }
    return false;
}

uint32_t
pool_pick(struct sources *s, uint32_t pool, uint32_t tenant_number,
          bool (*fits)(void *ctx, uint32_t source), void *ctx, const char **ret_why)
{
    struct pool_member *best = NULL;
    struct pool *p;
    int64_t total = 0;
    const char *why = "the pool has no source that may carry this tenant's mail";

    if (pool == POOL_NONE) {
        *ret_why = "the pool that the settings name does not exist";
        return UINT32_MAX;
    }
    p = &s->pools[pool];
    for (size_t i = 0; i < p->n; i++) {
        struct pool_member *m = &p->members[i];
        const struct source *src = &s->items[m->source];
        if (src->gone || !source_allows(src, tenant_number))
            continue;
        if (src->suspended) {
            why = "every source of the pool is suspended";
            continue;
        }
        if (src->sessions >= src->max_sessions) {
            why = "every source of the pool has all the connections it may have";
            continue;
        }
        if (fits && !fits(ctx, m->source)) {
            why = "no source of the pool can reach this site now";
            continue;
        }
        total += m->weight;
        m->current += m->weight;
        if (!best || m->current > best->current)
            best = m;
    }
    if (!best) {
        *ret_why = why;
        return UINT32_MAX;
    }
    best->current -= total;
    return best->source;
}
