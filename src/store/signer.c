/*
 * store/signer.c - signatures for the courier, new keys for the keeper.
 *
 * Called by the keyring's role. Private keys are in the clear here and nowhere else; none leaves
 * but sealed. Refuses who asks for a key of another tenant, whatever the asker believes.
 */
#include "store/signer.h"

#include <pthread.h>

#include "core/clock.h"
#include "core/map.h"
#include "store/asks.h"
#include "store/keys.h"
#include "store/settings.h"
#include "store/worker.h"

#define OPEN_MAX    10000u /* keys opened at once: the one used longest ago is closed then */
#define SPARE_MAX   16u    /* copies of one key: as many as there may be threads */
#define WAITING_MAX 4096u  /* messages that wait for a thread; more are told so */
#define MAKING_MAX  64u
#define NAME_MAX_   1024u

struct open_key {
    char *name; /* keys_about() with the tenant; owned */
    size_t name_n;
    uint32_t check; /* of the sealed text that it was opened from */
    uint8_t alg;
    unsigned refs;        /* of the map, and of jobs; the loop's thread counts */
    pthread_mutex_t lock; /* of what follows */
    void *base;           /* never signs: copies are made of it */
    void *spare[SPARE_MAX];
    unsigned nspare;
    struct open_key *older, *newer;
};

struct sign_job {
    struct worker_job job;
    struct signer *signer;
    struct chan *from; /* NULL: nobody waits any more */
    uint64_t id;
    unsigned n;
    struct sign_item {
        struct open_key *key; /* NULL: the status is known already */
        uint8_t status;       /* enum sign_status */
        uint8_t digest[64];
        size_t digest_n;
        uint8_t signature[1024];
        size_t signature_n;
    } items[SIGN_MAX];
    struct sign_job *next, **prev;
};

struct make_job {
    struct worker_job job;
    struct signer *signer;
    struct chan *from;
    uint64_t id;
    struct buf about, pem;
    uint8_t alg;
    unsigned bits;
    /* the result */
    struct buf sealed;
    char public[2048];
    char why[200];
    bool good;
    struct make_job *next, **prev;
};

struct signer {
    struct signer_links links;
    struct seal_master master;
    bool has_master;
    const struct conf *conf;
    struct snapshot snapshot;
    struct worker *signing, *making;
    struct map open;
    struct open_key *oldest, *newest;
    struct sign_job *signs;
    struct make_job *makes;
    unsigned nmakes;
};

static const struct settings_dkim *
dkim_of(const struct signer *s)
{
    const struct conf_section *c = s->conf ? conf_first(s->conf, "dkim") : NULL;

    return c ? c->data : NULL;
}

/* --- keys that are open --- */

static void
key_unref(struct signer *s, struct open_key *k)
{
    if (--k->refs)
        return;
    while (k->nspare)
        s->links.crypto->free_key(k->spare[--k->nspare]);
    s->links.crypto->free_key(k->base);
    pthread_mutex_destroy(&k->lock);
    free(k->name);
    free(k);
}

static void
key_unlist(struct signer *s, struct open_key *k)
{
    *(k->older ? &k->older->newer : &s->oldest) = k->newer;
    *(k->newer ? &k->newer->older : &s->newest) = k->older;
    k->older = k->newer = NULL;
}

static void
key_list(struct signer *s, struct open_key *k)
{
    k->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = k;
    s->newest = k;
}

static void
key_forget(struct signer *s, struct open_key *k)
{
    map_del(&s->open, str_of(k->name, k->name_n));
    key_unlist(s, k);
    key_unref(s, k);
}

static uint32_t
check_of(struct str sealed)
{
    return (uint32_t)str_hash(sealed, 0x9e3779b97f4a7c15u);
}

/* Opens what the snapshot has; NULL with a status. */
static struct open_key *
key_open(struct signer *s, struct str name, const struct keys_sealed *sealed, uint8_t *ret_status)
{
    struct open_key *k = calloc(1, sizeof(*k));
    struct str why = STR_NONE;
    struct buf clear;
    int r = !k ? ERR_NOMEM : s->has_master ? 0 : ERR_STATE;

    buf_init(&clear, SEAL_CLEAR_MAX);
    if (k)
        k->name = malloc(name.n + 1);
    if (r == 0 && !k->name)
        r = ERR_NOMEM;
    r = r < 0 ? r : seal_open(&s->master, name, sealed->sealed, &clear);
    r = r < 0 ? r : s->links.crypto->load(buf_view(&clear), &k->base, &why);
    seal_wipe(&clear);
    if (r < 0) {
        if (k)
            free(k->name);
        free(k);
        *ret_status = r == ERR_NOMEM     ? SIGN_BUSY
                      : r == ERR_STATE   ? SIGN_MASTERLESS
                      : r == ERR_REFUSED ? SIGN_FOREIGN
                                         : SIGN_BROKEN;
        return NULL;
    }
    memcpy(k->name, name.p, name.n);
    k->name_n = name.n;
    k->check = check_of(sealed->sealed);
    k->alg = sealed->alg;
    k->refs = 1;
    pthread_mutex_init(&k->lock, NULL);
    return k;
}

static struct open_key *
key_get(struct signer *s, struct str name, const struct keys_sealed *sealed, uint8_t *ret_status)
{
    struct open_key *k = map_get(&s->open, name);

    if (k && k->check != check_of(sealed->sealed)) {
        key_forget(s, k);
        k = NULL;
    }
    if (k) {
        key_unlist(s, k);
        key_list(s, k);
        return k;
    }
    while (s->open.n >= OPEN_MAX)
        key_forget(s, s->oldest);
    k = key_open(s, name, sealed, ret_status);
    if (!k)
        return NULL;
    if (map_put(&s->open, str_of(k->name, k->name_n), k) < 0) {
        key_unref(s, k);
        *ret_status = SIGN_BUSY;
        return NULL;
    }
    key_list(s, k);
    return k;
}

/* May mail of that tenant be signed for this domain? The platform's own signature may stand on all
 * mail; a tenant's keys on its own alone. */
static bool
may_sign(const struct signer *s, struct str owner, struct str domain, uint32_t tenant)
{
    const struct settings_dkim *d = dkim_of(s);
    const struct conf_section *t;

    if (!owner.n && (tenant == 0 || (d && d->platform.n && str_ieq(d->platform, domain))))
        return true;
    t = owner.n && s->conf ? conf_find(s->conf, "tenant", owner) : NULL;
    return t && ((const struct settings_tenant *)t->data)->number == tenant;
}

/* --- signing --- */

static void
job_unlink(struct sign_job *j)
{
    *j->prev = j->next;
    if (j->next)
        j->next->prev = j->prev;
}

static void
sign_free(struct sign_job *j)
{
    for (unsigned i = 0; i < j->n; i++)
        if (j->items[i].key)
            key_unref(j->signer, j->items[i].key);
    job_unlink(j);
    free(j);
}

static void
sign_answer(const struct sign_job *j)
{
    CLEANUP(buf_done) struct buf b = {0};

    buf_init(&b, CHAN_BODY_MAX);
    put_u16(&b, (uint16_t)j->n);
    for (unsigned i = 0; i < j->n; i++) {
        put_u8(&b, j->items[i].status);
        put_str(&b, str_of(j->items[i].signature, j->items[i].signature_n));
    }
    /* a full channel loses the answer: the asker's timeout makes the message wait */
    if (j->from)
        (void)chan_send(j->from, ASK_SIGN_ANSWER, j->id, &b, -1);
}

/* In a thread: a copy of the key is this thread's while it signs. */
static void
sign_item(const struct signer_crypto *crypto, struct sign_item *item)
{
    struct open_key *k = item->key;
    void *mine = NULL;
    ssize_t n = -1;

    pthread_mutex_lock(&k->lock);
    if (k->nspare)
        mine = k->spare[--k->nspare];
    pthread_mutex_unlock(&k->lock);
    if (!mine && crypto->clone(k->base, &mine) < 0)
        mine = NULL;
    if (mine)
        n = crypto->sign(mine, k->alg, item->digest, item->digest_n, item->signature,
                         sizeof(item->signature));
    item->status = n > 0 ? SIGN_DONE : SIGN_BROKEN;
    item->signature_n = n > 0 ? (size_t)n : 0;
    pthread_mutex_lock(&k->lock);
    if (mine && k->nspare < SPARE_MAX) {
        k->spare[k->nspare++] = mine;
        mine = NULL;
    }
    pthread_mutex_unlock(&k->lock);
    crypto->free_key(mine);
}

static void
sign_run(struct worker_job *job, void *thread_state UNUSED)
{
    struct sign_job *j = CONTAINER_OF(job, struct sign_job, job);

    for (unsigned i = 0; i < j->n; i++)
        if (j->items[i].key)
            sign_item(j->signer->links.crypto, &j->items[i]);
}

static void
sign_done(struct worker_job *job)
{
    struct sign_job *j = CONTAINER_OF(job, struct sign_job, job);

    sign_answer(j);
    sign_free(j);
}

static void
sign_drop(struct worker_job *job)
{
    sign_free(CONTAINER_OF(job, struct sign_job, job));
}

static void
item_find(struct signer *s, uint32_t tenant, struct str domain, struct str selector,
          struct sign_item *item)
{
    CLEANUP(buf_done) struct buf name = {0};
    struct keys_sealed sealed;

    if (!s->snapshot.base || !keys_sealed_find(&s->snapshot, domain, selector, &sealed)) {
        item->status = SIGN_UNKNOWN;
        return;
    }
    if (!may_sign(s, sealed.tenant, domain, tenant)) {
        item->status = SIGN_REFUSED;
        return;
    }
    buf_init(&name, NAME_MAX_);
    keys_about(&name, domain, selector, sealed.tenant);
    item->status = SIGN_BUSY;
    item->key = name.failed ? NULL : key_get(s, buf_view(&name), &sealed, &item->status);
    if (item->key)
        item->key->refs++;
}

static void
on_sign(struct signer *s, struct chan *from, uint64_t id, struct wire *body)
{
    uint32_t tenant = wire_u32(body);
    unsigned n = wire_u16(body), keys = 0;
    struct sign_job *j = n && n <= SIGN_MAX ? calloc(1, sizeof(*j)) : NULL;

    if (!j) {
        wire_skip(body,
                  n && n <= SIGN_MAX ? wire_left(body) : 0); /* else: refused by the channel */
        return;
    }
    *j = (struct sign_job){
        .job = {sign_run, sign_done, NULL}, .signer = s, .from = from, .id = id, .n = n};
    j->next = s->signs;
    j->prev = &s->signs;
    if (j->next)
        j->next->prev = &j->next;
    s->signs = j;
    for (unsigned i = 0; i < n; i++) {
        struct str domain = wire_str(body), selector = wire_str(body), digest = wire_str(body);

        if (body->failed || digest.n > sizeof(j->items[i].digest) || !digest.n) {
            body->failed = true;
            break;
        }
        memcpy(j->items[i].digest, digest.p, digest.n);
        j->items[i].digest_n = digest.n;
        item_find(s, tenant, domain, selector, &j->items[i]);
        keys += j->items[i].key != NULL;
    }
    if (!wire_end(body)) {
        sign_free(j);
        return;
    }
    if (keys && worker_submit(s->signing, &j->job) == 0)
        return;
    for (unsigned i = 0; i < n; i++)
        if (j->items[i].key)
            j->items[i].status = SIGN_BUSY;
    sign_answer(j);
    sign_free(j);
}

/* --- new keys --- */

static void
make_free(struct make_job *m)
{
    *m->prev = m->next;
    if (m->next)
        m->next->prev = m->prev;
    m->signer->nmakes--;
    buf_done(&m->about);
    seal_wipe(&m->pem);
    buf_done(&m->sealed);
    free(m);
}

static void
make_run(struct worker_job *job, void *thread_state UNUSED)
{
    struct make_job *m = CONTAINER_OF(job, struct make_job, job);
    const struct signer_crypto *c = m->signer->links.crypto;
    struct str why = STR("the crypto library made no key");
    void *key = NULL;
    int r = m->pem.n ? c->load(buf_view(&m->pem), &key, &why) : c->make(m->alg, m->bits, &key);

    if (r == 0 && !m->pem.n) {
        why = STR("the key could not be written");
        buf_init(&m->pem, SEAL_CLEAR_MAX);
        r = c->text(key, &m->pem);
    }
    if (r == 0) {
        why = STR("the key could not be sealed");
        r = seal_close(&m->signer->master, buf_view(&m->about), buf_view(&m->pem), &m->sealed);
    }
    if (r == 0)
        r = (int)MIN(c->public(key, m->public, sizeof(m->public)), (ssize_t)0);
    m->good = r == 0;
    if (m->good) {
        m->alg = c->alg(key);
        m->bits = c->bits(key);
    } else {
        str_fmt(m->why, sizeof(m->why), "%.*s", STR_ARG(why));
    }
    c->free_key(key);
}

static void
make_answer(struct make_job *m)
{
    CLEANUP(buf_done) struct buf b = {0};

    buf_init(&b, CHAN_BODY_MAX);
    put_u8(&b, m->good);
    put_str(&b, str_c(m->why));
    put_u8(&b, m->alg);
    put_u16(&b, (uint16_t)m->bits);
    put_str(&b, str_c(m->good ? m->public : ""));
    put_str(&b, m->good ? buf_view(&m->sealed) : STR_NONE);
    if (m->from)
        (void)chan_send(m->from, ASK_KEY_ANSWER, m->id, &b, -1);
}

static void
make_done(struct worker_job *job)
{
    struct make_job *m = CONTAINER_OF(job, struct make_job, job);

    make_answer(m);
    make_free(m);
}

static void
make_drop(struct worker_job *job)
{
    make_free(CONTAINER_OF(job, struct make_job, job));
}

static void
on_make(struct signer *s, struct chan *from, uint64_t id, struct wire *body)
{
    struct str domain = wire_str(body), selector = wire_str(body), tenant = wire_str(body);
    uint8_t alg = wire_u8(body);
    unsigned bits = wire_u16(body);
    struct str pem = wire_str(body);
    struct make_job *m = wire_end(body) ? calloc(1, sizeof(*m)) : NULL;
    const char *no = NULL;

    if (!m)
        return;
    *m = (struct make_job){.job = {make_run, make_done, NULL},
                           .signer = s,
                           .from = from,
                           .id = id,
                           .alg = alg,
                           .bits = bits};
    m->next = s->makes;
    m->prev = &s->makes;
    if (m->next)
        m->next->prev = &m->next;
    s->makes = m;
    s->nmakes++;
    buf_init(&m->about, NAME_MAX_);
    buf_init(&m->pem, SEAL_CLEAR_MAX);
    buf_init(&m->sealed, SEAL_CLEAR_MAX * 2);
    keys_about(&m->about, domain, selector, tenant);
    buf_str(&m->pem, pem);
    if (!s->has_master)
        no = "the keyring has no master key: see its Alarm in the events";
    else if (m->about.failed || m->pem.failed || alg > KEYS_ED25519 || bits < 1024 || bits > 4096)
        no = "the keyring does not make such a key";
    else if (s->nmakes > MAKING_MAX || worker_submit(s->making, &m->job) < 0)
        no = "many keys are being made: try again in a minute";
    if (!no)
        return;
    str_fmt(m->why, sizeof(m->why), "%s", no);
    make_answer(m);
    make_free(m);
}

/* --- as a whole --- */

struct signer *
signer_create(const struct signer_links *links, const struct conf *conf)
{
    struct signer *s = calloc(1, sizeof(*s));
    const struct settings_dkim *d;

    if (!s)
        return NULL;
    s->links = *links;
    s->links.master = NULL;
    s->has_master = links->master != NULL;
    if (links->master)
        s->master = *links->master;
    s->conf = conf;
    d = dkim_of(s);
    map_init(&s->open, OPEN_MAX, false);
    if (worker_create(&s->signing, links->loop, d ? (unsigned)d->workers : 1, WAITING_MAX, NULL) <
            0 ||
        worker_create(&s->making, links->loop, 1, MAKING_MAX, NULL) < 0) {
        signer_free(s);
        return NULL;
    }
    return s;
}

void
signer_free(struct signer *s)
{
    if (!s)
        return;
    if (s->signing)
        worker_free(s->signing, sign_drop);
    if (s->making)
        worker_free(s->making, make_drop);
    while (s->oldest)
        key_forget(s, s->oldest);
    map_done(&s->open);
    snapshot_unmap(&s->snapshot);
    seal_master_wipe(&s->master);
    free(s);
}

void
signer_set_conf(struct signer *s, const struct conf *conf)
{
    s->conf = conf;
}

/* What the store has erased or changed is closed here as well. */
static void
close_gone(struct signer *s)
{
    struct open_key *k, *next;

    for (k = s->oldest; k; k = next) {
        struct str rest, domain = str_cut(str_of(k->name, k->name_n), '\0', &rest);
        struct str selector = str_cut(rest, '\0', &rest);
        struct keys_sealed sealed;

        next = k->newer;
        if (!keys_sealed_find(&s->snapshot, domain, selector, &sealed) ||
            !str_eq(sealed.tenant, rest) || k->check != check_of(sealed.sealed))
            key_forget(s, k);
    }
}

int
signer_set_snapshot(struct signer *s, int fd)
{
    struct snapshot fresh;
    int r = snapshot_map(&fresh, fd);

    if (r < 0)
        return r;
    snapshot_unmap(&s->snapshot);
    s->snapshot = fresh;
    close_gone(s);
    return 0;
}

bool
signer_message(struct signer *s, struct chan *from, uint16_t type, uint64_t id, struct wire *body)
{
    switch (type) {
    case ASK_SIGN:
        on_sign(s, from, id, body);
        return true;
    case ASK_KEY_MAKE:
        on_make(s, from, id, body);
        return true;
    default:
        return false;
    }
}

void
signer_lost(struct signer *s, struct chan *from)
{
    for (struct sign_job *j = s->signs; j; j = j->next)
        j->from = j->from == from ? NULL : j->from;
    for (struct make_job *m = s->makes; m; m = m->next)
        m->from = m->from == from ? NULL : m->from;
}
