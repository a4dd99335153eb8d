/*
 * roles/notes.c - listeners that nobody can log in at, certificates that are over, networks that
 * are the whole world, routes that log in where nobody proves who he is.
 *
 * Called by roles/loader.c, with settings that stood the check. Refuses nothing.
 */
#include "roles/notes.h"

#include "core/clock.h"
#include "courier/settings.h"
#include "gate/settings.h"
#include "net/tls.h"
#include "store/settings.h"

#define SOON_S (7u * 86400u)

static struct str
text_of(const struct check_files *files, struct str path)
{
    for (size_t i = 0; i < files->n; i++)
        if (str_eq(files->items[i].path, path))
            return files->items[i].text;
    return STR_NONE;
}

static void
note_certificate(const struct conf_section *s, struct str path, struct str pem, uint64_t now_s,
                 struct conf_errors *ret)
{
    uint64_t end;
    char iso[32];

    if (tls_certificate_end(pem, &end) < 0 || end > now_s + SOON_S)
        return;
    clock_iso(end * NS_PER_S, iso);
    if (end > now_s)
        conf_fail_row(
            ret, s, "certificate",
            "listen \"%.*s\": the certificate %.*s ends on %.10s; renew it, a new file is "
            "taken without a reload",
            STR_ARG(s->label), STR_ARG(path), iso);
    else
        conf_fail_row(
            ret, s, "certificate",
            "listen \"%.*s\": the certificate %.*s ended on %.10s: clients that verify it "
            "do not send; renew it, a new file is taken without a reload",
            STR_ARG(s->label), STR_ARG(path), iso);
}

static void
note_listen(const struct conf_section *s, const struct check_files *files, uint64_t now_s,
            struct conf_errors *ret)
{
    const struct settings_listen *l = s->data;

    if (l->kind == LISTEN_SUBMISSION && l->certificate.n == 0 && !l->auth_without_tls)
        conf_fail_row(ret, s, "kind",
                      "listen \"%.*s\": nobody can log in here: without a certificate there is no "
                      "STARTTLS, and without TLS no login; add `certificate = CERTFILE KEYFILE`",
                      STR_ARG(s->label));
    for (size_t i = 0; i < l->certificate.n; i++) {
        struct str rest = ((struct str *)l->certificate.items)[i], path = str_word(&rest);

        note_certificate(s, path, text_of(files, path), now_s, ret);
    }
}

/* What most smart hosts ask for would not be said to them. */
static void
note_route(const struct conf_section *s, struct conf_errors *ret)
{
    const struct settings_route *r = s->data;

    if (r->user.n && r->tls != ROUTE_TLS_VERIFY && !r->auth_unverified &&
        !settings_route_is_here(r))
        conf_fail_row(ret, s, "tls",
                      "route \"%.*s\": the certificate of the host is not verified, so `user` logs "
                      "in by SCRAM-SHA-256 alone; a host that wants the password itself gets none "
                      "and mail waits: write `tls = verify`",
                      STR_ARG(s->label));
}

void
notes_conf(const struct conf *conf, const struct check_files *files, uint64_t now_s,
           struct conf_errors *ret)
{
    const struct settings_main *m = conf_get(conf, "");
    const struct prefix *p = m->trusted.items;
    bool world = false;

    for (size_t i = 0; i < m->trusted.n; i++)
        world |= p[i].bits == 0 || (addr_is_v4(&p[i].addr) && p[i].bits == 96);
    if (world)
        conf_fail_row(ret, conf_first(conf, ""), "trusted",
                      "`trusted` has a network that is the whole world: anybody may send "
                      "anywhere, an open relay; name your own networks");
    for (const struct conf_section *s = conf_first(conf, "listen"); s; s = conf_next(s))
        note_listen(s, files, now_s, ret);
    for (const struct conf_section *s = conf_first(conf, "route"); s; s = conf_next(s))
        note_route(s, ret);
}
