/*
 * courier/session_list.c - what sessions share: TLS contexts, and the oldest idle one.
 *
 * Called by service.c at the start and for new settings, and by the plan when connections run out.
 */
#include "courier/session.h"

bool
sessions_close_one_idle(struct courier *c, const struct site *not_of)
{
    struct session *s = c->sessions->idle_oldest;

    while (s && s->site == not_of)
        s = s->age_next;
    if (!s)
        return false;
    session_end(s, false); /* QUIT would keep its place for a round trip */
    return true;
}

int
sessions_tls(struct courier *c, struct why *why)
{
    struct tls_client_conf conf = {.verify = false};
    struct tls_context *any = NULL, *verify = NULL;
    struct str ca = c->delivery->tls_ca;
    int err = tls_client_context(&any, &conf, why);

    conf.verify = true;
    if (ca.n && c->links.file)
        conf.ca = c->links.file(c->links.file_ctx, ca);
    if (err == 0)
        err = tls_client_context(&verify, &conf, why);
    if (err < 0) {
        tls_context_unref(any);
        return err;
    }
    tls_context_unref(c->sessions->tls_any);
    tls_context_unref(c->sessions->tls_verify);
    c->sessions->tls_any = any;
    c->sessions->tls_verify = verify;
    return 0;
}

int
sessions_create(struct sessions **ret, struct courier *c, struct why *why)
{
    struct sessions *all = calloc(1, sizeof *all);

    (void)c;
    if (!all)
        return why_set(why, ERR_NOMEM, "no memory");
    *ret = all;
    return 0;
}

void
sessions_free(struct courier *c)
{
    if (!c->sessions)
        return;
    tls_context_unref(c->sessions->tls_any);
    tls_context_unref(c->sessions->tls_verify);
    free(c->sessions);
    c->sessions = NULL;
}
