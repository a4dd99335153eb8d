/*
 * store/keeper_ask.c - questions of other roles that a directory answers: recipients, passwords.
 *
 * Called by the keeper's role with messages. Never lets a slow directory hold up the loop; a
 * directory that fails gives "temporary", never "unknown".
 */
#include "core/clock.h"
#include "store/keeper_inner.h"
#include "store/users.h"

#define ASKS_MAX      2000u
#define TTL_TEMPORARY 5u /* s: a sick directory is asked again soon, but not by every message */
#define PROBLEM_GAP   (60 * NS_PER_S)

struct keeper_ask {
    struct keeper *keeper;
    struct chan *from; /* NULL: nobody waits any more */
    uint64_t id;
    uint32_t ttl_s;
    struct lookup *lookup;    /* in a thread; NULL: Dovecot's */
    char user[LOGIN_MAX + 1]; /* asked of Dovecot, as it was typed */
    struct keeper_ask *next;
};

static void
ask_free(struct keeper_ask *ask)
{
    struct keeper *k = ask->keeper;

    for (struct keeper_ask **p = &k->asks; *p; p = &(*p)->next) {
        if (*p != ask)
            continue;
        *p = ask->next;
        k->nasks--;
        break;
    }
    directory_lookup_free(ask->lookup);
    free(ask);
}

static struct keeper_ask *
ask_new(struct keeper *k, struct chan *from, uint64_t id)
{
    struct keeper_ask *ask = k->nasks < ASKS_MAX ? calloc(1, sizeof(*ask)) : NULL;

    if (!ask)
        return NULL;
    *ask = (struct keeper_ask){.keeper = k, .from = from, .id = id, .next = k->asks};
    k->asks = ask;
    k->nasks++;
    return ask;
}

/* One problem a minute: the gate's refusals tell the rest. */
static void
tell_directory_problem(struct keeper *k, const char *text, const char *effect)
{
    uint64_t now = clock_mono();

    if (k->problem_at && now - k->problem_at < PROBLEM_GAP)
        return;
    k->problem_at = now;
    keeper_problem(k, "%s; %s until it answers again", text, effect);
}

static void
answer_lookup(struct chan *to, uint64_t id, enum lookup_result result, uint32_t ttl_s,
              const struct str *addresses, unsigned n)
{
    struct buf body;

    buf_init(&body, CHAN_BODY_MAX);
    put_u8(&body, (uint8_t)result);
    put_u32(&body, ttl_s);
    put_u16(&body, (uint16_t)n);
    for (unsigned i = 0; i < n; i++)
        put_str(&body, addresses[i]);
    if (body.failed && n) {
        buf_done(&body);
        answer_lookup(to, id, LOOKUP_TEMPORARY, TTL_TEMPORARY, NULL, 0);
        return;
    }
    /* a full channel loses the answer: the asker's timeout makes it temporary */
    (void)chan_send(to, ASK_LOOKUP_ANSWER, id, &body, -1);
    buf_done(&body);
}

static void
directory_lookup_done(struct worker_job *job)
{
    struct lookup *l = CONTAINER_OF(job, struct lookup, job);
    struct keeper_ask *ask = l->ctx;
    bool temporary = l->result == LOOKUP_TEMPORARY;

    if (temporary)
        tell_directory_problem(ask->keeper, l->problem, "its recipients get 451");
    if (ask->from)
        answer_lookup(ask->from, ask->id, l->result, temporary ? TTL_TEMPORARY : ask->ttl_s, l->to,
                      l->nto);
    ask_free(ask);
}

/* The first line of the password's file; read for each question, so that a change needs nothing. */
static struct str
read_password(struct keeper *k, const struct settings_domain *d, char *dst, size_t cap)
{
    char path[4096];
    FILE *f;
    struct str text = STR_NONE;

    if (!d->ldap_password.n || !str_copy(d->ldap_password, path, sizeof(path)))
        return STR_NONE;
    f = fopen(path, "re");
    if (f) {
        text = str_of(dst, fread(dst, 1, cap, f));
        (void)fclose(f);
    } else if (k->links.file) {
        text = str_sub(k->links.file(k->links.ctx, d->ldap_password), 0, cap);
    }
    text = str_cut(text, '\n', &(struct str){0});
    if (text.n && text.p[text.n - 1] == '\r')
        text.n--;
    return text;
}

static int
start_lookup(struct keeper *k, struct chan *from, uint64_t id, const struct settings_domain *d,
             struct str domain, struct str address)
{
    char room[1024];
    struct keeper_ask *ask = ask_new(k, from, id);
    int r = ERR_LIMIT;

    if (!ask)
        return ERR_LIMIT;
    ask->ttl_s = (uint32_t)(d->lookup_ttl / NS_PER_S);
    ask->lookup =
        directory_lookup_create(d, domain, address, read_password(k, d, room, sizeof(room)));
    explicit_bzero(room, sizeof(room));
    if (ask->lookup) {
        ask->lookup->job.done = directory_lookup_done;
        ask->lookup->ctx = ask;
        r = worker_submit(k->worker, &ask->lookup->job);
    }
    if (r < 0)
        ask_free(ask);
    return r;
}

/* LDAP always; SQLite if the query has a parameter, else its list is in the snapshot. */
static bool
asks_directory(const struct settings_domain *d)
{
    return d->recipients == RECIPIENTS_LDAP ||
           (d->recipients == RECIPIENTS_SQLITE && str_chr(d->recipient_query, '?') >= 0);
}

static void
on_lookup(struct keeper *k, struct chan *from, uint64_t id, struct wire *body)
{
    struct str domain = wire_str(body), address = wire_str(body);
    const struct conf_section *s = conf_find(k->conf, "domain", domain);
    const struct settings_domain *d = s ? s->data : NULL;
    int r = 0;

    if (!wire_end(body))
        return;
    if (!d || address.n > 1024 || !asks_directory(d)) {
        /* what lists all recipients is in the snapshot: not there is unknown */
        bool known = !d || sources_good(k->sources, domain);

        answer_lookup(from, id, known ? LOOKUP_UNKNOWN : LOOKUP_TEMPORARY,
                      d && known ? (uint32_t)(d->lookup_ttl / NS_PER_S) : TTL_TEMPORARY, NULL, 0);
        return;
    }
    r = start_lookup(k, from, id, d, domain, address);
    if (r < 0)
        answer_lookup(from, id, LOOKUP_TEMPORARY, TTL_TEMPORARY, NULL, 0);
}

static void
answer_password(struct chan *to, uint64_t id, enum auth_answer result, struct str user)
{
    struct buf body;

    buf_init(&body, CHAN_BODY_MAX);
    put_u8(&body, (uint8_t)result);
    put_str(&body, user);
    (void)chan_send(to, ASK_PASSWORD_ANSWER, id, &body, -1);
    buf_done(&body);
}

/*
 * Who logged in. Dovecot's own name counts: it may have put other names down to it. Where it drops
 * the domain (auth_username_format = %Ln), a typed name of one of our domains stays whole, so that
 * it has an address and its `user` block is found; of any other domain it would be a false name.
 */
static struct str
login_of(const struct keeper_ask *ask, struct str known)
{
    struct str typed = str_c(ask->user), domain;
    char folded[LOGIN_MAX + 1];
    struct str local = str_cut(typed, '@', &domain);

    if (!domain.n || !str_ieq(local, known) || domain.n > LOGIN_MAX)
        return known;
    memcpy(folded, domain.p, domain.n);
    str_lower(folded, domain.n);
    return conf_find(ask->keeper->conf, "domain", str_of(folded, domain.n)) ? typed : known;
}

static void
on_checked(void *ctx, enum auth_answer result, struct str user)
{
    struct keeper_ask *ask = ctx;

    if (result == AUTH_ANSWER_TEMP)
        tell_directory_problem(ask->keeper, dovecot_problem(ask->keeper->dovecot),
                               "logins get a temporary failure");
    if (ask->from)
        answer_password(ask->from, ask->id, result,
                        result == AUTH_ANSWER_OK ? login_of(ask, user) : user);
    ask_free(ask);
}

/* The server of the present settings; a changed path drops what was asked of the former one. */
static struct dovecot *
find_dovecot(struct keeper *k)
{
    const struct conf_section *s = conf_first(k->conf, "auth");
    const struct settings_auth *auth = s ? s->data : NULL;
    char path[4096];

    if (!auth || auth->passwords != PASSWORDS_DOVECOT ||
        !str_copy(auth->dovecot, path, sizeof(path)))
        return NULL;
    if (k->dovecot && !strcmp(dovecot_path(k->dovecot), path))
        return k->dovecot;
    dovecot_free(k->dovecot);
    for (struct keeper_ask *a = k->asks, *next; a; a = next) {
        next = a->next;
        if (!a->lookup)
            ask_free(a);
    }
    k->dovecot = dovecot_create(k->links.loop, path);
    return k->dovecot;
}

static void
on_password(struct keeper *k, struct chan *from, uint64_t id, struct wire *body)
{
    struct str mech = wire_str(body), user = wire_str(body), password = wire_str(body);
    struct dovecot *d = wire_end(body) ? find_dovecot(k) : NULL;
    struct keeper_ask *ask = d ? ask_new(k, from, id) : NULL;

    if (!ask || !str_copy(user, ask->user, sizeof(ask->user)) ||
        dovecot_check(d, mech, user, password, on_checked, ask) < 0) {
        if (ask)
            ask_free(ask);
        answer_password(from, id, AUTH_ANSWER_TEMP, STR_NONE);
    }
}

bool
keeper_message(struct keeper *k, struct chan *from, uint16_t type, uint64_t id, struct wire *body)
{
    switch (type) {
    case ASK_LOOKUP:
        on_lookup(k, from, id, body);
        return true;
    case ASK_PASSWORD:
        on_password(k, from, id, body);
        return true;
    case ASK_KEY_ANSWER:
        keeper_domain_answer(k, id, body);
        return true;
    default:
        return false;
    }
}

void
keeper_lost(struct keeper *k, struct chan *from)
{
    for (struct keeper_ask *a = k->asks; a; a = a->next)
        if (a->from == from)
            a->from = NULL;
    keeper_reports_lost(k, from);
    if (from == k->links.keyring)
        keeper_domain_lost(k);
}

void
keeper_asks_drop(struct keeper *k)
{
    worker_free(k->worker, NULL); /* the list below owns its jobs */
    k->worker = NULL;
    dovecot_free(k->dovecot);
    k->dovecot = NULL;
    while (k->asks)
        ask_free(k->asks);
}
