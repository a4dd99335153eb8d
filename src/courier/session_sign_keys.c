/*
 * courier/session_sign_keys.c - which keys sign a message, and what is known of those that cannot.
 *
 * Called by session_sign.c and session_sign_hash.c. A key that fails is left alone for a while, by
 * itself: mail that does not need it goes on. Never decides by a guess: a signature that is
 * required is waited for.
 */
#include "core/event.h"
#include "courier/session_sign_inner.h"

#define TOLD_GAP   (3600 * NS_PER_S)
#define FORGOTTEN  (600 * NS_PER_S) /* without a failure: the next one is a new trouble */
#define ALARMS_MAX 8u               /* a minute; keys fail together */
#define ALARMS_GAP (60 * NS_PER_S)
#define NAME_ROOM  (KEYS_SELECTOR_MAX + 300u)

struct sign_trouble {
    uint64_t since, last, next, told; /* mono ns */
    uint8_t status;                   /* enum sign_status */
    char name[NAME_ROOM];             /* the map's key */
};

/* What the keyring says of a key, for people. lasts: no reload or start of a role mends it. */
static const struct {
    bool lasts;
    const char *cause, *cure;
} statuses[] = {
    [SIGN_REFUSED] = {false, "the keyring says that it is another tenant's",
                      "`gapura domain dkim list` shows whose it is; set `tenant` right in the "
                      "settings, then `gapura reload`"},
    [SIGN_UNKNOWN] = {false, "the keyring does not have it",
                      "see the keeper's Alarm and `gapura status`; `gapura reload` has all keys "
                      "handed over again"},
    [SIGN_BROKEN] = {true, "what the store holds of it is damaged",
                     "make another with `gapura domain dkim add`, publish it, `gapura domain dkim "
                     "activate`, and remove this one"},
    [SIGN_FOREIGN] = {true,
                      "it was sealed under another master key than the file beside the store has",
                      "put the master key's backup in its place and restart, or make new keys"},
    [SIGN_MASTERLESS] = {true, "the keyring has no master key",
                         "put the master key's backup in its place and restart"},
};

uint64_t
sign_gap(uint64_t failing)
{
    uint64_t away = failing ? clock_mono() - failing : 0;

    return MIN(MAX(away / 8, NS_PER_S), 30 * NS_PER_S);
}

static struct str
trouble_name(char dst[NAME_ROOM], uint32_t tenant, const struct sign_key *k)
{
    return str_of(dst, str_fmt(dst, NAME_ROOM, "%s._domainkey.%s %u", k->selector, k->domain,
                               (unsigned)tenant));
}

static struct sign_trouble *
trouble_find(struct courier *c, uint32_t tenant, const struct sign_key *k)
{
    char room[NAME_ROOM];

    return map_get(&c->signing->troubles, trouble_name(room, tenant, k));
}

/* Can it be left off, is it waited for, is it to be asked? */
static bool
is_held(const struct sign_trouble *t, const struct sign_key *k, uint64_t now)
{
    return k->must || (!statuses[t->status].lasts && now - t->since < SIGN_GRACE);
}

uint64_t
sign_choose(struct courier *c, struct sign_work *w, struct str from, uint32_t tenant)
{
    const struct settings_dkim *d = sign_settings(c);
    struct keys_choice all[KEYS_CHOSEN_MAX];
    struct sign_trouble *asks[KEYS_CHOSEN_MAX] = {NULL};
    unsigned n = keys_choose(&c->keys, d, from, tenant, all);
    uint64_t now = clock_mono(), gap = 0;
    size_t at = 0;

    _Static_assert(KEYS_CHOSEN_MAX <= SIGN_MAX, "all can be asked for at once");
    w->nkeys = 0;
    w->tenant = tenant;
    w->asked[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        struct sign_key *to = &w->keys[w->nkeys];
        struct sign_trouble *t;

        if (!str_copy(all[i].domain, to->domain, sizeof to->domain) ||
            !str_copy(all[i].key.selector, to->selector, sizeof to->selector))
            continue;
        to->alg = all[i].key.alg;
        to->must = keys_must(d, all, n, i);
        at += str_fmt(w->asked + at, sizeof w->asked - at, "%s._domainkey.%s ", to->selector,
                      to->domain);
        t = trouble_find(c, tenant, to);
        if (t && now < t->next) {
            gap = is_held(t, to, now) ? MAX(gap, t->next - now) : gap;
            continue;
        }
        asks[w->nkeys++] = t;
    }
    /* This message asks; others wait for its answer. One that waits itself puts no key off. */
    for (unsigned i = 0; i < w->nkeys && !gap; i++) {
        if (asks[i])
            asks[i]->next = now + NS_PER_S;
    }
    return gap;
}

bool
sign_key_rests(struct courier *c, const struct sign_key *k, uint64_t *ret_gap)
{
    struct sign_trouble *t = trouble_find(c, 0, k);
    uint64_t now = clock_mono();

    if (!t || now >= t->next) {
        if (t)
            t->next = now + NS_PER_S;
        return false;
    }
    *ret_gap = is_held(t, k, now) ? t->next - now : 0;
    return true;
}

/* --- what fails --- */

static void
troubles_sweep(struct signing *g, uint64_t now)
{
    struct sign_trouble *t;
    struct str name;
    size_t at = 0;

    while ((t = map_next(&g->troubles, &at, &name)) != NULL) {
        if (now - t->last < FORGOTTEN)
            continue;
        map_del(&g->troubles, name);
        free(t);
        at = 0;
    }
}

static struct sign_trouble *
trouble_make(struct courier *c, uint32_t tenant, const struct sign_key *k, uint64_t now)
{
    struct signing *g = c->signing;
    struct sign_trouble *t = trouble_find(c, tenant, k);

    if (t && now - t->last < FORGOTTEN)
        return t;
    if (!t && g->troubles.n >= SIGN_TROUBLES_MAX)
        troubles_sweep(g, now);
    if (!t) {
        t = calloc(1, sizeof *t);
        if (!t || map_put(&g->troubles, trouble_name(t->name, tenant, k), t) < 0) {
            free(t);
            return NULL;
        }
    }
    t->since = now;
    t->told = 0;
    return t;
}

/* Keys that fail together have one cause: some are named. */
static bool
may_alarm(struct signing *g, uint64_t now)
{
    if (!g->alarms_since || now - g->alarms_since >= ALARMS_GAP) {
        g->alarms_since = now;
        g->alarms = 0;
    }
    if (++g->alarms == ALARMS_MAX + 1)
        event_alarm("more signing keys cannot sign now than are named one by one; what is mended "
                    "for one of them may mend all");
    return g->alarms <= ALARMS_MAX;
}

static void
tell(struct courier *c, struct sign_trouble *t, const struct sign_key *k, uint64_t now)
{
    const char *cause = statuses[t->status].cause, *cure = statuses[t->status].cure;

    if ((!statuses[t->status].lasts && now - t->since < SIGN_GRACE) ||
        (t->told && now - t->told < TOLD_GAP) || !may_alarm(c->signing, now))
        return;
    t->told = now;
    if (k->seals)
        event_alarm("forwarded mail goes without the seal of %s: its key %s._domainkey.%s cannot "
                    "sign: %s. Mail goes on all the same, and the key is tried each half minute; "
                    "%s",
                    k->domain, k->selector, k->domain, cause, cure);
    else if (k->must)
        event_alarm("mail waits for the signature of %s: its key %s._domainkey.%s cannot sign: "
                    "%s. Nothing goes unsigned and the key is tried each half minute; %s",
                    k->domain, k->selector, k->domain, cause, cure);
    else
        event_alarm("the signature of %s is left off: its key %s._domainkey.%s cannot "
                    "sign: %s. `dkim.required` lets such mail go, and the key is tried each half "
                    "minute; %s",
                    k->domain, k->selector, k->domain, cause, cure);
}

bool
sign_key_fails(struct courier *c, uint32_t tenant, const struct sign_key *k, uint8_t status)
{
    uint64_t now = clock_mono();
    struct sign_trouble *t = trouble_make(c, tenant, k, now);

    if (!t)
        return k->must;
    t->status = status < ARRAY_LEN(statuses) && statuses[status].cause ? status : SIGN_UNKNOWN;
    t->last = now;
    t->next = now + sign_gap(t->since);
    tell(c, t, k, now);
    return is_held(t, k, now);
}

void
sign_key_works(struct courier *c, uint32_t tenant, const struct sign_key *k)
{
    char room[NAME_ROOM];
    struct sign_trouble *t;

    if (!c->signing->troubles.n)
        return;
    t = map_del(&c->signing->troubles, trouble_name(room, tenant, k));
    if (t && t->told)
        event_notice("the key %s._domainkey.%s signs again", k->selector, k->domain);
    free(t);
}

void
signing_keys(struct courier *c)
{
    struct sign_trouble *t;
    struct str name;
    size_t at = 0;

    while (c->signing && (t = map_next(&c->signing->troubles, &at, &name)) != NULL)
        t->next = 0;
}

void
sign_troubles_done(struct signing *g)
{
    struct sign_trouble *t;
    struct str name;
    size_t at;

    while (at = 0, (t = map_next(&g->troubles, &at, &name)) != NULL) {
        map_del(&g->troubles, name);
        free(t);
    }
    map_done(&g->troubles);
}
