/*
 * store/lookup.c - one look-up of a recipient in a directory, from the keeper's loop to a thread.
 *
 * Called by the keeper; runs in its threads. Never touches anything but its own job there.
 */
#include <stdarg.h>

#include "store/directory.h"

#define LOOKUP_MEMORY (1u << 20)

void
directory_lookup_failed(struct lookup *l, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (vsnprintf(l->problem, sizeof(l->problem), fmt, ap) < 0)
        l->problem[0] = '\0';
    va_end(ap);
    for (char *p = l->problem; *p; p++)
        if (str_has_ctl(str_of(p, 1)))
            *p = '?';
    l->result = LOOKUP_TEMPORARY;
    l->nto = 0;
}

void
directory_lookup_add(struct lookup *l, struct str address)
{
    struct str copy = l->nto < LOOKUP_ADDRESSES ? arena_str(&l->arena, address) : STR_NONE;

    if (!copy.p)
        directory_lookup_failed(l, "more than %u addresses for one recipient", LOOKUP_ADDRESSES);
    else
        l->to[l->nto++] = copy;
}

static void
run(struct worker_job *job, void *state)
{
    struct lookup *l = CONTAINER_OF(job, struct lookup, job);

    l->result = LOOKUP_UNKNOWN;
    if (l->kind == RECIPIENTS_SQLITE)
        sqlite_lookup(l);
    else if (state)
        ldap_lookup(state, l);
    else
        directory_lookup_failed(l, "out of memory for connections to the directory");
}

struct lookup *
directory_lookup_create(const struct settings_domain *d, struct str domain, struct str address,
                        struct str password)
{
    struct lookup *l = calloc(1, sizeof(*l));
    ssize_t at = str_rchr(address, '@');
    bool ldap = d->recipients == RECIPIENTS_LDAP;

    if (!l)
        return NULL;
    arena_init(&l->arena, LOOKUP_MEMORY);
    l->kind = d->recipients;
    l->job.run = run;
    l->place = arena_str(&l->arena, ldap ? d->ldap_url : d->recipient_table);
    l->query = arena_str(&l->arena, d->recipient_query);
    l->bind = arena_str(&l->arena, d->ldap_bind);
    l->password = arena_str(&l->arena, password);
    l->address = arena_str(&l->arena, address);
    l->domain = arena_str(&l->arena, domain);
    if (!l->place.p || !l->query.p || !l->bind.p || !l->password.p || !l->address.p ||
        !l->domain.p) {
        directory_lookup_free(l);
        return NULL;
    }
    l->local = str_sub(l->address, 0, at < 0 ? l->address.n : (size_t)at);
    return l;
}

void
directory_lookup_free(struct lookup *l)
{
    if (!l)
        return;
    if (l->password.p)
        explicit_bzero((void *)(uintptr_t)l->password.p, l->password.n);
    arena_done(&l->arena);
    free(l);
}

static void *
thread_open(void)
{
    return ldap_cache_create();
}

static void
thread_close(void *state)
{
    ldap_cache_free(state);
}

const struct worker_thread_ops directory_threads = {.open = thread_open, .close = thread_close};
