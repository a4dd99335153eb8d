/*
 * store/keeper.c - opens the store and the sources, and publishes snapshots when either changes.
 *
 * Called by the keeper role. Never parses mail, never prints: problems go to links.problem.
 */
#include "store/keeper.h"

#include <stdarg.h>

#include "core/clock.h"
#include "store/keeper_inner.h"
#include "store/keys.h"
#include "store/secret.h"
#include "store/users.h"

#define LOOKUP_THREADS 4u
#define LOOKUP_WAITING 1000u
#define LEFT_OUT_GAP   (3600 * NS_PER_S)
#define RENEWAL        (3600 * NS_PER_S) /* how often our own keys are looked at */
#define PUBLISH_AGAIN  (5 * NS_PER_S)    /* a full disk, a locked store */
#define PUBLISH_GAP    (600 * NS_PER_S)  /* between two words about the same */

void
keeper_problem(struct keeper *k, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    if (k->links.problem)
        k->links.problem(k->links.ctx, text);
}

struct left_out { /* rows of keys that a view is without */
    unsigned n;
    char first[400];
};

static void
key_left_out(void *ctx, const struct keys_row *row, const char *why)
{
    struct left_out *l = ctx;

    if (l->n++ == 0)
        str_fmt(l->first, sizeof(l->first), "%.*s of %.*s: %s",
                (int)MIN(row->selector.n, (size_t)KEYS_SELECTOR_MAX), row->selector.p,
                (int)MIN(row->domain.n, (size_t)200), row->domain.p, why);
}

/* Each view has the same: one of them tells, and not at each change of anything. */
static void
tell_left_out(struct keeper *k, const struct left_out *l)
{
    uint64_t now = clock_mono();

    if (l->n && (l->n != k->left_out || now - k->left_out_at >= LEFT_OUT_GAP)) {
        k->left_out_at = now;
        keeper_problem(k,
                       "the store holds %u signing key%s that cannot be used: %s. Mail of such a "
                       "domain is not signed by it; all other keys are. Remove it (`gapura domain "
                       "dkim remove`) and make a new one, or bring back the store's backup",
                       l->n, l->n == 1 ? "" : "s", l->first);
    }
    k->left_out = l->n;
}

static int
build_view(struct keeper *k, enum keeper_view view, struct why *why)
{
    struct snapshot_builder *b;
    struct left_out out = {0};
    uint64_t generation;
    int fd, r = store_next(k->store, "snapshot", &generation, why);

    if (r < 0)
        return r;
    b = snapshot_build(generation);
    if (!b)
        return why_set(why, ERR_NOMEM, "out of memory");
    if (view == KEEPER_VIEW_ROLES)
        r = sources_publish(k->sources, k->conf, b);
    if (r == 0 && view == KEEPER_VIEW_ROLES)
        r = secret_publish(k->store, STR(SECRET_RETURNS), b);
    if (r == 0 && view != KEEPER_VIEW_COURIER)
        r = users_publish(k->store, k->conf, b, view == KEEPER_VIEW_KEYRING);
    r = r < 0 ? r
              : keys_publish(k->store, k->conf, b, view == KEEPER_VIEW_KEYRING, key_left_out, &out);
    if (r == 0 && view == KEEPER_VIEW_COURIER)
        tell_left_out(k, &out);
    if (r < 0) {
        snapshot_abandon(b);
        return why_set(why, r, "%s", err_text(r));
    }
    fd = snapshot_finish(b);
    if (fd < 0)
        return why_set(why, fd, "%s", err_text(fd));
    fd_close(&k->views[view].fd);
    k->views[view].fd = fd;
    k->views[view].generation = generation;
    return 0;
}

/* Roles that were started meanwhile know nothing: it is tried until it is done. */
static void
publish_failed(struct keeper *k, const char *why)
{
    uint64_t now = clock_mono();

    loop_timer_set(&k->again, PUBLISH_AGAIN);
    if (k->publish_told && now - k->publish_told < PUBLISH_GAP)
        return;
    k->publish_told = now;
    keeper_problem(k,
                   "cannot publish users and recipients: %s; the roles go on with what they know, "
                   "one that was just started knows none; mend this, it is tried again every few "
                   "seconds",
                   why);
}

static void
on_publish(void *ctx)
{
    struct keeper *k = ctx;
    struct why why = {{0}};
    bool failed = false;

    loop_timer_stop(&k->again);
    for (int view = 0; view < KEEPER_VIEWS_; view++) {
        if (build_view(k, view, &why) < 0)
            failed = true;
        else if (k->links.publish)
            k->links.publish(k->links.ctx, view, k->views[view].generation, k->views[view].fd);
    }
    if (failed)
        publish_failed(k, why.text);
    else
        k->publish_told = 0;
}

void
keeper_publish_soon(struct keeper *k)
{
    loop_defer(k->links.loop, &k->publish);
}

/* Our own keys are changed when they are old enough. */
static void
on_renewal(void *ctx)
{
    struct keeper *k = ctx;
    struct why why = {{0}};
    int r = secret_renew(k->store, STR(SECRET_RETURNS), clock_wall_s(), &why);

    if (r < 0)
        keeper_problem(k,
                       "the key that marks our mail cannot be renewed: %s; the former one stays in "
                       "use; reports about mail of ours are known by it as long as there is one",
                       why.text);
    if (r > 0)
        keeper_publish_soon(k);
    loop_timer_set(&k->renewal, RENEWAL);
}

static void
tell_problem(void *ctx, const char *text)
{
    keeper_problem(ctx, "%s", text);
}

static struct str
read_by_role(void *ctx, struct str path)
{
    const struct keeper *k = ctx;

    return k->links.file ? k->links.file(k->links.ctx, path) : STR_NONE;
}

static bool
tenant_known(const struct conf *conf, struct str name)
{
    return !name.n || conf_find(conf, "tenant", name);
}

static void
check_tenants(struct keeper *k)
{
    for (const struct conf_section *s = conf_first(k->conf, "domain"); s; s = conf_next(s)) {
        const struct settings_domain *d = s->data;

        if (!tenant_known(k->conf, d->tenant))
            keeper_problem(k,
                           "%.*s:%u: there is no `tenant %.*s`; the domain's mail counts for "
                           "the system until there is",
                           STR_ARG(s->file), s->line, STR_ARG(d->tenant));
    }
    for (const struct conf_section *s = conf_first(k->conf, "user"); s; s = conf_next(s)) {
        const struct settings_sender *u = s->data;

        if (!tenant_known(k->conf, u->tenant))
            keeper_problem(k,
                           "%.*s:%u: there is no `tenant %.*s`; the login sends for the "
                           "system until there is",
                           STR_ARG(s->file), s->line, STR_ARG(u->tenant));
    }
}

static void
watch_path(struct keeper *k, struct str path)
{
    char text[4096];

    if (path.n && str_copy(path, text, sizeof(text)))
        watch_add(k->watch, text);
}

/* Reads all files, watches them, and has the result published. */
static int
reload(struct keeper *k)
{
    int r;

    /* watched before they are read, so that no change falls in between */
    watch_clear(k->watch);
    for (const struct conf_section *s = conf_first(k->conf, "domain"); s; s = conf_next(s)) {
        const struct settings_domain *d = s->data;

        watch_path(k, d->recipient_table);
        watch_path(k, d->aliases);
    }
    r = recipient_sources_load(k->sources, k->conf);
    if (r == 0)
        keeper_publish_soon(k);
    return r;
}

static void
on_changed(void *ctx)
{
    struct keeper *k = ctx;
    int r = reload(k);

    if (r < 0)
        keeper_problem(k, "cannot read the tables that changed: %s; the former ones stay in use",
                       err_text(r));
}

int
keeper_create(struct keeper **ret, const struct keeper_links *links, const struct conf *conf,
              struct why *why)
{
    struct keeper *k = calloc(1, sizeof(*k));
    int r;

    if (!k)
        return why_set(why, ERR_NOMEM, "out of memory for the keeper");
    k->links = *links;
    k->conf = conf;
    k->publish = (struct loop_call){.fn = on_publish, .ctx = k};
    loop_timer_init(&k->renewal, links->loop, on_renewal, k);
    loop_timer_init(&k->again, links->loop, on_publish, k);
    for (int view = 0; view < KEEPER_VIEWS_; view++)
        k->views[view].fd = -1;
    k->sources = sources_create(&(struct sources_links){
        .file = read_by_role, .file_ctx = k, .problem = tell_problem, .ctx = k});
    k->watch = watch_create(links->loop, on_changed, k);
    if (!k->watch)
        keeper_problem(k, "cannot watch table files (inotify); say `gapura reload` after a change");
    r = k->sources ? store_open(&k->store, links->store_path, why) : ERR_NOMEM;
    if (r == 0) {
        r = worker_create(&k->worker, links->loop, LOOKUP_THREADS, LOOKUP_WAITING,
                          &directory_threads);
        if (r < 0)
            (void)why_set(why, r, "cannot start the threads that ask directories: %s", err_text(r));
    }
    if (r == 0)
        r = keeper_set_conf(k, conf, why);
    if (r == 0)
        on_renewal(k);
    if (r == 0 &&
        (keeper_keys_create(k) < 0 || keeper_domain_create(k) < 0 || keeper_reports_create(k) < 0))
        r = why_set(why, ERR_NOMEM, "out of memory for signing keys and reports");
    if (r < 0) {
        keeper_free(k);
        return r;
    }
    *ret = k;
    return 0;
}

void
keeper_free(struct keeper *k)
{
    if (!k)
        return;
    keeper_asks_drop(k);
    keeper_domain_free(k);
    keeper_keys_free(k);
    keeper_reports_free(k);
    loop_call_cancel(k->links.loop, &k->publish);
    loop_timer_stop(&k->renewal);
    loop_timer_stop(&k->again);
    watch_free(k->watch);
    sources_free(k->sources);
    store_close(k->store);
    for (int view = 0; view < KEEPER_VIEWS_; view++)
        fd_close(&k->views[view].fd);
    free(k);
}

int
keeper_set_conf(struct keeper *k, const struct conf *conf, struct why *why)
{
    const struct conf *before = k->conf;
    int r;

    k->conf = conf;
    r = reload(k);
    if (r < 0) {
        k->conf = before;
        return why_set(why, r, "cannot read the tables of the settings: %s", err_text(r));
    }
    check_tenants(k);
    keeper_keys_conf(k);
    return 0;
}

struct store *
keeper_store(struct keeper *k)
{
    return k->store;
}

int
keeper_snapshot(const struct keeper *k, enum keeper_view view, uint64_t *ret_generation)
{
    *ret_generation = k->views[view].generation;
    return k->views[view].fd;
}
